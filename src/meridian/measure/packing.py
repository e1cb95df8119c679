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


def packed_fields(schema: NetworkSchema, jobs: pa.RecordBatch) -> ByteMatrix:
    """Return the packed fields of each job, shape (n, `schema.packed_bytes`)."""
    packed = np.empty((jobs.num_rows, schema.packed_bytes), dtype=np.uint8)
    pack_fields(schema, jobs, packed)
    return packed


def pack_fields(schema: NetworkSchema, jobs: pa.RecordBatch, out: ByteMatrix) -> None:
    """Write the packed fields of each job into rows of `schema.packed_bytes` bytes."""
    at = 0
    for item in schema.fields:
        _pack(jobs.column(item.name), item, out[:, at : at + item.packed_bytes])
        at += item.packed_bytes


def _pack(values: pa.Array, item: Field, out: ByteMatrix) -> None:
    """Write one field's fixed width for every row."""
    has_nulls = values.null_count > 0
    present = _flags(values.is_valid()) if has_nulls else np.zeros(0, dtype=np.bool_)
    out[:, 0] = present if has_nulls else 1
    if item.kind is FieldKind.STRING:
        _pack_texts(values, item.max_bytes, present, out[:, 1:])
    elif item.kind is FieldKind.BOOLEAN:
        out[:, 1] = _flags(pc.fill_null(values, False) if has_nulls else values)
    else:
        numbers = np.asarray(pc.fill_null(values, 0) if has_nulls else values)
        put_big_endian(numbers, out[:, 1:])


def _pack_texts(
    texts: pa.StringArray, width: int, present: npt.NDArray[np.bool_], out: ByteMatrix
) -> None:
    kernels = bulk(len(texts))
    if kernels is not None:
        data, offsets = text_buffers(texts)
        kernels.put_texts(data, offsets, out, present=present, with_length=True)
        return
    out[:, :2] = byte_lengths(texts).astype(">u2").view(np.uint8).reshape(-1, 2)
    out[:, 2:] = byte_matrix(texts, width)
    if len(present):
        out[~present] = 0


def _flags(values: pa.Array) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = np.asarray(values.to_numpy(zero_copy_only=False))
    return found


def put_big_endian(values: npt.NDArray[np.int64], out: ByteMatrix) -> None:
    """Write i64 (or u64) values as 8 bytes each."""
    kernels = bulk(len(values))
    if kernels is not None:
        kernels.put_numbers(values.view(np.int64), out)
    else:
        out[:] = values.astype(">i8").view(np.uint8).reshape(-1, 8)
