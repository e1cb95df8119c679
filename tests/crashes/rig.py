"""A measure service that is killed again and again under load, and what must hold all the time.

Each round lets the senders work, ends the process in some way, may take from its log what a loss of power would take,
checks the stopped directory with fsck, and starts the service again. At the end all epochs are sealed and every
acknowledged job must stand in its epoch exactly once.
"""

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.crashes.broken_disk import SYNCS, WRITES, BrokenDisk
from tests.crashes.load import Book, Job, Sender
from tests.node.measure.measure_world import CALENDAR, SCHEMA, client_of, make_config

from meridian.errors import MeridianError
from meridian.journey.host import free_port
from meridian.measure.commitment import load_epoch, verify_epoch
from meridian.measure.manifest import Manifest
from meridian.node.measure.client import MeasureClient
from meridian.primitives.cid import parse_cid

PATIENCE_S: Final = 900.0
READY_S: Final = 60.0
EPOCHS_MAX: Final = 20
"""The records' clock has one day."""

ENDS: Final = ("kill", "power", "torn", "write", "sync")
"""How a round ends: SIGKILL; SIGKILL and all that was not synced is lost, or half of it; SIGKILL and half a frame more;
a write, or a sync, that fails once."""


@dataclass(slots=True)
class Findings:
    """What a run has seen."""

    rounds: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    cut_bytes: int = 0
    """Bytes of the log that losses of power took."""
    stopped_itself: int = 0
    """Rounds in which the service ended by itself after its disk failed."""
    jobs: int = 0
    batches: int = 0
    resent: int = 0
    epochs: int = 0


