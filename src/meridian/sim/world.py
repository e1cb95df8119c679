"""One world per seed: hosts, network and checkers, run until every correct member is done.

`run_seed` is a pure function of its arguments: the same seed gives the same trace, byte for byte.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import dataclass

from meridian.ephemera import frame as frames
from meridian.ephemera.context import Context, Kind
from meridian.ephemera.message import Propose
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id
from meridian.primitives.keys import PrivateKey
from meridian.sim import checkers, faults
from meridian.sim.faults import Plan
from meridian.sim.hosts import Host
from meridian.sim.liar import RESEND_MS, Liar
from meridian.sim.network import Event, Network

END_MS = 30_000
"""Virtual time within which every world must be done after the network is calm."""

EVENTS_MAX = 400_000

DOMAIN = Domain(314, Address(bytes(19) + b"\x01"))
EPOCH = 9


@dataclass(frozen=True, slots=True)
class Result:
    """How a world ended."""

    seed: int
    nodes: int
    trace_hash: str
    """SHA-256 over every event and every frame, in order."""
    events: int
    virtual_ms: int
    view_max: int
    violations: tuple[str, ...]
    reached: tuple[tuple[str, int], ...]
    """How often the rare things happened, by name."""
    plan: Plan

    def describe(self) -> str:
        """What to print when it fails: enough to run it again."""
        return f"run_seed({self.seed}, {self.nodes}): {'; '.join(self.violations)}\n{self.plan}"


def run_seed(seed: int, nodes: int) -> Result:
    """Run the world of a seed with `nodes` members."""
    rng = faults.rng_of(seed)
    return _World(faults.draw(rng, seed, nodes), rng).run()


def run_plan(plan: Plan) -> Result:
    """Run a world whose faults were chosen by hand."""
    return _World(plan, faults.rng_of(plan.seed)).run()


class _World:
    def __init__(self, plan: Plan, rng: random.Random) -> None:
        self._plan = plan
        self._rng = rng
        self._network = Network(plan, rng)
        self._trace = hashlib.sha256()
        self._reached: Counter[str] = Counter()
        keys = sorted(
            (PrivateKey((1 + i).to_bytes(32, "big")) for i in range(plan.nodes)),
            key=lambda key: key.address,
        )
        self._context = Context(
            DOMAIN, network_id("sim"), EPOCH, tuple(key.address for key in keys)
        )
        self._hosts: list[Host | Liar] = []
        self._sides: list[int] = []
        strategies = dict(plan.strategies)
        for member, key in enumerate(keys):
            self._add(member, key, strategies.get(member, "correct"))
        self._strategies = [strategies.get(host.member, "correct") for host in self._hosts]

    def _add(self, member: int, key: PrivateKey, strategy: str) -> None:
        if strategy == "silent":
            return
        if strategy == "liar":
            self._place(Liar(member, key, self._context, self._rng, self._post))
            return
        bodies = [b"same" * 40 if self._plan.same_bodies else b"row %d " % member * 20]
        if strategy in {"twins", "amnesia"}:
            bodies.append(b"other row %d" % member)
        for body in bodies:
            host = Host(member, key, self._context, self._plan, self._rng, body, self._post)
            host.may_crash = strategy == "correct"
            self._place(host)

    def _place(self, host: Host | Liar) -> None:
        self._hosts.append(host)
        self._sides.append(self._rng.randint(0, 1))

    def run(self) -> Result:
        for number, host in enumerate(self._hosts):
            self._begin(number, host)
        events = 0
        while events < EVENTS_MAX:
            event = self._network.next()
            if event is None or self._network.now_ms > self._plan.calm_ms + END_MS:
                break
            events += 1
            self._note(
                b"%d %d %d %d " % (self._network.now_ms, event.host, event.sender, event.stamp)
            )
            self._note(event.what.encode() + event.frame)
            self._happen(event)
            if self._done():
                break
        return self._result(events)

    def _begin(self, number: int, host: Host | Liar) -> None:
        if isinstance(host, Liar):
            self._network.at(0, Event(number, "wake"))
            return
        late = self._plan.late_row == host.member
        host.start(0, row=not late)
        if late:
            self._network.at(self._plan.calm_ms, Event(number, "late-row"))
        self._after(number, host)

    def _happen(self, event: Event) -> None:
        host, now_ms = self._hosts[event.host], self._network.now_ms
        if isinstance(host, Liar):
            if event.what == "wake":
                host.wake()
                self._network.at(now_ms + RESEND_MS, event)
            else:
                host.receive(event.sender, event.frame)
            return
        if event.what == "crash-end":
            self._revive(event.host, host)
        elif not host.up:
            if event.what == "late-row":
                self._network.at(now_ms + 100, event)
            return
        elif event.what == "late-row":
            host.submit(now_ms)
        elif event.what == "frame":
            host.receive(now_ms, event.sender, event.frame)
        elif event.stamp == host.stamp:
            host.wake(now_ms)
        else:
            return
        self._after(event.host, host)

    def _revive(self, number: int, host: Host) -> None:
        host.up = True
        host.outcome.restarts += 1
        late = self._plan.late_row == host.member and self._network.now_ms < self._plan.calm_ms
        host.start(self._network.now_ms, row=not late)
        self._reached["restart"] += 1
        self._note(b"%d" % number)

    def _after(self, number: int, host: Host) -> None:
        """Plan the next wake-up, the way back from a crash, and an amnesiac's forgetting."""
        now_ms = self._network.now_ms
        if not host.up:
            self._network.at(now_ms + self._rng.randint(5, 120), Event(number, "crash-end"))
            return
        if self._strategies_of(number) == "amnesia" and self._rng.randrange(1000) < 10:
            host.forget()
            host.start(now_ms, row=True)
        due_ms = host.wake_ms()
        host.stamp += 1
        if due_ms is not None:
            self._network.at(max(due_ms, now_ms), Event(number, "wake", stamp=host.stamp))

    def _strategies_of(self, number: int) -> str:
        return dict(self._plan.strategies).get(self._hosts[number].member, "correct")

    def _post(self, sender: int, to: int | None, frame: bytes) -> None:
        strategy = dict(self._plan.strategies).get(sender, "correct")
        kind = Kind(frame[1])
        if strategy == "withhold" and kind == Kind.FETCH_REPLY:
            return
        if strategy == "garbage":
            frame = self._spoil(frame)
        self._reached[kind.name] += 1
        if kind == Kind.PROPOSE and sender not in self._plan.byzantine:
            self._count_views(frame)
        for number, host in enumerate(self._hosts):
            if host.member == sender or (to is not None and host.member != to):
                continue
            if strategy in {"twins", "amnesia"} and self._rng.random() < 0.5:
                continue
            self._network.post(sender, host.member, number, frame)

    def _count_views(self, frame: bytes) -> None:
        message = frames.decode(frame, self._context)
        if isinstance(message, Propose) and message.justification is not None:
            carried = message.justification.certificate is not None
            self._reached["lock carried" if carried else "fresh block in a later view"] += 1

    def _spoil(self, frame: bytes) -> bytes:
        """Flip, cut or lengthen now and then."""
        luck = self._rng.random()
        if luck < 0.3:
            at = self._rng.randrange(len(frame))
            return (
                frame[:at] + bytes((frame[at] ^ (1 << self._rng.randrange(8)),)) + frame[at + 1 :]
            )
        if luck < 0.4:
            return frame[: self._rng.randrange(len(frame))]
        if luck < 0.45:
            return frame + self._rng.randbytes(self._rng.randint(1, 80))
        return frame

    def _note(self, data: bytes) -> None:
        self._trace.update(len(data).to_bytes(4, "big") + data)

    def _correct(self) -> dict[int, Host]:
        return {
            host.member: host
            for host in self._hosts
            if isinstance(host, Host) and host.member not in self._plan.byzantine
        }

    def _done(self) -> bool:
        return self._network.now_ms >= self._plan.calm_ms and all(
            host.up and host.outcome.attested for host in self._correct().values()
        )

    def _result(self, events: int) -> Result:
        correct = self._correct()
        outcomes = {member: host.outcome for member, host in correct.items()}
        bodies = {member: host.body for member, host in correct.items()}
        found = checkers.violations(self._context, bodies, outcomes)
        found += checkers.unfinished(outcomes)
        for outcome in outcomes.values():
            for misbehaviour in outcome.misbehaviour:
                self._reached[misbehaviour.kind] += 1
        for decided in (d for o in outcomes.values() for d in o.decided):
            self._note(decided.block.hash)
        return Result(
            seed=self._plan.seed,
            nodes=self._plan.nodes,
            trace_hash=self._trace.hexdigest(),
            events=events,
            virtual_ms=self._network.now_ms,
            view_max=max(host.view() for host in correct.values()),
            violations=tuple(found),
            reached=tuple(sorted(self._reached.items())),
            plan=self._plan,
        )
