"""A day of Saturn, 137 million jobs in 24 epochs: over HTTP into the service, sealed and committed, on this machine."""

import argparse
import http.client
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.measure_service import configure_service
from benchmarks.traffic import Traffic
from meridian.networks.generator import EPOCH_SECONDS, GENESIS_S
from meridian.node.keystore import load_or_create_secret
from meridian.node.measure.client import MeasureClient
from meridian.node.measure.config import MeasureConfig

Result = dict[str, Any]

JOBS: Final = 137_000_000
EPOCHS: Final = 24
NODES: Final = 3_000
BATCH: Final = 10_000
SENDERS: Final = 6
"""Batches under way at a time: fewer leave the service waiting for the next one."""
TYPES: Final = {
    "arrow": "application/vnd.apache.arrow.stream",
    "ndjson": "application/x-ndjson",
}
TARGETS_S: Final = {"arrow": 360, "ndjson": 720}
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--form", choices=sorted(TYPES), default="arrow")
    parser.add_argument("--memory-mib", type=int, default=2048, help="what a seal may use")
    parser.add_argument("--folder", type=Path, help="work here and keep everything")


def measure(jobs: int, epochs: int, form: str, memory_mib: int, folder: Path | None) -> Result:
    """Run the day, or a part of one.

    Args:
        jobs: In all epochs together.
        epochs: At most 24.
        form: ``arrow`` or ``ndjson``.
        memory_mib: What a seal may use.
        folder: Where to work, kept; None: a temporary folder.
    """
    with tempfile.TemporaryDirectory(prefix="day-") as temporary:
        root = folder or Path(temporary)
        traffic = Traffic(NODES)
        config = configure_service(root, traffic.ids, first_epoch=1, seal_memory_mib=memory_mib)
        service = Service(root, config)
        try:
            return _Day(traffic, service, jobs, epochs, form).run()
        finally:
            service.stop()
            if folder is None:
                shutil.rmtree(config.data_dir, ignore_errors=True)


class Service:
    """The service as a process, and what it costs, its children's cost included."""

    def __init__(self, root: Path, config: MeasureConfig) -> None:
        self._log = (root / "service.log").open("ab")
        command = [sys.executable, "-m", "meridian.node.measure.service", "--config"]
        self._process = subprocess.Popen(
            [*command, root / "config.toml"], stdout=subprocess.PIPE, stderr=self._log
        )
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline())
        threading.Thread(target=self._process.stdout.read, daemon=True).start()
        self.url = str(ready["url"])
        self.token = load_or_create_secret(config.gateway_token_file).hex()
        admin = load_or_create_secret(config.admin_token_file).hex()
        self.admin = MeasureClient(self.url, self.token, admin, patience_s=600)
        self.peak_mib: dict[str, int] = {}

    def cpu_s(self) -> float:
        """Return the processor time so far, of the process and of all that it started."""
        found = 0.0
        for pid in (self._process.pid, *self._children()):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except FileNotFoundError:
                continue  # it has ended: its parent's "children" hold it
            mine = fields[11:15] if pid == self._process.pid else fields[11:13]
            found += sum(map(int, mine)) / _TICKS
        return found

    def look(self) -> None:
        """Note the peak memory of each process."""
        for kind, pid in (
            ("service", self._process.pid),
            *(("child", one) for one in self._children()),
        ):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except FileNotFoundError:
                continue
            for line in status.splitlines():
                if line.startswith("VmHWM"):
                    mib = int(line.split()[1]) // 1024
                    self.peak_mib[kind] = max(mib, self.peak_mib.get(kind, 0))

    def _children(self) -> list[int]:
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        found = []
        for task in path.parent.parent.glob("*/children"):
            found += [int(pid) for pid in task.read_text().split()]
        return found

    def stop(self) -> None:
        self.admin.close()
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()


