"""The thread that settles sealed epochs: publish, commit, log, in the order of epochs.

Each step can be done again without harm, and each is finished before the next begins, so after a crash the thread simply
starts from what it finds: no index -> publish; index without commitment -> log and commit.

Law: what stands in an index never changes but from ``sealed`` to ``committed``, and before that to the manifest that
lists the nodes which committed themselves, once no more can. A failing step is tried again after a
pause; ingest goes on meanwhile.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from meridian.errors import MeridianError, NotFound, StorageFailure
from meridian.measure.commitment import node_tree_hash
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.schema import NetworkSchema
from meridian.node.measure.job_log import FrameRef
from meridian.node.measure.journal import Journal
from meridian.node.measure.ledger import Conflict, Ledger
from meridian.node.measure.log_reader import ChainedFrames, LogFrames, LogReader
from meridian.node.measure.nodes import NodeDirectory
from meridian.node.measure.publication import Publication
from meridian.node.measure.published_log import PublishedLog
from meridian.node.measure.seal import payees_of, publish_epoch, record_of
from meridian.primitives.cid import cid_text, parse_cid
from meridian.primitives.ids import Address

PAUSE_FIRST_S: Final = 0.25
PAUSE_LAST_S: Final = 15.0

TELL_S: Final = 1.0
"""How often an event tells how far a seal is."""

_log = logging.getLogger(__name__)


class HandedLog(Protocol):
    """What another server has handed over for an epoch."""

    @property
    def directory(self) -> Path:
        """Of a job log."""

    @property
    def refs(self) -> Sequence[FrameRef]:
        """The groups."""

    @property
    def duplicates(self) -> int:
        """Submissions to it of jobs that were accepted before."""


class Others(Protocol):
    """The network's other servers, as a seal sees them; raises `MeridianError` for what is to be tried again."""

    def collect(self, epoch: int, going_on: Callable[[], None]) -> Sequence[HandedLog]:
        """Close an epoch everywhere, and return what the servers have of it; `going_on` may raise to give up."""

    def published(self, epoch: int, root: bytes) -> None:
        """Note that an epoch is published."""

    def committed(self, epoch: int, root: bytes) -> None:
        """Note that an epoch is committed: nobody needs its jobs any more."""


class _Stopped(MeridianError):
    """The service ends while an epoch is being sealed."""


