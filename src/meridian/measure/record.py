"""From the bytes of a batch to typed columns, with a verdict for every record.

Law: one bad record never costs its neighbours anything. Every record is either a row of the table or a `Rejection` that
names its position, the field and the reason. Two readers do the work: structs compiled from the schema for records that
are written in the schema's order (nearly all), and `explain` for all others, which knows the reasons. What both leave to
columns (lengths, times) is checked here, once.

A JSON object with a repeated key is read as JSON readers do: the last one stands.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.measure.columns import ID_BYTES_MAX, field_columns, job_columns
from meridian.measure.explain import RECORD_BYTES_MAX, Explainer, Rejection, decimal_units
from meridian.measure.nesting import BRACKETS_FEW, too_deep
from meridian.measure.schema import Field, FieldKind, NetworkSchema
from meridian.measure.strings import byte_lengths
from meridian.measure.times import read_times

RECORDS_MAX: Final = 100_000
"""Most records in one batch."""

_RAW_NULL: Final = b"null"
_DECIMAL: Final = FieldKind.DECIMAL.value
_ZERO: Final = ord("0")
_SHORT: Final = 20


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a batch holds."""

    count: int
    """Records in the batch, good or bad."""
    table: pa.Table
    """The good ones in batch order: ``index`` (position in the batch) and the columns of `job_columns`."""
    lines: Sequence[int] | None
    """For NDJSON: the line of each record."""
    rejections: tuple[Rejection, ...]
    """The bad ones, by position."""


def decode_ndjson(body: bytes, schema: NetworkSchema) -> Decoded:
    """Decode one record per line; blank lines are skipped, lines are numbered from 1.

    Raises:
        InvalidInput: If there are no records or too many.
    """
    texts = body.split(b"\n")
    lines: Sequence[int] = range(1, len(texts) + 1)
    if not all(texts) or any(map(bytes.isspace, texts)):
        lines = [line for line, text in zip(lines, texts, strict=True) if text.strip()]
        texts = [texts[line - 1] for line in lines]
    return _decode(texts, lines, schema)


def decode_json(body: bytes, schema: NetworkSchema) -> Decoded:
    """Decode a JSON array of records, or one record.

    Raises:
        InvalidInput: If the body as a whole is not JSON of this form, or holds no records or too many.
    """
    if body.lstrip()[:1] == b"{":
        return _decode([body], None, schema)
    if too_deep(body):
        raise InvalidInput("broken_json", "the body is nested too deeply")
    try:
        items = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "broken_json", f"the body is not an array of records: {error}"
        ) from error
    return _decode([bytes(item) for item in items], None, schema)


def _decode(texts: list[bytes], lines: Sequence[int] | None, schema: NetworkSchema) -> Decoded:
    if not texts:
        raise InvalidInput("empty_batch", "the batch holds no records")
    if len(texts) > RECORDS_MAX:
        raise InvalidInput("too_many_records", f"{len(texts)} records pass {RECORDS_MAX}")
    compiled = _compiled(schema)
    read, explain = compiled.decoder.decode, compiled.explainer.explain
    rejections: list[Rejection] = []
    usual: list[Any] = []
    usual_at: list[int] = []
    other: list[list[Any]] = []
    other_at: list[int] = []
    for index, text in enumerate(texts):
        if (
            len(text) <= RECORD_BYTES_MAX
            and text.count(b"[") + text.count(b"{") <= BRACKETS_FEW  # see `nesting`
        ):
            try:
                usual.append(read(text))
                usual_at.append(index)
                continue
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass
        verdict = explain(text, index)
        if isinstance(verdict, Rejection):
            rejections.append(verdict)
        else:
            other.append(verdict)
            other_at.append(index)
    parts = [
        _checked(compiled.columns_of(usual), usual_at, texts, compiled, rejections),
        _checked(list(map(list, zip(*other, strict=True))), other_at, texts, compiled, rejections),
    ]
    table = pa.concat_tables([part for part in parts if part is not None] or [compiled.nothing])
    if other_at:
        table = table.sort_by("index").combine_chunks()
    rejections.sort(key=lambda rejection: rejection.index)
    return Decoded(
        count=len(texts),
        table=table,
        lines=lines,
        rejections=with_lines(rejections, lines),
    )


def with_lines(
    rejections: Sequence[Rejection], lines: Sequence[int] | None
) -> tuple[Rejection, ...]:
    """Return the rejections with their line numbers filled in."""
    if lines is None:
        return tuple(rejections)
    return tuple(rejection.at_line(lines[rejection.index]) for rejection in rejections)


