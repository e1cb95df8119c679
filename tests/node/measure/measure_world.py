"""A measure service for the tests: its files, its nodes, and records to feed it."""

import functools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from meridian.errors import RemoteFault
from meridian.measure.epoch import Calendar
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.node.keystore import load_or_create_secret
from meridian.node.measure.client import MeasureClient
from meridian.node.measure.config import MeasureConfig
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, address_text, node_key
from meridian.primitives.keys import PrivateKey
from meridian.primitives.sumtree import LaneKind

SCHEMA = NetworkSchema(
    id=7,
    name="test",
    evaluation_fields=(
        Field.integer("num_bytes_sent"),
        Field.decimal("request_duration_sec", 9),
        Field.integer("ttfb_ms", nullable=True),
    ),
    additional_fields=(Field.boolean("cache_hit"),),
    lanes=Lanes(LaneKind.PAIR_U64, ("num_bytes_sent", "request_duration_sec")),
)
CALENDAR = Calendar(genesis_s=1_682_899_200, epoch_seconds=3600, first_epoch=5)  # 2023-05-01 00:00
CONTRACT = Address(b"\xc0" * 20)
NODES = [f"12D3KooWNode{i:03d}" for i in range(40)]


def payee(node_id: str) -> Address:
    return Address(node_key(node_id)[:20])


@functools.cache
def operator_key(node_id: str) -> PrivateKey:
    return PrivateKey(sha256(b"operator", node_id.encode()))


def record(
    number: int, *, node: str | None = None, job_id: str | None = None, second: int = 60
) -> dict[str, Any]:
    """One job; `second` counts from the genesis of epoch 5."""
    hours, rest = divmod(second, 3600)
    clock = f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
    return {
        "job_id": job_id or f"job-{number:08d}",
        "peer_id": node or NODES[number % len(NODES)],
        "started_at": f"2023-05-01 {clock}.25+00",
        "ended_at": f"2023-05-01 {clock}.5+00",
        "evaluation_fields": [
            {"name": "num_bytes_sent", "type": "int", "value": number},
            {"name": "request_duration_sec", "type": "decimal", "value": 1.5},
            {"name": "ttfb_ms", "type": "integer", "value": None if number % 3 else 35},
        ],
        "additional_fields": [{"name": "cache_hit", "type": "boolean", "value": bool(number % 2)}],
    }


def lines(records: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in records).encode()


def write_nodes(path: Path, node_ids: Iterable[str]) -> None:
    entries = [
        {
            "node_id": one,
            "operator": address_text(operator_key(one).address),
            "payee": address_text(payee(one)),
        }
        for one in node_ids
    ]
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(entries))
    temporary.replace(path)


def make_config(root: Path, nodes: Iterable[str] = NODES, **more: Any) -> MeasureConfig:
    root.mkdir(parents=True, exist_ok=True)
    (root / "schema").write_bytes(SCHEMA.encode())
    write_nodes(root / "nodes.json", nodes)
    values: dict[str, Any] = {
        "network": "test",
        "schema_file": root / "schema",
        "data_dir": root / "measure",
        "key_file": root / "keys/aggregator.key",
        "log_key_file": root / "keys/log.key",
        "secret_file": root / "keys/secret.key",
        "gateway_token_file": root / "keys/gateway.key",
        "admin_token_file": root / "keys/admin.key",
        "chain_id": 31337,
        "commitments": address_text(CONTRACT),
        "nodes_file": root / "nodes.json",
        "genesis_s": CALENDAR.genesis_s,
        "epoch_seconds": CALENDAR.epoch_seconds,
        "first_epoch": CALENDAR.first_epoch,
        "listen_port": 0,
        "replay": True,
    }
    return MeasureConfig(**(values | more))


def client_of(config: MeasureConfig, url: str, **more: Any) -> MeasureClient:
    return MeasureClient(
        url,
        load_or_create_secret(config.gateway_token_file).hex(),
        load_or_create_secret(config.admin_token_file).hex(),
        **more,
    )


class Process:
    """The service as a real process."""

    def __init__(self, root: Path, config: MeasureConfig) -> None:
        config.save(root / "config.toml")
        self.config = config
        self._log = (root / "service.log").open("ab")
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "meridian.node.measure.service",
                "--config",
                str(root / "config.toml"),
            ],
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        if not first:
            self._process.wait()
            self._log.close()
            raise RemoteFault((root / "service.log").read_text()[-2000:])
        self.ready = json.loads(first)
        while self.ready["event"] != "ready":  # settling may tell of an earlier epoch first
            self.ready = json.loads(self._process.stdout.readline())
        self._reader = threading.Thread(target=self._process.stdout.read, daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        return str(self.ready["url"])

    def client(self, **more: Any) -> MeasureClient:
        return client_of(self.config, self.url, **more)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        if self._process.poll() is None:
            os.kill(self._process.pid, number)
        code = self._process.wait(20)
        self._reader.join(5)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()
        return code
