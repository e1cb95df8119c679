"""A network that somebody founds with `meridian init`, its servers as processes from the files that it wrote."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from cli.chain_process import KEYS, ChainProcess
from meridian.cli.main import main
from meridian.journey.host import free_port
from meridian.node.keystore import load_or_create_secret
from meridian.node.measure.client import MeasureClient
from meridian.primitives.ids import address_text

GENESIS_S = 1_700_000_000
EPOCH_SECONDS = 3_600
NODE = "carl"
ROLES = {
    "aggregator": "aggregator",
    "sponsor": "sponsor",
    "evaluator": "evaluator",
    "node": "operator",
}
OWNERS = {"aggregator": "poor", "sponsor": "sponsor", "evaluator": "evaluator", "node": "operator"}


def run(*words: object, code: int = 0) -> Result:
    """Run a command in this process."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, f"{words}\n{result.output}"
    return result


def record(number: int, node: str = NODE) -> dict[str, Any]:
    """A job of the first epoch."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(GENESIS_S + 10 + number))
    return {
        "job_id": f"job-{number:04d}",
        "peer_id": node,
        "started_at": f"{at}.25+00",
        "ended_at": f"{at}.5+00",
        "evaluation_fields": [
            {"name": "bytes", "type": "integer", "value": 1000 + number},
            {"name": "path", "type": "string", "value": f"/{number}"},
        ],
        "additional_fields": [],
    }


class OwnNetwork:
    """The network's directory, and what runs of it."""

    def __init__(self, root: Path) -> None:
        self.net = root / "net"
        self.children: list[subprocess.Popen[str]] = []
        self.readers: list[threading.Thread] = []
        for role, key in ROLES.items():
            path = self.net / role / "keys" / f"{key}.key"
            path.parent.mkdir(parents=True)
            path.write_text(KEYS[OWNERS[role]].secret.hex() + "\n")
            path.chmod(0o600)
        self.account = address_text(KEYS["poor"].address)
        self.chain = ChainProcess.start(self.net, 0, "--fund", self.account)
        self.ports = [free_port(0), free_port(0)]

    def found(self) -> None:
        """From nothing to contracts with a funded epoch and an aggregator that serves."""
        told = run("init", "aggregator", "--network-dir", self.net, "--json")
        assert json.loads(told.output)["account"] == self.account
        run(
            "init", "sponsor", "--network-dir", self.net, "--network", "own", "--rpc-url", self.chain.url,
            "--aggregator", self.account, "--integer", "bytes", "--text", "path", "--genesis-s", GENESIS_S,
            "--challenge-seconds", 0, "--referee", self.account, "--each", "12.5",
        )  # fmt: skip
        sponsor = self.net / "sponsor/sponsor.toml"
        run("chain", "deploy", "--config", sponsor, "--yes")
        run("chain", "fund", "--config", sponsor, "--yes")
        run("init", "aggregator", "--network-dir", self.net, "--port", self.ports[0])
        config = self.net / "aggregator/aggregator.toml"
        config.write_text(config.read_text().replace("# replay = false", "replay = true"))
        self.serve("measure", config)

    def join(self) -> None:
        """An evaluator and a node."""
        told = run(
            "init", "evaluator", "--network-dir", self.net, "--port", self.ports[1], "--json"
        )
        [stake] = [line for line in json.loads(told.output)["next"] if "chain stake" in line]
        run(*stake.split()[1:])
        sponsor = self.net / "sponsor/keys/sponsor.key"
        run("chain", "open", "--data-dir", self.net, "--through", 1, "--key", sponsor, "--yes")
        again = run(
            "chain", "open", "--data-dir", self.net, "--through", 1, "--key", sponsor, "--yes"
        )
        assert "epoch 1 is open" in again.output
        told = run("init", "node", "--network-dir", self.net, "--node", NODE, "--json")
        [stake] = [line for line in json.loads(told.output)["next"] if "chain stake" in line]
        run(*stake.split()[1:])

    def serve(self, kind: str, config: Path) -> None:
        """Start a server from its file, and wait until it is ready."""
        child = subprocess.Popen(
            [sys.executable, "-m", "meridian.cli.main", "serve", kind, "--config", str(config)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.children.append(child)
        assert child.stdout is not None
        for line in child.stdout:
            if json.loads(line)["event"] == "ready":
                break
        assert child.poll() is None
        self.readers.append(threading.Thread(target=child.stdout.read, daemon=True))
        self.readers[-1].start()

    def client(self) -> MeasureClient:
        """The aggregator's own client."""
        keys = self.net / "aggregator/keys"
        tokens = [
            load_or_create_secret(keys / f"{name}-token.key").hex() for name in ("gateway", "admin")
        ]
        return MeasureClient(f"http://127.0.0.1:{self.ports[0]}", *tokens)

    def close(self) -> None:
        """End all processes; each must end well."""
        for child in reversed(self.children):
            child.terminate()
        codes = [child.wait(30) for child in self.children]
        for reader, child in zip(self.readers, self.children, strict=True):
            reader.join()
            assert child.stdout is not None
            child.stdout.close()
        self.chain.kill()
        assert not any(codes), codes
