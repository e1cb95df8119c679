"""Workers for benchmarks: started, counted and killed as real processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from meridian.node.workers.config import SchedulerConfig, WorkerConfig
from meridian.scale.certificates import make_certificates
from meridian.scale.pool import InlinePool, Pool, ProcessPool, open_pool
from meridian.scale.settings import EngineKind, EngineSettings

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass
class Started:
    """A pool and the processes behind it."""

    pool: Pool
    pids: tuple[int, ...] = ()
    """The workers."""
    others: tuple[int, ...] = ()
    """A scheduler."""
    cpu_s: float = 0.0
    """Processor time of all of them, once they have ended."""
    killed: list[int] = field(default_factory=list)

    def kill(self, pid: int) -> None:
        """Kill a worker, and remember what it had used."""
        self.cpu_s += _cpu_s(pid)
        self.killed.append(pid)
        os.kill(pid, signal.SIGKILL)

    def count(self) -> None:
        """Add the processor time of those that live."""
        living = [pid for pid in (*self.pids, *self.others) if pid not in self.killed]
        self.cpu_s += sum(map(_cpu_s, living))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def inline(_directory: Path, _workers: int) -> Iterator[Started]:
    """No workers: this process."""
    yield Started(InlinePool())


@contextmanager
def processes(_directory: Path, workers: int) -> Iterator[Started]:
    """Worker processes of this machine."""
    before = os.times()
    with ProcessPool(workers) as pool:
        pool.map(abs, range(2 * workers))
        started = Started(pool, pool.pids)
        yield started
    after = os.times()
    started.cpu_s = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )


@contextmanager
def dask(directory: Path, workers: int) -> Iterator[Started]:
    """A scheduler and workers, with certificates of their own."""
    certificates = directory / "certificates"
    certificates.mkdir(parents=True)
    for name, data in make_certificates(datetime.now(UTC), 1).items():
        (certificates / name).write_bytes(data)
    running: list[subprocess.Popen[str]] = []

    def start(name: str, command: str, config: SchedulerConfig | WorkerConfig) -> str:
        config.save(directory / f"{name}.toml")
        arguments = ["-m", "meridian.cli.main", command, "--config", directory / f"{name}.toml"]
        with (directory / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        running.append(process)
        assert process.stdout is not None
        return str(json.loads(process.stdout.readline())["address"])

    try:
        scheduler = SchedulerConfig(certificates_dir=certificates, listen_port=0)
        address = start("scheduler", "scheduler", scheduler)
        for at in range(workers):
            work = directory / f"work-{at}"
            start(
                f"worker-{at}",
                "worker",
                WorkerConfig(scheduler=address, certificates_dir=certificates, work_dir=work),
            )
        settings = EngineSettings(
            kind=EngineKind.DASK, scheduler=address, certificates_dir=certificates
        )
        with open_pool(settings) as pool:
            first, *rest = (process.pid for process in running)
            started = Started(pool, tuple(rest), (first,))
            yield started
            started.count()
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(30)
            if process.stdout is not None:
                process.stdout.close()


@contextmanager
def spark(_directory: Path, workers: int) -> Iterator[Started]:
    """Spark on this machine: its Java process, and Python workers below it."""
    settings = EngineSettings(kind=EngineKind.SPARK, scheduler=f"local[{workers}]")
    with open_pool(settings) as pool:
        started = Started(pool)
        yield started
        started.cpu_s = sum(map(tree_cpu_s, children(os.getpid())))


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that live."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def tree_cpu_s(pid: int) -> float:
    """Return what a process, its ended children and its living descendants used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS + sum(map(tree_cpu_s, children(pid)))


POOLS: Final = {"inline": inline, "processes": processes, "dask": dask, "spark": spark}
"""Name of an engine -> starts it, in a directory, with so many workers."""
