"""What a seed decides: every fault of a world, drawn before it starts.

Half of the seeds tie faults to (phase, view, receiver) instead of chance: random noise alone did not find a
missing lock check in 10,500 seeds of the prototype (bft.md section 6.3).

A participant is a number that stays the same over all epochs; the index of a member counts within one epoch.
Members that lie, are dead for ever or have lost their disk are at most f together: so many are tolerated.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields

from meridian.ephemera.context import Kind
from meridian.ephemera.limits import Timing
from meridian.primitives.quorum import faults_max

SPEAKERS = ("silent", "liar", "colluder")
"""Byzantine members without a core of their own."""

PUPPETS = (
    "doubler",
    "row-equivocator",
    "revealer",
    "censor",
    "have-liar",
    "replayer",
    "flooder",
    "foreigner",
    "withhold",
    "garbage",
    "mangler",
    "mangler",
    "mute",
    "turncoat",
    "tardy",
    "copycat",
    "copycat",
    "hasty copycat",
)
"""Byzantine members that run the core and twist what it says (see `puppets`)."""

TWINNED = ("twins", "amnesia")
"""Byzantine members that run two cores with one key."""

AIMED_SPEAKERS = ("pest", "usurper")
"""Liars of aimed worlds (see `aimed_liars`)."""

STRATEGIES = (*SPEAKERS, "liar", "liar", "colluder", "colluder", *TWINNED, *TWINNED, *PUPPETS)
"""How a Byzantine member behaves; liars, which know the protocol, find most."""

CUTS = ("split", "one-way", "bridge", "clog")
"""Forms of a partition (see `network`)."""

PHASES = (Kind.PROPOSE, Kind.ECHO, Kind.VOTE)
VIEWS_DROPPED = 6
EPOCHS_MAX = 6
END_MS = 30_000
"""Virtual time within which every world must be done after the network is calm."""

REAL_SIGNATURES = 50
"""Seeds with real secp256k1, in parts per thousand."""


@dataclass(frozen=True, slots=True)
class Storage:
    """What happens to disks, in parts per thousand."""

    crash: int = 0
    """Per call of a correct member: crash between two of its effects."""
    torn: bool = False
    """A crash also loses a suffix of the records that no message which left depended on."""
    error: int = 0
    """Per write: it fails, the node stops and comes back later."""
    wiped: int | None = None
    """A correct participant that loses its disk once, and observes from then on."""


@dataclass(frozen=True, slots=True)
class Course:
    """Epochs, and who is away."""

    epochs: int = 1
    epoch_ms: int = 150
    """Epoch e opens everywhere about `e * epoch_ms`."""
    rotate: bool = False
    """At every boundary the longest-serving correct member leaves and a new one joins."""
    away: int | None = None
    """A correct participant that is away from the first epoch until the network is calm."""
    dead: frozenset[int] = frozenset()
    """Correct participants that stop before the network is calm and never come back."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Chosen leaders and partitions of the first views (see `twins`)."""

    leaders: tuple[int, ...]
    """Participants that lead, in turn."""
    sides: tuple[tuple[int, ...], ...]
    """By view: the group of every host. Later views are not divided."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What an aimed world has that drawn ones have not (see `aims`)."""

    family: str
    lost: frozenset[tuple[Kind, int, int]] = frozenset()
    """(kind, sender, receiver), participants: what never arrives before `calm_ms`, in no view."""
    crash_on: frozenset[str] = frozenset()
    """Kinds of records: a correct member crashes when it has persisted one, ..."""
    crash: int = 0
    """... in so many of a thousand cases: before what follows left, or after all of it left."""
    lives: bool = False
    """The application is no pure function: after a restart it offers another row, and another report."""
    told_once: bool = False
    """Who lost its disk is told so at its next start only."""
    unaware: int | None = None
    """A participant that loses its disk after it sent its row, is not told, and is asked for a row again late."""
    set_back: bool = False
    """Clocks jump back only."""
    dies_ms: tuple[int, int] | None = None
    """When who is dead for ever dies; else any time before `calm_ms`."""
    copying: bool = False
    """No copied row may count: nothing but a copier hinders the others."""
    guilt: str = ""
    """Misbehaviour of which some correct member must find a proof."""
    end_ms: int = END_MS
    """Virtual time after `calm_ms` within which all must be done."""

    def describe(self) -> str:
        """What it does, in the same words in every process."""
        lost: dict[str, list[str]] = {}
        for kind, sender, receiver in sorted(self.lost):
            lost.setdefault(kind.name, []).append(f"{sender}>{receiver}")
        parts = [f"aim={self.family}", *(f"lost {k} {' '.join(v)}" for k, v in lost.items())]
        if self.crash_on:
            parts.append(f"crash={self.crash} on {' '.join(sorted(self.crash_on))}")
        shown = {"family", "lost", "crash_on", "crash"}
        parts += [
            f"{item.name}={getattr(self, item.name)}"
            for item in fields(self)
            if item.name not in shown and getattr(self, item.name) != item.default
        ]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Plan:
    """One world. Times in virtual milliseconds, probabilities in parts per thousand."""

    seed: int
    nodes: int
    strategies: tuple[tuple[int, str], ...]
    """(participant, strategy) of the Byzantine members."""
    real_signatures: bool
    """secp256k1 instead of modelled signatures."""
    structured: bool
    """Faults by (phase, view, receiver) instead of by chance."""
    loss: int
    duplication: int
    delay_max_ms: int
    calm_ms: int
    """From here on the network is good and nobody crashes (GST); who is dead by then stays dead."""
    partition: int
    """Per 10 ms: begin a partition."""
    cut: str
    """Its form."""
    pause: int
    """Per call of a correct member: its host freezes for longer than a view."""
    jump: int
    """Per call of a correct member: its clock jumps by an hour, forward or back."""
    drops: frozenset[tuple[Kind, int, int]]
    """(phase, view, receiver) that gets nothing of the phase in that view."""
    decided_lost: bool
    """No DECIDED gets through before `calm_ms`."""
    same_bodies: bool
    late_row: int | None
    """A correct member whose row comes only when the network is calm."""
    storage: Storage
    course: Course
    timing: Timing
    scenario: Scenario | None = None
    aim: Aim | None = None

    @property
    def byzantine(self) -> frozenset[int]:
        """Participants that need not keep to the protocol."""
        return frozenset(member for member, _ in self.strategies)

    def describe(self) -> str:
        """One line with everything that is not usual."""
        quiet = {"drops": frozenset[object](), "seed": None, "nodes": None}
        parts = [f"seed {self.seed}, n={self.nodes}"]
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "aim":
                parts += [] if self.aim is None else [self.aim.describe()]
            elif item.name == "drops":
                said = [f"{kind.name}/{view}/{to}" for kind, view, to in sorted(self.drops)]
                parts += [f"drops {' '.join(said)}"] if said else []
            elif item.name not in quiet and value not in (0, None, False, ()):
                parts.append(f"{item.name}={value}")
        return ", ".join(parts)


