"""The job log and everything that follows from it: which groups of batches, seals and inputs there were, and what they add up to.

Law: memory holds nothing that the log does not say; opening the journal again gives the same state. The intake thread
writes; the settling thread reads the frames of sealed epochs, which nobody changes any more.
"""

import threading
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from meridian.errors import StorageFailure
from meridian.measure.admission import LaneSums
from meridian.measure.claims import (
    Claim,
    Claims,
    Holder,
    Verdict,
    batch_granted,
    first_sequence,
    server_of,
)
from meridian.measure.columns import column_values
from meridian.measure.schema import NetworkSchema
from meridian.measure.seen_jobs import Hashes, SeenJobs
from meridian.node.measure.batch_index import BatchIndex
from meridian.node.measure.frames import (
    GroupFrame,
    Kind,
    batch_entries,
    control_document,
    digest_rows,
)
from meridian.node.measure.job_log import Frame, FrameRef, JobLog
from meridian.primitives import dagcbor

_STATE_KEYS: Final = ("sequence", "clock_us", "open_epoch")


@dataclass(slots=True)
class _Epoch:
    """What the log says of one epoch."""

    frames: "array[int]" = field(default_factory=lambda: array("Q"))
    """The groups that hold jobs of it, in log order, packed."""
    jobs: int = 0
    duplicates: int = 0
    inputs: dict[str, bytes] = field(default_factory=dict)


