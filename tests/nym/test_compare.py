"""`meridian nym compare`: the arithmetic on its own, then the command with real processes."""

import json

import pytest
from click.testing import CliRunner

from meridian.cli.main import main
from meridian.nym.acceptance import Mode
from meridian.nym.compare import Deviation, Measured, deviation, moved, outside_honest_range
from meridian.nym.mixnodes import World
from meridian.nym.rows import SCALE

WORLD = World(1, 2)
TRUTH = [WORLD.truth(node, 0) * SCALE for node in range(2)]


def measured(*values, honest=((0, 0), (0, 0))):
    rows = {number: tuple(row) for number, row in enumerate(honest, 2)}
    return Measured(Mode.RACE, 1, {0: tuple(values)}, {0: rows})


def test_distances_from_the_truth():
    run = measured(TRUTH[0] + 3, TRUTH[1] - 6)
    assert deviation(WORLD, run) == Deviation(6, 4)
    assert deviation(WORLD, run, 0) == Deviation(3, 3)
    assert deviation(WORLD, measured(None, TRUTH[1])) == Deviation(0, 0)
    assert deviation(WORLD, measured(None, None)) == Deviation(None, None)


def test_what_liars_moved():
    assert moved(measured(10, 20), measured(13, 10)) == Deviation(10, 6)
    assert moved(measured(10, None), measured(None, 10)) == Deviation(None, None)


@pytest.mark.parametrize(
    ("values", "count"), [((1, 5), 0), ((3, 9), 0), ((0, 5), 1), ((4, 10), 2), ((None, None), 0)]
)
def test_the_honest_range(values, count):
    assert outside_honest_range(measured(*values, honest=((1, 5), (3, 9)))) == count


def test_what_nobody_honest_measured_is_outside():
    assert outside_honest_range(measured(1, 1, honest=((None, 1), (None, 1)))) == 1


def test_too_few_to_bear_a_liar():
    done = CliRunner().invoke(main, ["nym", "compare", "--apis", "3"])
    assert done.exit_code == 2
    assert "--apis" in done.stderr


@pytest.mark.journey
def test_the_command_shows_who_can_bias_what(tmp_path):
    done = CliRunner().invoke(
        main,
        ["nym", "compare", "--apis", "4", "--mixnodes", "4", "--epochs", "1",
         "--epoch-seconds", "2", "--data-dir", str(tmp_path), "--json"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["problems"] == []  # among others: all runs measured the same
    runs = {(run["mode"], run["liars"]): run for run in document["runs"]}
    assert set(runs) == {(mode.value, liars) for mode in Mode for liars in (0, 1)}
    assert runs["quorum", 1]["outside_honest_range"] == 0
    assert runs["standalone", 1]["deviation"]["greatest"] >= 50 * SCALE
    assert runs["race", 1]["deviation"]["greatest"] > runs["quorum", 1]["deviation"]["greatest"]
    for mode in Mode:
        assert runs[mode.value, 0]["deviation"]["greatest"] <= 8 * SCALE
    assert document["bias"]["quorum"]["greatest"] < document["bias"]["race"]["greatest"]
