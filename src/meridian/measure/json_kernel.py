"""Pieces of JSON text for compiled readers: marks, words, strings, numbers and times, without any object.

Every function is given where it begins and where the text ends, reads nothing beyond, and returns where it ended, or -1:
not what it reads. Given -1, it returns -1. The compiled code works on pointers, because arrays as arguments would be
counted up and down at every call.
"""

import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_DIGITS_MAX: Final = 18
"""So many digits always fit an int64."""
_DAY_US: Final = 86_400_000_000
_WORD_BITS: Final = 64
_WORD: Final = 8
_HALF: Final = 4
_ONES: Final = np.uint64(0x0101010101010101)
_HIGHS: Final = np.uint64(0x8080808080808080)
_SPACES: Final = np.uint64(0x2020202020202020)
_QUOTES: Final = np.uint64(0x2222222222222222)
_ESCAPES: Final = np.uint64(0x5C5C5C5C5C5C5C5C)
_LITTLE: Final = sys.byteorder == "little"

_njit: Any = numba.njit
_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Compile a function that only compiled code calls: it has no entry from Python, and is cached within those that do."""
    inner = _njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    return cast("_Function", inner)


def entered(function: Callable[..., Any]) -> Any:
    """Compile a function that is called from Python, and keep it on disk where there is a place for it."""
    try:
        return _njit(nogil=True, cache=True)(function)
    except (RuntimeError, OSError):
        return _njit(nogil=True)(function)


class Context(NamedTuple):
    """What every function is given; arrays as pointers."""

    body: Any
    feed: int
    """White space besides space, tab and carriage return: a line feed, but in mode `LINES` a space again."""
    evaluation: int
    """How many of the fields are of the first list."""
    fields: int
    texts: Any
    bounds: Any
    spellings: Any
    rules: Any
    hints: Any
    """For each field the text that its entries began with so far."""
    capacity: int
    """How far one column is from the next."""
    times: Any
    numbers: Any
    valid: Any
    text_at: Any
    text_bytes: Any


def _pointer_of(_typing: Any, array: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.make_array(signature.args[0])
        return kind(context, builder, arguments[0]).data

    pointers: Any = types.CPointer
    return pointers(array.dtype)(array), generate


pointer: Any = intrinsic(_pointer_of)
"""Returns where an array's values stand."""


