"""The fast reader of records: one pass over the bytes of a batch, from JSON text to typed columns, without any object.

Law: it accepts only what `explain` accepts, as the same values, and it knows no reasons: a record that is not in the
usual form is left to `explain`, alone, wherever it stands. Usual is: keys in the order of the data model, fields of a list in
any order, absent ones where the schema allows it, white space wherever JSON allows it, strings without escapes, numbers
of at most 18 digits without an exponent. Whatever a record's bytes are, nothing is read beyond its end.

This module imports numba, which costs half a second and 100 MB, so only `record.prepare` imports it.
"""

import inspect
import zlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from meridian.measure import json_kernel
from meridian.measure.columns import ID_BYTES_MAX
from meridian.measure.explain import RECORD_BYTES_MAX
from meridian.measure.json_kernel import (
    Context,
    compiled,
    entered,
    key,
    literal,
    mark,
    one_of,
    pointer,
    put_word,
    read_number,
    read_text,
    read_time,
    skip,
    word_at,
)

LINES: Final = 0
"""One record a line; blank lines are none."""
ARRAY: Final = 1
"""A JSON array of records; reading ends at the first that is not in the usual form."""
RANGES: Final = 2
"""Records whose beginnings and ends are given."""

WORD: Final = 8
"""Bytes that are copied at a time."""

BROKEN: Final = -1
"""Not an array of records in the usual form."""

INTEGER: Final = 0
DECIMAL: Final = 1
BOOLEAN: Final = 2
STRING: Final = 3

TEXTS: Final = (
    '"job_id"',
    '"peer_id"',
    '"started_at"',
    '"ended_at"',
    '"evaluation_fields"',
    '"additional_fields"',
    '"name"',
    '"type"',
    '"value"',
    "null",
    "true",
    "false",
)
_EVALUATION: Final = 4
_NAME: Final = 6
_TYPE: Final = 7
_VALUE: Final = 8
_NULL: Final = 9
_TRUE: Final = 10
_FALSE: Final = 11


def heads(name: str, spelling: str) -> tuple[str, ...]:
    """Return what an entry of a field begins with, up to its value, in each style; what matches nothing for an odd name."""
    if any(character in '"\\' or character < " " for character in name):
        return ("\0",) * STYLES
    compact = '{"name":"%s","type":"%s","value":' % (name, spelling)  # noqa: UP031 - braces
    spaced = '{"name": "%s", "type": "%s", "value": ' % (name, spelling)  # noqa: UP031
    return compact, spaced


Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


@entered
def gather(body: Bytes, at: Integers, lengths: Integers) -> tuple[Any, Any]:
    """Return pieces of the body one behind the other, and their offsets."""
    offsets = np.empty(len(at) + 1, dtype=np.int32)
    total = 0
    for row in range(len(at)):
        offsets[row] = total
        total += lengths[row]
    offsets[len(at)] = total
    data = np.empty(total + WORD, dtype=np.uint8)  # words are copied, the last one beyond the end
    source, target = pointer(body), pointer(data)
    place, end = np.int64(0), np.int64(len(body))
    for row in range(len(at)):
        first, size = at[row], lengths[row]
        if first + size + WORD <= end:
            for step in range(0, size, WORD):
                put_word(target, place + step, word_at(source, first + step))
        else:
            for step in range(size):
                data[place + step] = body[first + step]
        place += size
    return offsets, data[:total]


@entered
def shape(body: Bytes) -> tuple[int, int]:
    """Return the greatest depth of brackets outside strings, and the commas at depth 1."""
    depth = deepest = commas = at = 0
    quoted = False
    while at < len(body):
        byte = body[at]
        if quoted:
            quoted = byte != 34
            at += byte == 92
        elif byte == 34:
            quoted = True
        elif byte in (91, 123):
            depth += 1
            deepest = max(depth, deepest)
        elif byte in (93, 125):
            depth -= 1
        elif byte == 44 and depth == 1:
            commas += 1
        at += 1
    return deepest, commas


STYLES: Final = 2
"""Ways to write the beginning of a field: without spaces, and with one behind each colon and comma (`head`)."""
SPACE_AT: Final = len('{"name":')
RULES: Final = 7
_KIND, _NULLABLE, _REQUIRED, _SCALE, _MINIMUM, _MAXIMUM, _MAX_BYTES = range(RULES)


