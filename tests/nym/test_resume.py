"""Ctrl-C in mid-epoch stops everything, and the same command goes on: contract and Nym-Apis with all that they know."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.journey


def command(root: Path) -> list[str]:
    return [
        sys.executable, "-m", "meridian.cli.main", "nym", "ephemera", "--mode", "race", "--apis", "2",
        "--epochs", "3", "--epoch-seconds", "2", "--data-dir", str(root), "--json",
    ]  # fmt: skip


def left_behind(root: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"--data-dir {root} " in line and "meridian.nym." in line:
            found.append(line)
    return found


def test_ctrl_c_stops_cleanly_and_the_same_directory_resumes(tmp_path):
    root = tmp_path / "nym"
    with subprocess.Popen(
        command(root), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as first:
        for line in first.stderr:
            if "epoch 0: settled" in line:
                break
        time.sleep(0.7)  # in the middle of epoch 1
        assert len(left_behind(root)) == 3
        first.send_signal(signal.SIGINT)
        assert first.wait(20) == 130
        assert first.stdout.read() == ""
    assert left_behind(root) == []

    done = subprocess.run(command(root), capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["problems"] == []
    epochs = [epoch["epoch"] for epoch in document["epochs"]]
    assert epochs[:2] == [0, 1]  # what was begun is settled with what was measured
    assert epochs[2] > 1
    for epoch in document["epochs"]:
        assert set(epoch["findings"].values()) == {True}
    assert left_behind(root) == []
