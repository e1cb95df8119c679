"""The command lines of the pages in doc_lines.RUN_PAGES, run as they stand; what is put in their place is in tables here.

One network serves all of them: the README's run, on the jobs of `meridian function init`, with the pages' own function and
a sealed layer, and with the fourth evaluator dead until the README's line starts it by hand.
"""

import contextlib
import gzip
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from doc_lines import RUN_PAGES, to_run
from markdown_pages import ROOT, fenced

from meridian.cli.main import main
from meridian.journey.chain_setup import operator_key
from meridian.journey.layout import Layout
from meridian.node.network_file import NetworkFile

pytestmark = pytest.mark.journey

MORE = {
    "run --network saturn": "--challenge-seconds 1 --claims 0 --sabotage 4:dead"
    " --function my-function.cbor --layer many-small.cbor --private-layers private",
    "web run-1": "--port 0",
    "evaluate": "--private-layers private",
    "attack-sim": "--trials 200 --worlds 2",
    "nym ephemera": "--epochs 2 --epoch-seconds 2",
    "ephemera init-local-cluster": "--interval-ms 200",
}
"""Sizes and ports; a later option wins over the page's."""

INSTEAD = {
    "--seeds 1000": "--seeds 5",
    "--seeds 400": "--seeds 5",
    "--trials 100000": "--trials 200",
    "--epoch 3": "--epoch 1",
    "--epoch 2": "--epoch 1",
    "net/aggregator": "run-1/measure",
    "http.server": "http.server 0",
}
"""What stands on the pages = what is run."""

FOREGROUND = ("serve evaluator", "web run-1", "ephemera run-node")
EXPECTED_CODE = {"status run-1": 1}
"""The run is over, so status says which processes are gone."""


