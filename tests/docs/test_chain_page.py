"""docs/chain.md: every command that it shows is run, in its order, on a chain process."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from markdown_pages import ROOT, fenced

from cli.chain_process import KEYS, write_keys
from meridian.cli.main import main
from meridian.disputes.promises import double_receipt
from meridian.measure.receipt import Receipt, SignedReceipt
from meridian.node.accusation_file import file_of
from meridian.node.chain.rpc import Rpc
from meridian.node.deployment_file import Deployment
from meridian.primitives.eip712 import Domain
from meridian.primitives.fil_address import fil_text
from meridian.primitives.ids import address_text

PAGE = (ROOT / "docs" / "chain.md").read_text()
SHOWN_URL = "http://127.0.0.1:8545"
AGGREGATOR = KEYS["operator"]
EXPECTED_CODE = {"chain withdraw evaluator": 7}


def commands() -> list[list[str]]:
    lines = [line for block in fenced(PAGE, "sh") for line in block.split("\n") if line]
    return [words for words in (shlex.split(line)[1:] for line in lines) if words[0] != "run"]


class Reader:
    """Somebody who follows the page in a directory of their own."""

    def __init__(self) -> None:
        self.url = ""
        self.chain: subprocess.Popen[str] | None = None
        self.ran = 0
        files = write_keys(Path())
        files["poor"].rename("operator.key")
        Path("passphrase").write_text("correct horse\n")

    def run(self, words: list[str]) -> Any:
        if words[:2] == ["chain", "up"]:
            self._up(words)
            return
        prepare = {"deploy": self._parameters, "reward": self._reward, "dispute": self._accusation}
        for word in words[:2]:
            if word in prepare:
                prepare[word]()
        arguments = [self._real(word) for word in words]
        result = CliRunner().invoke(main, arguments)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        wanted = EXPECTED_CODE.get(" ".join(words[:3]), 0)
        assert result.exit_code == wanted, f"{' '.join(words)}\n{result.output}"
        self.ran += 1

    def _real(self, word: str) -> str:
        if word == "NODE":
            text = next(Path("demo/results").glob("*.json")).read_text()
            return str(json.loads(text)["payees"][0]["node_id"])
        return word.replace(SHOWN_URL, self.url)

    def _up(self, words: list[str]) -> None:
        accounts = {
            "ACCOUNT": "0x" + json.loads(Path("sponsor.json").read_text())["address"].lower(),
            "EVALUATOR": address_text(KEYS["evaluator"].address),
        }
        arguments = [accounts.get(word, word) for word in words]
        command = [sys.executable, "-m", "meridian.cli.main", *arguments, "--port", "0"]
        self.chain = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.chain.stdout is not None
        self.url = json.loads(self.chain.stdout.readline())["url"]

    def _parameters(self) -> None:
        block = next(one for one in fenced(PAGE, "json") if "epoch_seconds" in one)
        Path("network-parameters.json").write_text(block)
        document = json.loads(block)
        shown = document["aggregators"][0]
        text = block.replace(shown, address_text(AGGREGATOR.address))
        Path("network-parameters.json").write_text(text)

    def _reward(self) -> None:
        block = next(one for one in fenced(PAGE, "json") if "fil_for_epoch" in one)
        contract = fil_text(Deployment.load(Path("net")).contracts.evaluations)
        Path("reward.json").write_text(block.replace("f410f…", contract))

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
        if self.chain is not None:
            self.chain.kill()
            self.chain.wait()
            assert self.chain.stdout is not None
            self.chain.stdout.close()


@pytest.mark.journey
def test_every_command_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    reader = Reader()
    try:
        for words in commands():
            reader.run(words)
    finally:
        reader.close()
    assert reader.ran == len(commands()) - 1  # all but the chain itself
    deployment = Deployment.load(Path("net"))
    assert deployment.network == "bazaar"


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
        if name == "dispute":
            for one in inner:
                assert one in PAGE, one
