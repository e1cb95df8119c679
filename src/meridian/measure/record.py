"""From the bytes of a batch to typed columns, with a verdict for every record.

Law: one bad record never costs its neighbours anything. Every record is either a row of the table or a `Rejection` that
names its position, the field and the reason. Two readers do the work: the compiled one of `record_kernel` for records in
the usual form (nearly all), a whole batch in one pass, and `explain` for all others, which knows the reasons. The
compiled one serves after `prepare`; without it `explain` reads everything, to the same verdicts, much slower. What
`explain` leaves to columns (lengths, times) is checked here.

A JSON object with a repeated key is read as JSON readers do: the last one stands.
"""

import functools
import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.measure.columns import ID_BYTES_MAX, field_columns, job_columns
from meridian.measure.explain import Explainer, Rejection
from meridian.measure.nesting import DEPTH_MAX, few_brackets, shape
from meridian.measure.schema import Field, FieldKind, NetworkSchema
from meridian.measure.strings import byte_lengths
from meridian.measure.times import read_times

RECORDS_MAX: Final = 100_000
"""Most records in one batch."""
BODY_BYTES_MAX: Final = 256 << 20
"""Longest body of a batch, decompressed."""

_fast: ModuleType | None = None
"""`record_scan`, once it is prepared."""


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


def prepare() -> bool:
    """Load the compiled reader, and return whether it serves: it takes half a second, or ten where nothing is cached.

    The measure service calls it at its start, in a thread; so should whoever reads many records. The reader must first
    agree with `explain` on a few records; where it does not, or cannot be loaded, everything goes on without it, with a
    warning.
    """
    global _fast  # noqa: PLW0603 - code is loaded once in a process
    if _fast is None:
        try:
            from meridian.measure import record_scan  # noqa: PLC0415 - it loads numba

            slow, fast = (_decode_lines(_SAMPLE, _SAMPLE_SCHEMA, by) for by in (None, record_scan))
            agree = slow.table == fast.table and slow.rejections == fast.rejections
            agree &= record_scan.shape(_SAMPLE) == shape(_SAMPLE)
            if not agree or fast.table.num_rows != _SAMPLE_GOOD:
                raise AssertionError("the two readers differ")
            _fast = record_scan
        except Exception as error:  # noqa: BLE001 - whatever it is, the other reader is there
            warnings.warn(f"records are read slowly: {error}", RuntimeWarning, stacklevel=2)
    return _fast is not None


def decode_ndjson(body: bytes, schema: NetworkSchema) -> Decoded:
    """Decode one record per line; blank lines are skipped, lines are numbered from 1.

    Raises:
        InvalidInput: If there are no records or too many.
    """
    return _decode_lines(body, schema, _fast)


def decode_json(body: bytes, schema: NetworkSchema) -> Decoded:
    """Decode a JSON array of records, or one record.

    Raises:
        InvalidInput: If the body as a whole is not JSON of this form, or holds no records or too many.
    """
    if _fast is not None:
        _require_size(body)
        scan = _fast.Scan.of_array(body, _fast.form(schema), RECORDS_MAX)
        if scan is not None:
            return _assemble(_Records(body, scan.starts, scan.ends, None), schema, scan)
    return decode_texts(json_texts(body), None, schema)


def decode_texts(
    texts: Sequence[bytes], lines: Sequence[int] | None, schema: NetworkSchema
) -> Decoded:
    """Decode texts that hold one record each.

    Args:
        texts: The records; any number of them.
        lines: The line of each, where they have lines.
        schema: The network's schema.
    """
    body = b"".join(texts)
    ends = np.cumsum(list(map(len, texts)), dtype=np.int64)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends])[: len(ends)]
    records = _Records(body, starts, ends, lines)
    scan = None
    if _fast is not None:
        scan = _fast.Scan.of_ranges(body, _fast.form(schema), starts, ends)
    return _assemble(records, schema, scan)


