"""A day of the pipeline as queues, minute by minute, seeded: what waits where, and which stage falls behind first.

It shares figures with the arithmetic (`capacity_model`), not formulas: batches come at random along the day's curve,
each queue serves what its machines can in a minute, and an epoch goes on only when the stage before is done with it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.capacity_figures import DAY_S, MONTH_DAYS, seal_us
from benchmarks.capacity_model import SHARD_JOBS, Load, rows_of

STEP_S: Final = 60
BATCH: Final = 10_000
DRAIN_DAYS: Final = 1
"""How long the queues may go on after the last job."""
MACHINES_MAX: Final = 100_000

SCALED: Final = (
    "receive",
    "ingest",
    "remember",
    "disk",
    "seal",
    "publish",
    "evaluate",
    "rows",
    "claims",
)
"""The queues, in the order of the pipeline; machines of each are bought one by one."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a queue was like over the day."""

    busiest: float
    """Part of its machines that its busiest hour, or epoch, takes."""
    waiting_s: float
    """The longest that its backlog would have taken to serve."""


@dataclass(frozen=True, slots=True)
class Day:
    """A simulated day."""

    queues: Mapping[str, Seen]
    jobs: int
    """That came."""
    done: int
    """That were evaluated by the end."""
    report_after_s: float
    """The longest from an epoch's end to its report; infinite where one has none."""

    @property
    def worst(self) -> str:
        """The queue whose machines are busiest."""
        return max(self.queues, key=lambda name: self.queues[name].busiest)


