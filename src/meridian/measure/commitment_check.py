"""One published commitment, checked segment after segment: what `commitment.verify_epoch` does, in bounded memory.

Law: the problems found are those that `verify_epoch` finds on the whole epoch, whatever the segments' sizes.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.measure.columns import column_values, read_segment
from meridian.measure.commitment import Problem, committed_root, node_tree
from meridian.measure.epoch import LATE_FLAG, Calendar
from meridian.measure.epoch_builder import EpochBuilder
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.order import node_indices
from meridian.measure.row import rebuild_rows
from meridian.measure.schema import NetworkSchema
from meridian.primitives.hashing import ByteMatrix, bulk
from meridian.primitives.ids import Address
from meridian.primitives.sumtree import HASH_BYTES

PIECE_ROWS: Final = 62_500
"""Jobs whose rows are made at a time."""


class CommitmentCheck:
    """Takes the segments of one commitment in order, then its nodes.

    Args:
        manifest: What the aggregator says.
        schema: The schema that it names.
        calendar: If given, every job must have ended in the epoch, or in an earlier one and be marked late.
    """

    def __init__(
        self, manifest: Manifest, schema: NetworkSchema, calendar: Calendar | None = None
    ) -> None:
        self._manifest, self._schema, self._calendar = manifest, schema, calendar
        # Pieces are smaller than what loads the compiled kernels of itself, and together they are worth it.
        bulk(sum(segment.rows for segment in manifest.segments))
        self._builder = EpochBuilder(schema, manifest.epoch)
        self._names: list[str] = []
        self._late = self._strange = 0
        self._unknown_flags = False

    @property
    def account(self) -> Address:
        """Whose commitment it is."""
        return self._manifest.aggregator

    def take(self, at: int, data: bytes) -> Iterator[tuple[pa.Table, ByteMatrix]]:
        """Take segment `at`; yield its columns and rows, a piece at a time.

        Args:
            at: Its place in the manifest; places ascend from 0.
            data: Bytes that have the digest which the manifest names.

        Raises:
            InvalidInput: With the artefact (``segment 3``) that is not what the manifest says, or ``jobs`` if they are
                not in order.
        """
        table = self._read(at, data)
        del data
        self._book_times(table)
        for start in range(0, table.num_rows, PIECE_ROWS):
            part = table.slice(start, PIECE_ROWS)
            yield part, self._add(part)

    def _add(self, part: pa.Table) -> ByteMatrix:
        names, _ = node_indices(part.column("node_id"))
        self._names += names[1:] if self._names[-1:] == names[:1] else names
        try:
            rows = rebuild_rows(self._schema, part)
            self._builder.add(part.column("node_id"), rows)
        except InvalidInput as error:
            raise InvalidInput("jobs", str(error)) from error
        return rows

    def _read(self, at: int, data: bytes) -> pa.Table:
        stated = self._manifest.segments[at]
        try:
            if len(data) != stated.bytes:
                raise InvalidInput("bytes", f"{len(data)}, not {stated.bytes}")
            table = read_segment(data, self._schema)
            if table.num_rows != stated.rows:
                raise InvalidInput("rows", f"{table.num_rows}, not {stated.rows}")
        except InvalidInput as error:
            raise InvalidInput(f"segment {at}", f"{error.field}: {error.reason}") from error
        return table

    def _book_times(self, table: pa.Table) -> None:
        flags = column_values(table, "flags")
        late = (flags & LATE_FLAG) != 0
        self._late += int(late.sum())
        self._unknown_flags |= bool((flags & ~np.uint16(LATE_FLAG)).any())
        if self._calendar is not None:
            own, epoch = (
                self._calendar.epochs_of(column_values(table, "ended_us")),
                self._manifest.epoch,
            )
            self._strange += int(np.where(late, own >= epoch, own != epoch).sum())

    def problems(self, nodes: Nodes) -> list[Problem]:
        """Return what is wrong with all segments and these nodes; nothing if they give exactly what was committed."""
        if tuple(self._names) != nodes.ids:
            return [Problem("nodes", "they are not the nodes of the jobs, sorted by node key")]
        try:
            made = self._builder.finish(dict(zip(nodes.ids, nodes.payees, strict=True)))
        except InvalidInput as error:
            return [Problem("jobs", str(error))]
        problems = []
        wrong = np.flatnonzero((made.nodes.rows != nodes.rows).any(axis=1))
        if len(wrong):
            reason = f"the row of {nodes.ids[int(wrong[0])]!r} and of {len(wrong) - 1} others is not that of its jobs"
            problems.append(Problem("nodes", reason))
        return problems + self._header_problems(nodes) + self._job_problems()

    def _header_problems(self, nodes: Nodes) -> list[Problem]:
        said = self._manifest
        top = node_tree(nodes.rows, self._schema.lanes.kind).root
        stated = (
            ("manifest", "n_nodes", said.n_nodes, len(nodes.ids)),
            ("root", "annotation", said.annotation, top[HASH_BYTES:]),
            ("root", "root", said.root, committed_root(said.epoch, len(nodes.ids), top)),
        )
        return [
            Problem(link, f"{name} is not that of the nodes")
            for link, name, says, found in stated
            if says != found
        ]

    def _job_problems(self) -> list[Problem]:
        problems = []
        if self._unknown_flags:
            problems.append(Problem("jobs", "flags hold unknown bits"))
        if self._late != self._manifest.late:
            reason = f"{self._late} jobs are late, not {self._manifest.late}"
            problems.append(Problem("manifest", reason))
        if self._strange:
            reason = f"{self._strange} jobs do not belong to epoch {self._manifest.epoch}"
            problems.append(Problem("jobs", reason))
        return problems
