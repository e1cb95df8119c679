"""The jobs of an epoch as an evaluation reads them: some columns at a time, batch after batch.

A pyarrow Table already is such a thing. For epochs that are larger than memory `Segments` reads the columns that are
asked for from sealed segments, again for every pass, and keeps nothing. No pass depends on the order of rows: a row is
known by its number.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import InvalidInput

NODE: Final = "node"
"""The column that numbers the committed nodes, in ascending order of their keys."""

NODE_ID: Final = "node_id"

BATCH_ROWS: Final = 122_880
"""Rows handed to the engine at once: one of its row groups."""


class Jobs(Protocol):
    """Columns by name, all of the same length, with an integer column ``node``; a `pyarrow.Table` is one."""

    @property
    def num_rows(self) -> int:
        """The number of jobs."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types."""
        ...

    @property
    def column_names(self) -> list[str]:
        """The names of the columns."""
        ...

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one whole column."""
        ...

    def select(self, columns: Sequence[str]) -> "Jobs":
        """Return the same jobs with these columns only."""
        ...

    def to_batches(self) -> Iterable[pa.RecordBatch]:
        """Return the rows in order, cut into batches of any size."""
        ...


ReadSegment = Callable[[int, list[str]], pa.Table]
"""Number of a segment and names of its columns -> its rows."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Jobs in sealed segments, sorted by node; every call of `to_batches` reads them again.

    ``node`` and ``node_id`` are not read: they follow from the number of jobs of each node.
    """

    schema: pa.Schema
    """The segments' columns, and ``node``."""
    ends: npt.NDArray[np.int64]
    """For each segment, the number of rows up to its end."""
    nodes: npt.NDArray[np.int64]
    """For each node, the number of rows up to its last job."""
    ids: pa.Array
    """The nodes' ids."""
    read: ReadSegment

    @classmethod
    def of(
        cls,
        columns: pa.Schema,
        rows: Sequence[int],
        jobs_by_node: Mapping[str, int],
        read: ReadSegment,
    ) -> "Segments":
        """Return the jobs of an epoch.

        Args:
            columns: Of a segment.
            rows: Of each segment, in order.
            jobs_by_node: Id of each node in order -> number of its jobs.
            read: Gives the named columns of a segment, in this order.

        Raises:
            InvalidInput: If the nodes have another number of jobs than the segments.
        """
        ends = np.cumsum(np.asarray(rows, dtype=np.int64))
        nodes = np.cumsum(np.asarray(list(jobs_by_node.values()), dtype=np.int64))
        if (ends[-1] if len(ends) else 0) != (nodes[-1] if len(nodes) else 0):
            raise InvalidInput("segments", "they do not hold as many jobs as the nodes have")
        place = columns.get_field_index(NODE_ID)
        schema = columns.set(place, pa.field(NODE_ID, pa.dictionary(pa.int32(), pa.string())))
        schema = schema.append(pa.field(NODE, pa.int64(), nullable=False))
        return cls(schema, ends, nodes, pa.array(list(jobs_by_node), pa.string()), read)

    @property
    def num_rows(self) -> int:
        """The number of jobs."""
        return int(self.ends[-1]) if len(self.ends) else 0

    @property
    def column_names(self) -> list[str]:
        """The names of the columns."""
        return list(self.schema.names)

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one whole column."""
        parts = [batch.column(0) for batch in self.select([name]).to_batches()]
        return pa.chunked_array(parts, self.schema.field(name).type)

    def select(self, columns: Sequence[str]) -> "Segments":
        """Return the same jobs with these columns only."""
        schema = pa.schema([self.schema.field(name) for name in columns])
        return Segments(schema, self.ends, self.nodes, self.ids, self.read)

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """Read the segments, one after the other."""
        stored = [name for name in self.schema.names if name not in {NODE, NODE_ID}]
        for at, end in enumerate(self.ends.tolist()):
            start = int(self.ends[at - 1]) if at else 0
            columns = dict(zip(stored, self._stored(at, stored, end - start), strict=True))
            if len(stored) < len(self.schema.names):
                nodes = self._nodes(start, end)
                places = pa.array(nodes.astype(np.int32))
                columns[NODE] = pa.array(nodes)
                columns[NODE_ID] = pa.DictionaryArray.from_arrays(places, self.ids)
            table = pa.table([columns[name] for name in self.schema.names], schema=self.schema)
            yield from table.to_batches()

    def _stored(self, at: int, names: list[str], rows: int) -> list[pa.ChunkedArray]:
        if not names:
            return []
        table = self.read(at, names)
        if table.num_rows != rows:
            raise InvalidInput(f"segment {at}", f"{table.num_rows} rows, not {rows}")
        return [table.column(name) for name in names]

    def _nodes(self, start: int, end: int) -> npt.NDArray[np.int64]:
        """Return the node of each row from `start` to `end`."""
        if start == end:
            return np.zeros(0, dtype=np.int64)
        first, last = np.searchsorted(self.nodes, [start, end - 1], side="right")
        ends = np.minimum(self.nodes[first : last + 1], end)
        return np.repeat(np.arange(first, last + 1), np.diff(ends, prepend=start))


@dataclass(frozen=True, slots=True)
class Kept:
    """Some of the rows of other jobs."""

    jobs: Jobs
    keep: npt.NDArray[np.bool_]
    """One for each row of `jobs`."""

    @property
    def num_rows(self) -> int:
        """The number of jobs that are kept."""
        return int(np.count_nonzero(self.keep))

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types."""
        return self.jobs.schema

    @property
    def column_names(self) -> list[str]:
        """The names of the columns."""
        return self.jobs.column_names

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one whole column."""
        parts = [batch.column(0) for batch in self.select([name]).to_batches()]
        return pa.chunked_array(parts, self.schema.field(name).type)

    def select(self, columns: Sequence[str]) -> "Kept":
        """Return the same jobs with these columns only."""
        return Kept(self.jobs.select(columns), self.keep)

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """Read the jobs and pass on those that are kept."""
        at = 0
        for batch in self.jobs.to_batches():
            keep = self.keep[at : at + batch.num_rows]
            at += batch.num_rows
            yield batch if keep.all() else batch.filter(pa.array(keep))


def keep_rows(jobs: Jobs, keep: npt.NDArray[np.bool_]) -> Jobs:
    """Return the jobs whose rows are kept; of a Table, a Table."""
    return jobs.filter(pa.array(keep)) if isinstance(jobs, pa.Table) else Kept(jobs, keep)


def mentioned(names: Iterable[str], sql: str) -> list[str]:
    """Return the names that occur in an SQL text: all that it can refer to, and perhaps some that it does not."""
    text = sql.casefold()
    return [name for name in names if name.casefold().replace('"', '""') in text]


def reader(
    jobs: Jobs, columns: Sequence[str], added: Mapping[str, npt.NDArray[Any]]
) -> pa.RecordBatchReader:
    """Return a stream over some columns and some more that are already at hand.

    Args:
        jobs: The jobs.
        columns: Names of their columns.
        added: Name -> one value for each row.
    """
    names = list(columns) or [NODE]  # an engine cannot count rows of nothing
    narrow = jobs.select(names)
    schema = pa.schema([pa.field(name, narrow.schema.field(name).type) for name in names])
    for name, values in added.items():
        schema = schema.append(pa.field(name, pa.from_numpy_dtype(values.dtype)))

    def batches() -> Iterator[pa.RecordBatch]:
        at = 0
        for whole in narrow.to_batches():
            for start in range(0, whole.num_rows, BATCH_ROWS):
                batch = whole.slice(start, BATCH_ROWS)
                end = at + batch.num_rows
                more = [pa.array(values[at:end]) for values in added.values()]
                yield pa.RecordBatch.from_arrays([*batch.columns, *more], schema=schema)
                at = end

    return pa.RecordBatchReader.from_batches(schema, batches())


def row_numbers(jobs: Jobs) -> npt.NDArray[np.int64]:
    """Return the number of each row, 0 for the first."""
    return np.arange(jobs.num_rows, dtype=np.int64)
