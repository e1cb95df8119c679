"""Sorting the jobs of an epoch of any size by (node key, job key), within a bound of memory.

The log is read once. Each job becomes a tuple, all its values in one piece, and goes to the bucket of its node: at
sequential places, of which only as many are open as there are buckets. What does not fit the memory waits in a spill
file. A bucket that is too large is cut again, by nodes, and one node by its job keys. Then one bucket after the other is sorted, small enough
for the cache, and its values are put into columns.

Law: the order, and which job of equal (node, job key) stays (the first in the log), depend on the jobs and the log's
order alone, not on the memory or on how the log is cut into groups.
"""

import shutil
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import InvalidInput, StorageFailure
from meridian.measure.columns import column_values, one_chunk
from meridian.measure.job_tuples import I64, U32, Bytes, Layout, columns_of
from meridian.measure.schema import NetworkSchema
from meridian.measure.tuple_moves import Mover
from meridian.node.measure.node_numbers import NodeNumbers
from meridian.node.measure.tuple_blocks import Block, Blocks, Partition
from meridian.primitives.ids import node_key

FANOUT_BITS: Final = 8
"""Of the number of buckets that are filled at a time."""
BLOCK_BYTES: Final = 512 << 10
STRETCH_BYTES: Final = 8 << 20
"""A stretch of more bytes is slower, though more would fit: its tuples are read at random places."""
GATHER_ROWS: Final = 1 << 13
"""Small groups are copied together to so many rows: visiting one has a fixed price."""
PROGRESS_ROWS: Final = 1 << 17
_PREFIX_BITS: Final = 64
"""Of a job key, by which the jobs of one node are cut."""

U64 = npt.NDArray[np.uint64]


class Frames(Protocol):
    """Groups of jobs in log order, of all epochs, in the columns of `frames.log_columns`."""

    def __len__(self) -> int:
        """Return how many groups there are."""
        ...

    def __getitem__(self, at: int, /) -> pa.Table:
        """Return one group."""
        ...


@dataclass(frozen=True, slots=True)
class Stretch:
    """Jobs in order, whole or cut between any two of them."""

    ranks: U32
    """The node of each, as its place among all; ascending."""
    places: I64
    """Where the tuples are."""
    sizes: U32
    """Their bytes."""
    memory: Bytes

    def __len__(self) -> int:
        return len(self.ranks)


@dataclass(frozen=True, slots=True)
class _Bucket:
    """Tuples of some nodes; of one node perhaps those alone whose keys begin with the same `depth` bits."""

    blocks: list[Block]
    first: int
    end: int
    depth: int = 0

    @property
    def used(self) -> int:
        return sum(block.used for block in self.blocks)


