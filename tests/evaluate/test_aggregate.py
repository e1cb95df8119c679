"""Averages over evaluators: what f liars of n can and cannot do."""

import random
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracle.plain_averages import plain_median, plain_trimmed, plain_wmedian

from meridian.errors import InvalidInput
from meridian.evaluate.aggregate import (
    AGGREGATES,
    aggregate_named,
    capped,
    exactly,
    lower_median,
    mean,
    median,
    trimmed,
    wmedian,
)
from meridian.primitives.quorum import deliver, faults_max

values = st.one_of(st.none(), st.integers(0, 10), st.integers(0, (1 << 128) - 1))


@st.composite
def committees(
    draw: st.DrawFn,
) -> tuple[int, list[list[int | None]], list[list[int | None]], list[int]]:
    """n, honest rows, at most f rows of liars, and reliability weights of all n."""
    n = draw(st.integers(1, 13))
    liars_count = draw(st.integers(0, faults_max(n)))
    honest_count = draw(st.integers(1, n - liars_count))
    row = st.lists(values, min_size=3, max_size=3)
    honest = draw(st.lists(row, min_size=honest_count, max_size=honest_count))
    liars = draw(st.lists(row, min_size=liars_count, max_size=liars_count))
    weights = draw(st.lists(st.integers(1, 9), min_size=n, max_size=n))
    return n, honest, liars, weights


@settings(max_examples=400, deadline=None)
@given(committees())
def test_with_at_most_f_liars_every_value_lies_between_two_honest_values(
    case: tuple[int, list[list[int | None]], list[list[int | None]], list[int]],
) -> None:
    n, honest, liars, weights = case
    rows = liars + honest  # the liars even have the first pick of the weights
    for result in (wmedian(rows, n), wmedian(rows, n, weights), median(rows, n)):
        for node, value in enumerate(result):
            said = [row[node] for row in honest if row[node] is not None]
            if value is not None:
                assert min(said) <= value <= max(said)


