"""Memory for tuples of jobs, cut into blocks, and a file for the blocks that it does not hold.

Law: a block that still takes tuples, or is being read, stays in memory; of the others the one that was closed last goes
to the file first. So what was written early stays, and an epoch that fits the memory never touches the disk.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from meridian.errors import StorageFailure
from meridian.measure.job_tuples import I64, U32, Bytes
from meridian.measure.tuple_moves import Mover
from meridian.node.measure.fresh_memory import FreshMemory

_KEPT_BLOCKS: Final = 32
"""Free blocks that keep their pages."""
_SECTOR: Final = 4_096
"""Of what is read and written past the page cache, beginnings and sizes are multiples."""
_NOWHERE: Final = -1


@dataclass(slots=True, eq=False)
class Block:
    """Tuples that lie one behind the other."""

    slot: int
    """Where in memory; -1 for not there."""
    hole: int = _NOWHERE
    """Where in the file; -1 for not there."""
    used: int = 0
    """Bytes of tuples."""
    tuples: int = 0


class Blocks:
    """All blocks of one sort.

    Args:
        path: The spill file; made when it is needed first.
        count: How many blocks are held in memory.
        block_bytes: Of one block.
    """

    def __init__(self, path: Path, count: int, block_bytes: int) -> None:
        self._path, self.count, self.block_bytes = path, count, block_bytes
        self._fresh = FreshMemory(count * block_bytes)
        self.memory: Bytes = self._fresh.bytes
        self._used = 0
        self._free = list(range(count - 1, -1, -1))
        self._closed: dict[int, Block] = {}
        self._file, self._is_direct = _NOWHERE, False
        self._holes: list[int] = []
        self._file_blocks = 0

    def close(self) -> None:
        """Close the spill file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = _NOWHERE

    @property
    def is_full(self) -> bool:
        """Whether the next block that is opened or brought moves another one out."""
        return not self._free

    def open(self) -> Block:
        """Return an empty block in memory.

        Raises:
            StorageFailure: If the disk refuses, here and in `bring`.
        """
        return Block(self._slot())

    def closed(self, block: Block) -> None:
        """Let a block go to the file when room is needed."""
        self._closed[id(block)] = block

    def bring(self, block: Block) -> int:
        """Have a closed block in memory until it is dropped; return where it begins."""
        self._closed.pop(id(block), None)
        if block.slot < 0:
            block.slot = self._slot()
            self._read(block)
            self._holes.append(block.hole)
            block.hole = _NOWHERE
        return block.slot * self.block_bytes

    def drop(self, block: Block) -> None:
        """Forget a block that was brought, and what is in it."""
        if len(self._free) < _KEPT_BLOCKS:
            self._free.append(block.slot)
        else:  # the files that are written meanwhile take its pages
            self._fresh.release(block.slot * self.block_bytes, self.block_bytes)
            self._free.insert(0, block.slot)
        block.slot = _NOWHERE

    def _slot(self) -> int:
        if not self._free:
            if not self._closed:
                raise StorageFailure(
                    "the jobs that are sorted together do not fit the memory: they have one key"
                    " nearly; seal with more memory"
                )
            _, block = self._closed.popitem()
            self._write(block)
            self._free.append(block.slot)
            block.slot = _NOWHERE
        slot = self._free.pop()
        if slot >= self._used:  # slots are taken in their order the first time
            self._used = slot + 1
            self._fresh.populate(slot * self.block_bytes, self.block_bytes)
        return slot

    def _bytes(self, block: Block) -> memoryview:
        start, size = block.slot * self.block_bytes, block.used
        if self._is_direct:
            size += -size % _SECTOR  # the block has them
        return self.memory[start : start + size].data

    def _write(self, block: Block) -> None:
        try:
            if self._file < 0:
                self._file = self._opened()
            if not self._holes:
                self._holes.append(self._file_blocks)
                self._file_blocks += 1
            block.hole = self._holes.pop()
            data, at = self._bytes(block), block.hole * self.block_bytes
            while data:
                done = os.pwrite(self._file, data, at)
                data, at = data[done:], at + done
        except OSError as error:
            raise StorageFailure(f"{self._path}: {error.strerror or error}") from error

    def _opened(self) -> int:
        """Open the spill file: past the page cache where it can be, whose pages would cost more than the sort."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        if self.block_bytes % _SECTOR == 0:
            with contextlib.suppress(OSError):  # a file system that knows no such thing
                found = os.open(self._path, flags | getattr(os, "O_DIRECT", 0), 0o600)
                self._is_direct = True
                return found
        return os.open(self._path, flags, 0o600)

    def _read(self, block: Block) -> None:
        try:
            data, at = self._bytes(block), block.hole * self.block_bytes
            while data:
                done = os.preadv(self._file, [data], at)
                if not done:
                    raise StorageFailure(f"{self._path}: it is shorter than it was")
                data, at = data[done:], at + done
        except OSError as error:
            raise StorageFailure(f"{self._path}: {error.strerror or error}") from error


@dataclass(slots=True)
class Partition:
    """Tuples on their way into buckets.

    Args:
        blocks: Where they go.
        mover: Finds the places.
        fanout: How many buckets there are.
    """

    blocks: Blocks
    mover: Mover
    fanout: int
    buckets: list[list[Block]] = field(init=False)
    """The blocks of each bucket, in the order in which they were filled."""
    _tails: I64 = field(init=False)
    _ends: I64 = field(init=False)
    _counts: I64 = field(init=False)

    def __post_init__(self) -> None:
        self.buckets = [[] for _ in range(self.fanout)]
        self._tails, self._ends, self._counts = (
            np.zeros(self.fanout, dtype=np.int64) for _ in range(3)
        )

    def add(self, sizes: U32, buckets: Bytes, write: Callable[[int, int, I64], None]) -> None:
        """Add tuples, each behind those that its bucket has.

        Args:
            sizes: Of the tuples; none is longer than a block.
            buckets: Of each one.
            write: Is given a first and an end, and the places of the tuples between, and writes them there.
        """
        places = np.empty(len(sizes), dtype=np.int64)
        start = written = 0
        while True:
            start = self.mover.place(
                sizes, buckets, self._tails, self._ends, self._counts, places, start
            )
            if start == len(sizes):
                break
            if self.blocks.is_full:  # a block that goes must have its tuples
                write(written, start, places[written:start])
                written = start
            self._renew(int(buckets[start]))
        write(written, start, places[written:start])

    def finish(self) -> list[list[Block]]:
        """Take no more tuples; return the blocks of each bucket."""
        for bucket in range(self.fanout):
            self._close(bucket)
        return self.buckets

    def _renew(self, bucket: int) -> None:
        self._close(bucket)
        block = self.blocks.open()
        self.buckets[bucket].append(block)
        self._tails[bucket] = block.slot * self.blocks.block_bytes
        self._ends[bucket] = self._tails[bucket] + self.blocks.block_bytes
        self._counts[bucket] = 0

    def _close(self, bucket: int) -> None:
        if self.buckets[bucket]:
            block = self.buckets[bucket][-1]
            block.used = int(self._tails[bucket]) - block.slot * self.blocks.block_bytes
            block.tuples = int(self._counts[bucket])
            self.blocks.closed(block)
