"""From the sealed jobs of an epoch to everything that is published about it.

Law: the same jobs, payees and inputs give the same bytes, so building an epoch again after a crash changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from meridian.errors import RemoteFault
from meridian.measure.columns import (
    SEGMENT_ROWS_MAX,
    SEGMENT_TEXT_BYTES_MAX,
    column_values,
    write_segment,
)
from meridian.measure.epoch import LATE_FLAG
from meridian.measure.epoch_builder import SLICE_ROWS, EpochBuilder
from meridian.measure.epoch_log import EpochRecord
from meridian.measure.manifest import InputRef, Manifest, SegmentRef
from meridian.measure.row import job_rows
from meridian.measure.schema import NetworkSchema
from meridian.node.measure.external_sort import ExternalSort, Frames
from meridian.node.measure.nodes import NodeDirectory
from meridian.node.measure.publication import Publication
from meridian.node.measure.sealed_store import SealedWriter
from meridian.node.measure.sorted_columns import SortedColumns
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.ids import Address, network_id

FIXED_BYTES: Final = 640 << 20
"""What sealing takes whatever the number of jobs: the interpreter, compiled code, and one segment while it is written."""
SORT_BYTES_MIN: Final = 64 << 20

Payees = Callable[[Sequence[str]], Mapping[str, Address]]
"""The payees of nodes."""


def _say_nothing(_phase: str, _done: int) -> None:
    """Report no progress."""


def sort_bytes(memory_bytes: int) -> int:
    """Return what the sort may hold of the jobs, of all memory that sealing may take."""
    return max(SORT_BYTES_MIN, memory_bytes - FIXED_BYTES)


class SegmentWriter:
    """Cuts jobs in order into segments and publishes them.

    A segment ends at `SEGMENT_ROWS_MAX` jobs, or earlier where `SEGMENT_TEXT_BYTES_MAX` bytes of text are reached: where it ends depends
    on the jobs alone.
    """

    def __init__(self, publication: Publication) -> None:
        self._publication = publication
        self._parts: list[pa.Table] = []
        self._rows = self._text_bytes = 0
        self.segments: list[SegmentRef] = []
        """What is published."""

    def add(self, columns: SortedColumns) -> None:
        """Add a stretch."""
        start = 0
        while start < len(columns):
            rows, text = SEGMENT_ROWS_MAX - self._rows, SEGMENT_TEXT_BYTES_MAX - self._text_bytes
            end = columns.end_within(start, rows, text)
            if self._rows and columns.text_bytes(start, end) > text:
                self._write()
                continue
            part = columns.table(start, end)
            self._rows += end - start
            self._text_bytes += columns.text_bytes(start, end)
            if end < len(columns) or self._rows == SEGMENT_ROWS_MAX:
                self._parts.append(part)
                self._write()
            else:  # copied, so that the stretch can go
                self._parts.append(part.take(pa.array(np.arange(part.num_rows))))
            start = end

    def finish(self) -> tuple[SegmentRef, ...]:
        """Publish the rest; return all segments."""
        if self._rows:
            self._write()
        return tuple(self.segments)

    def _write(self) -> None:
        parts = self._parts
        if len(parts) > 1:
            parts = [part.cast(_plain(part.schema)) for part in parts]
        data = write_segment(pa.concat_tables(parts))
        self.segments.append(SegmentRef(self._publication.put(data), self._rows, len(data)))
        self._parts, self._rows, self._text_bytes = [], 0, 0


def _plain(columns: pa.Schema) -> pa.Schema:
    return columns.set(0, pa.field("node_id", pa.string(), nullable=False))


def publish_epoch(
    publication: Publication,
    schema: NetworkSchema,
    *,
    network: str,
    epoch: int,
    aggregator: Address,
    frames: Frames,
    duplicates: int,
    payees: Payees,
    inputs: Mapping[str, bytes],
    work: Path,
    memory_bytes: int,
    sealed: Path | None = None,
    on_progress: Callable[[str, int], None] = _say_nothing,
) -> Manifest:
    """Publish segments, nodes and manifest of an epoch, and keep its sealed store; returns the manifest.

    Args:
        publication: Where to.
        schema: The network's schema.
        network: The network's name.
        epoch: The epoch.
        aggregator: Our account.
        frames: The groups that hold its jobs, in log order.
        duplicates: Submissions of jobs that were accepted before.
        payees: Gives the payees of the nodes that have jobs.
        inputs: Digests of the epoch's inputs by name.
        work: A directory for the time of the work; emptied before and removed after.
        memory_bytes: What sealing may take.
        sealed: Where sealed stores are kept; None for none.
        on_progress: Told ``read`` or ``written`` and how many jobs; may raise to give up.

    Raises:
        StorageFailure: If the disk refuses, or the log is damaged.
        RemoteFault: If a payee cannot be found out.
        InvalidInput: If the jobs cannot be committed.
    """
    sort = ExternalSort(schema, epoch, frames, spill=work, memory_bytes=sort_bytes(memory_bytes))
    with sort:
        sort.scan(lambda rows: on_progress("read", rows))
        accounts = payees(sort.names)
        segments, late = SegmentWriter(publication), 0
        store = None if sealed is None else SealedWriter(sealed, epoch, schema.lanes.kind)
        try:
            builder = EpochBuilder(
                schema, epoch, _keep_nothing if store is None else store.subtrees
            )
            for columns in sort.stretches():
                late += _commit(schema, columns, builder, store, on_progress)
                segments.add(columns)
                del columns
            commitment = builder.finish(accounts)
            if store is not None:
                store.finish(commitment)
        finally:
            if store is not None:
                store.close()
        manifest = Manifest(
            network=network,
            network_id=network_id(network),
            epoch=epoch,
            aggregator=aggregator,
            schema=publication.put(schema.encode()),
            segments=segments.finish(),
            nodes=publication.put(commitment.nodes.encode()),
            inputs=tuple(InputRef(name, inputs[name]) for name in sorted(inputs)),
            root=commitment.root,
            n_nodes=commitment.n_nodes,
            annotation=commitment.annotation,
            late=late,
            duplicates=duplicates + sort.dropped,
        )
    publication.put(manifest.encode())
    return manifest


def _keep_nothing(_nodes: ByteMatrix) -> None:
    """Keep no sealed store."""


def _commit(
    schema: NetworkSchema,
    columns: SortedColumns,
    builder: EpochBuilder,
    store: SealedWriter | None,
    on_progress: Callable[[str, int], None],
) -> int:
    """Add a stretch to the trees and the store; return how many of its jobs are late."""
    late = 0
    for start in range(0, len(columns), SLICE_ROWS):
        end = min(len(columns), start + SLICE_ROWS)
        part = columns.numbers(start, end)
        keys, private = (columns.digests(name, start, end) for name in ("job_key", "private"))
        rows = job_rows(schema, part, keys, private)
        if store is not None:
            store.rows(rows)
        builder.add(columns.node_ids(start, end), rows)
        late += int(((column_values(part, "flags") & LATE_FLAG) != 0).sum())
        on_progress("written", builder.jobs)
    return late


def payees_of(names: Sequence[str], directory: NodeDirectory) -> dict[str, Address]:
    """Return the payee of each node.

    Raises:
        RemoteFault: If a node is not known here now, though it was when its jobs were admitted.
    """
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
