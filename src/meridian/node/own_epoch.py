"""A node's part of a committed epoch, under the root on chain, beside its own records."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.measure.columns import column_values, segment_columns
from meridian.measure.commitment import job_tree, load_node_jobs
from meridian.measure.epoch import LATE_FLAG
from meridian.measure.manifest import Manifest
from meridian.measure.promise_search import CommittedEpoch
from meridian.measure.row import job_keys, job_rows, rebuild_rows
from meridian.measure.schema import NetworkSchema
from meridian.node.chain_view import Commitment
from meridian.primitives.hashing import DIGEST_BYTES
from meridian.primitives.sumtree import HASH_BYTES


@dataclass(frozen=True, slots=True)
class CommittedJobs:
    """What one commitment says of a node."""

    annotation: bytes | None
    """Count and sums, 24 bytes; None: it has no row."""
    jobs: pa.Table
    """Its jobs, `columns.segment_columns`."""
    late: npt.NDArray[np.bool_]
    """Which of them ended in an earlier epoch."""


def committed_jobs(
    commitment: Commitment, schema: NetworkSchema, fetch: Callable[[bytes], bytes], node_id: str
) -> CommittedJobs:
    """Return what a commitment says of a node; its jobs must lead to the node's row, and that to the root.

    Raises:
        InvalidInput: If what is published does not lead to what is committed.
        RemoteFault: If something is not published now.
    """
    epoch = CommittedEpoch(schema, commitment.epoch, commitment.root, commitment.manifest, fetch)
    annotation = epoch.annotation(node_id)
    if annotation is None:
        none = segment_columns(schema).empty_table()
        return CommittedJobs(None, none, np.zeros(0, dtype=np.bool_))
    place = epoch.nodes.ids.index(node_id)
    manifest = Manifest.decode(fetch(commitment.manifest))
    jobs = load_node_jobs(manifest, schema, fetch, epoch.nodes, place)
    root = job_tree(rebuild_rows(schema, jobs), schema.lanes.kind).root
    if root != epoch.nodes.job_root(place):
        raise InvalidInput("jobs", f"the published jobs of {node_id!r} do not give its node row")
    return CommittedJobs(annotation, jobs, (column_values(jobs, "flags") & LATE_FLAG) != 0)


def annotation_of(jobs: pa.Table, schema: NetworkSchema) -> bytes:
    """Return the number of jobs and their sums, 24 bytes; seeds do not matter for them.

    Raises:
        InvalidInput: If a sum passes its lane.
    """
    keys = job_keys(jobs.column("job_id"))
    none = np.zeros((jobs.num_rows, DIGEST_BYTES), dtype=np.uint8)
    flags = pa.array(np.zeros(jobs.num_rows, dtype=np.uint16))
    if "flags" in jobs.column_names:
        jobs = jobs.drop_columns(["flags"])
    rows = job_rows(schema, jobs.append_column("flags", flags), keys, none)
    return job_tree(rows, schema.lanes.kind).root[HASH_BYTES:]
