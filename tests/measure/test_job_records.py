"""Records of the seed's data model: what is accepted, and the reason for everything that is not."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from measure_schemas import SATURN, SEED_SATURN, SEED_SPARK, SPARK, lines, saturn_record

from meridian.errors import InvalidInput
from meridian.measure import record, record_scan
from meridian.measure.columns import records
from meridian.measure.explain import RECORD_BYTES_MAX, Explainer, Rejection
from meridian.measure.nesting import nesting, shape
from meridian.measure.record import RECORDS_MAX, decode_json, decode_ndjson
from meridian.measure.schema import INT64_MAX, Field, FieldKind, NetworkSchema
from meridian.measure.times import parse_time


@pytest.fixture(scope="module", autouse=True, params=["compiled", "explain"])
def reader(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test runs with the compiled reader and without it: the verdicts are the same."""
    assert record.prepare()
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "explain":
            patch.setattr(record, "_fast", None)
        yield


def one(body: bytes, schema: NetworkSchema = SATURN) -> dict[str, Any]:
    decoded = decode_ndjson(body, schema)
    assert decoded.rejections == ()
    [row] = decoded.table.to_pylist()
    return row


def test_the_seeds_saturn_example_is_accepted_as_it_is_printed() -> None:
    row = one(lines(SEED_SATURN))
    assert row == {
        "index": 0,
        "node_id": "<Libp2p Peer ID>",
        "job_id": "abcdef",
        "started_us": 1_682_902_377_620_000,
        "ended_us": 1_682_902_378_620_000,
        "num_bytes_sent": 240,
        "request_duration_sec": 10 * 10**9,
        "ttfb_ms": 35,
        "status code": 200,
        "cache_hit": True,
        "client": None,
    }


def test_the_seeds_spark_example_is_accepted_as_it_is_printed() -> None:
    row = one(lines(SEED_SPARK), SPARK)
    assert (row["status code"], row["signature_chain"]) == (200, "<signature chain>")
    assert (row["num_bytes"], row["ttfb_ms"]) == (200, 45)


def changed(name: str, part: str = "evaluation_fields", **entry: Any) -> dict[str, Any]:
    record = saturn_record(1)
    for field in record[part]:
        if field["name"] == name:
            field.update(entry)
    return record


def without(key: str) -> dict[str, Any]:
    record = saturn_record(1)
    del record[key]
    return record


def fields(*entries: Any, part: str = "evaluation_fields") -> dict[str, Any]:
    record = saturn_record(1)
    record[part] = list(entries)
    return record


def text_with(name: str, value: str) -> str:
    """A record in which a field's value is written as this JSON text."""
    marker = 987_654_321
    record = changed(name, value=marker)
    if name not in json.dumps(record["evaluation_fields"]):
        record = changed(name, part="additional_fields", value=marker)
    return json.dumps(record).replace(str(marker), value)