class Rig:
    """One run.

    Args:
        root: A new directory.
        seed: Replays the order of faults; threads and the kernel stay as they are.
        senders: How many.
        fsck: Whether the stopped directory is checked after each round.
        data: The service's own directory where it lies on a disk of its own.
    """

    def __init__(
        self,
        root: Path,
        seed: int,
        senders: int = 3,
        *,
        fsck: bool = True,
        data: Path | None = None,
    ) -> None:
        self._draw = random.Random(seed)
        port = free_port(0)
        where = {} if data is None else {"data_dir": data}
        self.config = make_config(root, listen_port=port, requests_max=8, **where)
        self._root, self._fsck = root, fsck
        self._url = f"http://127.0.0.1:{port}"
        (self.config.data_dir).mkdir(parents=True, exist_ok=True)
        self.disk = BrokenDisk(root, self.config.data_dir)
        self.findings = Findings()
        self._clients: list[MeasureClient] = []
        self.book = Book()
        self._epoch = CALENDAR.first_epoch
        self._process: subprocess.Popen[bytes] | None = None
        self.config.save(root / "config.toml")
        self.start()
        self._senders = [
            Sender(number, seed, self.client(), self.book, lambda: self._epoch)
            for number in range(senders)
        ]
        self._admin = self.client()
        self._admin.set_clock(CALENDAR.end_us(self._epoch))
        for sender in self._senders:
            sender.start()

    def client(self) -> MeasureClient:
        """Return a client that waits as long as a start takes."""
        client = client_of(self.config, self._url, patience_s=PATIENCE_S)
        self._clients.append(client)
        return client

    # -- the process ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the service, and wait until it says that it serves."""
        command = [sys.executable, "-m", "meridian.node.measure.service"]
        with (self._root / "service.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--config", self._root / "config.toml"],
                env=self.disk.environment,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            tail = (self._root / "service.log").read_text(errors="replace")[-1500:]
            raise AssertionError(f"the service does not start again: {tail}")
        self._reader = threading.Thread(target=self._process.stdout.read, daemon=True)
        self._reader.start()

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End the process, which may have ended by itself."""
        process = self._process
        assert process is not None
        if process.poll() is None:
            process.send_signal(how)
        else:
            self.findings.stopped_itself += 1
        process.wait(READY_S)
        self._reader.join(READY_S)
        assert process.stdout is not None
        process.stdout.close()

    # -- rounds -----------------------------------------------------------------------------------

    def round(self, how: str) -> None:
        """Work for a while, end in this way, check, start again."""
        draw = self._draw
        if how in {"write", "sync"}:
            error = draw.choice((errno.EIO, errno.ENOSPC))
            self.disk.fail(WRITES if how == "write" else SYNCS, draw.randrange(1, 60), error)
            self._until_it_fails()
        else:
            time.sleep(draw.uniform(0.01, 1.2))
        self.end()
        self.disk.mend()
        if how == "power":
            self._lose_power()
        elif how == "torn":
            self._tear()
        self.findings.rounds[how] = self.findings.rounds.get(how, 0) + 1
        self.check_directory(how)
        self.start()
        self._check_senders()

    def _until_it_fails(self) -> None:
        """Wait until the disk has failed and the service has noticed."""
        if not self.wait_stopped(15):
            self.findings.faults.append(
                f"the disk failed {self.disk.failures} times, and the service goes on"
            )

    def wait_stopped(self, patience_s: float) -> bool:
        """Wait until the service has ended by itself; False if it does not."""
        assert self._process is not None
        end = time.monotonic() + patience_s
        while time.monotonic() < end and self._process.poll() is None:
            time.sleep(0.02)
        return self._process.poll() is not None

    def _last_log(self) -> Path:
        return max((self.config.data_dir / "log").glob("jobs-*.log"))

    def _lose_power(self) -> None:
        """Take from the end of the log what was not synced: all of it, or up to some byte of it."""
        path = self._last_log()
        size, durable = path.stat().st_size, self.disk.durable_bytes(path)
        keep = self._draw.choice((durable, self._draw.randint(durable, size)))
        os.truncate(path, keep)
        self.findings.cut_bytes += size - keep

    def _tear(self) -> None:
        """Append the beginning of a frame, as a write that was cut off leaves it."""
        path = self._last_log()
        data = path.read_bytes()
        begins = [at for at in range(len(data)) if data.startswith(b"MJL2", at)]
        start = self._draw.choice(begins[-50:])
        whole = data.find(b"MJL2", start + 1)
        # Frames are padded to eight bytes: without its last eight none is whole.
        length = (len(data) if whole < 0 else whole) - start - 8
        with path.open("ab") as file:
            file.write(data[start : start + self._draw.randint(1, length)])

    def check_directory(self, how: str) -> None:
        """Run fsck over the stopped directory."""
        if not self._fsck:
            return
        checked = subprocess.run(
            [sys.executable, "-m", "meridian.cli.main", "fsck", self.config.data_dir, "--json"],
            check=False,
            capture_output=True,
            text=True,
        )
        if checked.returncode:
            self.findings.faults.append(
                f"fsck after {how}: {checked.returncode} {(checked.stdout + checked.stderr)[-1500:]}"
            )

    def _check_senders(self) -> None:
        for sender in self._senders:
            if sender.failure is not None:
                raise AssertionError(f"{sender.name}: {sender.failure!r}") from sender.failure

    def next_epoch(self) -> None:
        """Let the clock go on for an epoch, and seal the one that has ended."""
        if self._epoch - CALENDAR.first_epoch + 1 >= EPOCHS_MAX:
            return
        ended, self._epoch = self._epoch, self._epoch + 1
        self._admin.set_clock(CALENDAR.end_us(self._epoch))
        self._admin.seal(ended)

    # -- the end ----------------------------------------------------------------------------------

    def finish(self) -> Findings:
        """Let the senders end, seal everything, and compare what was acknowledged with what is published."""
        for sender in self._senders:
            sender.stopping.set()
        for sender in self._senders:
            sender.join(PATIENCE_S)
            assert not sender.is_alive(), f"{sender.name} does not end"
        self._check_senders()
        last = self._epoch + 1  # late jobs of the last epoch stand at most here
        self._admin.set_clock(CALENDAR.end_us(last))
        for epoch in range(CALENDAR.first_epoch, last + 1):
            self._admin.seal(epoch)
        found = self.findings
        self.book.compare(self._published(last))
        self.end(signal.SIGTERM)
        self.check_directory("the end")
        found.faults += self.book.faults
        found.batches, found.resent = self.book.batches, self.book.resent
        found.jobs = len(self.book.accepted)
        found.epochs = last - CALENDAR.first_epoch + 1
        return found

    def _published(self, last: int) -> Iterator[tuple[Job, int]]:
        for epoch in range(CALENDAR.first_epoch, last + 1):
            index = self._admin.wait_committed(epoch, PATIENCE_S)
            manifest = Manifest.decode(self._admin.artefact(parse_cid(index["manifest"])[1]))
            nodes, table = load_epoch(manifest, SCHEMA, self._admin.artefact)
            problems = verify_epoch(manifest, SCHEMA, nodes, table, CALENDAR)
            self.findings.faults += [f"epoch {epoch}: {problem}" for problem in problems]
            ids = zip(
                table.column("node_id").to_pylist(),
                table.column("job_id").to_pylist(),
                strict=True,
            )
            for job in ids:
                yield job, epoch

    def close(self) -> None:
        """Leave nothing running and nothing open."""
        for sender in self._senders:
            sender.stopping.set()
        if self._process is not None and self._process.poll() is None:
            self.end()
        for client in self._clients:
            client.close()


def run_full_disk(
    root: Path, disk: Path, larger: Callable[[], None], seed: int, *, fsck: bool = True
) -> Findings:
    """Fill a small disk until the service stops by itself, give it more room, and go on.

    Args:
        root: For everything but the service's own directory.
        disk: The small disk.
        larger: Gives it more room.
        seed: As for `run`.
        fsck: Whether the stopped directory is checked.
    """
    rig = Rig(root, seed, fsck=fsck, data=disk / "measure")
    try:
        assert rig.wait_stopped(READY_S), "the disk is full, and the service goes on"
        rig.end()
        rig.findings.rounds["full"] = 1
        rig.check_directory("a full disk")
        larger()
        rig.start()
        time.sleep(0.5)
        return rig.finish()
    finally:
        rig.close()


def run(root: Path, moments: int, seed: int, *, fsck: bool = True) -> Findings:
    """Run some rounds, an epoch every so often; raises `AssertionError` if the service or a sender gives up."""
    rig = Rig(root, seed, fsck=fsck)
    draw = random.Random(f"{seed}/ends")
    every = max(1, moments // (EPOCHS_MAX - 1))
    try:
        for number in range(moments):
            how = draw.choices(ENDS, (6, 4, 2, 1, 1))[0]
            rig.round(how)
            if number % every == every - 1:
                try:
                    rig.next_epoch()
                except MeridianError as error:
                    raise AssertionError(f"round {number}, {how}: {error}") from error
        return rig.finish()
    finally:
        rig.close()
