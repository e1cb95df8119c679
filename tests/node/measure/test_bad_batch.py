"""One batch of 10,000 records with every kind of bad one in it: reasons for those, and nothing else is lost."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from measure_world import NODES, Process, client_of, lines, make_config, record

HOUR = 3600
FIRST_EPOCH = 5


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    service = Process(tmp_path, make_config(tmp_path))
    yield service
    service.stop()


def bad_records() -> dict[int, tuple[bytes, str]]:
    """Line -> (what stands there, the reason of its refusal)."""
    unknown_key = record(1) | {"colour": "blue"}
    wrong_type = record(2)
    wrong_type["evaluation_fields"][0]["value"] = "many"
    undeclared = record(3)
    undeclared["additional_fields"].append({"name": "mood", "type": "string", "value": "good"})
    missing = record(4)
    del missing["job_id"]
    backwards = record(5) | {"started_at": "2023-05-01 00:59:59+00"}
    return {
        17: (lines([record(6) | {"job_id": "job-of-line-18"}])[:-1], "accepted"),
        18: (lines([record(6) | {"job_id": "job-of-line-18"}])[:-1], "duplicate"),
        100: (lines([unknown_key])[:-1], "unknown_key"),
        200: (lines([wrong_type])[:-1], "wrong_type"),
        300: (lines([undeclared])[:-1], "undeclared_field"),
        400: (lines([missing])[:-1], "missing_key"),
        500: (lines([record(7, node="12D3KooWStranger")])[:-1], "unknown_node"),
        600: (lines([record(8, second=5 * HOUR)])[:-1], "ahead_of_clock"),
        700: (lines([record(9) | {"ended_at": "2023-04-30 23:00:00+00", "started_at": "2023-04-30 22:00:00+00"}])[:-1], "too_late"),
        800: (lines([backwards])[:-1], "ends_before_start"),
        900: (b"[" * 30_000, "broken_json"),
        7312: (b'{"job_id": "job-', "broken_json"),
    }  # fmt: skip


def test_every_bad_record_gets_its_reason_and_the_rest_is_in_the_epoch(
    process: Process, tmp_path: Path
) -> None:
    client = client_of(process.config, process.url)
    client.set_clock(1_682_899_200_000_000 + 2 * HOUR * 1_000_000)
    bad = bad_records()
    batch = [
        bad[line][0] if line in bad else lines([record(10_000 + line, node=NODES[line % 40])])[:-1]
        for line in range(1, 10_001)
    ]
    answer = client.submit(b"\n".join(batch) + b"\n")
    expected = {line: reason for line, (_, reason) in bad.items() if reason != "accepted"}
    assert {one.line: one.reason for one in answer.rejected} == expected
    assert all(one.field and one.message for one in answer.rejected)
    assert answer.accepted == 10_000 - len(expected)
    assert answer.receipt is not None
    assert answer.receipt.holds
    client.seal(FIRST_EPOCH)
    index = client.wait_committed(FIRST_EPOCH)
    assert index["jobs"] == answer.accepted
    counted = set()
    for path in (tmp_path / "measure/public/objects").iterdir():
        if path.read_bytes()[:4] == b"PAR1":
            counted |= set(pq.read_table(path).column("job_id").to_pylist())
    sent = {
        json.loads(text)["job_id"] for line, text in enumerate(batch, 1) if line not in expected
    }
    assert counted == sent
    client.close()
