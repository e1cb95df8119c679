"""Writing jobs to tuples and tuples to columns, and moving them: compiled where it can be, numpy where not.

Law: both write and read the same bytes, so work may begin with the one and go on with the other.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from meridian.measure.job_tuples import (
    BIT,
    DIGEST,
    I64,
    NUMBER_2,
    NUMBER_4,
    NUMBER_8,
    SIZE_BYTES,
    TEXT,
    U32,
    WIDTHS,
    Bytes,
    Columns,
    Layout,
    Part,
    address,
)
from meridian.primitives.hashing import DIGEST_BYTES, ByteMatrix, bulk


class Target:
    """A column that tuples are written to.

    Args:
        part: Which one.
        rows: The jobs that it has room for.
        room: Gives memory.
    """

    def __init__(self, part: Part, rows: int, room: Callable[[int], Bytes]) -> None:
        self.part, self.rows = part, rows
        self.filled = 0
        """Rows that hold values; the next go behind them."""
        is_text, kind = part.kind == TEXT, _TYPES[part.kind]
        self._room = room
        self.values: npt.NDArray[Any] = room(0 if is_text else rows * WIDTHS[part.kind]).view(kind)
        if part.kind == DIGEST:
            self.values = self.values.reshape(rows, DIGEST_BYTES)
        self.ends = room(4 * (rows + 1) if is_text else 0).view(np.int32)
        self.ends[:1] = 0
        self.valid = room(0 if part.valid_at < 0 else rows)

    def reserve(self, more: int, rows: int) -> None:
        """Make room for so many more bytes of text, and where there is none, at once for as much as all rows seem to need."""
        used = int(self.ends[self.filled])
        if used + more > len(self.values):
            whole = (used + more) * self.rows // (self.filled + rows)
            grown = self._room(max(used + more, whole) * 9 // 8)
            grown[:used] = self.values[:used]
            self.values = grown


_TYPES: Final = {
    NUMBER_2: np.uint16,
    NUMBER_4: np.uint32,
    NUMBER_8: np.int64,
    DIGEST: np.uint8,
    BIT: np.uint8,
    TEXT: np.uint8,
}


class Mover:
    """Moves tuples: compiled where it can be, numpy where not.

    Args:
        layout: Of the tuples.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._kernels: Any = None

    def expect(self, jobs: int) -> None:
        """Load compiled loops if so many jobs are worth some tenths of a second, and seconds where none are cached."""
        if self._kernels is None and bulk(jobs) is not None:
            self._kernels = _load()

    def sizes(self, columns: Columns, rows: U32) -> U32:
        """Return how long the tuples of chosen rows are."""
        out = np.full(len(rows), self._layout.fixed_bytes, dtype=np.uint32)
        if self._kernels is not None:
            self._kernels.sizes(columns.lines, rows, self._layout.fixed_bytes, out)
            return out
        for column in columns:
            if column.kind == TEXT:
                out += column.texts(rows)[1].astype(np.uint32)
        return out

    def place(
        self,
        sizes: U32,
        buckets: Bytes,
        tails: I64,
        ends: I64,
        counts: I64,
        places: I64,
        start: int,
    ) -> int:
        """Give each tuple from `start` on the next place of its bucket, as far as there is room.

        Args:
            sizes: Of the tuples.
            buckets: Of each tuple.
            tails: Of each bucket, where its next tuple goes; moved on.
            ends: Of each bucket, where its room ends.
            counts: Of each bucket, its tuples; counted on.
            places: Written.
            start: The first one.

        Returns:
            The first tuple for which its bucket has no room; all of them if none.
        """
        if self._kernels is not None:
            found: int = self._kernels.place(sizes, buckets, tails, ends, counts, places, start)
            return found
        for at in range(start, len(sizes)):
            bucket, size = int(buckets[at]), int(sizes[at])
            if tails[bucket] + size > ends[bucket]:
                return at
            places[at] = tails[bucket]
            tails[bucket] += size
            counts[bucket] += 1
        return len(sizes)

    def pack(self, columns: Columns, rows: U32, sizes: U32, places: I64, memory: Bytes) -> None:
        """Write the tuples of chosen rows to their places in memory."""
        layout = self._layout
        if self._kernels is not None:
            self._kernels.pack(
                columns.lines, rows, sizes, layout.fixed_bytes, layout.begin_at, places, memory
            )
            return
        _put(memory, places, sizes)
        ends = np.full(len(rows), layout.fixed_bytes, dtype=np.uint32)
        _put(memory, places + layout.begin_at, ends)
        for column in columns:
            part, values = column.part, column.values
            if part.valid_at >= 0:
                _put(memory, places + part.valid_at, column.present(rows))
            if part.kind == TEXT:
                starts, lengths = column.texts(rows)
                _copy(values, starts, memory, places + ends, lengths)
                ends += lengths.astype(np.uint32)
                _put(memory, places + part.at, ends)
            elif part.kind == BIT:
                _put(memory, places + part.at, column.bits(values, rows))
            else:
                at = rows if column.offsets is None else column.offsets[rows]
                _put(memory, places + part.at, values[at])

    def walk(
        self, memory: Bytes, start: int, count: int
    ) -> tuple[I64, U32, npt.NDArray[np.uint64], U32]:
        """Return places, node numbers, first 8 bytes of keys and sizes of tuples that lie one behind the other."""
        places, nodes = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.uint32)
        prefixes, sizes = np.empty(count, dtype=np.uint64), np.empty(count, dtype=np.uint32)
        if self._kernels is not None:
            self._kernels.walk(memory, start, places, nodes, prefixes, sizes)
            return places, nodes, prefixes, sizes
        for at in range(count):
            places[at] = start
            start += int.from_bytes(memory[start : start + SIZE_BYTES].tobytes(), "little")
        sizes[:] = _get(memory, places, 4).view(np.uint32).ravel()
        nodes[:] = _get(memory, places + SIZE_BYTES, 4).view(np.uint32).ravel()
        prefixes[:] = _get(memory, places + self._layout.parts[1].at, 8).view(">u8").ravel()
        return places, nodes, prefixes, sizes

    def keys(self, memory: Bytes, places: I64) -> ByteMatrix:
        """Return the job keys of tuples."""
        return _get(memory, places + self._layout.parts[1].at, DIGEST_BYTES)

    def move(self, memory: Bytes, sources: I64, sizes: U32, places: I64) -> None:
        """Copy tuples to other places of the memory."""
        if self._kernels is not None:
            self._kernels.move(sources, sizes, places, memory)
        else:
            _copy(memory, sources, memory, places, sizes.astype(np.int64))

    def unpack(self, memory: Bytes, places: I64, sizes: U32, targets: Sequence[Target]) -> None:
        """Append the values of tuples to columns."""
        text_bytes = int(sizes.sum()) - len(sizes) * self._layout.fixed_bytes
        for target in targets:
            assert target.filled + len(places) <= target.rows, "there is room"
            if target.part.kind == TEXT:
                target.reserve(text_bytes, len(places))
        if self._kernels is not None:
            self._kernels.unpack(_target_lines(targets), places, sizes, memory)
        else:
            self._unpack_slowly(memory, places, targets)
        for target in targets:
            target.filled += len(places)

    def _unpack_slowly(self, memory: Bytes, places: I64, targets: Sequence[Target]) -> None:
        for target in targets:
            part, first = target.part, target.filled
            rows = slice(first, first + len(places))
            if part.valid_at >= 0:
                target.valid[rows] = _get(memory, places + part.valid_at, 1).ravel()
            if part.kind == TEXT:
                starts = _get(memory, places + part.before_at, 4).view(np.uint32).ravel()
                ends = _get(memory, places + part.at, 4).view(np.uint32).ravel()
                lengths = (ends - starts).astype(np.int32)
                target.ends[first + 1 : first + len(places) + 1] = (
                    target.ends[first] + lengths.cumsum()
                )
                to = target.ends[first : first + len(places) + 1].astype(np.int64)
                _copy(memory, places + starts, target.values, to[:-1], np.diff(to))
            else:
                values = _get(memory, places + part.at, WIDTHS[part.kind])
                target.values[rows] = values.view(target.values.dtype).reshape(
                    target.values[rows].shape
                )


