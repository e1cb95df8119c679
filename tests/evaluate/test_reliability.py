"""Reputation, outliers and trust: what patience, silence and disagreement are worth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.evaluate.reliability import (
    PPM,
    WEIGHT_MAX,
    WEIGHT_NEW,
    ReliabilityRule,
    Standing,
    agreement_ppm,
    outliers,
    trust_ppm,
)

RULE = ReliabilityRule()


def after(*shares: int | None) -> Standing:
    standing = Standing()
    for share in shares:
        standing = standing.after(share, RULE)
    return standing


@given(st.lists(st.one_of(st.none(), st.integers(0, PPM)), max_size=80))
def test_a_weight_is_never_more_than_twice_another(shares: list[int | None]) -> None:
    assert WEIGHT_NEW <= after(*shares).weight <= WEIGHT_MAX == 2 * WEIGHT_NEW


def test_a_new_evaluator_stands_where_the_least_reliable_does() -> None:
    assert Standing().weight == after(0, 0, 0).weight == WEIGHT_NEW
    assert after(PPM).weight == WEIGHT_MAX


def test_the_past_is_forgotten() -> None:
    """Twenty honest epochs outweigh one bad one; after as many bad ones the good ones are nearly gone."""
    honest = after(*[PPM] * 20)
    assert honest.after(0, RULE).weight > WEIGHT_MAX * 9 // 10
    assert after(*[PPM] * 200, *[0] * 30).weight == WEIGHT_NEW
    assert after(*[PPM] * 5000).agreed < PPM * PPM // (PPM - RULE.forgetting_ppm) + PPM


def test_silence_says_nothing_about_reliability() -> None:
    assert after(PPM, None, None) == after(PPM)


def test_agreement_is_counted_over_what_both_speak_about() -> None:
    assert agreement_ppm([100, 98, 97, None, 5], [100, 100, 100, 7, None], RULE) == 2 * PPM // 3
    assert agreement_ppm([1, 2], [1, 2], RULE) == PPM
    assert agreement_ppm([None], [3], RULE) is None
    assert agreement_ppm([], [], RULE) is None
    assert agreement_ppm([0, 3], [0, 0], ReliabilityRule(tolerance_floor=3)) == PPM
    assert agreement_ppm([0, 3], [0, 0], RULE) == PPM // 2


def test_where_most_agree_exactly_the_floor_is_the_yardstick() -> None:
    """The deviation of four equal values is 0: without a floor the least difference would be an outlier."""
    rows = [[100, 5], [100, 5], [100, 5], [100, None], [104, 900]]
    assert outliers(rows, floor=1) == [[], [], [], [], [1]]
    rows[4][0] = 106
    assert outliers(rows, floor=1) == [[], [], [], [], [0, 1]]
    assert outliers([[None], [3]], floor=1) == [[], []]
    with pytest.raises(InvalidInput, match="floor"):
        outliers(rows, floor=0)


def test_noise_of_the_usual_size_is_no_outlier() -> None:
    assert outliers([[96], [99], [100], [101], [104]], floor=1) == [[]] * 5
    assert outliers([[96], [99], [100], [101], [120]], floor=1) == [[], [], [], [], [0]]


def test_trust_is_what_is_left_below_the_result() -> None:
    assert trust_ppm([1, 1, 2], [1, 1, 2]) == PPM
    assert trust_ppm([10, 10, 20], [1, 1, 2]) == PPM  # shares, not sizes
    assert trust_ppm([0, 0, 4], [1, 1, 2]) == PPM // 2  # half of it where nobody else sees anything
    assert trust_ppm([1, 1, None], [1, 1, 2]) == PPM // 2
    assert trust_ppm([None, None, None], [1, 1, 2]) == 0
    assert trust_ppm([1, 1], [None, None]) == 0


values = st.lists(st.one_of(st.none(), st.integers(0, (1 << 128) - 1)), min_size=4, max_size=4)


@given(values, values)
def test_trust_is_a_share(row: list[int | None], result: list[int | None]) -> None:
    assert 0 <= trust_ppm(row, result) <= PPM


@pytest.mark.parametrize(
    "wrong",
    [{"forgetting_ppm": PPM}, {"tolerance_ppm": -1}, {"tolerance_floor": -1}],
)
def test_rules_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        ReliabilityRule(**wrong)
