"""Gas is part of the contract: exact numbers are kept, and the promised bounds hold."""

import pytest
from gas_measure import SNAPSHOT, TABLE, measure, snapshot_text, table_text


@pytest.fixture(scope="module")
def gas():
    return measure()


def test_the_snapshot_and_the_table_are_exact(gas):
    reason = "run tests/contracts/gas_measure.py and look at what changed"
    assert SNAPSHOT.read_text() == snapshot_text(gas), reason
    assert TABLE.read_text() == table_text(gas), reason


@pytest.mark.parametrize(
    ("transaction", "bound"),
    [
        ("commit", 80_000),
        ("report, 5 signatures", 180_000),
        ("report, 13 signatures", 220_000),
        ("report, 31 signatures", 340_000),
        ("claim, depth 16, first", 90_000),
        ("claim, depth 16, later", 72_000),
        # A million payees.
        ("claim, depth 20, first", 90_000),
        ("claim, depth 20, later", 72_000),
        ("omission, 2^27 jobs, batch of 1, proof alone", 130_000),
    ],
)
def test_the_bounds_hold_under_both_rules(gas, transaction, bound):
    assert max(gas[transaction].values()) <= bound


def test_an_epoch_costs_the_same_for_any_number_of_epochs_funded_at_once(gas):
    one, thousand = gas["fund, 1 epoch"], gas["fund, 1000 epochs"]
    assert abs(thousand["prague"] - one["prague"]) < 100