@compiled
def _value(c: Context, p: int, end: int, field: int, row: int, whole: bool) -> int:
    """Read one value of a field."""
    if p < 0 or p >= end:
        return -1
    at = field * c.capacity + row
    text = at + 2 * c.capacity
    rule = field * RULES
    kind = c.rules[rule + _KIND]
    c.numbers[at] = 0
    c.valid[at] = 1
    c.text_at[text] = 0
    c.text_bytes[text] = 0
    if c.body[p] == 110:
        if not c.rules[rule + _NULLABLE]:
            return -1
        c.valid[at] = 0
        return literal(c, p, end, _NULL)
    if kind == STRING:
        q = read_text(c, p, end)
        if q < 0 or q - p - 1 > c.rules[rule + _MAX_BYTES]:
            return -1
        c.text_at[text] = p + 1
        c.text_bytes[text] = q - p - 1
        return q + 1
    if kind == BOOLEAN:
        if c.body[p] == 116:
            c.numbers[at] = 1
            return literal(c, p, end, _TRUE)
        return literal(c, p, end, _FALSE)
    p, units = read_number(c, p, end, c.rules[rule + _SCALE], whole)
    if not c.rules[rule + _MINIMUM] <= units <= c.rules[rule + _MAXIMUM]:
        return -1
    c.numbers[at] = units
    return p


@compiled
def _is_whole(c: Context, field: int, spelled: int) -> bool:
    """Tell whether a number may have no fraction: the first spelling of a decimal is its own, the others name an integer."""
    whole: bool = c.rules[field * RULES + _KIND] != DECIMAL or spelled > c.spellings[field]
    return whole


@compiled
def _entry(
    c: Context,
    p: int,
    end: int,
    first: int,
    last: int,
    likely: int,
    row: int,
) -> tuple[int, int]:
    """Read one field of those from `first` to `last`; return where it ends, and which it is."""
    names = len(TEXTS)
    if likely < last:  # nearly always it begins as the same field of the record before it
        head = c.hints[likely]
        q = literal(c, p, end, head)
        if q >= 0:
            spelled = c.spellings[0] + (head - c.spellings[c.fields]) // STYLES
            q = _value(c, q, end, likely, row, _is_whole(c, likely, spelled))
            return mark(c, q, end, 125), likely
    style = 1 if end - p > SPACE_AT and c.body[p + SPACE_AT] == 32 else 0
    p = key(c, mark(c, p, end, 123), end, _NAME)
    q = read_text(c, p, end)
    if q < 0:
        return -1, 0
    field = one_of(c, p + 1, q, names + first, names + last, names + likely) - names
    if field < 0:
        return -1, 0
    p = key(c, mark(c, q + 1, end, 44), end, _TYPE)
    q = read_text(c, p, end)
    if q < 0:
        return -1, 0
    spelling, after = c.spellings[field], c.spellings[field + 1]
    spelled = one_of(c, p + 1, q, spelling, after, spelling)
    if spelled < 0:
        return -1, 0
    c.hints[field] = c.spellings[c.fields] + STYLES * (spelled - c.spellings[0]) + style
    p = key(c, mark(c, q + 1, end, 44), end, _VALUE)
    p = _value(c, p, end, field, row, _is_whole(c, field, spelled))
    return mark(c, p, end, 125), field


@compiled
def _fields(
    c: Context,
    p: int,
    end: int,
    first: int,
    last: int,
    row: int,
) -> int:
    """Read one list of fields, those of the schema from `first` to `last`."""
    seen = np.uint64(0)
    p = mark(c, p, end, 91)
    likely = first
    if p < 0 or p >= end:
        return -1
    while c.body[p] != 93:
        p, field = _entry(c, p, end, first, last, likely, row)
        if p < 0 or p >= end or (seen >> np.uint64(field)) & np.uint64(1):
            return -1
        seen |= np.uint64(1) << np.uint64(field)
        likely = field + 1
        if c.body[p] != 93:
            p = mark(c, p, end, 44)
            if p < 0 or p >= end or c.body[p] != 123:
                return -1
    for field in range(first, last):
        if not (seen >> np.uint64(field)) & np.uint64(1):
            if c.rules[field * RULES + _REQUIRED]:
                return -1
            at = field * c.capacity + row
            c.numbers[at] = 0
            c.valid[at] = 0
            c.text_at[at + 2 * c.capacity] = 0
            c.text_bytes[at + 2 * c.capacity] = 0
    return mark(c, p, end, 93)


