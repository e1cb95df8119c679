"""Arrow streams and Parquet files as bodies: the verdicts of JSON, and nothing that a sender can make them cost."""

import io
import json
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measure_schemas import SATURN, lines, saturn_record
from pyarrow import ipc

from meridian.errors import InvalidInput
from meridian.measure import arrow_batch, arrow_columns
from meridian.measure.arrow_batch import decode_arrow, decode_parquet, encode_arrow
from meridian.measure.columns import job_columns
from meridian.measure.ipc_limits import MESSAGES_MAX, METADATA_BYTES_MAX
from meridian.measure.record import RECORDS_MAX, Decoded, decode_ndjson
from meridian.measure.schema import INT64_MAX, INT64_MIN, Field, NetworkSchema

US = 1_682_902_377_620_000
ROWS = 12


def stream(*tables: pa.Table | pa.RecordBatch, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    settings = ipc.IpcWriteOptions(**options)
    with ipc.new_stream(sink, tables[0].schema, options=settings) as writer:
        for table in tables:
            writer.write(table)
    return bytes(sink.getvalue())


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def decoded_lines() -> Decoded:
    return decode_ndjson(lines(*(saturn_record(at) for at in range(ROWS))), SATURN)


def jobs(**changes: Any) -> pa.Table:
    """Sound columns of Saturn jobs; `changes` replaces columns (None: leave it out), names with two underscores hold a space."""
    table = decoded_lines().table.drop_columns("index").replace_schema_metadata(None)
    columns = dict(zip(table.column_names, table.columns, strict=True))
    for name, column in changes.items():
        columns[name.replace("__", " ")] = column
    return pa.table({name: column for name, column in columns.items() if column is not None})


def one(column: str, value: Any, kind: pa.DataType | None = None) -> pa.Table:
    """Sound jobs, but for the value of the second in one column."""
    table = jobs()
    values = table.column(column).to_pylist()
    kind = kind or table.schema.field(column).type
    values[1] = value
    at = table.column_names.index(column)
    return table.set_column(at, pa.field(column, kind), pa.array(values, kind))


FORMS: list[tuple[Callable[[bytes, NetworkSchema], Decoded], Callable[[pa.Table], bytes]]] = [
    (decode_arrow, stream),
    (decode_parquet, parquet),
]
both_forms = pytest.mark.parametrize(("decode", "write"), FORMS, ids=["arrow", "parquet"])


@both_forms
def test_jobs_come_back_as_they_were(
    decode: Callable[[bytes, NetworkSchema], Decoded], write: Callable[[pa.Table], bytes]
) -> None:
    expected = decoded_lines()
    found = decode(write(jobs()), SATURN)
    assert (found.count, found.rejections, found.lines) == (ROWS, (), None)
    assert found.table == expected.table
    found.table.validate(full=True)


def test_what_we_write_is_read_again_and_always_the_same() -> None:
    table = decoded_lines().table
    assert encode_arrow(table, SATURN) == encode_arrow(
        pa.concat_tables([table[:5], table[5:]]), SATURN
    )
    assert decode_arrow(encode_arrow(table, SATURN), SATURN).table == table


def times(table: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    return table.column(name).cast(pa.timestamp("us", "UTC")).cast(kind)


EVEN = jobs(
    started_us=pa.array([US // 10**6 * 10**6] * ROWS),
    ended_us=pa.array([US // 10**6 * 10**6] * ROWS),
)
SPELLINGS: list[pa.Table] = [
    jobs().rename_columns({"node_id": "peer_id", "started_us": "started_at", "ended_us": "ended_at"}),
    jobs().select(jobs().column_names[::-1]),
    jobs(client=pa.array(["c"] * ROWS, pa.large_string()), node_id=pa.array(["n"] * ROWS).dictionary_encode()),
    jobs(client=pa.array(["c", None, "é"] * 4).dictionary_encode().cast(pa.dictionary(pa.uint8(), pa.large_string()))),
    jobs(client=pa.nulls(ROWS), ttfb_ms=pa.nulls(ROWS)),
    jobs(client=None),
    jobs(num_bytes_sent=pa.array(range(ROWS), pa.uint64()), status__code=pa.array([200] * ROWS, pa.uint16())),
    jobs(ttfb_ms=pa.array([1, None] * 6, pa.int8())),
    jobs(request_duration_sec=pa.array([Decimal("0.25"), Decimal("31.025072511")] * 6, pa.decimal128(30, 12))),
    jobs(request_duration_sec=pa.array([Decimal(2), Decimal(9223372036)] * 6, pa.decimal128(20, 0))),
    jobs(request_duration_sec=pa.array([Decimal(10), Decimal(0)] * 6, pa.decimal128(20, 0)).cast(pa.decimal128(38, 25))),
    jobs().replace_schema_metadata({"pandas": "{}" * 5_000}),
    *(EVEN.set_column(2, "started_at", times(EVEN, "started_us", pa.timestamp(unit, "Europe/Berlin"))) for unit in ("s", "ms", "us", "ns")),
]  # fmt: skip


def plain(table: pa.Table) -> list[dict[str, Any]]:
    """Rows with the values that a sender means."""
    names = {"peer_id": "node_id", "started_at": "started_us", "ended_at": "ended_us"}
    table = table.rename_columns([names.get(name, name) for name in table.column_names])
    rows = []
    for row in table.to_pylist():
        if isinstance(row["request_duration_sec"], Decimal):
            row["request_duration_sec"] = int(row["request_duration_sec"] * 10**9)
        if not isinstance(row["started_us"], int):
            row["started_us"] = int(row["started_us"].timestamp()) * 10**6
        rows.append({"client": None} | row)
    return rows


@both_forms
@pytest.mark.parametrize("table", SPELLINGS, ids=range(len(SPELLINGS)))
def test_columns_have_several_accepted_types(
    decode: Callable[[bytes, NetworkSchema], Decoded],
    write: Callable[[pa.Table], bytes],
    table: pa.Table,
) -> None:
    found = decode(write(table), SATURN)
    assert found.rejections == ()
    assert found.table.schema == job_columns(SATURN).insert(
        0, pa.field("index", pa.int64(), nullable=False)
    )
    assert found.table.drop_columns("index").to_pylist() == [
        {name: row[name] for name in job_columns(SATURN).names} for row in plain(table)
    ]
    found.table.validate(full=True)


def test_a_scale_that_nobody_can_mean_is_refused_before_it_is_a_power() -> None:
    """Found by fuzzing: 10 to the power of two billion keeps a processor busy for an hour."""
    for scale in (-1, -(2**31), 39, 2**31 - 1):
        kind = pa.decimal128(38, scale)
        column = pa.Array.from_buffers(kind, ROWS, [None, pa.py_buffer(bytes(16 * ROWS))])
        with pytest.raises(InvalidInput, match="request_duration_sec: its type is decimal128"):
            decode_arrow(stream(jobs(request_duration_sec=column)), SATURN)


def test_a_footer_of_other_kinds_of_values_is_refused() -> None:
    """Found by fuzzing: a list where a struct is expected."""
    footer = bytes.fromhex("292c550200001602191c191c39050026020000")
    body = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    with pytest.raises(InvalidInput, match="not sound: IndexError"):
        decode_parquet(body, SATURN)


def test_nulls_hold_nothing() -> None:
    """What a sender left behind a null must not stay there: hashes are made of what columns hold."""
    hidden = pa.Array.from_buffers(
        pa.string(), ROWS, [pa.py_buffer(b"\0\0"), pa.array(range(ROWS + 1), pa.int32()).buffers()[1], pa.py_buffer(b"x" * ROWS)]
    )  # fmt: skip
    numbers = pa.Array.from_buffers(
        pa.int64(), ROWS, [pa.py_buffer(b"\0\0"), pa.array(range(ROWS)).buffers()[1]]
    )
    found = decode_arrow(stream(jobs(client=hidden, ttfb_ms=numbers)), SATURN).table
    column = found.column("client").chunk(0)
    assert column.null_count == ROWS
    assert set(np.frombuffer(column.buffers()[1], np.int32)[: ROWS + 1]) == {0}
    values = np.frombuffer(found.column("ttfb_ms").chunk(0).buffers()[1], np.int64)
    assert not values[:ROWS].any()


BAD: list[tuple[pa.Table, str, str]] = [
    (one("job_id", None), "job_id", "wrong_type"),
    (one("job_id", ""), "job_id", "empty"),
    (one("job_id", "é" * 65), "job_id", "too_long"),
    (one("node_id", ""), "peer_id", "empty"),
    (one("node_id", None), "peer_id", "wrong_type"),
    (one("node_id", "x" * 129), "peer_id", "too_long"),
    (one("started_us", None), "started_at", "wrong_type"),
    (one("started_us", -1), "started_at", "bad_time"),
    (one("ended_us", 253_402_300_800_000_000), "ended_at", "bad_time"),
    (one("ended_us", US - 1), "ended_at", "ends_before_start"),
    (one("num_bytes_sent", -1), "num_bytes_sent", "out_of_range"),
    (one("num_bytes_sent", None), "num_bytes_sent", "wrong_type"),
    (one("num_bytes_sent", INT64_MAX + 1, pa.uint64()), "num_bytes_sent", "out_of_range"),
    (one("status code", 99), "status code", "out_of_range"),
    (one("status code", 600, pa.uint16()), "status code", "out_of_range"),
    (one("request_duration_sec", -1), "request_duration_sec", "out_of_range"),
    (one("cache_hit", None), "cache_hit", "wrong_type"),
    (one("client", "é" * 9), "client", "too_long"),
    (one("client", "x" * 17, pa.large_string()), "client", "too_long"),
]


def decimals(value: str, scale: int) -> pa.Table:
    column = pa.array(
        [Decimal(1), Decimal(value), *[Decimal(1)] * (ROWS - 2)], pa.decimal128(38, scale)
    )
    return jobs(request_duration_sec=column)


def stamps(value: int, unit: str) -> pa.Table:
    column = pa.array([1_000, value, *[1_000] * (ROWS - 2)], pa.timestamp(unit, "UTC"))
    return jobs(started_us=None, started_at=column)


BAD += [
    (decimals("0.0000000001", 10), "request_duration_sec", "too_precise"),
    (decimals("9223372036.854775808", 9), "request_duration_sec", "out_of_range"),
    (decimals("9223372036.8547758080", 10), "request_duration_sec", "out_of_range"),
    (decimals("10000000000000", 0), "request_duration_sec", "out_of_range"),
    (decimals("1.0000000000000000001", 25), "request_duration_sec", "too_precise"),
    (decimals("-0.5", 1), "request_duration_sec", "out_of_range"),
    (stamps(1_001, "ns"), "started_at", "bad_time"),
    (stamps(-1, "s"), "started_at", "bad_time"),
    (stamps(INT64_MAX, "ms"), "started_at", "bad_time"),
    (stamps(253_402_300_800, "s"), "started_at", "bad_time"),
]


@pytest.mark.parametrize(("table", "field", "reason"), BAD, ids=[f"{at}-{field}-{reason}" for at, (_, field, reason) in enumerate(BAD)])  # fmt: skip
def test_a_bad_record_is_refused_by_name_and_its_neighbours_are_accepted(
    table: pa.Table, field: str, reason: str
) -> None:
    for dictionaries in (False, True):
        if dictionaries:
            column = table.column_names.index("client")
            table = table.set_column(column, "client", table.column("client").dictionary_encode())
        found = decode_arrow(stream(table), SATURN)
        assert found.count == ROWS
        assert found.table.column("index").to_pylist() == [0, *range(2, ROWS)]
        [rejection] = found.rejections
        assert (rejection.index, rejection.field, rejection.reason) == (1, field, reason)
        assert rejection.line is None
        assert rejection.message
        assert rejection.job_id == (None if reason == "wrong_type" and field == "job_id" else (table.column("job_id")[1].as_py())[:128])  # fmt: skip
        found.table.validate(full=True)


WIDE = NetworkSchema(
    id=9,
    name="wide",
    evaluation_fields=(
        Field.integer("a", minimum=INT64_MIN, nullable=True),
        Field.decimal("b", 3, minimum=INT64_MIN),
    ),
    additional_fields=(Field.string("c", 3, required=False), Field.boolean("d", nullable=True)),
)


@given(
    st.lists(
        st.tuples(
            st.text(max_size=3) | st.just("é" * 65),
            st.integers(US - 2, US + 2),
            st.none() | st.integers(INT64_MIN, INT64_MAX),
            st.integers(INT64_MIN, INT64_MAX),
            st.none() | st.text(max_size=4),
            st.none() | st.booleans(),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_the_verdicts_are_those_of_json(rows: list[tuple[Any, ...]]) -> None:
    """The same values as NDJSON, as Arrow and as Parquet: the same rows, the same reasons."""

    def text(units: int) -> str:
        return f"{'-' if units < 0 else ''}{abs(units) // 1000}.{abs(units) % 1000:03d}"

    def line(row: tuple[Any, ...]) -> str:
        job_id, ended_us, a, b, c, d = row
        head = {"job_id": job_id, "peer_id": "n", "started_at": "2023-05-01 00:52:57.62Z"}
        head["ended_at"] = f"2023-05-01 00:52:57.{ended_us % 10**6:06d}Z"
        fields = {"a": ("int", json.dumps(a)), "b": ("decimal", text(b))}
        more = {"d": ("boolean", json.dumps(d))} | (
            {} if c is None else {"c": ("string", json.dumps(c))}
        )
        lists = (
            ",".join(f'{{"name":"{name}","type":"{kind}","value":{value}}}' for name, (kind, value) in one.items())
            for one in (fields, more)
        )  # fmt: skip
        evaluation, additional = lists
        return (
            json.dumps(head)[:-1]
            + f',"evaluation_fields":[{evaluation}],"additional_fields":[{additional}]}}'
        )

    expected = decode_ndjson(lines(*map(line, rows)), WIDE)
    job_ids, ended, a, b, c, d = (list(column) for column in zip(*rows, strict=True))
    table = pa.table(
        {
            "node_id": ["n"] * len(rows),
            "job_id": job_ids,
            "started_us": [US] * len(rows),
            "ended_us": ended,
            "a": pa.array(a, pa.int64()),
            "b": pa.array(b, pa.int64()),
            "c": pa.array(c, pa.string()),
            "d": pa.array(d, pa.bool_()),
        }
    )
    for found in (decode_arrow(stream(table), WIDE), decode_parquet(parquet(table), WIDE)):
        assert found.table == expected.table
        assert [(r.index, r.job_id, r.field, r.reason) for r in found.rejections] == [
            (r.index, r.job_id, r.field, r.reason) for r in expected.rejections
        ]


@given(st.integers(-(10**38) + 1, 10**38 - 1), st.integers(0, 38), st.integers(0, 18))
def test_decimals_are_exact(unscaled: int, given_scale: int, scale: int) -> None:
    schema = NetworkSchema(1, "d", (Field.decimal("x", scale, minimum=INT64_MIN),), ())
    value = Decimal(unscaled).scaleb(-given_scale, context=Context(prec=60))
    table = pa.table({"node_id": ["n"], "job_id": ["j"], "started_us": [1], "ended_us": [1], "x": pa.array([value], pa.decimal128(38, given_scale))})  # fmt: skip
    found = decode_arrow(stream(table), schema)
    units, rest = divmod(unscaled * 10**scale, 10**given_scale)
    if rest:
        assert [r.reason for r in found.rejections] in (["too_precise"], ["out_of_range"])
    elif INT64_MIN <= units <= INT64_MAX:
        assert found.table.column("x").to_pylist() == [units]
    else:
        assert [r.reason for r in found.rejections] == ["out_of_range"]


REFUSED: list[tuple[pa.Table, str]] = [
    (jobs(colour=pa.array([1] * ROWS)), "colour: not a column"),
    (jobs(index=pa.array([1] * ROWS)), "index: not a column"),
    (jobs(job_id=None), "job_id: this column is missing"),
    (jobs(ended_us=None), "ended_us: this column is missing"),
    (jobs(num_bytes_sent=None), "num_bytes_sent: this column is missing"),
    (jobs(peer_id=jobs().column("node_id")), "peer_id: it is the same as node_id"),
    (jobs(num_bytes_sent=pa.array([1.0] * ROWS)), "num_bytes_sent: its type is double"),
    (jobs(request_duration_sec=pa.array([1.0] * ROWS)), "request_duration_sec: its type is double"),
    (jobs(cache_hit=pa.array([1] * ROWS)), "cache_hit: its type is int64"),
    (jobs(client=pa.array([b"x"] * ROWS)), "client: its type is binary"),
    (jobs(started_us=pa.array([1] * ROWS, pa.timestamp("us"))), r"started_us: its type is timestamp\[us\]"),
    (jobs(started_us=pa.array([1] * ROWS, pa.uint64())), "started_us: its type is uint64"),
    (jobs(num_bytes_sent=pa.nulls(ROWS)), "num_bytes_sent: its type is null"),
    (jobs()[:0], "empty_batch"),
    (jobs(client=pa.array([["x"]] * ROWS)), "nested"),
    (jobs(client=pa.array([{"x": 1}] * ROWS)), "nested"),
    (pa.table([jobs().column(0)] * 2, names=["node_id", "node_id"]), "node_id: this column stands twice"),
    (pa.table({f"c{at}": [1] for at in range(69)}), "columns"),
]  # fmt: skip


@both_forms
@pytest.mark.parametrize(("table", "why"), REFUSED, ids=range(len(REFUSED)))
def test_other_columns_are_refused_with_their_name(
    decode: Callable[[bytes, NetworkSchema], Decoded],
    write: Callable[[pa.Table], bytes],
    table: pa.Table,
    why: str,
) -> None:
    with pytest.raises(InvalidInput, match=why):
        decode(write(table), SATURN)


def test_a_stream_may_have_several_batches_and_dictionaries() -> None:
    coded = jobs(node_id=pa.array(["a", "b", "c", "d"] * 3).dictionary_encode())
    other = jobs(node_id=pa.array(["x", "b", "y", "d"] * 3).dictionary_encode())
    found = decode_arrow(stream(coded, other, coded), SATURN)
    assert found.count == 3 * ROWS
    assert found.table.column("index").to_pylist() == list(range(3 * ROWS))
    assert found.table.column("node_id").to_pylist() == (["a", "b", "c", "d"] * 3 + ["x", "b", "y", "d"] * 3 + ["a", "b", "c", "d"] * 3)  # fmt: skip
    file = parquet(pa.concat_tables([jobs()] * 3), row_group_size=5)
    assert decode_parquet(file, SATURN).table.column("job_id").to_pylist() == jobs().column("job_id").to_pylist() * 3  # fmt: skip


def test_streams_that_ask_for_too_much_or_are_cut_are_refused() -> None:
    sound = stream(jobs())
    delta = jobs(node_id=pa.array(["a"] * ROWS).dictionary_encode())
    more = jobs(node_id=pa.array(["a", "b"] * 6).dictionary_encode())
    many = stream(*[jobs()[:1]] * (MESSAGES_MAX + 1))
    notes = {str(at): "x" for at in range(17)}
    cases = [
        (stream(jobs(), compression="zstd"), "compressed buffers"),
        (stream(delta, more, emit_dictionary_deltas=True), "dictionaries in pieces"),
        (many, "messages"),
        (stream(jobs().replace_schema_metadata(notes)), "metadata"),
        (stream(jobs().replace_schema_metadata({"x": "y" * METADATA_BYTES_MAX})), "no message of"),
        (stream(pa.concat_tables([jobs()] * (RECORDS_MAX // ROWS + 1)).combine_chunks()), "too_many_records"),
        (sound + b"x", "behind its end"),
        (sound + sound, "behind its end"),
        (b"", "not an Arrow IPC stream"),
        (b"ARROW1\0\0" + sound, "no message of"),
        *((sound[:end], "arrow: ") for end in range(0, len(sound), 37)),
    ]  # fmt: skip
    for body, why in cases:
        with pytest.raises(InvalidInput, match=why):
            decode_arrow(body, SATURN)


def test_values_that_are_no_text_or_point_nowhere_are_refused() -> None:
    bad_text = pa.Array.from_buffers(pa.string(), ROWS, [None, pa.array(range(ROWS + 1), pa.int32()).buffers()[1], pa.py_buffer(b"\xff" * ROWS)])  # fmt: skip
    far = pa.DictionaryArray.from_arrays(pa.array([0] * 11 + [7], pa.int8()), pa.array(["x"]), safe=False)  # fmt: skip
    offsets = pa.array([*range(ROWS), 5], pa.int32()).buffers()[1]
    backwards = pa.Array.from_buffers(pa.string(), ROWS, [None, offsets, pa.py_buffer(b"x" * ROWS)])
    for column in (bad_text, far, backwards):
        with pytest.raises(InvalidInput, match="arrow"):
            decode_arrow(stream(jobs(client=column)), SATURN)
    nulls = pa.DictionaryArray.from_arrays(pa.array([0, 1] * 6), pa.array(["x", None]))
    with pytest.raises(InvalidInput, match="dictionary: it holds nulls"):
        decode_arrow(stream(jobs(client=nulls)), SATURN)


def test_a_long_text_in_a_dictionary_is_not_copied_for_every_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hundred thousand rows that point to one text of a megabyte would be 100 GB."""
    rows = 100_000
    coded = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(rows, np.int8)), pa.array(["x" * 2**20])
    )
    one_row = jobs()[:1]
    table = pa.concat_tables([one_row] * rows).combine_chunks().set_column(one_row.column_names.index("client"), "client", coded)  # fmt: skip
    for found in (
        decode_arrow(stream(table), SATURN),
        decode_parquet(parquet(table, use_dictionary=["client"]), SATURN),
    ):
        assert found.table.num_rows == 0
        assert found.rejections[-1].reason == "too_long"
    monkeypatch.setattr("meridian.measure.arrow_columns.BODY_BYTES_MAX", ROWS * 5)
    with pytest.raises(InvalidInput, match="too_long"):
        decode_arrow(stream(jobs()), SATURN)


def test_columns_that_share_bytes_are_counted_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_batch, "BODY_BYTES_MAX", jobs().nbytes - 1)
    monkeypatch.setattr(arrow_batch, "_require_size", lambda _: None)
    with pytest.raises(InvalidInput, match="too_long"):
        decode_arrow(stream(jobs()), SATURN)


def test_parquet_pages_that_grow_beyond_the_limit_are_refused() -> None:
    huge = jobs(client=pa.array(["x" * 23_000_000] * ROWS))
    file = parquet(huge, compression="zstd", use_dictionary=False, write_statistics=False)
    assert len(file) < 300_000
    with pytest.raises(InvalidInput, match="decompressed"):
        decode_parquet(file, SATURN)
    cases = [
        (parquet(jobs(), row_group_size=1)[:0], "not a Parquet file"),
        (parquet(pa.concat_tables([jobs()] * 6), row_group_size=1), "row groups"),
        (parquet(jobs(), use_dictionary=False, column_encoding={"client": "DELTA_BYTE_ARRAY"}), "encoding 7"),
        (parquet(jobs(), use_dictionary=False, column_encoding={"client": "DELTA_LENGTH_BYTE_ARRAY"}), "encoding 6"),
        (parquet(pa.concat_tables([jobs()] * (RECORDS_MAX // ROWS + 1))), "too_many_records"),
        (parquet(jobs())[:-4] + b"PARE", "encrypted"),
        (parquet(jobs().replace_schema_metadata({"x": "y" * 300_000})), "footer"),
    ]  # fmt: skip
    for body, why in cases:
        with pytest.raises(InvalidInput, match=why):
            decode_parquet(body, SATURN)


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
def test_parquet_files_of_other_writers(compression: str) -> None:
    table = pa.concat_tables([jobs()] * 30)
    for options in (
        {"data_page_version": "2.0"},
        {"use_dictionary": False, "column_encoding": { "num_bytes_sent": "DELTA_BINARY_PACKED"}},
        {"data_page_size": 100, "write_page_index": True, "store_schema": False},
        {"version": "1.0", "write_page_checksum": True},
    ):  # fmt: skip
        found = decode_parquet(parquet(table, compression=compression, **options), SATURN)
        assert found.table.drop_columns("index").to_pylist() == table.to_pylist()


def test_a_buffer_with_odd_bytes_behind_its_values_is_read() -> None:
    """A stranger's stream may say so of a buffer's length: found by fuzzing."""
    values = b"".join(value.to_bytes(16, "little") for value in (7, 250, 1))
    buffers = [None, pa.py_buffer(values + b"odd")]
    column = pa.Array.from_buffers(pa.decimal128(20, 2), 3, buffers).slice(1)
    units, exact, fits = arrow_columns._units(column, 3)
    assert (units.tolist(), exact.all(), fits.all()) == ([2500, 10], True, True)
