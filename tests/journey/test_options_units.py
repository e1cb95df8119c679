"""What a run may be asked for, and where it keeps things."""

import math
from pathlib import Path
from typing import Any

import pytest

from meridian.errors import InvalidInput
from meridian.journey.layout import Layout
from meridian.journey.options import Options
from meridian.primitives.keys import PrivateKey

HERE = Path("data")


@pytest.mark.parametrize(
    ("values", "field", "reason"),
    [
        ({"evaluators": 0}, "--evaluators", "0 is not in 1..31"),
        ({"evaluators": 32}, "--evaluators", "32 is not in 1..31"),
        ({"budget_atto": -1}, "--budget-atto", "must be an integer in 0..2^96-1"),
        ({"budget_atto": 1 << 96}, "--budget-atto", "must be an integer in 0..2^96-1"),
        ({"challenge_seconds": -1}, "--challenge-seconds", "must be in 0..10^9"),
        ({"challenge_seconds": 10**9 + 1}, "--challenge-seconds", "must be in 0..10^9"),
        ({"claims_max": -1}, "--claims", "-1 is not a number of nodes"),
        ({"decide_timeout_s": 0.0}, "--decide-timeout-s", "must be a number of seconds above 0"),
        ({"decide_timeout_s": -5.0}, "--decide-timeout-s", "must be a number of seconds above 0"),
        ({"decide_timeout_s": math.nan}, "--decide-timeout-s", "must be a number of seconds"),
        ({"decide_timeout_s": math.inf}, "--decide-timeout-s", "must be a number of seconds"),
        ({"web_port": 1 << 16}, "--web-port", "65536 is not in 0..65535"),
        ({"live_seconds": math.nan}, "--live-seconds", "must be above 0 and at most 3600"),
        ({"sabotage": ((5, "dead"),)}, "--sabotage", "there is no evaluator 5"),
        ({"sabotage": ((0, "dead"),)}, "--sabotage", "there is no evaluator 0"),
        ({"sabotage": ((1, "asleep"),)}, "--sabotage", "'asleep' is none of dead, garbage"),
        ({"sabotage": ((1, "dead"), (1, "garbage"))}, "--sabotage", "an evaluator is named twice"),
        (
            {"evaluators": 1, "sabotage": ((1, "dead"),), "kill_evaluator": True},
            "--kill-evaluator",
            "no evaluator is left to kill",
        ),
    ],
)
def test_what_cannot_work_is_refused_by_the_name_of_its_option(
    values: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        Options(data_dir=HERE, **values)
    assert refusal.value.field == field
    assert refusal.value.reason.startswith(reason)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"evaluators": 1},
        {"evaluators": 31},
        {"budget_atto": 0, "challenge_seconds": 0, "claims_max": 0},
        {"budget_atto": (1 << 96) - 1, "challenge_seconds": 10**9},
        {"sabotage": ((3, "dead"), (4, "dead")), "kill_evaluator": True},
    ],
)
def test_the_ends_of_the_ranges_are_accepted(values: dict[str, Any]) -> None:
    assert Options(data_dir=HERE, **values).data_dir == HERE


def test_no_two_things_lie_in_the_same_place() -> None:
    layout = Layout(HERE)
    places = [
        layout.chain,
        layout.chain_port,
        layout.measure,
        *(layout.evaluator(i) for i in (1, 2)),
        *(layout.key(name) for name in ("sponsor", "evaluator-1")),
        *(layout.log(name) for name in ("chain", "measure")),
        *(layout.sender(name) for name in ("sponsor", "relayer")),
        *(layout.result(epoch) for epoch in (1, 2)),
    ]
    assert len(set(places)) == len(places)
    assert all(place.is_relative_to(HERE) for place in places)


def test_the_measure_publication_comes_first_and_each_evaluator_has_one() -> None:
    layout = Layout(HERE)
    paths = layout.publications(2)
    assert paths == ("measure/public", "evaluators/1/public", "evaluators/2/public")
    assert HERE / paths[0] == layout.measure / "public"
    assert HERE / paths[2] == layout.evaluator(2) / "public"


def test_a_chain_of_others_needs_a_bank_and_a_bank_such_a_chain(tmp_path):
    key = PrivateKey(b"\x01" * 32)
    for wrong in ({"chain_url": "http://127.0.0.1:8545"}, {"bank": key}):
        with pytest.raises(InvalidInput, match="--bank-key"):
            Options(data_dir=tmp_path, **wrong)
    options = Options(data_dir=tmp_path, chain_url="http://127.0.0.1:8545", bank=key)
    assert key.secret.hex() not in repr(options)
