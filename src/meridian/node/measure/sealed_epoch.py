"""Reading the sealed store: one epoch's rows, places and paths, and a bounded number of open epochs.

An epoch is opened without reading it: the header's CRC, the files' sizes, and that the highest stored nodes of the node
tree lead to the root that the header names. `SealedEpoch.check` reads everything.
"""

import os
import shutil
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from meridian.errors import InvalidInput, NotFound, StorageFailure
from meridian.measure.commitment import committed_root
from meridian.measure.stored_tree import (
    JOB_ROWS,
    NODE_ROWS,
    STORED_LEVELS,
    StoredTree,
    stored_sizes,
)
from meridian.node.durable_file import read_whole
from meridian.node.measure.sealed_store import (
    FILES,
    PLACE_BYTES,
    Header,
    as_matrix,
    disk,
    epoch_directory,
    read_at,
)
from meridian.primitives.checksum import crc32
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.sumtree import NODE_BYTES, SumTree

EPOCHS_KEPT: Final = 64
"""Epochs that stay open: three files each."""
AHEAD_BYTES: Final = 1 << 19
"""Of the nodes: all of them in an epoch of some 3,000, so that a question waits for the disk once and not for each part."""
_CHECK_BYTES: Final = 1 << 22
_JOB_COUNT: Final = slice(92, 100)


class _Files:
    """The open files of one epoch; closed when nobody holds them any more."""

    def __init__(self, directory: Path, header: Header) -> None:
        self._directory = directory
        self._descriptors: dict[str, int] = {}
        weakref.finalize(self, _close, self._descriptors)
        for name, size in header.sizes.items():
            with disk(directory / name):
                self._descriptors[name] = os.open(directory / name, os.O_RDONLY | os.O_CLOEXEC)
                found = os.fstat(self._descriptors[name]).st_size
            if found != size:
                raise StorageFailure(f"{directory / name}: {found} bytes where {size} are needed")

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Read a part of one of the files."""
        with disk(self._directory / name):
            return read_at(self._descriptors[name], offset, size)

    def will_need(self, name: str, offset: int, size: int) -> None:
        """Let the kernel begin to read a part of one of the files."""
        with disk(self._directory / name):
            os.posix_fadvise(self._descriptors[name], offset, size, os.POSIX_FADV_WILLNEED)


def _close(descriptors: dict[str, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Shelf:
    """One tree's parts of the files."""

    files: _Files
    file: str
    row_offset: int
    width: int
    level_file: str
    level_offsets: tuple[int, ...]

    def rows(self, first: int, count: int) -> ByteMatrix:
        """Return some of the tree's rows."""
        return as_matrix(self.files.read(*self._where(0, first, count)), self.width)

    def nodes(self, level: int, first: int, count: int) -> ByteMatrix:
        """Return some of the tree's nodes of a level."""
        return as_matrix(self.files.read(*self._where(level, first, count)), NODE_BYTES)

    def will_need(self, level: int, first: int, count: int) -> None:
        """Let the kernel begin to read some nodes, or rows at level 0."""
        self.files.will_need(*self._where(level, first, count))

    def _where(self, level: int, first: int, count: int) -> tuple[str, int, int]:
        if level == 0:
            return self.file, self.row_offset + first * self.width, count * self.width
        offset = self.level_offsets[STORED_LEVELS.index(level)] + first * NODE_BYTES
        return self.level_file, offset, count * NODE_BYTES


