"""The tables at the end of a run, also for runs in which there is little to show."""

from pathlib import Path
from typing import Any

import pytest

from meridian.cli.tables import print_run
from meridian.journey.run import RunResult
from meridian.journey.stream import Ingested

COIN = 10**18


def epoch_of(number: int, amounts: dict[str, int]) -> dict[str, Any]:
    return {
        "epoch": number,
        "jobs": 1_000,
        "nodes": len(amounts),
        "commitment_root": "0x" + "c0" * 32,
        "report_hash": "0x" + "e0" * 32,
        "transmitter": "0x" + "aa" * 20,
        "signers": ["0x" + "aa" * 20],
        "total_atto": str(sum(amounts.values())),
        "allocated_atto": str(sum(amounts.values())),
        "paid_atto": "0",
        "gas": {"commit": 1, "report": 2, "claim": 0},
        "payees": [
            {"node_id": name, "weight": "1", "proportion": "0", "amount_atto": str(amount)}
            for name, amount in amounts.items()
        ],
    }


def shown(capsys: pytest.CaptureFixture[str], *epochs: dict[str, Any]) -> str:
    print_run(RunResult({"epochs": list(epochs)}, Ingested(3, 2, 0, {"late": 1}), []), Path("d"))
    return capsys.readouterr().out


def test_a_run_without_a_budget_shows_payees_that_earned_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(capsys, epoch_of(1, {"alpha": 0, "beta": 0}))
    assert "alpha" in text
    assert "0.00%" in text


def test_a_run_without_epochs_or_nodes_shows_that(capsys: pytest.CaptureFixture[str]) -> None:
    assert "3 records sent: 2 accepted, refused: 1 late" in shown(capsys)
    assert "--node ID" in shown(capsys, epoch_of(1, {}))


def test_payees_are_summed_over_epochs_and_sorted_by_what_they_earned(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(
        capsys,
        epoch_of(1, {"alpha": 1 * COIN, "beta": 2 * COIN}),
        epoch_of(2, {"alpha": 5 * COIN, "beta": 0}),
    )
    assert text.index("alpha") < text.index("beta")
    assert "75.00%" in text
    assert "25.00%" in text
    assert "--epoch 2 --node alpha" in text


def test_node_ids_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Their owners chose them: they must not act as markup, here or in the shell."""
    text = shown(capsys, epoch_of(1, {"[/red]; rm x": COIN, "[bold]": COIN}))
    assert "[/red]; rm x" in text
    assert "[bold]" in text
    assert "--node '[/red]; rm x'" in text
