"""Jobs as tuples: all values of a job in one piece of memory, so that a sort moves one piece and not twenty values.

    size u32 | node number u32 | job key 32 | private commitment 32 | batch seed 32 | numbers, bits, validity bytes |
    where texts begin u32 | where each text ends u32 ... | texts

Numbers are in the machine's order: a tuple never leaves the process and its spill file. The node's number is the
caller's.
How they are written and read: `tuple_moves`.
"""

import functools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.measure.columns import ID_BYTES_MAX, one_chunk, segment_columns
from meridian.measure.schema import FieldKind, NetworkSchema
from meridian.measure.strings import text_buffers
from meridian.primitives.hashing import DIGEST_BYTES, ByteMatrix

Bytes = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]

NUMBER_2, NUMBER_4, NUMBER_8, DIGEST, CODED, BIT, TEXT = range(7)
"""Kinds of column, as the compiled loops know them."""
WIDTHS: Final = {NUMBER_2: 2, NUMBER_4: 4, NUMBER_8: 8, DIGEST: 32, BIT: 1, TEXT: 4}
"""What a value takes in the fixed part."""
DIGESTS: Final = ("job_key", "private", "batch_seed")
SIZE_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Part:
    """Where one column stands in a tuple."""

    name: str
    kind: int
    at: int
    """Of its value; of a text, of its end."""
    valid_at: int
    """Of one byte that is 0 for a null; -1 where nothing may be null."""
    before_at: int
    """Of the end of the text before, or of the beginning of all."""


class Layout:
    """The tuples of a network's jobs.

    Args:
        schema: The network's schema.
    """

    def __init__(self, schema: NetworkSchema) -> None:
        fields = [field for field in segment_columns(schema) if field.name != "node_id"]
        numbers = [one for one in fields if one.name not in DIGESTS and one.type != pa.string()]
        texts = [one for one in fields if one.type == pa.string()]
        parts = [Part("node", NUMBER_4, SIZE_BYTES, -1, 0)]
        at = SIZE_BYTES + WIDTHS[NUMBER_4]
        for name in DIGESTS:
            parts.append(Part(name, DIGEST, at, -1, 0))
            at += WIDTHS[DIGEST]
        for field in numbers:
            kind = _KINDS[field.type]
            parts.append(Part(field.name, kind, at, _valid(field, at + WIDTHS[kind]), 0))
            at += WIDTHS[kind] + field.nullable
        self.begin_at = before = at
        """Where it stands where texts begin."""
        at += WIDTHS[TEXT]
        for field in texts:
            parts.append(Part(field.name, TEXT, at, _valid(field, at + WIDTHS[TEXT]), before))
            before = at
            at += WIDTHS[TEXT] + field.nullable
        self.parts: Final = tuple(parts)
        self.fixed_bytes: Final = at
        """What every tuple has before its texts."""
        strings = [one.max_bytes for one in schema.fields if one.kind is FieldKind.STRING]
        self.bytes_max: Final = at + ID_BYTES_MAX + sum(strings)
        """The longest tuple of a job that was accepted."""


_KINDS: Final = {pa.uint16(): NUMBER_2, pa.int64(): NUMBER_8, pa.bool_(): BIT}


def _valid(field: pa.Field, at: int) -> int:
    return at if field.nullable else -1


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the log as it lies in memory."""

    part: Part
    values: npt.NDArray[Any]
    """Numbers, digests (n, 32), packed bits, or the bytes under texts."""
    offsets: npt.NDArray[np.int32] | None = None
    """Of texts; or the code of each job where `values` is a dictionary of digests."""
    valid: Bytes | None = None
    """Packed bits; None where nothing is null."""
    first: int = 0
    """Bits that stand before the first of packed ones."""

    @property
    def kind(self) -> int:
        """The kind, `CODED` where the log has a dictionary."""
        return CODED if self.part.kind == DIGEST and self.offsets is not None else self.part.kind

    def bits(self, packed: Bytes, rows: U32) -> Bytes:
        """Return chosen ones of packed bits."""
        at = rows.astype(np.int64) + self.first
        chosen: Bytes = (packed[at >> 3] >> (at & 7).astype(np.uint8)) & np.uint8(1)
        return chosen

    def present(self, rows: U32) -> Bytes:
        """Return 1 for each chosen row that is not null."""
        if self.valid is None:
            return np.ones(len(rows), dtype=np.uint8)
        return self.bits(self.valid, rows)

    def texts(self, rows: U32) -> tuple[I64, I64]:
        """Return where each chosen text begins and how long it is."""
        assert self.offsets is not None, "it is a column of texts"
        starts = self.offsets[rows].astype(np.int64)
        lengths = self.offsets[rows.astype(np.int64) + 1] - starts
        return starts, lengths * self.present(rows)


class Columns(list[Column]):
    """The columns of one table."""

    @functools.cached_property
    def lines(self) -> I64:
        """What compiled loops must know of them: a line of numbers for each."""
        return np.array(
            [
                (
                    column.kind,
                    column.part.at,
                    address(column.values),
                    address(column.offsets),
                    address(column.valid),
                    column.first,
                    column.part.valid_at,
                    column.part.before_at,
                )
                for column in self
            ],
            dtype=np.int64,
        )


def address(array: npt.NDArray[Any] | None) -> int:
    """Return where an array lies, 0 for none."""
    return 0 if array is None else int(array.__array_interface__["data"][0])


def columns_of(layout: Layout, table: pa.Table, nodes: U32) -> Columns:
    """Return the columns of a table of the log, which lie where they lay.

    Args:
        layout: Of the tuples.
        table: In the columns of the log.
        nodes: The number of each row's node.

    Raises:
        InvalidInput: If a column cannot be what it says.
    """
    found = Columns([Column(layout.parts[0], nodes)])
    for part in layout.parts[1:]:
        array = one_chunk(table.column(part.name))
        first = array.offset
        valid = (
            array.buffers()[0] if array.null_count else None
        )  # a bitmap may say that all is there
        bits = None if valid is None else np.frombuffer(valid, dtype=np.uint8)
        assert bits is None or part.valid_at >= 0, "only a column that may be null has nulls"
        if part.kind == TEXT:
            data, offsets = text_buffers(array)
            _check_offsets(part.name, data, offsets)
            found.append(Column(part, data, offsets, bits, first))
        elif pa.types.is_dictionary(array.type):
            codes = np.frombuffer(array.buffers()[1], dtype=np.int32)[first:][: len(array)]
            known = _digests(array.dictionary)
            if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < len(known):
                raise InvalidInput(part.name, "a code is not one of the dictionary")
            found.append(Column(part, known, codes))
        elif part.kind == DIGEST:
            found.append(Column(part, _digests(array)))
        elif part.kind == BIT:
            packed = np.frombuffer(array.buffers()[1], dtype=np.uint8)
            found.append(Column(part, packed, None, bits, first))
        else:
            kind = array.type.to_pandas_dtype()
            values = np.frombuffer(array.buffers()[1], dtype=kind)[first : first + len(array)]
            found.append(Column(part, values, None, bits, first))
    return found


def _check_offsets(name: str, data: Bytes, offsets: npt.NDArray[np.int32]) -> None:
    """Compiled code checks nothing by itself."""
    if offsets[0] < 0 or offsets[-1] > len(data) or (offsets[1:] < offsets[:-1]).any():
        raise InvalidInput(name, "a text begins or ends outside the column's bytes")


def _digests(array: pa.Array) -> ByteMatrix:
    data = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    start = array.offset * DIGEST_BYTES
    return data[start : start + len(array) * DIGEST_BYTES].reshape(-1, DIGEST_BYTES)
