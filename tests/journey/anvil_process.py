"""anvil from npm as a process: the chain of Ethereum's developers, which shares no code with the embedded one."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import npm_tools
from meridian.journey.host import free_port
from meridian.node.chain.rpc import Rpc, RpcUnavailable
from meridian.primitives.keys import PrivateKey

RICH = PrivateKey(bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"))
"""The first of anvil's well-known accounts: it has 10,000 coins on every anvil, and none anywhere else."""


@contextmanager
def running_anvil(folder: Path, *more: str) -> Iterator[str]:
    """Start anvil under prague rules, as the embedded chain has; skip the test where it is not installed."""
    binary = npm_tools.anvil()
    if binary is None:
        pytest.skip(f"anvil is not installed: {npm_tools.COMMAND}")
    port = free_port(0)
    command = [binary, "--hardfork", "prague", "--port", port, "--state", folder / "anvil.json"]
    with (folder / "anvil.log").open("wb") as log:
        process = subprocess.Popen([*map(str, command), *more], stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            _await(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    with closing(Rpc(url)) as rpc:
        while True:
            try:
                rpc.call("eth_chainId")
            except RpcUnavailable:
                assert process.poll() is None, "anvil ended"
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                return
