"""Several measure servers of one network as real processes, a load balancer before them, and what must hold of their epochs."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.node.measure.measure_world import CALENDAR, SCHEMA, Process, client_of, make_config
from tests.servers.balancer import Balancer

from meridian.journey.host import free_port
from meridian.measure.commitment import load_epoch, verify_epoch
from meridian.measure.manifest import Manifest
from meridian.measure.promised import read_promised, rows_of
from meridian.measure.row import rebuild_rows
from meridian.node.measure.client import NDJSON, Answer, MeasureClient
from meridian.node.measure.sent_records import rebuilt_jobs
from meridian.node.measure.servers_config import ServersConfig
from meridian.primitives.cid import parse_cid

Job = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answered batch, as `rebuilt_jobs` wants it."""

    content_type: str
    seed: bytes
    accepted: int
    rejected: Any
    receipt: Any


class BalancedClient:
    """Opens a connection for each batch, so that each goes to the next server, and keeps what was promised."""

    def __init__(self, client: MeasureClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self.promised: dict[bytes, tuple[bytes, Answer]] = {}
        """Receipts by their batch: body and answer."""

    def submit(self, body: bytes, seed: bytes | None = None) -> Answer:
        self._client.close()
        answer = self._client.submit(body, seed)
        if answer.receipt is not None:
            with self._lock:
                self.promised[answer.batch] = (body, answer)
        return answer

    def close(self) -> None:
        self._client.close()


class Fleet:
    """Servers 0..count-1, of which 0 coordinates; a context that ends them.

    Args:
        root: A new directory.
        count: How many.
        control: Where the control state is: keys of `ServersConfig`; a SQLite file if left out.
        more: More keys of the configurations.
    """

    def __init__(
        self, root: Path, count: int = 2, control: dict[str, Any] | None = None, **more: Any
    ) -> None:
        self.ports = [free_port(0) for _ in range(count)]
        self.roots = [root / f"server-{number}" for number in range(count)]
        self.configs = []
        for number, own in enumerate(self.roots):
            servers = ServersConfig(
                number=number,
                url=f"http://127.0.0.1:{self.ports[number]}",
                token_file=root / "keys/servers.key",
                **(control or {"control_file": root / "control.sqlite"}),
            )
            values = {"listen_port": self.ports[number], "data_dir": own / "measure"} | more
            config = make_config(root, servers=servers, **values)
            own.mkdir()
            self.configs.append(config)
        self.processes: list[Process | None] = [None] * count
        self.clients: list[MeasureClient] = []

    def __enter__(self) -> Self:
        for number in range(len(self.ports)):
            self.start(number)
        self.balancer = Balancer(self.ports).__enter__()
        return self

    def __exit__(self, *_error: object) -> None:
        for client in self.clients:
            client.close()
        self.balancer.__exit__()
        for number in range(len(self.ports)):
            self.kill(number)

    def start(self, number: int) -> None:
        self.processes[number] = Process(self.roots[number], self.configs[number])

    def kill(self, number: int) -> None:
        process, self.processes[number] = self.processes[number], None
        if process is not None:
            process.kill()

    def stop(self, number: int) -> int:
        process, self.processes[number] = self.processes[number], None
        assert process is not None
        return process.stop()

    def client(self, number: int | None = None, patience_s: float = 60.0) -> MeasureClient:
        """Return a client of one server; None: of the balancer."""
        url = self.balancer.url if number is None else f"http://127.0.0.1:{self.ports[number]}"
        client = client_of(self.configs[0], url, patience_s=patience_s)
        self.clients.append(client)
        return client

    def balanced(self, patience_s: float = 60.0) -> BalancedClient:
        return BalancedClient(self.client(None, patience_s))

    def set_clock(self, now_us: int) -> None:
        for number in range(len(self.ports)):
            self.client(number).set_clock(now_us)

    # -- what must hold ---------------------------------------------------------------------------

    def published(self, epochs: range, faults: list[str]) -> Iterator[tuple[Job, int, bytes]]:
        """Wait for epochs to be committed, check each, and yield its jobs with their rows; all through the balancer."""
        client = self.client()
        for epoch in epochs:
            index = client.wait_committed(epoch, 60)
            manifest = Manifest.decode(client.artefact(parse_cid(index["manifest"])[1]))
            nodes, table = load_epoch(manifest, SCHEMA, client.artefact)
            problems = verify_epoch(manifest, SCHEMA, nodes, table, CALENDAR)
            faults += [f"epoch {epoch}: {problem}" for problem in problems]
            names = (table.column(name).to_pylist() for name in ("node_id", "job_id"))
            for job, row in zip(zip(*names, strict=True), rebuild_rows(SCHEMA, table), strict=True):
                yield job, epoch, row.tobytes()
        with contextlib.closing(client):
            ledger = (self.configs[0].data_dir / "commitments.jsonl").read_text().splitlines()
        committed = [json.loads(line)["epoch"] for line in ledger]
        if committed != list(range(CALENDAR.first_epoch, epochs.stop)):
            faults.append(f"the ledger has {committed}")


def broken_promises(clients: list[BalancedClient], rows: set[bytes]) -> list[str]:
    """Return which receipts promise a row that stands in no epoch."""
    faults = []
    sequences: dict[int, bytes] = {}
    for client in clients:
        for batch, (body, answer) in client.promised.items():
            assert answer.receipt is not None
            kept = _Kept(NDJSON, answer.seed, answer.accepted, answer.rejected, answer.receipt)
            _, promised = rebuilt_jobs(body, kept, SCHEMA, CALENDAR)  # type: ignore[arg-type]
            missing = [row for row in rows_of(read_promised(promised)) if row.tobytes() not in rows]
            if missing:
                faults.append(f"batch {batch.hex()}: {len(missing)} rows stand in no epoch")
            if sequences.setdefault(answer.receipt.receipt.sequence, batch) != batch:
                faults.append(f"receipt {answer.receipt.receipt.sequence} was given twice")
    return faults
