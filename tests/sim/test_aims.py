"""Aimed worlds: the protocol holds in every family, each family does what it is for, and a seed is a world."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from meridian.errors import InvalidInput
from meridian.sim.aims import FAMILIES, draw_aimed, run_aimed, run_world
from meridian.sim.mutants import MUTANTS
from meridian.sim.world import Result, run_seed

SEEDS = range(10)

MEANT = {
    "crashes": {"restart": 20},
    "locks": {"lock carried": 10},
    "views": {"dead for ever": 4, "WISH": 100},
    "repeats": {"decided in view 0": 30},
    "fetch": {"dead for ever": 3, "FETCH_REPLY": 50},
    "disks": {"restart": 20, "disk wiped": 3},
    "clock": {"clock jumped back": 30},
    "guilt": {"EVIDENCE": 20},
    "reports": {"REPORT_SIG": 40},
    "pests": {"double_row": 1},
    "copies": {"row copied": 2, "refused opening: is not what was committed": 1},
    "forgery": {"refused signature: is not that of member N": 20},
}
"""What must happen in the slice, at least so often."""


@pytest.fixture(scope="module")
def results() -> dict[str, list[Result]]:
    return {family: [run_aimed(family, seed, 4) for seed in SEEDS] for family in FAMILIES}


def test_no_aimed_world_breaks_a_law(results):
    broken = [r.describe() for family in results.values() for r in family if r.violations]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_does_what_it_is_for(results, family):
    reached: Counter[str] = Counter()
    for result in results[family]:
        reached.update(dict(result.reached))
    for name, least in MEANT[family].items():
        assert reached[name] >= least, f"{name}: {reached[name]} times"


def test_seven_members_survive_a_seed_of_every_family():
    for family in FAMILIES:
        result = run_aimed(family, 1, 7)
        assert not result.violations, result.describe()


def test_every_family_is_there_for_a_mutant():
    assert {mutant.aim for mutant in MUTANTS.values()} - {""} == FAMILIES.keys()


def test_the_world_and_its_description_do_not_depend_on_the_hash_seed_of_the_process():
    program = (
        "from meridian.sim.aims import FAMILIES, draw_aimed, run_aimed\n"
        "for family in FAMILIES:\n"
        "    print(draw_aimed(family, 2, 4).describe(), run_aimed(family, 2, 4).trace_hash)\n"
    )
    traces = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "77")
    }
    assert len(traces) == 1
    assert traces != {b""}


def test_without_a_family_everything_is_drawn_and_three_members_are_too_few():
    assert run_world("", 3, 4) == run_seed(3, 4)
    with pytest.raises(InvalidInput, match="at least 4"):
        draw_aimed("locks", 1, 3)
