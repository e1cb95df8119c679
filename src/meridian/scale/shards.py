"""Shards of an epoch: ranges of nodes in the order of their keys, cut where the number of jobs says.

A shard is ours, never an engine's: where it ends follows from the number of jobs of each node and a bound, so everybody
cuts the same epoch alike. Nodes stay whole, also one with more jobs than the bound: what is computed of its jobs is read
in passes and needs no more memory for that.

Law: nothing that is computed shard by shard depends on where the cuts are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.evaluate.function import EpochInput
from meridian.evaluate.jobs import Jobs, Segments
from meridian.primitives.ids import Address, node_key


class Reader(Protocol):
    """Gives the jobs of an epoch where a task runs: it travels with the task, so it can be pickled."""

    def read(self, part: int, names: list[str]) -> pa.Table:
        """Return columns of one stored part, in this order.

        Raises:
            MeridianError: If it cannot be had, or is not what it should be.
        """
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one stored part."""

    part: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Shard:
    """Some nodes, one behind the other, and where their jobs lie."""

    first: int
    """Number of its first node among all."""
    ids: tuple[str, ...]
    payees: tuple[Address, ...]
    counts: tuple[int, ...]
    """Jobs of each node."""
    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> int:
        """The number of its jobs."""
        return sum(self.counts)


def cut(
    nodes: Sequence[tuple[str, Address, int]], parts: Sequence[int], rows_max: int
) -> list[Shard]:
    """Cut an epoch into shards; there is always at least one.

    Args:
        nodes: Id, payee and number of jobs of every node, in the order of their keys.
        parts: Rows of each stored part, in the order of the jobs.
        rows_max: Jobs of a shard, at most, but for a node that has more.

    Raises:
        InvalidInput: If the nodes have another number of jobs than the parts.
    """
    ends = np.cumsum(np.asarray(parts, dtype=np.int64)).tolist()
    if sum(count for _, _, count in nodes) != (ends[-1] if ends else 0):
        raise InvalidInput("parts", "they do not hold as many jobs as the nodes have")
    shards, start = [], 0
    for first, last in _ranges([count for _, _, count in nodes], rows_max):
        inside = nodes[first:last]
        counts = tuple(count for _, _, count in inside)
        pieces = tuple(_pieces(ends, start, start + sum(counts)))
        ids, payees = tuple(one[0] for one in inside), tuple(one[1] for one in inside)
        shards.append(Shard(first, ids, payees, counts, pieces))
        start += sum(counts)
    return shards


def _ranges(counts: Sequence[int], rows_max: int) -> Iterator[tuple[int, int]]:
    first = rows = 0
    for node, count in enumerate(counts):
        if rows and rows + count > rows_max:
            yield first, node
            first, rows = node, 0
        rows += count
    yield first, len(counts)


def _pieces(ends: Sequence[int], start: int, stop: int) -> Iterator[Piece]:
    part = int(np.searchsorted(ends, start, side="right")) if start < stop else len(ends)
    while start < stop:
        begins = ends[part - 1] if part else 0
        upto = min(stop, ends[part])
        if upto > start:
            yield Piece(part, start - begins, upto - begins)
        start, part = upto, part + 1


@dataclass(frozen=True, slots=True)
class ShardJobs:
    """A shard as a task gets it."""

    epoch: int
    shard: Shard
    columns: pa.Schema
    """Of a stored part: those of a segment."""
    reader: Reader
    inputs: Mapping[str, bytes] = field(default_factory=dict)

    def input(self) -> EpochInput:
        """Return the shard as an epoch of its own."""
        ids, counts = self.shard.ids, self.shard.counts
        rows = [piece.stop - piece.start for piece in self.shard.pieces]
        jobs = Segments.of(self.columns, rows, dict(zip(ids, counts, strict=True)), self._read)
        keys = tuple(node_key(name) for name in ids)
        return EpochInput(self.epoch, ids, keys, self.shard.payees, jobs, self.inputs)

    def numbered_jobs(self) -> Jobs:
        """Return its jobs with the numbers that its nodes have among all: layers may ask for them."""
        epoch, before = self.input(), self.shard.first
        jobs = epoch.jobs
        assert isinstance(jobs, Segments), "made so above"
        nodes = np.concatenate([np.zeros(before, dtype=np.int64), jobs.nodes])
        ids = pa.concat_arrays([pa.nulls(before, pa.string()), jobs.ids])
        return Segments(jobs.schema, jobs.ends, nodes, ids, jobs.read)

    def table(self, at: int) -> pa.Table:
        """Return all columns of one of the shard's pieces."""
        return self._read(at, self.columns.names)

    def _read(self, at: int, names: list[str]) -> pa.Table:
        piece = self.shard.pieces[at]
        table = self.reader.read(piece.part, names)
        if table.num_rows < piece.stop:
            raise InvalidInput(f"part {piece.part}", f"{table.num_rows} rows, not {piece.stop}")
        return table.slice(piece.start, piece.stop - piece.start)


@dataclass(frozen=True, slots=True)
class InMemory:
    """Parts that travel with the task."""

    tables: tuple[pa.Table, ...]

    def read(self, part: int, names: list[str]) -> pa.Table:
        """Return columns of a part."""
        return self.tables[part].select(names)


def carried(shard: ShardJobs) -> ShardJobs:
    """Return the same shard with its jobs in it, for where its reader can read nothing."""
    tables = tuple(shard.table(at) for at in range(len(shard.shard.pieces)))
    pieces = tuple(Piece(at, 0, table.num_rows) for at, table in enumerate(tables))
    alone = Shard(
        shard.shard.first, shard.shard.ids, shard.shard.payees, shard.shard.counts, pieces
    )
    return ShardJobs(shard.epoch, alone, shard.columns, InMemory(tables), shard.inputs)


class CarriedShards:
    """Shards with their jobs in them, each made when it is asked for: a pool asks for few at a time."""

    def __init__(self, shards: Sequence[ShardJobs]) -> None:
        self._shards = shards

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, at: int) -> ShardJobs:
        return carried(self._shards[at])
