"""From the sealed jobs of an epoch to everything that is published about it.

Law: the same jobs, payees and inputs give the same bytes, so building an epoch again after a crash changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from meridian.errors import RemoteFault
from meridian.measure.columns import (
    DIGEST_TYPE,
    SEGMENT_ROWS_MAX,
    column_values,
    segment_columns,
    write_segment,
)
from meridian.measure.commitment import commit_rows
from meridian.measure.epoch import LATE_FLAG
from meridian.measure.epoch_log import EpochRecord
from meridian.measure.manifest import InputRef, Manifest, SegmentRef
from meridian.measure.order import node_indices, same_as_previous, sort_order
from meridian.measure.row import job_rows
from meridian.measure.schema import NetworkSchema
from meridian.node.measure.frames import digest_rows, log_columns
from meridian.node.measure.nodes import NodeDirectory
from meridian.node.measure.publication import Publication
from meridian.primitives.ids import Address, network_id


@dataclass(frozen=True, slots=True)
class SealedJobs:
    """An epoch's jobs in order, with what was computed when they were admitted."""

    table: pa.Table
    """The columns of `frames.log_columns`, ``batch_seed`` plain."""
    dropped: int
    """Jobs that stood twice: the first in the log counts."""


def gather(schema: NetworkSchema, groups: Sequence[pa.Table]) -> SealedJobs:
    """Sort the jobs of all groups by (node key, job key).

    Args:
        schema: The network's schema.
        groups: The jobs of each group, in log order, in the columns of `frames.log_columns`.
    """
    seeds = pa.field("batch_seed", DIGEST_TYPE, nullable=False)
    parts = [
        jobs.set_column(jobs.num_columns - 1, seeds, jobs.column("batch_seed").cast(DIGEST_TYPE))
        for jobs in groups
    ]
    if not parts:
        columns = log_columns(schema)
        empty = columns.set(len(columns) - 1, seeds).empty_table()
        return SealedJobs(empty, 0)
    table = pa.concat_tables(parts)
    keys = digest_rows(table.column("job_key"))
    order = sort_order(table.column("node_id"), keys)
    table = table.take(order)
    again = same_as_previous(table.column("node_id"), keys[order])
    if again.any():
        table = table.filter(pa.array(~again))
    return SealedJobs(table, int(again.sum()))


def publish_epoch(
    publication: Publication,
    schema: NetworkSchema,
    *,
    network: str,
    epoch: int,
    aggregator: Address,
    jobs: SealedJobs,
    duplicates: int,
    payees: Mapping[str, Address],
    inputs: Mapping[str, bytes],
) -> Manifest:
    """Publish segments, nodes and manifest of an epoch; returns the manifest.

    Raises:
        StorageFailure: If the disk refuses.
        InvalidInput: If the jobs cannot be committed.
    """
    rows = job_rows(
        schema,
        jobs.table,
        digest_rows(jobs.table.column("job_key")),
        digest_rows(jobs.table.column("private")),
    )
    commitment = commit_rows(schema, epoch, jobs.table.column("node_id"), rows, payees)
    columns = segment_columns(schema)
    table = jobs.table.select(columns.names).cast(columns)
    segments = []
    for start in range(0, table.num_rows, SEGMENT_ROWS_MAX):
        part = table.slice(start, SEGMENT_ROWS_MAX)
        data = write_segment(part)
        segments.append(SegmentRef(publication.put(data), part.num_rows, len(data)))
    manifest = Manifest(
        network=network,
        network_id=network_id(network),
        epoch=epoch,
        aggregator=aggregator,
        schema=publication.put(schema.encode()),
        segments=tuple(segments),
        nodes=publication.put(commitment.nodes.encode()),
        inputs=tuple(InputRef(name, inputs[name]) for name in sorted(inputs)),
        root=commitment.root,
        n_nodes=commitment.n_nodes,
        annotation=commitment.annotation,
        late=int(((column_values(table, "flags") & LATE_FLAG) != 0).sum()),
        duplicates=duplicates + jobs.dropped,
    )
    publication.put(manifest.encode())
    return manifest


def payees_of(jobs: SealedJobs, directory: NodeDirectory) -> dict[str, Address]:
    """Return the payee of every node that has jobs.

    Raises:
        RemoteFault: If a node is not known here now, though it was when its jobs were admitted.
    """
    names, _ = node_indices(jobs.table.column("node_id"))
    payees = {}
    for name in names:
        node = directory.find(name)
        if node is None:
            raise RemoteFault(f"the registration of node {name!r} cannot be read now")
        payees[name] = node.payee
    return payees


def record_of(manifest: Manifest) -> EpochRecord:
    """Return what the epoch log and the chain say of a manifest."""
    return EpochRecord(
        network=manifest.network_id,
        epoch=manifest.epoch,
        aggregator=manifest.aggregator,
        root=manifest.root,
        n_nodes=manifest.n_nodes,
        annotation=manifest.annotation,
        manifest=manifest.digest,
    )
