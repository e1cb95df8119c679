"""A measure service that is killed again and again while it seals, as a real process.

A log is filled once. One copy of it is sealed in peace and says what must come out; in other copies the service is
killed at random moments between the beginning of the sort and the commitment, and started again, until it is through.
"""

import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.node.measure.measure_world import CALENDAR, Process, lines, make_config, record

from meridian.node.measure.fsck import check
from meridian.node.measure.publication import Publication

EPOCH: Final = CALENDAR.first_epoch
BATCH: Final = 5_000
KILLS_IN_A_ROW: Final = 4
"""Then a seal may end, and the next copy begins."""
PATIENCE_S: Final = 120.0


@dataclass(slots=True)
class SealFindings:
    """What a run has seen."""

    jobs: int
    seal_s: float = 0.0
    """From the beginning of the sort to the index, in peace."""
    kills: int = 0
    inside: int = 0
    """Kills that came before the index was there."""
    seals: int = 0
    """Copies that were sealed in the end."""
    faults: list[str] = field(default_factory=list)


def run_seals(root: Path, jobs: int, kills: int, seed: int) -> SealFindings:
    """Kill the service so often while it seals an epoch of so many jobs."""
    draw, found = random.Random(seed), SealFindings(jobs)
    filled = root / "filled"
    _fill(filled, jobs)
    peace = _Copy(filled, root / "peace")
    found.seal_s, expected = peace.sealed()
    found.faults += peace.damage()
    latest_s = 0.8 * found.seal_s
    while found.kills < kills:
        copy = _Copy(filled, root / f"copy-{found.seals}")
        for _ in range(min(KILLS_IN_A_ROW, kills - found.kills)):
            found.kills += 1
            if not copy.killed(draw.uniform(0, latest_s)):
                latest_s /= 2  # the machine has more time now than it had in peace
                break
            found.inside += 1
            found.faults += copy.damage()
        _, index = copy.sealed()
        found.faults += [
            f"{name} is {index[name]}, not {expected[name]}"
            for name in ("root", "manifest", "jobs", "n_nodes")
            if index[name] != expected[name]
        ]
        found.faults += copy.damage()
        found.seals += 1
        shutil.rmtree(copy.root)
    return found


def _fill(root: Path, jobs: int) -> None:
    """Acknowledge the jobs and seal their epoch, and end before it is sorted."""
    process = Process(root, make_config(root))
    client = process.client()
    client.set_clock(CALENDAR.end_us(EPOCH))
    for start in range(0, jobs, BATCH):
        batch = lines(record(at) for at in range(start, min(jobs, start + BATCH)))
        assert client.submit(batch).accepted
    client.set_clock(CALENDAR.end_us(EPOCH + 1))
    client.seal(EPOCH)
    process.kill()
    client.close()
    for name in ("sealing", "sealed", "public"):
        shutil.rmtree(root / "measure" / name, ignore_errors=True)


class _Copy:
    """One copy of the filled directory."""

    def __init__(self, filled: Path, root: Path) -> None:
        shutil.copytree(filled, root)
        self.root, self._data = root, root / "measure"
        self._config = root / "service.toml"
        make_config(root).save(self._config)

    def killed(self, after_s: float) -> bool:
        """Start the service and kill it some time after it began to sort; False if the epoch was sealed by then."""
        with (self.root / "service.log").open("ab") as log:
            process = self._start(log)
            try:
                if self._wait_for_sort(process):
                    time.sleep(after_s)
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait(PATIENCE_S)
        return self._index() is None

    def sealed(self) -> tuple[float, dict[str, Any]]:
        """Let the service seal and commit the epoch; return how long the seal took, and the index."""
        with (self.root / "service.log").open("ab") as log:
            process = self._start(log)
            try:
                self._wait_for_sort(process)
                started, end = time.monotonic(), time.monotonic() + PATIENCE_S
                sealed_s = None
                while (index := self._index()) is None or index["state"] != "committed":
                    if index is not None and sealed_s is None:
                        sealed_s = time.monotonic() - started
                    self._require(process, end)
                    time.sleep(0.001)
                took_s = time.monotonic() - started
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(PATIENCE_S)
        return took_s if sealed_s is None else sealed_s, index

    def damage(self) -> list[str]:
        """Return what fsck finds."""
        return [f"{one.file}: {one.reason}" for one in check(self._data, lambda _: None)]

    def _start(self, log: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "meridian.node.measure.service", "--config"]
        self._before = self._sort_directory()
        return subprocess.Popen([*command, self._config], stdout=subprocess.DEVNULL, stderr=log)

    def _wait_for_sort(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until a sort begins; False if the epoch is sealed already."""
        end = time.monotonic() + PATIENCE_S
        while self._sort_directory() in (None, self._before):
            if self._index() is not None:
                return False
            self._require(process, end)
            time.sleep(0.001)
        return True

    def _require(self, process: subprocess.Popen[bytes], end: float) -> None:
        if process.poll() is not None or time.monotonic() > end:
            tail = (self.root / "service.log").read_text(errors="replace")[-1500:]
            raise AssertionError(f"the service does not seal: {tail}")

    def _sort_directory(self) -> tuple[int, int] | None:
        """Return what is another one for each sort."""
        try:
            found = (self._data / "sealing").stat()
        except OSError:
            return None
        return found.st_ino, found.st_ctime_ns

    def _index(self) -> dict[str, Any] | None:
        if not (self._data / "public/epochs").is_dir():
            return None
        return Publication(self._data / "public").read_index(EPOCH)
