"""The 100-byte row of a job, written in columns.

Layout, big-endian: schema u16 | flags u16 | job key 32 | started_us u64 | ended_us u64 | lanes 16 | private commitment 32.

Law: the row is all that a tree knows of a job. The private commitment is ``SHA256(0x10 | salt | packed fields)``: it
binds *every* field of the record, the summed ones too (a null and a 0 are the same in a lane, not here), and the salt,
``SHA256(0x11 | batch seed | job id)``, hides them, so that one job can be opened without any other.

Packed fields, in schema order, each of fixed width: one byte 1 (or 0 for null, and zeros follow), then an integer or
decimal as two's complement i64, a boolean as one byte, a string as its length u16 and its bytes padded with zeros.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from meridian.errors import InvalidInput
from meridian.measure.columns import column_values, one_chunk
from meridian.measure.schema import Field, FieldKind, NetworkSchema
from meridian.measure.strings import byte_lengths, byte_matrix, byte_strings
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.hashing import (
    DIGEST_BYTES,
    JOB_LEAF,
    PRIVATE,
    SALT,
    ByteMatrix,
    bulk,
    sha256_rows,
    tag_rows,
    tagged,
)
from meridian.primitives.sumtree import NODE_BYTES, LaneKind, leaf_node

ROW_BYTES: Final = 100
SLICE_ROWS: Final = 65_536
"""Rows packed at a time, so that wide strings cost a bounded amount of memory."""

_KEY: Final = slice(4, 36)
_LANES: Final = slice(52, 68)
_PRIVATE: Final = slice(68, 100)


@dataclass(frozen=True, slots=True)
class JobRow:
    """One row, read."""

    schema: int
    flags: int
    job_key: bytes
    started_us: int
    ended_us: int
    lanes: bytes
    private: bytes

    def encode(self) -> bytes:
        """Return the 100 bytes."""
        return (
            Writer()
            .u16(self.schema)
            .u16(self.flags)
            .fixed(self.job_key, DIGEST_BYTES)
            .u64(self.started_us)
            .u64(self.ended_us)
            .fixed(self.lanes, 16)
            .fixed(self.private, DIGEST_BYTES)
            .bytes()
        )

    @classmethod
    def decode(cls, data: bytes) -> "JobRow":
        """Read 100 bytes.

        Raises:
            InvalidInput: If they are not 100.
        """
        reader = Reader(data)
        row = cls(
            schema=reader.u16(),
            flags=reader.u16(),
            job_key=reader.fixed(DIGEST_BYTES),
            started_us=reader.u64(),
            ended_us=reader.u64(),
            lanes=reader.fixed(16),
            private=reader.fixed(DIGEST_BYTES),
        )
        reader.finish()
        return row


def job_leaf(row: bytes) -> bytes:
    """Return the 56-byte tree node of one row."""
    if len(row) != ROW_BYTES:
        raise InvalidInput("row", f"{len(row)} bytes where {ROW_BYTES} are needed")
    return leaf_node(tagged(JOB_LEAF, row), 1, row[_LANES])


def job_leaves(rows: ByteMatrix) -> ByteMatrix:
    """Return the tree nodes of many rows, shape (n, 56)."""
    kernels = bulk(len(rows))
    if kernels is not None:
        leaves = np.empty((len(rows), NODE_BYTES), dtype=np.uint8)
        kernels.leaves(rows, JOB_LEAF, _LANES.start, leaves)
        return leaves
    leaves = np.zeros((len(rows), NODE_BYTES), dtype=np.uint8)
    sha256_rows(rows, JOB_LEAF, leaves)
    leaves[:, 39] = 1  # the count, u64
    leaves[:, 40:] = rows[:, _LANES]
    return leaves


def row_keys(rows: ByteMatrix) -> ByteMatrix:
    """Return the job keys of rows, shape (n, 32)."""
    return rows[:, _KEY]


def job_keys(job_ids: pa.ChunkedArray) -> ByteMatrix:
    """Return the keys of many job ids, shape (n, 32)."""
    starts = range(0, len(job_ids), SLICE_ROWS) or (0,)
    return np.concatenate(
        [_hash_texts(repeat(b""), job_ids.slice(start, SLICE_ROWS)) for start in starts]
    )


def private_commitments(
    schema: NetworkSchema, table: pa.Table, seeds: Sequence[bytes]
) -> ByteMatrix:
    """Return the private commitment of each job, shape (n, 32).

    Args:
        schema: The network's schema.
        table: Has ``job_id`` and the schema's fields as columns.
        seeds: The batch seed of each job.
    """
    assert len(seeds) == table.num_rows, "one seed for each job"
    if not len(seeds):
        return np.zeros((0, DIGEST_BYTES), dtype=np.uint8)
    tag = bytes((SALT,))
    prefixes = {seed: tag + seed for seed in set(seeds)}
    parts = []
    for start in range(0, table.num_rows, SLICE_ROWS):
        part = table.slice(start, SLICE_ROWS)
        before = [prefixes[seed] for seed in seeds[start : start + SLICE_ROWS]]
        salts = _hash_texts(before, part.column("job_id"))
        parts.append(sha256_rows(tag_rows(PRIVATE, salts, packed_fields(schema, part))))
    return np.concatenate(parts)


def private_commitment(seed: bytes, job_id: str, packed: bytes) -> bytes:
    """Return the private commitment of one job: how a single job is opened."""
    return tagged(PRIVATE, tagged(SALT, seed, job_id.encode()), packed)


def _hash_texts(prefixes: Iterable[bytes], texts: pa.ChunkedArray) -> ByteMatrix:
    """Return SHA-256 of each prefix and text, shape (n, 32)."""
    digest = hashlib.sha256
    encoded = [text for chunk in texts.chunks for text in byte_strings(chunk)]
    joined = b"".join(
        [
            digest(prefix + text).digest()
            for prefix, text in zip(prefixes, encoded, strict=False)  # prefixes may be endless
        ]
    )
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, DIGEST_BYTES)


def packed_fields(schema: NetworkSchema, table: pa.Table) -> ByteMatrix:
    """Return the packed fields of each job, shape (n, `schema.packed_bytes`)."""
    packed = np.zeros((table.num_rows, schema.packed_bytes), dtype=np.uint8)
    at = 0
    for item in schema.fields:
        _pack(packed[:, at : at + item.packed_bytes], one_chunk(table.column(item.name)), item)
        at += item.packed_bytes
    return packed


def _pack(out: ByteMatrix, values: pa.Array, item: Field) -> None:
    """Write one field's fixed width for every row."""
    present: npt.NDArray[np.bool_] = np.asarray(pc.is_valid(values).to_numpy(zero_copy_only=False))
    out[:, 0] = present
    if item.kind is FieldKind.STRING:
        lengths = byte_lengths(values)
        out[:, 1] = lengths >> 8
        out[:, 2] = lengths & 0xFF
        out[:, 3:] = byte_matrix(values, item.max_bytes)
    elif item.kind is FieldKind.BOOLEAN:
        out[:, 1] = np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False))
    else:
        out[:, 1:] = _big_endian(_numbers(values), ">i8")
    if not present.all():
        out[~present, 1:] = 0