def rng_of(seed: int) -> random.Random:
    """The one source of chance of a world."""
    return random.Random(seed)  # noqa: S311 - reproducible on purpose, not a secret


def draw(rng: random.Random, seed: int, nodes: int) -> Plan:
    """Draw the plan of a seed."""
    tolerated = faults_max(nodes)
    bad = sorted(rng.sample(range(nodes), rng.randint(0, tolerated)))
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
    storage, course = _failures(rng, correct, tolerated - len(bad), structured=structured)
    return Plan(
        seed=seed,
        nodes=nodes,
        strategies=strategies,
        real_signatures=rng.randrange(1000) < REAL_SIGNATURES,
        structured=structured,
        loss=0 if structured else rng.choice((0, 50, 200, 400)),
        duplication=0 if structured else rng.choice((0, 100, 400)),
        delay_max_ms=3 if structured else rng.choice((3, 10, 40)),
        calm_ms=rng.choice((400, 400, 800)) if structured else rng.choice((0, 150, 400, 800)),
        partition=0 if structured else rng.choice((0, 30, 120)),
        cut=rng.choice(CUTS),
        pause=rng.choice((0, 0, 0, 3)),
        jump=rng.choice((0, 0, 0, 0, 4)),
        drops=drops,
        decided_lost=structured and rng.random() < 0.7,
        same_bodies=rng.random() < 0.4,
        late_row=rng.choice(correct) if rng.random() < 0.15 else None,
        storage=storage,
        course=course,
        timing=_timing(rng, structured=structured),
    )


def _timing(rng: random.Random, *, structured: bool) -> Timing:
    return Timing(
        row_ms=rng.choice((8, 25)),
        reveal_ms=rng.choice((2, 8)),
        have_ms=rng.choice((8, 25)),
        fill_ms=rng.choice((30, 60)),
        grace_ms=rng.choice((1, 15)),
        view_ms=60 if structured else rng.choice((60, 120)),
        view_max_ms=1_200,
        resend_ms=rng.choice((100, 200)) if structured else rng.choice((50, 80)),
        fetch_ms=rng.choice((15, 40)),
    )


def _failures(
    rng: random.Random, correct: list[int], budget: int, *, structured: bool
) -> tuple[Storage, Course]:
    """Crashes and epochs; `budget` more members may fail for ever."""
    dead = frozenset(rng.sample(correct, rng.randint(0, budget) if rng.random() < 0.4 else 0))
    living = [member for member in correct if member not in dead]
    wiped = rng.choice(living) if budget > len(dead) and rng.random() < 0.4 else None
    storage = Storage(
        crash=rng.choice((0, 5)) if structured else rng.choice((0, 5, 30)),
        torn=rng.random() < 0.5,
        error=rng.choice((0, 0, 0, 10)),
        wiped=wiped,
    )
    if rng.random() < 0.9:
        return storage, Course(dead=dead)
    away = rng.choice(living) if rng.random() < 0.5 else None
    epochs = rng.randint(2, EPOCHS_MAX if away is not None else 3)
    return storage, Course(
        epochs=epochs,
        epoch_ms=rng.choice((60, 150)),
        rotate=rng.random() < 0.7,
        away=away,
        dead=dead,
    )
