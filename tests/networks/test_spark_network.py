"""The `spark` network: raw measurements and rounds become jobs, stations become nodes, and participants are paid."""

import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluate.epoch_builder import first_records, input_of_table, tables_by_epoch
from meridian.errors import InvalidInput
from meridian.evaluate.functions.spark import RANDOMNESS, ROUND_DETAILS
from meridian.evaluate.spark.tasking import Tasking
from meridian.measure.record import decode_ndjson
from meridian.networks.definition import BATCH_RECORDS, JobSource
from meridian.networks.generator import Traffic
from meridian.networks.sources import load
from meridian.networks.spark import (
    DEFINITION,
    EPOCH_SECONDS,
    SCHEMA,
    UNPLACED_MAX,
    participant_scores,
    source_of,
)
from meridian.networks.spark_generator import FIRST_RANDOMNESS, generate, lines
from meridian.primitives import dagcbor
from meridian.primitives.ids import parse_address

GOLDEN = "bb975d2b9c6e7174f7e2b97159ab358204896edb4834e02061d7d134a06decc6"
"""Of the generator; pinned from one machine, so that every other one is compared with it."""

TASK = {"cid": "bafy", "minerId": "f01"}
STATION = "a" * 88
GENESIS_S = 1_721_639_730


def told(start: object = "4111111", **changes: Any) -> dict[str, Any]:
    details = {"startEpoch": start, "maxTasksPerNode": 1, "retrievalTasks": [TASK]}
    return {"randomness": "fc", "round_details": details | changes}


def raw(**changes: Any) -> dict[str, Any]:
    return {
        "id": 17,
        "participant_address": "0x" + "AB" * 20,
        "station_id": STATION,
        "finished_at": "2024-07-22T09:16:30.250Z",
        "start_at": "2024-07-22T09:16:20.000Z",
        "inet_group": "subnet",
        "cid": "bafy",
        "miner_id": "f01",
        "indexer_result": "OK",
        "status_code": 200,
    } | changes


def source(*values: Any, **more: Any) -> JobSource:
    texts = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    return source_of(((f"line {at}", text) for at, text in enumerate(texts, 1)), **more)


def columns(made: JobSource, epoch: int = 1) -> dict[str, Any]:
    table = tables_by_epoch(made)[epoch]
    assert table.num_rows == 1
    return {name: values[0] for name, values in table.to_pydict().items()}


def test_a_raw_measurement_becomes_a_job_of_its_station() -> None:
    made = source(
        raw(timeout=False, byte_length=7, protocol="HTTP", end_at="2024-07-22T09:16:29Z"), told()
    )
    assert (made.genesis_s, made.epoch_seconds, made.n_epochs) == (GENESIS_S, EPOCH_SECONDS, 1)
    job = columns(made)
    assert (job["job_id"], job["node_id"]) == ("17", STATION)
    assert job["ended_us"] == 1_721_639_790_250_000
    assert job["started_us"] == 1_721_639_780_000_000
    assert job["start_at_ms"] == 1_721_639_780_000
    assert job["end_at_ms"] == 1_721_639_789_000
    assert (job["first_byte_at_ms"], job["head_status_code"], job["car_checksum"]) == (None,) * 3
    assert (job["status code"], job["byte_length"], job["timeout"]) == (200, 7, False)
    assert (job["protocol"], job["participant_address"]) == ("HTTP", "0x" + "AB" * 20)


@pytest.mark.parametrize(
    ("end_at", "column"),
    [(None, None), (1_721_639_790_000, None), ("soon", 0), ("1969-12-31T00:00:00Z", 0)],
)
def test_an_end_that_is_no_date_is_0_and_one_that_is_no_text_is_null(
    end_at: object, column: int | None
) -> None:
    assert columns(source(raw(end_at=end_at), told()))["end_at_ms"] == column


@pytest.mark.parametrize("start_at", [None, "soon", "2024-07-22T09:16:30.251Z"])
def test_a_job_without_a_start_before_its_end_starts_there(start_at: object) -> None:
    job = columns(source(raw(start_at=start_at), told()))
    assert job["started_us"] == job["ended_us"]


def test_all_ways_to_write_an_address_are_one_payee() -> None:
    account = "0x999999cf1046e68e36E1aA2E0E07105eDDD1f08E"
    texts = [
        "f410ftgmzttyqi3ti4nxbvixa4byql3o5d4eo3jtc43i",
        account,
        account.lower(),
        "0x" + account[2:].upper(),
    ]
    records = [
        raw(id=at, station_id=f"{at:088x}", participant_address=text)
        for at, text in enumerate(texts)
    ]
    wrong = raw(id=9, station_id="9" * 88, participant_address=account.replace("E1a", "E1A"))
    made = source(*records, wrong, told())
    assert set(made.nodes.values()) == {parse_address(account), None}
    assert made.nodes["9" * 88] is None