class _Day:
    """One run: one thread makes batches, some send them, one looks at the costs."""

    def __init__(
        self, traffic: Traffic, service: Service, jobs: int, epochs: int, form: str
    ) -> None:
        self._traffic, self._service, self._form = traffic, service, form
        self._jobs, self._epochs = jobs, epochs
        self._bodies: queue.Queue[tuple[int, bytes] | None] = queue.Queue(4 * SENDERS)
        self._failures: list[BaseException] = []
        self._making_s = 0.0
        self._accepted = 0
        self._lock = threading.Lock()

    def run(self) -> Result:
        service, rows = self._service, []
        started, feeder = time.monotonic(), time.process_time()
        base_s = service.cpu_s()
        for epoch, jobs in enumerate(self._shares(), 1):
            service.admin.set_clock((GENESIS_S + epoch * EPOCH_SECONDS) * 1_000_000)
            self._send_hour(epoch - 1, jobs)
            if self._failures:
                raise self._failures[0]
            service.admin.seal(epoch)
            service.look()
            rows.append(self._row(epoch, started, base_s, feeder))
            print(_line(rows[-1]), file=sys.stderr, flush=True)
        ingested_s = time.monotonic() - started
        committed = 0
        for epoch in range(1, self._epochs + 1):
            index = service.admin.wait_committed(epoch, 3600)
            committed += index["jobs"]
            service.look()
        rows.append(self._row(self._epochs, started, base_s, feeder))
        print(_line(rows[-1]), file=sys.stderr, flush=True)
        assert committed == self._accepted == self._jobs, (committed, self._accepted)
        wall_s = time.monotonic() - started
        return {
            "form": self._form,
            "jobs": committed,
            "epochs": self._epochs,
            "wall_s": wall_s,
            "ingested_s": ingested_s,
            "service_cpu_s": service.cpu_s() - base_s,
            "feeder_cpu_s": time.process_time() - feeder,
            "making_s": self._making_s,
            "peak_mib": service.peak_mib,
            "load": os.getloadavg()[0],
            "rows": rows,
        }

    def _shares(self) -> Iterator[int]:
        share, rest = divmod(self._jobs, self._epochs)
        for epoch in range(self._epochs):
            yield share + (epoch < rest)

    def _row(self, epoch: int, started: float, base_s: float, feeder: float) -> Result:
        settled = sum(
            one["jobs"]
            for one in self._service.admin.epochs()["epochs"]
            if one["state"] == "committed"
        )
        return {
            "epoch": epoch,
            "accepted": self._accepted,
            "committed": settled,
            "wall_s": time.monotonic() - started,
            "service_cpu_s": self._service.cpu_s() - base_s,
            "feeder_cpu_s": time.process_time() - feeder,
        }

    def _send_hour(self, hour: int, jobs: int) -> None:
        senders = [threading.Thread(target=self._send) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        of = -(-jobs // BATCH)
        for number in range(of):
            rows = min(BATCH, jobs - number * BATCH)
            begun = time.thread_time()
            columns = self._traffic.columns(hour, number, of, rows)
            make = self._traffic.arrow if self._form == "arrow" else self._traffic.ndjson
            body = make(columns)
            self._making_s += time.thread_time() - begun
            self._bodies.put((rows, body))
        for _ in senders:
            self._bodies.put(None)
        for sender in senders:
            sender.join()

    def _send(self) -> None:
        address = urlsplit(self._service.url).netloc
        with closing(http.client.HTTPConnection(address, timeout=600)) as connection:
            while (item := self._bodies.get()) is not None:
                if self._failures:
                    continue  # the others find an empty queue
                try:
                    self._send_one(connection, *item)
                except BaseException as error:  # noqa: BLE001 - reported by the main thread
                    self._failures.append(error)

    def _send_one(self, connection: http.client.HTTPConnection, rows: int, body: bytes) -> None:
        headers = {
            "Content-Type": TYPES[self._form],
            "Authorization": f"Bearer {self._service.token}",
        }
        while True:
            connection.request("POST", "/v1/jobs", body, headers)
            answer = connection.getresponse()
            data = answer.read()
            if answer.status != 429:
                break
            time.sleep(float(answer.headers["Retry-After"]) / 10)
        if answer.status != 200:
            raise AssertionError(f"{answer.status} {data[:500]!r}")
        accepted = json.loads(data)["accepted"]
        if accepted != rows:
            raise AssertionError(f"{accepted} of {rows} accepted: {data[:2000]!r}")
        with self._lock:
            self._accepted += accepted


def _line(row: Result) -> str:
    return (
        f"epoch {row['epoch']:>2}  accepted {row['accepted'] / 1e6:7.1f}M  committed "
        f"{row['committed'] / 1e6:7.1f}M  {row['wall_s']:6.1f} s  service {row['service_cpu_s']:6.1f} cpu s"
        f"  feeder {row['feeder_cpu_s']:6.1f} cpu s"
    )


def report(found: Result) -> None:
    """Print a run."""
    jobs, form = found["jobs"], found["form"]
    print(
        f"{jobs / 1e6:.1f}M jobs of {NODES} nodes in {found['epochs']} epochs, {form}, load {found['load']:.1f}"
    )
    print(
        f"committed after       {found['wall_s']:8.1f} s (accepted after {found['ingested_s']:.1f} s)"
    )
    cpu = found["service_cpu_s"]
    print(f"service               {cpu:8.1f} cpu s = {1e6 * cpu / jobs:.2f} us a job")
    print(
        f"feeder                {found['feeder_cpu_s']:8.1f} cpu s, {found['making_s']:.1f} of them making batches"
    )
    print(f"peak memory           {found['peak_mib']} MiB")
    if jobs == JOBS:
        target = TARGETS_S[form]
        print(
            f"target                {target} s: {'held' if found['wall_s'] < target else 'missed'}"
        )
