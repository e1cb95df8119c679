"""From an HTTP request to a durable, promised batch: jobs a second of a server on one core, what each promise costs, SQLite beside it.

The server is the real service, a process of its own on core 0; whoever sends is this process, on core 1. Bodies are
made before the clock starts. `half` sends at half of the rate just found, whatever is answered (open loop); latencies
count from when a batch was due.
"""

import argparse
import asyncio
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.decode import lines
from benchmarks.measure_service import configure_service
from meridian.measure.arrow_batch import encode_arrow
from meridian.measure.batch_decode import BodyKind, decode_batch
from meridian.networks.saturn import SCHEMA
from meridian.node.keystore import load_or_create_secret

GENESIS_S: Final = 1_682_899_200
BATCH: Final = 10_000
CONNECTIONS: Final = {"ndjson": 4, "arrow": 4, "single": 256}
TYPES: Final = {
    "ndjson": "application/x-ndjson",
    "arrow": "application/vnd.apache.arrow.stream",
    "single": "application/x-ndjson",
}
WITHOUT: Final = ("nothing", "fsync", "receipts", "dedup")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--batches", type=int, default=60, help="of 10,000 records, for each form")
    parser.add_argument("--singles", type=int, default=30_000, help="requests of one record")
    parser.add_argument("--forms", nargs="+", choices=sorted(TYPES), default=list(TYPES))
    parser.add_argument("--without", nargs="+", choices=WITHOUT, default=list(WITHOUT))
    parser.add_argument(
        "--data", type=Path, help="where the service writes (default: a temporary directory)"
    )


