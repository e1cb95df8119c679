"""The 100-byte row of a job, written in columns.

Layout, big-endian: schema u16 | flags u16 | job key 32 | started_us u64 | ended_us u64 | lanes 16 | private commitment 32.

Law: the row is all that a tree knows of a job. The private commitment is ``SHA256(0x10 | salt | packed fields)``: it
binds *every* field of the record, the summed ones too (a null and a 0 are the same in a lane, not here), and the salt,
``SHA256(0x11 | batch seed | job id)``, hides them, so that one job can be opened without any other.

How fields are packed: `packing`.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from meridian.errors import InvalidInput
from meridian.measure.columns import array_values, column_values, one_chunk
from meridian.measure.packing import Packer, put_big_endian
from meridian.measure.schema import NetworkSchema
from meridian.measure.strings import byte_strings, text_buffers
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.hashing import (
    DIGEST_BYTES,
    JOB_LEAF,
    PRIVATE,
    SALT,
    ByteMatrix,
    bulk,
    sha256_rows,
    tagged,
)
from meridian.primitives.sumtree import NODE_BYTES, LaneKind, leaf_node

ROW_BYTES: Final = 100
SLICE_ROWS: Final = 2_048
"""Rows packed at a time, so that they are hashed while they stand in the cache."""

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
    keys = np.empty((len(job_ids), DIGEST_BYTES), dtype=np.uint8)
    start = 0
    for chunk in job_ids.chunks:
        _hash_texts(chunk, keys[start : start + len(chunk)])
        start += len(chunk)
    return keys


@dataclass(frozen=True, slots=True)
class BatchSeeds:
    """The seed of each job's batch."""

    known: ByteMatrix
    """The distinct seeds, shape (k, 32)."""
    of: npt.NDArray[np.int32]
    """Which of them is each job's."""

    @classmethod
    def one(cls, seed: bytes, count: int) -> "BatchSeeds":
        """Return the seeds of jobs of one batch."""
        return cls(_seed_rows([seed]), np.zeros(count, dtype=np.int32))

    @classmethod
    def runs(cls, seeds: Sequence[bytes], counts: npt.NDArray[np.int64]) -> "BatchSeeds":
        """Return the seeds of batches whose jobs stand one batch behind the other."""
        return cls(_seed_rows(seeds), np.repeat(np.arange(len(seeds), dtype=np.int32), counts))

    @classmethod
    def each(cls, seeds: Sequence[bytes]) -> "BatchSeeds":
        """Return the seeds of a few jobs, listed."""
        places = {seed: at for at, seed in enumerate(dict.fromkeys(seeds))}
        of = np.fromiter((places[seed] for seed in seeds), dtype=np.int32, count=len(seeds))
        return cls(_seed_rows(list(places)), of)

    @classmethod
    def column(cls, values: pa.ChunkedArray) -> "BatchSeeds":
        """Return the seeds of a column ``batch_seed``, plain or as a dictionary."""
        encoded = one_chunk(values)
        if not isinstance(encoded, pa.DictionaryArray):
            encoded = pc.dictionary_encode(encoded)
        return cls(_seed_rows(encoded.dictionary.to_pylist()), np.asarray(encoded.indices))


def _seed_rows(seeds: Sequence[bytes]) -> ByteMatrix:
    return np.frombuffer(b"".join(seeds), dtype=np.uint8).reshape(-1, DIGEST_BYTES)


def private_commitments(
    schema: NetworkSchema, table: pa.Table, seeds: BatchSeeds | Sequence[bytes]
) -> ByteMatrix:
    """Return the private commitment of each job, shape (n, 32).

    Args:
        schema: The network's schema.
        table: Has ``job_id`` and the schema's fields as columns.
        seeds: The batch seed of each job.
    """
    if not isinstance(seeds, BatchSeeds):
        seeds = BatchSeeds.each(seeds)
    assert len(seeds.of) == table.num_rows, "one seed for each job"
    private = np.empty((table.num_rows, DIGEST_BYTES), dtype=np.uint8)
    room = np.empty(
        (min(SLICE_ROWS, table.num_rows), DIGEST_BYTES + schema.packed_bytes), dtype=np.uint8
    )
    end = 0
    for batch in _batches(table.select(["job_id", *(item.name for item in schema.fields)])):
        packer, ids = Packer(schema, batch), batch.column("job_id")
        for at in range(0, len(ids), SLICE_ROWS):
            part = ids.slice(at, SLICE_ROWS)
            start, end = end, end + len(part)
            salted = room[: len(part)]
            _hash_texts(part, salted, SALT, seeds.known, seeds.of[start:end])
            packer.pack(at, salted[:, DIGEST_BYTES:])
            sha256_rows(salted, PRIVATE, private[start:end])
    return private


