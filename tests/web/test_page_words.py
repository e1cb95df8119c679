"""Amounts and verdicts as the pages write them: no digit is lost, and every verdict of ours is explained."""

import random
from decimal import Decimal
from typing import Any

import pytest

from meridian.evaluate.functions import attestation, count, nym, saturn, spark, spark_chain
from meridian.evaluate.layered import UNDISCLOSED
from meridian.evaluate.shipped_layers import shipped_layers
from web.shipped_scripts import Ask, shipped_script

ATTO = 10**18
UNKNOWN = "A reason of this network's own function."


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    return shipped_script(tmp_path_factory.mktemp("format"), "format.js", "calls_driver.mjs")


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    return shipped_script(tmp_path_factory.mktemp("reasons"), "reasons.js", "calls_driver.mjs")


def questions(call: str, values: list[Any], *more: Any) -> list[dict[str, Any]]:
    return [{"call": call, "given": [value, *more]} for value in values]


def amounts() -> list[int]:
    """Amounts of all sizes, with those around every rounding."""
    chance = random.Random(7)
    edges = [near + step for near in (10**9, 10**14, 10**18, 10**22) for step in (-1, 0, 1)]
    drawn = [chance.getrandbits(chance.randrange(1, 110)) for _ in range(500)]
    return [0, 1, *edges, 999_949_999_999_999_999, 999_950_000_000_000_000, *drawn]


def test_whole_amounts_lose_no_digit(written: Ask) -> None:
    atto = amounts()
    for value, text in zip(
        atto, written(questions("exactCoins", [f"#{a}" for a in atto])), strict=True
    ):
        whole, _, rest = text.partition(".")
        assert int(whole.replace(",", "")) * ATTO + int(rest.ljust(18, "0")) == value
        assert not rest.endswith("0")


@pytest.mark.parametrize("decimals", [2, 4])
def test_short_amounts_are_rounded_and_never_become_nothing(written: Ask, decimals: int) -> None:
    atto = amounts()
    answers = written(questions("shortCoins", [f"#{a}" for a in atto], decimals))
    step = Decimal(10) ** -decimals
    for value, short in zip(atto, answers, strict=True):
        shown = Decimal(short["text"].replace(",", ""))
        if short["unit"] == "atto":
            assert shown == value < 10**9
            continue
        coins = Decimal(value) / ATTO
        assert abs(shown - coins) <= (step / 2 if coins >= step else coins / 10)
        assert (shown == 0) == (value == 0)


def test_every_verdict_of_ours_is_explained(explained: Ask) -> None:
    modules = (attestation, count, nym, saturn, spark, spark_chain)
    reasons = {reason for module in modules for reason in module.REASONS} | {UNDISCLOSED}
    reasons |= {
        f"{layer.name}: {reason}" for layer in shipped_layers().values() for reason in layer.reasons
    }
    answers = explained(questions("meaning", sorted(reasons)))
    unknown = [r for r, text in zip(sorted(reasons), answers, strict=True) if text == UNKNOWN]
    assert not unknown
    assert explained(questions("meaning", ["somebody's own"])) == [UNKNOWN]
