"""A running network as its operators see it: status, metrics, dashboard and alerts, and one id of an epoch in all logs."""

import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from tests.web.kept_demo import KeptDemo, kept_demo

from meridian.cli.main import main
from meridian.node.process import epoch_trace
from meridian.primitives.ids import network_id

pytestmark = pytest.mark.journey

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SETTINGS = {
    "jobs": 600,
    "nodes": 8,
    "epochs": 2,
    "claims": 2,
    "challenge-seconds": 4,
    "live-seconds": 30,
    "web-port": 0,
}
ALLOWED = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}
ELSEWHERE = {"meridian_watcher_look_age_seconds"}
"""Of processes that a demo does not have; `tests/docs/test_metrics_page.py` knows them from the code."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptDemo]:
    with kept_demo(tmp_path_factory.mktemp("live"), settings=SETTINGS) as running:
        running.wait()
        yield running


def status(demo: KeptDemo) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(main, ["status", str(demo.data_dir), "--json"])
    return result.exit_code, json.loads(result.output)


def test_all_is_well_while_all_is_well(demo: KeptDemo) -> None:
    code, document = status(demo)
    assert (code, document["problems"]) == (0, [])
    kinds = sorted(one["process"].partition("-")[0] for one in document["processes"])
    assert kinds == ["chain", *["evaluator"] * 4, "measure", "web"]
    assert {one["state"] for one in document["processes"]} == {"ready"}
    states = {row["epoch"]: row["state"] for row in document["epochs"]}
    assert set(states.values()) <= {"open", "committed", "reported", "unlocked", "funded"}
    assert "unlocked" in states.values()
    shown = CliRunner().invoke(main, ["status", str(demo.data_dir)])
    assert "all is well" in shown.output
    assert "3 of 3 members connected" in shown.output


def test_dashboard_and_alerts_name_only_metrics_that_a_process_gives(demo: KeptDemo) -> None:
    given = set(ALLOWED | ELSEWHERE)
    for one in status(demo)[1]["processes"]:
        with urllib.request.urlopen(one["url"] + "/metrics", timeout=5) as answer:
            text = answer.read().decode()
        families = list(text_string_to_metric_families(text))
        given |= {sample.name for family in families for sample in family.samples}
    board = json.loads((DEPLOY / "grafana/meridian.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = (DEPLOY / "prometheus/alerts.yml").read_text()
    queries += re.findall(r"^\s+expr: (.+)$", rules, re.MULTILINE)
    assert len(queries) > 30
    for query in queries:
        named = set(re.findall(r"\b(?:meridian|process|ephemera)_\w+|\bup\b", query))
        assert named, query
        assert named <= given, query


def test_one_id_finds_an_epoch_in_the_logs_of_all_who_worked_on_it(demo: KeptDemo) -> None:
    trace = epoch_trace(network_id("saturn"), status(demo)[1]["epochs"][0]["epoch"])
    told: dict[str, set[str]] = {}
    for path in (demo.data_dir / "logs").glob("*.log"):
        for text in path.read_text().splitlines():
            line = json.loads(text)
            if line.get("trace") == trace:
                told.setdefault(line["process"].partition("-")[0], set()).add(line["event"])
    assert told["measure"] >= {"sealed", "committed"}
    assert told["evaluator"] >= {"evaluated", "decided", "published"}


def test_an_evaluator_that_hangs_is_a_problem_with_advice(demo: KeptDemo) -> None:
    found = next(one for one in status(demo)[1]["processes"] if "evaluator" in one["process"])
    files = demo.data_dir.glob("evaluators/*/observe.json")
    entry = next(e for e in map(json.loads, map(Path.read_text, files)) if e["url"] == found["url"])
    os.kill(entry["pid"], signal.SIGSTOP)
    try:
        code, document = status(demo)
        problem = next(one for one in document["problems"] if one["where"] == found["process"])
        assert code == 1
        assert "does not answer" in problem["what"]
        assert "start it again" in problem["advice"]
    finally:
        os.kill(entry["pid"], signal.SIGCONT)
    deadline = time.monotonic() + 30
    while status(demo)[0] != 0:
        assert time.monotonic() < deadline, status(demo)[1]["problems"]
        time.sleep(0.2)
