"""`meridian init`: the files of every role start real processes, and a network founded with them pays its node."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import meridian
from cli.own_network import EPOCH_SECONDS, GENESIS_S, NODE, OwnNetwork, record, run
from meridian.node.chain.rpc import Rpc
from meridian.node.chain_view import ChainView
from meridian.node.measure.client import MeasureClient
from meridian.node.network_file import NetworkFile
from meridian.primitives.amounts import ATTO

JOBS = 30


def _submit_and_seal(own: OwnNetwork, client: MeasureClient, end_us: int) -> None:
    jobs = own.net / "jobs.ndjson"
    jobs.write_text("".join(json.dumps(record(number)) + "\n" for number in range(JOBS)))
    client.set_clock(end_us - 1)
    node = own.net / "node/node.toml"
    said = run("submit", jobs, "--config", node, "--json")
    assert json.loads(said.output)["accepted"] == JOBS
    assert Path(json.loads(said.output)["receipts"]) == own.net / "node/receipts"
    _submit_by_the_library(own)
    client.set_clock(end_us)
    client.seal(1)
    client.wait_committed(1)


def _submit_by_the_library(own: OwnNetwork) -> None:
    """The block of docs/library.md, where the same records are there already; then new ones from memory."""
    page = (Path(__file__).parents[2] / "docs/library.md").read_text()
    [block] = re.findall(
        r'^```python title="on a running network"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL
    )
    names: dict[str, Any] = {}
    with contextlib.chdir(own.net.parent):
        (own.net / "jobs.ndjson").rename("jobs.ndjson")
        exec(compile(block, "docs/library.md", "exec"), names)
    result = names["result"]
    assert (result.records, result.accepted, result.duplicates) == (JOBS, 0, JOBS)
    key = own.net / "node/keys/operator.key"
    more = [record(JOBS), {**record(JOBS + 1), "job_id": ""}]
    result = meridian.submit_jobs(
        more, own.net, receipts=own.net / "node/receipts", node_id=NODE, key_file=key
    )
    assert (result.records, result.accepted) == (2, 1)
    assert [one.field for one in result.rejected] == ["job_id"]
    with pytest.raises(meridian.InvalidInput, match="token"):
        meridian.submit_jobs(more, own.net, receipts=own.net / "r")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnNetwork]:
    network = OwnNetwork(tmp_path)
    yield network
    network.close()


def test_a_network_founded_with_it_measures_evaluates_and_pays(own: OwnNetwork) -> None:
    own.found()
    own.join()
    own.serve("evaluator", own.net / "evaluator/evaluator.toml")
    end_us = (GENESIS_S + EPOCH_SECONDS) * 1_000_000
    with contextlib.closing(own.client()) as client:
        _submit_and_seal(own, client, end_us)
    network = NetworkFile.load(own.net)
    rpc = Rpc(network.rpc_url)
    view = ChainView(rpc, network.contracts)
    deadline = time.monotonic() + 60
    while not view.reported():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    node = own.net / "node/node.toml"
    looked = run("watch", "--config", node, "--once", "--dry-run", "--json")
    assert f"watching {own.net}" in looked.output
    public = own.net / "evaluator/state/public"
    while not list(public.glob("epochs/*")):  # published when the chain has the report
        assert time.monotonic() < deadline
        time.sleep(0.1)
    verified = run("verify", "--data-dir", own.net, "--epoch", 1)
    assert "12.5" in verified.output
    key = own.net / "node/keys/operator.key"
    run("chain", "claim", "--data-dir", own.net, "--node", NODE, "--key", key, "--yes")
    assert [paid.cumulative for paid in view.claims()] == [12.5 * ATTO]
    rpc.close()


def test_nothing_is_replaced_unsaid_and_keys_never(tmp_path: Path) -> None:
    words = ["init", "sponsor", "--network-dir", tmp_path, "--network", "own", "--like", "saturn",
             "--aggregator", "0x" + "11" * 20]  # fmt: skip
    run(*words)
    config, key = tmp_path / "sponsor/sponsor.toml", tmp_path / "sponsor/keys/sponsor.key"
    secret = key.read_text()
    config.write_text("mine")
    refused = run(*words, code=2)
    assert "is there already; --overwrite replaces it" in str(refused.output)
    assert config.read_text() == "mine"
    run(*words, "--overwrite")
    assert 'like = "saturn"' in config.read_text()
    assert key.read_text() == secret


def test_without_a_terminal_what_is_needed_is_named(tmp_path: Path) -> None:
    refused = run("init", "sponsor", "--network-dir", tmp_path, code=2)
    assert "--aggregator: is needed" in refused.output
    missing = run("init", "node", "--network-dir", tmp_path, "--node", "n", code=3)
    assert "network.json" in missing.output


def test_wrong_answers_are_refused_before_a_file_is_written(tmp_path: Path) -> None:
    refused = run("init", "evaluator", "--network-dir", tmp_path, "--port", 70_000, code=2)
    assert "70000" in refused.output
    run("init", "sponsor", "--network-dir", tmp_path, "--network", "n" * 65, "--like", "saturn",
        "--aggregator", "x", code=2)  # fmt: skip
    assert not (tmp_path / "sponsor/sponsor.toml").exists()


def test_it_asks_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "meridian.cli.main",
        "init",
        "sponsor",
        "--network-dir",
        str(tmp_path),
    ]
    asked = subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    answers = ["0x" + "11" * 20, "", "60", "", "bazaar", "", "3", ""]
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    out, err = asked.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert asked.returncode == 0, err
    assert "Name of the network" in err
    text = (tmp_path / "sponsor/sponsor.toml").read_text()
    for line in ('network = "bazaar"', "epoch_seconds = 60", 'like = "saturn"', "epochs = 3"):
        assert f"\n{line}\n" in text
    assert "wrote" in out
