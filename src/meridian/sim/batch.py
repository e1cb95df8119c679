"""Many worlds on all cores: the only place of the simulator with processes.

Results come in the order of the seeds whatever the number of processes, and so does the hash over all traces.
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TypeVar

from meridian.sim.aims import run_world
from meridian.sim.broadcast_world import BroadcastResult, run_broadcast_seed
from meridian.sim.world import Result

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[int, int], None]
"""(done, total)."""

CHUNK_WORK = 400
"""Seeds per task times n squared: some tenths of a second."""


@dataclass(slots=True)
class Tally:
    """What came of a range of seeds."""

    worlds: int = 0
    events: int = 0
    virtual_ms: int = 0
    view_max: int = 0
    real_signatures: int = 0
    reached: Counter[str] = field(default_factory=Counter)
    traces: list[tuple[int, str]] = field(default_factory=list)
    """(seed, trace hash)."""
    violations: list[tuple[int, str]] = field(default_factory=list)
    """(seed, `Result.describe`)."""

    def add(self, result: Result | BroadcastResult) -> None:
        """Count one world."""
        self.worlds += 1
        self.events += result.events
        self.virtual_ms += result.virtual_ms
        if isinstance(result, Result):
            self.view_max = max(self.view_max, result.view_max)
        self.real_signatures += result.plan.real_signatures
        self.reached.update(dict(result.reached))
        self.traces.append((result.seed, result.trace_hash))
        if result.violations:
            self.violations.append((result.seed, result.describe()))

    def join(self, other: Tally) -> None:
        """Count what another process counted."""
        self.worlds += other.worlds
        self.events += other.events
        self.virtual_ms += other.virtual_ms
        self.view_max = max(self.view_max, other.view_max)
        self.real_signatures += other.real_signatures
        self.reached.update(other.reached)
        self.traces += other.traces
        self.violations += other.violations

    def trace_hash(self) -> str:
        """SHA-256 over the trace hashes of all worlds, in the order of the seeds."""
        whole = hashlib.sha256()
        for _, trace in self.traces:
            whole.update(bytes.fromhex(trace))
        return whole.hexdigest()


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def run_batch(
    nodes: int,
    seeds: range,
    jobs: int,
    progress: Progress,
    *,
    broadcast: bool = False,
    aim: str = "",
) -> Tally:
    """Run the worlds of `seeds` with `nodes` members on `jobs` processes.

    Args:
        nodes: Members of each.
        seeds: One world each.
        jobs: Processes.
        progress: Told how far it is.
        broadcast: Worlds of the broadcast instead of the agreement.
        aim: Family of aimed worlds of the agreement (see `aims`); empty: everything is drawn.
    """
    step = max(1, CHUNK_WORK // nodes**2)
    chunks = [(broadcast, aim, nodes, seeds[at : at + step]) for at in range(0, len(seeds), step)]
    tally = Tally()
    for part in spread(_chunk, chunks, jobs):
        tally.join(part)
        progress(tally.worlds, len(seeds))
    return tally


def spread(function: Callable[[T], R], tasks: Sequence[T], jobs: int) -> Iterator[R]:
    """Yield `function(task)` for every task, in order, from `jobs` processes (1: from this one)."""
    if jobs <= 1:
        yield from map(function, tasks)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, context, initializer=_begin) as pool:
        try:
            yield from _ordered(pool, function, tasks, ahead=8 * jobs)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _ordered(
    pool: ProcessPoolExecutor, function: Callable[[T], R], tasks: Sequence[T], ahead: int
) -> Iterator[R]:
    waiting = {number: pool.submit(function, task) for number, task in enumerate(tasks[:ahead])}
    for number in range(len(tasks)):
        future = waiting.pop(number)
        wait([future], return_when=FIRST_COMPLETED)
        following = number + ahead
        if following < len(tasks):
            waiting[following] = pool.submit(function, tasks[following])
        yield future.result()


def _begin() -> None:
    # Ctrl-C goes to every process of the terminal; the parent alone decides what to do about it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    gc.disable()


def _chunk(task: tuple[bool, str, int, range]) -> Tally:
    broadcast, aim, nodes, seeds = task
    tally = Tally()
    for seed in seeds:
        tally.add(run_broadcast_seed(seed, nodes) if broadcast else run_world(aim, seed, nodes))
    gc.collect(1)
    return tally
