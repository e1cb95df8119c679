"""`deploy/` run: `found.sh` and the services of `compose.yaml` as processes, until an epoch of jobs is reported and verified.

There is no engine: the commands are read from the compose file and started in its order, after its conditions. What a
container would have of its own is mapped in `Deployed.here`, and nowhere else.
"""

import json
import os
import shlex
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pytest
import yaml
from markdown_pages import ROOT

import meridian
from meridian.journey.host import free_port
from meridian.node.network_file import NetworkFile

SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
ENTRYPOINT = ["/opt/meridian/bin/meridian"]
"""Of the image; `test_deploy_files` compares it."""
EPOCH_SECONDS = 20
WAIT_S = 90
STOP_S = 15
"""Compose's `stop_grace_period`: what has not ended then is killed."""
JOBS = 12
SERVING = ("epochs", "measure", "evaluator-1", "evaluator-2", "evaluator-3", "explorer", "sealing")
"""What depends on the founded network, the sealing last, so that the first epoch holds jobs."""


def job(number: int, genesis_s: int) -> str:
    """A job of the first epoch, which is over when the network is founded."""
    at = datetime.fromtimestamp(genesis_s + 1, UTC)
    fields = [("bytes", "integer", 1000 + number), ("path", "string", f"/{number}")]
    return json.dumps(
        {
            "job_id": f"job-{number}",
            "peer_id": "node-1",
            "started_at": f"{at:%Y-%m-%d %H:%M:%S}.25+00",
            "ended_at": f"{at:%Y-%m-%d %H:%M:%S}.5+00",
            "evaluation_fields": [{"name": n, "type": t, "value": v} for n, t, v in fields],
            "additional_fields": [],
        }
    )


def four_free_ports() -> int:
    """The first of four ports in a row that are free: `found.sh` counts its evaluators' from there."""
    for _ in range(100):
        base = free_port(0)
        if [free_port(base + i) for i in range(1, 4)] == [base + i for i in range(1, 4)]:
            return base
    raise AssertionError("no four free ports in a row")


