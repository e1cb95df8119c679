"""docs/chain.md: every command that it shows is run, in its order, on a chain process."""

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from markdown_pages import ROOT, fenced

from cli.chain_process import KEYS, write_keys
from cli.village_jobs import jobs_of
from meridian.cli.main import main
from meridian.contracts.artefact import load
from meridian.disputes.promises import double_receipt
from meridian.journey.chain_setup import operator_key
from meridian.journey.layout import Layout
from meridian.measure.columns import write_segment
from meridian.measure.receipt import Receipt, SignedReceipt
from meridian.node.accusation_file import file_of
from meridian.node.chain.contract import Contract
from meridian.node.chain.rpc import Rpc
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import ChainView
from meridian.node.deployment_file import Deployment
from meridian.primitives.eip712 import Domain
from meridian.primitives.fil_address import fil_text, parse_account
from meridian.primitives.ids import ZERO_ADDRESS, Address, address_text, node_key
from meridian.primitives.keys import PrivateKey
from meridian.scenario.jobs import SCHEMA

PAGE = (ROOT / "docs" / "chain.md").read_text()
SHOWN_URL = "http://127.0.0.1:8545"
AGGREGATOR = KEYS["operator"]
EXPECTED_CODE = {"chain withdraw evaluator": 7, "chain referee withdraw": 7}
STARTED_AGO_S = 3600 + 600
"""The first epoch of `net` is over, and its nodes may still commit themselves."""


NODES = ("NODE", "NODE_B", "NODE_C", "NODE_D")
ELSEWHERE = "f410f2oekwcmo2pueydmaq53eic2i62crtbeyuzx2gmy"


def relayer() -> PrivateKey:
    return PrivateKey(bytes.fromhex(Path("demo/keys/relayer.key").read_text()))


def node_of(word: str) -> str:
    text = next(Path("demo/results").glob("*.json")).read_text()
    return str(json.loads(text)["payees"][NODES.index(word)]["node_id"])


def number(method: str, account: Address, url: str | None = None) -> int:
    """A number about an account, on the demo's chain where no other is named."""
    rpc = Rpc(url or Deployment.load(Path("demo")).rpc_url)
    return int(rpc.call(method, address_text(account), "latest"), 16)


def commands() -> list[list[str]]:
    lines = [line for block in fenced(PAGE, "sh") for line in block.split("\n") if line]
    return [words for words in (shlex.split(line)[1:] for line in lines) if words[0] != "run"]


