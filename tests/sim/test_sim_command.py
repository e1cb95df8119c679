"""`meridian sim`: what it prints, and its exit codes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner, Result

from meridian.cli.main import main
from meridian.sim.killers import KILLERS
from meridian.sim.mutants import MUTANTS
from meridian.sim.mutation import applied
from meridian.sim.world import run_seed


def sim(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["sim", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_batch_is_the_same_on_one_and_on_two_processes_and_a_replay_has_its_hash():
    ranges = ("--seeds", 30, "--first-seed", 5, "--json")
    alone, spread = (json.loads(sim(*ranges, "--jobs", jobs).stdout) for jobs in (1, 2))
    assert alone["violations"] == []
    assert {**alone, "seconds": 0} == {**spread, "seconds": 0}
    assert alone["reached"]["decided in view 0"] > 0
    replay = sim("--replay", 17)
    assert replay.exit_code == 0
    assert replay.stdout.rstrip().endswith(f"trace {alone['traces']['17']}")
    assert " decided " in replay.stdout
    assert "PROPOSE epoch 0 view 0" in replay.stdout
    assert json.loads(sim("--replay", 17, "--json").stdout)["trace_hash"] == alone["traces"]["17"]


def test_a_clean_batch_prints_counters_and_exits_with_0():
    result = sim("--seeds", 12, "--jobs", 1)
    assert result.exit_code == 0
    assert "violations: 0" in result.stdout
    assert "  decided in view 0\n" in result.stdout


def test_a_broken_core_makes_it_exit_with_1_and_print_the_seed():
    name = "nobody wishes"
    seed, nodes = KILLERS[name].seed, 4
    with applied(MUTANTS[name]):
        result = sim("--first-seed", seed, "--seeds", 1, "--jobs", 1, "--nodes", nodes)
        replay = sim("--replay", seed, "--nodes", nodes)
    assert result.exit_code == 1
    assert f"meridian sim --nodes {nodes} --replay {seed}" in result.stdout
    assert "plan: seed" in result.stdout
    assert "violations: 1" in result.stdout
    assert replay.exit_code == 1
    assert "broken: termination" in replay.stdout
    assert not run_seed(seed, nodes).violations


def test_a_surviving_mutant_makes_it_exit_with_1(monkeypatch):
    from meridian.sim import mutants
    from meridian.sim.mutation import Mutant

    table = {"harmless": Mutant("harmless", ()), "the chain": MUTANTS["the chain is not signed"]}
    monkeypatch.setattr(mutants, "MUTANTS", table)
    result = sim("--mutants", "--budget", 2, "--jobs", 1)
    assert result.exit_code == 1
    assert "SURVIVED harmless" in result.stdout
    del table["harmless"]
    assert sim("--mutants", "--budget", 2, "--jobs", 1).exit_code == 0


def test_modes_exclude_each_other():
    assert sim("--twins", "--mutants").exit_code == 2
    assert sim("--aim", "locks", "--twins").exit_code == 2
    assert sim("--aim", "locks", "--nodes", 3).exit_code == 2


def test_aimed_worlds_run_replay_and_fail_by_the_same_command():
    batch = json.loads(sim("--aim", "locks", "--seeds", 4, "--jobs", 1, "--json").stdout)
    assert batch["violations"] == []
    assert batch["reached"]["lock carried"] > 0
    replay = sim("--aim", "locks", "--replay", 2)
    assert "aim=locks" in replay.stdout
    assert replay.stdout.rstrip().endswith(f"trace {batch['traces']['2']}")
    killer = KILLERS["lock check removed"]
    with applied(MUTANTS["lock check removed"]):
        broken = sim("--aim", killer.family, "--first-seed", killer.seed, "--seeds", 1, "--jobs", 1)
    assert broken.exit_code == 1
    assert f"again: meridian sim --aim locks --nodes 4 --replay {killer.seed}" in broken.stdout


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_ends_it_cleanly(jobs):
    program = "from meridian.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "sim", "--seeds", "100000", "--jobs", str(jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    process.stderr.readline()  # it has told what it does: the program is loaded, and the worlds have begun
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_worlds_of_the_broadcast_run_replay_and_fail_by_the_same_command():
    batch = json.loads(sim("--broadcast", "--seeds", 3, "--jobs", 1, "--json").stdout)
    assert batch["violations"] == []
    assert batch["reached"]["SEND"] > 0
    replay = sim("--broadcast", "--replay", 2)
    assert replay.exit_code == 0
    assert replay.stdout.rstrip().endswith(f"trace {batch['traces']['2']}")
    assert "from 1: ECHO" in replay.stdout
    assert sim("--broadcast", "--twins").exit_code == 2
    with applied(MUTANTS["quorum - 1"]):
        broken = sim("--broadcast", "--first-seed", 45, "--seeds", 1, "--jobs", 1)
    assert broken.exit_code == 1
    assert "again: meridian sim --broadcast --nodes 4 --replay" in broken.stdout
