"""A seeded world for reliable broadcast, blocks and store: the production core on a bad network, with liars.

Correct members submit messages, make blocks and write to the store; the network loses, repeats, delays and parts; correct
members crash between two effects and come back from their disk, or from an empty one (then they observe). When the network
is calm, everything that one correct member delivered must be delivered by all, and equal. One seed is one world.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from meridian.ephemera.broadcast.slot import DeliveryCertificate, Kind, Slot, verify_delivery
from meridian.ephemera.context import Context
from meridian.ephemera.evidence import verify_evidence
from meridian.ephemera.messages.block import BLOCK_CHANNEL, MessageBlock
from meridian.ephemera.messages.settings import BlockSettings
from meridian.errors import InvalidInput
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id
from meridian.primitives.quorum import faults_max
from meridian.sim import signatures
from meridian.sim.broadcast_hosts import BroadcastHost
from meridian.sim.broadcast_liar import BroadcastLiar

_KINDS = {int(kind): kind.name for kind in Kind}

WAKE, RESTART, INPUT = -1, -2, -3
"""Instead of a sender: things that a host does by itself."""

_OWN_EVENTS = {WAKE: "wakes", RESTART: "comes back", INPUT: "is given"}

Watch = Callable[[int, int, str], None]
"""(virtual ms, member, what)."""

REAL_SIGNATURES_EVERY = 20
EPOCH = 1
DOMAIN = Domain(314, Address(bytes(19) + b"\x01"))
CALM_MS = 1_500
END_MS = 60_000
EVENTS_MAX = 300_000
SETTINGS = BlockSettings(
    interval_ms=40, resend_ms=20, fetch_ms=15, sync_ms=60, slots_ahead_max=4, block_messages_max=3
)


@dataclass(frozen=True, slots=True)
class BroadcastPlan:
    """What a seed decides. Probabilities in parts per thousand."""

    seed: int
    nodes: int
    liars: tuple[int, ...]
    loss: int
    duplication: int
    delay_max_ms: int
    crash: int
    partition: bool
    wiped: int | None
    """A correct member that loses its disk once."""
    real_signatures: bool
    """secp256k1 instead of a model of it; see `signatures`."""

    def describe(self) -> str:
        """One line."""
        return repr(self)


@dataclass(frozen=True, slots=True)
class BroadcastResult:
    """How a world ended."""

    seed: int
    nodes: int
    trace_hash: str
    events: int
    virtual_ms: int
    delivered: int
    violations: tuple[str, ...]
    reached: tuple[tuple[str, int], ...]
    plan: BroadcastPlan

    def describe(self) -> str:
        """What to print when it fails: enough to run it again."""
        what = "; ".join(self.violations)
        return (
            f"{what}\n{self.plan.describe()}\n"
            f"again: meridian sim --broadcast --nodes {self.nodes} --replay {self.seed}"
        )


def draw(rng: random.Random, seed: int, nodes: int) -> BroadcastPlan:
    """Draw the plan of a seed; an observer votes as little as a dead member, so it counts against f."""
    faulty = rng.sample(range(nodes), rng.randint(0, faults_max(nodes)))
    wiped = faulty.pop() if faulty and rng.random() < 0.3 else None
    return BroadcastPlan(
        seed=seed,
        nodes=nodes,
        liars=tuple(sorted(faulty)),
        loss=rng.choice((0, 50, 200, 400)),
        duplication=rng.choice((0, 200)),
        delay_max_ms=rng.choice((2, 10, 60)),
        crash=rng.choice((0, 5, 20)),
        partition=rng.random() < 0.3,
        wiped=wiped,
        real_signatures=seed % REAL_SIGNATURES_EVERY == 0,
    )


def run_broadcast_seed(seed: int, nodes: int, watch: Watch | None = None) -> BroadcastResult:
    """Run the world of a seed with `nodes` members; `watch` is told of every event."""
    rng = random.Random(seed)  # noqa: S311 - reproducible on purpose, not a secret
    plan = draw(rng, seed, nodes)
    with contextlib.nullcontext() if plan.real_signatures else signatures.modelled():
        return _World(plan, rng, watch).run()


def _text(sender: int, frame: bytes) -> str:
    """An event in words."""
    if sender in _OWN_EVENTS:
        return f"{_OWN_EVENTS[sender]} {frame.decode(errors='replace') if sender == INPUT else ''}"
    known = len(frame) > 1 and frame[1] in _KINDS
    return f"from {sender}: {_KINDS[frame[1]] if known else 'no frame'}, {len(frame)} bytes"


class _World:
    def __init__(self, plan: BroadcastPlan, rng: random.Random, watch: Watch | None) -> None:
        self._plan = plan
        self._watch = watch
        self._rng = rng
        self._now_ms = 0
        self._count = 0
        self._queue: list[tuple[int, int, int, int, bytes]] = []
        self._trace = hashlib.sha256()
        self._reached: Counter[str] = Counter()
        self._part = frozenset(rng.sample(range(plan.nodes), plan.nodes // 2))
        keys = sorted(
            (signatures.key_of(i, modelled=not plan.real_signatures) for i in range(plan.nodes)),
            key=lambda key: key.address,
        )
        members = tuple(key.address for key in keys)
        self._context = Context(DOMAIN, network_id("sim"), EPOCH, members)
        self._hosts: list[BroadcastHost | BroadcastLiar] = [
            BroadcastLiar(member, key, self._context, rng, self._post)
            if member in plan.liars
            else BroadcastHost(member, key, self._context, SETTINGS, rng, self._post)
            for member, key in enumerate(keys)
        ]

    def run(self) -> BroadcastResult:
        for host in self._correct():
            host.start(0, observer=False)
            self._plan_wake(host)
        for liar in self._liars():
            self._at(1, liar.member, WAKE, b"")
        self._plan_inputs()
        events = 0
        while self._queue and events < EVENTS_MAX:
            due_ms, _, member, sender, frame = heapq.heappop(self._queue)
            self._now_ms = max(self._now_ms, due_ms)
            if self._now_ms > END_MS:
                break
            events += 1
            self._note(b"%d %d %d " % (self._now_ms, member, sender) + frame)
            if self._watch is not None:
                self._watch(self._now_ms, member, _text(sender, frame))
            self._happen(member, sender, frame)
            if self._now_ms > CALM_MS and events % 50 == 0 and not self._unequal():
                break
        return self._result(events)

    def _happen(self, member: int, sender: int, frame: bytes) -> None:
        host = self._hosts[member]
        if isinstance(host, BroadcastLiar):
            if sender < 0:
                host.wake()
                if self._now_ms < CALM_MS:
                    self._at(self._now_ms + 25, member, WAKE, b"")
            else:
                host.receive(sender, frame)
            return
        if sender == RESTART:
            host.start(self._now_ms, observer=host.wiped)
            self._reached["restart"] += 1
        elif not host.up:
            return
        elif sender == INPUT:
            self._input(host, frame)
        elif sender == WAKE:
            if int.from_bytes(frame, "big") != host.stamp:
                return
            host.wake(self._now_ms)
        else:
            host.receive(self._now_ms, sender, frame)
        if not host.up:
            self._at(self._now_ms + self._rng.randint(5, 150), member, RESTART, b"")
        else:
            self._plan_wake(host)

    def _plan_wake(self, host: BroadcastHost) -> None:
        host.crash = self._plan.crash if self._now_ms < CALM_MS else 0
        due_ms = host.wake_ms()
        host.stamp += 1
        if due_ms is not None:
            self._at(max(due_ms, self._now_ms), host.member, WAKE, host.stamp.to_bytes(4, "big"))

    def _plan_inputs(self) -> None:
        for host in self._correct():
            for number in range(self._rng.randint(1, 6)):
                what = b"m" if self._rng.random() < 0.6 else b"s"
                due_ms = self._rng.randrange(CALM_MS)
                self._at(due_ms, host.member, INPUT, what + b"%d" % number)
        if self._plan.wiped is not None:
            self._at(self._rng.randrange(CALM_MS), self._plan.wiped, INPUT, b"w")

    def _input(self, host: BroadcastHost, what: bytes) -> None:
        if what == b"w":
            self._reached["wiped"] += 1
            host.lose_disk()
        elif what.startswith(b"m"):
            host.submit(self._now_ms, what.decode())
        else:
            host.put(self._now_ms, b"key %d" % self._rng.randrange(3), what)

    def _post(self, sender: int, to: int, frame: bytes) -> None:
        if len(frame) > 1 and frame[1] in _KINDS:
            self._reached[_KINDS[frame[1]]] += 1
        plan, rng = self._plan, self._rng
        if self._now_ms >= CALM_MS:
            self._at(self._now_ms + rng.randint(1, 3), to, sender, frame)
            return
        parted = plan.partition and 200 < self._now_ms < 1_000
        if parted and (sender in self._part) != (to in self._part):
            return
        if rng.randrange(1000) < plan.loss:
            return
        for _ in range(1 + (rng.randrange(1000) < plan.duplication)):
            self._at(self._now_ms + rng.randint(1, plan.delay_max_ms), to, sender, frame)

    def _at(self, due_ms: int, member: int, sender: int, frame: bytes) -> None:
        self._count += 1
        heapq.heappush(self._queue, (due_ms, self._count, member, sender, frame))

    def _note(self, data: bytes) -> None:
        self._trace.update(len(data).to_bytes(4, "big") + data)

    def _correct(self) -> list[BroadcastHost]:
        return [host for host in self._hosts if isinstance(host, BroadcastHost)]

    def _liars(self) -> list[BroadcastLiar]:
        return [host for host in self._hosts if isinstance(host, BroadcastLiar)]

    def _unequal(self) -> list[str]:
        """Totality and validity: what one has all have, and nothing of a correct sender is left."""
        hosts = self._correct()
        everything: set[Slot] = set().union(*(host.delivered for host in hosts))
        found = [
            f"totality: member {host.member} lacks {min(everything - set(host.delivered))}"
            for host in hosts
            if everything - set(host.delivered)
        ]
        found += [
            f"validity: member {host.member} did not deliver its own {slot}"
            for host in hosts
            if host.member != self._plan.wiped
            for slot in sorted(host.sent - set(host.delivered))
        ]
        found += [f"termination: member {host.member} is down" for host in hosts if not host.up]
        return found

    def _result(self, events: int) -> BroadcastResult:
        found = self._unequal()
        hosts = self._correct()
        for host in hosts:
            found += [f"member {host.member}: {text}" for text in host.violations]
            for slot, (payload, certificate) in host.delivered.items():
                found += self._check(host.member, slot, payload, certificate)
            for proof in host.evidence:
                guilt = verify_evidence(self._context, proof)
                self._reached[guilt.kind] += 1
                if guilt.member not in self._plan.liars:
                    found.append(f"framing: {guilt.kind} by correct member {guilt.member}")
        first = hosts[0]
        for host in hosts[1:]:
            for slot in first.delivered.keys() & host.delivered.keys():
                if first.delivered[slot][1].digest != host.delivered[slot][1].digest:
                    found.append(f"agreement: {slot} differs")
            if host.store() != first.store() and not self._unequal():
                found.append(f"store: members {first.member} and {host.member} differ")
        return BroadcastResult(
            seed=self._plan.seed,
            nodes=self._plan.nodes,
            trace_hash=self._trace.hexdigest(),
            events=events,
            virtual_ms=self._now_ms,
            delivered=len(first.delivered),
            violations=tuple(found),
            reached=tuple(sorted(self._reached.items())),
            plan=self._plan,
        )

    def _check(
        self, member: int, slot: Slot, payload: bytes, certificate: DeliveryCertificate
    ) -> list[str]:
        """A delivery proves itself, and blocks of a correct creator are the ones that it sent."""
        found: list[str] = []
        try:
            verify_delivery(self._context, certificate)
            if slot.channel == BLOCK_CHANNEL:
                block = MessageBlock.decode(payload)
                block.verify(self._context)
                if block.hash != certificate.digest:
                    found.append(f"integrity: member {member}: another block in {slot}")
        except InvalidInput as error:
            found.append(f"integrity: member {member}: {slot}: {error}")
        sender = self._hosts[slot.sender]
        if isinstance(sender, BroadcastHost) and slot not in sender.sent:
            found.append(f"integrity: member {slot.sender} never sent {slot}")
        return found
