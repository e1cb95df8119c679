"""The sealed store: an epoch's rows and inner nodes in order on the disk, so that any proof is a few short reads.

    sealed/<6 digits>/rows       every job's row of 100 bytes, in the order of the epoch
    sealed/<6 digits>/subtrees   of every node's job tree the nodes of level 8; behind them those of level 16, then 24
    sealed/<6 digits>/nodes      the node rows of 116 bytes | places, four u64 each | levels 8, 16, 24 of the node tree
    sealed/<6 digits>/header     DAG-CBOR, CRC-32

A node's place says where its job tree begins: its first row, and its first node in each of the three levels.

Law: it is a cache. Everything in it follows from the published segments, it stands whole or not at all, and whatever it
gives must lead to the epoch's root; if it does not, or a disk does not give it, the error is a `StorageFailure` and the
segments answer. It is read by positioned reads and not by mapping: a failing disk is an exception then, not a signal
that ends the process.
"""

import contextlib
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import numpy as np
import numpy.typing as npt

from meridian.errors import InvalidInput, StorageFailure
from meridian.measure.commitment import EpochCommitment
from meridian.measure.forest import forest_roots
from meridian.measure.stored_tree import (
    GROUP,
    JOB_ROWS,
    NODE_ROWS,
    STORED_LEVELS,
    level_above,
    stored_sizes,
)
from meridian.node.durable_file import sync_directory
from meridian.primitives import dagcbor
from meridian.primitives.checksum import crc32
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.sumtree import NODE_BYTES, LaneKind

PLACE_BYTES: Final = 8 * (1 + len(STORED_LEVELS))
VERSION: Final = 1
_STEP: Final = GROUP * GROUP
"""Nodes that are read at a time to make the level above."""
_CRC_BYTES: Final = 4
FILES: Final = ("rows", "subtrees", "nodes")
SYNC_BYTES: Final = 8 << 20
"""After so many the disk is waited for: one sync of everything at the end would hold up the job log's for as long as it takes."""


@dataclass(frozen=True, slots=True)
class Header:
    """What an epoch's store says of itself."""

    epoch: int
    root: bytes
    n_nodes: int
    jobs: int
    lanes: LaneKind
    levels: tuple[int, ...]
    """Nodes of each of `STORED_LEVELS` in all job trees together."""
    crcs: tuple[int, ...]
    """CRC-32 of rows, subtrees and nodes."""

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each file."""
        node_levels = sum(stored_sizes(self.n_nodes)) * NODE_BYTES
        return {
            "rows": self.jobs * JOB_ROWS.width,
            "subtrees": sum(self.levels) * NODE_BYTES,
            "nodes": self.n_nodes * (NODE_ROWS.width + PLACE_BYTES) + node_levels,
        }

    def encode(self) -> bytes:
        """Return the file's bytes."""
        names = self.__dataclass_fields__
        values = dict(zip(names, astuple(self), strict=True))
        values |= {"lanes": self.lanes.value, "levels": [*self.levels], "crcs": [*self.crcs]}
        data = dagcbor.encode({"v": VERSION} | values)
        return data + zlib.crc32(data).to_bytes(_CRC_BYTES, "big")

    @classmethod
    def decode(cls, data: bytes) -> "Header":
        """Read the file.

        Raises:
            InvalidInput: If it is not such a file, or damaged.
        """
        body, crc = data[:-_CRC_BYTES], data[-_CRC_BYTES:]
        if zlib.crc32(body).to_bytes(_CRC_BYTES, "big") != crc:
            raise InvalidInput("header", "its CRC is wrong")
        values: dict[str, Any] = dagcbor.decode(body)
        if values.pop("v", None) != VERSION or values.keys() != cls.__dataclass_fields__.keys():
            raise InvalidInput("header", f"it is not one of version {VERSION}")
        lanes = LaneKind(values.pop("lanes"))
        levels, crcs = tuple(values.pop("levels")), tuple(values.pop("crcs"))
        return cls(lanes=lanes, levels=levels, crcs=crcs, **values)


