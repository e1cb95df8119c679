"""What it costs that a further server claims its jobs from a coordinator: processor time of both for each job, and of the seal.

Three fleets take the same batches: one service alone; a coordinator and a further server that takes all of them; the two
with batches in turn. Every server is the real service as a process of its own; then their epochs are sealed.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.decode import lines
from benchmarks.ingest import BATCH, CONNECTIONS, GENESIS_S, TYPES, Sender, bodies_of
from benchmarks.measure_service import configure_service
from meridian.journey.host import free_port
from meridian.node.keystore import load_or_create_secret
from meridian.node.measure.client import MeasureClient
from meridian.node.measure.servers_config import ServersConfig

FLEETS: Final = {"alone": (0,), "all to the further one": (1,), "in turn": (0, 1)}
"""Name -> the servers that take jobs."""
EPOCHS: Final = (0, 1)
"""The records lie in these."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--batches", type=int, default=40, help="of 10,000 records")
    parser.add_argument("--form", choices=("ndjson", "arrow"), default="arrow")


class _Server:
    """One service of a fleet."""

    def __init__(
        self, root: Path, number: int, port: int, nodes: list[str], *, alone: bool
    ) -> None:
        servers = ServersConfig(
            number=number,
            url=f"http://127.0.0.1:{port}",
            token_file=root / "keys/servers.key",
            control_file=root / "control.sqlite",
        )
        more = {} if alone else {"servers": servers}
        own = root / f"server-{number}"
        self.config = configure_service(
            root, nodes, first_epoch=0, data_dir=own, listen_port=port, **more
        )
        command = [sys.executable, "-m", "meridian.node.measure.service", "--config"]
        self.process = subprocess.Popen(
            [*command, str(root / "config.toml")], stdout=subprocess.PIPE
        )
        while json.loads(self.process.stdout.readline())["event"] != "ready":
            pass
        self.port = port
        tokens = (self.config.gateway_token_file, self.config.admin_token_file)
        shown = [load_or_create_secret(one).hex() for one in tokens]
        self.client = MeasureClient(f"http://127.0.0.1:{port}", *shown)
        self.client.set_clock((GENESIS_S + 7200) * 1_000_000)
        self.token = shown[0]

    def cpu_s(self) -> float:
        """Return its processor time."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def request(self, form: str, number: int, body: bytes) -> bytes:
        """Return the bytes of a request."""
        return (
            f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: {TYPES[form]}\r\nMeridian-Batch-Seed: {number:064x}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def stop(self) -> None:
        """End it."""
        self.client.close()
        self.process.terminate()
        self.process.wait(60)
        self.process.stdout.close()


async def _send(servers: list[_Server], form: str, bodies: list[tuple[int, bytes]]) -> int:
    """Send batches, each to the next server, over some connections to each; returns the accepted jobs."""
    loop, accepted = asyncio.get_running_loop(), 0

    async def over_one(server: _Server, own: list[tuple[int, bytes]]) -> None:
        nonlocal accepted
        _, sender = await loop.create_connection(Sender, "127.0.0.1", server.port)
        for number, body in own:
            answer = await sender.ask(server.request(form, number, body))
            accepted += json.loads(answer)["accepted"]
        sender.transport.close()

    width = CONNECTIONS[form]
    shares = [bodies[at :: len(servers)] for at in range(len(servers))]
    await asyncio.gather(
        *(
            over_one(server, share[at::width])
            for server, share in zip(servers, shares, strict=True)
            for at in range(width)
        )
    )
    return accepted


def _run(root: Path, name: str, form: str, bodies: list[bytes], nodes: list[str]) -> dict[str, Any]:
    alone = name == "alone"
    count = 1 if alone else 2
    servers = [_Server(root, number, free_port(0), nodes, alone=alone) for number in range(count)]
    try:
        taking = [servers[number] for number in FLEETS[name]]
        numbered = list(enumerate(bodies, 1))
        warm = len(bodies) // 6
        asyncio.run(_send(taking, form, numbered[:warm]))
        before, began = [one.cpu_s() for one in servers], time.perf_counter()
        accepted = asyncio.run(_send(taking, form, numbered[warm:]))
        took_s = time.perf_counter() - began
        ingest_s = [one.cpu_s() - at for one, at in zip(servers, before, strict=True)]
        before = [one.cpu_s() for one in servers]
        for epoch in EPOCHS:
            servers[0].client.seal(epoch)
        found = [servers[0].client.wait_committed(epoch, 600) for epoch in EPOCHS]
        seal_s = [one.cpu_s() - at for one, at in zip(servers, before, strict=True)]
        micros = 1e6 / accepted
        return {
            "fleet": name,
            "jobs": (jobs := sum(index["jobs"] for index in found)),
            "roots": [index["root"] for index in found],
            "jobs_per_s": accepted / took_s,
            "ingest_us_per_job": [used * micros for used in ingest_s],
            "seal_us_per_job": [used * 1e6 / jobs for used in seal_s],
        }
    finally:
        for one in servers:
            one.stop()


def measure(*, batches: int, form: str) -> dict[str, Any]:
    """Return what was measured; all fleets must come to the same root."""
    texts = [one if one.endswith(b"\n") else one + b"\n" for one in lines(batches * BATCH)]
    nodes = [f"12D3KooW{number:044x}" for number in range(3_000)]
    bodies = bodies_of(form, batches, texts)
    runs = []
    for name in FLEETS:
        with tempfile.TemporaryDirectory(prefix="servers-") as folder:
            runs.append(_run(Path(folder), name, form, bodies, nodes))
    assert len({tuple(run["roots"]) for run in runs}) == 1, "the fleets sealed different jobs"
    return {"form": form, "runs": runs}


def report(result: dict[str, Any]) -> None:
    """Print a table."""
    print(f"{result['form']}; microseconds of the processor for a job: coordinator, further server")
    for run in result["runs"]:
        ingest, seal = (
            ", ".join(f"{one:.2f}" for one in run[name])
            for name in ("ingest_us_per_job", "seal_us_per_job")
        )
        print(
            f"{run['fleet']:24} ingest {ingest:12} seal {seal:12} {run['jobs']:>9,} jobs,"
            f" {run['jobs_per_s']:,.0f} a second; root {run['roots'][-1][:12]}"
        )
