"""The mutation gate: broken protocols, each of which a world must expose, and a probe where no world can.

A mutant that survives says that the simulator is blind to a class of bugs. `KILLERS` keeps a world that kills each,
so that the whole table runs in seconds; `meridian sim --mutants --fresh` finds them again.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType

from meridian.sim.aims import run_world
from meridian.sim.killers import KILLERS
from meridian.sim.mutants_agreement import AGREEMENT
from meridian.sim.mutants_copying import COPYING
from meridian.sim.mutants_records import RECORDS
from meridian.sim.mutants_signatures import SIGNATURES
from meridian.sim.mutation import Mutant, applied
from meridian.sim.probes import PROBES

NODES = 4

BUDGET = 3_000
"""Seeds of worlds of four members that a mutant may survive."""

AIMED_BUDGET = 400
"""Seeds of its family of aimed worlds, before those."""

CPU_SECONDS_MAX = 1.0
"""A world under a mutant that takes so long has found an endless loop."""

UNFORGED = "bytes: no liar of the worlds forges this"

MUTANTS: dict[str, Mutant] = {
    mutant.name: replace(mutant, killer=KILLERS.get(mutant.name))
    for mutant in (
        *AGREEMENT,
        *COPYING,
        *RECORDS,
        *(replace(mutant, unseen="" if mutant.aim else UNFORGED) for mutant in SIGNATURES),
    )
}


class _Endless(BaseException):
    """Passes through every handler of a world, which takes exceptions of the core for its answers."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a mutant died, if it did."""

    name: str
    killed: bool
    """By a world unless none can show it, and by its probe if it has one."""
    by: str
    """The world, by family and seed; empty if none can."""
    law: str
    """What was broken there."""
    probe: str
    """Its probe, and what that saw; empty if it has none."""


def try_to_kill(task: tuple[str, int, bool]) -> Death:
    """Look for what exposes a mutant: its probe; its known world, then the aimed worlds and then all others from 0.

    Args:
        task: Name, budget in seeds of each kind of worlds, and whether to forget the known world.
    """
    name, budget, fresh = task
    mutant = MUTANTS[name]
    with applied(mutant):
        seen = None if mutant.probe is None else _probe(mutant.probe)
        probe = "" if mutant.probe is None else f"{mutant.probe}: {seen or 'sees nothing'}"
        probed = mutant.probe is None or seen is not None
        if mutant.unseen:
            return Death(name, probed, "", "", probe)
        for family, seed in _worlds(mutant, budget, fresh=fresh):
            law = _world(family, seed)
            if law is not None:
                return Death(name, probed, f"{family or 'random'}, seed {seed}", law, probe)
    return Death(name, False, f"none of {budget} seeds", "", probe)


def table() -> str:
    """The mutants as a table in Markdown: the known world, or why there is none, and the probe."""
    killers = [mutant.killer for mutant in MUTANTS.values() if mutant.killer is not None]
    aimed = sum(bool(killer.family) for killer in killers)
    probes = sum(mutant.probe is not None for mutant in MUTANTS.values())
    lines = [
        (
            f"{len(MUTANTS)} mutants: {len(killers) - aimed} die in drawn worlds, {aimed} in aimed ones,"
            f" and {len(MUTANTS) - len(killers)} by a probe alone; {probes} have a probe."
        ),
        "",
        "| mutant | world and seed | law | probe |",
        "|---|---|---|---|",
    ]
    for mutant in MUTANTS.values():
        killer = mutant.killer
        world = mutant.unseen if killer is None else f"{killer.family or 'random'}, {killer.seed}"
        law = "" if killer is None else killer.law
        probe = f"`{mutant.probe}`" if mutant.probe else ""
        lines.append(f"| {mutant.name} | {world} | {law} | {probe} |")
    return "\n".join(lines) + "\n"


def _worlds(mutant: Mutant, budget: int, *, fresh: bool) -> Iterator[tuple[str, int]]:
    if mutant.killer is not None and not fresh:
        yield mutant.killer.family, mutant.killer.seed
    if mutant.aim:
        yield from ((mutant.aim, seed) for seed in range(min(budget, AIMED_BUDGET)))
    yield from (("", seed) for seed in range(budget))


def _probe(name: str) -> str | None:
    try:
        PROBES[name]()
    except Exception as broken:  # noqa: BLE001 - any exception is a death
        return (
            f"{type(broken).__name__}: {broken}"
            if not isinstance(broken, AssertionError)
            else str(broken)
        )
    return None


def _world(family: str, seed: int) -> str | None:
    try:
        with _within(CPU_SECONDS_MAX):
            violations = run_world(family, seed, NODES).violations
    except _Endless:
        return "the core does not come to an end"
    except Exception as broken:  # noqa: BLE001 - any exception is a death
        return f"{type(broken).__name__}: {broken}"
    return violations[0] if violations else None


@contextmanager
def _within(cpu_seconds: float) -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise _Endless

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