BAD: list[tuple[Any, str, str]] = [
    ("{not json", "record", "broken_json"),
    (json.dumps(saturn_record(1))[:-1], "record", "broken_json"),
    (text_with("num_bytes_sent", "NaN"), "record", "broken_json"),
    (text_with("num_bytes_sent", "01"), "record", "broken_json"),
    (text_with("request_duration_sec", "01.5"), "record", "broken_json"),
    (b'{"job_id":"\xff"}', "record", "broken_json"),
    ("[" * 30_000 + "]" * 30_000, "record", "broken_json"),
    ("17", "record", "not_a_record"),
    ("[]", "record", "not_a_record"),
    (json.dumps(saturn_record(1, job_id="x" * RECORD_BYTES_MAX)), "record", "too_long"),
    (saturn_record(1, extra=1), "extra", "unknown_key"),
    (without("job_id"), "job_id", "missing_key"),
    (without("additional_fields"), "additional_fields", "missing_key"),
    (saturn_record(1, job_id=5), "job_id", "wrong_type"),
    (saturn_record(1, ended_at=1_682_902_378), "ended_at", "wrong_type"),
    (saturn_record(1, evaluation_fields={}), "evaluation_fields", "wrong_type"),
    (saturn_record(1, job_id=""), "job_id", "empty"),
    (saturn_record(1, peer_id=""), "peer_id", "empty"),
    (saturn_record(1, job_id="é" * 65), "job_id", "too_long"),
    (saturn_record(1, peer_id="x" * 129), "peer_id", "too_long"),
    (saturn_record(1, started_at="2023-05-01 00:52:57"), "started_at", "bad_time"),
    (saturn_record(1, ended_at="yesterday"), "ended_at", "bad_time"),
    (saturn_record(1, ended_at="2023-05-01 00:52:57.61+00"), "ended_at", "ends_before_start"),
    (fields(7), "evaluation_fields", "not_a_field"),
    (fields({"name": "num_bytes_sent", "value": 1}), "evaluation_fields", "not_a_field"),
    (fields({"type": "int", "value": 1}), "evaluation_fields", "not_a_field"),
    (fields({"name": 1, "type": "int", "value": 1}), "evaluation_fields", "not_a_field"),
    (
        fields({"name": "num_bytes_sent", "type": "int", "value": 1, "unit": "B"}),
        "evaluation_fields",
        "not_a_field",
    ),
    (fields({"name": "colour", "type": "int", "value": 1}), "colour", "undeclared_field"),
    (
        fields({"name": "cache_hit", "type": "boolean", "value": True}),
        "cache_hit",
        "undeclared_field",
    ),
    (
        fields(*[{"name": "num_bytes_sent", "type": "int", "value": 1}] * 2),
        "num_bytes_sent",
        "duplicate_field",
    ),
    (fields(), "num_bytes_sent", "missing_field"),
    (changed("num_bytes_sent", type="float"), "num_bytes_sent", "unknown_type"),
    (changed("num_bytes_sent", type="decimal"), "num_bytes_sent", "unknown_type"),
    (changed("num_bytes_sent", value=True), "num_bytes_sent", "wrong_type"),
    (changed("num_bytes_sent", value="1"), "num_bytes_sent", "wrong_type"),
    (changed("num_bytes_sent", value=None), "num_bytes_sent", "wrong_type"),
    (changed("num_bytes_sent", value=[1]), "num_bytes_sent", "wrong_type"),
    (text_with("num_bytes_sent", "1.0"), "num_bytes_sent", "wrong_type"),
    (text_with("num_bytes_sent", "1e3"), "num_bytes_sent", "wrong_type"),
    (changed("num_bytes_sent", value=-1), "num_bytes_sent", "out_of_range"),
    (changed("num_bytes_sent", value=INT64_MAX + 1), "num_bytes_sent", "out_of_range"),
    (text_with("num_bytes_sent", "9" * 5000), "num_bytes_sent", "out_of_range"),
    (changed("status code", "additional_fields", value=99), "status code", "out_of_range"),
    (changed("cache_hit", "additional_fields", value=1), "cache_hit", "wrong_type"),
    (changed("client", "additional_fields", value=7), "client", "wrong_type"),
    (changed("client", "additional_fields", value="é" * 9), "client", "too_long"),
    (changed("request_duration_sec", value="1.5"), "request_duration_sec", "wrong_type"),
    (changed("request_duration_sec", value=True), "request_duration_sec", "wrong_type"),
    (changed("request_duration_sec", value=None), "request_duration_sec", "wrong_type"),
    (changed("request_duration_sec", type="int"), "request_duration_sec", "wrong_type"),
    (text_with("request_duration_sec", "0.0000000001"), "request_duration_sec", "too_precise"),
    (
        text_with("request_duration_sec", "9223372036.854775808"),
        "request_duration_sec",
        "out_of_range",
    ),
    (text_with("request_duration_sec", "1e30"), "request_duration_sec", "out_of_range"),
    (text_with("request_duration_sec", "1e999"), "request_duration_sec", "out_of_range"),
    (text_with("request_duration_sec", "-0.5"), "request_duration_sec", "out_of_range"),
]


@pytest.mark.parametrize(
    ("bad", "field", "reason"), BAD, ids=[f"{at}-{reason}" for at, (_, _, reason) in enumerate(BAD)]
)
def test_a_bad_record_is_refused_by_name_and_its_neighbours_are_accepted(
    bad: Any, field: str, reason: str
) -> None:
    decoded = decode_ndjson(lines(saturn_record(0), "", bad, saturn_record(2)), SATURN)
    assert decoded.count == 3
    assert decoded.table.column("job_id").to_pylist() == ["job-0", "job-2"]
    [rejection] = decoded.rejections
    assert (rejection.field, rejection.reason) == (field, reason), rejection
    assert (rejection.index, rejection.line) == (1, 3)
    assert rejection.message


def test_every_reason_of_the_readers_is_reached_by_the_cases_above() -> None:
    text = (Path(sys.modules[Explainer.__module__].__file__ or "")).read_text()
    named = set(
        text.split("(the ``reason`` of a rejection, stable for programs):")[1]
        .split('"""')[0]
        .split()
    )
    from_admission = {
        "unknown_node",
        "too_late",
        "ahead_of_clock",
        "duplicate",
        "other_node",
        "(from",
        "`admission`)",
    }
    assert named - from_admission == {reason for _, _, reason in BAD}


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("31.025072511", 31_025_072_511),
        ("0", 0),
        ("10", 10 * 10**9),
        ("1.50", 15 * 10**8),
        ("1.5000000000000", 15 * 10**8),
        ("2.5e-3", 25 * 10**5),
        ("1E2", 100 * 10**9),
        ("0.000000001", 1),
        ("9223372036.854775807", INT64_MAX),
        ("-0", 0),
        ("-0.0", 0),
    ],
)
def test_decimals_become_exact_integers(text: str, units: int) -> None:
    """A float would make 31.025072511 something else."""
    assert one(lines(text_with("request_duration_sec", text)))["request_duration_sec"] == units


