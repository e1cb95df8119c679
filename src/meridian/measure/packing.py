"""The packed fields of jobs: every field of a record in a fixed width, which the private commitment binds.

In schema order: one byte 1 (or 0 for null, and zeros follow), then an integer or decimal as two's complement i64, a
boolean as one byte, a string as its length u16 and its bytes padded with zeros.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from meridian.measure.schema import Field, FieldKind, NetworkSchema
from meridian.measure.strings import byte_lengths, byte_matrix, text_buffers
from meridian.primitives.hashing import ByteMatrix, bulk


class Packer:
    """Packs jobs; where kernels are loaded, one compiled loop reads the columns where they lie.

    Args:
        schema: The network's schema.
        jobs: Its fields are columns.
    """

    def __init__(self, schema: NetworkSchema, jobs: pa.RecordBatch) -> None:
        self._schema, self._jobs = schema, jobs
        self._lines: npt.NDArray[np.int64] | None = None
        self._kept: list[pa.Array] = []  # the lines have only addresses
        if bulk(jobs.num_rows) is not None:
            at, lines = 0, []
            for item in schema.fields:
                column = jobs.column(item.name)
                lines.append(_line(column, item, at))
                self._kept.append(column)
                at += item.packed_bytes
            self._lines = np.array(lines, dtype=np.int64)

    def pack(self, start: int, out: ByteMatrix) -> None:
        """Write the packed fields of the jobs from `start` on, one for each row of `schema.packed_bytes` bytes."""
        kernels = bulk(self._jobs.num_rows)
        if kernels is not None and self._lines is not None:
            assert start + len(out) <= self._jobs.num_rows
            assert out.shape[1] == self._schema.packed_bytes
            kernels.pack(out, self._lines, start)
            return
        jobs, at = self._jobs.slice(start, len(out)), 0
        for item in self._schema.fields:
            _pack(jobs.column(item.name), item, out[:, at : at + item.packed_bytes])
            at += item.packed_bytes


def packed_fields(schema: NetworkSchema, jobs: pa.RecordBatch) -> ByteMatrix:
    """Return the packed fields of each job, shape (n, `schema.packed_bytes`)."""
    packed = np.empty((jobs.num_rows, schema.packed_bytes), dtype=np.uint8)
    Packer(schema, jobs).pack(0, packed)
    return packed


def _line(column: pa.Array, item: Field, at: int) -> tuple[int, ...]:
    """Return what the compiled loop is told of a field (`kernels.columns`)."""
    from meridian.primitives.kernels import columns  # noqa: PLC0415  (loaded with the kernels)

    validity, first = column.buffers()[0], column.offset
    valid = 0 if validity is None or column.null_count == 0 else validity.address
    if item.kind is FieldKind.STRING:
        data, offsets = text_buffers(column)
        places = data.ctypes.data, len(data), offsets.ctypes.data
        return columns.TEXT, at, item.max_bytes, *places, valid, first
    assert column.type == (pa.bool_() if item.kind is FieldKind.BOOLEAN else pa.int64())
    values = 0 if len(column) == 0 else column.buffers()[1].address
    if item.kind is FieldKind.BOOLEAN:
        return columns.BIT, at, 1, values, 0, 0, valid, first
    return columns.NUMBER, at, 8, values + 8 * first, 0, 0, valid, first


def _pack(values: pa.Array, item: Field, out: ByteMatrix) -> None:
    """Write one field's fixed width for every row."""
    has_nulls = values.null_count > 0
    present = _flags(values.is_valid()) if has_nulls else np.zeros(0, dtype=np.bool_)
    out[:, 0] = present if has_nulls else 1
    if item.kind is FieldKind.STRING:
        out[:, 1:3] = byte_lengths(values).astype(">u2").view(np.uint8).reshape(-1, 2)
        out[:, 3:] = byte_matrix(values, item.max_bytes)
        if has_nulls:
            out[~present, 1:] = 0
    elif item.kind is FieldKind.BOOLEAN:
        out[:, 1] = _flags(pc.fill_null(values, False) if has_nulls else values)
    else:
        numbers = np.asarray(pc.fill_null(values, 0) if has_nulls else values)
        put_big_endian(numbers, out[:, 1:])


def _flags(values: pa.Array) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = np.asarray(values.to_numpy(zero_copy_only=False))
    return found


def put_big_endian(values: npt.NDArray[np.int64], out: ByteMatrix) -> None:
    """Write i64 (or u64) values as 8 bytes each."""
    out[:] = values.astype(">i8").view(np.uint8).reshape(-1, 8)
