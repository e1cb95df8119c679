"""The processes and disks of a chaos run, and the faults' hold on them."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import msgspec

from meridian.errors import StorageFailure
from meridian.journey.processes import Child, Event, module_command
from meridian.node.evaluator.safety import SAFETY_LOG, set_up
from meridian.node.observe_mark import OBSERVE_FILE

from .failpoint import VARIABLE
from .network import PREFIX, Network, owner_is_gone
from .roster import Committee, RunConfig

DISK_MIB: Final = 96
READY_S: Final = 60.0
STOP_S: Final = 15.0
"""More than a process gives itself, so that it says what hangs."""
ONE_ARENA: Final = "MALLOC_ARENA_MAX=1"
"""glibc gives each thread an arena of its own, and they crumble: memory creeps upward without a leak."""
FAKETIME: Final = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",)
PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass
class FaultRecord:
    """One fault as it happened; moments on the monotonic clock."""

    kind: str
    node: int
    begin_s: float
    end_s: float | None = None
    note: str = ""
    reached: bool = True


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory and descriptors of a process at a moment."""

    node: int
    pid: int
    at_s: float
    rss_kib: int
    descriptors: int


class RunEnds(Exception):
    """The run is over while a fault is being made."""


def faketime_library() -> str | None:
    """The library that shifts a process's wall clock, if it is installed."""
    found = [path for path in FAKETIME if Path(path).exists()]
    found += [str(p) for p in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")]
    return found[0] if found else None


def unmount_leftovers() -> None:
    """Unmount disks of programmes that were killed."""
    for line in Path("/proc/mounts").read_text().splitlines():
        source, target = line.split()[:2]
        if owner_is_gone(source):
            subprocess.run(["umount", "-l", target], check=False)


class World:
    """Nodes that run, die and come back."""

    def __init__(self, config: RunConfig, network: Network | None, *, mounts: bool) -> None:
        self.config = config
        self.network = network
        self.mounts = mounts
        self.committee = Committee(config)
        self.directory = Path(config.directory)
        self.config_file = self.directory / "run.json"
        self.ending = threading.Event()
        self.decided: dict[int, set[int]] = {i: set() for i in range(config.n)}
        self.attested: dict[int, set[int]] = {i: set() for i in range(config.n)}
        self.queues: dict[int, Event] = {}
        """What each node last said about its queues."""
        self.queues_most: dict[str, int] = {}
        self.faults: list[FaultRecord] = []
        self.samples: list[Sample] = []
        self.problems: list[str] = []
        self._children: dict[int, Child] = {}
        self._lock = threading.Lock()
        self._reserved: set[int] = set()
        self._mounted: list[Path] = []
        # Linux ends a child with the thread that made it, so one thread makes them all and lives as long as we do.
        self._maker = ThreadPoolExecutor(1)
        self._closed = False

    # --- begin and end ---------------------------------------------------------------------------

    def open(self) -> None:
        """Make the disks and the configuration."""
        self.config_file.write_bytes(msgspec.json.encode(self.config))
        for i in range(self.config.n):
            disk = self.config.home(i).parent
            disk.mkdir(parents=True)
            if self.mounts:
                command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m"]
                subprocess.run([*command, f"{PREFIX}{os.getpid()}", str(disk)], check=True)
                self._mounted.append(disk)
            set_up(self.config.home(i), self.committee.network, self.committee.members[i])

    def close(self) -> None:
        """End all processes and unmount the disks."""
        self.ending.set()
        with self._lock:
            self._closed = True
            children = list(self._children.values())
        for child in children:
            child.kill()
        self._maker.shutdown()
        for disk in self._mounted:
            subprocess.run(["umount", "-l", str(disk)], check=False)

    def stop_all(self) -> None:
        """End all processes cleanly; an exit code other than 0 is a problem."""
        for i in range(self.config.n):
            self.stop(i)

    # --- processes -------------------------------------------------------------------------------

    def _on_event(self, name: str, event: Event) -> None:
        number = int(name.split("-")[1])
        match event.get("event"):
            case "decided":
                self.decided[number].add(event["epoch"])
            case "attested":
                self.attested[number].add(event["epoch"])
            case "queues":
                self.queues[number] = event
                for what, value in event.items():
                    if what != "event":
                        self.queues_most[what] = max(value, self.queues_most.get(what, 0))

    def _command(self, i: int, variables: Iterable[str], module: str, *more: str) -> list[str]:
        inside = self.network.inside(i) if self.network else []
        command = module_command(f"tests.chaos.{module}", str(self.config_file), str(i), *more)
        return [*inside, "env", ONE_ARENA, *variables, *command]

    def start(self, i: int, variables: Iterable[str] = (), *, hostile: str | None = None) -> Event:
        """Start a node (or a hostile one in its place) and wait until it serves; return what it said.

        Raises:
            RemoteFault: If it ends instead.
        """
        if hostile is None:
            return self._make(i, self._command(i, variables, "member")).wait_ready(READY_S)
        return self._make(i, self._command(i, variables, "hostile", hostile)).wait_ready(READY_S)

    def start_with_failpoint(self, i: int, failpoint: str) -> None:
        """Start a node that is to die by itself; it may do so before it serves."""
        self._make(i, self._command(i, [f"{VARIABLE}={failpoint}"], "member"))

    def _make(self, i: int, command: Sequence[str]) -> Child:
        log = self.directory / f"log-{i}.txt"
        with self._lock:
            if self._closed:
                raise RunEnds
            child = self._maker.submit(Child, f"node-{i}", command, log, self._on_event).result()
            self._children[i] = child
        return child

    def start_all(self) -> None:
        """Start all nodes."""
        with ThreadPoolExecutor(self.config.n) as threads:
            tuple(threads.map(self.start, range(self.config.n)))

    def kill(self, i: int) -> None:
        """End a node as a crash does."""
        self._children[i].kill()

    def stop(self, i: int) -> None:
        """End a node cleanly; an exit code other than 0 is a problem."""
        child = self._children[i]
        child.stop(STOP_S)
        if child._process.returncode != 0:
            self.problem(i, f"ended with exit code {child._process.returncode} after SIGTERM")

    def pid(self, i: int) -> int:
        """The process id of a node."""
        return self._children[i].pid

    def signal(self, i: int, number: int) -> None:
        """Send a signal to a node."""
        self._children[i]._process.send_signal(number)

    def limit_file_size(self, i: int) -> None:
        """Let no file of a node's process take another byte."""
        resource.prlimit(self._children[i].pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def wait_exit(self, i: int, timeout_s: float) -> int | None:
        """Wait until a node ends by itself; its exit code, or None if it does not."""
        child = self._children[i]
        deadline = time.monotonic() + timeout_s
        while child.alive:
            if time.monotonic() > deadline:
                return None
            self.wait(0.05)
        return child._process.poll()

    def give_up(self, what: str) -> None:
        """Note a violation after which the run makes no sense, and end it."""
        self.problems.append(what)
        self.ending.set()

    def heal(self) -> None:
        """After the end of the faults: bring back every node that one of them still held."""
        for fault in self.faults:
            if fault.end_s is None:
                self.kill(fault.node)
                self.free_disk(fault.node)
                if fault.kind == "hostile":
                    self.lose_disk(fault.node, "mark")
                self.start(fault.node)
                fault.end_s = time.monotonic()
                fault.note += " (cut short by the end)"

    def problem(self, i: int, what: str) -> None:
        """Note a violation that the programme itself saw."""
        tail = (self.directory / f"log-{i}.txt").read_bytes()[-1500:].decode(errors="replace")
        self.problems.append(f"node {i} {what}; end of its log: {tail}")

    def look(self) -> None:
        """Take samples, and notice nodes that ended although nothing was done to them."""
        with self._lock:
            children = [(i, c) for i, c in self._children.items() if i not in self._reserved]
        for i, child in children:
            code = child._process.poll()
            if code is not None:
                if i not in self._reserved and self._children[i] is child:
                    self.problem(i, f"ended by itself with exit code {code}")
                    self.ending.set()
                continue
            sample = sample_of(i, child.pid)
            if sample is not None:
                self.samples.append(sample)

    # --- disks -----------------------------------------------------------------------------------

    def back_up(self, i: int) -> None:
        """Copy the data directory at one instant, as a snapshot does."""
        backup = self.directory / f"backup-{i}"
        shutil.rmtree(backup, ignore_errors=True)
        self.signal(i, signal.SIGSTOP)
        try:
            shutil.copytree(self.config.home(i), backup)
        finally:
            self.signal(i, signal.SIGCONT)

    def restore(self, i: int) -> None:
        """Put the backup in the place of the data directory."""
        shutil.rmtree(self.config.home(i))
        shutil.copytree(self.directory / f"backup-{i}", self.config.home(i))

    def lose_disk(self, i: int, what: str) -> None:
        """Lose ``everything``, or only the ``log``, or only the ``mark``."""
        home = self.config.home(i)
        pattern = {"everything": "*", "log": f"{SAFETY_LOG}*", "mark": OBSERVE_FILE}[what]
        for path in home.glob(pattern):
            path.unlink()

    def fill_disk(self, i: int) -> None:
        """Leave no byte on a node's disk."""
        with (self.config.home(i).parent / "filler").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                pass

    def free_disk(self, i: int) -> None:
        """Give the space back."""
        (self.config.home(i).parent / "filler").unlink(missing_ok=True)

    # --- faults ----------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Wait; raises `RunEnds` when the run is over."""
        if self.ending.wait(seconds):
            raise RunEnds

    def reserve(self, candidates: Sequence[int], chance: random.Random) -> int | None:
        """Take a node that no fault holds; None if there is none."""
        with self._lock:
            free = [i for i in candidates if i not in self._reserved]
            if not free:
                return None
            node = chance.choice(free)
            self._reserved.add(node)
            return node

    def release(self, node: int) -> None:
        """Let other faults have the node."""
        with self._lock:
            self._reserved.discard(node)

    def afflict(self, kind: str, node: int, fault: Callable[[FaultRecord], None]) -> None:
        """Carry out a fault on a reserved node and keep the record of it."""
        record = FaultRecord(kind, node, time.monotonic())
        self.faults.append(record)
        fault(record)
        record.end_s = time.monotonic()

    def wait_until_observed_are_done(self, i: int, through: int) -> None:
        """Wait until a node that only observes knows decision and report of every epoch in which it does."""
        first = max(0, through - self.config.keep_epochs + 1)
        deadline = time.monotonic() + 60
        while not self.attested[i].issuperset(range(first, through + 1)):
            if time.monotonic() > deadline:
                self.problem(i, f"does not learn all decisions and reports through epoch {through}")
                return
            self.wait(0.1)

    def save(self) -> None:
        """Write faults and samples beside the results."""
        with (self.directory / "faults.jsonl").open("w") as file:
            file.writelines(json.dumps(asdict(fault)) + "\n" for fault in self.faults)
        with (self.directory / "samples.jsonl").open("w") as file:
            file.writelines(json.dumps(asdict(sample)) + "\n" for sample in self.samples)


def sample_of(node: int, pid: int) -> Sample | None:
    """Read memory and descriptors of a process; None if it has gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return None
    return Sample(node, pid, time.monotonic(), pages * PAGE_KIB, descriptors)


FAIL_STOP: Final = StorageFailure.exit_code