def _numbers(values: pa.Array) -> npt.NDArray[np.int64]:
    filled: npt.NDArray[np.int64] = np.asarray(pc.fill_null(values, 0))
    return filled


def _big_endian(values: npt.NDArray[Any], kind: str) -> ByteMatrix:
    width = np.dtype(kind).itemsize
    return np.ascontiguousarray(values.astype(kind)).view(np.uint8).reshape(len(values), width)


def job_rows(
    schema: NetworkSchema, table: pa.Table, keys: ByteMatrix, private: ByteMatrix
) -> ByteMatrix:
    """Return the rows of jobs, shape (n, 100).

    Args:
        schema: The network's schema.
        table: Has ``flags``, ``started_us``, ``ended_us`` and the schema's fields as columns.
        keys: The job keys.
        private: The private commitments.
    """
    rows = np.zeros((table.num_rows, ROW_BYTES), dtype=np.uint8)
    rows[:, 0:2] = np.frombuffer(schema.id.to_bytes(2, "big"), dtype=np.uint8)
    rows[:, 2:4] = _big_endian(column_values(table, "flags"), ">u2")
    rows[:, _KEY] = keys
    rows[:, 36:44] = _big_endian(column_values(table, "started_us"), ">u8")
    rows[:, 44:52] = _big_endian(column_values(table, "ended_us"), ">u8")
    lanes = schema.lanes
    for at, name in enumerate(lanes.fields):
        start = _LANES.start + (8 if lanes.kind is LaneKind.U128 else 8 * at)
        rows[:, start : start + 8] = _big_endian(_numbers(one_chunk(table.column(name))), ">u8")
    rows[:, _PRIVATE] = private
    return rows


def rebuild_rows(schema: NetworkSchema, table: pa.Table) -> ByteMatrix:
    """Return the rows of a segment's jobs from its columns alone, as an outsider does."""
    if table.num_rows == 0:
        return np.zeros((0, ROW_BYTES), dtype=np.uint8)
    encoded = pc.dictionary_encode(one_chunk(table.column("batch_seed")))
    known: list[bytes] = encoded.dictionary.to_pylist()  # few: each stands for a whole batch
    seeds = [known[at] for at in encoded.indices.to_pylist()]
    private = private_commitments(schema, table, seeds)
    return job_rows(schema, table, job_keys(table.column("job_id")), private)
