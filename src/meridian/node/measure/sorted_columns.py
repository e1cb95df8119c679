"""The columns of one segment, which jobs in order are written to; the next segment's lie where they lay.

Fresh memory costs more than what is put into it, so this room is made once.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.measure.columns import (
    DIGEST_TYPE,
    SEGMENT_ROWS_MAX,
    SEGMENT_TEXT_BYTES_MAX,
    segment_columns,
)
from meridian.measure.job_tuples import BIT, DIGEST, TEXT, Layout
from meridian.measure.schema import NetworkSchema
from meridian.measure.tuple_moves import Mover, Target
from meridian.node.measure.external_sort import Stretch
from meridian.node.measure.fresh_memory import fresh_bytes
from meridian.primitives.hashing import ByteMatrix

PIECE_ROWS: Final = 1 << 15
"""Jobs that are looked at together: small enough that their rows are hashed while they stand in the cache."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some jobs of a segment, as their trees need them; void with the next piece."""

    node_ids: pa.DictionaryArray
    numbers: pa.Table
    """The columns whose values are numbers."""
    keys: ByteMatrix
    private: ByteMatrix


class SegmentColumns:
    """Room for one segment after the other.

    A segment ends at `SEGMENT_ROWS_MAX` jobs, or earlier where `SEGMENT_TEXT_BYTES_MAX` bytes of text are reached: where it ends depends
    on the jobs alone.

    Args:
        schema: The network's schema.
        layout: Of the tuples.
        mover: Moves them.
        names: The ids of all nodes of the epoch, in order.
        jobs: Of the epoch, at most.
    """

    def __init__(
        self, schema: NetworkSchema, layout: Layout, mover: Mover, names: list[str], jobs: int
    ) -> None:
        self._layout, self._mover, self._names = layout, mover, names
        self._schema = segment_columns(schema)
        rows = min(SEGMENT_ROWS_MAX, jobs)
        fields = set(self._schema.names)
        self._columns = {
            part.name: Target(part, rows, fresh_bytes)
            for part in layout.parts
            if part.name in fields
        }
        self._digests = {
            part.name: Target(part, min(rows, PIECE_ROWS), fresh_bytes)
            for part in layout.parts
            if part.name in {"job_key", "private"}
        }
        self._targets = [*self._columns.values(), *self._digests.values()]
        self._ranks = np.empty(rows, dtype=np.uint32)
        self._rows = self._text_bytes = 0

    def __len__(self) -> int:
        return self._rows

    def end_of_piece(self, stretch: Stretch, start: int) -> int:
        """Return how far the next piece of a stretch reaches, which begins at `start`: there, if the segment is full."""
        end = min(len(stretch), start + PIECE_ROWS, start + SEGMENT_ROWS_MAX - self._rows)
        room = SEGMENT_TEXT_BYTES_MAX - self._text_bytes
        ends = np.cumsum(self._texts(stretch, start, end))
        if len(ends) and ends[-1] > room:
            fits = int(np.searchsorted(ends, room, side="right"))
            return start + max(fits, not self._rows)  # one job always fits
        return end

    def add(self, stretch: Stretch, start: int, end: int) -> Piece:
        """Append the jobs of a piece, and return what else is made of them."""
        for target in self._digests.values():
            target.filled = 0
        places, sizes = stretch.places[start:end], stretch.sizes[start:end]
        self._mover.unpack(stretch.memory, places, sizes, self._targets)
        first, last = self._rows, self._rows + end - start
        self._ranks[first:last] = stretch.ranks[start:end]
        self._rows = last
        self._text_bytes += int(self._texts(stretch, start, end).sum())
        numbers = {
            name: self._array(target, name, first, last)
            for name, target in self._columns.items()
            if target.part.kind not in (TEXT, BIT, DIGEST)
        }
        keys, private = (
            self._digests[name].values[: end - start] for name in ("job_key", "private")
        )
        return Piece(self._node_ids(first, last), pa.table(numbers), keys, private)

    def table(self) -> pa.Table:
        """Return the segment, ``node_id`` as a dictionary; void when the next one begins."""
        nodes = self._node_ids(0, self._rows)
        arrays, fields = [nodes], [pa.field("node_id", nodes.type, nullable=False)]
        for field in self._schema:
            if field.name != "node_id":
                arrays.append(self._array(self._columns[field.name], field.name, 0, self._rows))
                fields.append(field)
        return pa.table(arrays, schema=pa.schema(fields))

    def clear(self) -> None:
        """Begin the next segment."""
        self._rows = self._text_bytes = 0
        for target in self._columns.values():
            target.filled = 0

    def _texts(self, stretch: Stretch, start: int, end: int) -> npt.NDArray[np.int64]:
        """Return the bytes of text of jobs."""
        return stretch.sizes[start:end].astype(np.int64) - self._layout.fixed_bytes

    def _node_ids(self, start: int, end: int) -> pa.DictionaryArray:
        ranks = self._ranks[start:end]
        first, last = (int(ranks[0]), int(ranks[-1])) if len(ranks) else (0, -1)
        names = pa.array(self._names[first : last + 1], pa.string())
        return pa.DictionaryArray.from_arrays((ranks - np.uint32(first)).astype(np.int32), names)

    def _array(self, target: Target, name: str, start: int, end: int) -> pa.Array:
        kind, rows = target.part.kind, slice(start, end)
        buffers = [None, pa.py_buffer(target.values[rows])]
        if len(target.valid) and not target.valid[rows].all():
            buffers[0] = _packed(target.valid[rows])
        if kind == TEXT:
            assert start == 0, "offsets begin with the segment"
            ends = target.ends[: end + 1]
            buffers[1:] = [pa.py_buffer(ends), pa.py_buffer(target.values[: ends[-1]])]
        elif kind == BIT:
            buffers[1] = _packed(target.values[rows])
        field_type = DIGEST_TYPE if kind == DIGEST else self._schema.field(name).type
        return pa.Array.from_buffers(field_type, end - start, buffers)


def _packed(values: npt.NDArray[np.uint8]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