def test_fields_may_stand_in_any_order_and_optional_ones_may_be_absent() -> None:
    record = saturn_record(2)
    usual = one(lines(record))
    record["evaluation_fields"].reverse()
    record["additional_fields"] = record["additional_fields"][1::-1]
    assert one(lines(record)) == usual | {"client": None}


def test_records_in_the_usual_form_and_in_others_stay_in_batch_order() -> None:
    batch = [saturn_record(at) for at in range(30)]
    for third in batch[::3]:
        third["evaluation_fields"].reverse()
    decoded = decode_ndjson(lines(*batch), SATURN)
    assert decoded.table.column("job_id").to_pylist() == [f"job-{at}" for at in range(30)]
    assert decoded.table.column("index").to_pylist() == list(range(30))
    assert decoded.table.column("num_bytes_sent").to_pylist() == list(range(30))


def test_all_records_may_be_bad() -> None:
    decoded = decode_ndjson(lines("{", "[]"), SATURN)
    assert decoded.table.num_rows == 0
    assert [rejection.reason for rejection in decoded.rejections] == ["broken_json", "not_a_record"]


def test_an_array_of_records_and_a_single_record_are_read_too() -> None:
    array = json.dumps([saturn_record(0), 5, saturn_record(1)]).encode()
    decoded = decode_json(array, SATURN)
    assert decoded.table.column("job_id").to_pylist() == ["job-0", "job-1"]
    assert [(r.index, r.line, r.reason) for r in decoded.rejections] == [(1, None, "not_a_record")]
    assert decode_json(SEED_SATURN, SATURN).table.num_rows == 1


@pytest.mark.parametrize("body", [b"[{]", b"17", b'"x"', b"", b"[1,", b"\xff", b"[" * 10**6])
def test_a_body_that_is_no_array_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="broken_json"):
        decode_json(body, SATURN)


def test_deep_nesting_is_measured_outside_of_strings() -> None:
    assert nesting(b'{"a": [1, {"b": "[[[[\\\\"}, "\\"[[[["]}') == 3
    assert nesting(b"[" * 70) == 70
    assert nesting(b"[]" * 3_000_000) == 1
    assert nesting(b'["' + b"[" * 3_000_000 + b'", [[' + b"[]" * 900_000) == 4
    text = "[" * 12
    record = saturn_record(1, job_id=text)
    assert one(lines(record))["job_id"] == text


def test_items_are_counted_before_a_reader_makes_an_object_of_each() -> None:
    for measure in (shape, record_scan.shape):
        assert measure(b'[1, [2, 3], {"a": ",,", "b": 1}, ",\\\\\\",", 4]') == (2, 4)
    with pytest.raises(InvalidInput, match="too_many_records"):
        decode_json(b"[0" + b",0" * RECORDS_MAX + b"]", SATURN)
    full = [saturn_record(1)] * 9_000
    assert json.dumps(full).count(",") > RECORDS_MAX
    assert decode_json(json.dumps([*full, 5]).encode(), SATURN).count == 9_001


def test_many_brackets_in_a_string_are_no_nesting() -> None:
    chain = "[{" * 120
    record = json.loads(SEED_SPARK)
    record["evaluation_fields"][1]["value"] = chain
    assert one(lines(record), SPARK)["signature_chain"] == chain


def test_deep_nesting_hidden_in_a_raw_value_is_refused() -> None:
    deep = text_with("request_duration_sec", "[" * 20_000 + "]" * 20_000)
    decoded = decode_ndjson(lines(deep), SATURN)
    assert [rejection.reason for rejection in decoded.rejections] == ["broken_json"]


def test_a_batch_has_1_to_100_000_records() -> None:
    with pytest.raises(InvalidInput, match="empty_batch"):
        decode_ndjson(b"\n \r\n", SATURN)
    with pytest.raises(InvalidInput, match="empty_batch"):
        decode_json(b"[]", SATURN)
    assert decode_ndjson(b"0\n" * RECORDS_MAX, SATURN).count == RECORDS_MAX
    with pytest.raises(InvalidInput, match="too_many_records"):
        decode_ndjson(b"0\n" * (RECORDS_MAX + 1), SATURN)


