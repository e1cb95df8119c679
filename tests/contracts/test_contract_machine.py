"""Any order of calls, good and bad: the contracts agree with the model, and no money is lost or made."""

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings
from machine.network_machine import NetworkMachine

ROOT = Path(__file__).resolve().parents[2]

TestNetwork = NetworkMachine.TestCase
TestNetwork.settings = settings(
    max_examples=200,
    stateful_step_count=60,
    suppress_health_check=list(HealthCheck),
)


def test_the_command_runs_examples_and_says_what_they_reached():
    command = [sys.executable, "-m", "tests.contracts.machine", "--examples", "2", "--steps", "5"]
    done = subprocess.run(
        [*command, "--workers", "1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "evaluations.submit" in done.stdout
    assert "2 examples of up to 5 steps" in done.stdout
