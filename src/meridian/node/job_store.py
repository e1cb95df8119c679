"""The jobs of an epoch while it is evaluated: in memory while they are few, else in files of one's own.

The files lie in a temporary directory and go with the last reference to the jobs: they can be made again from what is
published. Every pass reads the columns that it needs, and keeps nothing.
"""

import contextlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from meridian.errors import StorageFailure
from meridian.evaluate.jobs import NODE, Jobs, Segments
from meridian.scale.shards import InMemory, Reader

MEMORY_MIB: Final = 2048
"""How much memory an evaluation is meant to need, by default."""
MEMORY_MIB_MIN: Final = 512
MIB: Final = 1 << 20
FILE_ROWS: Final = 250_000
"""Jobs in one file, at least, but for the last."""
PARTS: Final = 8
"""Jobs that would take more than this part of the memory go into files: evaluating them takes several times their size."""


@dataclass(frozen=True, slots=True)
class JobFiles:
    """The files of a store, as another process of this machine reads them while the store is there."""

    folder: Path
    columns: pa.Schema

    def read(self, part: int, names: list[str]) -> pa.Table:
        """Return columns of one file, in this order.

        Raises:
            StorageFailure: If it cannot be read.
        """
        path = self.folder / str(part)
        wanted = [self.columns.get_field_index(name) for name in names]
        options = pa.ipc.IpcReadOptions(included_fields=sorted(wanted))
        try:
            with pa.OSFile(str(path), "rb") as source:
                table = pa.ipc.open_file(source, options=options).read_all()
        except OSError as error:
            raise StorageFailure(f"{path}: {error.strerror or error}") from error
        return table.select(names)


@dataclass(frozen=True, slots=True)
class Stored:
    """Where the jobs of a store are, for shards of them."""

    columns: pa.Schema
    rows: tuple[int, ...]
    """Of each part."""
    reader: Reader
    in_memory: bool
    """Whether the reader holds the jobs themselves."""


class JobStore:
    """Takes an epoch's jobs in order, and gives them to be read again and again.

    Args:
        columns: Of a segment.
        memory_mib: How much memory the evaluation may need.
        parent: Where the directory of files is made; None: where the system has temporary files.
    """

    def __init__(
        self, columns: pa.Schema, memory_mib: int = MEMORY_MIB, parent: Path | None = None
    ) -> None:
        self._columns, self._parent = columns, parent
        self._bytes_max = memory_mib * MIB // PARTS
        self._tables: list[pa.Table] = []
        self._bytes = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._rows: list[int] = []

    def add(self, jobs: pa.Table) -> None:
        """Take the next jobs.

        Raises:
            StorageFailure: If they cannot be written.
        """
        self._tables.append(jobs)
        self._bytes += jobs.nbytes
        if self._folder is None and self._bytes > self._bytes_max:
            self._folder = self._make_folder()
        if self._folder is not None and sum(one.num_rows for one in self._tables) >= FILE_ROWS:
            self._write(self._folder)

    def jobs(self, jobs_by_node: Mapping[str, int]) -> Jobs:
        """Return all jobs, with the column ``node``.

        Args:
            jobs_by_node: Id of each node in order -> number of its jobs.

        Raises:
            StorageFailure: If they cannot be written.
        """
        if self._folder is None:
            table: pa.Table = pa.concat_tables([self._columns.empty_table(), *self._tables])
            places = np.repeat(np.arange(len(jobs_by_node)), list(jobs_by_node.values()))
            field = pa.field(NODE, pa.int64(), nullable=False)
            jobs: Jobs = table.append_column(field, pa.array(places, pa.int64()))
            return jobs
        if self._tables:
            self._write(self._folder)
        return Segments.of(self._columns, self._rows, jobs_by_node, self._read)

    def stored(self) -> Stored:
        """Return where the jobs are; `jobs` must have been called, and the store must live on while they are read."""
        if self._folder is not None:
            files = JobFiles(Path(self._folder.name), self._columns)
            return Stored(self._columns, tuple(self._rows), files, in_memory=False)
        rows = tuple(table.num_rows for table in self._tables)
        return Stored(self._columns, rows, InMemory(tuple(self._tables)), in_memory=True)

    def _make_folder(self) -> "tempfile.TemporaryDirectory[str]":
        try:
            if self._parent is not None:
                self._parent.mkdir(parents=True, exist_ok=True)
            return tempfile.TemporaryDirectory(prefix="meridian-jobs-", dir=self._parent)
        except OSError as error:
            raise StorageFailure(f"a directory for jobs: {error.strerror or error}") from error

    def _write(self, folder: "tempfile.TemporaryDirectory[str]") -> None:
        table = pa.concat_tables(self._tables).combine_chunks()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        path = Path(folder.name) / str(len(self._rows))
        try:
            with (
                contextlib.closing(pa.OSFile(str(path), "wb")) as sink,
                pa.ipc.new_file(sink, table.schema, options=options) as writer,
            ):
                writer.write_table(table)
        except OSError as error:
            raise StorageFailure(f"{path}: {error.strerror or error}") from error
        self._rows.append(table.num_rows)
        self._tables, self._bytes = [], 0

    def _read(self, at: int, names: list[str]) -> pa.Table:
        assert self._folder is not None, "what is read was written"
        return JobFiles(Path(self._folder.name), self._columns).read(at, names)