def test_lines_may_end_with_carriage_returns() -> None:
    body = lines(saturn_record(0), saturn_record(1)).replace(b"\n", b"\r\n")
    assert decode_ndjson(body, SATURN).table.num_rows == 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_line_holds_there_is_a_verdict(text: bytes) -> None:
    body = lines(saturn_record(0)) + text.replace(b"\n", b" ")
    decoded = decode_ndjson(body, SATURN)
    assert decoded.table.num_rows + len(decoded.rejections) == decoded.count


@given(
    st.sampled_from(
        ["num_bytes_sent", "request_duration_sec", "ttfb_ms", "status code", "cache_hit", "client"]
    ),
    st.sampled_from(["int", "in", "integer", "decimal", "boolean", "string", "Int", ""]),
    json_values
    | st.decimals(allow_nan=False, allow_infinity=False, places=10).map(str)
    | st.integers(-(2**70), 2**70),
)
def test_both_readers_agree_on_every_record(name: str, spelling: str, value: Any) -> None:
    """The fast reader accepts only what the slow one accepts, as the same values."""
    record = saturn_record(1)
    for part in ("evaluation_fields", "additional_fields"):
        for field in record[part]:
            if field["name"] == name:
                field.update(type=spelling, value=value)
    text = json.dumps(record).encode()
    decoded = decode_ndjson(text, SATURN)
    slow = Explainer(SATURN).explain(text, 0)
    if decoded.table.num_rows:
        assert not isinstance(slow, Rejection)
        row = decoded.table.to_pylist()[0]
        assert [row[field.name] for field in SATURN.fields] == slow[4:]
    elif not isinstance(slow, Rejection):  # only the columns know of lengths
        assert [r.reason for r in decoded.rejections] == ["too_long"]


@pytest.mark.parametrize("schema", [SATURN, SPARK])
def test_columns_become_the_same_records_again(schema: NetworkSchema) -> None:
    body = lines(SEED_SATURN if schema is SATURN else SEED_SPARK)
    if schema is SATURN:
        body += lines(*(saturn_record(at) for at in range(9)))
        body += lines(text_with("request_duration_sec", "31.025072511"))
    first = decode_ndjson(body, schema)
    again = b"\n".join(msgspec.json.encode(record) for record in records(first.table, schema))
    assert decode_ndjson(again, schema).table == first.table


def test_a_schema_is_its_bytes() -> None:
    for schema in (SATURN, SPARK):
        assert NetworkSchema.decode(schema.encode()) == schema
    assert SATURN.digest != SPARK.digest
    with pytest.raises(InvalidInput):
        NetworkSchema.decode(SATURN.encode()[:-1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Field.integer("job_id"),
        lambda: Field.integer(""),
        lambda: Field.decimal("x", 19),
        lambda: Field.string("x", 0),
        lambda: Field.string("x", 100_000),
        lambda: Field("x", FieldKind.INTEGER, scale=1),
        lambda: Field.integer("x", minimum=2, maximum=1),
        lambda: NetworkSchema(1, "n", (Field.integer("a"),), (Field.integer("a"),)),
        lambda: NetworkSchema(1 << 16, "n", (), ()),
        lambda: NetworkSchema(1, "n", (Field.boolean("a"),), (), SATURN.lanes),
        lambda: NetworkSchema(
            1,
            "n",
            (Field.integer("num_bytes"), Field.integer("b", minimum=-1)),
            (),
            SPARK.lanes.__class__(SPARK.lanes.kind, ("b",)),
        ),
    ],
)
def test_a_schema_that_cannot_work_is_refused(make: Any) -> None:
    with pytest.raises(InvalidInput):
        make()


def test_the_real_saturn_log_keeps_every_digit(shared_dir: Path) -> None:
    """Durations of the real log lines, as they are written, against exact decimal arithmetic."""
    from decimal import Decimal

    [path] = (
        sorted((shared_dir / "data" / "saturn").glob("*.ndjson"))
        or sorted((shared_dir / "data" / "saturn").glob("*json*"))[:1]
    )
    checked = 0
    for line in path.read_text().splitlines():
        number = json.loads(line, parse_float=str)["requestDurationSec"]
        exact = Decimal(str(number)) * 10**9
        decoded = decode_ndjson(lines(text_with("request_duration_sec", str(number))), SATURN)
        if exact == exact.to_integral_value():
            assert decoded.table.column("request_duration_sec").to_pylist() == [int(exact)]
            checked += 1
        else:
            assert [r.reason for r in decoded.rejections] == ["too_precise"]
    assert checked > 0


def test_times_are_part_of_the_record_rule() -> None:
    row = one(lines(saturn_record(1, started_at="2023-05-01T02:52:57.62+02:00")))
    assert row["started_us"] == parse_time("2023-05-01 00:52:57.62+00")