class Reader:
    """Somebody who follows the page in a directory of their own."""

    def __init__(self) -> None:
        self.url = ""
        self.chains: list[subprocess.Popen[str]] = []
        self.ran = 0
        files = write_keys(Path())
        files["operator"].rename("referee.key")
        files["poor"].rename("operator.key")
        shutil.copy(files["evaluator"], "gas.key")
        Path("passphrase").write_text("correct horse\n")

    def run(self, words: list[str]) -> Any:
        if words[:2] == ["chain", "up"]:
            self._up(words)
            return
        prepare = {
            "deploy": self._parameters,
            "reward": self._reward,
            "leave": self._open_epoch,
            "self-commit": self._own_jobs,
            "dispute": self._accusation,
        }
        for word in words[:2]:
            if word in prepare:
                prepare[word]()
        result = self.invoke([self.real(word) for word in words])
        wanted = EXPECTED_CODE.get(" ".join(words[:3]), 0)
        assert result.exit_code == wanted, f"{' '.join(words)}\n{result.output}"
        if words[0] == "demo":
            self._demo_up()
        self.ran += 1

    @staticmethod
    def invoke(arguments: list[str]) -> Result:
        result = CliRunner().invoke(main, arguments)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def real(self, word: str) -> str:
        if word in NODES:
            return node_of(word)
        if word == "RELAYER":
            return address_text(relayer().address)
        if word == "PAYEE_C":
            return address_text(self.payee("c").address)
        if word == "EVALUATOR":
            return address_text(KEYS["evaluator"].address)
        return word.replace(SHOWN_URL, self.url)

    @staticmethod
    def payee(letter: str) -> PrivateKey:
        return PrivateKey(bytes.fromhex(Path(f"payee-{letter}.key").read_text()))

    @staticmethod
    def as_relayer() -> list[str]:
        return ["--data-dir", "demo", "--key", "demo/keys/relayer.key", "--yes"]

    @staticmethod
    def on_net() -> list[str]:
        return ["--data-dir", "net", "--key", "operator.key", "--yes"]

    def demo_rewards(self) -> Contract:
        deployment = Deployment.load(Path("demo"))
        return Contract(Rpc(deployment.rpc_url), deployment.contracts.rewards, load("Rewards"))

    @staticmethod
    def balance(account: Address) -> int:
        return number("eth_getBalance", account)

    @staticmethod
    def sent_by(account: Address, url: str | None = None) -> int:
        return number("eth_getTransactionCount", account, url)

    def _demo_up(self) -> None:
        """Keep the demo's chain up, so that not every command has to serve it; and give payees their keys."""
        port = Deployment.load(Path("demo")).rpc_url.rsplit(":", 1)[1]
        self._start(["chain", "up", "--data-dir", "demo", "--port", port])
        for word in NODES[1:]:
            path = Path(f"payee-{word[-1].lower()}.key")
            path.write_text(operator_key(Layout(Path("demo")), node_of(word)).secret.hex())
            path.chmod(0o600)

    def _up(self, words: list[str]) -> None:
        accounts = {
            "ACCOUNT": "0x" + json.loads(Path("sponsor.json").read_text())["address"].lower(),
            "EVALUATOR": address_text(KEYS["evaluator"].address),
            "REFEREE": address_text(AGGREGATOR.address),
        }
        arguments = [accounts.get(word, word) for word in words]
        self.url = self._start([*arguments, "--port", "0"])

    def _start(self, arguments: list[str]) -> str:
        command = [sys.executable, "-m", "meridian.cli.main", *arguments]
        chain = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.chains.append(chain)
        assert chain.stdout is not None
        return str(json.loads(chain.stdout.readline())["url"])

    def _parameters(self) -> None:
        block = next(one for one in fenced(PAGE, "json") if "epoch_seconds" in one)
        Path("network-parameters.json").write_text(block)
        document = json.loads(block)
        shown = document["aggregators"][0]
        text = block.replace(shown, address_text(AGGREGATOR.address))
        text = text.replace(str(document["genesis_s"]), str(int(time.time()) - STARTED_AGO_S))
        Path("network-parameters.json").write_text(text)

    def _reward(self) -> None:
        block = next(one for one in fenced(PAGE, "json") if "fil_for_epoch" in one)
        contract = fil_text(Deployment.load(Path("net")).contracts.evaluations)
        Path("reward.json").write_text(block.replace("f410f…", contract))

    def _open_epoch(self) -> None:
        """Open the first epoch while there is an evaluator, as the processes of a network do."""
        registry = Deployment.load(Path("net")).contracts.registry
        rpc = Rpc(self.url)
        sender = Sender(rpc, KEYS["evaluator"], Path("open.sqlite"))
        data = Contract(rpc, registry, load("Registry")).encode("open_epochs", 0)
        sender.transact(registry, data, purpose="open")
        sender.close()

    @staticmethod
    def _own_jobs() -> None:
        Path("schema.cbor").write_bytes(SCHEMA.encode())
        jobs = jobs_of(("node-7",), int(time.time()) - STARTED_AGO_S)
        Path("jobs.parquet").write_bytes(write_segment(jobs))

    def _accusation(self) -> None:
        """Two receipts with one number, as a dishonest aggregator signs them."""
        deployment = Deployment.load(Path("net"))
        domain = Domain(chain_id=deployment.chain_id, contract=deployment.contracts.commitments)
        pair = [
            SignedReceipt.sign(
                Receipt(deployment.network_id, 0, AGGREGATOR.address, 5, bytes([one]) * 32, 1),
                domain,
                AGGREGATOR,
            )
            for one in (1, 2)
        ]
        fault = double_receipt(*pair)
        assert fault is not None
        file = file_of(Rpc(self.url), deployment.network, fault)
        Path("accusation.json").write_bytes(file.encode())

    def close(self) -> None:
        for chain in self.chains:
            chain.kill()
            chain.wait()
            assert chain.stdout is not None
            chain.stdout.close()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """The directory of somebody who has run every command of the page, with the demo's chain up."""
    root = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("XDG_STATE_HOME", str(root / "state"))
        found = Reader()
        try:
            for words in commands():
                found.run(words)
            yield found
        finally:
            found.close()


@pytest.mark.journey
def test_every_command_of_the_page_runs(reader):
    assert reader.ran == len(commands()) - 1  # all but the chain itself
    deployment = Deployment.load(Path("net"))
    assert deployment.network == "bazaar"


@pytest.mark.journey
def test_what_one_signed_and_another_sent_stands_on_the_chain(reader):
    deployment = Deployment.load(Path("net"))
    view = ChainView(Rpc(reader.url), deployment.contracts)
    operator = KEYS["poor"].address
    assert {node.operator for node in view.nodes().values()} == {operator}
    assert set(view.nodes()) == {node_key("node-7"), node_key("node-8")}
    assert reader.sent_by(operator, reader.url) == 0
    assert view.commitments.read("self_committed", 0, node_key("node-7")) is True
    assert view.registry.read("is_slashed", KEYS["evaluator"].address) is True  # the ruling