class Reader:
    """Somebody who follows the pages in a directory of their own."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.children: list[subprocess.Popen[str]] = []
        self.said: dict[str, str] = {}
        self.ran: list[tuple[str, str]] = []

    def follow(self, page: str, lines: list[str] | None = None) -> None:
        """Run lines of a page."""
        for line in to_run(page) if lines is None else lines:
            self.ran.append((page, line))
            words = shlex.split(self.real(line), comments=True)
            if words[0] == "python3":
                self.serve_files(words)
                continue
            words = words[2:] if words[:2] == ["./dev", "meridian"] else words[1:]
            for start, more in MORE.items():
                if " ".join(words).startswith(start):
                    words += shlex.split(more)
            if " ".join(words).startswith(FOREGROUND):
                self.start([sys.executable, "-m", "meridian.cli.main", *words])
            else:
                self.run(line, words)

    def real(self, line: str) -> str:
        for shown, put in {**INSTEAD, **self.names}.items():
            line = re.sub(rf"(?<![\w-]){re.escape(shown)}(?![\w-])", put, line)
        return line

    def run(self, line: str, words: list[str]) -> None:
        if words == ["sim"]:
            words = ["sim", "--seeds", "20"]
        result = CliRunner().invoke(main, words)
        wanted = EXPECTED_CODE.get(" ".join(words), 0)
        assert result.exit_code == wanted, f"{line}\n{words}\n{result.output[-3000:]}"
        self.said[line] = result.output

    def start(self, command: list[str]) -> str:
        """Start a server; its first line."""
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.children.append(child)
        assert child.stdout is not None
        told = child.stdout.readline()
        assert told, command
        threading.Thread(target=child.stdout.read, daemon=True).start()
        if url := re.search(r"http://127\.0\.0\.1:\d+/", told):
            self.names["http://127.0.0.1:8640/"] = url[0]
        return told

    def serve_files(self, words: list[str]) -> None:
        """`python3 -m http.server`, and a look at what it serves."""
        told = self.start([sys.executable, "-u", *words[1:]])
        port = re.search(r"port (\d+)", told)
        assert port is not None, told
        with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/data/network.json") as answer:
            assert json.load(answer)

    def close(self) -> None:
        for child in reversed(self.children):
            child.terminate()
            child.wait(30)
            assert child.stdout is not None
            child.stdout.close()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    made = Reader()
    with contextlib.chdir(tmp_path_factory.mktemp("pages")):
        yield made
        made.close()


def test_a_function_and_layers_are_made(reader: Reader) -> None:
    reader.follow("docs/functions.md")
    shutil.copy("my-function/jobs.ndjson", "logs.ndjson")
    text = (ROOT / "docs/fraud-layers.md").read_text()
    Path("many-small.toml").write_text(fenced(text, "toml")[0])
    reader.follow("docs/fraud-layers.md", to_run("docs/fraud-layers.md")[:-2])


def test_the_readme(reader: Reader) -> None:
    job = json.loads(Path("logs.ndjson").read_text().splitlines()[0])
    reader.names |= {"NODE": job["peer_id"], "JOB": job["job_id"]}
    first, *others = to_run("README.md")
    reader.follow("README.md", [first])
    port = NetworkFile.load(Path("run-1")).rpc_url.rpartition(":")[2]
    up = [sys.executable, "-m", "meridian.cli.main", "chain", "up", "--data-dir", "run-1"]
    reader.start([*up, "--port", port])
    reader.follow("README.md", others)


def test_a_sealed_reason_is_opened(reader: Reader) -> None:
    reader.follow("docs/fraud-layers.md", to_run("docs/fraud-layers.md")[-2:])


def test_old_epochs_are_evaluated_again(reader: Reader) -> None:
    reader.follow("docs/backfill.md")
    assert any(Path("results").glob("epoch-*.svg"))


def test_backups(reader: Reader) -> None:
    reader.follow("docs/backup.md", to_run("docs/backup.md")[:-1])
    reader.names["net/aggregator"] = "restored"
    reader.follow("docs/backup.md", to_run("docs/backup.md")[-1:])
    assert any(Path("restored").iterdir())


def test_the_explorer(reader: Reader) -> None:
    *others, listed, answered = to_run("docs/explorer.md")
    key = operator_key(Layout(Path("run-1")), reader.names["NODE"])
    Path("operator.key").touch(0o600)
    Path("operator.key").write_text(key.secret.hex())
    reader.follow("docs/explorer.md", [*others, listed])
    shown = CliRunner().invoke(main, ["complaint", "list", "run-1", "--json"])
    found = re.search(r'"id": ?"(?:0x)?([0-9a-f]+)"', shown.output)
    assert found is not None, shown.output
    reader.names["COMPLAINT"] = found[1]
    reader.follow("docs/explorer.md", [answered])


def test_averages_and_simulators(reader: Reader) -> None:
    Path("scores.csv").write_text("rater,a,b\nr1,1.5,2\nr2,1.25,2\nr3,1.5,3\n")
    reader.follow("docs/averages.md")
    reader.follow("docs/simulator.md")
    reader.follow("docs/scenarios.md")


def test_spark(reader: Reader) -> None:
    lined = '{"randomness": "00", "round_details": {"maxTasksPerNode": 1, "retrievalTasks": []}, "measurements": []}\n'
    Path("rounds.ndjson").write_text(lined)
    Path("rounds.ndjson.gz").write_bytes(gzip.compress(lined.encode()))
    reader.follow("docs/spark.md")


def test_nym(reader: Reader) -> None:
    reader.follow("docs/nym.md")


def test_a_cluster_of_four(reader: Reader) -> None:
    reader.follow("docs/ephemera-node.md")


def test_the_state_of_the_run(reader: Reader) -> None:
    reader.follow("docs/operating.md")
    assert "it was ended, or killed" in reader.said["meridian status run-1"]


def test_nothing_was_left_out(reader: Reader) -> None:
    wanted = [(page, line) for page in RUN_PAGES for line in to_run(page)]
    assert sorted(reader.ran) == sorted(wanted)
