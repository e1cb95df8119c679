"""Hosts of members: the machine, the disk and the clock around a replica.

A correct host may crash between any two effects, and any write may fail. What was persisted before the cut is on its
disk, except (if the plan tears disks) a suffix on which no message that left depends, and lazy records behind the
last that is not; what was sent is gone, the rest never happened. It comes back from the disk with a clock that starts anew.
"""

from __future__ import annotations

import functools
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from meridian.ephemera.collection import row_root
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.effects import (
    Attested,
    Broadcast,
    Decided,
    Effect,
    Misbehaviour,
    Persist,
    Record,
    Rejected,
    Send,
)
from meridian.ephemera.limits import Limits
from meridian.ephemera.replica import Replica
from meridian.errors import InvalidInput
from meridian.primitives import hashing
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey
from meridian.sim.faults import Aim, Plan
from meridian.sim.machine import Disk, Place, Rows
from meridian.sim.outcomes import COMMITTING, TOLD, Hearing, Outcome, told_early

LIMITS = Limits(body_bytes_max=4_096, piece_bytes=64, pushed_body_bytes=0)
"""Small pieces, so that bodies come in several."""

PUSHING = replace(LIMITS, pushed_body_bytes=4_096)
"""Every fourth world, and those in which a member must hear of its own row: bodies come along with rows."""

ATTEMPT = hashing.sha256(b"attempt 1")
OTHER_ATTEMPT = hashing.sha256(b"attempt 2")

DECIDED = bytes((Kind.DECIDED,))

HOUR_MS = 3_600_000

Post = Callable[[int, tuple[int, ...], bytes], None]
"""Hand a frame of a participant, for these participants, to the network."""


def report_of(decided: Decided) -> bytes:
    """The digest that correct members sign: a pure function of the block."""
    return hashing.sha256(b"report", decided.block.hash)


@functools.lru_cache(maxsize=1024)
def _branch(where: str, reason: str) -> str:
    """The name of a branch that refuses, without the numbers in its words."""
    return f"refused {where}: {re.sub('[0-9]+', 'N', reason)}"


@dataclass(frozen=True, slots=True)
class World:
    """What all hosts of a world share."""

    plan: Plan
    rng: random.Random
    contexts: tuple[Context, ...]
    """By number of the epoch, from 0."""
    ids: dict[Address, int]
    """Participants by address."""
    reached: Counter[str]
    say: Callable[[int, str], None]
    """Tell the readable trace what happened to a participant."""


