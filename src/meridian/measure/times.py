"""Timestamps: from the texts that records carry to whole microseconds since the Unix epoch.

Accepted: ``2023-05-01 00:52:57.62+00`` and the RFC 3339 spellings: date and time with a space or ``T`` between them,
up to six digits of fraction, and always an offset (``Z``, ``+hh``, ``+hhmm`` or ``+hh:mm``), because a time without one
means a different instant to every reader. `parse_time` is the rule and knows the reasons; `parse_times` is the same rule
in columns, and whatever it does not recognise it leaves to `parse_time`.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.measure.strings import byte_lengths, byte_matrix

TEXT_BYTES_MAX: Final = 32
"""The longest accepted text: ``2023-05-01T00:52:57.123456+00:00``."""

_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[ Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DIGITS_AT: Final = (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18)
_MONTH_DAYS: Final = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int64)

Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def parse_time(text: str) -> int:
    """Return the microseconds since the Unix epoch that a text names.

    Raises:
        InvalidInput: With the reason, if the text is not accepted.
    """
    match = _TIME.fullmatch(text[: 2 * TEXT_BYTES_MAX])
    if match is None:
        raise InvalidInput("time", f"{text[:48]!r} is not like '2023-05-01 00:52:57.62+00'")
    fraction, offset = match[7] or "", match[8]
    if offset is None:
        raise InvalidInput("time", f"{text!r} has no offset from UTC")
    if len(fraction) > 6:
        raise InvalidInput("time", f"{text!r} is finer than a microsecond")
    digits = offset[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        raise InvalidInput("time", f"{text!r} has an impossible offset")
    try:
        year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
        micros = int(fraction.ljust(6, "0"))
        local = datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)
    except ValueError as error:
        raise InvalidInput("time", f"{text!r}: {error}") from None
    shift_us = (hours * 60 + minutes) * 60_000_000 * (-1 if offset[0] == "-" else 1)
    instant_us = (local - _EPOCH) // _MICROSECOND - shift_us
    if instant_us < 0:
        raise InvalidInput("time", f"{text!r} is before 1970")
    return instant_us


def parse_times(texts: pa.StringArray) -> tuple[Integers, Bools]:
    """Read a column of texts without nulls.

    Returns:
        Microseconds, and whether each text was recognised; the others are for `parse_time`.
    """
    length = byte_lengths(texts)
    chars = byte_matrix(texts, TEXT_BYTES_MAX + 4)
    digits = (chars - np.uint8(ord("0"))).astype(np.uint8)
    is_digit = digits <= 9
    ok: Bools = (length >= 20) & (length <= TEXT_BYTES_MAX)
    for at in _DIGITS_AT:
        ok &= is_digit[:, at]
    for at, mark in ((4, "-"), (7, "-"), (13, ":"), (16, ":")):
        ok &= chars[:, at] == ord(mark)
    ok &= np.isin(chars[:, 10], np.frombuffer(b" Tt", dtype=np.uint8))

    number = digits.astype(np.int64)
    year = ((number[:, 0] * 10 + number[:, 1]) * 10 + number[:, 2]) * 10 + number[:, 3]
    month, day, hour, minute, second = (
        number[:, at] * 10 + number[:, at + 1] for at in (5, 8, 11, 14, 17)
    )
    ok &= (month >= 1) & (month <= 12) & (hour < 24) & (minute < 60) & (second < 60) & (year > 1970)
    month = np.where(ok, month, 1)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    ok &= (day >= 1) & (day <= _MONTH_DAYS[month] + (leap & (month == 2)))

    micros, zone_at = _fraction(chars, is_digit, number)
    offset_minutes, zone_ok = _zone(chars, is_digit, number, zone_at, length)
    ok &= zone_ok & (zone_at > 0)
    seconds = _days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
    instants = (seconds - offset_minutes * 60) * 1_000_000 + micros
    return np.where(ok, instants, 0), ok


def _fraction(
    chars: npt.NDArray[np.uint8], is_digit: Bools, number: Integers
) -> tuple[Integers, Integers]:
    """Return the microseconds and where the offset starts (0 = a point without digits)."""
    has_point = chars[:, 19] == ord(".")
    micros = np.zeros(len(chars), dtype=np.int64)
    count = np.zeros(len(chars), dtype=np.int64)
    run = has_point.copy()
    for at in range(20, 26):
        run &= is_digit[:, at]
        micros = micros * 10 + np.where(run, number[:, at], 0)
        count += run
    zone_at = np.where(has_point, np.where(count > 0, 20 + count, 0), 19)
    return micros, zone_at


def _zone(
    chars: npt.NDArray[np.uint8],
    is_digit: Bools,
    number: Integers,
    zone_at: Integers,
    length: Integers,
) -> tuple[Integers, Bools]:
    """Return the offset in minutes and whether it is one of the accepted forms, up to the end of the text."""
    rows = np.arange(len(chars))
    mark, rest = chars[rows, zone_at], length - zone_at
    utc = ((mark == ord("Z")) | (mark == ord("z"))) & (rest == 1)
    colon = (rest == 6) & (chars[rows, zone_at + 3] == ord(":"))
    signed = ((mark == ord("+")) | (mark == ord("-"))) & ((rest == 3) | (rest == 5) | colon)
    signed &= is_digit[rows, zone_at + 1] & is_digit[rows, zone_at + 2]
    hours = number[rows, zone_at + 1] * 10 + number[rows, zone_at + 2]
    minutes_at = zone_at + 3 + colon
    has_minutes = rest > 3
    minute_digits = is_digit[rows, minutes_at] & is_digit[rows, minutes_at + 1]
    minutes = np.where(has_minutes, number[rows, minutes_at] * 10 + number[rows, minutes_at + 1], 0)
    signed &= (minute_digits | ~has_minutes) & (hours < 24) & (minutes < 60)
    total = (hours * 60 + minutes) * np.where(mark == ord("-"), -1, 1)
    return np.where(signed, total, 0), utc | signed


def _days(year: Integers, month: Integers, day: Integers) -> Integers:
    """Days since 1970-01-01 in the proleptic Gregorian calendar (H. Hinnant, "days_from_civil")."""
    shifted = year - (month <= 2)
    era = shifted // 400
    year_of_era = shifted - era * 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    days: Integers = era * 146_097 + day_of_era - 719_468
    return days


def read_times(texts: Sequence[str]) -> tuple[Integers, dict[int, str]]:
    """Read a column of texts: fast where the form is usual, by the rule everywhere else.

    Returns:
        Microseconds (0 where refused), and the reason for every refused position.
    """
    instants, known = parse_times(pa.array(texts, pa.string()))
    refused: dict[int, str] = {}
    for at in np.flatnonzero(~known).tolist():
        try:
            instants[at] = parse_time(texts[at])
        except InvalidInput as error:
            refused[at] = error.reason
    return instants, refused


def format_time(instant_us: int) -> str:
    """Return the RFC 3339 text of an instant, in UTC, with six digits of fraction."""
    return (_EPOCH + timedelta(microseconds=instant_us)).isoformat(timespec="microseconds")
