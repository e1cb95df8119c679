"""What one node commits to by itself: the root of the tree over its own jobs, from a segment with nothing else.

The root is the one that the node's row would carry if the aggregator had counted exactly these jobs.
"""

from dataclasses import dataclass

import numpy as np

from meridian.errors import InvalidInput
from meridian.measure.columns import column_values, read_segment
from meridian.measure.commitment import job_tree
from meridian.measure.epoch import LATE_FLAG, Calendar
from meridian.measure.order import check_job_order, node_runs
from meridian.measure.row import rebuild_rows
from meridian.measure.schema import NetworkSchema
from meridian.primitives.cid import digest_of
from meridian.primitives.sumtree import HASH_BYTES


@dataclass(frozen=True, slots=True)
class OwnJobs:
    """A node's commitment to its own jobs of an epoch."""

    root: bytes
    """The root node of its job tree: hash 32, count and sums 24."""
    segment: bytes
    """The digest of the segment that holds the jobs."""

    @property
    def tree_hash(self) -> bytes:
        """The hash of the root node."""
        return self.root[:HASH_BYTES]

    @property
    def annotation(self) -> bytes:
        """Number of jobs and sums, 24 bytes."""
        return self.root[HASH_BYTES:]


def own_jobs(
    segment: bytes, schema: NetworkSchema, calendar: Calendar, epoch: int, node_id: str
) -> OwnJobs:
    """Return what a node commits to with a segment of its own jobs.

    Args:
        segment: The Parquet bytes.
        schema: The network's schema.
        calendar: The network's epochs.
        epoch: The epoch; a job that ended in an earlier one must be marked as late, as in every segment.
        node_id: The node.

    Raises:
        InvalidInput: If it is not a segment of the schema, holds no job or another node's or another epoch's, or is
            not in order.
    """
    table = read_segment(segment, schema)
    names, _ = node_runs(table.column("node_id"))
    if names != [node_id]:
        other = next((name for name in names if name != node_id), None)
        reason = "it holds no job" if other is None else f"it holds jobs of {other!r}"
        raise InvalidInput("segment", reason)
    late = (column_values(table, "flags") & LATE_FLAG) != 0
    ended = calendar.epochs_of(column_values(table, "ended_us"))
    strange = np.where(late, ended >= epoch, ended != epoch)
    if strange.any():
        raise InvalidInput("segment", f"{int(strange.sum())} jobs do not belong to epoch {epoch}")
    rows = rebuild_rows(schema, table)
    check_job_order(rows, np.array([len(rows)], dtype=np.int64))
    return OwnJobs(job_tree(rows, schema.lanes.kind).root, digest_of(segment))
