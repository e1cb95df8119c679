"""From an epoch's frames to its artefacts: jobs in order, segments, nodes, manifest.

The same frames give the same artefacts, in whatever order they are read: jobs are sorted, and no two are equal.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from meridian.measure.columns import SEGMENT_ROWS_MAX, column_values, segment_columns, write_segment
from meridian.measure.commitment import EpochCommitment, commit_rows
from meridian.measure.epoch import LATE_FLAG
from meridian.measure.manifest import InputRef, Manifest, SegmentRef
from meridian.measure.order import sort_order
from meridian.measure.schema import NetworkSchema
from meridian.node.ingest.frame import ROW_COLUMN, Frame, byte_rows, repeated
from meridian.node.ingest.publication import Publication
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.ids import Address

_KEY: Final = slice(4, 36)
"""Where the job key stands in a job row."""


@dataclass(frozen=True, slots=True)
class EpochJobs:
    """All jobs of one epoch, sorted by (node key, job key)."""

    table: pa.Table
    """Segment columns."""
    rows: ByteMatrix

    @property
    def node_ids(self) -> list[str]:
        """The nodes that have jobs."""
        names: list[str] = self.table.column("node_id").unique().to_pylist()
        return names

    @property
    def late(self) -> int:
        """How many ended in an earlier epoch."""
        return int(((column_values(self.table, "flags") & LATE_FLAG) != 0).sum())


@dataclass(frozen=True, slots=True)
class Header:
    """What an epoch's manifest says besides its artefacts."""

    network: str
    network_id: bytes
    aggregator: Address


def collect(schema: NetworkSchema, epoch: int, frames: Iterable[Frame]) -> EpochJobs:
    """Bring together an epoch's jobs."""
    columns = segment_columns(schema)
    tables, matrices = [columns.empty_table()], [np.zeros((0, 100), dtype=np.uint8)]
    for frame in frames:
        jobs, rows = _of_epoch(frame, epoch)
        jobs = jobs.append_column("batch_seed", repeated(frame.seed, jobs.num_rows))
        tables.append(pa.table([jobs.column(name) for name in columns.names], schema=columns))
        matrices.append(rows)
    table, rows = pa.concat_tables(tables), np.concatenate(matrices)
    if not len(rows):
        return EpochJobs(table, rows)
    order = sort_order(table.column("node_id"), rows[:, _KEY])
    return EpochJobs(table.combine_chunks().take(pa.array(order)), rows[order])


def _of_epoch(frame: Frame, epoch: int) -> tuple[pa.Table, ByteMatrix]:
    jobs = frame.jobs
    rows = byte_rows(jobs.column(ROW_COLUMN))
    if any(part.jobs and part.epoch != epoch for part in frame.parts):
        here = column_values(jobs, "epoch") == epoch
        return jobs.filter(pa.array(here)), rows[here]
    return jobs, rows


def segments(table: pa.Table) -> Iterator[tuple[bytes, int]]:
    """Return the Parquet bytes and the rows of each segment of an epoch."""
    for start in range(0, table.num_rows, SEGMENT_ROWS_MAX):
        part = table.slice(start, SEGMENT_ROWS_MAX)
        yield write_segment(part), part.num_rows


def publish_epoch(
    publication: Publication,
    schema: NetworkSchema,
    header: Header,
    epoch: int,
    jobs: EpochJobs,
    payees: Mapping[str, Address],
    inputs: tuple[InputRef, ...],
    duplicates: int,
) -> tuple[Manifest, EpochCommitment]:
    """Publish segments, nodes and last the manifest of an epoch.

    Raises:
        InvalidInput: If a node has no payee.
        StorageFailure: If the disk refused.
    """
    commitment = commit_rows(schema, epoch, jobs.table.column("node_id"), jobs.rows, payees)
    manifest = Manifest(
        network=header.network,
        network_id=header.network_id,
        epoch=epoch,
        aggregator=header.aggregator,
        schema=schema.digest,
        segments=tuple(
            SegmentRef(publication.put(data), rows, len(data)) for data, rows in segments(jobs.table)
        ),
        nodes=publication.put(commitment.nodes.encode()),
        inputs=inputs,
        root=commitment.root,
        n_nodes=commitment.n_nodes,
        annotation=commitment.annotation,
        late=jobs.late,
        duplicates=duplicates,
    )
    publication.put(manifest.encode())
    return manifest, commitment