def _checked(
    columns: list[list[Any]],
    positions: list[int],
    texts: list[bytes],
    compiled: "_Compiled",
    rejections: list[Rejection],
) -> pa.Table | None:
    """Turn lists of values into typed columns and take out what only columns can tell."""
    if not positions:
        return None
    job_ids, node_ids, started_texts, ended_texts, *values = columns
    started, started_refused = read_times(started_texts)
    ended, ended_refused = read_times(ended_texts)
    good: npt.NDArray[np.bool_] = np.ones(len(positions), dtype=np.bool_)

    def refuse(at: int, field: str, reason: str, message: str) -> None:
        if good[at]:
            good[at] = False
            rejections.append(
                Rejection(positions[at], job_ids[at][:ID_BYTES_MAX], field, reason, message)
            )

    ids = {
        name: pa.array(texts_, pa.string())
        for name, texts_ in (("job_id", job_ids), ("peer_id", node_ids))
    }
    for name, array in ids.items():
        lengths = byte_lengths(array)
        for at in np.flatnonzero((lengths < 1) | (lengths > ID_BYTES_MAX)).tolist():
            reason = "too_long" if lengths[at] else "empty"
            refuse(at, name, reason, f"{lengths[at]} bytes where 1..{ID_BYTES_MAX} are accepted")
    for name, refused in (("started_at", started_refused), ("ended_at", ended_refused)):
        for at, message in refused.items():
            refuse(at, name, "bad_time", message)
    for at in np.flatnonzero(good & (ended < started)).tolist():
        refuse(at, "ended_at", "ends_before_start", "the job ends before it starts")

    arrays: list[pa.Array] = []
    for item, column, listed in zip(
        compiled.schema.fields, compiled.field_columns, values, strict=True
    ):
        if item.kind is FieldKind.DECIMAL:
            for at in [at for at, value in enumerate(listed) if value is False]:
                verdict = compiled.explainer.explain(texts[positions[at]], positions[at])
                if not isinstance(verdict, Rejection):
                    raise AssertionError("the two readers disagree")  # noqa: TRY004 - a bug of ours
                refuse(at, verdict.field, verdict.reason, verdict.message)
                listed[at] = None
        array = pa.array(listed, column.type)
        if item.kind is FieldKind.STRING:
            lengths = byte_lengths(array)
            for at in np.flatnonzero(lengths > item.max_bytes).tolist():
                refuse(at, item.name, "too_long", f"{lengths[at]} bytes pass {item.max_bytes}")
        arrays.append(array)
    table = pa.table(
        [
            pa.array(positions, pa.int64()),
            ids["peer_id"],
            ids["job_id"],
            pa.array(started),
            pa.array(ended),
            *arrays,
        ],
        schema=compiled.output,
    )
    return table if good.all() else table.filter(pa.array(good))


class _Compiled:
    """The readers of one schema, built once."""

    def __init__(self, schema: NetworkSchema) -> None:
        self.schema = schema
        self.field_columns = field_columns(schema)
        output = job_columns(schema)
        self.output = output.insert(0, pa.field("index", pa.int64(), nullable=False))
        self.nothing = self.output.empty_table()
        self.explainer = Explainer(schema)
        record = msgspec.defstruct(
            "Record",
            [
                ("job_id", str),
                ("peer_id", str),
                ("started_at", str),
                ("ended_at", str),
                ("evaluation_fields", _fields_type(schema.evaluation_fields)),
                ("additional_fields", _fields_type(schema.additional_fields)),
            ],
            forbid_unknown_fields=True,
            gc=False,
        )
        self.decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(record)

    def columns_of(self, usual: list[Any]) -> list[list[Any]]:
        """Return the lists of values of records that are in the usual form; a bad decimal is False."""
        columns: list[list[Any]] = [
            [record.job_id for record in usual],
            [record.peer_id for record in usual],
            [record.started_at for record in usual],
            [record.ended_at for record in usual],
        ]
        for at, item in enumerate(self.schema.evaluation_fields):
            columns.append(_values([record.evaluation_fields[at] for record in usual], item))
        for at, item in enumerate(self.schema.additional_fields):
            columns.append(_values([record.additional_fields[at] for record in usual], item))
        return columns


def _values(entries: list[Any], item: Field) -> list[Any]:
    if item.kind is not FieldKind.DECIMAL:
        return [entry.value for entry in entries]
    values: list[Any] = []
    minimum, maximum = item.minimum, item.maximum
    tens = [b"0" * (item.scale - digits) for digits in range(item.scale + 1)]
    for entry in entries:
        text = bytes(entry.value)
        whole, _, fraction = text.partition(b".")
        if (
            len(fraction) <= item.scale
            and len(whole) <= _SHORT
            and whole.isdigit()
            and fraction.isdigit()
            and (whole[0] != _ZERO or len(whole) == 1)
            and entry.type == _DECIMAL
            and minimum <= (units := int(whole + fraction + tens[len(fraction)])) <= maximum
        ):  # the usual "31.025"; everything else goes through the rule
            values.append(units)
        elif text == _RAW_NULL:
            values.append(None if item.nullable else False)
        else:
            exact = decimal_units(text, entry.type, item)
            values.append(exact if isinstance(exact, int) else False)
    return values


def _fields_type(fields: tuple[Field, ...]) -> Any:
    """Return the type of a list that holds exactly these fields, in this order."""
    return tuple[tuple(_entry_type(at, item) for at, item in enumerate(fields))]  # type: ignore[misc]


def _entry_type(at: int, item: Field) -> Any:
    value: Any
    if item.kind is FieldKind.INTEGER:
        value = Annotated[int, msgspec.Meta(ge=item.minimum, le=item.maximum)]
    elif item.kind is FieldKind.DECIMAL:
        value = msgspec.Raw  # exact: the digits are read as they are written
    else:
        value = bool if item.kind is FieldKind.BOOLEAN else str
    if item.nullable and item.kind is not FieldKind.DECIMAL:
        value = value | None
    return msgspec.defstruct(
        f"Field{at}",
        [("name", Literal[item.name]), ("type", Literal[item.kind.spellings]), ("value", value)],
        forbid_unknown_fields=True,
        gc=False,
    )


@functools.lru_cache(maxsize=64)
def _compiled(schema: NetworkSchema) -> _Compiled:
    return _Compiled(schema)
