"""`meridian watch` as a process: SIGKILL after sending, SIGTERM and SIGINT."""

import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dying_watch
import pytest
from watch_world import BOND, CHAIN_ID, WATCHER, WatchWorld

from meridian.node.chain.rpc import Rpc
from meridian.primitives.ids import address_text


@pytest.fixture
def rpc(world: WatchWorld) -> Iterator[Rpc]:
    """The village's chain as a process, with two lies on it."""
    world.commit(1, lie="inflates-sum")
    world.commit(2, lie="withholds-data")
    network = world.network
    world.close()
    command = [sys.executable, "-m", "meridian.node.chain.embedded", "--port", "0"]
    command += ["--db", str(world.root / "chain.sqlite"), "--chain-id", str(CHAIN_ID)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    dataclasses.replace(network, rpc_url=url).save(world.data)
    made = Rpc(url)
    yield made
    made.close()
    process.terminate()
    process.wait(20)
    process.stdout.close()


def watch(world: WatchWorld, *module: str) -> subprocess.Popen[str]:
    command = [sys.executable, *module, "watch", "--data-dir", str(world.data), "--json"]
    command += ["--key", str(key_file(world)), "--bond-max-atto", str(BOND)]
    command += ["--patience-s", "0", "--poll-s", "3600"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def key_file(world: WatchWorld) -> Path:
    path = world.root / "watcher.key"
    if not path.exists():
        path.write_text(WATCHER.secret.hex() + "\n")
        path.chmod(0o600)
    return path


def until(process: subprocess.Popen[str], **wanted: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if wanted.items() <= event.items():
            return
    raise AssertionError(f"the watcher ended without {wanted}")


def ended(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    """Send a signal; return exit code and what was said on standard error."""
    process.send_signal(number)
    _, words = process.communicate(timeout=30)
    return process.returncode, words


def test_signals_end_it_cleanly_and_it_goes_on_where_it_was(world: WatchWorld, rpc: Rpc) -> None:
    def sent() -> int:
        return int(rpc.call("eth_getTransactionCount", address_text(WATCHER.address), "latest"), 16)

    dying = watch(world, dying_watch.__file__)
    dying.communicate(timeout=60)
    assert dying.returncode == -signal.SIGKILL
    process = watch(world, "-m", "meridian.cli.main")
    until(process, event="ready")
    assert ended(process, signal.SIGTERM) == (0, "")
    process = watch(world, "-m", "meridian.cli.main")
    until(process, event="accusation", kind="challenge", result="challenged")
    assert ended(process, signal.SIGINT) == (0, ""), "it was waiting for an hour"
    assert sent() == 2, "a proof and a challenge, each once"