def curve(load: Load) -> np.ndarray:
    """Return the part of a day's jobs in each step: a cosine with its peak at 20 h; `peak` is the peak over the mean."""
    at = (np.arange(DAY_S // STEP_S) + 0.5) * STEP_S / 3600
    height = 1 + (load.of("peak") - 1) * np.cos(2 * math.pi * (at - 20) / 24)
    shares: np.ndarray = height / height.sum()
    return shares


class _Queue:
    """Work that waits, in the unit of its capacity."""

    def __init__(self, per_s: float) -> None:
        self.per_s, self.waiting, self.longest_s = per_s, 0.0, 0.0
        self.arrived: list[float] = []

    def step(self, arrived: float) -> float:
        """Take what arrived, serve a step's worth, and return what was served."""
        self.waiting += arrived
        served = min(self.waiting, self.per_s * STEP_S)
        self.waiting -= served
        self.longest_s = max(self.longest_s, self.waiting / self.per_s)
        self.arrived.append(arrived)
        return served

    def seen(self, window: int) -> Seen:
        """Return the busiest window of so many steps by what arrived in it."""
        sums = np.add.reduceat(self.arrived, range(0, len(self.arrived), window))
        return Seen(float(sums.max()) / (self.per_s * STEP_S * window), self.longest_s)


class _Stage:
    """A queue of whole epochs: each is some seconds of work for all machines together."""

    def __init__(self) -> None:
        self.free_at, self.longest_s, self.busiest = 0.0, 0.0, 0.0

    def take(self, ready_s: float, work_s: float, epoch_s: float) -> float:
        """Take an epoch that is ready; return when it is done."""
        begun = max(ready_s, self.free_at)
        self.longest_s = max(self.longest_s, begun - ready_s)
        self.busiest = max(self.busiest, work_s / epoch_s)
        self.free_at = begun + work_s
        return self.free_at

    @property
    def seen(self) -> Seen:
        """What it was like."""
        return Seen(self.busiest, self.longest_s)


def simulate(
    load: Load, rows: list[dict[str, Any]], machines: Mapping[str, int], seed: int = 1
) -> Day:
    """Run a day.

    Args:
        load: What is asked.
        rows: As of `capacity_model.rows_of`.
        machines: Two-core machines of each queue; of `evaluate` and `rows` for each evaluator.
        seed: Of the arrivals.
    """
    draws = np.random.default_rng(seed)
    batches = draws.poisson(curve(load) * load.jobs_per_day / BATCH)
    steps = len(batches) * (1 + DRAIN_DAYS)
    arrivals = np.concatenate([batches * BATCH, np.zeros(steps - len(batches))])
    receive = _Queue(machines["receive"] * load.of("network") / load.measured("wire"))
    cores = load.of("cores") * 1e6
    ingest = _Queue(machines["ingest"] * cores / load.measured("ingest"))
    written = sum(load.measured(name) for name in ("log", "tuple", "segment", "store"))
    disk = _Queue(machines["disk"] * load.of("disk") / written)
    claims = _Queue(machines["claims"] * load.of("chain gas") * load.of("chain share"))
    asked = load.nodes * load.of("claims") / MONTH_DAYS / DAY_S * STEP_S
    gas = draws.poisson(asked, steps) * load.measured("gas claim")
    logged = np.zeros(steps)
    for step in range(steps):
        logged[step] = disk.step(ingest.step(receive.step(arrivals[step])))
        claims.step(gas[step])
    epochs = _epochs(load, arrivals, np.cumsum(logged))
    stages, done, after_s = _epochs_through(load, rows, machines, epochs, steps * STEP_S)
    window = max(1, round(load.epoch_s / STEP_S))
    remembered = _remembered(load, machines, [jobs for jobs, _ in epochs])
    queues = {
        "receive": receive.seen(window),
        "ingest": ingest.seen(window),
        "remember": remembered,
        "disk": disk.seen(window),
        **{name: stage.seen for name, stage in stages.items()},
        "claims": claims.seen(DAY_S // STEP_S),
    }
    return Day(queues, int(arrivals.sum()), done, after_s)


def _epochs(load: Load, arrivals: np.ndarray, logged: np.ndarray) -> list[tuple[float, float]]:
    """Return for each epoch its jobs, and when the last of them is in the log (infinite: never)."""
    window = round(load.epoch_s / STEP_S)
    ends, came = [], np.cumsum(arrivals)
    for epoch in range(load.epochs_per_day):
        last = (epoch + 1) * window - 1
        jobs = came[last] - (came[epoch * window - 1] if epoch else 0.0)
        at = int(np.searchsorted(logged, came[last] - 0.5))
        ready = (max(at, last) + 1) * STEP_S if at < len(logged) else math.inf
        ends.append((float(jobs), float(ready)))
    return ends


def _epochs_through(
    load: Load,
    rows: list[dict[str, Any]],
    machines: Mapping[str, int],
    epochs: list[tuple[float, float]],
    end_s: float,
) -> tuple[dict[str, _Stage], int, float]:
    """Take the epochs through seal, publication, evaluation and agreement; each evaluator does the same."""
    stages = {name: _Stage() for name in ("seal", "publish", "evaluate", "rows")}
    decide_s, memory = rows_of(rows, load)
    room = machines["rows"] * load.of("memory")
    done, longest_s = 0, 0.0
    for number, (jobs, ready_s) in enumerate(epochs, 1):
        work = {
            "seal": jobs * seal_us(min(jobs, SHARD_JOBS)) * 1e-6 / load.of("cores"),
            "publish": jobs * load.measured("segment") * load.evaluators / load.of("network"),
            "evaluate": jobs * load.measured("evaluate") * 1e-6 / load.of("cores"),
        }
        at = ready_s
        for name, seconds in work.items():
            at = stages[name].take(at, seconds / machines[name], load.epoch_s)
        at = stages["rows"].take(at, decide_s, load.epoch_s)
        # An evaluator without room for the rows of all members decides nothing.
        stages["rows"].busiest = max(stages["rows"].busiest, memory / room)
        at = math.inf if memory > room else at
        longest_s = max(longest_s, at - number * load.epoch_s)
        done += round(jobs) if at <= end_s else 0
    return stages, done, longest_s


def _remembered(load: Load, machines: Mapping[str, int], jobs: list[float]) -> Seen:
    """Return how full the memory of job keys gets: those of the open epoch and the ones before it."""
    held = round(load.of("remembered epochs"))
    most = max(sum(jobs[max(0, at - held + 1) : at + 1]) for at in range(len(jobs)))
    room = machines["remember"] * load.of("memory")
    return Seen(most * load.measured("remembered") / room, 0.0)


def buy(load: Load, rows: list[dict[str, Any]], seed: int = 1) -> tuple[list[str], dict[str, int]]:
    """Begin with one machine of each, add one where the day is busiest, until all have headroom.

    Returns:
        What was found busiest, in the order in which it was found, each once; and the machines.
    """
    machines, found = dict.fromkeys(SCALED, 1), list[str]()
    while True:
        day = simulate(load, rows, machines, seed)
        busiest = day.queues[day.worst].busiest
        if busiest <= load.of("headroom"):
            return found, machines
        if day.worst not in found:
            found.append(day.worst)
        wanted = math.ceil(machines[day.worst] * busiest / load.of("headroom") - 1e-9)
        machines[day.worst] = max(machines[day.worst] + 1, wanted)
        assert machines[day.worst] < MACHINES_MAX, day.worst