class Settling:
    """The thread.

    Args:
        network: The network's name.
        schema: Its schema.
        aggregator: Our account.
        first_epoch: The network's first epoch: entry 0 of the epoch log.
        journal: Read only.
        directory: For payees.
        publication: Written only here.
        ledger: Where epochs are committed.
        log: The epoch log.
        data_dir: For sealed stores, and for what a seal needs while it works.
        memory_bytes: What a seal may take.
        on_event: Told what happened: ``sealing``, ``sealed`` and ``committed``, with fields.
        others: The network's other servers, whose logs a seal needs too; None where there are none.
    """

    def __init__(
        self,
        *,
        network: str,
        schema: NetworkSchema,
        aggregator: Address,
        first_epoch: int,
        journal: Journal,
        directory: NodeDirectory,
        publication: Publication,
        ledger: Ledger,
        log: PublishedLog,
        data_dir: Path,
        memory_bytes: int,
        on_event: Callable[[str, dict[str, Any]], None],
        others: Others | None = None,
    ) -> None:
        self._network, self._schema, self._aggregator = network, schema, aggregator
        self._first_epoch = first_epoch
        self._journal, self._directory = journal, directory
        self._publication, self._ledger = publication, ledger
        self._epoch_log, self._others = log, others
        self._data_dir, self._memory_bytes = data_dir, memory_bytes
        self._told_s = 0.0
        self.sealing: dict[str, Any] | None = None
        """How far the epoch is that is being sealed."""
        self._on_event = on_event
        self._sealed: queue.Queue[int] = queue.Queue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="settling", daemon=True)
        self.problem: str | None = None
        """Why the epoch at work does not get on, while it does not."""
        self.failure: BaseException | None = None
        """Why the thread stopped, if it did by itself."""
        self.settled_before = first_epoch
        """Every epoch below it is committed."""

    def start(self) -> None:
        """Take up what is sealed and not committed, and start the thread."""
        for epoch in range(self._first_epoch, self._journal.open_epoch):
            index = self._publication.read_index(epoch)
            if index is not None and index["state"] == "committed":
                if self.settled_before == epoch:
                    self.settled_before = epoch + 1
            else:
                self._sealed.put(epoch)
        self._thread.start()

    def add(self, epoch: int) -> None:
        """Settle an epoch that was sealed just now."""
        self._sealed.put(epoch)

    def stop(self) -> None:
        """End the thread after the step at work."""
        self._stopping.set()
        self._sealed.put(-1)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                epoch = self._sealed.get()
                if not self._stopping.is_set():
                    self._settle(epoch)
        except BaseException as error:  # noqa: BLE001 - the process must end, with its reason.
            self.failure = error
            _log.critical("settling has stopped", exc_info=error)

    def _settle(self, epoch: int) -> None:
        pause_s = PAUSE_FIRST_S
        while not self._stopping.is_set():
            try:
                self._publish(epoch)
                self._commit(epoch)
            except _Stopped:
                return
            except (StorageFailure, Conflict):
                raise
            except MeridianError as error:
                if self.problem != str(error):
                    _log.warning("epoch %d waits: %s", epoch, error, extra={"epoch": epoch})
                self.problem = str(error)
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, PAUSE_LAST_S)
            else:
                self.problem = None
                self.settled_before = epoch + 1
                return

    def _publish(self, epoch: int) -> None:
        if self._publication.read_index(epoch) is not None:
            return
        self._told_s = time.monotonic()
        duplicates = self._journal.counts(epoch)[1]
        with contextlib.ExitStack() as stack:
            reader = stack.enter_context(LogReader(self._journal.directory))
            parts = [LogFrames(reader, self._journal.frames_of(epoch))]
            if self._others is not None:
                for handed in self._others.collect(epoch, self._require_going_on):
                    reader = stack.enter_context(LogReader(handed.directory))
                    parts.append(LogFrames(reader, handed.refs))
                    duplicates += handed.duplicates
            manifest = publish_epoch(
                self._publication,
                self._schema,
                network=self._network,
                epoch=epoch,
                aggregator=self._aggregator,
                frames=ChainedFrames(parts),
                duplicates=duplicates,
                payees=self._payees,
                inputs=self._journal.inputs(epoch),
                work=self._data_dir / "sealing",
                memory_bytes=self._memory_bytes,
                sealed=self._data_dir / "sealed",
                on_progress=partial(self._progress, epoch),
            )
        index = {
            "epoch": epoch,
            "state": "sealed",
            "manifest": cid_text(manifest.digest),
            "root": manifest.root.hex(),
            "n_nodes": manifest.n_nodes,
            "annotation": manifest.annotation.hex(),
            "jobs": manifest.jobs,
            "late": manifest.late,
            "duplicates": manifest.duplicates,
            "commitment": None,
        }
        self._publication.write_index(epoch, index)
        self.sealing = None
        if self._others is not None:
            self._others.published(epoch, manifest.root)
        self._on_event("sealed", {"epoch": epoch, "jobs": manifest.jobs})

    def _payees(self, names: Sequence[str]) -> Mapping[str, Address]:
        try:
            return payees_of(names, self._directory)
        except MeridianError:
            self._directory.refresh()
            return payees_of(names, self._directory)

    def _require_going_on(self) -> None:
        if self._stopping.is_set():
            raise _Stopped("the service ends")

    def _progress(self, epoch: int, phase: str, done: int) -> None:
        """Tell how far the seal is, and give up when the service ends: it begins again at the next start."""
        self._require_going_on()
        fields = {phase: done, "jobs": self._journal.counts(epoch)[0]}
        self.sealing = {"epoch": epoch} | fields
        if time.monotonic() - self._told_s >= TELL_S:
            self._told_s = time.monotonic()
            self._on_event("sealing", self.sealing)

    def _listing(self, epoch: int, index: dict[str, Any]) -> Manifest:
        """Return the epoch's manifest with the nodes that committed themselves; the list is final at their cut-off."""
        manifest = Manifest.decode(self._publication.get(parse_cid(index["manifest"])[1]))
        if index["state"] == "committed":
            return manifest
        listed = self._ledger.self_committed(epoch)
        if listed == manifest.self_committed:
            return manifest
        manifest = replace(manifest, self_committed=listed)
        index["manifest"] = cid_text(self._publication.put(manifest.encode()))
        self._publication.write_index(epoch, index)
        return manifest

    def _commit(self, epoch: int) -> None:
        index = self._publication.read_index(epoch)
        if index is None:
            raise NotFound(f"epoch {epoch} has lost its index")
        manifest = self._listing(epoch, index)
        nodes = Nodes.decode(self._publication.get(manifest.nodes))
        record = record_of(manifest)
        tree_hash = node_tree_hash(nodes, self._schema.lanes.kind)
        committed = self._ledger.commit(record, tree_hash)
        place = epoch - self._first_epoch
        self._epoch_log.append(place, record.encode())
        index |= {"state": "committed", "commitment": committed.document()}
        self._publication.write_index(epoch, index)
        if self._others is not None:
            self._others.committed(epoch, bytes.fromhex(index["root"]))
        self._on_event("committed", {"epoch": epoch, "root": index["root"]})
