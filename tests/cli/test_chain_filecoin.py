"""The commands on a chain with Filecoin's rules: null rounds, its own gas, blocks by the clock, f410 addresses."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import filecoin_endpoint
import pytest
from chain_process import COIN, KEYS, answer, meridian, write_keys

from meridian.contracts.artefact import load
from meridian.node.chain.contract import Contract
from meridian.node.chain.follower import Follower
from meridian.node.chain.rpc import Rpc, RpcError
from meridian.node.deployment_file import Deployment
from meridian.primitives.fil_address import fil_text
from meridian.primitives.ids import address_text

PARAMETERS = {
    "network": "bazaar",
    "genesis_s": 1_700_000_000,
    "epoch_seconds": 86_400,
    "first_epoch": 0,
    "node_stake_min": "0.1",
    "evaluator_stake_min": "10",
    "exit_delay_s": 604_800,
    "aggregators": [fil_text(KEYS["operator"].address, filecoin_endpoint.CHAIN_ID)],
    "challenge_seconds": 3_600,
    "function_digest": "02" * 32,
    "parameters_digest": "03" * 32,
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    alloc = ",".join(address_text(key.address) for key in KEYS.values())
    command = [sys.executable, filecoin_endpoint.__file__, alloc]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["url"]
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def root(url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("filecoin")
    write_keys(root / "keys")
    (root / "parameters.json").write_text(json.dumps(PARAMETERS))
    done = meridian(
        *("chain", "deploy", "--file", root / "parameters.json", "--rpc-url", url),
        *as_(root, "sponsor"),
    )
    assert done.exit_code == 0, done.output
    assert "t410f" in done.output
    return root


def as_(root: Path, who: str) -> list[object]:
    key = root / "keys" / f"{who}.key"
    return ["--data-dir", root, "--key", key, "--yes", "--confirmations", "1"]


def test_the_endpoint_is_strange(root, url):
    with closing(Rpc(url)) as rpc:
        head = int(rpc.call("eth_blockNumber"), 16)
        answers = rpc.batch([("eth_getBlockByNumber", [hex(head - at), False]) for at in range(6)])
    refused = [one for one in answers if isinstance(one, RpcError)]
    assert refused
    assert all("null round" in one.message for one in refused)
    assert len(refused) < 6


def test_money_and_members_on_a_chain_with_null_rounds(root, url, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    joined = answer("chain", "stake", "node", "--node", "n1", *as_(root, "operator"))
    assert joined["sent"] is True
    assert joined["gas_used"] > 0
    evaluations = Deployment.load(root).contracts.evaluations
    call = tmp_path / "reward.json"
    shown = fil_text(evaluations, filecoin_endpoint.CHAIN_ID)
    call.write_text(json.dumps({"evaluation_contract": shown, "fil_for_epoch": "2000"}))
    command = ["reward", "--file", call, "--rpc-url", url, "--confirmations", "1"]
    command += ["--key", root / "keys" / "sponsor.key", "--epoch", 20_000, "--yes"]
    tried = answer(*command, "--dry-run")
    assert tried["gas_estimate"] % filecoin_endpoint.GAS_SCALE == 0
    assert tried["from"].endswith(")")  # both forms of the account
    assert answer(*command)["sent"] is True
    assert answer(*command)["sent"] is False
    # Without the journal the events show it, searched from height 0 in spans that the endpoint takes.
    lost = answer(*command, "--journal-dir", tmp_path / "lost")
    assert (lost["sent"], lost["epoch"]) == (False, "20000")
    status = answer("chain", "status", "--data-dir", root)
    assert status["funds"]["funded_atto"] == str(2000 * COIN)
    assert all(row["filecoin"].startswith("t410f") for row in status["contracts"])
    assert "t410f" in meridian("chain", "status", "--data-dir", root).output


def test_the_follower_reads_over_null_rounds(root, url):
    with closing(Rpc(url)) as rpc:
        registry = Contract(rpc, Deployment.load(root).contracts.registry, load("Registry"))
        follower = Follower(rpc, [registry.address], 0, confirmations=2)
        found = []
        for _ in range(50):
            update = follower.follow()
            found += registry.decode("NodeRegistered", update.logs)
            assert update.rolled_back_to is None
            if update.is_current and found:
                break
    assert [one.args["operator"] for one in found] == [KEYS["operator"].address]
