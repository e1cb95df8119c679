"""Funds that arrive after their first epoch has ended: the run plans anew instead of ending."""

import time
from types import SimpleNamespace

import pytest
from test_runs import Notes

from meridian.errors import Reverted
from meridian.measure.epoch import Calendar
from meridian.nym.acceptance import Mode
from meridian.nym.onchain import run as onchain_run
from meridian.nym.run import NymOptions

LENGTH_S = 100


class Funds:
    """A contract's face that refuses as often as it is told."""

    def __init__(self, *refusals: str) -> None:
        self.refusals, self.asked = list(refusals), []

    def fund(self, view, current, last) -> None:
        self.asked.append((current, last))
        if self.refusals:
            raise Reverted(self.refusals.pop(0))


@pytest.fixture
def plan(tmp_path, monkeypatch):
    calendar = Calendar(genesis_s=int(time.time()) - 10, epoch_seconds=LENGTH_S)
    monkeypatch.setattr(onchain_run, "calendar_of", lambda view: calendar)
    run = onchain_run.ChainRun(
        NymOptions(data_dir=tmp_path, mode=Mode.QUORUM, epochs=2, epoch_seconds=LENGTH_S), Notes()
    )
    return lambda funds: run._funded_plan(funds, SimpleNamespace(), set())


def test_an_epoch_that_ended_on_the_way_is_planned_anew(plan):
    funds = Funds("rewards: over")
    assert plan(funds) == [0, 1]
    assert funds.asked == [(0, 1), (0, 1)]


@pytest.mark.parametrize("refusals", [("rewards: value",), ("rewards: over",) * 5])
def test_other_refusals_and_endless_ones_are_errors(plan, refusals):
    with pytest.raises(Reverted, match=refusals[0]):
        plan(Funds(*refusals))
