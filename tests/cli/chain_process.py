"""A chain as a process, and `meridian` in this one, for the tests of commands that send."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from meridian.cli.main import main
from meridian.node.chain.rpc import Rpc
from meridian.primitives.ids import address_text
from meridian.primitives.keys import PrivateKey

COIN = 10**18
KEYS = {
    name: PrivateKey(bytes(31) + bytes((number,)))
    for number, name in enumerate(("sponsor", "operator", "evaluator", "poor"), 101)
}


@dataclass
class ChainProcess:
    """`meridian chain up` on a free port; everybody but ``poor`` has a thousand coins."""

    root: Path
    process: subprocess.Popen[str]
    url: str

    @classmethod
    def start(cls, root: Path, port: int = 0, *extra: str) -> "ChainProcess":
        command = [
            sys.executable,
            "-m",
            "meridian.cli.main",
            "chain",
            "up",
            "--data-dir",
            str(root),
        ]
        command += ["--port", str(port), "--block-ms", "5", "--coins", "1000", *extra]
        for name, key in KEYS.items():
            if name != "poor":
                command += ["--fund", address_text(key.address)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return cls(root, process, json.loads(process.stdout.readline())["url"])

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def balance(self, key: PrivateKey) -> int:
        return int(Rpc(self.url).call("eth_getBalance", address_text(key.address), "latest"), 16)

    def count(self, key: PrivateKey) -> int:
        return int(
            Rpc(self.url).call("eth_getTransactionCount", address_text(key.address), "latest"), 16
        )


def write_keys(folder: Path) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, key in KEYS.items():
        files[name] = folder / f"{name}.key"
        files[name].write_text(key.secret.hex())
        files[name].chmod(0o600)
    return files


def meridian(*arguments: object, typed: str | None = None) -> Result:
    """Run a command in this process; errors of ours become exit codes, others are raised."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=typed)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def answer(*arguments: object) -> Any:
    """Run a command with ``--json`` that must succeed, and return what it printed."""
    result = meridian(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.strip().split("\n")[-1])