@settings(max_examples=200, deadline=None)
@given(committees(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(
    case: tuple[int, list[list[int | None]], list[list[int | None]], list[int]], dice: random.Random
) -> None:
    n, honest, liars, weights = case
    rows = honest + liars
    order = dice.sample(range(len(rows)), len(rows))
    moved = [rows[index] for index in order]
    moved_weights = [weights[index] for index in order] + weights[len(rows) :]
    assert wmedian(moved, n, moved_weights) == wmedian(rows, n, weights)
    for aggregate in AGGREGATES.values():
        assert aggregate(moved, n) == aggregate(rows, n)


@settings(max_examples=200, deadline=None)
@given(committees())
def test_presence_decides_who_is_deferred(
    case: tuple[int, list[list[int | None]], list[list[int | None]], list[int]],
) -> None:
    """With equal weights both median rules ask for more than 2f voices; the mean asks for one."""
    n, honest, liars, _ = case
    rows = honest + liars
    for node in range(3):
        present = [row[node] for row in rows if row[node] is not None]
        assert (wmedian(rows, n)[node] is None) == (len(present) < deliver(n))
        assert (median(rows, n)[node] is None) == (len(present) < deliver(n))
        expected = floor(Fraction(sum(present), len(present))) if present else None
        assert mean(rows, n)[node] == expected


def test_an_abstention_is_never_a_zero() -> None:
    assert mean([[None], [4], [8]], 4) == [6]
    assert wmedian([[None], [4], [8], [6]], 4) == [6]
    assert wmedian([[None], [None], [4], [8]], 4) == [None]
    assert wmedian([[0], [0], [4], [8]], 4) == [0]


@pytest.mark.parametrize("top", [(1 << 64) - 1, (1 << 128) - 1, ((1 << 64) - 1) << 64])
def test_missing_values_stand_behind_the_greatest_one(top: int) -> None:
    rows = [[top, 1], [None, 1], [5, None], [6, 1]]
    assert mean(rows, 4) == [(top + 11) // 3, 1]
    assert trimmed(rows, 4, 1) == [6, 1]
    assert median(rows, 4) == wmedian(rows, 4) == [6, 1]


def test_even_counts_take_the_lower_middle() -> None:
    assert lower_median([4, 1, 3, 2]) == 2
    assert wmedian([[1], [2], [3], [4]], 4) == [2]
    assert median([[1], [2], [3], [4]], 4) == [2]
    assert lower_median([]) is None


def test_the_mean_is_the_floor_of_the_exact_mean() -> None:
    great = (1 << 127) + 1
    assert mean([[great], [great + 1]], 2) == [great]
    assert mean([[1], [2], [2]], 3) == [1]


def test_weights_are_capped_two_to_one() -> None:
    assert capped([100, 1, 50, 49]) == [100, 50, 50, 50]
    assert capped([3, 1]) == [3, 2]


def test_reliable_evaluators_move_the_median_within_the_honest_range() -> None:
    """n = 7, f = 2, weights 2,2,1,1,1,1,1: W = 4, P = 9 > 8, so the weights count."""
    rows = [[10], [11], [1], [2], [3], [4], [5]]
    assert median(rows, 7) == [4]
    assert wmedian(rows, 7, [2, 2, 1, 1, 1, 1, 1]) == [5]


def test_where_weight_is_missing_the_plain_median_decides() -> None:
    """The same committee with one light voice missing: P = 8 is not > 8; six of seven voices are enough without weights."""
    rows = [[10], [11], [1], [2], [3], [4]]
    assert wmedian(rows, 7, [2, 2, 1, 1, 1, 1, 1]) == [3]


def test_an_absent_member_with_great_weight_still_counts_in_the_presence_rule() -> None:
    """n = 4, f = 1: three voices of weight 1 beside an absent one of weight 2: 3 > 2 * 2 fails, the plain median holds."""
    assert wmedian([[1], [2], [9]], 4, [1, 1, 1, 2]) == [2]
    assert wmedian([[1], [2]], 4, [1, 1, 1, 2]) == [None]


@pytest.mark.parametrize(
    ("rows", "n", "weights"),
    [
        ([[1], [1]], 1, None),
        ([[1], [1, 2]], 4, None),
        ([[1]], 4, [1, 1, 1]),
        ([[1]], 1, [0]),
        ([], 0, None),
    ],
)
def test_rows_and_weights_that_do_not_fit_are_refused(
    rows: list[list[int | None]], n: int, weights: list[int] | None
) -> None:
    with pytest.raises(InvalidInput):
        wmedian(rows, n, weights)


def test_small_committees_decide_without_a_liar() -> None:
    for n in (1, 2, 3):
        assert wmedian([[5]], n) == [5]
        assert wmedian([[None]], n) == [None]


@settings(max_examples=400, deadline=None)
@given(committees(), st.integers(0, 4))
def test_every_method_gives_what_the_plain_one_gives(
    case: tuple[int, list[list[int | None]], list[list[int | None]], list[int]], k: int
) -> None:
    n, honest, liars, weights = case
    rows = honest + liars
    columns = list(zip(*rows, strict=True))
    assert wmedian(rows, n, weights) == [plain_wmedian(said, n, weights) for said in columns]
    assert wmedian(rows, n) == [plain_wmedian(said, n, [1] * n) for said in columns]
    assert median(rows, n) == [plain_median(said, n) for said in columns]
    f = faults_max(n)
    for method, trim in (("mean", 0), ("trimmed", f), (f"trimmed:{k}", k)):
        expected = [plain_trimmed(said, trim) for said in columns]
        exact = [value and Fraction(*value) for value in exactly(rows, n, method)]
        assert exact == expected
        floors = [None if value is None else floor(value) for value in expected]
        assert aggregate_named(method)(rows, n) == floors


@settings(max_examples=200, deadline=None)
@given(committees())
def test_a_trimmed_mean_lies_between_two_honest_values(
    case: tuple[int, list[list[int | None]], list[list[int | None]], list[int]],
) -> None:
    n, honest, liars, _ = case
    for node, value in enumerate(trimmed(liars + honest, n)):
        said = [row[node] for row in honest if row[node] is not None]
        if value is not None:
            assert min(said) <= value <= max(said)


@pytest.mark.parametrize(
    "method", ["average", "trimmed:", "trimmed:-1", "trimmed:01", "trimmed:9999"]
)
def test_unknown_methods_are_refused(method: str) -> None:
    with pytest.raises(InvalidInput, match="trimmed:k"):
        aggregate_named(method)


@pytest.mark.parametrize("value", [-1, 1 << 128, 1.5, "1", True])
def test_values_that_are_no_weights_are_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="rows"):
        mean([[1 << 70, value]], 1)  # type: ignore[list-item]


def test_no_rows_have_no_values() -> None:
    for aggregate in AGGREGATES.values():
        assert aggregate([], 4) == []