@compiled
def _record(c: Context, p: int, end: int, row: int) -> int:
    """Read one record from `p` on; return where it and the white space behind it end, or -1."""
    p = mark(c, p, end, 123)
    for part in range(4):
        p = key(c, p, end, part)
        q = read_text(c, p, end)
        if q < 0:
            return -1
        if part < 2:
            if q - p - 1 < 1 or q - p - 1 > ID_BYTES_MAX:
                return -1
            c.text_at[part * c.capacity + row] = p + 1
            c.text_bytes[part * c.capacity + row] = q - p - 1
        else:
            instant = read_time(c, p + 1, q)
            if instant < 0:
                return -1
            c.times[(part - 2) * c.capacity + row] = instant
        p = mark(c, q + 1, end, 44)
    if c.times[c.capacity + row] < c.times[row]:
        return -1
    for part in range(2):
        p = key(c, p, end, _EVALUATION + part)
        first, last = part * c.evaluation, c.fields if part else c.evaluation
        p = mark(c, _fields(c, p, end, first, last, row), end, 125 if part else 44)
    return p


@compiled
def _array(c: Context, size: int, usual: Any) -> int:
    p = mark(c, 0, size, 91)
    for row in range(c.capacity):
        start = p
        p = _record(c, p, size, row)
        if p < 0 or p >= size or p - start > RECORD_BYTES_MAX:
            return BROKEN
        usual[row] = 1
        if c.body[p] == 93:
            return row + 1 if mark(c, p, size, 93) == size else BROKEN
        p = mark(c, p, size, 44)
    return BROKEN


@compiled
def _line(c: Context, start: int, size: int, row: int) -> tuple[int, int]:
    """Read a line; return where it ends, and whether it is a record (1), blank (0) or something else (-1)."""
    p = _record(c, skip(c, start, size), size, row)
    if p >= 0 and (p == size or c.body[p] == 10):
        return p, 1 if p - start <= RECORD_BYTES_MAX else -1
    p = start
    verdict = 0
    while p < size and c.body[p] != 10:
        if c.body[p] != 32 and (c.body[p] < 9 or c.body[p] > 13):
            verdict = -1
        p += 1
    return p, verdict


@compiled
def _scan(
    body: Bytes,
    mode: int,
    evaluation: int,
    texts: Bytes,
    bounds: Integers,
    spellings: Integers,
    rules: Any,
    hints: Integers,
    starts: Integers,
    ends: Integers,
    lines: Integers,
    usual: Any,
    times: Any,
    numbers: Any,
    valid: Any,
    text_at: Any,
    text_bytes: Any,
) -> int:
    """Read records into the arrays behind `rules`; see `record_scan.Scan`.

    Args:
        body: All bytes; in mode `RANGES` the ranges are in `starts` and `ends`, and all of them are read.
        mode: How records are delimited.

    Returns:
        How many records there are, at most the length of `starts`; or `BROKEN`, in mode `ARRAY` only.
    """
    capacity, size = len(starts), len(body)
    c = Context(
        pointer(body),
        32 if mode == LINES else 10,
        evaluation,
        len(rules),
        pointer(texts),
        pointer(bounds),
        pointer(spellings),
        pointer(rules),
        pointer(hints),
        capacity,
        pointer(times),
        pointer(numbers),
        pointer(valid),
        pointer(text_at),
        pointer(text_bytes),
    )
    if mode == ARRAY:
        return _array(c, size, pointer(usual))
    if mode == RANGES:
        for at in range(capacity):
            start, end = starts[at], ends[at]
            q = _record(c, skip(c, start, end), end, at)
            usual[at] = q == end and end - start <= RECORD_BYTES_MAX
        return capacity
    # A plain zero would be a type of its own, and all would be compiled once more for it.
    row: Any = np.int64(0)
    p: Any = np.int64(0)
    line = 0
    while row < capacity and p < size:
        line += 1
        starts[row], lines[row] = p, line
        p, verdict = _line(c, p, size, row)
        ends[row], usual[row] = p, verdict > 0
        row += verdict != 0
        p += 1
    return int(row)


def _cached(made_of: int) -> Any:
    """Return `_scan` with an entry from Python, cached on disk.

    Numba takes what it cached for fresh as long as the file of the entry is the same, whatever it calls elsewhere. A
    variable of the enclosing function is part of its key, so `made_of` names all that the code is made of.
    """

    def scan(*arguments: Any) -> Any:
        return _scan(*arguments) if made_of >= 0 else BROKEN

    return entered(scan)


_SOURCE: Final = f"{inspect.getsource(json_kernel)}{ID_BYTES_MAX},{RECORD_BYTES_MAX},{TEXTS}"

scan: Final = _cached(zlib.crc32(_SOURCE.encode()))
"""`_scan`, to be called."""
