"""An IPFS node with Kubo's HTTP RPC API as a process: js-ipfs, the JavaScript implementation, from npm.

It is not Kubo, which is in no registry that CI reaches, but the other implementation of the same API by the same people
(archived since 2023, at its last version). The node has no network.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import npm_tools
from meridian.errors import RemoteFault
from meridian.journey.host import free_port
from meridian.node.stores.kubo import KuboStore

SCRIPT = Path(npm_tools.__file__).parent / "npm" / "ipfs" / "server.mjs"


@contextmanager
def ipfs_server(root: Path) -> Iterator[str]:
    """Serve a new node as long as the context lasts; yields its URL."""
    node = shutil.which("node")
    if node is None or npm_tools.module("ipfs-core", "ipfs") is None:
        pytest.skip(f"js-ipfs is not installed: {npm_tools.COMMAND} ipfs")
    modules, port = npm_tools.place("ipfs") / "node_modules", free_port(0)
    command = [node, str(SCRIPT), str(modules), str(root / "ipfs"), str(port)]
    with (root / "ipfs.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(process, url)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            KuboStore(url, timeout_s=5).has(bytes(32))
        except RemoteFault:
            assert process.poll() is None, "the IPFS node has ended"
            assert time.monotonic() < deadline, "the IPFS node does not answer"
            time.sleep(0.1)
        else:
            return