def test_a_station_is_paid_where_its_first_usable_record_says() -> None:
    first, later = "0x" + "11" * 20, "0x" + "22" * 20
    made = source(
        raw(id=1, participant_address=later, finished_at="2024-07-22T09:16:31Z"),
        raw(id=2, participant_address=first, finished_at="2024-07-22T09:16:30Z"),
        raw(id=3, participant_address="f1x", finished_at="2024-07-22T09:16:29Z"),
        told(),
    )
    assert made.nodes == {STATION: parse_address(first)}


def test_the_real_accounts_that_were_split_by_letter_case_are_one(shared_dir: Path) -> None:
    """59 accounts of the real balances stand there twice, with what they earned divided."""
    path = shared_dir / "data" / "spark_balances" / "balances_2024-11-07.sql.gz"
    written = re.findall("0x[0-9a-fA-F]{40}", gzip.decompress(path.read_bytes()).decode())
    assert (len(set(written)), len({text.lower() for text in written})) == (15_390, 15_331)
    ways = Counter(text.lower() for text in written)
    split = [text for text in written if ways[text.lower()] > 1]
    assert len(split) == 118
    made = source(
        *(raw(id=at, station_id=f"{at:088x}", participant_address=a) for at, a in enumerate(split)),
        told(),
    )
    payees = set(made.nodes.values())
    assert len(made.nodes) == 118
    # Of some, the one way is wrong as a checksum: those records are dropped, as in the original.
    assert {parse_address(text) for text in split} == payees - {None}
    assert len(payees - {None}) == 59


def test_records_of_the_seed_are_read_too_and_batches_of_one_line() -> None:
    [record] = first_records(source(raw(), told()), 1)
    again = source(record, told())
    assert again.nodes == {STATION: parse_address("0x" + "AB" * 20)}
    assert next(again.batches()) == json.dumps(record).encode() + b"\n"
    together = source([raw(id=1), raw(id=2)], told())
    assert together.jobs == 2


def test_what_cannot_be_placed_is_left_to_the_ingest_which_says_why() -> None:
    odd: Iterable[Any] = (
        raw(id=2, station_id=None),
        raw(id=3, finished_at="yesterday"),
        raw(id=None),
        raw(id=4, finished_at=None),
        7,
        b"{broken",
        {"peer_id": "x", "ended_at": "never", "evaluation_fields": []},
    )
    made = source(raw(), told(), *odd)
    [batch] = made.batches()
    decoded = decode_ndjson(batch, SCHEMA)
    assert (made.jobs, decoded.count, decoded.table.num_rows) == (8, 8, 1)
    assert len(decoded.rejections) == 7
    wrong = source(raw(id=1), raw(id=2, status_code="200"), raw(id=3, byte_length=-1), told())
    [batch] = wrong.batches()
    assert {r.field for r in decode_ndjson(batch, SCHEMA).rejections} == {
        "status code",
        "byte_length",
    }
    with pytest.raises(InvalidInput, match="no measurements"):
        source(raw(), told(), *[7] * (UNPLACED_MAX + 1))


def test_rounds_are_inputs_of_the_epoch_in_which_they_start() -> None:
    second = told(4_111_151) | {"randomness": "second"}
    made = source(second, raw(finished_at="2024-07-22T09:35:29.999Z"), told(roundId="9"))
    assert (made.n_epochs, sorted(made.inputs)) == (2, [1, 2])
    assert dagcbor.decode(made.inputs[2][RANDOMNESS]) == "second"
    details = dagcbor.decode(made.inputs[1][ROUND_DETAILS])
    assert details == {
        "startEpoch": 4_111_111,
        "maxTasksPerNode": 1,
        "retrievalTasks": [TASK],
    }
    later = source(second, raw(finished_at="2024-07-22T09:35:30.000Z"), told())
    assert [tables_by_epoch(later)[epoch].num_rows for epoch in (1, 2)] == [0, 1]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "no line of the files is a measurement"),
        ([raw()], "no line of the files is a round"),
        ([told() | {"measurements": []}], "line 1: measurements"),
        ([raw(), told(), told(4_111_112)], "two start within"),
        ([raw(finished_at="2024-07-22T09:35:30Z"), told()], "none holds 2024-07-22T09:35:30"),
        ([raw(finished_at="2024-07-22T09:15:29Z"), told()], "none holds 2024-07-22T09:15:29"),
        ([told("soon")], "line 1: round_details.startEpoch: 'soon'"),
        ([told() | {"randomness": 5}], "line 1: randomness"),
        ([{"round_details": 5}], "line 1: round_details"),
        ([told(maxTasksPerNode="1")], "line 1: round-details: maxTasksPerNode"),
        ([told(retrievalTasks=None)], "line 1: round-details"),
        ([told(retrievalTasks=[{"cid": "a"}])], "line 1: round-details"),
    ],
)
def test_rounds_that_do_not_fit_are_refused_with_the_line(values: list[Any], reason: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(reason)):
        source(*values)
    with pytest.raises(InvalidInput, match="epoch_seconds"):
        source(raw(), told(), epoch_seconds=0)


