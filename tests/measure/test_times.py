"""Timestamps: the accepted texts, the refused ones, and the rule in columns against the rule for one text."""

from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.measure.times import format_time, parse_time, parse_times, read_times

SEED_US = 1_682_902_377_620_000


@pytest.mark.parametrize(
    "text",
    [
        "2023-05-01 00:52:57.62+00",
        "2023-05-01T00:52:57.62Z",
        "2023-05-01t00:52:57.620000z",
        "2023-05-01 00:52:57.62+00:00",
        "2023-05-01 00:52:57.62-00",
        "2023-05-01 02:52:57.62+02",
        "2023-05-01 02:52:57.62+0200",
        "2023-04-30T19:22:57.62-05:30",
    ],
)
def test_one_instant_has_these_spellings(text: str) -> None:
    assert parse_time(text) == SEED_US
    assert read_times([text])[0].tolist() == [SEED_US]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2023-05-01 00:52:57.62",
        "2023-05-01 00:52:57.1234567+00",
        "2023-05-01 00:52:57.+00",
        "2023-05-01 00:52:57,62+00",
        "2023-05-01 00:52+00",
        "2023-05-01  00:52:57+00",
        "2023-05-01_00:52:57+00",
        "2023-13-01 00:52:57+00",
        "2023-02-29 00:52:57+00",
        "2023-00-01 00:52:57+00",
        "2023-05-00 00:52:57+00",
        "2023-05-01 24:00:00+00",
        "2023-05-01 23:59:60+00",
        "2023-05-01 00:60:00+00",
        "2023-05-01 00:52:57+24",
        "2023-05-01 00:52:57+00:60",
        "2023-05-01 00:52:57+0",
        "2023-05-01 00:52:57+000",
        "2023-05-01 00:52:57Z ",
        " 2023-05-01 00:52:57Z",
        "2023-05-01 00:52:57Z+00",
        "2023-W18-1 00:52:57Z",
        "20230501T005257Z",
        "1969-12-31 23:59:59Z",
        "1970-01-01 00:00:00+01",
        "0000-01-01 00:00:00Z",
        "٢٠٢٣-05-01 00:52:57Z",
        "2023-05-01 00:52:57\u00bdZ",
        "1682902377",
        "2023-05-01 00:52:57.62+00" * 50,
    ],
)
def test_everything_else_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_time(text)
    instants, refused = read_times(["2023-05-01 00:52:57.62+00", text])
    assert (instants.tolist(), refused) == ([SEED_US, 0], {1: refusal.value.reason})


def test_the_ends_of_the_range() -> None:
    assert parse_time("1970-01-01 00:00:00Z") == 0
    assert parse_time("9999-12-31T23:59:59.999999Z") == 253_402_300_799_999_999
    assert read_times(["1970-01-01 00:00:00Z", "2024-02-29 00:00:00Z"])[1] == {}


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - local texts
    st.integers(0, 6),
    st.sampled_from([" ", "T", "t"]),
    st.integers(-1439, 1439),
    st.sampled_from(["hh", "hhmm", "hh:mm", "Z"]),
)
def test_columns_and_single_texts_agree_with_the_standard_library(
    local: datetime, digits: int, separator: str, offset_minutes: int, form: str
) -> None:
    if form == "hh":
        offset_minutes = (
            offset_minutes // 60 * 60 if offset_minutes >= 0 else -(-offset_minutes // 60 * 60)
        )
    if form == "Z":
        offset_minutes = 0
    fraction = f"{local.microsecond:06d}"[:digits]
    hours, minutes = divmod(abs(offset_minutes), 60)
    sign = "-" if offset_minutes < 0 else "+"
    zone = {
        "hh": f"{sign}{hours:02d}",
        "hhmm": f"{sign}{hours:02d}{minutes:02d}",
        "hh:mm": f"{sign}{hours:02d}:{minutes:02d}",
        "Z": "Z",
    }[form]
    text = (
        f"{local:%Y-%m-%d}{separator}{local:%H:%M:%S}" + (f".{fraction}" if fraction else "") + zone
    )
    text = text.rjust(len(text))
    exact = local.replace(
        microsecond=int(fraction.ljust(6, "0")) if fraction else 0,
        tzinfo=timezone(timedelta(minutes=offset_minutes)),
    )
    expected = (exact - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    instants, known = parse_times(pa.array([text]))
    if expected >= 0:
        assert parse_time(text) == expected
        assert not known[0] or instants[0] == expected
        assert read_times([text])[0].tolist() == [expected]
        assert parse_time(format_time(expected)) == expected


@given(st.text(alphabet="0123456789-:+. TtZz", max_size=36))
def test_columns_accept_nothing_that_the_rule_refuses(text: str) -> None:
    instants, known = parse_times(pa.array([text]))
    if known[0]:
        assert parse_time(text) == instants[0]


def test_columns_may_be_slices() -> None:
    texts = pa.array(["x" * 40, "2023-05-01 00:52:57.62+00", "", "y"]).slice(1, 2)
    instants, known = parse_times(texts)
    assert (instants.tolist(), known.tolist()) == ([SEED_US, 0], [True, False])