class SealedEpoch:
    """One open epoch; threads may share it.

    Args:
        directory: The epoch's directory.

    Raises:
        NotFound: If there is none.
        StorageFailure: If it is damaged or cannot be read, here and in every method.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            self.header = Header.decode(read_whole(directory / "header"))
        except (InvalidInput, ValueError) as error:
            raise StorageFailure(f"{directory}: {error}") from error
        self._files = _Files(directory, self.header)
        self._files.will_need("nodes", 0, AHEAD_BYTES)
        self._identity = _identity(directory)
        self.nodes = self._node_tree()
        """The node tree."""
        self._check_root()

    def _node_tree(self) -> StoredTree:
        n_nodes = self.header.n_nodes
        offsets, at = [], n_nodes * (NODE_ROWS.width + PLACE_BYTES)
        for count in stored_sizes(n_nodes):
            offsets.append(at)
            at += count * NODE_BYTES
        shelf = _Shelf(self._files, "nodes", 0, NODE_ROWS.width, "nodes", tuple(offsets))
        return StoredTree(shelf, n_nodes, NODE_ROWS, self.header.lanes)

    def _check_root(self) -> None:
        header = self.header
        top = SumTree(self.nodes.top(), NODE_ROWS.tag, header.lanes).root
        if committed_root(header.epoch, header.n_nodes, top) != header.root:
            raise StorageFailure(f"{self._directory}/nodes: they do not lead to the root")

    def jobs(self, place: int) -> StoredTree:
        """Return the job tree of the node at a place in the order of the nodes."""
        header = self.header
        count = int.from_bytes(self.nodes.row(place)[_JOB_COUNT], "big")
        at = header.n_nodes * NODE_ROWS.width + place * PLACE_BYTES
        first, *levels = np.frombuffer(self._files.read("nodes", at, PLACE_BYTES), ">u8").tolist()
        bases = (0, header.levels[0], header.levels[0] + header.levels[1])
        offsets = tuple(
            NODE_BYTES * (base + level) for base, level in zip(bases, levels, strict=True)
        )
        width = JOB_ROWS.width
        shelf = _Shelf(self._files, "rows", first * width, width, "subtrees", offsets)
        return StoredTree(shelf, count, JOB_ROWS, header.lanes)

    def stands(self) -> bool:
        """Tell whether this very store still is the one in the directory: it may be deleted or written anew."""
        return _identity(self._directory) == self._identity

    def check(self) -> None:
        """Read every file and compare its CRC.

        Raises:
            StorageFailure: With the file that is damaged.
        """
        for name, size, crc in zip(
            FILES, self.header.sizes.values(), self.header.crcs, strict=True
        ):
            found = 0
            for offset in range(0, size, _CHECK_BYTES):
                found = crc32(
                    self._files.read(name, offset, min(_CHECK_BYTES, size - offset)), found
                )
            if found != crc:
                raise StorageFailure(f"{self._directory / name}: its CRC is wrong")


def _identity(directory: Path) -> tuple[int, int] | None:
    try:
        found = (directory / "header").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


class SealedStore:
    """The epochs of one directory, a bounded number of them open; threads may share it.

    Args:
        directory: The directory ``sealed``.
        kept: How many epochs stay open.
    """

    def __init__(self, directory: Path, kept: int = EPOCHS_KEPT) -> None:
        self._directory, self._kept = directory, kept
        self._open: OrderedDict[int, SealedEpoch] = OrderedDict()
        self._lock = threading.Lock()

    def epoch(self, epoch: int, root: bytes) -> SealedEpoch:
        """Return an epoch's store.

        Raises:
            NotFound: If there is none, or it is of another root.
            StorageFailure: If it is damaged.
        """
        with self._lock:
            found = self._open.pop(epoch, None)
            if found is None or found.header.root != root or not found.stands():
                found = SealedEpoch(epoch_directory(self._directory, epoch))
            if found.header.root != root or found.header.epoch != epoch:
                raise NotFound(f"epoch {epoch} is sealed under another root")
            self._open[epoch] = found
            while len(self._open) > self._kept:
                self._open.popitem(last=False)
            return found

    def forget(self, epoch: int) -> None:
        """Open an epoch anew when it is next asked for."""
        with self._lock:
            self._open.pop(epoch, None)

    def remove_before(self, epoch: int) -> list[int]:
        """Delete the stores of all epochs before `epoch`, and return these; their proofs come from segments then.

        Raises:
            StorageFailure: If the disk refuses.
        """
        found = sorted(
            int(path.name) for path in self._directory.glob("[0-9]*") if path.name.isdigit()
        )
        old = [one for one in found if one < epoch]
        for one in old:
            self.remove(one)
        return old

    def remove(self, epoch: int) -> None:
        """Delete an epoch's store; proofs about it come from its segments then.

        Raises:
            StorageFailure: If the disk refuses.
        """
        self.forget(epoch)
        with disk(epoch_directory(self._directory, epoch)):
            shutil.rmtree(epoch_directory(self._directory, epoch), ignore_errors=False)