@pytest.mark.journey
def test_payees_without_coins_were_paid_where_they_wanted_it(reader):
    rewards = reader.demo_rewards()
    b, c = reader.payee("b"), reader.payee("c")
    [paid] = rewards.events("FeePaid")
    assert paid.args["fee"] == 5 * 10**17
    claimed = {one.args["payee"]: one.args["amount"] for one in rewards.events("Claimed")}
    spent = 2  # setting and clearing its delegate
    assert claimed[b.address] - 5 * 10**17 > reader.balance(b.address) > 0
    assert reader.sent_by(b.address) == spent
    assert reader.balance(c.address) == 0
    assert reader.balance(parse_account(ELSEWHERE)) == claimed[c.address] > 0
    changes = [one.args["delegate"] for one in rewards.events("DelegateSet")]
    assert [one == ZERO_ADDRESS for one in changes] == [False, False, True]


@pytest.mark.journey
def test_a_signed_claim_that_cannot_be_sent_says_why_and_costs_nothing(reader):
    before = reader.sent_by(relayer().address)
    send = ["chain", "claim-signed", "send", "claim.json", *reader.as_relayer()]
    again = reader.invoke([*send, "--json"])
    assert again.exit_code == 0
    answer = json.loads(again.stdout)
    [paid] = reader.demo_rewards().events("FeePaid")
    assert (answer["sent"], answer["tx_hash"]) == (False, "0x" + paid.tx_hash.hex())
    elsewhere = reader.invoke([*send, "--journal-dir", "elsewhere", "--json"])  # another relayer
    assert json.loads(elsewhere.stdout) == answer

    whole = json.loads(Path("claim.json").read_text())
    for change, reason in (
        ({"signer": "0x" + "12" * 20}, "signature"),
        ({"chain_id": 1}, "signature"),
        ({"contract": "0x" + "12" * 20}, "signature"),
        ({"node": "another"}, "node"),
        ({"kind": "delegate"}, "kind"),
        ({"version": 2}, "version"),
        ({"statement": {**whole["statement"], "fee_max_atto": "1"}}, "signature"),
        ({"statement": {**whole["statement"], "more": 1}}, "statement.more"),
    ):
        Path("changed.json").write_text(json.dumps({**whole, **change}))
        refused = reader.invoke([*send[:3], "changed.json", *send[4:]])
        assert refused.exit_code == 2
        assert f"changed.json: {reason}" in refused.output

    sign = ["chain", "claim-signed", "sign", "--data-dir", "demo", "--node"]
    for options, reason in (
        ([reader.real("NODE_C"), "--key", "payee-c.key", "--nonce", "0"], "used by another"),
        ([reader.real("NODE_C"), "--key", "payee-c.key", "--nonce", "2"], "is not the next"),
        ([reader.real("NODE_C"), "--key", "payee-c.key", "--deadline", "9"], "deadline"),
        ([reader.real("NODE_D"), "--key", "payee-c.key"], "not by the node's payee"),
    ):
        assert reader.invoke([*sign, *options, "--out", "other.json"]).exit_code == 0
        refused = reader.invoke([*send[:3], "other.json", *send[4:]])
        assert refused.exit_code == 2
        assert reason in refused.output
    drawn = reader.invoke([*sign, *options[:1], "--key", "payee-d.key", "--out", "other.json"])
    assert drawn.exit_code == 0
    foreign = reader.invoke(["chain", "claim-signed", "send", "other.json", *reader.on_net()])
    assert foreign.exit_code == 2
    assert "network" in foreign.output
    assert reader.sent_by(relayer().address) == before


def test_the_run_on_another_chain_is_run_elsewhere():
    """`meridian run` with these options takes a chain of its own: the anvil test runs it."""
    [line] = [one for one in PAGE.split("\n") if one.startswith("meridian run ")]
    words = shlex.split(line)
    elsewhere = (ROOT / "tests" / "journey" / "test_anvil.py").read_text()
    for word in ("run", "--network", "saturn", "--chain-url", "--bank-key"):
        assert word in words
        assert f'"{word}"' in elsewhere


def test_the_page_shows_every_command():
    """What `meridian chain` can do stands on the page, in a block or in a sentence."""
    from meridian.cli.chain_commands import chain

    for name, command in chain.commands.items():
        inner = getattr(command, "commands", {})
        assert f"chain {name}" in PAGE, name
        for one in inner if name not in {"stake", "leave", "withdraw"} else ():
            assert one in PAGE, one
