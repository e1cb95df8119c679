"""What `meridian status` finds: processes that run, that were killed, that do not answer, and epochs that are late."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.node.unreachable_network import write_unreachable_network

from meridian.cli.main import main
from meridian.cli.status_screen import _work
from meridian.node.network_status import ask, network_status
from meridian.node.observe.observation import FILE_NAME, Observation, announce
from meridian.node.observe.point import ObservePoint


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A network whose chain cannot be reached."""
    write_unreachable_network(tmp_path)
    return tmp_path


def problems(document: dict[str, Any]) -> dict[str, str]:
    return {one["where"]: one["what"] for one in document["problems"]}


def test_what_cannot_be_reached_is_found_and_said(network: Path) -> None:
    document = network_status(network)
    assert set(problems(document)) >= {"chain", "measure", "processes"}
    result = CliRunner().invoke(main, ["status", str(network), "--json"])
    assert result.exit_code == 4
    assert json.loads(result.output)["chain"]["reached"] is False
    shown = CliRunner().invoke(main, ["status", str(network)])
    assert "cannot be reached" in shown.output
    once = CliRunner().invoke(main, ["top", str(network)])
    assert (once.exit_code, "something is wrong" in once.output) == (0, True)


def test_processes_are_asked_and_the_killed_one_is_told_from_the_hung_one(network: Path) -> None:
    for name in ("well", "hung", "killed", "other/deep"):
        (network / name).mkdir(parents=True)
    seen = Observation(ready=False, problem="no members", detail={"looks": 1, "look_age_s": 2.0})
    point = ObservePoint("watcher", network / "other/deep", lambda: seen, "127.0.0.1", 0)
    point.start()
    try:
        announce(network / "hung", "evaluator-2", "http://127.0.0.1:9")
        gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)  # fmt: skip
        killed = {"process": "evaluator-1", "url": "http://127.0.0.1:9", "pid": int(gone.stdout)}
        (network / "killed" / FILE_NAME).write_text(json.dumps(killed))
        (network / "well" / FILE_NAME).write_text("{")
        document = network_status(network)
    finally:
        point.stop()
    states = {one["process"]: one["state"] for one in document["processes"]}
    assert states == {
        "watcher": "waiting",
        "evaluator-1": "down",
        "evaluator-2": "down",
        str(network / "well" / FILE_NAME): "unknown",
    }
    found = problems(document)
    assert found["watcher"] == "no members"
    assert found["evaluator-1"] == "it was ended, or killed"
    assert found["evaluator-2"].startswith("it does not answer")
    assert found["evaluators"] == "2 of 2 evaluators here cannot work"
    assert os.getpid() != killed["pid"]


def test_another_server_on_the_port_is_not_the_process(network: Path) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b'{"error": {"field": "request", "reason": "Not Found"}}')

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Other)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        (network / "well").mkdir()
        announce(network / "well", "evaluator-1", f"http://127.0.0.1:{server.server_port}")
        found = problems(network_status(network))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert "something else answers" in found["evaluator-1"]


def test_a_url_is_asked_as_it_is_written() -> None:
    with pytest.raises(ValueError, match="is not an http"):
        ask("ftp://127.0.0.1", "/state")
    with pytest.raises(ConnectionRefusedError):
        ask("https://127.0.0.1:9/below", "/state")


def test_a_directory_without_a_network_is_not_found(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["status", str(tmp_path)]).exit_code == 3


@pytest.mark.parametrize(
    ("committed", "published", "said"),
    [
        (None, None, "nothing is committed"),
        (4, None, "has published none, epoch 4 is committed"),
        (9, 4, "5 behind"),
        (4, 4, "0 behind"),
    ],
)
def test_an_evaluators_lag_is_shown(
    committed: int | None, published: int | None, said: str
) -> None:
    detail = {"epochs": [], "connected": 2, "peers": 3, "chain_age_s": 1.5,
              "committed_epoch": committed, "published_epoch": published}  # fmt: skip
    shown = _work("evaluator-1", detail)
    assert shown == f"2 of 3 members connected; {said}; no epoch yet; chain read 1.5 s ago"


def test_the_age_of_the_explorers_site_is_shown() -> None:
    assert _work("web", {"age_s": None}) == "no site yet"
    assert _work("web", {"age_s": 2.5}) == "site 2.5 s old"