def _loads(bits: int) -> Any:
    """Return what reads so many bits from a byte of a pointer on, wherever it stands."""

    def load_of(_typing: Any, bytes_at: Any, _at: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            place = builder.gep(arguments[0], [arguments[1]])
            kind = ir.IntType(bits)
            value = builder.load(builder.bitcast(place, kind.as_pointer()), align=1)
            return builder.zext(value, ir.IntType(64)) if bits < _WORD_BITS else value

        return types.uint64(bytes_at, types.int64), generate

    return intrinsic(load_of)


def _put_of(_typing: Any, bytes_at: Any, _at: Any, _word: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        place = builder.gep(arguments[0], [arguments[1]])
        target = builder.bitcast(place, ir.IntType(_WORD_BITS).as_pointer())
        builder.store(arguments[2], target, align=1)
        return context.get_dummy_value()

    return types.void(bytes_at, types.int64, types.uint64), generate


def _low_zeros_of(_typing: Any, _word: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


word_at: Any = _loads(_WORD_BITS)
"""Returns the 8 bytes of a pointer from a place on, as they lie."""
half_at: Any = _loads(_WORD_BITS // 2)
"""Returns 4 bytes in the same way."""
put_word: Any = intrinsic(_put_of)
"""Writes 8 bytes."""
_low_zeros: Any = intrinsic(_low_zeros_of)


@compiled
def skip(c: Context, p: int, end: int) -> int:
    """Pass over white space."""
    while p < end and (c.body[p] == 32 or c.body[p] == 9 or c.body[p] == 13 or c.body[p] == c.feed):
        p += 1
    return p


@compiled
def mark(c: Context, p: int, end: int, mark: int) -> int:
    """Pass over white space, one byte that must stand here, and white space."""
    if p < 0:
        return -1
    if p < end and c.body[p] <= 32:
        p = skip(c, p, end)
    if p >= end or c.body[p] != mark:
        return -1
    p += 1
    if p < end and c.body[p] <= 32:
        p = skip(c, p, end)
    return p


@compiled
def literal(c: Context, p: int, end: int, text: int) -> int:
    """Pass over a text that must stand here."""
    first: int = c.bounds[text]
    size: int = c.bounds[text + 1] - first
    if p < 0 or end - p < size:
        return -1
    if size >= _WORD:  # words, the last of which may begin inside the one before it
        at = 0
        while at < size - _WORD:
            if word_at(c.body, p + at) != word_at(c.texts, first + at):
                return -1
            at += _WORD
        at = size - _WORD
        return p + size if word_at(c.body, p + at) == word_at(c.texts, first + at) else -1
    if size >= _HALF:
        at = size - _HALF
        if half_at(c.body, p) != half_at(c.texts, first):
            return -1
        return p + size if half_at(c.body, p + at) == half_at(c.texts, first + at) else -1
    for step in range(size):
        if c.body[p + step] != c.texts[first + step]:
            return -1
    return p + size


@compiled
def key(c: Context, p: int, end: int, key: int) -> int:
    """Pass over a key and its colon."""
    return mark(c, literal(c, p, end, key), end, 58)


@compiled
def one_of(c: Context, p: int, q: int, first: int, last: int, likely: int) -> int:
    """Return which of the texts from `first` to `last` stands from `p` to `q`, or -1; `likely` is looked at first."""
    for step in range(last - first):
        text = likely + step
        if text >= last:
            text -= last - first
        if q - p == c.bounds[text + 1] - c.bounds[text] and (literal(c, p, q, text) == q):
            return text
    return -1


@compiled
def utf8(c: Context, p: int, end: int) -> int:
    """Return the bytes of the character of several bytes at `p`, 0 if it is none (RFC 3629, section 4)."""
    lead = c.body[p]
    low, high = 0x80, 0xBF
    if 0xC2 <= lead <= 0xDF:
        size = 2
    elif 0xE0 <= lead <= 0xEF:
        size = 3
        if lead == 0xE0:
            low = 0xA0
        elif lead == 0xED:
            high = 0x9F
    elif 0xF0 <= lead <= 0xF4:
        size = 4
        if lead == 0xF0:
            low = 0x90
        elif lead == 0xF4:
            high = 0x8F
    else:
        return 0
    if end - p < size or not low <= c.body[p + 1] <= high:
        return 0
    for at in range(p + 2, p + size):
        if not 0x80 <= c.body[at] <= 0xBF:
            return 0
    return size


@compiled
def read_text(c: Context, p: int, end: int) -> int:
    """Return where the string that begins at `p` has its last quote."""
    if p < 0 or p >= end or c.body[p] != 34:
        return -1
    p += 1
    while p < end:
        while _LITTLE and end - p >= _WORD:
            # High bits where a byte is a control, a quote, a backslash or not ASCII; right for the lowest of them.
            word = word_at(c.body, p)
            quote, escape = word ^ _QUOTES, word ^ _ESCAPES
            found = (word - _SPACES) & ~word
            found |= ((quote - _ONES) & ~quote) | ((escape - _ONES) & ~escape) | word
            found &= _HIGHS
            if found != 0:
                p += _low_zeros(found) >> 3
                break
            p += _WORD
        if p >= end:
            return -1
        byte = c.body[p]
        if byte == 34:
            return p
        if byte < 32 or byte == 92:
            return -1
        if byte < 0x80:
            p += 1
        else:
            size = utf8(c, p, end)
            if size == 0:
                return -1
            p += size
    return -1


@compiled
def _two(c: Context, p: int) -> int:
    """Return the number of two digits, or a million: more than any part of a time, a year among them."""
    tens, ones = c.body[p] - 48, c.body[p + 1] - 48
    if tens < 0 or tens > 9 or ones < 0 or ones > 9:
        return 1_000_000
    value: int = tens * 10 + ones
    return value


@compiled
def _day(c: Context, p: int) -> int:
    """Return the days since 1970 of a date from 1971 on, or -1."""
    if c.body[p + 4] != 45 or c.body[p + 7] != 45:
        return -1
    year = _two(c, p) * 100 + _two(c, p + 2)
    month, day = _two(c, p + 5), _two(c, p + 8)
    if year <= 1970 or year > 9999 or month < 1 or month > 12 or day < 1:
        return -1
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = 30 if month in (4, 6, 9, 11) else 31
    if month == 2:
        longest = 29 if leap else 28
    if day > longest:
        return -1
    # The proleptic Gregorian calendar (H. Hinnant, "days_from_civil").
    shifted = year - (1 if month <= 2 else 0)
    era = shifted // 400
    year_of_era = shifted - era * 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    since: int = days + era * 146_097 - 719_468
    return since


@compiled
def read_time(c: Context, p: int, end: int) -> int:
    """Return the microseconds that a text of `times.parse_time` names, or -1."""
    if end - p < 20 or c.body[p + 13] != 58 or c.body[p + 16] != 58:
        return -1
    if c.body[p + 10] != 32 and c.body[p + 10] != 84 and c.body[p + 10] != 116:
        return -1
    days = _day(c, p)
    hour, minute, second = _two(c, p + 11), _two(c, p + 14), _two(c, p + 17)
    if days < 0 or hour > 23 or minute > 59 or second > 59:
        return -1
    p += 19
    micros = 0
    if c.body[p] == 46:
        p += 1
        digits = 0
        while p < end and 48 <= c.body[p] <= 57:
            micros = micros * 10 + c.body[p] - 48
            digits += 1
            p += 1
            if digits > 6:
                return -1
        if digits == 0:
            return -1
        for _ in range(6 - digits):
            micros *= 10
    if p >= end:
        return -1
    zone, rest = c.body[p], end - p
    shift = 0
    if zone in (43, 45):
        colon = 1 if rest == 6 and c.body[p + 3] == 58 else 0
        if rest not in (3, 5) and colon == 0:
            return -1
        hours = _two(c, p + 1)
        minutes = _two(c, p + 3 + colon) if rest > 3 else 0
        if hours > 23 or minutes > 59:
            return -1
        shift = (hours * 60 + minutes) * (-60_000_000 if zone == 45 else 60_000_000)
    elif zone not in (90, 122) or rest != 1:
        return -1
    seconds = hour * 3_600 + minute * 60 + second
    return days * _DAY_US + seconds * 1_000_000 + micros - shift


@compiled
def read_number(c: Context, p: int, end: int, scale: int, whole: bool) -> tuple[int, int]:
    """Return where the JSON number at `p` ends, and its exact value as units of 10^-scale; `whole` allows no fraction."""
    negative = p < end and c.body[p] == 45
    if negative:
        p += 1
    units, first = 0, p
    while p < end and 48 <= c.body[p] <= 57:
        units = units * 10 + c.body[p] - 48
        p += 1
        if p - first + scale > _DIGITS_MAX:
            return -1, 0
    if p == first or (c.body[first] == 48 and p - first > 1):
        return -1, 0
    missing = scale
    if not whole and p < end and c.body[p] == 46:
        p += 1
        point = p
        while p < end and 48 <= c.body[p] <= 57 and missing > 0:
            units = units * 10 + c.body[p] - 48
            p += 1
            missing -= 1
        if p == point:
            return -1, 0
    for _ in range(missing):
        units *= 10
    return p, -units if negative else units