class Server:
    """One service, fresh."""

    def __init__(self, root: Path, without: str, nodes: list[str]) -> None:
        self.config = configure_service(root, nodes, first_epoch=0)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.ingest_server", str(root / "config.toml"), without],
            stdout=subprocess.PIPE,
        )
        ready = json.loads(self.process.stdout.readline())
        self.url = ready["url"]
        self.host, self.port = self.url.removeprefix("http://").split(":")
        token = load_or_create_secret(self.config.admin_token_file).hex()
        request = urllib.request.Request(
            f"{self.url}/v1/clock",
            json.dumps({"now_us": (GENESIS_S + 7200) * 1_000_000}).encode(),
            {"Authorization": f"Bearer {token}"},
        )
        urllib.request.urlopen(request).read()

    def requests(self, form: str, bodies: list[bytes]) -> list[bytes]:
        """Return the bytes of each request; every batch has a seed, as a sender gives it that keeps its rows."""
        token = load_or_create_secret(self.config.gateway_token_file).hex()
        return [
            (
                f"POST /v1/jobs HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {token}\r\n"
                f"Content-Type: {TYPES[form]}\r\nMeridian-Batch-Seed: {number:064x}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            ).encode()
            + body
            for number, body in enumerate(bodies, 1)
        ]

    def cpu_s(self) -> float:
        """Return the processor time of the service."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)
        self.process.stdout.close()


class Sender(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self.done: asyncio.Future[bytes] | None = None
        self.buffer = bytearray()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    async def ask(self, request: bytes) -> bytes:
        """Send a request; return the body of its answer."""
        self.buffer.clear()
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.done

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head_end = self.buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self.buffer[:head_end])
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(self.buffer) < head_end + 4 + length:
            return
        assert head.startswith(b"HTTP/1.1 200"), bytes(self.buffer[:500])
        self.done.set_result(bytes(self.buffer[head_end + 4 :]))


async def _connect(server: Server, count: int) -> list[Sender]:
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(Sender, server.host, int(server.port)) for _ in range(count)
    ]
    return [sender for _, sender in made]


async def _all_at_once(server: Server, requests: list[bytes], connections: int) -> list[bytes]:
    """Send as fast as answers come, over some connections."""
    waiting = iter(requests)
    answers: list[bytes] = []

    async def send(sender: Sender) -> None:
        for request in waiting:
            answer = await sender.ask(request)
            answers.append(answer)

    senders = await _connect(server, connections)
    await asyncio.gather(*map(send, senders))
    for sender in senders:
        sender.transport.close()
    return answers


async def _paced(
    server: Server, requests: list[bytes], connections: int, pause_s: float
) -> list[float]:
    """Send one every `pause_s`; return the seconds from when each was due to its answer."""
    free: asyncio.Queue[Sender] = asyncio.Queue()
    for sender in await _connect(server, connections):
        free.put_nowait(sender)
    latencies: list[float] = []

    async def one(request: bytes, due_s: float) -> None:
        sender = await free.get()
        await sender.ask(request)
        latencies.append(time.perf_counter() - due_s)
        free.put_nowait(sender)

    tasks = []
    began = time.perf_counter()
    for number, request in enumerate(requests):
        due_s = began + number * pause_s
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        tasks.append(asyncio.create_task(one(request, due_s)))
    await asyncio.gather(*tasks)
    return latencies


def bodies_of(form: str, count: int, texts: list[bytes]) -> list[bytes]:
    """Return the bodies of so many batches."""
    if form == "single":
        return texts[:count]
    bodies = [b"".join(texts[at : at + BATCH]) for at in range(0, count * BATCH, BATCH)]
    if form == "ndjson":
        return bodies
    return [
        encode_arrow(decode_batch(one, BodyKind.NDJSON, SCHEMA).table, SCHEMA) for one in bodies
    ]


def _run(
    root: Path, form: str, without: str, bodies: list[bytes], nodes: list[str]
) -> dict[str, Any]:
    """Send the first two thirds as fast as it goes, the others at half of that rate."""
    server = Server(root, without, nodes)
    try:
        requests = server.requests(form, bodies)
        warm, cut = len(requests) // 12, 2 * len(requests) // 3
        asyncio.run(_all_at_once(server, requests[:warm], CONNECTIONS[form]))
        cpu_s, began = server.cpu_s(), time.perf_counter()
        answers = asyncio.run(_all_at_once(server, requests[warm:cut], CONNECTIONS[form]))
        took_s = time.perf_counter() - began
        used_s = server.cpu_s() - cpu_s
        accepted = sum(msgspec.json.decode(answer)["accepted"] for answer in answers)
        size = 1 if form == "single" else BATCH
        assert accepted == (cut - warm) * size, (accepted, cut - warm)
        pause_s = 2 * took_s / (cut - warm)
        latencies = sorted(asyncio.run(_paced(server, requests[cut:], CONNECTIONS[form], pause_s)))
        return {
            "form": form,
            "without": without,
            "jobs_per_s": accepted / took_s,
            "jobs_per_cpu_s": accepted / used_s,
            "p50_ms": latencies[len(latencies) // 2] * 1e3,
            "p99_ms": latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)] * 1e3,
            "body_bytes": sum(map(len, bodies)) / len(bodies),
        }
    finally:
        server.stop()


def _sqlite(root: Path, texts: list[bytes]) -> float:
    """Return jobs a second of the obvious: a table with a key, one transaction for each batch, on the same core."""
    os.sched_setaffinity(0, {0})
    try:
        database = sqlite3.connect(root / "jobs.sqlite", isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute(
            "CREATE TABLE jobs (node TEXT, id TEXT, record TEXT, PRIMARY KEY (node, id)) WITHOUT ROWID"
        )
        began = time.perf_counter()
        for at in range(0, len(texts), BATCH):
            rows = []
            for text in texts[at : at + BATCH]:
                record = msgspec.json.decode(text)
                rows.append((record["peer_id"], record["job_id"], text))
            database.execute("BEGIN")
            database.executemany("INSERT OR IGNORE INTO jobs VALUES (?, ?, ?)", rows)
            database.execute("COMMIT")
        took_s = time.perf_counter() - began
        database.close()
        return len(texts) / took_s
    finally:
        os.sched_setaffinity(0, {1})


def measure(
    batches: int, singles: int, forms: list[str], without: list[str], data: Path | None
) -> dict[str, Any]:
    """Run every form with every promise, and without each."""
    os.sched_setaffinity(0, {1})
    texts = [
        one if one.endswith(b"\n") else one + b"\n" for one in lines(max(batches * BATCH, singles))
    ]
    nodes = [f"12D3KooW{number:044x}" for number in range(3_000)]
    found = []
    with tempfile.TemporaryDirectory(dir=data) as name:
        root = Path(name)
        for form in forms:
            count = singles if form == "single" else batches
            bodies = bodies_of(form, count, texts)
            for what in without:
                result = _run(root / f"{form}-{what}", form, what, bodies, nodes)
                print(
                    {k: v if isinstance(v, str) else round(v, 1) for k, v in result.items()},
                    file=sys.stderr,
                    flush=True,
                )
                found.append(result)
        sqlite = _sqlite(root, texts[: min(len(texts), 20 * BATCH)])
    return {
        "runs": found,
        "sqlite_jobs_per_s": sqlite,
        "load": os.getloadavg()[0],
        "sender_cpu_s": sum(resource.getrusage(resource.RUSAGE_SELF)[:2]),
    }


def report(result: dict[str, Any]) -> None:
    """Print a table."""
    print(f"load {result['load']:.1f}; SQLite {result['sqlite_jobs_per_s']:,.0f} jobs/s")
    print("| form | without | jobs/s | jobs per processor s | p50 ms | p99 ms | times SQLite |")
    print("|---|---|---|---|---|---|---|")
    for run in result["runs"]:
        print(
            f"| {run['form']} | {run['without']} | {run['jobs_per_s']:,.0f} | {run['jobs_per_cpu_s']:,.0f} "
            f"| {run['p50_ms']:.1f} | {run['p99_ms']:.1f} "
            f"| {run['jobs_per_s'] / result['sqlite_jobs_per_s']:.1f} |"
        )
