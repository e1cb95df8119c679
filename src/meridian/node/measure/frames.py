"""What the frames of the job log say: groups of batches, seals, inputs, the replay clock, and the state at the head of a file.

A group frame is ``length u32 | DAG-CBOR header | zeros to a multiple of 8 | Arrow IPC stream``; the others are a DAG-CBOR
value. A group is what became durable together: its header lists the batches, its table holds their accepted jobs, one
batch behind the other, each in the order of its records, with their job keys and private commitments, so that a seal
computes neither again. Nothing is sorted here: that would move every column twice.
"""

import enum
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import MeridianError, StorageFailure
from meridian.measure.columns import DIGEST_TYPE, field_columns, one_chunk
from meridian.measure.schema import NetworkSchema
from meridian.node.measure.job_log import ALIGNMENT, Frame
from meridian.primitives import dagcbor
from meridian.primitives.hashing import DIGEST_BYTES, ByteMatrix

_LENGTH_BYTES: Final = 4
_SEED_TYPE: Final = pa.dictionary(pa.int32(), DIGEST_TYPE)


class Kind(enum.IntEnum):
    """The kinds of frame; numbers are never used again (2 and 6 were groups)."""

    STATE = 1
    SEAL = 3
    INPUT = 4
    CLOCK = 5
    GROUP = 7
    CLAIM = 8
    """What another server asked for and got (`measure.claims`); in the coordinator's log alone."""