def _load() -> Any:
    try:
        from meridian.primitives.kernels import tuples  # noqa: PLC0415  (numba)
    except Exception:  # noqa: BLE001  (whatever keeps a compiler from working, numpy does the same)
        return None
    return tuples


def _target_lines(targets: Sequence[Target]) -> I64:
    lines = []
    for target in targets:
        part, values, first = target.part, target.values, target.filled
        skipped = 0 if part.kind == TEXT else first * WIDTHS[part.kind]
        valid = 0 if part.valid_at < 0 else address(target.valid) + first
        offsets = 0 if part.kind != TEXT else address(target.ends) + 4 * first
        where = address(values) + skipped
        lines.append((part.kind, part.at, where, offsets, valid, 0, part.valid_at, part.before_at))
    return np.array(lines, dtype=np.int64)


def _put(memory: Bytes, places: I64, values: npt.NDArray[Any]) -> None:
    """Write the bytes of each value to its place."""
    if len(values):
        rows = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
        memory[places[:, None] + np.arange(rows.shape[1])] = rows


def _get(memory: Bytes, places: I64, width: int) -> ByteMatrix:
    """Return so many bytes from each place."""
    found: ByteMatrix = memory[places[:, None] + np.arange(width)]
    return found


def _copy(source: Bytes, starts: I64, out: Bytes, places: I64, lengths: I64) -> None:
    """Copy pieces of bytes."""
    ends = np.cumsum(lengths)
    inside = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    out[np.repeat(places, lengths) + inside] = source[np.repeat(starts, lengths) + inside]
