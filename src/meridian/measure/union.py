"""One epoch out of everything that stands committed for it: several aggregators' jobs, and those of nodes themselves.

Law: the jobs are the union of all that was contributed, each (node key, job key) once. Precedence is the order of the
events on chain: the first row under a key counts; the same row again is *repeated*, another row under the same key is
*differing*, and neither is paid. Nothing depends on how the contributions are cut into pieces.

The merge holds one piece of each stream, never an epoch: it takes from all of them the rows up to the lowest of their
last keys, which no later piece can precede.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.measure.order import cached_node_key, node_indices, same_as_previous, sort_order
from meridian.measure.row import row_keys
from meridian.primitives.hashing import ByteMatrix

Key = tuple[bytes, bytes]
"""Node key and job key: what a job is known by, and the order of jobs."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some jobs of one contribution, in order."""

    source: int
    """Its place in the order of events, from 0."""
    table: pa.Table
    """Segment columns."""
    rows: ByteMatrix
    """The rows of these jobs, shape (n, 100)."""

    def slice(self, start: int, length: int | None = None) -> "Piece":
        """Return some of the jobs."""
        end = None if length is None else start + length
        return Piece(self.source, self.table.slice(start, length), self.rows[start:end])

    def key(self, at: int) -> Key:
        """Return node key and job key of one job."""
        name = self.table.column("node_id")[at].as_py()
        return cached_node_key(name), row_keys(self.rows[at : at + 1])[0].tobytes()


@dataclass(slots=True)
class Share:
    """What became of the jobs of one contribution."""

    jobs: int = 0
    counted: int = 0
    """Those that stand in the union."""
    repeated: int = 0
    """Those whose very row an earlier contribution has."""
    differing: int = 0
    """Those under whose key an earlier contribution has another row."""


@dataclass(slots=True)
class Merge:
    """Merges contributions; once `chunks` has run to its end, `shares` says what became of each.

    Args:
        sources: Number of contributions.
    """

    sources: int
    shares: tuple[Share, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.shares = tuple(Share() for _ in range(self.sources))

    def chunks(self, streams: Sequence[Iterable[Piece]]) -> Iterator[tuple[pa.Table, ByteMatrix]]:
        """Yield the union in order, in pieces: segment columns and rows.

        Args:
            streams: Each strictly ascending by (node key, job key). A stream may hold several contributions, as those
                of single nodes behind one another.
        """
        ahead = [_Ahead(stream) for stream in streams]
        while True:
            waiting = [one for one in ahead if one.fill()]
            if not waiting:
                return
            bound = min(one.last for one in waiting)
            parts = sorted((one.take(bound) for one in waiting), key=lambda part: part.source)
            yield self._joined([part for part in parts if len(part.rows)])

    def _joined(self, parts: Sequence[Piece]) -> tuple[pa.Table, ByteMatrix]:
        for part in parts:
            self.shares[part.source].jobs += len(part.rows)
        if len(parts) == 1:
            self.shares[parts[0].source].counted += len(parts[0].rows)
            return parts[0].table, parts[0].rows
        table = pa.concat_tables([part.table for part in parts])
        rows = np.concatenate([part.rows for part in parts])
        source = np.repeat(
            np.array([part.source for part in parts]), [len(part.rows) for part in parts]
        )
        order = sort_order(table.column("node_id"), row_keys(rows))
        table, rows, source = table.take(order), rows[order], source[order]
        again = same_as_previous(table.column("node_id"), row_keys(rows))
        if not again.any():
            self._book("counted", source)
            return table, rows
        self._book("counted", source[~again])
        first = np.maximum.accumulate(np.where(again, 0, np.arange(len(rows))))
        differs = np.zeros(len(rows), dtype=np.bool_)
        differs[again] = (rows[again] != rows[first[again]]).any(axis=1)
        self._book("repeated", source[again & ~differs])
        self._book("differing", source[differs])
        return table.filter(pa.array(~again)), rows[~again]

    def _book(self, what: str, sources: npt.NDArray[np.int64]) -> None:
        for source, count in enumerate(np.bincount(sources, minlength=self.sources).tolist()):
            share = self.shares[source]
            setattr(share, what, getattr(share, what) + count)


class _Ahead:
    """A stream of which the next jobs are at hand."""

    def __init__(self, stream: Iterable[Piece]) -> None:
        self._stream = iter(stream)
        self._piece: Piece | None = None
        self.last: Key = (b"", b"")
        """The key of the last job at hand."""

    def fill(self) -> bool:
        """Have jobs at hand; return False where there are no more."""
        while self._piece is None or not len(self._piece.rows):
            self._piece = next(self._stream, None)
            if self._piece is None:
                return False
            if len(self._piece.rows):
                self.last = self._piece.key(len(self._piece.rows) - 1)
        return True

    def take(self, bound: Key) -> Piece:
        """Return the jobs up to a key, and let go of them."""
        piece = self._piece
        assert piece is not None, "filled before"
        length = len(piece.rows) if self.last <= bound else _rows_up_to(piece, bound)
        self._piece = piece.slice(length)
        return piece.slice(0, length)


def _rows_up_to(piece: Piece, bound: Key) -> int:
    """Return how many jobs of a piece have a key of at most `bound`."""
    names, at = node_indices(piece.table.column("node_id"))
    keys = [cached_node_key(name) for name in names]
    node, job = bound
    place = sum(key < node for key in keys)
    low, high = (int(end) for end in np.searchsorted(at, [place, place + 1]))
    if node not in keys:
        return low
    while low < high:
        middle = (low + high) // 2
        if row_keys(piece.rows[middle : middle + 1])[0].tobytes() <= job:
            low = middle + 1
        else:
            high = middle
    return low
