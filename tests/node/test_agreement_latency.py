"""The benchmark of the agreement runs: four real members in two processes decide one block over TLS. Not timed."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_four_members_in_two_processes_decide_the_same_block():
    """The coordinator raises if two members name different blocks or reports."""
    arguments = ["--n", "4", "--body-bytes", "6000", "--epochs", "1", "--versus", "production"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "agreement_latency", *arguments, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [result] = json.loads(done.stdout)
    assert len(result["blocks"]) == 1
    assert result["transport"] == "TLS 1.3"
    assert result["counters"]["signature_checks"] >= 4 * (3 + 3 + 1 + 2 + 2 + 2 * 2)
    assert result["counters"].get("frames_rejected", 0) == 0
