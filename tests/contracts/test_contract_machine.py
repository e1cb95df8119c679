"""Any order of calls, good and bad: the contracts agree with the model, and no money is lost or made."""

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from machine.different import different_examples
from machine.network_machine import NetworkMachine
from machine.stage import REACHED

ROOT = Path(__file__).resolve().parents[2]

OFTEN = {
    "evaluations.submit",
    "commitment_proofs.bad_sum",
    "disputes.escalate",
    "rewards.claim",
    "rewards.claim_many",
    "rewards.claim_relayed",
}
"""What 80 examples do again and again; a machine that no longer gets there tests little."""

AGAINST_REPORTS = ("wrong_reward", "decreased", "bad_claims", "disordered_claims")


def test_contracts_and_model_agree_after_every_step():
    chosen = settings(
        max_examples=80, stateful_step_count=60, suppress_health_check=list(HealthCheck)
    )
    with different_examples():
        run_state_machine_as_test(NetworkMachine, settings=chosen)
    assert OFTEN - REACHED.keys() == set()
    assert any(REACHED[f"report_proofs.{name}"] for name in AGAINST_REPORTS)


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
