"""Seals: an epoch that is over becomes a root, artefacts and an entry of the epoch log.

Law: epochs are sealed in order, without gaps, once. The entry of the log is the moment of the seal: what is published
before it is only bytes, what is written after it can be written again (and is, after a crash). A sealed epoch is
committed when the chain says so.
"""

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from meridian.errors import InvalidInput, NotFound
from meridian.measure.epoch import PlacementRules
from meridian.measure.epoch_log import EpochRecord
from meridian.measure.manifest import Manifest
from meridian.measure.schema import NetworkSchema
from meridian.node.durable_file import read_whole, write_durably
from meridian.node.ingest.assembly import Header, collect, publish_epoch
from meridian.node.ingest.clock import Clock
from meridian.node.ingest.epoch_inputs import Conflict, EpochInputs
from meridian.node.ingest.frame import Frame
from meridian.node.ingest.intake import Intake
from meridian.node.ingest.job_log import JobLog
from meridian.node.ingest.publication import Publication
from meridian.node.ingest.published_log import PublishedLog
from meridian.node.ingest.registry import NodeRegistry
from meridian.primitives.cid import cid_text

EPOCHS_AHEAD_MAX: Final = 10_000
"""How far ahead of the first open epoch an epoch can be spoken of."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the sealer works with."""

    schema: NetworkSchema
    header: Header
    rules: PlacementRules
    clock: Clock
    registry: NodeRegistry
    intake: Intake
    jobs: JobLog
    inputs: EpochInputs
    publication: Publication
    log: PublishedLog