def json_texts(body: bytes) -> list[bytes]:
    """Return the texts of the items of a JSON array, or of the one record that the body is.

    Raises:
        InvalidInput: If the body is neither, or holds no records or too many.
    """
    _require_size(body)
    if body.lstrip()[:1] == b"{":
        return [body]
    if not few_brackets(body) or body.count(b",") >= RECORDS_MAX:
        # Before a reader recurses, and makes an object of every item.
        depth, commas = shape(body) if _fast is None else _fast.shape(body)
        if depth > DEPTH_MAX:
            raise InvalidInput("broken_json", "the body is nested too deeply")
        _require_count(commas + 1)
    try:
        texts = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "broken_json", f"the body is not an array of records: {error}"
        ) from error
    _require_count(len(texts))
    return list(map(bytes, texts))


def line_texts(body: bytes) -> tuple[list[bytes], list[int]]:
    """Return the lines of a body that are not blank, and their numbers from 1.

    Raises:
        InvalidInput: If there are no records or too many.
    """
    _require_size(body)
    found = list(itertools.islice(_line_ranges(body), RECORDS_MAX + 1))
    _require_count(len(found))
    return [body[start:end] for start, end, _ in found], [line for _, _, line in found]


def with_lines(
    rejections: Sequence[Rejection], lines: Sequence[int] | None
) -> tuple[Rejection, ...]:
    """Return the rejections with their line numbers filled in."""
    if lines is None:
        return tuple(rejections)
    return tuple(rejection.at_line(lines[rejection.index]) for rejection in rejections)


@dataclass(frozen=True, slots=True)
class _Records:
    """Where the records of a body stand."""

    body: bytes
    starts: Sequence[int] | npt.NDArray[np.int64]
    ends: Sequence[int] | npt.NDArray[np.int64]
    lines: Sequence[int] | None

    def text(self, index: int) -> bytes:
        return self.body[self.starts[index] : self.ends[index]]


