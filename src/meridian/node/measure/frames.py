"""What the frames of the job log say: batches, seals, inputs, the replay clock, and the state at the head of a file.

A batch frame is ``length u32 | DAG-CBOR header | Arrow IPC stream``; the others are a DAG-CBOR value. The jobs of a batch
stand sorted by (node key, job key), with their job keys and private commitments, so that a seal computes neither again.
"""

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from meridian.errors import StorageFailure
from meridian.measure.columns import DIGEST_TYPE, field_columns, one_chunk
from meridian.measure.schema import NetworkSchema
from meridian.primitives import dagcbor
from meridian.primitives.hashing import DIGEST_BYTES, ByteMatrix


class Kind(enum.IntEnum):
    """The kinds of frame; numbers are never used again."""

    STATE = 1
    BATCH = 2
    SEAL = 3
    INPUT = 4
    CLOCK = 5


@dataclass(frozen=True, slots=True)
class BatchFrame:
    """One accepted batch."""

    batch: bytes
    """SHA-256 of seed and body."""
    seed: bytes
    sequence: int
    response: bytes
    """The answer, JSON, exactly as it was and will be given."""
    epochs: tuple[tuple[int, int], ...]
    """(epoch, number of accepted jobs)."""
    duplicates: tuple[tuple[int, int], ...]
    """(epoch, number of submissions of jobs that were accepted before)."""
    jobs: pa.Table
    """The columns of `log_columns`."""

    def encode(self) -> bytes:
        """Return the payload."""
        header = dagcbor.encode(
            {
                "batch": self.batch,
                "seed": self.seed,
                "sequence": self.sequence,
                "response": self.response,
                "epochs": [list(item) for item in self.epochs],
                "duplicates": [list(item) for item in self.duplicates],
            }
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.jobs.schema) as writer:
            writer.write_table(self.jobs)
        stream: bytes = sink.getvalue().to_pybytes()
        return len(header).to_bytes(4, "big") + header + stream

    @classmethod
    def decode(cls, payload: bytes) -> "BatchFrame":
        """Read a payload of our own log.

        Raises:
            StorageFailure: If it is not one.
        """
        end = 4 + int.from_bytes(payload[:4], "big")
        try:
            header: dict[str, Any] = dagcbor.decode(payload[4:end])
            with pa.ipc.open_stream(pa.py_buffer(payload)[end:]) as reader:
                jobs = reader.read_all()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise StorageFailure(f"a batch in the job log cannot be read: {error}") from error
        return cls(
            batch=header["batch"],
            seed=header["seed"],
            sequence=header["sequence"],
            response=header["response"],
            epochs=tuple((epoch, count) for epoch, count in header["epochs"]),
            duplicates=tuple((epoch, count) for epoch, count in header["duplicates"]),
            jobs=jobs,
        )


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
        ]
    )


def digest_column(digests: ByteMatrix) -> pa.Array:
    """Return rows of 32 bytes as an Arrow column."""
    data = pa.py_buffer(np.ascontiguousarray(digests).tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(DIGEST_TYPE, len(digests), [None, data])


def digest_rows(column: pa.ChunkedArray) -> ByteMatrix:
    """Return an Arrow column of 32-byte values without nulls as rows."""
    if len(column) == 0:
        return np.zeros((0, DIGEST_BYTES), dtype=np.uint8)
    array = one_chunk(column)
    start = array.offset * DIGEST_BYTES
    data = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    return data[start : start + len(array) * DIGEST_BYTES].reshape(-1, DIGEST_BYTES)
