"""Aimed worlds: families of plans that put the faults where a class of bugs lives.

Chance alone seldom meets some bugs: that a member forgets one kind of record shows only if it crashes right after it
persisted one, and what it had said is then asked for. A family fixes the kind of trouble and still draws who, when and
how much from the seed. Members, laws and the run are those of every other world.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

from meridian.ephemera.context import Kind
from meridian.ephemera.limits import Timing
from meridian.errors import InvalidInput
from meridian.sim import faults
from meridian.sim.aimed_liars import GUILTY
from meridian.sim.epochs import leader_of
from meridian.sim.faults import VIEWS_DROPPED, Aim, Course, Plan, Storage
from meridian.sim.reach import KINDS_PERSISTED
from meridian.sim.world import Result, Watch, run_plan, run_seed

NODES_MIN = 4
"""Members that tolerate one fault."""

LONG_MS = 60_000
"""Timeouts that never come: what is not repaired within a view is not repaired."""

Lost = frozenset[tuple[Kind, int, int]]


def run_world(family: str, seed: int, nodes: int, watch: Watch | None = None) -> Result:
    """Run the world of a seed: in a family, or (empty) with everything drawn."""
    if not family:
        return run_seed(seed, nodes, watch)
    return run_aimed(family, seed, nodes, watch)


def run_aimed(family: str, seed: int, nodes: int, watch: Watch | None = None) -> Result:
    """Run the world of a seed in a family (a key of `FAMILIES`)."""
    return run_plan(draw_aimed(family, seed, nodes), watch)


def draw_aimed(family: str, seed: int, nodes: int) -> Plan:
    """Draw the plan of a seed in a family; nothing but what the family is about goes wrong.

    Raises:
        InvalidInput: Fewer than four members: one of them may not fail.
    """
    if nodes < NODES_MIN:
        raise InvalidInput("nodes", f"must be at least {NODES_MIN} in an aimed world")
    rng = faults.rng_of(seed)
    plan = replace(
        faults.draw(rng, seed, nodes),
        strategies=(),
        real_signatures=False,
        structured=False,
        loss=0,
        duplication=0,
        delay_max_ms=3,
        calm_ms=400,
        partition=0,
        pause=0,
        jump=0,
        drops=frozenset(),
        decided_lost=False,
        late_row=None,
        storage=Storage(torn=rng.random() < 0.3),
        course=Course(),
        aim=Aim(family),
    )
    return FAMILIES[family](rng, plan)


def _everywhere(plan: Plan, kinds: Iterable[Kind], to: Iterable[int] | None = None) -> Lost:
    everyone = range(plan.nodes)
    return frozenset(
        (kind, sender, receiver)
        for kind in kinds
        for receiver in (everyone if to is None else to)
        for sender in everyone
    )


def _aim(plan: Plan) -> Aim:
    assert plan.aim is not None
    return plan.aim


def _crashes(rng: random.Random, plan: Plan) -> Plan:
    """Every correct member crashes right after chosen records, and its application offers new rows each time."""
    someone = rng.randrange(plan.nodes)
    strategy = rng.choice(("", "", "dead", "dead", "pest", "pest", "doubler"))
    structured = rng.random() < 0.5
    drops = frozenset(
        (phase, view, receiver)
        for phase, share in ((Kind.ECHO, 0.2), (Kind.VOTE, 0.6))
        for view in range(VIEWS_DROPPED)
        for receiver in range(plan.nodes)
        if structured and rng.random() < share
    )
    if strategy == "pest" and rng.random() < 0.8:
        someone = leader_of(plan, rng.randrange(2))
    bad = strategy not in {"", "dead"}
    return replace(
        plan,
        strategies=((someone, strategy),) if bad else (),
        structured=structured,
        drops=drops,
        decided_lost=structured,
        loss=0 if structured else rng.choice((0, 150, 300)),
        delay_max_ms=rng.choice((3, 10)),
        course=Course(dead=frozenset((someone,) if strategy == "dead" else ())),
        aim=replace(
            _aim(plan),
            crash_on=frozenset(rng.sample(KINDS_PERSISTED, rng.randint(1, 3))),
            crash=rng.choice((300, 700, 1000)),
            lives=True,
            dies_ms=(10, rng.choice((60, 150))),
        ),
    )


def _locks(rng: random.Random, plan: Plan) -> Plan:
    """Few reach a lock, one at most decides; then a liar leads, or the locks differ and nobody else can help."""
    plan = replace(plan, structured=True, decided_lost=True, calm_ms=rng.choice((400, 600)))
    timing = replace(plan.timing, view_ms=60, view_max_ms=1_200)
    drops: set[tuple[Kind, int, int]] = set()
    if rng.random() < 0.5:
        lied = rng.choice((1, 1, 2))
        evil = leader_of(plan, lied)
        for view in range(lied):
            lucky = rng.randrange(plan.nodes)
            for receiver in set(range(plan.nodes)) - {lucky}:
                drops.add((Kind.VOTE, view, receiver))
                if rng.random() < 0.3:
                    drops.add((Kind.ECHO, view, receiver))
        strategies = ((evil, rng.choice(("liar", "liar", "pest"))),)
        return replace(plan, timing=timing, strategies=strategies, drops=frozenset(drops))
    silent = rng.randrange(plan.nodes)
    others = [p for p in range(plan.nodes) if p != silent]
    rng.shuffle(others)
    for view in range(VIEWS_DROPPED):
        drops.update((Kind.VOTE, view, receiver) for receiver in others)
        reached = others[view] if view < 2 else -1
        drops.update((Kind.ECHO, view, receiver) for receiver in others if receiver != reached)
    strategies = ((silent, "silent"),)
    return replace(plan, timing=timing, strategies=strategies, drops=frozenset(drops))


def _views(rng: random.Random, plan: Plan) -> Plan:
    """One member drives the others from view to view; or one comes back far behind, and is needed at once."""
    if rng.random() < 0.3:
        hasty = rng.randrange(plan.nodes)
        lost = _everywhere(plan, (Kind.VOTE,))
        return replace(
            plan, strategies=((hasty, "hasty"),), calm_ms=200, aim=replace(_aim(plan), lost=lost)
        )
    away, dead = rng.sample(range(plan.nodes), 2)
    calm_ms = rng.choice((5_000, 8_000))
    return replace(
        plan,
        calm_ms=calm_ms,
        timing=replace(plan.timing, view_ms=60, view_max_ms=1_200),
        course=Course(away=away, dead=frozenset((dead,))),
        aim=replace(
            _aim(plan),
            lost=_everywhere(plan, (Kind.ECHO,)),
            dies_ms=(calm_ms - 60, calm_ms),
            end_ms=4_000,
        ),
    )


def _repeats(rng: random.Random, plan: Plan) -> Plan:
    """Everything of one or two kinds is lost at first, and no timeout comes to help."""
    kinds = (
        Kind.ROW,
        Kind.REVEAL,
        Kind.HAVE,
        Kind.PROPOSE,
        Kind.ECHO,
        Kind.VOTE,
        Kind.REPORT_SIG,
        Kind.FETCH,
    )
    chosen = rng.sample(kinds, rng.randint(1, 2))
    return replace(
        plan,
        calm_ms=rng.choice((150, 300)),
        timing=_patient(plan.timing),
        aim=replace(_aim(plan), lost=_everywhere(plan, chosen), end_ms=5_000),
    )


def _patient(timing: Timing) -> Timing:
    return replace(timing, view_ms=LONG_MS, view_max_ms=LONG_MS)


def _fetch(rng: random.Random, plan: Plan) -> Plan:
    """A member dies when some have its row or body and others have not; or a block comes from a swapper."""
    if rng.random() < 0.4:
        swapper, left_out = rng.sample(range(plan.nodes), 2)
        lost = _everywhere(plan, (Kind.PROPOSE,), (left_out,))
        return replace(plan, strategies=((swapper, "swapper"),), aim=replace(_aim(plan), lost=lost))
    leader = leader_of(plan, 0)
    owner = rng.choice([p for p in range(plan.nodes) if p != leader])
    others = [p for p in range(plan.nodes) if p not in {owner, leader}]
    deprived = {leader, *rng.sample(others, rng.randint(0, len(others) - 1))}
    kind = rng.choice((Kind.REVEAL, Kind.FETCH_REPLY))
    return replace(
        plan,
        timing=_patient(plan.timing),
        course=Course(dead=frozenset((owner,))),
        aim=replace(
            _aim(plan),
            lost=frozenset((kind, owner, receiver) for receiver in deprived),
            dies_ms=(25, 90),
            end_ms=8_000,
        ),
    )


def _disks(rng: random.Random, plan: Plan) -> Plan:
    """A member loses its disk: told once, and then it crashes again; or not told, and asked for a row late."""
    someone = rng.randrange(plan.nodes)
    lost = _everywhere(plan, (Kind.VOTE,))
    if rng.random() < 0.4:
        return replace(plan, aim=replace(_aim(plan), lost=lost, lives=True, unaware=someone))
    return replace(
        plan,
        storage=replace(plan.storage, crash=rng.choice((20, 60)), wiped=someone),
        aim=replace(
            _aim(plan),
            lost=lost,
            lives=True,
            told_once=True,
            crash_on=frozenset(("context", *rng.sample(KINDS_PERSISTED, 2))),
            crash=rng.choice((300, 700)),
        ),
    )


def _clock(rng: random.Random, plan: Plan) -> Plan:
    """Clocks go back an hour, often, while frames are lost."""
    return replace(
        plan,
        loss=rng.choice((200, 400)),
        jump=rng.choice((20, 60)),
        calm_ms=rng.choice((150, 400)),
        aim=replace(_aim(plan), set_back=True),
    )


def _guilt(rng: random.Random, plan: Plan) -> Plan:
    """One member contradicts itself before everybody: some correct member must prove it."""
    guilt = rng.choice(tuple(GUILTY))
    culprit = rng.randrange(plan.nodes)
    correct = [p for p in range(plan.nodes) if p != culprit]
    kind = Kind.REPORT_SIG if guilt == "double_report_sig" else Kind.VOTE
    lost = frozenset((kind, a, b) for a in correct for b in range(plan.nodes))
    return replace(
        plan,
        strategies=((culprit, f"culprit {guilt}"),),
        aim=replace(_aim(plan), lost=lost, guilt=guilt),
    )


def _reports(rng: random.Random, plan: Plan) -> Plan:
    """A member signs two reports, and signatures of correct members are lost at first."""
    two = rng.randrange(plan.nodes)
    correct = [p for p in range(plan.nodes) if p != two]
    lost = frozenset(
        (Kind.REPORT_SIG, a, b) for a in correct for b in correct if rng.random() < 0.3
    )
    # Who decides last may know a quorum's signatures before it signs.
    last = rng.choice([p for p in correct if p != leader_of(plan, 0)])
    lost |= _everywhere(plan, (Kind.PROPOSE,), (last,))
    return replace(plan, strategies=((two, "double-reporter"),), aim=replace(_aim(plan), lost=lost))


def _pests(rng: random.Random, plan: Plan) -> Plan:
    """A liar proposes what may not be proposed, or when another leads."""
    if rng.random() < 0.5:
        leader = leader_of(plan, 0)
        liar = rng.choice([p for p in range(plan.nodes) if p != leader])
        return replace(plan, strategies=((liar, "usurper"),))
    return replace(plan, strategies=((leader_of(plan, rng.randrange(2)), "pest"),))


def _copies(rng: random.Random, plan: Plan) -> Plan:
    """A member copies; or it commits itself and never reveals, or something else, while another's row comes late."""
    someone = rng.randrange(plan.nodes)
    timing = replace(plan.timing, row_ms=25, reveal_ms=8, have_ms=25, fill_ms=60, view_ms=200)
    plan = replace(plan, calm_ms=rng.choice((150, 300)), timing=timing, storage=Storage())
    if rng.random() < 0.4:
        strategy = rng.choice(("copycat", "copycat", "hasty copycat"))
        return replace(
            plan, strategies=((someone, strategy),), aim=replace(_aim(plan), copying=True)
        )
    strategy = rng.choice(("mute", "mute", "turncoat", "tardy"))
    late = rng.choice([p for p in range(plan.nodes) if p != someone])
    return replace(plan, strategies=((someone, strategy),), late_row=late)


def _forgery(rng: random.Random, plan: Plan) -> Plan:
    """A liar claims in the names of others what they never signed; half of the time it leads."""
    forger = leader_of(plan, 0) if rng.random() < 0.5 else rng.randrange(plan.nodes)
    return replace(plan, strategies=((forger, "forger"),), calm_ms=rng.choice((0, 100)))


FAMILIES: dict[str, Callable[[random.Random, Plan], Plan]] = {
    "crashes": _crashes,
    "locks": _locks,
    "views": _views,
    "repeats": _repeats,
    "fetch": _fetch,
    "disks": _disks,
    "clock": _clock,
    "guilt": _guilt,
    "reports": _reports,
    "pests": _pests,
    "forgery": _forgery,
    "copies": _copies,
}
"""By name."""