def _batches(table: pa.Table) -> list[pa.RecordBatch]:
    """Return a table in batches, and not in many more than it needs in slices."""
    if max(column.num_chunks for column in table.columns) > 1 + table.num_rows // SLICE_ROWS:
        table = table.combine_chunks()
    found: list[pa.RecordBatch] = table.to_batches()
    return found


def private_commitment(seed: bytes, job_id: str, packed: bytes) -> bytes:
    """Return the private commitment of one job: how a single job is opened."""
    return tagged(PRIVATE, tagged(SALT, seed, job_id.encode()), packed)


def _hash_texts(
    texts: pa.StringArray,
    out: ByteMatrix,
    tag: int | None = None,
    seeds: ByteMatrix | None = None,
    seed_of: npt.NDArray[np.int32] | None = None,
) -> None:
    """Write SHA-256 of each text, behind its tag and seed, to the first 32 bytes of the rows of `out`."""
    if seeds is None or seed_of is None:
        seeds, seed_of = _seed_rows([]), np.zeros(0, dtype=np.int32)
    kernels = bulk(len(texts))
    if kernels is not None and kernels.texts(
        *text_buffers(texts), out, tag=tag, seeds=seeds, seed_of=seed_of
    ):
        return
    digest, head = hashlib.sha256, b"" if tag is None else bytes((tag,))
    prefixes: Iterable[bytes] = repeat(head)
    if len(seed_of):
        heads = [head + seed.tobytes() for seed in seeds]
        prefixes = map(heads.__getitem__, seed_of.tolist())
    joined = b"".join(
        [
            digest(prefix + text).digest()
            for prefix, text in zip(prefixes, byte_strings(texts), strict=False)  # may be endless
        ]
    )
    out[:, :DIGEST_BYTES] = np.frombuffer(joined, dtype=np.uint8).reshape(-1, DIGEST_BYTES)


def _numbers(values: pa.Array) -> npt.NDArray[np.int64]:
    filled: npt.NDArray[np.int64] = array_values(
        pc.fill_null(values, 0) if values.null_count else values
    )
    return filled


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
    rows = np.empty((table.num_rows, ROW_BYTES), dtype=np.uint8)
    kernels = bulk(table.num_rows)
    if kernels is not None:
        times = (column_values(table, "started_us"), column_values(table, "ended_us"))
        flags, lanes_of = column_values(table, "flags"), _lane_values(schema, table)
        kernels.put_rows(rows, schema.id, flags, (keys, private), times, lanes_of)
        return rows
    rows[:, 0:2] = np.frombuffer(schema.id.to_bytes(2, "big"), dtype=np.uint8)
    flags = column_values(table, "flags")
    rows[:, 2], rows[:, 3] = flags >> 8, flags & 0xFF
    rows[:, _KEY] = keys
    put_big_endian(column_values(table, "started_us"), rows[:, 36:44])
    put_big_endian(column_values(table, "ended_us"), rows[:, 44:52])
    lanes = schema.lanes
    rows[:, _LANES] = 0
    for at, name in enumerate(lanes.fields):
        start = _LANES.start + (8 if lanes.kind is LaneKind.U128 else 8 * at)
        put_big_endian(_numbers(one_chunk(table.column(name))), rows[:, start : start + 8])
    rows[:, _PRIVATE] = private
    return rows


def _lane_values(
    schema: NetworkSchema, table: pa.Table
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return both lanes of jobs; one that no field fills is empty."""
    none = np.zeros(0, dtype=np.int64)
    found = [_numbers(one_chunk(table.column(name))) for name in schema.lanes.fields]
    if schema.lanes.kind is LaneKind.U128:
        found.insert(0, none)
    first, second = [*found, none, none][:2]
    return first, second


def rebuild_rows(schema: NetworkSchema, table: pa.Table) -> ByteMatrix:
    """Return the rows of a segment's jobs from its columns alone, as an outsider does."""
    if table.num_rows == 0:
        return np.zeros((0, ROW_BYTES), dtype=np.uint8)
    seeds = BatchSeeds.column(table.column("batch_seed"))
    private = private_commitments(schema, table, seeds)
    return job_rows(schema, table, job_keys(table.column("job_id")), private)
