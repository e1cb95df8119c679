"""The whole system on anvil: the same run as on the embedded chain, its resumption, and a stuck transaction."""

import json
import sqlite3
from contextlib import closing

import pytest
from anvil_process import RICH, running_anvil

from journey.system import looks, meridian
from meridian.node.chain.rpc import Rpc
from meridian.node.chain.sender import Sender
from meridian.node.chain.signing import Call
from meridian.primitives.ids import Address, address_text

pytestmark = pytest.mark.journey

SINK = Address(b"\x77" * 20)


def test_the_saturn_journey_on_anvil(shared_dir, tmp_path):
    """`meridian run --network saturn` on anvil with a block each second: paid, verified, and never paid twice."""
    path = shared_dir / "data" / "saturn" / "sample-logs.ndjson"
    bank = tmp_path / "bank.key"
    bank.write_text(RICH.secret.hex())
    bank.chmod(0o600)
    run = tmp_path / "run"
    with running_anvil(tmp_path, "--block-time", "1") as url, closing(Rpc(url)) as rpc:
        command = ["run", "--network", "saturn", "--jobs", path, "--data-dir", run, "--json"]
        command += ["--chain-url", url, "--bank-key", bank, "--challenge-seconds", "1"]
        command += ["--budget-atto", "1000003"]
        [epoch] = meridian(*command).document["epochs"]
        assert epoch["jobs"] == 100
        assert epoch["paid_atto"] == epoch["allocated_atto"] == epoch["total_atto"] == "1000003"
        assert looks("verify", "--data-dir", run, "--epoch", epoch["epoch"]).code == 0
        status = json.loads(meridian("chain", "status", "--data-dir", run, "--json").out)
        assert status["client"].startswith("anvil")
        assert status["funds"]["claimed_atto"] == "1000003"
        assert [row["state"] for row in status["epochs"]] == ["unlocked"]
        accounts = [entry["address"] for entry in status["evaluators"]]
        before = [rpc.call("eth_getTransactionCount", one, "latest") for one in accounts]
        sent = rpc.call("eth_getTransactionCount", address_text(RICH.address), "latest")
        assert meridian(*command).document["epochs"] == [epoch]
        assert [rpc.call("eth_getTransactionCount", one, "latest") for one in accounts] == before
        assert rpc.call("eth_getTransactionCount", address_text(RICH.address), "latest") == sent


def test_a_stuck_transaction_on_anvil_is_replaced(tmp_path):
    """Blocks come, but the base fee has risen beyond what was offered: the same nonce goes through with more."""
    with running_anvil(tmp_path, "--block-time", "1") as url, closing(Rpc(url)) as rpc:
        journal = tmp_path / "journal.sqlite"
        sender = Sender(rpc, RICH, journal, replace_after_s=0.5)
        calls = [(f"pay {amount}", Call(SINK, b"", amount)) for amount in (1, 10)]
        rpc.call("evm_setIntervalMining", 0)
        hashes = sender.submit_many(calls)
        base = int(rpc.call("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
        rpc.call("anvil_setNextBlockBaseFeePerGas", hex(6 * base))
        rpc.call("evm_mine")
        rpc.call("evm_setIntervalMining", 1)
        receipts = sender.wait_all(hashes, 60)
        assert [one.status for one in receipts] == [1, 1]
        assert int(rpc.call("eth_getBalance", address_text(SINK), "latest"), 16) == 11
        rows = sqlite3.connect(journal).execute("SELECT state FROM attempts ORDER BY attempt")
        states = [state for (state,) in rows]
        assert states.count("mined") == 2
        assert (
            int(rpc.call("eth_getTransactionCount", address_text(RICH.address), "latest"), 16) == 2
        )
        assert states.count("superseded") >= 1, (states, base)