def job_places(counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], tuple[int, ...]]:
    """Return where each node's job tree begins in the rows and in each stored level, and how many there are in all.

    Args:
        counts: The jobs of each node.
    """
    level8 = -(-counts // GROUP)
    level16 = np.where(level8 > GROUP, -(-level8 // GROUP), 0)
    level24 = np.where(level16 > GROUP, -(-level16 // GROUP), 0)
    sizes = np.stack([counts, level8, level16, level24], axis=1)
    ends = np.cumsum(sizes, axis=0)
    totals = ends[-1].tolist() if len(ends) else [0] * sizes.shape[1]
    return ends - sizes, tuple(totals)


class SealedWriter:
    """Writes one epoch's store; as a context it leaves nothing behind unless it was finished.

    Args:
        directory: The directory ``sealed``; made when absent.
        epoch: The epoch's number.
        lanes: Those of the network's schema.

    Raises:
        StorageFailure: If the disk refuses, here and in every method.
    """

    def __init__(self, directory: Path, epoch: int, lanes: LaneKind) -> None:
        self._directory, self._epoch, self._lanes = directory, epoch, lanes
        self._target = epoch_directory(directory, epoch)
        self._temporary = directory / f".{self._target.name}.tmp"
        self._crcs = dict.fromkeys(FILES, 0)
        self._waiting = 0
        with disk(self._temporary):
            directory.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary.mkdir()
            self._files: dict[str, BinaryIO] = {
                name: (self._temporary / name).open("w+b") for name in FILES
            }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop what was not finished."""
        for file in self._files.values():
            with contextlib.suppress(OSError):
                file.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def rows(self, rows: ByteMatrix) -> None:
        """Append job rows, in the order of the epoch."""
        self._append("rows", rows)

    def subtrees(self, nodes: ByteMatrix) -> None:
        """Append nodes of level 8: of every node's job tree all, also a last one over fewer than 256 jobs."""
        self._append("subtrees", nodes)

    def _append(self, name: str, matrix: ByteMatrix) -> None:
        data = np.ascontiguousarray(matrix).data.cast("B") if matrix.size else b""
        with disk(self._temporary / name):
            file = self._files[name]
            file.write(data)
            self._waiting += len(data)
            if self._waiting >= SYNC_BYTES:
                self._waiting = 0
                file.flush()
                os.fdatasync(file.fileno())
        self._crcs[name] = crc32(data, self._crcs[name])

    def finish(self, commitment: EpochCommitment) -> None:
        """Complete the store and put it in its place; from then on it is durable.

        Raises:
            InvalidInput: If what was written is not the commitment's.
        """
        nodes = commitment.nodes
        counts = np.array(nodes.job_counts, dtype=np.int64)
        places, (jobs, *levels) = job_places(counts)
        written = [file.tell() for file in self._files.values()]
        if written != [jobs * JOB_ROWS.width, levels[0] * NODE_BYTES, 0]:
            raise InvalidInput("sealed", "rows or subtrees are not as many as the nodes' jobs need")
        if len(nodes.rows):
            level8 = self._read_back(0, levels[0])
            roots = forest_roots(level8, -(-counts // GROUP), JOB_ROWS.tag, self._lanes)
            if (roots != nodes.rows[:, 60:]).any():
                raise InvalidInput("sealed", "the subtrees do not lead to the job trees' roots")
        self._add_levels(places, levels)
        self._add_nodes(nodes.rows, places)
        header = Header(
            epoch=self._epoch,
            root=commitment.root,
            n_nodes=len(nodes.rows),
            jobs=jobs,
            lanes=self._lanes,
            levels=tuple(levels),
            crcs=tuple(self._crcs.values()),
        )
        with disk(self._temporary):
            self._publish(header.encode())

    def _read_back(self, first: int, count: int) -> ByteMatrix:
        with disk(self._temporary / "subtrees"):
            file = self._files["subtrees"]
            file.flush()
            return as_matrix(
                read_at(file.fileno(), first * NODE_BYTES, count * NODE_BYTES), NODE_BYTES
            )

    def _add_levels(self, places: npt.NDArray[np.int64], levels: Sequence[int]) -> None:
        """Append levels 16 and 24 of the job trees that have them."""
        ends = np.vstack([places[1:, 1:], [levels]]) if len(places) else places[:, 1:]
        base = 0
        for at in (1, 2):
            sizes = ends[:, at] - places[:, 1 + at]
            for node in np.flatnonzero(sizes).tolist():
                start, end = int(places[node, at]), int(ends[node, at - 1])
                for first in range(start, end, _STEP):
                    below = self._read_back(base + first, min(_STEP, end - first))
                    self._append("subtrees", level_above(below, JOB_ROWS.tag, self._lanes))
            base += levels[at - 1]

    def _add_nodes(self, rows: ByteMatrix, places: npt.NDArray[np.int64]) -> None:
        self._append("nodes", rows)
        self._append("nodes", np.ascontiguousarray(places.astype(">u8")).view(np.uint8))
        nodes = NODE_ROWS.leaves(rows) if len(rows) else np.zeros((0, NODE_BYTES), np.uint8)
        for count in stored_sizes(len(rows)):
            if count:
                nodes = level_above(nodes, NODE_ROWS.tag, self._lanes)
                self._append("nodes", nodes)

    def _publish(self, header: bytes) -> None:
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()
        with (self._temporary / "header").open("wb") as file:
            file.write(header)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self._temporary)
        if self._target.exists():
            shutil.rmtree(self._target)
        self._temporary.rename(self._target)
        sync_directory(self._directory)


def epoch_directory(directory: Path, epoch: int) -> Path:
    """Return where an epoch's store stands, or would stand."""
    return directory / f"{epoch:06d}"


@contextlib.contextmanager
def disk(path: Path) -> Iterator[None]:
    """Turn what a disk refuses into a `StorageFailure` with the path."""
    try:
        yield
    except OSError as error:
        raise StorageFailure(f"{path}: {error.strerror or error}") from error


def as_matrix(data: bytes, width: int) -> ByteMatrix:
    """Return bytes as rows of a width."""
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, width)


def read_at(descriptor: int, offset: int, size: int) -> bytes:
    """Read exactly `size` bytes of a file.

    Raises:
        OSError: If the disk does not give them.
    """
    data = os.pread(descriptor, size, offset)
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), offset + len(data))
        if not more:
            raise OSError(0, "the file is shorter than it was")
        data += more
    return data