def test_files_are_loaded_by_name(tmp_path: Path) -> None:
    measurements, rounds = tmp_path / "measurements.ndjson.gz", tmp_path / "rounds.ndjson"
    measurements.write_bytes(gzip.compress(json.dumps(raw()).encode()))
    rounds.write_text(json.dumps(told()) + "\n")
    made = load("spark", [measurements, rounds])
    assert (made.definition, made.jobs) == (DEFINITION, 1)
    assert load("spark", [rounds, measurements], epoch_seconds=600).epoch_seconds == 600
    rounds.write_text("\n" + json.dumps(told("x")))
    with pytest.raises(InvalidInput, match=r"rounds.ndjson line 2: round_details.startEpoch"):
        load("spark", [measurements, rounds])


def test_scores_are_in_lower_case_with_the_burner_among_them() -> None:
    assert participant_scores({"0xab": 1, "0xcd": 2}) == {
        "0xab": 333_333_333_333_333,
        "0xcd": 666_666_666_666_666,
        "0x000000000000000000000000000000000000dead": 1,
    }


# --- the generator


def test_the_same_seed_gives_the_same_bytes_on_every_machine() -> None:
    def fingerprint(seed: int) -> str:
        made = lines(Traffic(jobs=600, nodes=32, epochs=2, seed=seed))
        return hashlib.sha256(b"\n".join(made)).hexdigest()

    assert fingerprint(1) == GOLDEN
    assert fingerprint(2) != GOLDEN


def test_generated_rounds_have_every_kind_of_measurement() -> None:
    made = generate(Traffic(jobs=9_000, nodes=100, epochs=2))
    assert (made.jobs, len(made.nodes), made.n_epochs) == (9_000, 100, 2)
    assert len(set(made.nodes.values())) < 60  # participants with several stations
    assert dagcbor.decode(made.inputs[1][RANDOMNESS]) == FIRST_RANDOMNESS
    for epoch, table in tables_by_epoch(made).items():
        assert table.num_rows == 4_500
        prepared = input_of_table(table, epoch, made.inputs[epoch])
        parameters = DEFINITION.function_parameters
        counts = DEFINITION.evaluation_function.evaluate(prepared, parameters).summary
        for reason in (
            *("TASK_NOT_IN_ROUND", "TASK_WRONG_NODE", "DUP_INET_GROUP", "TOO_MANY_TASKS"),
            *("MINORITY_RESULT", "INVALID_INDEXER_RESULT", "INVALID_TIMES"),
        ):
            assert counts[reason] > 0, reason
        assert counts["ok"] > 3_000
    batches = list(made.batches())
    assert all(batch.count(b"\n") <= BATCH_RECORDS for batch in batches)


def test_honest_stations_do_the_tasks_that_the_round_gives_them() -> None:
    first, *records = map(json.loads, lines(Traffic(jobs=900, nodes=100, epochs=1, seed=4)))
    tasks = [(task["cid"], task["minerId"]) for task in first["round_details"]["retrievalTasks"]]
    tasking = Tasking(tasks, first["randomness"], first["round_details"]["maxTasksPerNode"])
    assert len(tasks) > first["round_details"]["maxTasksPerNode"]
    allowed = 0
    for record in records:
        task = tasking.index.get((record["cid"], record["miner_id"]))
        if task is not None:
            zero = np.zeros(1, dtype=np.int64)
            allowed += bool(tasking.allowed([record["station_id"]], zero, zero + task)[0])
    assert 800 < allowed < 900


def test_small_traffic_is_valid_too() -> None:
    for jobs, nodes, epochs in ((1, 1, 1), (10, 1, 3), (3, 9, 3)):
        made = generate(Traffic(jobs=jobs, nodes=nodes, epochs=epochs))
        assert sum(table.num_rows for table in tables_by_epoch(made).values()) == jobs
