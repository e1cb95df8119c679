"""How long an acknowledgement takes while an epoch is sealed, and while none is: one real service, both on the same cores.

An epoch is filled, then batches of the next one are sent at a steady pace, whatever is answered (open loop), while the
first is sorted, published and committed, and for as long after it. Latencies count from when a batch was due. Bodies are
made before.
"""

import argparse
import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.day import TYPES, Service
from benchmarks.ingest import Sender
from benchmarks.measure_service import configure_service
from benchmarks.traffic import Traffic
from meridian.networks.generator import EPOCH_SECONDS, GENESIS_S

FILL: Final = 10_000
"""Records of a batch of the epoch that is sealed."""
CONNECTIONS: Final = 16
AVERAGE: Final = 1_586
"""Saturn's jobs a second, on the average of a day."""
WARM_S: Final = 2.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--jobs", type=int, default=5_700_000, help="of the epoch that is sealed")
    parser.add_argument("--nodes", type=int, default=3_000)
    parser.add_argument("--times", type=int, default=50, help="Saturn's average, sent meanwhile")
    parser.add_argument("--batch", type=int, default=1_000, help="records of a batch meanwhile")
    parser.add_argument("--form", choices=sorted(TYPES), default="arrow")
    parser.add_argument("--data", type=Path, help="where the service writes")


@dataclass(frozen=True, slots=True)
class _Sent:
    """One batch: when it was due, and how long its answer took from then."""

    due_s: float
    took_s: float


class _Pace:
    """Sends one request after the other when it is due, over some connections."""

    def __init__(self, host: str, port: int, request: Any) -> None:
        self._host, self._port, self._request = host, port, request
        self._free: asyncio.Queue[Sender] = asyncio.Queue()
        self.sent: list[_Sent] = []

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            _, sender = await loop.create_connection(Sender, self._host, self._port)
            self._free.put_nowait(sender)

    async def _one(self, request: bytes, due_s: float) -> None:
        sender = await self._free.get()
        answer = json.loads(await sender.ask(request))
        assert not answer["rejected"], answer["rejected"][:3]
        self.sent.append(_Sent(due_s, time.perf_counter() - due_s))
        self._free.put_nowait(sender)

    async def run(self, bodies: list[bytes], pause_s: float, until: "asyncio.Event") -> None:
        """Send until told to end; every batch is a new one."""
        tasks, began = [], time.perf_counter()
        for number, body in enumerate(bodies):
            due_s = began + number * pause_s
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            if until.is_set():
                break
            tasks.append(asyncio.create_task(self._one(self._request(number, body), due_s)))
        else:
            raise RuntimeError(
                "all batches are sent, and the seal goes on: send fewer times the average"
            )
        await asyncio.gather(*tasks)


def measure(
    jobs: int, nodes: int, times: int, batch: int, form: str, data: Path | None
) -> dict[str, Any]:
    """Fill, seal and send."""
    traffic = Traffic(nodes)
    make = traffic.arrow if form == "arrow" else traffic.ndjson
    rate = times * AVERAGE / batch
    of = int(rate * (20 + 2 * jobs / 300_000))
    bodies = [make(traffic.columns(1, number, of, batch)) for number in range(of)]
    gc.disable()  # a collection here would count as the service's delay
    with tempfile.TemporaryDirectory(dir=data) as name:
        root = Path(name)
        service = Service(root, configure_service(root, traffic.ids, first_epoch=1))
        try:
            _fill(service, traffic, jobs)
            return asyncio.run(_run(service, bodies, form, 1 / rate)) | {
                "jobs": jobs,
                "jobs_per_s": times * AVERAGE,
                "batch": batch,
                "form": form,
                "load": os.getloadavg()[0],
            }
        finally:
            service.stop()


def _fill(service: Service, traffic: Traffic, jobs: int) -> None:
    service.admin.set_clock((GENESIS_S + EPOCH_SECONDS) * 1_000_000)
    of = -(-jobs // FILL)
    for number in range(of):
        columns = traffic.columns(0, number, of, min(FILL, jobs - number * FILL))
        answer = service.admin.submit(traffic.arrow(columns), content_type=TYPES["arrow"])
        assert not answer.rejected, answer.rejected[:3]
    service.admin.set_clock((GENESIS_S + 2 * EPOCH_SECONDS) * 1_000_000)


async def _run(service: Service, bodies: list[bytes], form: str, pause_s: float) -> dict[str, Any]:
    address = service.url.removeprefix("http://")
    host, _, port = address.partition(":")

    def request(number: int, body: bytes) -> bytes:
        head = (
            f"POST /v1/jobs HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {service.token}\r\n"
            f"Content-Type: {TYPES[form]}\r\nMeridian-Batch-Seed: {number + 1:064x}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    pace, until = _Pace(host, int(port), request), asyncio.Event()
    await pace.connect()
    sending = asyncio.create_task(pace.run(bodies, pause_s, until))
    await asyncio.sleep(WARM_S)
    cpu_s, began = service.cpu_s(), time.perf_counter()
    await asyncio.to_thread(service.admin.seal, 1)
    await asyncio.to_thread(service.admin.wait_committed, 1, 600)
    ended, used_s = time.perf_counter(), service.cpu_s() - cpu_s
    await asyncio.sleep(1.0 + ended - began)
    until.set()
    await sending
    meanwhile = [one.took_s for one in pace.sent if began <= one.due_s < ended]
    after = [one.took_s for one in pace.sent if one.due_s >= ended + 1.0]
    worst = sorted(pace.sent, key=lambda one: -one.took_s)[:10]
    return {
        "seal_s": ended - began,
        "service_cpu_s": used_s,
        "sealing": _spread(meanwhile),
        "quiet": _spread(after),
        "worst": [(round(one.due_s - began, 2), round(1e3 * one.took_s)) for one in worst],
    }


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    at = {"p50_ms": 0.5, "p99_ms": 0.99, "p99.9_ms": 0.999}
    found = {name: 1e3 * ordered[int(len(ordered) * part)] for name, part in at.items()}
    return found | {"max_ms": 1e3 * ordered[-1], "batches": len(ordered)}


def report(result: dict[str, Any]) -> None:
    """Print both."""
    print(
        f"{result['jobs']:,} jobs sealed and committed in {result['seal_s']:.1f} s beside "
        f"{result['jobs_per_s']:,} jobs/s in {result['form']} batches of {result['batch']:,}; "
        f"{result['service_cpu_s']:.1f} s of processor time; load {result['load']:.1f}"
    )
    print(f"{'acknowledged, ms':<18}{'p50':>8}{'p99':>8}{'p99.9':>8}{'max':>8}{'batches':>9}")
    for name in ("sealing", "quiet"):
        cells = result[name]
        row = [cells[key] for key in ("p50_ms", "p99_ms", "p99.9_ms", "max_ms")]
        print(f"{name:<18}" + "".join(f"{cell:8.1f}" for cell in row) + f"{cells['batches']:>9}")
    print(f"worst (s since the seal began, ms): {result['worst']}", file=sys.stderr)
