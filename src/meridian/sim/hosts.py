"""Hosts of members: the machine, the disk and the clock around a replica.

A correct host may crash between any two effects. What was persisted before the cut is on its disk, what was
sent is gone, the rest never happened; it comes back from the disk with a clock that starts anew.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from meridian.ephemera.context import Context
from meridian.ephemera.effects import (
    Attested,
    Broadcast,
    Decided,
    Effect,
    Misbehaviour,
    Persist,
    Record,
    Send,
)
from meridian.ephemera.limits import Limits
from meridian.ephemera.replica import Replica
from meridian.primitives import hashing
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey
from meridian.sim.faults import Plan

LIMITS = Limits(body_bytes_max=4_096, piece_bytes=64, pushed_body_bytes=0)
"""Small pieces, so that bodies come in several."""

PUSHING = replace(LIMITS, pushed_body_bytes=4_096)
"""Every fourth world: bodies come along with their rows."""

ATTEMPT = hashing.sha256(b"attempt 1")


class Rows:
    """The application of the world: every body is fine unless it starts with `bad`."""

    def check_row(self, epoch: int, member: Address, body: bytes) -> str | None:
        """See `Application`."""
        del epoch, member
        return "bad" if body.startswith(b"bad") else None


def report_of(decided: Decided) -> bytes:
    """The digest that correct members sign: a pure function of the block."""
    return hashing.sha256(b"report", decided.block.hash)


@dataclass(slots=True)
class Outcome:
    """What came out of one host, for the checkers."""

    decided: list[Decided] = field(default_factory=list)
    attested: list[Attested] = field(default_factory=list)
    misbehaviour: list[Misbehaviour] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    """Every different frame that left."""
    restarts: int = 0


class Host:
    """A replica on a machine."""

    def __init__(
        self,
        member: int,
        key: PrivateKey,
        context: Context,
        plan: Plan,
        rng: random.Random,
        body: bytes,
        post: Callable[[int, int | None, bytes], None],
    ) -> None:
        self.member = member
        self.body = body
        self.outcome = Outcome()
        self.up = True
        self.stamp = 0
        self.may_crash = True
        self._key = key
        self._context = context
        self._plan = plan
        self._rng = rng
        self._post = post
        self._sent: set[bytes] = set()
        self._disk: dict[tuple[str, bytes], Record] = {}
        self._rate = rng.randint(900, 1100)
        self._offset_ms = 0
        self._replica = self._new_replica()

    def start(self, now_ms: int, *, row: bool) -> None:
        """Open the epoch; contribute the row unless it comes later."""
        self._offset_ms = self._rng.randrange(1_000_000)
        self._replica = self._new_replica()
        records = list(self._disk.values())
        self._do(now_ms, self._replica.open(self._context, records, self._clock(now_ms)))
        if row and self.up:
            self.submit(now_ms)

    def submit(self, now_ms: int) -> None:
        """Contribute the row (again, after a restart: the first one counts)."""
        epoch = self._context.epoch
        self._do(now_ms, self._replica.submit_row(epoch, self.body, self._clock(now_ms)))

    def receive(self, now_ms: int, sender: int, frame: bytes) -> None:
        """Take a frame."""
        address = self._context.members[sender]
        self._do(now_ms, self._replica.receive(address, frame, self._clock(now_ms)))

    def wake(self, now_ms: int) -> None:
        """Do what is due."""
        self._do(now_ms, self._replica.tick(self._clock(now_ms)))

    def wake_ms(self) -> int | None:
        """When to be woken, in world time."""
        due_ms = self._replica.next_deadline_ms()
        if due_ms is None or not self.up:
            return None
        # The smallest world time at which the own clock shows at least `due_ms`.
        return -((self._offset_ms - due_ms) * 1000 // self._rate)

    def forget(self) -> None:
        """Lose the disk and go on as if nothing had been said: only a Byzantine member does that."""
        self._disk.clear()

    def view(self) -> int:
        """The current view."""
        return self._replica.status(self._context.epoch).view

    def _clock(self, now_ms: int) -> int:
        return now_ms * self._rate // 1000 + self._offset_ms

    def _new_replica(self) -> Replica:
        limits = PUSHING if self._plan.seed % 4 == 3 else LIMITS
        return Replica(self._key, self._plan.timing, limits, Rows())

    def _do(self, now_ms: int, effects: list[Effect]) -> None:
        crash = self.may_crash and now_ms < self._plan.calm_ms
        if crash and effects and self._rng.randrange(1000) < self._plan.crash:
            effects = effects[: self._rng.randint(0, len(effects))]
            self.up = False
            self.stamp += 1
        for effect in effects:
            match effect:
                case Persist(record):
                    self._disk[record.kind, record.key] = record
                case Send(to, frame, _):
                    self._send(self._context.members.index(to), frame)
                case Broadcast(_, frame):
                    self._send(None, frame)
                case Decided():
                    self._decided(now_ms, effect)
                case Attested():
                    self.outcome.attested.append(effect)
                case Misbehaviour():
                    self.outcome.misbehaviour.append(effect)
                case _:
                    pass

    def _send(self, to: int | None, frame: bytes) -> None:
        if frame not in self._sent:
            self._sent.add(frame)
            self.outcome.sent.append(frame)
        self._post(self.member, to, frame)

    def _decided(self, now_ms: int, decided: Decided) -> None:
        self.outcome.decided.append(decided)
        if self.up:
            digest, epoch = report_of(decided), self._context.epoch
            clock_ms = self._clock(now_ms)
            self._do(now_ms, self._replica.submit_report(epoch, ATTEMPT, digest, clock_ms))