class Host:
    """A replica on a machine."""

    def __init__(
        self, world: World, member: int, key: PrivateKey, bodies: tuple[bytes, ...], post: Post
    ) -> None:
        self.member = member
        self.bodies = bodies
        """One per epoch."""
        self.correct = True
        self.up = True
        self.dead = False
        self.broken = ""
        """The exception that the core raised, if it did."""
        self.stamp = 0
        self.due_ms: int | None = None
        """When the world will wake it."""
        self.down_until_ms = 0
        self.frozen_until_ms = 0
        self.outcomes: dict[int, Outcome] = {}
        self._world = world
        self._key = key
        self._post = post
        self._opened: list[int] = []
        self._observes: set[int] = set()
        self._sent: set[bytes] = set()
        self._heard = Hearing()
        self._disk = Disk()
        self._life = 0
        self._wiped = False
        self.forgot: list[str] = []
        """What it had told its driver and does not know any more after a restart; or told of its row too early."""
        self._unsynced: list[tuple[Place, Record | None, bool]] = []
        self._rate = world.rng.randint(900, 1100)
        self._offset_ms = 0
        self._replica = self._new_replica()

    @property
    def late(self) -> bool:
        """Whether its row of the first epoch comes only when the network is calm."""
        plan = self._world.plan
        unaware = self._wiped and plan.aim is not None and plan.aim.unaware == self.member
        return unaware or plan.late_row == self.member

    def member_of(self, epoch: int) -> bool:
        """Whether it has a seat in an epoch (counted from 0)."""
        return self._world.contexts[epoch].index_of(self._key.address) is not None

    def rows_of(self, epoch: int) -> frozenset[bytes]:
        """Roots of the rows that its application offered so far."""
        return frozenset(row_root(self._body(epoch, life)) for life in range(self._life + 1))

    def _body(self, epoch: int, life: int) -> bytes:
        aim = self._world.plan.aim
        body = self.bodies[epoch]
        return body if aim is None or not aim.lives else body + b" life %d" % life

    def start(self, now_ms: int) -> None:
        """Begin, or come back: open every epoch that has begun, from what the disk holds."""
        self._life += 1
        self._heard.clear()
        self._offset_ms = self._world.rng.randrange(1_000_000)
        self._replica = self._new_replica()
        self.up = True
        for epoch in list(self._opened):
            if epoch < self._opened[-1] - 1 and self._knows_report(epoch):
                self._replica.answer_for(self._world.contexts[epoch])
            else:
                self._open(now_ms, epoch)

    def begin(self, now_ms: int, epoch: int) -> None:
        """An epoch begins; a host that is down opens it when it comes back."""
        if self.member_of(epoch) and epoch not in self._opened:
            self._opened.append(epoch)
            if self.up:
                self._open(now_ms, epoch)
                self._close_before(epoch)

    def submit(self, now_ms: int, epoch: int) -> None:
        """Contribute the row (again, after a restart: the first one counts)."""
        number = self._world.contexts[epoch].epoch
        if number not in self._replica.epochs:
            return
        clock_ms = self._clock(now_ms)
        body = self._body(epoch, self._life)
        self._call(now_ms, lambda: self._replica.submit_row(number, body, clock_ms))

    def receive(self, now_ms: int, sender: Address, frame: bytes) -> None:
        """Take a frame."""
        clock_ms = self._clock(now_ms)
        if frame[1:2] in COMMITTING:
            context = self._context_of(frame)
            if context is not None and context.epoch in self._replica.epochs:
                self._heard.hear(context, frame)
        self._call(now_ms, lambda: self._replica.receive(sender, frame, clock_ms), frame)

    def wake(self, now_ms: int) -> None:
        """Do what is due."""
        clock_ms = self._clock(now_ms)
        self._call(now_ms, lambda: self._replica.tick(clock_ms))

    def wake_ms(self) -> int | None:
        """When to be woken, in world time."""
        due_ms = self._replica.next_deadline_ms()
        if due_ms is None or not self.up:
            return None
        # The smallest world time at which the own clock shows at least `due_ms`.
        return -((self._offset_ms - due_ms) * 1000 // self._rate)

    def stop(self, until_ms: int) -> None:
        """Go down; the world starts it again."""
        self.up = False
        self.stamp += 1
        self.due_ms = None
        self.down_until_ms = max(self.down_until_ms, until_ms)
        if self._world.plan.storage.torn and self._unsynced:
            keep = self._world.rng.randint(0, len(self._unsynced))
            for place, old, _ in reversed(self._unsynced[keep:]):
                if old is None:
                    del self._disk[place]
                else:
                    self._disk[place] = old
            self._reach("records torn off the disk", len(self._unsynced) - keep)
        self._unsynced = []

    def wipe(self) -> None:
        """Lose the disk, and know that it was lost: observe in every epoch that has begun."""
        self._lose_disk()
        self._observes.update(self._opened)

    def forget(self, now_ms: int) -> None:
        """Lose the disk and go on as if nothing had been said: only a Byzantine member does that."""
        self._lose_disk()
        self.start(now_ms)

    def jump(self, by_ms: int) -> None:
        """Set the clock."""
        self._offset_ms += by_ms

    def view(self) -> int:
        """The highest current view of its epochs."""
        numbers = self._replica.epochs
        return max((self._replica.status(number).view for number in numbers), default=0)

    def pending(self) -> list[int]:
        """Epochs (from 0) of which it does not know a report with a quorum."""
        return [
            epoch
            for epoch in range(len(self._world.contexts))
            if self.member_of(epoch)
            and not (epoch in self.outcomes and self.outcomes[epoch].attested)
        ]

    def _open(self, now_ms: int, epoch: int) -> None:
        context, clock_ms = self._world.contexts[epoch], self._clock(now_ms)
        records = [record for place, record in self._disk.items() if place[0] == context.epoch]
        observer = epoch in self._observes

        def opening() -> list[Effect]:
            effects = self._replica.open(context, records, clock_ms, observer=observer)
            self._check_memory(epoch, effects)
            if not self.correct:
                self._never_suspect(context.epoch)
            return effects

        self._call(now_ms, opening)
        aim = self._world.plan.aim
        if aim is not None and aim.told_once and (context.epoch, "context", b"") in self._disk:
            self._observes.discard(epoch)
        if self.up and (epoch or not self.late or now_ms >= self._world.plan.calm_ms):
            self.submit(now_ms, epoch)

    def _never_suspect(self, number: int) -> None:
        """A Byzantine member signs on when it meets what it, or its twin, has signed with its key."""
        seat = self._replica._machines[number]._seat  # noqa: SLF001 - a liar changes its own program
        setattr(seat, "suspect_memory", lambda _: None)  # noqa: B010

    def _check_memory(self, epoch: int, effects: list[Effect]) -> None:
        """What its driver was told in an earlier life, it is told again from the disk alone."""
        before = self.outcomes.get(epoch)
        if before is None or self._forgets():
            return
        for kind, told in ((Decided, before.decided), (Attested, before.attested)):
            if told and not any(isinstance(effect, kind) for effect in effects):
                self.forgot.append(f"memory: {kind.__name__.lower()} is forgotten")

    def _forgets(self) -> bool:
        """Whether its disk may lack what its driver was told: records that can be learnt again are lazy."""
        return self._wiped or self._world.plan.storage.torn

    def _lose_disk(self) -> None:
        self._wiped = True
        self._unsynced = []
        self._disk.clear()

    def _close_before(self, epoch: int) -> None:
        """Keep no machine for what was attested before the last epoch: the archive answers for it."""
        for number in [e for e in self._opened if e < epoch - 1]:
            if self._knows_report(number):
                self._unsynced = []  # As the driver does before it closes.
                self._replica.close(self._world.contexts[number].epoch)
                self._reach("epoch closed")

    def _knows_report(self, epoch: int) -> bool:
        """Whether the driver acted on a report and its record is on the disk, so that the epoch may be closed."""
        place = (self._world.contexts[epoch].epoch, "attested", ATTEMPT)
        return place in self._disk and bool(self.outcomes[epoch].attested)

    def _clock(self, now_ms: int) -> int:
        return now_ms * self._rate // 1000 + self._offset_ms

    def _new_replica(self) -> Replica:
        plan = self._world.plan
        unaware = plan.aim is not None and plan.aim.unaware is not None
        limits = PUSHING if plan.seed % 4 == 3 or unaware else LIMITS
        return Replica(self._key, plan.timing, limits, Rows(), self._disk)

    def _call(self, now_ms: int, step: Callable[[], list[Effect]], frame: bytes = b"") -> None:
        """Call the core and do what it asks; an exception is the worst of its answers."""
        if not self.up:
            return
        try:
            effects = step()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a violation
            self.broken = f"{type(error).__name__}: {error}"
            self.dead = True
            self.stop(now_ms)
            return
        if frame[1:2] == DECIDED and self.correct:
            found = any(isinstance(e, Persist) and e.record.kind == "decided" for e in effects)
            self._reach("decided by DECIDED", found)
        for decided in self._do(now_ms, effects):
            number, digest, clock_ms = decided.epoch, report_of(decided), self._clock(now_ms)
            replica = self._replica
            self._call(
                now_ms,
                functools.partial(replica.submit_report, number, ATTEMPT, digest, clock_ms),
            )
            if self._world.plan.aim is not None and self._world.plan.aim.lives:
                self._call(now_ms, functools.partial(self._report_anew, number, clock_ms))

    def _do(self, now_ms: int, effects: list[Effect]) -> list[Decided]:
        """Carry the effects out, perhaps not to the end; return the decisions to act on."""
        if not effects:
            return []
        world, decided = self._world, list[Decided]()
        storage, rng = world.plan.storage, world.rng
        faulty = self.correct and now_ms < world.plan.calm_ms
        cut, ends = len(effects), False
        if faulty and storage.crash and rng.random() * 1000 < storage.crash:
            cut = rng.randint(0, len(effects))
        elif faulty and world.plan.aim is not None:
            cut, ends = self._aimed_cut(world.plan.aim, effects)
        for index, effect in enumerate(effects):
            if index == cut:
                break
            if isinstance(effect, Persist):
                if faulty and storage.error and rng.randrange(1000) < storage.error:
                    self._reach("write failed")
                    if rng.random() < 0.5:  # it reached the disk all the same
                        self._persist(effect.record)
                    self._crash(now_ms, effects, index)
                    return []
                self._persist(effect.record, lazy=effect.lazy)
            elif isinstance(effect, Send):
                self._send((world.ids[effect.to],), effect.frame)
            elif isinstance(effect, Broadcast):
                self._send(tuple([world.ids[to] for to in effect.to]), effect.frame)
            elif isinstance(effect, Decided):
                decided.append(effect)
                self._outcome(effect.epoch).decided.append(effect)
                world.say(self.member, f"decided {effect.block.hash[:4].hex()}")
            else:
                self._tell(effect)
        if cut < len(effects) or ends:
            self._crash(now_ms, effects, cut)
            return []
        return decided

    def _aimed_cut(self, aim: Aim, effects: list[Effect]) -> tuple[int, bool]:
        """Where a call ends, and whether the host crashes there: at a record that the world aims at."""
        rng = self._world.rng
        for index, effect in enumerate(effects):
            if isinstance(effect, Persist):
                unaware = aim.unaware == self.member and not self._wiped
                if unaware and effect.record.kind == "row":
                    return len(effects), True
                if effect.record.kind in aim.crash_on and rng.randrange(1000) < aim.crash:
                    return (index + 1, True) if rng.random() < 0.5 else (len(effects), True)
        return len(effects), False

    def _report_anew(self, number: int, clock_ms: int) -> list[Effect]:
        """A report of another attempt that differs from life to life: the first that was signed counts."""
        digest = hashing.sha256(b"life", bytes((self.member, self._life % 256)))
        try:
            return self._replica.submit_report(number, OTHER_ATTEMPT, digest, clock_ms)
        except InvalidInput as refusal:
            if refusal.field != "digest":
                raise
            return []

    def _tell(self, effect: Effect) -> None:
        if isinstance(effect, Attested):
            self._outcome(effect.epoch).attested.append(effect)
            self._world.say(self.member, f"attested {effect.digest[:4].hex()}")
        elif isinstance(effect, Misbehaviour):
            found = self._outcome(effect.epoch).misbehaviour
            if not self._forgets() and any(
                (old.member, old.kind) == (effect.member, effect.kind) for old in found
            ):
                self.forgot.append(f"memory: {effect.kind} is found twice")
            found.append(effect)
            self._world.say(self.member, f"proves {effect.kind} by member {effect.member}")
        elif isinstance(effect, Rejected) and self.correct:
            self._reach(_branch(effect.field, effect.reason))

    def _crash(self, now_ms: int, effects: list[Effect], cut: int) -> None:
        last = effects[cut - 1] if cut else None
        if isinstance(last, Persist):
            self._reach(f"crash after persisting {last.record.kind}")
        self.stop(now_ms + self._world.rng.randint(5, 120))
        self._world.say(self.member, "crashes")
        aim = self._world.plan.aim
        if aim is not None and aim.unaware == self.member and not self._wiped:
            self._lose_disk()
            self._world.say(self.member, "loses its disk and is not told")

    def _persist(self, record: Record, *, lazy: bool = False) -> None:
        place = (record.epoch, record.kind, record.key)
        outcome = self._outcome(record.epoch)
        if record.kind == "have":
            outcome.have = record.value
        if record.kind == "closed" and not outcome.revealed:
            outcome.in_time = self._heard.of(record.epoch)
        self._unsynced.append((place, self._disk.get(place), lazy))
        self._disk[place] = record

    def _send(self, to: tuple[int, ...], frame: bytes) -> None:
        while self._unsynced and not all(lazy for _, _, lazy in self._unsynced):
            del self._unsynced[0]
        if frame not in self._sent:
            self._sent.add(frame)
            number = int.from_bytes(frame[2:10], "big")
            outcome = self._outcome(number)
            outcome.sent.append(frame)
            if not outcome.revealed:
                found = told_early(self._context_of(frame), outcome, self._disk, frame)
                spared = self._world.plan.same_bodies and found == TOLD
                self.forgot += [found] if found and not spared else []
        self._post(self.member, to, frame)

    def _context_of(self, frame: bytes) -> Context | None:
        number = int.from_bytes(frame[2:10], "big") - self._world.contexts[0].epoch
        return self._world.contexts[number] if 0 <= number < len(self._world.contexts) else None

    def _outcome(self, number: int) -> Outcome:
        return self.outcomes.setdefault(number - self._world.contexts[0].epoch, Outcome())

    def _reach(self, what: str, times: int = 1) -> None:
        if self.correct and times:
            self._world.reached[what] += times
