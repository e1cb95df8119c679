"""Columns of jobs in order: room is made once, then the rows of each run are put to their places.

A column of the log is read where it lies, so that every value is moved once on its way from the log to a segment.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.measure.columns import DIGEST_TYPE, one_chunk, segment_columns
from meridian.measure.scatter import Places, Scatter
from meridian.measure.schema import NetworkSchema
from meridian.primitives.hashing import DIGEST_BYTES, ByteMatrix

DIGESTS: Final = ("job_key", "private")
"""Columns of the log that a segment does not have."""

Lengths = dict[str, npt.NDArray[np.int32]]
"""The bytes of the text of each place, by column."""


class Room:
    """Memory that one stretch after the other uses: to get fresh pages costs more than to fill them.

    Args:
        rows: The jobs of the largest stretch.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._kept: dict[str, npt.NDArray[np.uint8]] = {}

    def rows(self, name: str, count: int, kind: npt.DTypeLike, width: int = 1) -> Any:
        """Return room for `width` values of each of `count` jobs; what was given before under the name is void."""
        size = np.dtype(kind).itemsize * width
        flat = self._bytes(name, count * size, max(count, self._rows) * size)[: count * size]
        values = flat.view(kind)
        return values if width == 1 else values.reshape(count, width)

    def texts(self, name: str, size: int) -> npt.NDArray[np.uint8]:
        """Return room for so many bytes of text, in the same way."""
        return self._bytes(name, size, size + size // 16)[:size]

    def _bytes(self, name: str, needed: int, made: int) -> npt.NDArray[np.uint8]:
        if name not in self._kept or len(self._kept[name]) < needed:
            self._kept.pop(name, None)
            self._kept[name] = np.empty(made, dtype=np.uint8)
        return self._kept[name]


class SortedColumns:
    """The jobs of a stretch of an epoch, in order.

    Args:
        schema: The network's schema.
        names: The ids of all nodes of the epoch, in order.
        ranks: The node of each job, as its place among them; ascending.
        lengths: The bytes of each text.
        scatter: Moves the values.
        room: Where they go; the stretch that had it before is void.
    """

    def __init__(
        self,
        schema: NetworkSchema,
        names: list[str],
        ranks: npt.NDArray[np.uint32],
        lengths: Lengths,
        scatter: Scatter,
        room: Room,
    ) -> None:
        count = len(ranks)
        self._names, self._ranks = names, ranks
        self._schema = segment_columns(schema)
        self._columns = {
            field.name: _column(field, count, lengths, scatter, room)
            for field in self._schema
            if field.name != "node_id"
        }
        self._columns |= {name: _Digests(name, count, scatter, room) for name in DIGESTS}
        sums = [column.ends for column in self._columns.values() if isinstance(column, _Texts)]
        self._text_ends = np.zeros(count + 1, dtype=np.int64)
        for ends in sums:
            self._text_ends += ends

    def __len__(self) -> int:
        return len(self._ranks)

    def fill(self, table: pa.Table, rows: Places, places: Places) -> None:
        """Put rows of a run's table to their places."""
        for name, column in self._columns.items():
            column.fill(one_chunk(table.column(name)), rows, places)

    def node_ids(self, start: int, end: int) -> pa.DictionaryArray:
        """Return the node of the jobs from `start` to before `end`."""
        ranks = self._ranks[start:end]
        first, last = (int(ranks[0]), int(ranks[-1])) if len(ranks) else (0, -1)
        names = pa.array(self._names[first : last + 1], pa.string())
        return pa.DictionaryArray.from_arrays((ranks - np.uint32(first)).astype(np.int32), names)

    def digests(self, name: str, start: int, end: int) -> ByteMatrix:
        """Return the job keys or the private commitments of the jobs from `start` to before `end`."""
        column = self._columns[name]
        assert isinstance(column, _Digests), name
        return column.values[start:end]

    def table(self, start: int, end: int) -> pa.Table:
        """Return the jobs from `start` to before `end` in the columns of a segment, ``node_id`` as a dictionary."""
        nodes = self.node_ids(start, end)
        arrays, fields = [nodes], [pa.field("node_id", nodes.type, nullable=False)]
        for field in self._schema:
            if field.name != "node_id":
                arrays.append(self._columns[field.name].array(start, end))
                fields.append(field)
        return pa.table(arrays, schema=pa.schema(fields))

    def numbers(self, start: int, end: int) -> pa.Table:
        """Return the columns of those jobs whose values are numbers: all that a row needs."""
        chosen = {
            field.name: column.array(start, end)
            for field in self._schema
            if isinstance(column := self._columns.get(field.name), _Numbers)
        }
        return pa.table(chosen)

    def end_within(self, start: int, rows_max: int, text_bytes_max: int) -> int:
        """Return how far a stretch reaches that has at most so many jobs and bytes of text; one job always fits."""
        before = self._text_ends[start]
        reach = int(np.searchsorted(self._text_ends, before + text_bytes_max, side="right")) - 1
        return min(len(self), start + rows_max, max(start + 1, reach))

    def text_bytes(self, start: int, end: int) -> int:
        """Return the bytes of all texts of a stretch."""
        return int(self._text_ends[end] - self._text_ends[start])


def text_names(schema: NetworkSchema) -> list[str]:
    """Return the columns whose values are texts, but for ``node_id``."""
    fields = segment_columns(schema)
    return [field.name for field in fields if field.type == pa.string() and field.name != "node_id"]


def measure_texts(
    table: pa.Table, rows: Places, places: Places, out: Mapping[str, Any], scatter: Scatter
) -> None:
    """Write how long the texts of a run's table are."""
    for name, lengths in out.items():
        offsets, _ = _text_buffers(one_chunk(table.column(name)))
        scatter.lengths(offsets, rows, places, lengths)


def _column(
    field: pa.Field, count: int, lengths: Lengths, scatter: Scatter, room: Room
) -> "_Column":
    name = field.name
    if name == "batch_seed":
        return _Digests(name, count, scatter, room)
    if field.type == pa.string():
        return _Texts(name, count, scatter, room, lengths[name])
    if field.type == pa.bool_():
        return _Bits(name, count, scatter, room)
    return _Numbers(name, count, scatter, room, field)


class _Column(ABC):
    """One column, and which of its places hold a value."""

    def __init__(self, name: str, count: int, scatter: Scatter, room: Room) -> None:
        self._name, self._count, self._scatter, self._room = name, count, scatter, room
        self._valid: npt.NDArray[np.uint8] | None = None

    def fill(self, source: pa.Array, rows: Places, places: Places) -> None:
        """Put rows of a column to their places."""
        bits = source.buffers()[0]
        if bits is not None:
            if self._valid is None:
                self._valid = self._room.rows(f"{self._name} valid", self._count, np.uint8)
                self._valid.fill(1)
            self._scatter.values(_bits(bits, source), rows, places, self._valid)
        self._fill(source, rows, places)

    @abstractmethod
    def _fill(self, source: pa.Array, rows: Places, places: Places) -> None:
        """Put the values to their places, those that are null too."""

    @abstractmethod
    def array(self, start: int, end: int) -> pa.Array:
        """Return a stretch."""

    def _validity(self, start: int, end: int) -> pa.Buffer | None:
        return None if self._valid is None else _packed(self._valid[start:end])


class _Numbers(_Column):
    def __init__(
        self, name: str, count: int, scatter: Scatter, room: Room, field: pa.Field
    ) -> None:
        super().__init__(name, count, scatter, room)
        self._type = field.type
        self._values = room.rows(name, count, field.type.to_pandas_dtype())

    def _fill(self, source: pa.Array, rows: Places, places: Places) -> None:
        values = np.frombuffer(source.buffers()[1], dtype=self._values.dtype)
        values = values[source.offset : source.offset + len(source)]
        self._scatter.values(values, rows, places, self._values)

    def array(self, start: int, end: int) -> pa.Array:
        buffers = [self._validity(start, end), pa.py_buffer(self._values[start:end])]
        return pa.Array.from_buffers(self._type, end - start, buffers)


class _Bits(_Column):
    def __init__(self, name: str, count: int, scatter: Scatter, room: Room) -> None:
        super().__init__(name, count, scatter, room)
        self._values = room.rows(name, count, np.uint8)

    def _fill(self, source: pa.Array, rows: Places, places: Places) -> None:
        self._scatter.values(_bits(source.buffers()[1], source), rows, places, self._values)

    def array(self, start: int, end: int) -> pa.Array:
        buffers = [self._validity(start, end), _packed(self._values[start:end])]
        return pa.Array.from_buffers(pa.bool_(), end - start, buffers)


class _Digests(_Column):
    def __init__(self, name: str, count: int, scatter: Scatter, room: Room) -> None:
        super().__init__(name, count, scatter, room)
        self.values: ByteMatrix = room.rows(name, count, np.uint8, DIGEST_BYTES)

    def _fill(self, source: pa.Array, rows: Places, places: Places) -> None:
        if pa.types.is_dictionary(source.type):
            at = np.asarray(source.indices.to_numpy(zero_copy_only=False))
            rows, source = at[rows].astype(np.uint32), source.dictionary
        data = np.frombuffer(source.buffers()[1], dtype=np.uint8)
        start = source.offset * DIGEST_BYTES
        matrix = data[start : start + len(source) * DIGEST_BYTES].reshape(-1, DIGEST_BYTES)
        self._scatter.digests(matrix, rows, places, self.values)

    def array(self, start: int, end: int) -> pa.Array:
        buffers = [None, pa.py_buffer(self.values[start:end])]
        return pa.Array.from_buffers(DIGEST_TYPE, end - start, buffers)


class _Texts(_Column):
    def __init__(
        self,
        name: str,
        count: int,
        scatter: Scatter,
        room: Room,
        lengths: npt.NDArray[np.int32],
    ) -> None:
        super().__init__(name, count, scatter, room)
        self.ends = room.rows(f"{name} ends", count + 1, np.int64)
        self.ends[0] = 0
        np.cumsum(lengths, out=self.ends[1:])
        self._data = room.texts(name, int(self.ends[-1]))

    def _fill(self, source: pa.Array, rows: Places, places: Places) -> None:
        offsets, data = _text_buffers(source)
        self._scatter.texts(data, offsets, rows, places, self.ends, self._data)

    def array(self, start: int, end: int) -> pa.Array:
        ends = self.ends[start : end + 1]
        offsets = (ends - ends[0]).astype(np.int32)
        data = self._data[ends[0] : ends[-1]]
        buffers = [self._validity(start, end), pa.py_buffer(offsets), pa.py_buffer(data)]
        return pa.Array.from_buffers(pa.string(), end - start, buffers)


def _bits(buffer: pa.Buffer, source: pa.Array) -> npt.NDArray[np.uint8]:
    """Return the bits of a column as bytes."""
    packed = np.frombuffer(buffer, dtype=np.uint8)
    bits = np.unpackbits(packed, count=source.offset + len(source), bitorder="little")
    return bits[source.offset :]


def _packed(values: npt.NDArray[np.uint8]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))


def _text_buffers(texts: pa.Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32, count=texts.offset + len(texts) + 1)
    empty = np.zeros(0, dtype=np.uint8)
    return ends[texts.offset :], empty if data is None else np.frombuffer(data, dtype=np.uint8)