class ExternalSort:
    """One epoch's sort; a context, which removes its spill file.

    Args:
        schema: The network's schema.
        epoch: The epoch.
        frames: The groups that hold its jobs.
        spill: A directory for the spill file; made, and removed with all that is in it.
        memory_bytes: Bound of what is held of the jobs.
    """

    def __init__(
        self,
        schema: NetworkSchema,
        epoch: int,
        frames: Frames,
        *,
        spill: Path,
        memory_bytes: int,
    ) -> None:
        self._epoch, self._frames, self._spill = epoch, frames, spill
        self.layout = Layout(schema)
        self.mover = Mover(self.layout)
        block_bytes = max(BLOCK_BYTES, self.layout.bytes_max)
        self._fanout = 1 << FANOUT_BITS
        blocks = max(self._fanout + 2, memory_bytes // block_bytes)
        self._blocks = Blocks(spill / "tuples", blocks, block_bytes)
        self._stretch_bytes_max = max(block_bytes, blocks * block_bytes // 4)
        self._numbers = NodeNumbers()
        self._present = np.zeros(0, dtype=np.bool_)
        self._partition = Partition(self._blocks, self.mover, self._fanout)
        self._bucket_of = np.zeros(0, dtype=np.uint8)
        self.names: list[str] = []
        """The ids of all nodes that have jobs, in order of their keys, after `scan`."""
        self.jobs = 0
        """Jobs found, repeated ones too, after `scan`."""
        self.dropped = 0
        """Jobs that stood twice, of which the first in the log counts; complete after the last stretch."""

    def __enter__(self) -> Self:
        try:
            shutil.rmtree(self._spill, ignore_errors=True)
            self._spill.mkdir(parents=True)
        except OSError as error:
            raise StorageFailure(f"{self._spill}: {error.strerror or error}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._blocks.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    # -- the log ----------------------------------------------------------------------------------

    def scan(self, on_progress: Callable[[int], None]) -> None:
        """Read all jobs, once.

        Args:
            on_progress: Told how many jobs have been read.

        Raises:
            StorageFailure: If the log is damaged or the disk refuses.
        """
        told = 0
        for table in self._runs():
            self._add(table)
            if self.jobs - told >= PROGRESS_ROWS:
                told = self.jobs
                on_progress(told)
        on_progress(self.jobs)
        self._rank_nodes()

    def _runs(self) -> Iterator[pa.Table]:
        """Yield the groups, small ones copied together."""
        small: list[pa.Table] = []
        for at in range(len(self._frames)):
            table = self._frames[at]
            if table.num_rows >= GATHER_ROWS // 4:
                yield from _gathered(small)
                small = []
                yield table
            else:
                small.append(table)
                if sum(map(len, small)) >= GATHER_ROWS:
                    yield from _gathered(small)
                    small = []
        yield from _gathered(small)

    def _add(self, table: pa.Table) -> None:
        rows = np.flatnonzero(column_values(table, "epoch") == self._epoch).astype(np.uint32)
        if not len(rows):
            return
        self.jobs += len(rows)
        self.mover.expect(self.jobs)
        numbers = self._numbers.of(one_chunk(table.column("node_id")), self.jobs)
        self._note_nodes(numbers[rows])
        try:
            columns = columns_of(self.layout, table, numbers)
        except InvalidInput as error:
            raise StorageFailure(f"a group in the job log cannot be read: {error}") from error
        sizes = self.mover.sizes(columns, rows)
        memory = self._blocks.memory

        def write(start: int, end: int, places: I64) -> None:
            self.mover.pack(columns, rows[start:end], sizes[start:end], places, memory)

        self._partition.add(sizes, self._bucket_of[numbers[rows]], write)

    def _note_nodes(self, numbers: U32) -> None:
        fresh = self._numbers.names[len(self._present) :]
        if fresh:
            more = np.array(
                [node_key(name)[0] >> 8 - FANOUT_BITS for name in fresh], dtype=np.uint8
            )
            self._bucket_of = np.concatenate([self._bucket_of, more])
            self._present = np.concatenate([self._present, np.zeros(len(fresh), dtype=np.bool_)])
        self._present[numbers] = True

    def _rank_nodes(self) -> None:
        names = self._numbers.names
        present = np.flatnonzero(self._present).tolist()
        keys = {at: node_key(names[at]) for at in present}
        present.sort(key=keys.__getitem__)
        self.names = [names[at] for at in present]
        self._rank = np.zeros(len(names), dtype=np.uint32)
        self._rank[present] = np.arange(len(present), dtype=np.uint32)
        buckets = [keys[at][0] >> 8 - FANOUT_BITS for at in present]
        self._bounds = [bisect_left(buckets, bucket) for bucket in range(self._fanout + 1)]

    # -- buckets ----------------------------------------------------------------------------------

    def stretches(self) -> Iterator[Stretch]:
        """Yield all jobs in order; a stretch is void when the next is asked for.

        Raises:
            StorageFailure: If the disk refuses.
        """
        bounds = self._bounds
        blocks = self._partition.finish()
        buckets = [_Bucket(*one) for one in zip(blocks, bounds[:-1], bounds[1:], strict=True)]
        for group in self._groups(buckets):
            stretch = self._stretch(group)
            yield stretch
            del stretch
            for block in group:
                self._blocks.drop(block)

    def _groups(self, buckets: Sequence[_Bucket]) -> Iterator[list[Block]]:
        """Yield blocks whose tuples are sorted together: of some buckets, or of a part of one."""
        group: list[Block] = []
        used = 0
        for bucket in buckets:
            fits = used + bucket.used <= STRETCH_BYTES
            if group and not (fits and len(group) + len(bucket.blocks) <= self._blocks.count // 2):
                yield group
                group, used = [], 0
            if bucket.used > self._stretch_bytes_max and bucket.depth < _PREFIX_BITS:
                yield from self._groups(self._cut(bucket))
            else:
                group += bucket.blocks
                used += bucket.used
        if group:
            yield group

    def _cut(self, bucket: _Bucket) -> list[_Bucket]:
        """Cut a bucket that is too large: by nodes, or where it has one only, by some bits of its job keys."""
        fanout, depth = self._fanout, bucket.depth + FANOUT_BITS
        first, nodes = bucket.first, bucket.end - bucket.first
        partition = Partition(self._blocks, self.mover, fanout)
        memory = self._blocks.memory
        for block in bucket.blocks:
            start = self._blocks.bring(block)
            places, numbers, prefixes, sizes = self.mover.walk(memory, start, block.tuples)
            if nodes > 1:
                part = (self._rank[numbers].astype(np.int64) - first) * fanout // nodes
            else:
                part = (prefixes >> np.uint64(_PREFIX_BITS - depth)).astype(np.int64) % fanout

            def write(
                start: int, end: int, to: I64, places: I64 = places, sizes: U32 = sizes
            ) -> None:
                self.mover.move(memory, places[start:end], sizes[start:end], to)

            partition.add(sizes, part.astype(np.uint8), write)
            self._blocks.drop(block)
        blocks = partition.finish()
        if nodes == 1:
            return [_Bucket(one, first, first + 1, depth) for one in blocks]
        bounds = [first - (-at * nodes // fanout) for at in range(fanout + 1)]
        return [_Bucket(*one) for one in zip(blocks, bounds[:-1], bounds[1:], strict=True)]

    # -- order ------------------------------------------------------------------------------------

    def _stretch(self, blocks: Sequence[Block]) -> Stretch:
        memory = self._blocks.memory
        walked = [
            self.mover.walk(memory, self._blocks.bring(block), block.tuples) for block in blocks
        ]
        places, numbers, prefixes, sizes = (
            np.concatenate(parts) for parts in zip(*walked, strict=True)
        )
        ranks = self._rank[numbers]
        order = self._order(ranks, prefixes, places)
        return Stretch(ranks[order], places[order], sizes[order], memory)

    def _order(self, ranks: U32, prefixes: U64, places: I64) -> npt.NDArray[np.int64]:
        """Return the positions of the jobs in order, without repeated ones."""
        first = ranks.min()
        bits = int(ranks.max() - first).bit_length()
        mixed = prefixes >> np.uint64(bits)
        if bits:
            mixed |= (ranks - first).astype(np.uint64) << np.uint64(64 - bits)
        order = np.argsort(mixed)
        ordered = mixed[order]
        same = ordered[1:] == ordered[:-1]
        if not same.any():
            return order
        tied = np.zeros(len(order), dtype=np.bool_)
        tied[1:] |= same
        tied[:-1] |= same
        where = np.flatnonzero(tied)
        repeated = np.zeros(len(order), dtype=np.bool_)
        order[where], repeated[where] = self._untied(order[where], ranks, places)
        self.dropped += int(repeated.sum())
        return order[~repeated]

    def _untied(
        self, at: npt.NDArray[np.int64], ranks: U32, places: I64
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Sort positions by node, whole key and log order; tell which repeat the one before them."""
        at = np.sort(at)
        keys = self.mover.keys(self._blocks.memory, places[at])
        words = keys.view(">u8").astype(np.uint64)
        columns = [words[:, word] for word in (3, 2, 1, 0)]
        by = np.lexsort([at.astype(np.uint64), *columns, ranks[at].astype(np.uint64)])
        at, words = at[by], words[by]
        repeated = np.zeros(len(at), dtype=np.bool_)
        repeated[1:] = (words[1:] == words[:-1]).all(axis=1) & (ranks[at[1:]] == ranks[at[:-1]])
        return at, repeated


def _gathered(small: Sequence[pa.Table]) -> Iterator[pa.Table]:
    """Yield small groups as one table."""
    if len(small) == 1:
        yield small[0]
    elif small:
        yield pa.concat_tables(small).combine_chunks().unify_dictionaries()