class Journal:
    """The open journal.

    Args:
        log: Just opened, not yet recovered.
        schema: The network's schema.
        first_epoch: The network's first epoch.
        seen: Filled from the log.
        sums: Filled from the log.
        remembered_epochs: How many sealed epochs stay in `seen`.
        server: Our number among the network's servers, which numbers our receipts.

    Raises:
        StorageFailure: If the log is damaged, or of another schema or server.
    """

    def __init__(
        self,
        log: JobLog,
        schema: NetworkSchema,
        first_epoch: int,
        *,
        seen: SeenJobs,
        sums: LaneSums,
        remembered_epochs: int,
        server: int = 0,
    ) -> None:
        self._log = log
        self._schema = schema
        self._first_epoch = first_epoch
        self._remembered = remembered_epochs
        self._lock = threading.Lock()
        self.seen = seen
        self.sums = sums
        self.claims = Claims(seen, sums)
        """What other servers were granted."""
        self.sequence = self.durable_sequence = first_sequence(server)
        """The next receipt's number, and the one below which all are durable."""
        self.clock_us = 0
        """The replay clock."""
        self.open_epoch = first_epoch
        """The first epoch that is not sealed."""
        self._epochs: dict[int, _Epoch] = {}
        self._batches = BatchIndex()
        self._last_epoch_in: dict[int, int] = {}  # file -> the highest epoch that it speaks of
        for frame in log.recover():
            self._replay(frame)
        if server_of(self.sequence) != server:
            raise StorageFailure(f"{log.directory}: the log of server {server_of(self.sequence)}")
        self._forget()
        if log.begins_file:
            self._begin_file()
        self.sync()

    @property
    def directory(self) -> Path:
        """Where its log is."""
        return self._log.directory

    @property
    def log_bytes(self) -> int:
        """How long its log is, all files together."""
        return self._log.length_bytes

    @property
    def receipts(self) -> int:
        """How many receipts were given, ever."""
        return self.sequence - first_sequence(server_of(self.sequence))

    # -- replay -----------------------------------------------------------------------------------

    def _replay(self, frame: Frame) -> None:
        if frame.kind == Kind.GROUP:
            group = GroupFrame.decode(frame.payload)
            self._index(frame.ref, group)
            keys = digest_rows(group.jobs.column("job_key"))
            self._remember(group.jobs, self.seen.hashes(group.jobs.column("node_id"), keys))
            return
        document = control_document(frame)
        if frame.kind == Kind.STATE:
            self.sequence, self.clock_us = document["sequence"], document["clock_us"]
            self.open_epoch = document["open_epoch"]
            for known in document.get("servers", []):
                self.claims.remember(*known)
        elif frame.kind == Kind.SEAL:
            self.open_epoch = document["epoch"] + 1
            self._mark(frame.ref, document["epoch"])
        elif frame.kind == Kind.INPUT:
            self._epoch(document["epoch"]).inputs[document["name"]] = document["digest"]
            self._mark(frame.ref, document["epoch"])
        elif frame.kind == Kind.CLAIM:
            claim, verdict = Claim.read(document["claim"]), Verdict.read(document["verdict"])
            self._take_claim(frame.ref, claim, verdict)
        else:
            self.clock_us = document["now_us"]

    def _index(self, ref: FrameRef, group: GroupFrame) -> None:
        packed = ref.pack()
        with self._lock:
            for batch in group.batches:
                self._batches.add(batch.batch, packed)
                for epoch, count in batch.epochs:
                    entry = self._epochs.setdefault(epoch, _Epoch())
                    entry.jobs += count
                    if not entry.frames or entry.frames[-1] != packed:
                        entry.frames.append(packed)
                    self._mark(ref, epoch)
                for epoch, count in batch.duplicates:
                    self._epochs.setdefault(epoch, _Epoch()).duplicates += count
                    self._mark(ref, epoch)
            self.sequence = group.batches[-1].sequence + 1

    def _take_claim(self, ref: FrameRef, claim: Claim, verdict: Verdict) -> None:
        packed = ref.pack()
        with self._lock:
            self.claims.apply(claim, verdict, packed)
            for name in batch_granted(claim, verdict):
                self._batches.add(name, packed)
        self._mark(ref, int(claim.epochs.max(initial=claim.open_epoch)))

    def _mark(self, ref: FrameRef, epoch: int) -> None:
        self._last_epoch_in[ref.file] = max(epoch, self._last_epoch_in.get(ref.file, epoch))

    def _epoch(self, epoch: int) -> _Epoch:
        with self._lock:
            return self._epochs.setdefault(epoch, _Epoch())

    def _remember(self, jobs: pa.Table, hashes: Hashes) -> None:
        epochs = column_values(jobs, "epoch")
        self.seen.add(epochs, hashes)
        self.sums.add(epochs, jobs)

    def _forget(self) -> None:
        oldest = self.open_epoch - self._remembered
        self.seen.forget_before(oldest)
        self.sums.forget_before(self.open_epoch)

    # -- writing (intake thread) ------------------------------------------------------------------

    def append_group(self, group: GroupFrame, hashes: Hashes) -> None:
        """Write a group, whose jobs have these hashes in `seen`; it is promised only after `sync`."""
        ref = self._append(Kind.GROUP, *group.encode())
        self._index(ref, group)
        self._remember(group.jobs, hashes)

    def append_claim(self, claim: Claim, verdict: Verdict) -> None:
        """Write what another server asked for and got; it is told only after `sync`."""
        document = {"claim": claim.document(), "verdict": verdict.document()}
        ref = self._append(Kind.CLAIM, dagcbor.encode(document))
        self._take_claim(ref, claim, verdict)

    def append_seal(self, epoch: int, now_us: int) -> None:
        """Close the open epoch: no job is placed into it after this frame."""
        assert epoch == self.open_epoch, "epochs are sealed in order"
        ref = self._append(Kind.SEAL, dagcbor.encode({"epoch": epoch, "now_us": now_us}))
        self._mark(ref, epoch)
        self.open_epoch = epoch + 1
        self._forget()

    def append_input(self, epoch: int, name: str, digest: bytes) -> None:
        """Note an auxiliary input of an open epoch; the last one of a name counts."""
        document = {"epoch": epoch, "name": name, "digest": digest}
        ref = self._append(Kind.INPUT, dagcbor.encode(document))
        self._epoch(epoch).inputs[name] = digest
        self._mark(ref, epoch)

    def append_clock(self, now_us: int) -> None:
        """Set the replay clock."""
        self._append(Kind.CLOCK, dagcbor.encode({"now_us": now_us}))
        self.clock_us = now_us

    def _append(self, kind: Kind, *parts: bytes | memoryview) -> FrameRef:
        if self._log.is_long:
            self._log.roll()
            self._begin_file()
        return self._log.append(kind, *parts)

    def _begin_file(self) -> None:
        """Begin every file with the state, so that older files can be deleted."""
        state: dict[str, Any] = {name: getattr(self, name) for name in _STATE_KEYS}
        if self.claims.state:
            state["servers"] = self.claims.state
        self._log.append(Kind.STATE, dagcbor.encode(state))

    def sync(self) -> None:
        """Make everything durable that was written before the call; any thread may ask."""
        sequence = self.sequence  # its receipts are written; more may come while the disk works
        self._log.sync()
        self.durable_sequence = max(sequence, self.durable_sequence)

    def prune(self, settled_before: int) -> None:
        """Delete closed files that speak only of epochs that are settled and no longer remembered.

        Args:
            settled_before: Every epoch below it is committed.
        """
        oldest = min(settled_before, self.open_epoch - self._remembered)
        with self._lock:
            self.claims.forget_before(oldest)
        for number in self._log.files[:-1]:
            if self._last_epoch_in.get(number, oldest - 1) >= oldest:
                break
            with self._lock:
                bounds = FrameRef(number, 0).pack(), FrameRef(number + 1, 0).pack()
                self._batches.forget(*bounds)
                self.claims.forget_places(*bounds)
                for epoch in [known for known in self._epochs if known < oldest]:
                    del self._epochs[epoch]
            self._log.drop(number)

    # -- reading (any thread) ---------------------------------------------------------------------

    def response(self, batch: bytes) -> bytes | None:
        """Return the answer that a batch got, None if it is not known."""
        for frame in self._frames_of_batch(batch):
            if frame.kind == Kind.GROUP:
                for entry in batch_entries(frame.payload):
                    if entry.batch == batch:
                        return entry.response
        return None

    def holder(self, batch: bytes) -> Holder | None:
        """Return which server has promised a batch, as far as this log knows."""
        for frame in self._frames_of_batch(batch):
            place = frame.ref.pack()
            if frame.kind == Kind.GROUP:
                if any(entry.batch == batch for entry in batch_entries(frame.payload)):
                    return server_of(self.sequence), True
            elif not self.claims.is_void(place):
                document = dagcbor.decode(bytes(frame.payload))
                claim = Claim.read(document["claim"])
                if batch in batch_granted(claim, Verdict.read(document["verdict"])):
                    return claim.server, self.claims.is_confirmed(claim.server, place)
        return None

    def granted(self, epoch: int) -> dict[int, int]:
        """Return how many jobs of an epoch each other server was granted."""
        with self._lock:
            return self.claims.granted(epoch)

    def _frames_of_batch(self, batch: bytes) -> Iterator[Frame]:
        """Yield the frames that may hold a batch."""
        with self._lock:
            places = self._batches.find(batch)
        for place in places:
            yield self._log.read(FrameRef.unpack(place))

    def counts(self, epoch: int) -> tuple[int, int]:
        """Return how many jobs an epoch has, on other servers too, and how many submissions to us were duplicates."""
        with self._lock:
            entry = self._epochs.get(epoch, _Epoch())
            elsewhere = sum(self.claims.granted(epoch).values())
            return entry.jobs + elsewhere, entry.duplicates

    def inputs(self, epoch: int) -> Mapping[str, bytes]:
        """Return the digests of an epoch's inputs by name."""
        with self._lock:
            entry = self._epochs.get(epoch)
            return {} if entry is None else dict(entry.inputs)

    def epochs_with_jobs(self) -> list[int]:
        """Return the epochs that have jobs, ascending."""
        with self._lock:
            return sorted(epoch for epoch, entry in self._epochs.items() if entry.jobs)

    def frames_of(self, epoch: int) -> tuple[FrameRef, ...]:
        """Return the groups that hold jobs of an epoch, in log order; more may come until it is sealed."""
        with self._lock:
            entry = self._epochs.get(epoch)
            packed = () if entry is None else tuple(entry.frames)
        return tuple(map(FrameRef.unpack, packed))

    def read_jobs(self, ref: FrameRef, epoch: int) -> pa.Table:
        """Return the jobs of one epoch in a group, in the columns of `log_columns`.

        The table lies in the group as it was read where all of its jobs are of the epoch; otherwise it is a copy.

        Raises:
            StorageFailure: If the group is no longer what was written.
        """
        group = GroupFrame.decode(self._log.read(ref).payload)
        if all(inside == epoch for entry in group.batches for inside, _ in entry.epochs):
            return group.jobs
        return group.jobs.filter(pa.array(column_values(group.jobs, "epoch") == epoch))

    def close(self) -> None:
        """Close the log."""
        self._log.close()


def open_journal(
    directory: Path, schema: NetworkSchema, first_epoch: int, *, seen: SeenJobs, **bounds: int
) -> Journal:
    """Open or create the journal of a directory.

    Args:
        directory: The directory of the job log.
        schema: The network's schema.
        first_epoch: The network's first epoch.
        seen: An empty set, filled from the log.
        bounds: ``bytes_max`` of the log, ``remembered_epochs``, and ``server`` if it is not 0.
    """
    log = JobLog(directory, bounds["bytes_max"])
    try:
        return Journal(
            log,
            schema,
            first_epoch,
            seen=seen,
            sums=LaneSums(schema),
            remembered_epochs=bounds["remembered_epochs"],
            server=bounds.get("server", 0),
        )
    except BaseException:
        log.close()
        raise
