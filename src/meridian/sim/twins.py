"""Every small attack of one equivocator: four members, two views, all leaders and all partitions.

Method of Twins (Bano and others, OPODIS 2021): the Byzantine member is two correct copies with one key and
different rows. In each of the first two views the five hosts fall into groups that do not hear each other's
PROPOSE, ECHO, VOTE and VIEW_CHANGE of that view; then the network heals. All ways to partition five hosts are tried in
both views, with every choice of the two leaders. Correct members differ in nothing but their names, so of the
sixteen choices of leaders the five that no renaming makes equal are enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from meridian.ephemera.limits import Timing
from meridian.sim.faults import Course, Plan, Scenario, Storage
from meridian.sim.world import run_plan

NODES = 4
HOSTS = NODES + 1
VIEWS = 2

LEADERS = ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2))
"""Leaders of the two views; participant 0 is the one with a twin."""

AFTERWARDS = (2, 3)
"""Leaders of the views after these, in turn with them."""


@dataclass(frozen=True, slots=True)
class Found:
    """What came of some scenarios."""

    scenarios: int
    decided_early: int
    """Scenarios in which somebody decided in one of the divided views."""
    violations: tuple[str, ...]


def partitions(hosts: int) -> Iterator[tuple[int, ...]]:
    """Every way to put hosts into groups: the group of each, groups numbered as they first occur."""

    def grow(groups: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(groups) == hosts:
            yield groups
            return
        for group in range(max(groups, default=-1) + 2):
            yield from grow((*groups, group))

    return grow(())


def scenarios() -> list[Scenario]:
    """All of them, in one fixed order."""
    ways = tuple(partitions(HOSTS))
    return [
        Scenario((*leaders, *AFTERWARDS), sides)
        for leaders, *both in product(LEADERS, ways, ways)
        for sides in [tuple(both)]
    ]


def plan_of(scenario: Scenario) -> Plan:
    """The world of a scenario: nothing else goes wrong in it."""
    return Plan(
        seed=0,
        nodes=NODES,
        strategies=((0, "twins"),),
        real_signatures=False,
        structured=True,
        loss=0,
        duplication=0,
        delay_max_ms=1,
        calm_ms=230,
        partition=0,
        cut="split",
        pause=0,
        jump=0,
        drops=frozenset(),
        decided_lost=True,
        same_bodies=False,
        late_row=None,
        storage=Storage(),
        course=Course(),
        timing=Timing(
            row_ms=8,
            reveal_ms=4,
            have_ms=8,
            fill_ms=30,
            grace_ms=1,
            view_ms=60,
            view_max_ms=1_200,
            resend_ms=40,
            fetch_ms=15,
        ),
        scenario=scenario,
    )


def explore(some: list[Scenario]) -> Found:
    """Run scenarios and gather what went wrong."""
    wrong: list[str] = []
    early = 0
    for scenario in some:
        result = run_plan(plan_of(scenario))
        early += any(f"decided in view {view}" in dict(result.reached) for view in range(VIEWS))
        if result.violations:
            wrong.append(f"{scenario}: {'; '.join(result.violations)}")
    return Found(len(some), early, tuple(wrong))