def _line_ranges(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield beginning, end and number (from 1) of each line that is not blank."""
    start, line = 0, 0
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        line += 1
        if not body[start:end].isspace() and end > start:
            yield start, end, line
        start = end + 1


def _decode_lines(body: bytes, schema: NetworkSchema, fast: ModuleType | None) -> Decoded:
    _require_size(body)
    if fast is None:
        found = list(itertools.islice(_line_ranges(body), RECORDS_MAX + 1))
        _require_count(len(found))
        return _assemble(_Records(body, *zip(*found, strict=True)), schema, None)
    scan = fast.Scan.of_lines(body, fast.form(schema), RECORDS_MAX + 1)
    _require_count(scan.count)
    lines: Sequence[int] = range(1, scan.count + 1)
    if scan.lines[scan.count - 1] != scan.count:  # there are blank ones
        lines = scan.lines[: scan.count].tolist()
    return _assemble(_Records(body, scan.starts, scan.ends, lines), schema, scan)


def _require_size(body: bytes) -> None:
    if len(body) > BODY_BYTES_MAX:
        raise InvalidInput("too_long", f"{len(body)} bytes pass {BODY_BYTES_MAX}")


def _require_count(count: int) -> None:
    if not count:
        raise InvalidInput("empty_batch", "the batch holds no records")
    if count > RECORDS_MAX:
        raise InvalidInput("too_many_records", f"more than {RECORDS_MAX} records")


def _assemble(records: _Records, schema: NetworkSchema, scan: Any | None) -> Decoded:
    """Put together what the compiled reader read, if it did, and what `explain` says of all other records."""
    reader, count = _reader(schema), len(records.starts)
    unusual: Sequence[int] = range(count)
    tables: list[pa.Table] = []
    rejections: list[Rejection] = []
    if scan is not None:
        count = scan.count
        unusual = np.flatnonzero(~scan.usual[:count]).tolist()
        tables.append(scan.table(reader.output))
    if unusual or not tables:
        tables.append(reader.explained(records, unusual, rejections))
    table = tables[0]
    if len(tables) > 1:
        table = pa.concat_tables(tables).sort_by("index").combine_chunks()
    rejections.sort(key=lambda rejection: rejection.index)
    return Decoded(
        count=count,
        table=table,
        lines=records.lines,
        rejections=with_lines(rejections, records.lines),
    )


class _Reader:
    """What is built once for a schema."""

    def __init__(self, schema: NetworkSchema) -> None:
        self._schema = schema
        self._field_columns = field_columns(schema)
        self._explainer = Explainer(schema)
        self.output = job_columns(schema).insert(0, pa.field("index", pa.int64(), nullable=False))

    def explained(
        self, records: _Records, indices: Iterable[int], rejections: list[Rejection]
    ) -> pa.Table:
        """Read records one by one."""
        rows: list[list[Any]] = []
        positions: list[int] = []
        for index in indices:
            verdict = self._explainer.explain(records.text(index), index)
            if isinstance(verdict, Rejection):
                rejections.append(verdict)
            else:
                rows.append(verdict)
                positions.append(index)
        if not rows:
            return self.output.empty_table()
        return self._checked(list(map(list, zip(*rows, strict=True))), positions, rejections)

    def _checked(
        self, columns: list[list[Any]], positions: list[int], rejections: list[Rejection]
    ) -> pa.Table:
        """Turn lists of values into typed columns and take out what only columns can tell."""
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
            name: pa.array(texts, pa.string())
            for name, texts in (("job_id", job_ids), ("peer_id", node_ids))
        }
        for name, array in ids.items():
            lengths = byte_lengths(array)
            for at in np.flatnonzero((lengths < 1) | (lengths > ID_BYTES_MAX)).tolist():
                reason = "too_long" if lengths[at] else "empty"
                refuse(
                    at, name, reason, f"{lengths[at]} bytes where 1..{ID_BYTES_MAX} are accepted"
                )
        for name, refused in (("started_at", started_refused), ("ended_at", ended_refused)):
            for at, message in refused.items():
                refuse(at, name, "bad_time", message)
        for at in np.flatnonzero(good & (ended < started)).tolist():
            refuse(at, "ended_at", "ends_before_start", "the job ends before it starts")

        arrays: list[pa.Array] = []
        for item, column, listed in zip(
            self._schema.fields, self._field_columns, values, strict=True
        ):
            array = pa.array(listed, column.type)
            if item.kind is FieldKind.STRING:
                lengths = byte_lengths(array)
                for at in np.flatnonzero(lengths > item.max_bytes).tolist():
                    refuse(at, item.name, "too_long", f"{lengths[at]} bytes pass {item.max_bytes}")
            arrays.append(array)
        heads = [ids["peer_id"], ids["job_id"], pa.array(started), pa.array(ended)]
        table = pa.table([pa.array(positions, pa.int64()), *heads, *arrays], schema=self.output)
        return table if good.all() else table.filter(pa.array(good))


@functools.lru_cache(maxsize=64)
def _reader(schema: NetworkSchema) -> _Reader:
    return _Reader(schema)


_SAMPLE_SCHEMA: Final = NetworkSchema(
    id=0,
    name="sample",
    evaluation_fields=(Field.integer("whole", maximum=9), Field.decimal("exact", 3)),
    additional_fields=(
        Field.boolean("flag", nullable=True),
        Field.string("text", 8, required=False, nullable=True),
    ),
)
_SAMPLE: Final = b"\n".join(
    b"""{"job_id":"%s","peer_id":"n","started_at":"2023-05-01 00:52:57.62+00","ended_at":"%s",
"evaluation_fields":[{"name":"whole","type":"int","value":%s},{"name":"exact","type":"decimal","value":%s}],
"additional_fields":[{"name":"flag","type":"boolean","value":%s}%s]}""".replace(b"\n", b"")
    % values
    for values in (
        (b"a", b"2023-05-01T02:52:58.5+02:00", b"7", b"1.25", b"true", b""),
        (b"\xc3\xa9", b"2024-02-29T00:00:00Z", b"0", b"12", b"null", b""),
        (
            b"c",
            b"2023-05-02 00:00:00-1130",
            b"9",
            b"0.001",
            b"false",
            b',{"name":"text","type":"string","value":"x y"}',
        ),
        (b"d", b"2023-05-02 00:00:00Z", b"10", b"1", b"true", b""),
        (b"e", b"2023-05-02 00:00:00Z", b"1", b"1.0001", b"true", b""),
        (b"\xed\xa0\x80", b"2023-05-02 00:00:00Z", b"1", b"1", b"true", b""),
        (b"f", b"2023-02-29 00:00:00Z", b"1", b"1", b"true", b""),
    )
)
_SAMPLE_GOOD: Final = 3
