"""The Monte Carlo of averages under attack: what it must find, and that it finds the same again."""

import json

import pytest
from click.testing import CliRunner

from meridian.cli.main import main
from meridian.errors import InvalidInput
from meridian.sim.attack.sleeper import run_sleepers
from meridian.sim.attack.strategies import STRATEGIES
from meridian.sim.attack.trials import METHODS, Cell, run_trials


@pytest.fixture(scope="module")
def cells() -> dict[tuple[int, str, str], Cell]:
    found = [cell for n in (4, 7, 31) for cell in run_trials(n, 4_000, seed=3)]
    return {(cell.n, cell.strategy, cell.method): cell for cell in found}


@pytest.mark.parametrize("method", ["median", "trimmed", "wmedian"])
def test_no_strategy_moves_a_robust_average_out_of_the_honest_range(
    cells: dict[tuple[int, str, str], Cell], method: str
) -> None:
    for n in (4, 7, 31):
        for strategy in STRATEGIES:
            assert cells[n, strategy.name, method].outside == 0


def test_scaling_and_zeroing_carry_the_mean_away(
    cells: dict[tuple[int, str, str], Cell],
) -> None:
    for n in (4, 7, 31):
        for name in ("scaling", "zeroing"):
            cell = cells[n, name, "mean"]
            assert cell.outside > cell.trials * 0.9
        assert cells[n, "scaling", "mean"].gain > 1
        assert cells[n, "zeroing", "mean"].gain < -0.2


def test_silence_defers_and_earns_nothing(cells: dict[tuple[int, str, str], Cell]) -> None:
    cell = cells[7, "silence", "wmedian"]
    assert cell.deferred > cell.trials // 3
    assert abs(cell.gain) < 0.01


def test_sleepers_gain_little() -> None:
    slept = run_sleepers(13, 40, seed=3)
    assert 0 < slept.gain < 0.05
    assert slept.outside == 0
    assert slept.others_weight < slept.sleepers_weight <= 1


def test_the_same_seed_draws_the_same(cells: dict[tuple[int, str, str], Cell]) -> None:
    again = run_trials(7, 4_000, seed=3, strategies=STRATEGIES[:1])
    assert again == [cells[7, STRATEGIES[0].name, method] for method in METHODS]
    assert run_trials(7, 4_000, seed=4, strategies=STRATEGIES[:1]) != again


def test_fewer_liars_gain_less() -> None:
    gains = [
        next(c.gain for c in run_trials(31, 2_000, 3, STRATEGIES[:1], k) if c.method == "wmedian")
        for k in (0, 5, 10)
    ]
    assert gains == sorted(gains)
    with pytest.raises(InvalidInput, match="liars"):
        run_trials(7, 10, 1, liars=3)


def test_the_command(tmp_path: object) -> None:
    arguments = ["attack-sim", "--trials", "200", "--evaluators", "4", "--worlds", "2"]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0
    assert "wmedian" in shown.output
    assert "Sleepers" in shown.output
    document = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert len(document["cells"]) == len(STRATEGIES) * len(METHODS)
    assert document["sleepers"][0]["n"] == 4
    wrong = CliRunner().invoke(main, ["attack-sim", "--strategy", "bribery"])
    assert wrong.exit_code == 2
