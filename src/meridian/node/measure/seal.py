"""From the sealed jobs of an epoch to everything that is published about it.

Law: the same jobs, payees and inputs give the same bytes, so building an epoch again after a crash changes nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from meridian.errors import RemoteFault
from meridian.measure.columns import column_values, write_segment
from meridian.measure.epoch import LATE_FLAG
from meridian.measure.epoch_builder import EpochBuilder
from meridian.measure.epoch_log import EpochRecord
from meridian.measure.manifest import InputRef, Manifest, SegmentRef
from meridian.measure.row import job_rows
from meridian.measure.schema import NetworkSchema
from meridian.node.measure.external_sort import ExternalSort, Frames, Stretch
from meridian.node.measure.nodes import NodeDirectory
from meridian.node.measure.page_cache import forget_file
from meridian.node.measure.publication import Publication
from meridian.node.measure.sealed_store import SealedWriter
from meridian.node.measure.sorted_columns import Piece, SegmentColumns
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
    """Publishes one segment after the other.

    Args:
        publication: Where to.
        schema: The network's schema.
        sort: Has scanned the jobs.
    """

    def __init__(self, publication: Publication, schema: NetworkSchema, sort: ExternalSort) -> None:
        self._publication = publication
        self._columns = SegmentColumns(schema, sort.layout, sort.mover, sort.names, sort.jobs)
        self._segments: list[SegmentRef] = []

    def pieces(self, stretch: Stretch) -> Iterator[Piece]:
        """Add a stretch, and yield it in pieces."""
        start = 0
        while start < len(stretch):
            end = self._columns.end_of_piece(stretch, start)
            if end == start:
                self.write()
                continue
            yield self._columns.add(stretch, start, end)
            start = end

    def finish(self) -> tuple[SegmentRef, ...]:
        """Publish the rest; return all segments."""
        if len(self._columns):
            self.write()
        return tuple(self._segments)

    def write(self) -> None:
        """Publish what there is as a segment."""
        data = write_segment(self._columns.table())
        ref = SegmentRef(self._publication.put(data), len(self._columns), len(data))
        forget_file(self._publication.path(ref.digest))
        self._segments.append(ref)
        self._columns.clear()


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
        segments, late = SegmentWriter(publication, schema, sort), 0
        store = None if sealed is None else SealedWriter(sealed, epoch, schema.lanes.kind)
        try:
            builder = EpochBuilder(
                schema, epoch, _keep_nothing if store is None else store.subtrees
            )
            for stretch in sort.stretches():
                for piece in segments.pieces(stretch):
                    late += _commit(schema, piece, builder, store)
                on_progress("written", builder.jobs)
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
    schema: NetworkSchema, piece: Piece, builder: EpochBuilder, store: SealedWriter | None
) -> int:
    """Add jobs to the trees and the store; return how many of them are late."""
    rows = job_rows(schema, piece.numbers, piece.keys, piece.private)
    if store is not None:
        store.rows(rows)
    builder.add(piece.node_ids, rows)
    return int(((column_values(piece.numbers, "flags") & LATE_FLAG) != 0).sum())


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
