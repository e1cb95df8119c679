"""Evaluators that are dead, killed or hostile; runs that are interrupted."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from journey.system import MERIDIAN, looks, meridian, small_demo

pytestmark = pytest.mark.journey


def test_an_epoch_is_decided_while_one_evaluator_sends_garbage(tmp_path):
    document = small_demo(tmp_path, "--sabotage", "2:garbage").document
    assert len(document["epochs"]) == 2
    for epoch in document["epochs"]:
        assert epoch["paid_atto"] == epoch["total_atto"]
        assert len(epoch["signers"]) == 3


def test_an_evaluator_killed_in_mid_epoch_catches_up_after_its_restart(tmp_path):
    ran = small_demo(tmp_path, "--kill-evaluator")
    assert len(ran.document["epochs"]) == 2
    assert "killed with SIGKILL" in ran.err
    published = sorted(tmp_path.glob("evaluators/*/public/epochs/*.outcome.json"))
    assert len(published) == 8  # four evaluators, two epochs: the killed one too
    hashes = {json.loads(path.read_text())["report_hash"] for path in published}
    assert len(hashes) == 2


def test_a_backlog_of_epochs_is_reported_while_one_evaluator_is_dead(tmp_path):
    """More epochs than an epoch may have attempts: each report must not make all the others be signed again."""
    document = meridian(
        "demo", "--data-dir", tmp_path, "--epochs", "10", "--nodes", "4", "--jobs", "1000",
        "--sabotage", "1:dead", "--challenge-seconds", "1", "--decide-timeout-s", "60", "--json",
    ).document  # fmt: skip
    assert [epoch["epoch"] for epoch in document["epochs"]] == list(range(1, 11))
    assert all(epoch["paid_atto"] == epoch["allocated_atto"] for epoch in document["epochs"])


def test_two_dead_evaluators_stop_a_committee_of_four_until_one_returns(tmp_path):
    """Nothing is lost meanwhile: the epochs, by then late, are reported and paid."""
    waits = small_demo(
        tmp_path, "--sabotage", "3:dead", "--sabotage", "4:dead", "--decide-timeout-s", "16"
    )
    assert waits.code == 4
    assert "2 members are heard, 3 are needed" in waits.err
    assert "no report of epochs [1, 2]" in waits.err
    document = small_demo(tmp_path, "--sabotage", "4:dead").document
    for epoch in document["epochs"]:
        assert epoch["paid_atto"] == epoch["allocated_atto"] == epoch["total_atto"]
        assert len(epoch["signers"]) == 3
    assert looks("verify", "--data-dir", tmp_path, "--epoch", "1").code == 0


def test_a_waiting_run_finishes_when_a_dead_evaluator_is_started_by_hand(tmp_path):
    arguments = [
        "demo", "--data-dir", str(tmp_path), "--jobs", "3000", "--nodes", "20", "--epochs", "1",
        "--challenge-seconds", "1", "--sabotage", "3:dead", "--sabotage", "4:dead", "--json",
    ]  # fmt: skip
    log = tmp_path.parent / f"{tmp_path.name}.err"
    with (
        log.open("wb") as err,
        subprocess.Popen(
            [*MERIDIAN, *arguments], stdout=subprocess.PIPE, stderr=err, text=True
        ) as run,
    ):
        deadline = time.monotonic() + 90
        while "3 are needed" not in log.read_text():
            assert run.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        config = tmp_path / "evaluators" / "3" / "config.toml"
        with subprocess.Popen(
            [*MERIDIAN, "serve", "evaluator", "--config", str(config)], stdout=subprocess.DEVNULL
        ) as returned:
            out, _ = run.communicate(timeout=120)
            returned.send_signal(signal.SIGTERM)
            assert returned.wait(30) == 0
    assert run.returncode == 0, log.read_text()[-2000:]
    [epoch] = json.loads(out)["epochs"]
    assert epoch["paid_atto"] == epoch["total_atto"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_resumes_and_pays_once(tmp_path, how):
    arguments = [
        "demo", "--data-dir", str(tmp_path), "--jobs", "6000", "--nodes", "40", "--epochs", "2",
        "--challenge-seconds", "1", "--json",
    ]  # fmt: skip
    with subprocess.Popen(
        [*MERIDIAN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 90
        while not (tmp_path / "measure" / "public" / "epochs").is_dir():
            assert process.poll() is None, process.communicate()[1][-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(how)
        _, err = process.communicate(timeout=60)
    assert process.returncode in ({130} if how == signal.SIGINT else {-signal.SIGKILL})
    if how == signal.SIGINT:
        assert "run the same command again" in err
    assert not _left_over(tmp_path)
    document = small_demo(tmp_path).document
    for epoch in document["epochs"]:
        assert epoch["paid_atto"] == epoch["allocated_atto"] == epoch["total_atto"]


def _left_over(data_dir):
    """Return the processes that still work on a data directory, after giving them time to end."""
    deadline = time.monotonic() + 15
    while True:
        found = [entry for entry in Path("/proc").glob("[0-9]*") if _works_on(entry, data_dir)]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def _works_on(process, data_dir):
    try:
        command = (process / "cmdline").read_bytes()
    except OSError:
        return False
    return str(data_dir).encode() in command and b"meridian." in command
