"""Columns that a sender made as the columns of jobs, with a verdict for every record, without a step for each record.

Law: what is refused here is what `explain` refuses of the same values in JSON, with the same field and reason; of several
faults of one record the first stands, in the order of the columns. Columns come by the names of `columns.job_columns` or
the record's own, in any order and in these types:

    job_id, node_id or peer_id, strings   string, large_string, or a dictionary of them
    started_us or started_at, ended_...   int64 microseconds, or timestamps of any unit with a time zone
    integers                              any integer type
    decimals                              int64 units of 10^-scale, or decimal128
    booleans                              bool

A column that may be null may also be of type null, and one that is not required may be absent.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from meridian.errors import InvalidInput
from meridian.measure.columns import ID_BYTES_MAX, job_columns, one_chunk
from meridian.measure.explain import Rejection
from meridian.measure.record import BODY_BYTES_MAX, Decoded
from meridian.measure.schema import INT64_MAX, INT64_MIN, Field, FieldKind, NetworkSchema

TIME_US_MAX: Final = 253_402_300_799_999_999
"""The end of the year 9999, the last that a text can name."""

_UNIT_NS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_DECIMAL_DIGITS: Final = 38

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Accepts = Callable[[pa.DataType], bool]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a column of `job_columns` comes from."""

    source: int | None
    """Position among the sender's columns; None: absent, all null."""
    field: str
    """How the record's own data model calls it; a rejection names this."""
    item: Field | None
    """For a field of the schema."""


def _is_text(kind: pa.DataType) -> bool:
    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _is_instant(kind: pa.DataType) -> bool:
    return bool(types.is_int64(kind) or (types.is_timestamp(kind) and kind.tz is not None))


def _is_decimal(kind: pa.DataType) -> bool:
    """Tell whether a decimal field may have this type; a scale is what the sender says, and may be -2^31."""
    scaled = types.is_decimal128(kind) and 0 <= kind.scale <= _DECIMAL_DIGITS
    return bool(types.is_int64(kind) or scaled)


_HEADS: Final[tuple[tuple[tuple[str, ...], Accepts, str], ...]] = (
    (("node_id", "peer_id"), _is_text, "string"),
    (("job_id",), _is_text, "string"),
    (("started_us", "started_at"), _is_instant, "int64 or timestamp with a time zone"),
    (("ended_us", "ended_at"), _is_instant, "int64 or timestamp with a time zone"),
)
_FIELDS: Final[dict[FieldKind, tuple[Accepts, str]]] = {
    FieldKind.INTEGER: (types.is_integer, "an integer type"),
    FieldKind.DECIMAL: (_is_decimal, "int64 units or decimal128 with a scale of 0 to 38"),
    FieldKind.BOOLEAN: (types.is_boolean, "bool"),
    FieldKind.STRING: (_is_text, "string"),
}


def places(given: pa.Schema, schema: NetworkSchema) -> tuple[Place, ...]:
    """Return where each column of `job_columns` comes from.

    Raises:
        InvalidInput: With the column's name, if one is missing, stands twice, is not known or has another type.
    """
    if repeated := {name for name in given.names if given.names.count(name) > 1}:
        raise InvalidInput(min(repeated), "this column stands twice")
    found: list[Place] = []
    for names, accepts, wanted in _HEADS:
        at = _position(given, names, accepts, wanted)
        if at is None:
            raise InvalidInput(names[0], "this column is missing")
        field = names[0] if names[0] == "job_id" else names[-1]
        found.append(Place(at, field, None))
    for item in schema.fields:
        accepts, wanted = _FIELDS[item.kind]
        if item.may_be_null:
            accepts = _or_null(accepts)
        at = _position(given, (item.name,), accepts, wanted)
        if at is None and item.required:
            raise InvalidInput(item.name, "this column is missing")
        found.append(Place(at, item.name, item))
    if unknown := set(range(len(given.names))) - {place.source for place in found}:
        raise InvalidInput(given.names[min(unknown)], "not a column of this network's jobs")
    return tuple(found)


def _or_null(accepts: Accepts) -> Accepts:
    return lambda kind: accepts(kind) or bool(types.is_null(kind))


def _position(
    given: pa.Schema, names: tuple[str, ...], accepts: Accepts, wanted: str
) -> int | None:
    present = [name for name in names if name in given.names]
    if not present:
        return None
    if len(present) > 1:
        raise InvalidInput(present[1], f"it is the same as {present[0]}")
    at: int = given.names.index(present[0])
    if not accepts(given.field(at).type):
        raise InvalidInput(present[0], f"its type is {given.field(at).type}, not {wanted}")
    return at


class _Verdicts:
    """Which rows are good, and why the others are not: the first reason stands."""

    def __init__(self, count: int) -> None:
        self.good: Bools = np.ones(count, dtype=np.bool_)
        self._refused: dict[int, tuple[str, str, str]] = {}

    def refuse(self, where: Bools, field: str, reason: str, message: Callable[[int], str]) -> None:
        """Refuse rows."""
        if not where.any():
            return
        rows = np.flatnonzero(where & self.good).tolist()
        self.good &= ~where
        for row in rows:
            self._refused[row] = (field, reason, message(row))

    def rejections(self, job_ids: "_Texts") -> Iterator[Rejection]:
        """Yield what was refused, by position."""
        for row in sorted(self._refused):
            yield Rejection(row, job_ids.shown(row), *self._refused[row])


