"""The capacity of every stage by arithmetic: load, what one two-core machine takes, where it ends, what is bought, what it costs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.capacity_figures import ASSUMED, DAY_S, GIB, MEASURED, MONTH_DAYS, Figure, seal_us

SATURN: Final = 137_000_000
"""Jobs of Saturn's day."""
SHARD_JOBS: Final = 2_000_000
"""Of a shard of `meridian.scale`."""
START_S: Final = 1.0
"""Processor seconds of a service before its first job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a network asks of its machines."""

    jobs_per_day: float = 100 * SATURN
    nodes: int = 1_000_000
    evaluators: int = 31
    epochs_per_day: int = 24
    form: str = "arrow"
    aggregators: int = 1
    assumed: Mapping[str, float] = field(default_factory=dict)
    """In place of `ASSUMED`."""

    def of(self, name: str) -> float:
        """Return an assumption."""
        return self.assumed.get(name, ASSUMED[name].value)

    @property
    def mean(self) -> float:
        """Jobs a second."""
        return self.jobs_per_day / DAY_S

    @property
    def epoch_s(self) -> float:
        """Seconds of an epoch."""
        return DAY_S / self.epochs_per_day

    def measured(self, name: str) -> float:
        """Return a measured figure; of ingest and wire that of the form."""
        full = f"{name} {self.form}" if name in ("ingest", "wire") else name
        return MEASURED[full].value


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage on one resource."""

    name: str
    resource: str
    unit: str
    """Of load and capacity."""
    load: float
    """At the peak, of all machines that do this together."""
    capacity: float
    """Of one two-core machine, all of it."""
    headroom: float
    """What part of it is planned with."""
    grows_with: str
    """``jobs``, ``nodes`` or ``nothing``: what the load is proportional to."""
    bought: str
    """What one buys to go on."""
    usd_per_day: float
    copies: int = 1
    """How many do the same work: every evaluator for itself."""

    @property
    def used(self) -> float:
        """Part of one machine at the peak."""
        return self.load / self.capacity

    @property
    def machines(self) -> int:
        """Two-core machines, for each copy."""
        return max(1, math.ceil(self.used / self.headroom - 1e-9))

    @property
    def saturates_at(self) -> float:
        """How many times the load one machine would take."""
        return self.headroom / self.used if self.used else math.inf


def rows_of(measured: list[dict[str, Any]], load: Load) -> tuple[float, float]:
    """Return processor seconds and bytes of memory of one evaluator for one epoch's rows and claims.

    Both are lines through the measured runs: by nodes, and for each node by evaluators.
    """
    by = {(run["nodes"], run["evaluators"]): run for run in measured}
    few, many, large = by[100_000, 4], by[100_000, 31], by[1_000_000, 4]

    def line(values: dict[tuple[int, int], float]) -> float:
        node = (values[1_000_000, 4] - values[100_000, 4]) / 900_000
        row = (values[100_000, 31] - values[100_000, 4]) / 27 / 100_000
        fixed = max(0.0, values[100_000, 4] - 100_000 * node)
        return fixed + load.nodes * (node + row * (load.evaluators - 4))

    keys = {(100_000, 4): few, (100_000, 31): many, (1_000_000, 4): large}
    seconds = {
        key: sum(cpu_s for name, cpu_s in run["cpu_s"].items() if not name.endswith("proofs"))
        for key, run in keys.items()
    }
    memory = {key: float(run["peak_mib"] << 20) for key, run in keys.items()}
    return line(seconds), line(memory)


def stages(load: Load, rows: list[dict[str, Any]]) -> list[Stage]:
    """Return all stages, in the order of the pipeline.

    Args:
        load: What is asked.
        rows: What `python -m benchmarks rows` measured (docs/capacity.json).
    """
    return [*_measure(load), *_publish(load), *_evaluate(load, rows), *_chain(load)]


def _stage(asked: Load, name: str, resource: str, unit: str, /, **values: Any) -> Stage:
    return Stage(name=name, resource=resource, unit=unit, headroom=asked.of("headroom"), **values)


def _core_day(load: Load, cores: float) -> float:
    """Return the price of so many busy cores, provided for the peak with headroom, for a day."""
    return cores / load.of("headroom") * load.of("core hour") * 24


def _measure(load: Load) -> list[Stage]:
    peak = load.mean * load.of("peak")
    busiest = peak * load.epoch_s
    """Jobs of the busiest epoch."""
    seal = seal_us(min(busiest, SHARD_JOBS)) * 1e-6
    remembered = busiest * load.of("remembered epochs") * load.measured("remembered")
    written = sum(load.measured(name) for name in ("log", "tuple", "segment", "store"))
    kept = load.mean * load.epoch_s * load.of("remembered epochs") * written
    ingest = load.measured("ingest") * 1e-6
    return [
        _stage(load, "receive", "network in", "MB/s", load=peak * load.measured("wire") / 1e6,
               capacity=load.of("network") / 1e6, grows_with="jobs",
               bought="measure servers", usd_per_day=0.0),
        _stage(load, "ingest", "processor", "cores", load=peak * ingest, capacity=load.of("cores"),
               grows_with="jobs", bought="measure servers",
               usd_per_day=_core_day(load, peak * ingest)),
        _stage(load, "remember", "memory", "GiB", load=remembered / GIB,
               capacity=load.of("memory") / GIB, grows_with="jobs", bought="memory",
               usd_per_day=remembered / GIB / load.of("headroom") * load.of("GiB hour") * 24),
        _stage(load, "log, spill, segments", "disk", "MB/s", load=peak * written / 1e6,
               capacity=load.of("disk") / 1e6, grows_with="jobs", bought="disks",
               usd_per_day=kept / 1e9 * load.of("disk month") / MONTH_DAYS),
        _stage(load, "seal and commit", "processor", "cores", load=peak * seal,
               capacity=load.of("cores"), grows_with="jobs",
               bought=f"workers (shards of {SHARD_JOBS // 1_000_000}M)",
               usd_per_day=_core_day(load, peak * seal)),
    ]  # fmt: skip


def _publish(load: Load) -> list[Stage]:
    segment = load.measured("segment")
    out = load.mean * load.of("peak") * segment * load.evaluators
    kept = load.jobs_per_day * load.of("keep") * (segment + load.measured("store"))
    sent = load.jobs_per_day * segment * load.evaluators
    return [
        _stage(load, "publish", "network out", "MB/s", load=out / 1e6,
               capacity=load.of("network") / 1e6, grows_with="jobs",
               bought="object storage, mirrors", usd_per_day=sent / 1e9 * load.of("egress")),
        _stage(load, "keep", "storage", "TB", load=kept / 1e12, capacity=math.inf,
               grows_with="jobs", bought="object storage",
               usd_per_day=kept / 1e9 * load.of("object month") / MONTH_DAYS),
    ]  # fmt: skip


def _evaluate(load: Load, rows: list[dict[str, Any]]) -> list[Stage]:
    busy = load.mean * load.of("peak") * load.measured("evaluate") * 1e-6
    seconds, memory = rows_of(rows, load)
    n = load.evaluators
    spread = load.nodes * load.measured("row") * (n - 1)
    return [
        _stage(load, "evaluate", "processor", "cores", load=busy, capacity=load.of("cores"),
               grows_with="jobs", bought="workers of an evaluator", copies=n,
               usd_per_day=n * _core_day(load, busy)),
        _stage(load, "rows and claims", "processor", "cores", load=seconds / load.epoch_s,
               capacity=1.0, grows_with="nodes", bought="nothing: one thread does it", copies=n,
               usd_per_day=n * _core_day(load, seconds / load.epoch_s)),
        _stage(load, "rows and claims", "memory", "GiB", load=memory / GIB,
               capacity=load.of("memory") / GIB, grows_with="nodes", bought="memory", copies=n,
               usd_per_day=n * memory / GIB / load.of("headroom") * load.of("GiB hour") * 24),
        _stage(load, "rows, all different", "network in", "MB/s",
               load=spread / load.epoch_s / 1e6, capacity=load.of("network") / 1e6,
               grows_with="nodes", bought="nothing: equal rows travel once", copies=n,
               usd_per_day=0.0),
    ]  # fmt: skip


def _chain(load: Load) -> list[Stage]:
    gas = load.measured("gas commit") * load.aggregators
    gas += sum(load.measured(f"gas {name}") for name in ("open", "report", "settle"))
    share = load.of("chain gas") * load.of("chain share")
    price = load.of("gas price") * load.of("coin")
    claims = load.nodes * load.of("claims") / MONTH_DAYS * load.measured("gas claim")
    return [
        _stage(load, "commit and report", "chain", "gas/s", load=gas / load.epoch_s,
               capacity=share, grows_with="nothing", bought="nothing",
               usd_per_day=gas * load.epochs_per_day * price),
        _stage(load, "claims", "chain", "gas/s", load=claims / DAY_S, capacity=share,
               grows_with="nodes", bought="rarer claims, a cheaper chain",
               usd_per_day=claims * price),
    ]  # fmt: skip


def bottleneck(found: list[Stage]) -> Stage:
    """Return the stage that one machine takes least of."""
    return min(found, key=lambda stage: stage.saturates_at)


def service_cpu_s(jobs: float, epochs: int, form: str) -> float:
    """Return the processor seconds that a service needs to take, seal and commit so many jobs, each epoch in one piece."""
    ingest = MEASURED[f"ingest {form}"].value
    return START_S + jobs * (ingest + seal_us(jobs / epochs)) * 1e-6


def figures(load: Load) -> dict[str, Figure]:
    """Return every assumption as it is used."""
    return {
        name: Figure(load.of(name), known.unit, known.source) for name, known in ASSUMED.items()
    }
