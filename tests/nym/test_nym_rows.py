import pytest

from meridian.errors import InvalidInput
from meridian.nym.rows import (
    SCALE,
    VALUE_MAX,
    Row,
    aggregate,
    average,
    decode_row,
    percent,
    summary,
)


def rows_of(*values: int | None, n: int) -> list[Row]:
    return [Row(0, () if value is None else ((0, value * SCALE),)) for value in (*values,)][:n]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([90, 90, 90], 90_000_000),  # the original's release build: 4
        ([100, 100, 100], 100_000_000),  # 14
        ([100, 100, 56], 85_333_333),  # 0
        ([10, 11], 10_500_000),  # 10
        ([0, 0, 1], 333_333),  # rounded down
        ([0], 0),
        ([100], 100_000_000),
    ],
)
def test_d13_averages_are_exact(values, expected):
    """The original added into a u8 and divided integers; both averages, over an epoch and over Nym-Apis."""
    assert average(7, [(0, sum(values), len(values))]) == Row(7, ((0, expected),))
    assert aggregate("mean", rows_of(*values, n=9), mixnodes=1, apis=len(values)) == (expected,)


def test_missing_is_missing_and_never_zero():
    rows = [Row(0, ((0, 80 * SCALE),)), Row(0, ((0, 60 * SCALE), (2, 0))), Row(0, ())]
    assert aggregate("mean", rows, mixnodes=3, apis=4) == (70 * SCALE, None, 0)
    assert aggregate("wmedian", rows, mixnodes=3, apis=4) == (
        None,
        None,
        None,
    )  # one liar could lie
    assert aggregate("mean", [], mixnodes=2, apis=4) == (None, None)


def test_one_liar_cannot_carry_wmedian_away():
    rows = rows_of(70, 71, 72, 0, n=4)
    assert aggregate("wmedian", rows, mixnodes=1, apis=4) == (70 * SCALE,)
    assert aggregate("mean", rows, mixnodes=1, apis=4) == (53_250_000,)


def test_the_order_of_rows_does_not_matter():
    rows = rows_of(1, 50, 100, n=3)
    for rule in ("mean", "median", "wmedian"):
        assert aggregate(rule, rows, mixnodes=1, apis=3) == aggregate(
            rule, rows[::-1], mixnodes=1, apis=3
        )


def test_an_unknown_rule_is_refused():
    with pytest.raises(InvalidInput, match="aggregate"):
        aggregate("max", [Row(0, ())], mixnodes=1, apis=1)


def test_a_row_comes_back_from_its_bytes():
    row = Row(5, ((0, 0), (2, VALUE_MAX)))
    assert decode_row(row.encode(), epoch=5, mixnodes=3) == row
    assert row.spread(3) == (0, None, VALUE_MAX)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (Row(6, ()), "row.epoch"),
        (Row(5, ((0, VALUE_MAX + 1),)), "row.value"),
        (Row(5, ((3, 1),)), "row.mixnode"),
        (Row(5, ((1, 1), (1, 2))), "row.mixnode"),
        (Row(5, ((1, 1), (0, 2))), "row.mixnode"),
        (Row(5, ((0, 1), (1, 1), (2, 1), (3, 1))), "row.count"),
    ],
)
def test_a_bad_row_is_refused_by_its_field(row, field):
    with pytest.raises(InvalidInput) as refused:
        decode_row(row.encode(), epoch=5, mixnodes=3)
    assert refused.value.field == field


def test_cut_and_padded_rows_are_refused():
    data = Row(5, ((0, 1), (1, 2))).encode()
    for size in range(len(data)):
        with pytest.raises(InvalidInput):
            decode_row(data[:size], epoch=5, mixnodes=3)
    with pytest.raises(InvalidInput):
        decode_row(data + b"\0", epoch=5, mixnodes=3)


def test_texts():
    assert percent(85_333_333) == "85.333333"
    assert percent(None) == "-"
    assert summary([1, None, 4]) == {"rewarded": 2, "least": 1, "mean": 2, "greatest": 4}
    assert summary([None])["mean"] is None
