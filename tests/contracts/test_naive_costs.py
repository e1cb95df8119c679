"""The table of costs says what the embedded chain charges, exactly, and Meridian's row does not grow."""

import json

import pytest
from cost_measure import (
    BLOCK_GAS,
    MAIN,
    NODES,
    PAGE,
    SNAPSHOT,
    epochs,
    measure,
    page_text,
    snapshot_text,
)

HOW = "run tests/contracts/cost_measure.py and look at what changed"


@pytest.fixture(scope="module")
def gas():
    return measure()


def test_the_snapshot_and_the_page_are_exact(gas):
    assert SNAPSHOT.read_text() == snapshot_text(gas), HOW
    assert PAGE.read_text() == page_text(gas, json.loads(MAIN.read_text())), HOW


def test_only_one_model_fits_in_a_block_and_costs_the_same_for_all_sizes(gas):
    rows = epochs(gas, json.loads(MAIN.read_text()))
    ours = rows.pop("Meridian")
    assert len(set(ours)) == 1
    assert ours[0] < BLOCK_GAS // 100
    for model, costs in rows.items():
        assert [cost * NODES[0] // n for cost, n in zip(costs, NODES, strict=True)] == [
            costs[0]
        ] * 3, model
        assert costs[0] > ours[0], model
        assert costs[-1] > 1000 * BLOCK_GAS, model
