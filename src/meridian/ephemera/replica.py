"""One member's replica: the epochs that are open, behind one face.

The replica is pure. It reads no clock, no socket and no disk: time is an argument, and what has to be done
comes back as effects to be carried out in order (see `effects`). Input that is refused changes nothing and
gives one `Rejected`. Epochs share nothing but the key.

An epoch accepts frames from `open` to `close`. After `close` the replica answers what members that catch up ask
for (decision, block, bodies, report signatures) from its archive, without a machine (see `closed`).
"""

from __future__ import annotations

from collections.abc import Sequence

from meridian.ephemera import frame as frames
from meridian.ephemera.application import Application
from meridian.ephemera.closed import Archive, ClosedEpochs
from meridian.ephemera.context import Context
from meridian.ephemera.effects import Effect, Record, Rejected
from meridian.ephemera.epoch import EpochMachine, EpochStatus
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.opening import NO_TRACE
from meridian.errors import InvalidInput, NotFound
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey


class Replica:
    """All open epochs of one member."""

    def __init__(
        self,
        key: PrivateKey,
        timing: Timing,
        limits: Limits,
        application: Application,
        archive: Archive | None = None,
    ) -> None:
        """Start with no epoch open.

        Args:
            key: Signs everything that this member says.
            timing: Waiting times.
            limits: Bounds.
            application: Judges row bodies.
            archive: What was persisted, for answers about closed epochs; without it there are none.
        """
        self._closed = None if archive is None else ClosedEpochs(archive, limits)
        self._key = key
        self._timing = timing
        self._limits = limits
        self._application = application
        self._machines: dict[int, EpochMachine] = {}
        self._clock_ms = 0
        self._set_back_ms = 0

    @property
    def epochs(self) -> tuple[int, ...]:
        """Numbers of the open epochs, ascending."""
        return tuple(sorted(self._machines))

    def open(
        self,
        context: Context,
        records: Sequence[Record],
        now_ms: int,
        *,
        observer: bool = False,
    ) -> list[Effect]:
        """Open an epoch: new (no records) or restored from every record persisted for it.

        Args:
            context: The epoch's members and domain.
            records: All records of this epoch from the safety log, in any order.
            now_ms: Any clock; one that is set back counts as standing still for a moment.
            observer: True if the records of a member that had already taken part may be lost (new disk,
                old backup): it then signs nothing in this epoch, also after later restarts.

        Raises:
            InvalidInput: Own key not a member, epoch already open, or too many epochs open.
            StorageFailure: The records belong to another member set or cannot be read. Stop the node.
        """
        if context.epoch in self._machines:
            raise InvalidInput("epoch", f"{context.epoch} is already open")
        if len(self._machines) >= self._limits.epochs_max:
            raise InvalidInput("epoch", f"{self._limits.epochs_max} epochs are open already")
        machine = EpochMachine(self._key, context, self._timing, self._limits, self._application)
        effects = machine.start(records, self._time(now_ms), observer=observer)
        self._machines[context.epoch] = machine
        if self._closed is not None:
            self._closed.discard(context.epoch)
        return effects

    def submit_row(
        self, epoch: int, body: bytes, now_ms: int, trace_root: bytes = NO_TRACE
    ) -> list[Effect]:
        """Contribute the own row. The first body counts for ever; later ones (and an observer's) do nothing.

        Args:
            epoch: An open one.
            body: The row.
            now_ms: See `open`.
            trace_root: 32 bytes that the row is committed together with; they stand in the block, and what they
                prove is the application's business.

        Raises:
            NotFound: The epoch is not open.
            InvalidInput: The body is too long or the own application refuses it.
        """
        return self._machine(epoch).submit_row(body, trace_root, self._time(now_ms))

    def submit_report(self, epoch: int, attempt: bytes, digest: bytes, now_ms: int) -> list[Effect]:
        """Sign the report digest (32 bytes, EIP-712 of Report) and tell the others. An observer does not.

        Raises:
            NotFound: The epoch is not open.
            InvalidInput: Nothing is decided yet, another digest was signed in this attempt, or too many
                attempts.
        """
        return self._machine(epoch).submit_report(attempt, digest, self._time(now_ms))

    def receive(self, sender: Address, frame: bytes, now_ms: int) -> list[Effect]:
        """Take one frame from an authenticated link peer. Never raises because of the frame.

        Raises:
            StorageFailure: A closed epoch was asked about and the archive cannot be read. Stop the node.
        """
        try:
            epoch = frames.epoch_of(frame)
        except InvalidInput as refusal:
            return [Rejected(sender, refusal.field, refusal.reason)]
        machine = self._machines.get(epoch)
        if machine is not None:
            return machine.receive(sender, frame, self._time(now_ms))
        if self._closed is not None:
            return self._closed.receive(sender, frame, self._time(now_ms))
        return [Rejected(sender, "epoch", "not open")]

    def tick(self, now_ms: int) -> list[Effect]:
        """Do what is due; call it at `next_deadline_ms` or later."""
        effects: list[Effect] = []
        time_ms = self._time(now_ms)
        for epoch in self.epochs:
            effects += self._machines[epoch].tick(time_ms)
        return effects

    def next_deadline_ms(self) -> int | None:
        """When `tick` has something to do, on the clock of `now_ms`; None if never without new input."""
        deadlines = [machine.next_deadline_ms() for machine in self._machines.values()]
        due_ms = min((deadline for deadline in deadlines if deadline is not None), default=None)
        return None if due_ms is None else due_ms - self._set_back_ms

    def status(self, epoch: int) -> EpochStatus:
        """What the epoch waits for; raises NotFound if it is not open."""
        return self._machine(epoch).status()

    @property
    def closed(self) -> tuple[int, ...]:
        """Numbers of the closed epochs that are answered for, ascending."""
        return () if self._closed is None else self._closed.epochs

    def close(self, epoch: int) -> None:
        """End the epoch's machine; with an archive its members still get answers. Unknown: nothing."""
        machine = self._machines.pop(epoch, None)
        if machine is not None and self._closed is not None:
            self._closed.add(machine.context)

    def answer_for(self, context: Context) -> None:
        """Answer for an epoch that was closed before a restart, from its records; open: nothing."""
        if context.epoch not in self._machines and self._closed is not None:
            self._closed.add(context)

    def forget_before(self, epoch: int) -> None:
        """Answer no longer for closed epochs before `epoch`: before their records are deleted."""
        if self._closed is not None:
            for number in self._closed.epochs:
                if number < epoch:
                    self._closed.discard(number)

    def _time(self, now_ms: int) -> int:
        # A clock that is set back by an hour must not move every deadline an hour away.
        self._set_back_ms += max(0, self._clock_ms - now_ms)
        self._clock_ms = now_ms
        return now_ms + self._set_back_ms

    def _machine(self, epoch: int) -> EpochMachine:
        machine = self._machines.get(epoch)
        if machine is None:
            raise NotFound(f"epoch {epoch} is not open")
        return machine
