"""The tutorials about a network of one's own: every line is run in its order, servers and chain as processes.

One network serves all three pages, as they say: it is founded, a second evaluator joins, and somebody disputes.
"""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from markdown_pages import ROOT, fenced

import meridian
from meridian.cli.main import main
from meridian.journey.host import free_port
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.link_identity import link_identity
from meridian.primitives.amounts import ATTO
from meridian.primitives.ids import address_text

ROLES = {
    "AGGREGATOR": "net/aggregator/keys/aggregator.key",
    "EVALUATOR": "net/evaluator/keys/evaluator.key",
    "OPERATOR": "net/node/keys/operator.key",
    "SPONSOR": "net/sponsor/keys/sponsor.key",
    "REFEREE": "net/sponsor/keys/sponsor.key",
}
LINKS = {"LINK_KEY": "net/evaluator/keys/link.key", "SECOND_LINK_KEY": "second/keys/link.key"}
FOREGROUND = (["chain", "up"], ["serve", "measure"], ["serve", "evaluator"])

EXPECTED_CODE = {"chain dispute challenge": 7}
"""The window of the tutorial's network is over; the page says so."""


class Reader:
    """Somebody who follows the pages in a directory of their own."""

    def __init__(self) -> None:
        self.ports = {shown: str(free_port(0)) for shown in ("8545", "7390", "7400", "7401")}
        self.children: list[subprocess.Popen[str]] = []
        self.said: list[tuple[str, str]] = []

    def follow(self, page: str) -> None:
        """Run the lines of a page."""
        text = (ROOT / "docs/tutorials" / page).read_text()
        for block in fenced(text, 'json title="jobs.ndjson"'):
            Path("jobs.ndjson").write_text(block)
        for line in (line for block in fenced(text, "sh") for line in block.splitlines()):
            self.run(line)

    def run(self, line: str) -> None:
        words = [self.real(word) for word in shlex.split(line)[1:]]
        if words[:2] == ["init", "sponsor"]:  # the page takes the default
            words += ["--rpc-url", f"http://127.0.0.1:{self.ports['8545']}"]
        if words[:2] in FOREGROUND:
            self.start(words)
            return
        if words[0] == "verify":
            self.published()
        result = CliRunner().invoke(main, words)
        wanted = EXPECTED_CODE.get(" ".join(words[:3]), 0)
        assert result.exit_code == wanted, f"{line}\n{result.output}"
        self.said.append((line, result.output))

    def real(self, word: str) -> str:
        if word in ROLES:
            return address_text(load_or_create_key(Path(ROLES[word])).address)
        if word in LINKS:
            return link_identity(load_or_create_secret(Path(LINKS[word]))).link_key.hex()
        for shown, port in self.ports.items():
            word = re.sub(rf"\b{shown}\b", port, word)
        return word

    def start(self, words: list[str]) -> None:
        child = subprocess.Popen(
            [sys.executable, "-m", "meridian.cli.main", *words], stdout=subprocess.PIPE, text=True
        )
        self.children.append(child)
        assert child.stdout is not None
        for told in child.stdout:
            if json.loads(told).get("event", "ready") == "ready":
                break
        assert child.poll() is None
        threading.Thread(target=child.stdout.read, daemon=True).start()

    def published(self) -> None:
        """Wait until the evaluator has published what it reported, and the report pays."""
        deadline = time.monotonic() + 60
        while not list(Path("net/evaluator/state/public").glob("epochs/*")) or not unlocked():
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def close(self) -> None:
        """End everything; each process must end well."""
        for child in reversed(self.children):
            child.terminate()
            assert child.wait(30) == 0
        for child in self.children:
            assert child.stdout is not None
            child.stdout.close()


def unlocked() -> bool:
    with meridian.open_network("net") as network:
        return "unlocked" in network.epochs()["state"].to_pylist()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("own"))
    made = Reader()
    yield made
    made.close()
    os.chdir(before)


def test_a_network_is_founded_and_pays_its_node(reader: Reader) -> None:
    reader.follow("own-network.md")
    claims = [said for line, said in reader.said if "chain claim" in line]
    assert "12.5" in claims[0]
    assert "every link holds" in next(said for line, said in reader.said if "verify" in line)
    with meridian.open_network("net") as network:
        assert network.name == "bazaar"
        [row] = network.epoch(1).nodes().to_pylist()
    assert (row["node_id"], row["jobs"], row["reward_atto"]) == ("carl", 2, 12.5 * ATTO)


def test_the_block_of_the_library_page_submits_there(reader: Reader) -> None:
    page = (ROOT / "docs/library.md").read_text()
    [block] = fenced(page, 'python title="on a running network"')
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(None):
        exec(compile(block, "docs/library.md", "exec"), names)
    first = names["result"]
    assert (first.records, first.accepted) == (2, 0)  # they are counted already
    jobs = [json.loads(line) for line in Path("jobs.ndjson").read_text().splitlines()]
    more = [{**jobs[0], "job_id": "job-3"}, {**jobs[1], "job_id": ""}]
    key = Path("net/node/keys/operator.key")
    again = meridian.submit_jobs(more, "net", receipts="more", node_id="carl", key_file=key)
    assert (again.records, again.accepted) == (2, 1)  # late, in the epoch that is open now
    assert [one.field for one in again.rejected] == ["job_id"]
    with pytest.raises(meridian.InvalidInput, match="token"):
        meridian.submit_jobs(more, "net", receipts="more")


def test_a_second_evaluator_joins(reader: Reader) -> None:
    reader.follow("evaluator.md")
    _, status = reader.said[-1]
    assert address_text(load_or_create_key(Path("second/keys/evaluator.key")).address)[:8] in status


def test_somebody_disputes_and_is_answered(reader: Reader) -> None:
    reader.follow("dispute.md")
    compared = next(said for line, said in reader.said if "node compare" in line)
    assert "everything agrees" in compared
    assert "disputes: unlocked" in reader.said[-1][1]