class Sealer:
    """Seals epochs and tells their state; any threads, one seal at a time.

    Args:
        parts: What it works with.
        retention_epochs: How many sealed epochs' jobs and receipts are kept.
    """

    def __init__(self, parts: Parts, retention_epochs: int) -> None:
        self._parts = parts
        self._retention = retention_epochs
        self._turn = threading.Lock()
        self._index_turn = threading.Lock()
        self._committed_through = parts.rules.calendar.first_epoch - 1
        self._restore()

    def _restore(self) -> None:
        """Write the index files that a crash has kept us from writing, and see which epochs are committed."""
        for epoch in range(self.first_epoch, self.next_epoch):
            try:
                index = self.index(epoch)
            except (NotFound, InvalidInput):
                self._write_index(epoch, {"state": "sealed"})
                continue
            if index["state"] == "committed" and self._committed_through == epoch - 1:
                self._committed_through = epoch
        if self.next_epoch > self.first_epoch:
            self._parts.inputs.seal(self.next_epoch - 1)

    @property
    def first_epoch(self) -> int:
        """The network's first epoch."""
        return self._parts.rules.calendar.first_epoch

    @property
    def next_epoch(self) -> int:
        """The first epoch that is not sealed."""
        return self._parts.log.next_epoch

    @property
    def next_uncommitted(self) -> int:
        """The first epoch that is not known to be committed."""
        return self._committed_through + 1

    def record(self, epoch: int) -> EpochRecord:
        """Return the log entry of a sealed epoch."""
        return self._parts.log.record(epoch)

    # -- sealing ----------------------------------------------------------------------------------

    def seal(self, epoch: int) -> dict[str, Any]:
        """Seal an epoch, or find that it is sealed, and return its state.

        Raises:
            Conflict: If it is not over, or an earlier one is not sealed.
            NotFound: If the network has no such epoch.
            RemoteFault: If the registrations cannot be read now; nothing has changed.
            StorageFailure: If the disk refused.
        """
        self._require_known(epoch)
        with self._turn:
            if epoch < self.next_epoch:
                return self.state(epoch)
            if epoch > self.next_epoch:
                raise Conflict("epoch", f"epoch {self.next_epoch} must be sealed before epoch {epoch}")
            end_us = self._parts.rules.calendar.end_us(epoch)
            if self._parts.clock.now_us() < end_us:
                raise Conflict("epoch", f"epoch {epoch} is not over")
            self._parts.registry.refresh()
            self._seal(epoch)
        self._parts.intake.forget_before(epoch + 1 - self._retention)
        return self.state(epoch)

    def _seal(self, epoch: int) -> None:
        started_s = time.monotonic()
        parts = self._parts
        parts.intake.close_epoch(epoch)
        inputs = parts.inputs.seal(epoch)
        _, duplicates = parts.intake.index.counts(epoch)
        places = parts.intake.index.places(epoch)
        jobs = collect(
            parts.schema, epoch, (Frame.decode(parts.jobs.read(place)) for place in places)
        )
        manifest, _ = publish_epoch(
            parts.publication,
            parts.schema,
            parts.header,
            epoch,
            jobs,
            parts.registry.payees(jobs.node_ids),
            inputs,
            duplicates,
        )
        parts.log.append(
            EpochRecord(
                network=manifest.network_id,
                epoch=epoch,
                aggregator=manifest.aggregator,
                root=manifest.root,
                n_nodes=manifest.n_nodes,
                annotation=manifest.annotation,
                manifest=manifest.digest,
            )
        )
        self._write_index(epoch, {"state": "sealed"})
        _log.info(
            "epoch sealed",
            extra={
                "epoch": epoch,
                "jobs": manifest.jobs,
                "nodes": manifest.n_nodes,
                "seconds": round(time.monotonic() - started_s, 3),
            },
        )

    # -- state ------------------------------------------------------------------------------------

    def committed(self, epoch: int, tx_hash: bytes | None) -> None:
        """Note that the chain has the commitment of the first epoch that was not known to be committed."""
        assert epoch == self.next_uncommitted, "commitments have no gaps"
        fields = {"state": "committed"} | ({"tx": "0x" + tx_hash.hex()} if tx_hash else {})
        self._write_index(epoch, fields)
        self._committed_through = epoch

    def _write_index(self, epoch: int, fields: dict[str, str]) -> None:
        """Write the file in which outsiders find an epoch's manifest."""
        record = self._parts.log.record(epoch)
        manifest = Manifest.decode(self._parts.publication.get(record.manifest))
        value = {
            "epoch": epoch,
            "manifest": cid_text(record.manifest),
            "root": record.root.hex(),
            "n_nodes": record.n_nodes,
            "annotation": record.annotation.hex(),
            "jobs": manifest.jobs,
            "late": manifest.late,
            "duplicates": manifest.duplicates,
        } | fields
        data = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
        with self._index_turn:
            write_durably(self._index_path(epoch), data)

    def _index_path(self, epoch: int) -> Any:
        return self._parts.publication.root / "epochs" / f"{epoch:06d}.json"

    def index(self, epoch: int) -> dict[str, Any]:
        """Return the index file of a sealed epoch.

        Raises:
            NotFound: If there is none.
            InvalidInput: If it is not JSON.
        """
        try:
            return msgspec.json.decode(read_whole(self._index_path(epoch)), type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise InvalidInput(str(self._index_path(epoch)), str(error)) from error

    def state(self, epoch: int) -> dict[str, Any]:
        """Return what is known about an epoch: ``state`` is open, sealed or committed.

        Raises:
            NotFound: If the network has no such epoch, or it is too far in the future.
        """
        self._require_known(epoch)
        if epoch < self.next_epoch:
            return self.index(epoch)
        jobs, duplicates = self._parts.intake.index.counts(epoch)
        inputs = self._parts.inputs.of(epoch)
        return {
            "epoch": epoch,
            "state": "open",
            "jobs": jobs,
            "duplicates": duplicates,
            "inputs": {name: cid_text(digest) for name, digest in inputs.items()},
            "ends_at_us": self._parts.rules.calendar.end_us(epoch),
        }

    def epochs(self, first: int, limit: int) -> list[dict[str, Any]]:
        """Return the states of the epochs from `first` that are sealed or have jobs, at most `limit`."""
        sealed = range(max(first, self.first_epoch), self.next_epoch)
        chosen = [*sealed[:limit]]
        chosen += [
            epoch
            for epoch in self._parts.intake.index.epochs()
            if epoch >= max(first, self.next_epoch)
        ]
        return [self.state(epoch) for epoch in chosen[:limit]]

    def put_input(self, epoch: int, name: str, data: bytes) -> bytes:
        """Give an auxiliary input of an epoch; raises as `EpochInputs.put`, and `NotFound` as `state`."""
        self._require_known(epoch)
        return self._parts.inputs.put(epoch, name, data)

    def _require_known(self, epoch: int) -> None:
        if not self.first_epoch <= epoch <= self.next_epoch + EPOCHS_AHEAD_MAX:
            raise NotFound(f"the network has no epoch {epoch} that can be spoken of yet")