class _Texts:
    """A column of texts, of which only the lengths are looked at until it is known which of them are wanted."""

    def __init__(self, column: pa.Array) -> None:
        self.column = column
        if types.is_dictionary(column.type):
            entries = pc.binary_length(column.dictionary)
            if entries.null_count:
                raise InvalidInput("dictionary", "it holds nulls")
            lengths = entries.take(column.indices)
        else:
            lengths = pc.binary_length(column)
        self.null: Bools | None = _nulls(column)
        self.lengths = _numbers(lengths)

    def shown(self, row: int) -> str | None:
        """Return the beginning of one text."""
        if self.lengths[row] > BODY_BYTES_MAX or (self.null is not None and self.null[row]):
            return None
        text: str = self.column[row].as_py()
        return text[:ID_BYTES_MAX]

    def chosen(self, rows: Bools | None) -> pa.StringArray:
        """Return the wanted rows as plain strings; a null has no bytes."""
        column = self.column if rows is None else self.column.filter(pa.array(rows))
        null = _nulls(column)
        if types.is_dictionary(column.type):
            column = column.dictionary_decode()
        column = column.cast(pa.string())
        if null is None:
            return column
        filled = pc.fill_null(column, "")
        if filled.offset:
            filled = filled.take(pa.array(np.arange(len(filled))))
        bitmap = pa.array(~null).buffers()[1]
        return pa.Array.from_buffers(pa.string(), len(filled), [bitmap, *filled.buffers()[1:]])


def judge(table: pa.Table, chosen: tuple[Place, ...], schema: NetworkSchema) -> Decoded:
    """Judge every record of a table whose values are valid.

    Args:
        table: The sender's columns.
        chosen: What `places` says of them.
        schema: The network's schema.

    Raises:
        InvalidInput: If there are no records, or their texts together are too long.
    """
    count = table.num_rows
    if not count:
        raise InvalidInput("empty_batch", "the batch holds no records")
    columns = [
        pa.nulls(count) if place.source is None else one_chunk(table.column(place.source))
        for place in chosen
    ]
    verdicts = _Verdicts(count)
    node_ids, job_ids = _Texts(columns[0]), _Texts(columns[1])
    for texts, name in ((job_ids, "job_id"), (node_ids, "peer_id")):
        _check_texts(texts, name, 1, ID_BYTES_MAX, verdicts)
    times = [
        _instants(column, place.field, verdicts)
        for column, place in zip(columns[2:4], chosen[2:4], strict=True)
    ]
    backwards = times[1] < times[0]
    verdicts.refuse(
        backwards, "ended_at", "ends_before_start", lambda _: "the job ends before it starts"
    )
    fields = [
        _field(column, place.item, verdicts)
        for column, place in zip(columns[4:], chosen[4:], strict=True)
        if place.item is not None
    ]
    rows = None if verdicts.good.all() else verdicts.good
    all_texts = [node_ids, job_ids, *(one for one in fields if isinstance(one, _Texts))]
    total = sum(int(texts.lengths[verdicts.good].sum()) for texts in all_texts)
    if total > BODY_BYTES_MAX:
        raise InvalidInput("too_long", f"texts of {total} bytes pass {BODY_BYTES_MAX}")
    output = job_columns(schema).insert(0, pa.field("index", pa.int64(), nullable=False))
    arrays = [
        pa.array(np.arange(count, dtype=np.int64) if rows is None else np.flatnonzero(rows)),
        node_ids.chosen(rows),
        job_ids.chosen(rows),
        *(pa.array(values if rows is None else values[rows]) for values in times),
        *(_kept(one, rows) for one in fields),
    ]
    rejections = tuple(verdicts.rejections(job_ids))
    return Decoded(count, pa.table(arrays, schema=output), None, rejections)


def _kept(field: "_Texts | pa.Array", rows: Bools | None) -> pa.Array:
    if isinstance(field, _Texts):
        return field.chosen(rows)
    return field if rows is None else field.filter(pa.array(rows))


def _nulls(column: pa.Array) -> Bools | None:
    """Return where a column is null; None: nowhere."""
    return np.asarray(column.is_null()) if column.null_count else None


def _numbers(column: pa.Array) -> npt.NDArray[Any]:
    """Return a column of numbers; 0 for null."""
    if column.null_count:
        column = pc.fill_null(column, 0)
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _refuse_nulls(null: Bools | None, field: str, verdicts: _Verdicts) -> None:
    if null is not None:
        verdicts.refuse(null, field, "wrong_type", lambda _: "null is not accepted here")


