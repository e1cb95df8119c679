"""A frame of the job log: everything that was promised for one batch.

    version u8 | sequence u64 | batch 32 | seed 32 | received_at_us u64
    | parts u32 | parts x (epoch u64 | jobs u32 | duplicates u32) | answer (u32 length) | Arrow IPC stream

The Arrow stream holds the accepted jobs, sorted by (node key, job key): typed columns, ``epoch``, ``flags``, and ``row``,
the 100 bytes of which the trees are made. The answer is the body that the submitter got, and gets again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from meridian.measure.columns import one_chunk
from meridian.measure.row import ROW_BYTES
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.hashing import DIGEST_BYTES, ByteMatrix

VERSION: Final = 1
NO_RECEIPT: Final = (1 << 64) - 1
"""The sequence of a batch in which nothing was new."""

ROW_COLUMN: Final = "row"

_ROW_FIELD: Final = pa.field(ROW_COLUMN, pa.binary(ROW_BYTES), nullable=False)


@dataclass(frozen=True, slots=True)
class EpochPart:
    """What a batch adds to one epoch."""

    epoch: int
    jobs: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One batch, accepted."""

    sequence: int
    """That of its receipt."""
    batch: bytes
    """The name under which the same batch is known again."""
    seed: bytes
    received_at_us: int
    parts: tuple[EpochPart, ...]
    answer: bytes
    stream: bytes
    """The jobs as an Arrow IPC stream."""

    def encode(self) -> bytes:
        """Return the frame's bytes."""
        writer = (
            Writer()
            .u8(VERSION)
            .u64(self.sequence)
            .fixed(self.batch, DIGEST_BYTES)
            .fixed(self.seed, DIGEST_BYTES)
            .u64(self.received_at_us)
            .u32(len(self.parts))
        )
        for part in self.parts:
            writer.u64(part.epoch).u32(part.jobs).u32(part.duplicates)
        return writer.blob(self.answer).blob(self.stream).bytes()

    @classmethod
    def decode(cls, data: bytes) -> "Frame":
        """Read a frame.

        Raises:
            InvalidInput: If it is not one of this version.
        """
        reader = Reader(data)
        version = reader.u8()
        assert version == VERSION, f"job log of version {version}"
        frame = cls(
            sequence=reader.u64(),
            batch=reader.fixed(DIGEST_BYTES),
            seed=reader.fixed(DIGEST_BYTES),
            received_at_us=reader.u64(),
            parts=tuple(
                EpochPart(reader.u64(), reader.u32(), reader.u32()) for _ in range(reader.u32())
            ),
            answer=reader.blob(),
            stream=reader.blob(),
        )
        reader.finish()
        return frame

    @property
    def jobs(self) -> pa.Table:
        """The accepted jobs."""
        with pa.ipc.open_stream(self.stream) as stream:
            return stream.read_all()


def write_stream(table: pa.Table, rows: ByteMatrix) -> bytes:
    """Return jobs and their rows as an Arrow IPC stream."""
    column = fixed_binary(rows)
    sink = pa.BufferOutputStream()
    whole = table.append_column(_ROW_FIELD, column)
    with pa.ipc.new_stream(sink, whole.schema) as stream:
        stream.write_table(whole)
    return bytes(sink.getvalue())


def fixed_binary(rows: ByteMatrix) -> pa.Array:
    """Return a byte matrix as an Arrow column of fixed width."""
    data = pa.py_buffer(np.ascontiguousarray(rows))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(rows.shape[1]), len(rows), [None, data])


def repeated(value: bytes, count: int) -> pa.Array:
    """Return a column that holds the same bytes everywhere."""
    return fixed_binary(np.tile(np.frombuffer(value, dtype=np.uint8), (count, 1)))


def byte_rows(column: pa.ChunkedArray) -> ByteMatrix:
    """Return a column of fixed width as a byte matrix."""
    width = column.type.byte_width
    if len(column) == 0:
        return np.zeros((0, width), dtype=np.uint8)
    array = one_chunk(column)
    data = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    start = array.offset * width
    return data[start : start + len(array) * width].reshape(len(array), width)


def epoch_parts(epochs: Any, duplicates: dict[int, int]) -> tuple[EpochPart, ...]:
    """Return what a batch adds to each epoch, ascending.

    Args:
        epochs: The epoch of each accepted job, as a numpy array.
        duplicates: Epoch -> jobs refused because they were accepted before.
    """
    found, counts = np.unique(epochs, return_counts=True)
    jobs: dict[int, int] = dict(zip(found.tolist(), counts.tolist(), strict=True))
    names: Sequence[int] = sorted(jobs.keys() | duplicates.keys())
    return tuple(EpochPart(name, jobs.get(name, 0), duplicates.get(name, 0)) for name in names)