def control_document(frame: Frame) -> dict[str, Any]:
    """Return what a frame says that is no group.

    Raises:
        StorageFailure: If it is a group of an earlier version (kinds 2 and 6): its batches have other names, so that one
            that is sent again would not be known.
    """
    if frame.kind not in tuple(Kind) or frame.kind == Kind.GROUP:
        raise StorageFailure(
            f"the job log holds a frame of kind {frame.kind}: seal and commit its epochs with the version that wrote it,"
            " then start with an empty log"
        )
    document: dict[str, Any] = dagcbor.decode(bytes(frame.payload))
    return document


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """One accepted batch of a group."""

    batch: bytes
    """Its name (`batch_signature.batch_name`)."""
    seed: bytes
    sequence: int
    rows: int
    """Accepted jobs, at least 1."""
    response: bytes
    """The answer, JSON, exactly as it was and will be given."""
    epochs: tuple[tuple[int, int], ...]
    """(epoch, number of accepted jobs)."""
    duplicates: tuple[tuple[int, int], ...]
    """(epoch, number of submissions of jobs that were accepted before)."""

    def document(self) -> dict[str, Any]:
        """Return what stands in the header."""
        return {
            "batch": self.batch,
            "seed": self.seed,
            "sequence": self.sequence,
            "rows": self.rows,
            "response": self.response,
            "epochs": [list(item) for item in self.epochs],
            "duplicates": [list(item) for item in self.duplicates],
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> "BatchEntry":
        """Read what stands in the header."""
        return cls(
            batch=document["batch"],
            seed=document["seed"],
            sequence=document["sequence"],
            rows=document["rows"],
            response=document["response"],
            epochs=tuple((epoch, count) for epoch, count in document["epochs"]),
            duplicates=tuple((epoch, count) for epoch, count in document["duplicates"]),
        )


class _Parts(io.RawIOBase):
    """A file that keeps what is written to it, uncopied: Arrow hands over its buffers themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[memoryview] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        part = memoryview(data)
        self.parts.append(part)
        return part.nbytes


@dataclass(frozen=True, slots=True)
class GroupFrame:
    """Batches that are written together."""

    batches: tuple[BatchEntry, ...]
    jobs: pa.Table
    """The columns of `log_columns`, ``sum(rows)`` of them, batch behind batch."""

    def encode(self) -> list[bytes | memoryview]:
        """Return the payload in parts, the columns where they lie: a copy of them costs more than many parts."""
        header = dagcbor.encode({"batches": [entry.document() for entry in self.batches]})
        start = _LENGTH_BYTES + len(header)
        head = len(header).to_bytes(_LENGTH_BYTES, "big") + header + bytes(-start % ALIGNMENT)
        stream = _Parts()
        with pa.ipc.new_stream(stream, self.jobs.schema) as writer:
            writer.write_table(self.jobs)
        return [head, *stream.parts]

    @classmethod
    def decode(cls, payload: memoryview) -> "GroupFrame":
        """Read a payload of our own log; the columns lie in it, uncopied.

        Raises:
            StorageFailure: If it is not one.
        """
        return cls(batch_entries(payload), group_jobs(payload))


def group_jobs(payload: memoryview) -> pa.Table:
    """Read the jobs of a group's payload, without its batches; the columns lie in it, uncopied.

    Raises:
        StorageFailure: If it is not one.
    """
    start = _LENGTH_BYTES + int.from_bytes(payload[:_LENGTH_BYTES], "big")
    start += -start % ALIGNMENT
    try:
        with pa.ipc.open_stream(pa.py_buffer(payload[start:])) as reader:
            return reader.read_all()
    except (pa.ArrowException, OSError) as error:
        raise StorageFailure(f"a group in the job log cannot be read: {error}") from error


def batch_entries(payload: memoryview) -> tuple[BatchEntry, ...]:
    """Read the batches of a group's payload, without its jobs.

    Raises:
        StorageFailure: If it is not one.
    """
    end = _LENGTH_BYTES + int.from_bytes(payload[:_LENGTH_BYTES], "big")
    try:
        documents = dagcbor.decode(bytes(payload[_LENGTH_BYTES:end]))["batches"]
        return tuple(map(BatchEntry.read, documents))
    except (MeridianError, KeyError, TypeError, ValueError) as error:
        raise StorageFailure(f"a group in the job log cannot be read: {error}") from error


def log_columns(schema: NetworkSchema) -> pa.Schema:
    """Return the columns of jobs in the log."""
    return pa.schema(
        [
            pa.field("epoch", pa.int64(), nullable=False),
            pa.field("node_id", pa.string(), nullable=False),
            pa.field("job_id", pa.string(), nullable=False),
            pa.field("flags", pa.uint16(), nullable=False),
            pa.field("started_us", pa.int64(), nullable=False),
            pa.field("ended_us", pa.int64(), nullable=False),
            *field_columns(schema),
            pa.field("job_key", DIGEST_TYPE, nullable=False),
            pa.field("private", DIGEST_TYPE, nullable=False),
            pa.field("batch_seed", _SEED_TYPE, nullable=False),
        ]
    )


def seed_column(seeds: Sequence[bytes], rows: npt.NDArray[np.int64]) -> pa.DictionaryArray:
    """Return the column ``batch_seed`` of batches with so many rows each; equal seeds share an entry."""
    places: dict[bytes, int] = {}
    at = np.array([places.setdefault(seed, len(places)) for seed in seeds], dtype=np.int32)
    return pa.DictionaryArray.from_arrays(np.repeat(at, rows), pa.array(places, DIGEST_TYPE))


def digest_column(digests: ByteMatrix) -> pa.Array:
    """Return rows of 32 bytes as an Arrow column, which shares their memory if they lie together."""
    data = pa.py_buffer(np.ascontiguousarray(digests))
    return pa.FixedSizeBinaryArray.from_buffers(DIGEST_TYPE, len(digests), [None, data])


def digest_rows(column: pa.ChunkedArray) -> ByteMatrix:
    """Return an Arrow column of 32-byte values without nulls as rows."""
    if len(column) == 0:
        return np.zeros((0, DIGEST_BYTES), dtype=np.uint8)
    array = one_chunk(column)
    start = array.offset * DIGEST_BYTES
    data = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    return data[start : start + len(array) * DIGEST_BYTES].reshape(-1, DIGEST_BYTES)
