"""What a seed decides: every fault of a world, drawn before it starts.

Half of the seeds tie faults to (phase, view, receiver) instead of chance: random noise alone did not find a
missing lock check in 10,500 seeds of the prototype (bft.md section 6.3).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from meridian.ephemera.context import Kind
from meridian.ephemera.limits import Timing
from meridian.primitives.quorum import faults_max

STRATEGIES = ("silent", "twins", "amnesia", "liar", "liar", "liar", "withhold", "garbage")
"""How a Byzantine member behaves; liars, which know the protocol, find most."""

PHASES = (Kind.PROPOSE, Kind.ECHO, Kind.VOTE)
VIEWS_DROPPED = 6


@dataclass(frozen=True, slots=True)
class Plan:
    """One world. Times in virtual milliseconds, probabilities in parts per thousand."""

    seed: int
    nodes: int
    strategies: tuple[tuple[int, str], ...]
    """(member, strategy) of the Byzantine members."""
    structured: bool
    """Faults by (phase, view, receiver) instead of by chance."""
    loss: int
    duplication: int
    delay_max_ms: int
    calm_ms: int
    """From here on the network is good and nobody crashes (GST)."""
    crash: int
    """Per call of a correct member: crash between two of its effects."""
    partition: int
    """Per 10 ms: begin a partition."""
    drops: frozenset[tuple[Kind, int, int]]
    """(phase, view, receiver) that gets nothing of the phase in that view."""
    decided_lost: bool
    """No DECIDED gets through before `calm_ms`."""
    same_bodies: bool
    late_row: int | None
    """A correct member whose row comes only when the network is calm."""
    timing: Timing

    @property
    def byzantine(self) -> frozenset[int]:
        """Members that need not keep to the protocol."""
        return frozenset(member for member, _ in self.strategies)

    @property
    def correct(self) -> tuple[int, ...]:
        """Members that keep to it."""
        return tuple(m for m in range(self.nodes) if m not in self.byzantine)


def rng_of(seed: int) -> random.Random:
    """The one source of chance of a world."""
    return random.Random(seed)  # noqa: S311 - reproducible on purpose, not a secret


def draw(rng: random.Random, seed: int, nodes: int) -> Plan:
    """Draw the plan of a seed."""
    bad = sorted(rng.sample(range(nodes), rng.randint(0, faults_max(nodes))))
    strategies = tuple((member, rng.choice(STRATEGIES)) for member in bad)
    correct = [member for member in range(nodes) if member not in bad]
    structured = rng.random() < 0.5
    share = rng.choice((0.3, 0.6))
    drops = frozenset(
        (phase, view, receiver)
        for phase in PHASES
        for view in range(VIEWS_DROPPED)
        for receiver in range(nodes)
        if structured and rng.random() < share * (1 if phase is Kind.VOTE else 0.4)
    )
    timing = Timing(
        have_ms=rng.choice((8, 25)),
        grace_ms=rng.choice((1, 15)),
        view_ms=60 if structured else rng.choice((60, 120)),
        view_max_ms=1_200,
        resend_ms=rng.choice((20, 35)),
        fetch_ms=rng.choice((15, 40)),
    )
    return Plan(
        seed=seed,
        nodes=nodes,
        strategies=strategies,
        structured=structured,
        loss=0 if structured else rng.choice((0, 50, 200, 400)),
        duplication=0 if structured else rng.choice((0, 100, 400)),
        delay_max_ms=3 if structured else rng.choice((3, 10, 40)),
        calm_ms=rng.choice((400, 800)) if structured else rng.choice((0, 150, 400, 800)),
        crash=rng.choice((0, 5)) if structured else rng.choice((0, 5, 30)),
        partition=0 if structured else rng.choice((0, 30, 120)),
        drops=drops,
        decided_lost=structured and rng.random() < 0.7,
        same_bodies=rng.random() < 0.4,
        late_row=rng.choice(correct) if rng.random() < 0.15 else None,
        timing=timing,
    )