class Deployed:
    """The services as processes of this machine, in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self.net = directory / "network"
        self.logs = directory
        self.measure, self.explorer, self.chain = (free_port(0) for _ in range(3))
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.files: list[IO[bytes]] = []
        programs = sysconfig.get_path("scripts")
        self.environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",  # as the image
            "MERIDIAN_DIR": str(self.net),
            "MERIDIAN_RPC_URL": f"http://127.0.0.1:{self.chain}",
            "MERIDIAN_MEASURE_PORT": str(self.measure),
            "MERIDIAN_EVALUATOR_PORT": str(four_free_ports()),
            "MERIDIAN_EPOCH_SECONDS": str(EPOCH_SECONDS),
            "MERIDIAN_CHALLENGE_SECONDS": "1",
            "MERIDIAN_GENESIS_AFTER_S": "1",
        }

    def here(self, text: str) -> str:
        """A word of the compose file on this machine."""
        for there, ours in (
            ("$$", "$"),  # compose does this itself
            ("/opt/meridian/bin/found-network", str(ROOT / "deploy/found.sh")),
            ("/opt/meridian/bin/python", sys.executable),
            ("/var/lib/meridian", str(self.net)),
            ("8545", str(self.chain)),
            ("7390", str(self.measure)),
            ("7380", str(self.explorer)),
            ("0.0.0.0", "127.0.0.1"),
            ("sleep 60", "sleep 1"),  # short epochs
        ):
            text = text.replace(there, ours)
        return text

    def command(self, name: str) -> list[str]:
        service = SERVICES[name]
        words = [*service.get("entrypoint", ENTRYPOINT), *service["command"]]
        if words[:1] == ENTRYPOINT:
            words[:1] = [sys.executable, "-m", "meridian.cli.main"]
        return [self.here(word) for word in words]

    def start(self, name: str) -> None:
        own = {k: self.here(v) for k, v in SERVICES[name].get("environment", {}).items()}
        log = (self.logs / f"{name}.log").open("wb")
        self.files.append(log)
        self.running[name] = subprocess.Popen(
            self.command(name), env=self.environment | own, stdout=log, stderr=subprocess.STDOUT
        )

    def finish(self, name: str) -> None:
        """Run a service that ends: one that others wait for with `service_completed_successfully`."""
        self.start(name)
        assert self.running.pop(name).wait(WAIT_S) == 0, self.said(name)

    def healthy(self, name: str) -> None:
        """Wait for `service_healthy`, by the check that the service names."""
        kind, *check = SERVICES[name]["healthcheck"]["test"]
        assert kind == "CMD"
        self.until(
            f"{name} is healthy",
            lambda: not subprocess.run([self.here(w) for w in check], check=False, stderr=subprocess.DEVNULL).returncode,
        )  # fmt: skip

    def until(self, what: str, true: Any) -> Any:
        """Wait until something is so; every process must go on meanwhile."""
        deadline = time.monotonic() + WAIT_S
        while not (found := true()):
            ended = [name for name, process in self.running.items() if process.poll() is not None]
            assert not ended, "".join(map(self.said, ended))
            assert time.monotonic() < deadline, what + "".join(map(self.said, self.running))
            time.sleep(0.3)
        return found

    def said(self, name: str) -> str:
        return f"\n-- {name}:\n" + (self.logs / f"{name}.log").read_text()[-1500:]

    def meridian(self, line: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "meridian.cli.main", *shlex.split(self.here(line))]
        return subprocess.run(
            words, check=False, capture_output=True, text=True, env=self.environment
        )

    def shown(self) -> bool:
        """Whether the explorer has a list of epochs."""
        url = f"http://127.0.0.1:{self.explorer}/data/epochs.col"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.read())
        except OSError:
            return False

    def stop(self) -> dict[str, int]:
        """SIGTERM to all, the chain last, because the others depend on it; returns their exit codes."""
        codes: dict[str, int] = {}
        for group in (SERVING, ("chain",)):
            processes = {name: self.running.pop(name) for name in group if name in self.running}
            for process in processes.values():
                process.terminate()
            codes |= {name: process.wait(STOP_S) for name, process in processes.items()}
        return codes

    def close(self) -> None:
        """End what a failed test has left."""
        for process in self.running.values():
            process.kill()
            process.wait()
        for log in self.files:
            log.close()


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Deployed]:
    made = Deployed(tmp_path)
    yield made
    made.close()


def reported(net: Path, epoch: int) -> bool:
    with meridian.open_network(net) as network:
        states = {row["epoch"]: row["state"] for row in network.epochs().to_pylist()}
    return states.get(epoch) in {"reported", "unlocked"}


@pytest.mark.journey
def test_the_network_of_the_compose_file_pays_and_stops(deployed: Deployed) -> None:
    assert {"keys", "chain", "found", *SERVING} == set(SERVICES)
    deployed.finish("keys")
    deployed.start("chain")
    deployed.healthy("chain")
    deployed.finish("found")
    for name in SERVING[:-1]:
        deployed.start(name)
    deployed.healthy("measure")
    jobs = deployed.net / "jobs.ndjson"
    file = NetworkFile.load(deployed.net)
    epoch = file.first_epoch
    jobs.write_text("".join(job(number, file.genesis_s) + "\n" for number in range(JOBS)))
    submitted = deployed.meridian(f"submit {jobs} --config /var/lib/meridian/node/node.toml")
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    deployed.start("sealing")
    deployed.until("the epoch is reported", lambda: reported(deployed.net, epoch))
    with meridian.open_network(deployed.net) as network:
        [row] = network.epoch(epoch).nodes().to_pylist()
    assert (row["node_id"], row["jobs"]) == ("node-1", JOBS)

    def verified() -> bool:
        done = deployed.meridian(f"verify --data-dir /var/lib/meridian --epoch {epoch}")
        return done.returncode == 0 and "every link holds" in done.stdout

    deployed.until("the epoch verifies", verified)
    deployed.until("the explorer shows epochs", deployed.shown)
    status = deployed.meridian("status /var/lib/meridian --json")
    assert status.returncode == 0, status.stdout
    servers = {"chain", *SERVING} - {"epochs", "sealing"}
    assert len(json.loads(status.stdout)["processes"]) == len(servers)
    assert deployed.stop() == dict.fromkeys((*SERVING, "chain"), 0)
