"""What JSON values mean to the original, which is written in JavaScript.

Numbers are binary64 (so 2^53 + 1 is 2^53, and 1e400 is infinite, which it writes as null); texts are UTF-16, and what is
not well formed is hashed as U+FFFD; an instant is a whole number of milliseconds within 10^8 days of 1970. Sources:
ECMA-262 (Number::toString, JSON.stringify, Date.prototype.toISOString), WHATWG Encoding (UTF-8 encode).
"""

import math
import re
from decimal import Decimal
from typing import Any, Final

from msgspec import UNSET

INSTANT_MAX_MS: Final = 8_640_000_000_000_000
"""The last instant that can be written, and the first with a minus."""

ABSENT: Final = UNSET
"""A key that an object does not have."""

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_ARRAY_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_INDEX_MAX: Final = (1 << 32) - 2
_EXACT_MAX: Final = 1 << 53
_EXPONENT_FROM: Final = 10**21
_PLAIN_DIGITS: Final = 21
_PLAIN_ZEROS: Final = 6


def utf8(text: str) -> bytes:
    """Return a text's UTF-8 bytes; half a surrogate pair becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _LONE_SURROGATE.sub("\ufffd", text).encode()


def number(value: float) -> int | float | None:
    """Return a JSON number as the original holds it, None where it is infinite.

    Whole numbers below 10^21, which it writes without an exponent, are integers of the digits that it writes.
    """
    try:
        held = float(value)
    except OverflowError:
        return None
    if math.isinf(held):
        return None
    if held.is_integer() and abs(held) < _EXPONENT_FROM:
        return int(held) if abs(held) <= _EXACT_MAX else int(Decimal(repr(held)))
    return held


def compared(value: Any) -> Any:
    """Return something hashable that equals another's where JSON.stringify writes the two values alike.

    An absent key differs from null; the keys of an object count in their order, in which array indices come first.
    """
    kind = type(value)
    if kind is str or value is None or value is ABSENT:
        return value
    if kind is int and -_EXACT_MAX <= value <= _EXACT_MAX:
        return value
    if kind is bool:
        return ("boolean", value)
    if kind is list:
        return ("array", *map(compared, value))
    if kind is dict:
        return ("object", *((key, compared(value[key])) for key in _key_order(value)))
    return number(value)


def _key_order(value: dict[str, Any]) -> list[str]:
    indices = [
        key for key in value if _ARRAY_INDEX.fullmatch(key, re.ASCII) and int(key) <= _INDEX_MAX
    ]
    return [*sorted(indices, key=int), *(key for key in value if key not in indices)]


def written(value: Any) -> Any:
    """Return a value as it comes back from being written as JSON within an array: absent keys and infinities are null."""
    if value is ABSENT:
        return None
    if isinstance(value, list):
        return [written(item) for item in value]
    if isinstance(value, dict):
        return {key: written(value[key]) for key in _key_order(value)}
    return value if value is None or isinstance(value, str | bool) else number(value)


def text_of(value: Any) -> str:
    """Return String(value), which is what a template string and the key of an object take."""
    if isinstance(value, str):
        return value
    if value is ABSENT:
        return "undefined"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return ",".join("" if item is None else text_of(item) for item in value)
    if isinstance(value, dict):
        return "[object Object]"
    return _number_text(value)


def _number_text(value: float) -> str:
    held = number(value)
    if held is None:
        return "-Infinity" if value < 0 else "Infinity"
    sign, digits, exponent = Decimal(repr(float(held))).normalize().as_tuple()
    assert isinstance(exponent, int)
    figures, point = "".join(map(str, digits)), len(digits) + exponent
    if held == 0:
        return "0"
    minus = "-" if sign else ""
    if len(figures) <= point <= _PLAIN_DIGITS:
        return minus + figures.ljust(point, "0")
    if 0 < point <= _PLAIN_DIGITS:
        return f"{minus}{figures[:point]}.{figures[point:]}"
    if -_PLAIN_ZEROS < point <= 0:
        return f"{minus}0.{'0' * -point}{figures}"
    fraction = f".{figures[1:]}" if len(figures) > 1 else ""
    return f"{minus}{figures[0]}{fraction}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def instant_ms(value: Any) -> int | None:
    """Return the milliseconds of ``new Date(number)``, None where that is no instant; fractions are cut off.

    Args:
        value: A JSON number.
    """
    held = number(value)
    if held is None or abs(held) > INSTANT_MAX_MS:
        return None
    return int(held)


def instant_text(instant: int) -> str:
    """Return the ISO 8601 text of an instant in milliseconds: ``2023-11-01T09:00:10.000Z``.

    Years outside 0..9999 have a sign and six digits.
    """
    days, milliseconds = divmod(instant, 86_400_000)
    seconds, fraction = divmod(milliseconds, 1_000)
    year, month, day = _civil(days)
    years = f"{year:04d}" if 0 <= year <= 9999 else f"{'-' if year < 0 else '+'}{abs(year):06d}"
    hours, rest = divmod(seconds, 3_600)
    return f"{years}-{month:02d}-{day:02d}T{hours:02d}:{rest // 60:02d}:{rest % 60:02d}.{fraction:03d}Z"


def _civil(days: int) -> tuple[int, int, int]:
    """Return year, month and day of a number of days since 1970 (H. Hinnant, "civil_from_days")."""
    era, day_of_era = divmod(days + 719_468, 146_097)
    year = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1
