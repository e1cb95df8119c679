"""The mutation gate: broken protocols, each of which a world or a probe must expose.

A mutant that survives says that the simulator is blind to a class of bugs. `SEEDS` keeps a seed that kills each
mutant that worlds kill, so that a slice of the table runs in seconds; `meridian sim --mutants --fresh` finds
them again.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType

from meridian.sim.mutants_agreement import AGREEMENT
from meridian.sim.mutants_records import RECORDS
from meridian.sim.mutants_signatures import SIGNATURES
from meridian.sim.mutation import Mutant, applied
from meridian.sim.probes import PROBES
from meridian.sim.world import run_seed

BUDGET = 3_000
"""Seeds of four members that a mutant may survive."""

CPU_SECONDS_MAX = 1.0
"""A world under a mutant that takes so long has found an endless loop."""

SEEDS = {
    "quorum - 1": 0,
    "quorum + 1": 0,
    "f + 1 is f": 30,
    "f + 1 is f + 2": 218,
    "n - f rows - 1": 8,
    "n - f rows + 1": 1,
    "ECHO and VOTE quorums one short": 0,
    "a report is attested with q - 1 signatures": 48,
    "the lowest lock wins": 38,
    "a leader ignores the lock": 20,
    "lock dropped on view change": 0,
    "VIEW_CHANGE with the current lock": 2,
    "the leader never changes": 59,
    "nobody wishes": 24,
    "a wish is said once": 149,
    "a second ECHO in a view": 35,
    "the leader waits for every HAVE": 1,
    "inclusion skipped": 10,
    "HAVE waits for every row": 0,
    "HAVE lists rows without bodies": 0,
    "ECHO without bodies": 0,
    "bodies are never fetched": 0,
    "a fetched body is believed": 0,
    "nothing is served": 0,
    "a VOTE and a VIEW_CHANGE of one view are amnesia": 2,
    "DECIDED is not given to who asks": 2,
    "report signatures are not given to who asks": 3,
    "nothing is said again": 0,
    "ECHOs decide": 0,
    "context is not durable": 3,
}
"""The first seed of four members that kills each mutant without a probe."""

MUTANTS: dict[str, Mutant] = {
    mutant.name: replace(mutant, seed=(SEEDS[mutant.name], 4)) if mutant.name in SEEDS else mutant
    for mutant in (*AGREEMENT, *RECORDS, *SIGNATURES)
}


class _Endless(BaseException):
    """Passes through every handler of a world, which takes exceptions of the core for its answers."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a mutant died, if it did."""

    name: str
    killed: bool
    by: str
    """Probe or seed."""
    law: str
    """What was broken."""


def try_to_kill(task: tuple[str, int, bool]) -> Death:
    """Look for what exposes a mutant: its probe, its known seed, then the seeds from 0.

    Args:
        task: Name, budget in seeds, and whether to forget the known seed.
    """
    name, budget, fresh = task
    mutant = MUTANTS[name]
    with applied(mutant):
        if mutant.probe is not None:
            broken = _probe(mutant.probe)
            return Death(name, broken is not None, f"probe {mutant.probe}", broken or "")
        seeds = [(seed, 4) for seed in range(budget)]
        if mutant.seed is not None and not fresh:
            seeds.insert(0, mutant.seed)
        for seed, nodes in seeds:
            law = _world(seed, nodes)
            if law is not None:
                return Death(name, True, f"seed {seed}, n={nodes}", law)
    return Death(name, False, f"none of {budget} seeds", "")


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


def _world(seed: int, nodes: int) -> str | None:
    try:
        with _within(CPU_SECONDS_MAX):
            violations = run_seed(seed, nodes).violations
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