def _check_texts(
    texts: _Texts, field: str, least: int, most: int, verdicts: _Verdicts, *, nulls: bool = False
) -> None:
    lengths, null = texts.lengths, texts.null
    if not nulls:
        _refuse_nulls(null, field, verdicts)
    if null is None and _within(lengths, least, most):
        return
    accepted = f"where {least}..{most} are accepted" if least else f"pass {most}"
    short = (lengths < least) if null is None else (lengths < least) & ~null
    verdicts.refuse(short, field, "empty", lambda row: f"{lengths[row]} bytes {accepted}")
    verdicts.refuse(
        lengths > most, field, "too_long", lambda row: f"{lengths[row]} bytes {accepted}"
    )


def _instants(column: pa.Array, field: str, verdicts: _Verdicts) -> Integers:
    """Return a column of times in microseconds, 0 where it is refused."""
    _refuse_nulls(_nulls(column), field, verdicts)
    unit_ns = _UNIT_NS[column.type.unit] if types.is_timestamp(column.type) else _UNIT_NS["us"]
    given: Integers = _numbers(column.cast(pa.int64()))

    def refuse(where: Bools, why: str) -> None:
        verdicts.refuse(where, field, "bad_time", lambda row: f"{given[row]} {why}")

    last = min(TIME_US_MAX * 1_000 // unit_ns, INT64_MAX)
    if not _within(given, 0, last):
        refuse(given < 0, "is before 1970")
        refuse(given > last, "is after the year 9999")
        given = np.where((given < 0) | (given > last), 0, given)
    if unit_ns < 1_000:
        refuse(given % 1_000 != 0, "is finer than a microsecond")
        return given // 1_000
    return given if unit_ns == 1_000 else given * (unit_ns // 1_000)


def _within(values: npt.NDArray[Any], least: int, most: int) -> bool:
    return bool(len(values) == 0 or (least <= int(values.min()) and int(values.max()) <= most))


def _field(column: pa.Array, item: Field, verdicts: _Verdicts) -> "_Texts | pa.Array":
    """Check a field of the schema; strings are returned as they came, all else in the column's type."""
    if types.is_null(column.type):
        kind = {FieldKind.BOOLEAN: pa.bool_(), FieldKind.STRING: pa.string()}
        column = pa.nulls(len(column), kind.get(item.kind, pa.int64()))
    null = _nulls(column)
    if not item.may_be_null:
        _refuse_nulls(null, item.name, verdicts)
    if item.kind is FieldKind.STRING:
        texts = _Texts(column)
        _check_texts(texts, item.name, 0, item.max_bytes, verdicts, nulls=True)
        return texts
    if item.kind is FieldKind.BOOLEAN:
        bits = pc.fill_null(column, False).to_numpy(zero_copy_only=False)
        return pa.array(bits, mask=null)
    fits: Bools | None
    if types.is_decimal128(column.type):
        units, exact, fits = _units(column, item.scale)
        verdicts.refuse(
            ~exact,
            item.name,
            "too_precise",
            lambda row: f"{column[row]} has more than {item.scale} decimals",
        )
    else:
        given = _numbers(column)
        units = given.astype(np.int64, copy=False)
        fits = None if given.dtype != np.uint64 else given <= INT64_MAX
    if fits is not None or not _within(units, item.minimum, item.maximum):
        beyond = (units < item.minimum) | (units > item.maximum)
        if fits is not None:
            beyond |= ~fits
        verdicts.refuse(
            beyond if null is None else beyond & ~null,
            item.name,
            "out_of_range",
            lambda row: f"{column[row]} is not in {item.minimum}..{item.maximum}",
        )
    return pa.array(units, mask=null)


def _units(column: pa.Array, scale: int) -> tuple[Integers, Bools, Bools]:
    """Return decimals as units of 10^-scale, and which are exact and which fit an int64; 0 where one is not."""
    end = column.offset + len(column)  # a stranger's buffer may have odd bytes behind it
    halves = np.frombuffer(column.buffers()[1], dtype=np.int64, count=2 * end).reshape(-1, 2)
    halves = halves[column.offset :]
    low, high = halves[:, 0].copy(), halves[:, 1]
    if column.null_count:
        null = np.asarray(column.is_null())
        low, high = np.where(null, 0, low), np.where(null, 0, high)
    fits = high == low >> 63
    exact = np.ones(len(low), dtype=np.bool_)
    missing = scale - column.type.scale
    if missing >= 0:
        factor = 10**missing
        fits &= (low >= -(-INT64_MIN // factor)) & (low <= INT64_MAX // factor)
        return np.where(fits, low, 0) * min(factor, INT64_MAX), exact, fits
    divisor = 10**-missing
    large = np.flatnonzero(~fits).tolist()
    if divisor > INT64_MAX:
        exact = low == 0
        units = np.zeros(len(low), dtype=np.int64)
    else:
        exact = low % divisor == 0
        units = low // divisor
    for row in large:  # beyond int64 as written, and perhaps not in units
        whole, rest = divmod((int(high[row]) << 64) + int(low.view(np.uint64)[row]), divisor)
        exact[row], fits[row] = rest == 0, INT64_MIN <= whole <= INT64_MAX
        units[row] = whole if fits[row] else 0
    return units, exact, fits
