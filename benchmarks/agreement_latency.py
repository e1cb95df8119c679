"""How long a committee on one machine needs from the common start until all members have decided and attested."""

import multiprocessing
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from benchmarks.committee_host import Plan, serve
from meridian.ephemera.limits import Timing

PROCESSES = 2
TIMING = Timing(
    row_ms=0,
    reveal_ms=0,
    have_ms=0,
    grace_ms=0,
    view_ms=60_000,
    view_max_ms=60_000,
    resend_ms=20_000,
    fetch_ms=20_000,
)
"""Grace timers at zero; no other timer fires within a measured epoch."""

PORT_FIRST, PORTS = 20_000, 10_000
"""Below the range that outgoing connections take their ports from; every member has its own loopback address."""

Result = dict[str, Any]

SETTLE_S = 0.3
START_S = 0.1
PATIENCE_S = 300


@dataclass(frozen=True, slots=True)
class Case:
    """A committee and its target."""

    n: int
    body_bytes: int
    target_ms: int


CASES = (
    Case(4, 100 << 10, 30),
    Case(16, 100 << 10, 350),
    Case(31, 100 << 10, 1_300),
    Case(100, 1 << 10, 4_000),
)


class Committee:
    """All the host processes of one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._epoch = 0
        start = multiprocessing.get_context("spawn")
        self._pipes: list[Pipe] = []
        self._processes = []
        for first in range(PROCESSES):
            near, far = start.Pipe()
            hosted = list(range(first, plan.n, PROCESSES))
            process = start.Process(target=serve, args=(plan, hosted, far), daemon=True)
            process.start()
            self._pipes.append(near)
            self._processes.append(process)
        self._answers()

    def epoch(self, *, profile: bool = False) -> dict[str, Any]:
        """Run one epoch (or so many at the same time as the plan has instances)."""
        numbers = list(range(self._epoch + 1, self._epoch + 1 + self._plan.instances))
        self._epoch = numbers[-1]
        self._say("open", numbers)
        self._answers()
        time.sleep(SETTLE_S)
        before = os.getloadavg()[0]
        self._say("run", numbers, time.monotonic() + START_S, profile)
        parts = self._answers()
        time.sleep(SETTLE_S)
        self._say("close", numbers)
        self._answers()
        return _joined(parts, self._plan, before)

    def stop(self) -> None:
        """End the processes."""
        self._say("stop", [])
        for process in self._processes:
            process.join(30)

    def _say(self, *command: Any) -> None:
        for pipe in self._pipes:
            pipe.send(command)

    def _answers(self) -> list[Any]:
        out = []
        for pipe in self._pipes:
            if not pipe.poll(PATIENCE_S):
                raise TimeoutError(f"a host did not answer within {PATIENCE_S} s")
            out.append(pipe.recv())
        return out


def _joined(parts: list[dict[str, Any]], plan: Plan, load: float) -> dict[str, Any]:
    """One epoch's result of all processes; raises if the members do not agree."""
    for name in ("blocks", "reports"):
        values = {tuple(value) for part in parts for value in part[name]}
        if len(values) != plan.instances:
            raise AssertionError(f"{len(values)} different {name} for {plan.instances} epochs")
    counters: dict[str, int] = {}
    for part in parts:
        for name, value in part["counters"].items():
            counters[name] = counters.get(name, 0) + value
    return {
        "ms": 1e3 * max(max(part["attested_s"]) for part in parts),
        "decided_ms": 1e3 * max(max(part["decided_s"]) for part in parts),
        "cpu_ms": 1e3 * sum(part["cpu_s"] for part in parts),
        "load": load,
        "blocks": parts[0]["blocks"],
        "counters": counters,
        "samples": _added([part["samples"] for part in parts]),
    }


def measure(
    case: Case,
    epochs: int,
    *,
    distinct: bool = True,
    tls: bool = True,
    durable: bool = True,
    parallel: bool = False,
    profile: int = 0,
    timing: Timing = TIMING,
) -> Result:
    """Measure a committee: one epoch to warm up, then `epochs`, then `profile` more under the sampler."""
    with tempfile.TemporaryDirectory(prefix="agreement-latency-") as folder:
        plan = Plan(
            n=case.n,
            body_bytes=case.body_bytes,
            distinct=distinct,
            tls=tls,
            durable=durable,
            instances=case.n if parallel else 1,
            timing=timing,
            port=PORT_FIRST + os.getpid() % PORTS,
            folder=Path(folder),
        )
        committee = Committee(plan)
        try:
            warm_up = committee.epoch()
            runs = [committee.epoch() for _ in range(epochs)]
            profiled = [committee.epoch(profile=True) for _ in range(profile)]
        finally:
            committee.stop()
    times = [run["ms"] for run in runs]
    middle = sorted(runs, key=lambda run: run["ms"])[len(runs) // 2]
    return {
        "n": case.n,
        "body_bytes": case.body_bytes,
        "bodies": "different" if distinct else "equal",
        "transport": "TLS 1.3" if tls else "plain TCP",
        "synchronous": "FULL" if durable else "OFF",
        "instances": plan.instances,
        "epochs": epochs,
        "target_ms": case.target_ms,
        "warm_up_ms": warm_up["ms"],
        "min_ms": min(times),
        "median_ms": statistics.median(times),
        "max_ms": max(times),
        "decided_median_ms": statistics.median(run["decided_ms"] for run in runs),
        "cpu_ms": statistics.median(run["cpu_ms"] for run in runs),
        "load": statistics.median(run["load"] for run in runs),
        "counters": middle["counters"],
        "blocks": middle["blocks"],
        "profile": _added([run["samples"] for run in profiled]) if profiled else None,
    }


def _added(tables: list[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    total: dict[str, dict[str, int]] = {}
    for table in tables:
        for name, rows in table.items():
            sums = total.setdefault(name, {})
            for key, value in rows.items():
                sums[key] = sums.get(key, 0) + value
    return total
