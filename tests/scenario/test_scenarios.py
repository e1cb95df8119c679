"""Every story ends as it must, with real processes; `meridian scenario NAME` plays the same.

In every run of the suite: the shortest story of an aggregator and that of a committee. All of them, by one command:
``MERIDIAN_SCENARIOS=all python -m pytest tests/scenario``.
"""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from meridian.audit.evidence import State
from meridian.errors import NotFound
from meridian.node.chain.rpc import Rpc
from meridian.node.chain_view import ChainView
from meridian.node.evaluator.artefacts import ArtefactClient
from meridian.node.network_file import NetworkFile
from meridian.node.watch.escalation import NEEDED, SIGNED, Escalation
from meridian.scenario.catalogue import SCENARIOS, describe, play

IN_EVERY_RUN = ("inflates-sum",)
CHOSEN = tuple(SCENARIOS) if os.environ.get("MERIDIAN_SCENARIOS") == "all" else IN_EVERY_RUN
MERIDIAN = (sys.executable, "-m", "meridian.cli.main", "scenario")


@pytest.mark.parametrize("name", CHOSEN)
def test_the_story_ends_as_it_must(name: str, tmp_path: Path) -> None:
    command = [*MERIDIAN, name, "--json", "--data-dir", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    story = json.loads(done.stdout)
    assert (done.returncode, story["ended_well"], story["problem"]) == (0, True, ""), story
    assert any("verify" in fact for fact in story["held"])
    assert_nothing_is_left_to_accuse(tmp_path / "data")


def assert_nothing_is_left_to_accuse(data_dir: Path) -> None:
    """A watcher that comes afterwards, without memory, finds nothing in what stands."""
    port = (data_dir / "chain" / "port").read_text().strip()
    database = str(data_dir / "chain" / "chain.sqlite")
    chain = subprocess.Popen(
        [sys.executable, "-m", "meridian.node.chain.embedded", "--db", database, "--port", port,
         "--chain-id", "31337"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert chain.stdout is not None
        assert b"ready" in chain.stdout.readline()
        done = subprocess.run(
            [sys.executable, "-m", "meridian.cli.main", "watch", "--data-dir", str(data_dir),
             "--state-dir", str(data_dir / "late"), "--gateway", str(data_dir / "gateway"),
             "--once", "--dry-run", "--json"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert_everybody_shows_how_the_report_follows(data_dir)
    finally:
        chain.terminate()
        chain.wait(10)
        chain.stdout.close()
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["faults"] for event in events if event["event"] == "commitment"]
    assert all(not event.get("faults") for event in events), events
    assert not [event for event in events if event["event"] == "accusation"], events


def assert_everybody_shows_how_the_report_follows(data_dir: Path) -> None:
    """Each evaluator's outcome alone is enough for an audit, so nothing would go to the referees."""
    network = NetworkFile.load(data_dir)
    places = network.places(data_dir)
    fetch = ArtefactClient(network.measure_url, places).fetch
    with contextlib.closing(Rpc(network.rpc_url)) as rpc:
        escalation = Escalation(
            network, rpc, places, fetch, data_dir / "late", patience_s=0, case_url=""
        )
        for report in ChainView(rpc, network.contracts).reported():
            outcomes = escalation.outcomes(report)
            assert outcomes  # equal ones are one; who was stopped early may have published none
            for outcome in outcomes:
                links = {link.name: link for link in escalation.audit(report, outcome)[1]}
                assert {links[name].state for name in (*NEEDED, *SIGNED)} == {State.HOLDS}


def test_the_list_names_every_story_with_a_sentence() -> None:
    done = subprocess.run([*MERIDIAN, "list", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {name: describe(name) for name in SCENARIOS}
    assert all(describe(name).endswith(".") for name in SCENARIOS)


def test_an_unknown_story_is_refused_by_name() -> None:
    with pytest.raises(NotFound, match="no scenario 'fairy-tale'"):
        play("fairy-tale", print)


def test_a_story_that_does_not_hold_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(_root, story) -> None:
        story.must(1 + 1 == 3, "one and one is three")

    monkeypatch.setitem(SCENARIOS, "wrong", wrong)
    document = play("wrong", lambda _: None)
    assert not document["ended_well"]
    assert "one and one is three" in document["problem"]
