"""Saturn: real log rows and records in the seed's own form, evaluated to the digit."""

import gzip
import json
from math import isqrt
from pathlib import Path

import pytest

from evaluate.epoch_builder import first_records, input_of_table, tables_by_epoch
from meridian.errors import InvalidInput
from meridian.evaluate.functions.saturn import REASONS
from meridian.evaluate.layered import evaluate_layered
from meridian.measure.record import decode_ndjson
from meridian.networks.definition import BATCH_RECORDS
from meridian.networks.saturn import DEFINITION, SCHEMA, load

SEED_RECORD = """{"job_id": "abcdef", "peer_id": "<Libp2p Peer ID>",
"started_at": "2023-05-01 00:52:57.62+00", "ended_at": "2023-05-01 00:52:58.62+00",
"evaluation_fields": [{"name": "num_bytes_sent", "type": "int", "value": 240},
{"name": "request_duration_sec", "type": "in", "value": 10},
{"name": "ttfb_ms", "type": "integer", "value": 35}],
"additional_fields": [{"name": "status code", "type": "integer", "value": 200},
{"name": "cache_hit", "type": "boolean", "value": true}]}""".replace("\n", " ")


def log_file(shared_dir: Path) -> Path:
    return shared_dir / "data" / "saturn" / "sample-logs.ndjson"


def test_the_real_rows_are_evaluated_as_their_fields_say(shared_dir: Path) -> None:
    source = load([log_file(shared_dir)])
    logs = [json.loads(line) for line in log_file(shared_dir).read_text().splitlines()]
    assert (source.jobs, len(source.nodes), source.n_epochs) == (100, 1, 1)
    epoch = input_of_table(tables_by_epoch(source)[source.first_epoch])
    result = evaluate_layered(
        DEFINITION.evaluation_function,
        epoch,
        DEFINITION.function_parameters,
        DEFINITION.active_layers,
    )
    good = [log for log in logs if log["httpStatusCode"] < 400]
    served = sum(log["numBytesSent"] for log in good)
    ok = sum(log["ttfbMs"] < 5_000 and log["requestDurationSec"] < 10 for log in good)
    assert (len(good), ok) == (48, 20)
    assert result.weights == (isqrt(served * 10**36) * ok**2 // 100**2,)
    assert result.summary["error"] == 52
    assert result.summary["bytes"] == served
    assert sum(result.summary[reason] for reason in REASONS) == 100


def test_a_log_row_is_mapped_field_by_field(shared_dir: Path) -> None:
    record = next(
        record
        for record in first_records(load([log_file(shared_dir)]), 100)
        if record["job_id"] == "fca85beec4579486b49b48410e7d0ba0"
    )
    assert record["peer_id"] == "a6a3592c-7f1a-41f5-9293-11d6b5647e5e"
    assert record["started_at"] == "2023-05-10 19:46:21.098000+00"
    assert record["ended_at"] == "2023-05-10 19:46:52.123072+00"  # 31.025072511 s later
    values = {
        f["name"]: f["value"] for f in record["evaluation_fields"] + record["additional_fields"]
    }
    assert values == {
        "num_bytes_sent": 294,
        "request_duration_sec": 31.025072511,
        "ttfb_ms": None,
        "status code": 502,
        "cache_hit": False,
        "client_id": None,
        "client_address": "198.51.100.1",
        "cid": "bafybeifjnalnf54gznhyoicl6jqtqfncnocwrzlmqeqzke3vsbdhhytj5a",
    }


def test_durations_are_exact_nanoseconds(shared_dir: Path) -> None:
    """1.6223260800000001 in the log is a float's spelling of 1.622326080 s."""
    text = log_file(shared_dir).read_text()
    assert "1.6223260800000001" in text
    table = tables_by_epoch(load([log_file(shared_dir)]))[1]
    durations = table.column("request_duration_sec").to_pylist()
    assert 1_622_326_080 in durations
    assert 31_025_072_511 in durations


def test_the_seeds_own_record_is_accepted_as_it_is_printed(tmp_path: Path) -> None:
    path = tmp_path / "records.ndjson.gz"
    path.write_bytes(gzip.compress(SEED_RECORD.encode() + b"\n\n"))
    source = load([path], epoch_seconds=86_400)
    assert list(source.batches()) == [SEED_RECORD.encode() + b"\n"]
    assert list(source.nodes) == ["<Libp2p Peer ID>"]
    assert source.genesis_s == 1_682_899_200  # 2023-05-01
    row = tables_by_epoch(source)[1].to_pylist()[0]
    assert row["request_duration_sec"] == 10 * 10**9
    assert row["client_id"] is None


def test_records_are_sent_in_the_order_of_their_ends(tmp_path: Path) -> None:
    late = SEED_RECORD.replace("00:52:58.62", "02:00:00").replace("abcdef", "late")
    path = tmp_path / "records.ndjson"
    path.write_text(late + "\n" + SEED_RECORD + "\n")
    source = load([path])
    assert [record["job_id"] for record in first_records(source, 9)] == ["abcdef", "late"]
    assert source.n_epochs == 3
    assert [table.num_rows for table in tables_by_epoch(source).values()] == [1, 0, 1]


def test_lines_that_cannot_be_placed_are_left_to_the_ingest_to_refuse(tmp_path: Path) -> None:
    bad = [
        b"not json",
        b'{"nodeId":"n"}',
        b'{"peer_id":"n"}',
        SEED_RECORD.replace("2023-05-01 00:52:58.62+00", "yesterday").encode(),
        b"\xff\xfe",
        (
            b'{"nodeId":"n","requestId":"1","startTime":"9999-12-31T23:59:59Z","numBytesSent":1,'
            b'"requestDurationSec":9000000000,"httpStatusCode":200,"cacheHit":true}'
        ),
        (
            b'{"nodeId":"n","requestId":"1","startTime":"2023-05-10T19:46:21Z","numBytesSent":1,'
            b'"requestDurationSec":1e999999999,"httpStatusCode":200,"cacheHit":true}'
        ),
    ]
    path = tmp_path / "records.ndjson"
    path.write_bytes(b"\n".join([*bad, SEED_RECORD.encode()]))
    source = load([path])
    assert source.jobs == len(bad) + 1
    decoded = decode_ndjson(b"".join(source.batches()), SCHEMA)
    assert (decoded.count, decoded.table.num_rows) == (len(bad) + 1, 1)
    assert len(decoded.rejections) == len(bad)


def test_each_batch_ends_with_a_record_that_has_a_time(tmp_path: Path) -> None:
    path = tmp_path / "records.ndjson"
    path.write_text("junk\n" * (BATCH_RECORDS - 1) + SEED_RECORD)
    assert [batch.splitlines()[-1] for batch in load([path]).batches()] == [SEED_RECORD.encode()]
    path.write_text("junk\n" * BATCH_RECORDS + SEED_RECORD)
    with pytest.raises(InvalidInput, match="no records"):
        load([path])


def test_files_without_a_single_job_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.ndjson"
    path.write_text("nothing\n")
    with pytest.raises(InvalidInput, match="no line"):
        load([path])
    path.write_text(SEED_RECORD)
    with pytest.raises(InvalidInput, match="epoch_seconds"):
        load([path], epoch_seconds=0)
