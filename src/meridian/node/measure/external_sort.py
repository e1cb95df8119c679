"""Sorting the jobs of an epoch of any size by (node key, job key), within a bound of memory.

The log is read twice. The first time only node ids and job keys are looked at: of each job stay its node's number and
the first 8 bytes of its key, 12 bytes, in a spill file. They say where to cut the epoch into buckets that fit the memory: between nodes, and a node
that is too large by job key. The second time, for each bucket, its rows are put from where they lie in the log straight
to their places in columns. Groups too small for that are copied together first, each once.

Law: the order, and which job of equal (node, job key) stays (the first in the log), depend on the jobs and the log's
order alone, not on the memory or on how the log is cut into groups.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import StorageFailure
from meridian.measure.columns import column_values, one_chunk
from meridian.measure.scatter import Scatter
from meridian.measure.schema import NetworkSchema
from meridian.node.measure.frames import digest_rows
from meridian.node.measure.sorted_columns import (
    Lengths,
    Room,
    SortedColumns,
    measure_texts,
    text_names,
)
from meridian.primitives.hashing import bulk
from meridian.primitives.ids import node_key

GATHER_ROWS: Final = 1 << 18
"""Rows that are looked at together in the first pass, and rows of a run of small groups."""
RUN_ROWS_MIN: Final = 2_048
"""A group with fewer jobs is copied together with its neighbours: visiting it has a fixed price."""
INDEX_BYTES: Final = 48
"""What the order of one job takes while it is found."""
STRETCH_ROWS: Final = 1 << 20
"""A stretch of more jobs is slower, though fewer would do: its columns are written at random places."""
STRETCHES: Final = 8
"""But no more stretches than this for that reason: each visits the whole log."""
PREFIX_BITS: Final = 16
"""A node too large for a bucket is cut by so many bits of its job keys at a time."""

_NOT_HERE: Final = np.uint32(0xFFFFFFFF)

U32 = npt.NDArray[np.uint32]
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
class Bucket:
    """A stretch of the order: whole nodes, or of one node the jobs whose keys begin with `low` to `high`."""

    first: int
    end: int
    low: int = 0
    high: int = (1 << 64) - 1


class ExternalSort:
    """One epoch's sort; a context, which removes its spill files.

    Args:
        schema: The network's schema.
        epoch: The epoch.
        frames: The groups that hold its jobs.
        spill: A directory for spill files; made, and removed with all that is in it.
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
        self._schema, self._epoch, self._frames = schema, epoch, frames
        self._spill, self._memory = spill, memory_bytes
        self._scatter = Scatter(compiled=False)
        self._runs: list[int | Path] = []  # the number of a group, or the file of several
        self._run_rows: list[int] = []
        self._numbers: dict[str, int] = {}
        self._counts = np.zeros(1, dtype=np.int64)
        self._bytes = 0
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
            self._keys = (self._spill / "keys").open("w+b")
        except OSError as error:
            raise StorageFailure(f"{self._spill}: {error.strerror or error}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._keys.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    # -- first pass -------------------------------------------------------------------------------

    def scan(self, on_progress: Callable[[int], None]) -> None:
        """Look at all jobs once.

        Args:
            on_progress: Told how many jobs have been looked at.

        Raises:
            StorageFailure: If the log is damaged or the disk refuses.
        """
        small: list[pa.Table] = []
        seen: list[tuple[int | Path, pa.Table]] = []
        for at in range(len(self._frames)):
            table = self._frames[at]
            if table.num_rows >= RUN_ROWS_MIN:
                seen += self._gathered(small)
                small = []
                seen.append((at, table))
            else:
                small.append(self._own(table))
                if sum(map(len, small)) >= GATHER_ROWS:
                    seen += self._gathered(small)
                    small = []
            if sum(len(run) for _, run in seen) >= GATHER_ROWS:
                self._note(seen)
                seen = []
                on_progress(self.jobs)
        self._note(seen + self._gathered(small))
        on_progress(self.jobs)
        self._rank_nodes()

    def _own(self, table: pa.Table) -> pa.Table:
        epochs = column_values(table, "epoch")
        return table.filter(pa.array(epochs == self._epoch))

    def _gathered(self, small: list[pa.Table]) -> list[tuple[int | Path, pa.Table]]:
        """Copy small groups into a run of their own."""
        if not sum(map(len, small)):
            return []
        path = self._spill / f"run-{len(self._runs) + len(small):08d}-{self._keys.tell()}"
        table = pa.concat_tables(small).combine_chunks().unify_dictionaries()
        try:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
                out.write_table(table)
        except OSError as error:
            raise StorageFailure(f"{path}: {error}") from error
        return [(path, table)]

    def _note(self, seen: Sequence[tuple[int | Path, pa.Table]]) -> None:
        """Write node number and key prefix of each job; jobs of other epochs have the number 0."""
        if not seen:
            return
        tables = [table for _, table in seen]
        nodes = pa.chunked_array([one_chunk(table.column("node_id")) for table in tables])
        encoded = nodes.dictionary_encode().combine_chunks()
        encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
        known = self._numbers
        numbers = np.array(
            [known.setdefault(name, len(known) + 1) for name in encoded.dictionary.to_pylist()],
            dtype=np.uint32,
        )
        of_row = numbers[np.asarray(encoded.indices)]
        epochs = np.concatenate([column_values(table, "epoch") for table in tables])
        of_row[epochs != self._epoch] = 0
        counts = np.bincount(of_row, minlength=len(known) + 1)
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        self.jobs = int(counts[1:].sum())
        start = 0
        for run, table in seen:
            end = start + table.num_rows
            keys = digest_rows(table.column("job_key"))
            prefixes = np.ascontiguousarray(keys[:, :8]).view(">u8").ravel().astype(np.uint64)
            self._write_keys(of_row[start:end], prefixes)
            self._runs.append(run)
            self._run_rows.append(table.num_rows)
            self._bytes += table.nbytes
            start = end

    def _write_keys(self, nodes: U32, prefixes: U64) -> None:
        try:
            self._keys.write(nodes.data)
            self._keys.write(prefixes.data)
        except OSError as error:
            raise StorageFailure(f"{self._spill}: {error.strerror or error}") from error

    def _rank_nodes(self) -> None:
        names = ["", *self._numbers]
        present = [at for at in range(1, len(names)) if self._counts[at]]
        keys = {at: node_key(names[at]) for at in present}
        present.sort(key=keys.__getitem__)
        self.names = [names[at] for at in present]
        self._rank = np.full(len(names), _NOT_HERE, dtype=np.uint32)
        self._rank[present] = np.arange(len(present), dtype=np.uint32)
        self._sizes = self._counts[present].tolist()
        self._scatter = Scatter(compiled=bulk(self.jobs) is not None)

    # -- buckets ----------------------------------------------------------------------------------

    def _entries(self) -> Iterator[tuple[int, U32, U64]]:
        """Yield of each run its number, the ranks of its jobs' nodes and the prefixes of their keys."""
        try:
            self._keys.seek(0)
            for at, rows in enumerate(self._run_rows):
                nodes = np.frombuffer(self._keys.read(4 * rows), dtype=np.uint32)
                prefixes = np.frombuffer(self._keys.read(8 * rows), dtype=np.uint64)
                yield at, self._rank[nodes], prefixes
        except OSError as error:
            raise StorageFailure(f"{self._spill}: {error.strerror or error}") from error

    def _rows_max(self) -> int:
        """Return how many jobs a stretch may have: what fits the memory, and no more than is fast."""
        width = INDEX_BYTES + self._bytes // max(1, sum(self._run_rows))
        fast = max(STRETCH_ROWS, -(-self.jobs // STRETCHES))
        return max(1, min(self.jobs, fast, self._memory // width))

    def buckets(self) -> list[Bucket]:
        """Return the stretches that fit the memory, in order."""
        rows_max = self._rows_max()
        found: list[Bucket] = []
        first, rows = 0, 0
        for at, size in enumerate(self._sizes):
            if rows and rows + size > rows_max:
                found.append(Bucket(first, at))
                first, rows = at, 0
            if size > rows_max:
                found += self._split(at, 0, 64, rows_max)
                first = at + 1
            else:
                rows += size
        if rows:
            found.append(Bucket(first, len(self._sizes)))
        return found

    def _split(self, node: int, low: int, bits: int, rows_max: int) -> list[Bucket]:
        """Cut the jobs of one node whose keys begin like `low` but for its last `bits` bits."""
        shift = bits - PREFIX_BITS
        sizes = np.zeros(1 << PREFIX_BITS, dtype=np.int64)
        high = low + (1 << bits) - 1
        for _, ranks, prefixes in self._entries():
            own = prefixes[ranks == node]
            own = own[(own >= np.uint64(low)) & (own <= np.uint64(high))]
            part = (own - np.uint64(low)) >> np.uint64(shift)
            sizes += np.bincount(part.astype(np.int64), minlength=len(sizes))
        found: list[Bucket] = []
        start, rows = 0, 0

        def close(end: int) -> None:
            if rows:
                found.append(
                    Bucket(node, node + 1, low + (start << shift), low + (end << shift) - 1)
                )

        for at, size in enumerate(sizes.tolist()):
            if rows and rows + size > rows_max:
                close(at)
                start, rows = at, 0
            if size > rows_max and shift:
                close(at)
                found += self._split(node, low + (at << shift), shift, rows_max)
                start, rows = at + 1, 0
            else:
                rows += size
        close(1 << PREFIX_BITS)
        return found

    # -- second pass ------------------------------------------------------------------------------

    def stretches(self) -> Iterator[SortedColumns]:
        """Yield all jobs in order; a stretch is void when the next is asked for, which lies where it lay.

        Raises:
            StorageFailure: If the log is damaged or the disk refuses.
        """
        room = Room(self._rows_max())
        for bucket in self.buckets():
            yield self._stretch(bucket, room)

    def _stretch(self, bucket: Bucket, room: Room) -> SortedColumns:
        chosen: list[tuple[int, U32]] = []
        ranks, prefixes = [], []
        for run, of_node, of_key in self._entries():
            inside = of_node - np.uint32(bucket.first) < np.uint32(bucket.end - bucket.first)
            if bucket.end == bucket.first + 1:
                inside &= (of_key >= np.uint64(bucket.low)) & (of_key <= np.uint64(bucket.high))
            rows = np.flatnonzero(inside).astype(np.uint32)
            if len(rows):
                chosen.append((run, rows))
                ranks.append(of_node[rows])
                prefixes.append(of_key[rows])
        nodes = np.concatenate(ranks)
        order = self._order(nodes, np.concatenate(prefixes), bucket, chosen)
        places = np.full(len(nodes), _NOT_HERE, dtype=np.uint32)
        places[order] = np.arange(len(order), dtype=np.uint32)
        ranks_in_order = nodes[order]
        del ranks, prefixes, nodes, order
        lengths: Lengths = {
            name: np.empty(len(ranks_in_order), dtype=np.int32) for name in text_names(self._schema)
        }
        visits = list(_placed(chosen, places))
        for run, rows, to in visits:
            measure_texts(self._table(run), rows, to, lengths, self._scatter)
        columns = SortedColumns(
            self._schema, self.names, ranks_in_order, lengths, self._scatter, room
        )
        for run, rows, to in visits:
            columns.fill(self._table(run), rows, to)
        return columns

    def _table(self, run: int) -> pa.Table:
        where = self._runs[run]
        if isinstance(where, int):
            return self._frames[where]
        try:
            with pa.ipc.open_stream(pa.memory_map(str(where))) as reader:
                return reader.read_all()
        except (pa.ArrowException, OSError) as error:
            raise StorageFailure(f"{where}: {error}") from error

    def _order(
        self, nodes: U32, prefixes: U64, bucket: Bucket, chosen: Sequence[tuple[int, U32]]
    ) -> npt.NDArray[np.int64]:
        """Return the positions in log order that the jobs of a bucket have, without repeated ones."""
        bits = (bucket.end - bucket.first - 1).bit_length()
        mixed = prefixes >> np.uint64(bits)
        if bits:
            local = nodes - np.uint32(bucket.first)
            mixed |= local.astype(np.uint64) << np.uint64(64 - bits)
        order = np.argsort(mixed)
        ordered = mixed[order]
        same = ordered[1:] == ordered[:-1]
        if not same.any():
            return order
        tied = np.zeros(len(order), dtype=np.bool_)
        tied[1:] |= same
        tied[:-1] |= same
        places = np.flatnonzero(tied)
        repeated = np.zeros(len(order), dtype=np.bool_)
        order[places], repeated[places] = self._untied(order[places], nodes, chosen)
        self.dropped += int(repeated.sum())
        return order[~repeated]

    def _untied(
        self, at: npt.NDArray[np.int64], nodes: U32, chosen: Sequence[tuple[int, U32]]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Sort positions by node, whole key and log order; tell which repeat the one before them."""
        at = np.sort(at)
        ends = np.cumsum([len(rows) for _, rows in chosen])
        keys = np.empty((len(at), 32), dtype=np.uint8)
        run_of = np.searchsorted(ends, at, side="right")
        for place in np.unique(run_of).tolist():
            run, rows = chosen[place]
            here = run_of == place
            inside = rows[at[here] - (ends[place] - len(rows))]
            keys[here] = digest_rows(self._table(run).column("job_key"))[inside]
        words = keys.view(">u8").astype(np.uint64)
        columns = [words[:, word] for word in (3, 2, 1, 0)]
        by = np.lexsort([at.astype(np.uint64), *columns, nodes[at].astype(np.uint64)])
        at, words = at[by], words[by]
        repeated = np.zeros(len(at), dtype=np.bool_)
        repeated[1:] = (words[1:] == words[:-1]).all(axis=1) & (nodes[at[1:]] == nodes[at[:-1]])
        return at, repeated


def _placed(chosen: Sequence[tuple[int, U32]], places: U32) -> Iterator[tuple[int, U32, U32]]:
    """Yield of each run the rows that stay, and their places."""
    start = 0
    for run, rows in chosen:
        to = places[start : start + len(rows)]
        start += len(rows)
        kept = to != _NOT_HERE
        yield (run, rows, to) if kept.all() else (run, rows[kept], to[kept])
