"""The function `spark` on sealed jobs: what the plain rules say of the same raw records, whatever the order of the rows."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from eth_utils import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluate.epoch_builder import input_of_table, tables_by_epoch
from meridian.errors import InvalidInput
from meridian.evaluate.function import EpochInput
from meridian.evaluate.functions import spark
from meridian.evaluate.spark.preprocess import (
    checksum_text,
    is_address,
    parsed_instant,
    participant_address,
    retrieval_result,
)
from meridian.networks.generator import Traffic
from meridian.networks.spark import DEFINITION, source_of
from meridian.networks.spark_generator import generate
from meridian.primitives import dagcbor
from meridian.primitives.ids import job_key, node_key, parse_address
from oracle import spark_plain

TASKS = [{"cid": f"baf{number}", "minerId": "f01"} for number in range(6)]
DELEGATED = "f410ftgmzttyqi3ti4nxbvixa4byql3o5d4eo3jtc43i"
CHECKSUMMED = "0x999999cf1046e68e36E1aA2E0E07105eDDD1f08E"


def evaluated(epoch: EpochInput, size: int = 30, threads: int = 1) -> Any:
    return spark.evaluate(epoch, {"committee_size": size}, threads=threads)


def labels(epoch: EpochInput, size: int, threads: int = 1) -> dict[tuple[str, str], str]:
    result = evaluated(epoch, size, threads)
    names = zip(epoch.jobs["node_id"].to_pylist(), epoch.jobs["job_id"].to_pylist(), strict=True)
    return {name: result.reasons[code] for name, code in zip(names, result.verdicts, strict=True)}


def epoch_of(records: list[dict[str, Any]], per_node: int = 3, **tasks: Any) -> EpochInput:
    """Take raw records through the network's loader and the reader of the ingest."""
    details = {"startEpoch": "4111111", "maxTasksPerNode": per_node, "retrievalTasks": TASKS}
    told = {"randomness": "fc90", "round_details": details | tasks}
    lines = [json.dumps(item).encode() for item in [told, *records]]
    source = source_of((str(number), line) for number, line in enumerate(lines))
    return input_of_table(tables_by_epoch(source)[1], 1, source.inputs[1])


STATION = st.sampled_from([f"{number:088x}" for number in range(5)] + ["not hex"])
TIMES = st.sampled_from(
    [f"2024-07-22T09:15:30.{ms:03d}Z" for ms in (0, 1, 2)]
    + [None, "1970-01-01T00:00:00.000Z", "yesterday", "2024-07-22T11:15:30.001+02:00"]
)
USUAL_TIMES = {
    "start_at": "2024-07-22T09:15:30.000Z",
    "first_byte_at": "2024-07-22T09:15:31.000Z",
    "end_at": "2024-07-22T09:15:32.000Z",
}

RECORD: dict[str, Any] = {
    "id": 1,
    "cid": "baf0",
    "miner_id": "f01",
    "station_id": "a" * 88,
    "inet_group": "g",
    "participant_address": DELEGATED,
    "protocol": "http",
    "status_code": 200,
    "head_status_code": 200,
    "indexer_result": "OK",
    "finished_at": "2024-07-22T09:16:30.000Z",
    **USUAL_TIMES,
}
"""A raw record that counts."""


@st.composite
def raw_records(draw: st.DrawFn) -> list[dict[str, Any]]:
    usual = {
        "provider_id": "p1",
        "provider_address": "/ip4",
        "protocol": "http",
        "status_code": 200,
        "head_status_code": 200,
        "indexer_result": "OK",
        "timeout": False,
        "car_too_large": False,
        "byte_length": 5,
        "car_checksum": "c",
        **USUAL_TIMES,
    }
    odd = st.fixed_dictionaries(
        {},
        optional={
            "provider_id": st.sampled_from(["p2", None]),
            "protocol": st.sampled_from(["HTTP", "graphsync", None]),
            "status_code": st.sampled_from([None, 100, 299, 301, 502, 600, 701, 802, 904]),
            "head_status_code": st.sampled_from([None, 404]),
            "indexer_result": st.sampled_from(["HTTP_NOT_ADVERTISED", "ERROR_404", "", None]),
            "timeout": st.just(True),
            "car_too_large": st.sampled_from([True, None]),
            "byte_length": st.sampled_from([6, None]),
            "start_at": TIMES,
            "first_byte_at": TIMES,
            "end_at": TIMES,
        },
    )
    one = st.fixed_dictionaries(
        {
            "cid": st.sampled_from([task["cid"] for task in TASKS[:3]] + ["bafz", None]),
            "miner_id": st.sampled_from(["f01", "f01", "f02"]),
            "station_id": STATION,
            "inet_group": st.sampled_from(["g1", "g2", "g3"]),
            "finished_at": st.sampled_from([f"2024-07-22T09:16:30.{ms:03d}Z" for ms in range(4)]),
            "participant_address": st.sampled_from(
                [
                    DELEGATED,
                    CHECKSUMMED,
                    CHECKSUMMED.lower(),
                    CHECKSUMMED.replace("E1a", "E1A"),
                    "f1x",
                ]
            ),
        }
    )
    rows = draw(st.lists(st.tuples(one, odd | st.just({})), min_size=1, max_size=30))
    return [usual | changes | row | {"id": number} for number, (row, changes) in enumerate(rows)]


@given(records=raw_records(), size=st.integers(1, 3), per_node=st.integers(0, 6))
@settings(max_examples=150)
def test_raw_records_are_judged_as_the_plain_rules_say(
    records: list[dict[str, Any]], size: int, per_node: int
) -> None:
    epoch = epoch_of(records, per_node)
    canonical = sorted(
        records, key=lambda raw: (node_key(raw["station_id"]), job_key(str(raw["id"])))
    )
    kept = [(raw, spark_plain.preprocess(raw)) for raw in canonical]
    line = {
        "randomness": "fc90",
        "required_committee_size": size,
        "round_details": {"maxTasksPerNode": per_node, "retrievalTasks": TASKS},
        "measurements": [measurement for _, measurement in kept if measurement],
    }
    verdicts = iter(spark_plain.evaluate(spark_plain.loads(json.dumps(line)))["verdicts"])
    expected = {}
    for raw, measurement in kept:
        tasking, consensus = next(verdicts) if measurement else ("dropped", None)
        expected[raw["station_id"], str(raw["id"])] = consensus or tasking
    found = labels(epoch, size)
    dropped = [name for name, reason in found.items() if reason.startswith("INVALID_")]
    simple = {name: "MAJORITY_RESULT" if why == "ok" else why for name, why in found.items()}
    assert simple | dict.fromkeys(dropped, "dropped") == expected
    weights = dict(zip(epoch.node_ids, evaluated(epoch, size).weights, strict=True))
    for station, weight in weights.items():
        assert weight == sum(
            why == "MAJORITY_RESULT" for (name, _), why in expected.items() if name == station
        )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "ok"),
        ({"participant_address": "0xAb" + "0" * 38}, "INVALID_ADDRESS"),
        ({"participant_address": "f1abc"}, "INVALID_ADDRESS"),
        ({"indexer_result": None}, "INVALID_INDEXER_RESULT"),
        ({"station_id": "ab"}, "INVALID_STATION"),
        ({"end_at": "soon"}, "INVALID_TIMES"),
        ({"first_byte_at": "2024-07-22T09:15:29.999Z"}, "INVALID_TIMES"),
        ({"head_status_code": None}, "INVALID_HEAD_STATUS"),
        ({"protocol": "bitswap"}, "INVALID_HEAD_STATUS"),
        ({"protocol": "HTTP"}, "ok"),
        ({"status_code": 502, "first_byte_at": None}, "ok"),
        ({"cid": "bafz"}, "TASK_NOT_IN_ROUND"),
    ],
)
def test_each_record_has_a_reason(changes: dict[str, Any], reason: str) -> None:
    assert set(labels(epoch_of([RECORD | changes], 6), 1).values()) == {reason}
    assert reason in spark.REASONS


@pytest.mark.parametrize(
    ("first", "second", "agree"),
    [
        ({}, {}, True),
        ({}, {"provider_id": "p2"}, False),
        ({}, {"indexer_result": "HTTP_NOT_ADVERTISED"}, False),
        ({}, {"provider_address": "/ip6"}, False),
        ({}, {"byte_length": 6}, False),
        ({}, {"car_checksum": "d"}, False),
        ({}, {"timeout": True}, False),
        ({}, {"status_code": 201, "head_status_code": 404}, True),
        ({}, {"protocol": "HTTP"}, True),
        ({"status_code": 502}, {"status_code": 502, "protocol": "HTTP"}, False),
        ({"status_code": 502}, {"status_code": 503}, False),
        ({"timeout": True}, {"timeout": True, "status_code": 503}, True),
    ],
)
def test_two_records_say_the_same_where_the_original_sees_no_difference(
    first: dict[str, Any], second: dict[str, Any], *, agree: bool
) -> None:
    records = [RECORD | first, RECORD | second | {"id": 2, "inet_group": "other"}]
    verdict = "ok" if agree else "MAJORITY_NOT_FOUND"
    assert set(labels(epoch_of(records, 6), 1).values()) == {verdict}


def test_of_one_subnet_and_millisecond_the_lower_node_and_job_key_comes_first() -> None:
    stations = [f"{number:088x}" for number in range(3)]
    records = [RECORD | {"id": at, "station_id": stations[at % 3]} for at in range(30)]
    found = labels(epoch_of(records, 6), 1)
    first = min(found, key=lambda name: (node_key(name[0]), job_key(name[1])))
    assert {name for name, reason in found.items() if reason == "ok"} == {first}
    assert list(found.values()).count("DUP_INET_GROUP") == 29


def test_the_order_of_rows_and_the_threads_change_nothing() -> None:
    source = generate(Traffic(jobs=4_000, nodes=40, epochs=1, seed=3))
    table = tables_by_epoch(source)[1]
    coarse = table.column("ended_us").to_numpy() // 10_000_000 * 10_000_000  # many of one instant
    table = table.set_column(table.column_names.index("ended_us"), "ended_us", pa.array(coarse))
    epoch = input_of_table(table, 1, source.inputs[1])
    expected, reasons = evaluated(epoch), labels(epoch, 30)
    assert {"ok", "DUP_INET_GROUP", "MINORITY_RESULT", "INVALID_TIMES"} <= set(reasons.values())
    dice = random.Random(5)
    for turn in range(50):
        order = pa.array(dice.sample(range(table.num_rows), table.num_rows))
        jobs = epoch.jobs.take(order)
        other = EpochInput(1, epoch.node_ids, epoch.node_keys, epoch.payees, jobs, epoch.inputs)
        result = evaluated(other, threads=turn % 4 + 1)
        assert (result.weights, result.summary) == (expected.weights, expected.summary)
        assert labels(other, 30) == reasons


def test_a_station_without_measurements_abstains() -> None:
    source = generate(Traffic(jobs=40, nodes=2, epochs=1))
    epoch = input_of_table(tables_by_epoch(source)[1], 1, source.inputs[1])
    names = ("nobody", *epoch.node_ids)
    keys, payees = (bytes(32), *epoch.node_keys), (epoch.payees[0], *epoch.payees)
    node = pa.array(epoch.jobs.column("node").to_numpy() + 1)
    jobs = epoch.jobs.set_column(epoch.jobs.column_names.index("node"), "node", node)
    weights = evaluated(EpochInput(1, names, keys, payees, jobs, epoch.inputs), 1).weights
    assert weights[0] is None
    assert all(weight is not None and weight > 0 for weight in weights[1:])
    nothing = EpochInput(1, names, keys, payees, jobs.slice(0, 0), {})
    assert evaluated(nothing).weights == (None, None, None)


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({}, "round-details"),
        ({"round-details": {"maxTasksPerNode": 1, "retrievalTasks": []}}, "randomness"),
        ({"round-details": [], "randomness": "r"}, "round-details"),
        ({"round-details": {"retrievalTasks": []}, "randomness": "r"}, "round-details"),
        (
            {"round-details": {"maxTasksPerNode": 1, "retrievalTasks": [{}]}, "randomness": "r"},
            "round-details",
        ),
        (
            {"round-details": {"maxTasksPerNode": 1, "retrievalTasks": []}, "randomness": b"r"},
            "randomness",
        ),
    ],
)
def test_missing_and_malformed_inputs_are_refused(inputs: dict[str, Any], field: str) -> None:
    encoded = {name: dagcbor.encode(value) for name, value in inputs.items()}
    with pytest.raises(InvalidInput) as caught:
        spark.round_details(encoded, 30)
    assert caught.value.field == field


def test_parameters_and_fields_are_checked() -> None:
    for wrong in ({"committee_size": 0}, {"committee_size": "30"}, {"size": 3}):
        with pytest.raises(InvalidInput):
            spark.FUNCTION.check(wrong)
    spark.FUNCTION.check(DEFINITION.function_parameters)
    epoch = epoch_of(
        [
            {"id": 1, "station_id": "s", "finished_at": "2024-07-22T09:16:30.000Z"}
            | {"participant_address": "x", "inet_group": "g"}
        ]
    )
    without = EpochInput(
        1, epoch.node_ids, epoch.node_keys, epoch.payees, epoch.jobs.drop_columns(["protocol"]),
        epoch.inputs,
    )  # fmt: skip
    with pytest.raises(InvalidInput, match="protocol"):
        evaluated(without)


def test_the_benchmark_finds_its_three_ways_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    from benchmarks import spark_rounds

    result = spark_rounds.measure(measurements=900, stations=60, tasks=30)
    assert result["plain_measurements"] == 900
    assert result["verdicts"]["ok"] > 80


# --- facts of preprocessing


def test_addresses_are_those_of_the_original() -> None:
    assert participant_address(DELEGATED) == participant_address("t" + DELEGATED[1:]) == CHECKSUMMED
    assert participant_address("0xwhatever") == "0xwhatever"
    for wrong in ("", "f1abc", DELEGATED[:-1] + "j", "f0123", "999999cf"):
        with pytest.raises(InvalidInput, match="participant_address"):
            participant_address(wrong)


@given(st.binary(min_size=20, max_size=20), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_a_mixed_case_is_a_checksum(account: bytes, dice: random.Random) -> None:
    text = to_checksum_address(account)
    assert checksum_text(parse_address(text)) == text
    for same in (text, "0x" + text[2:].lower(), "0x" + text[2:].upper()):
        assert is_address(same)
    other = "0x" + "".join(dice.choice((c.lower(), c.upper())) for c in text[2:])
    digits = other[2:]
    assert is_address(other) == (digits in (digits.lower(), digits.upper(), text[2:]))
    assert not is_address(text[2:])
    assert not is_address(text + "0")


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2023-11-01T09:00:10.000Z", 1_698_829_210_000),
        ("2023-11-01T09:00:10Z", 1_698_829_210_000),
        ("2023-11-01T09:00Z", 1_698_829_200_000),
        ("2023-11-01 10:00:10.5+01:00", 1_698_829_210_500),
        ("2023-11-01T09:00:10.123999+00", 1_698_829_210_123),
        ("2023-11-01T09:00:10", 1_698_829_210_000),
        ("2023-11-01", 1_698_796_800_000),
        ("1970-01-01T00:00:00.000Z", 0),
        (1_698_829_210_000, 1_698_829_210_000),
        ("2023-02-30T00:00:00.000Z", None),
        ("2023-13-01T00:00:00Z", None),
        ("yesterday", None),
        ("", None),
        (0, None),
        (None, None),
        (True, None),
        ([], None),
    ],
)
def test_dates_are_milliseconds_and_others_are_none(text: Any, milliseconds: int | None) -> None:
    assert parsed_instant(text) == milliseconds


RESULTS: list[tuple[dict[str, Any], str]] = [
    ({}, "OK"),
    ({"indexer_result": "HTTP_NOT_ADVERTISED"}, "OK"),
    ({"indexer_result": "ERROR_FETCH", "timeout": True}, "IPNI_ERROR_FETCH"),
    ({"indexer_result": None}, "IPNI_null"),
    ({"timeout": True, "car_too_large": True}, "TIMEOUT"),
    ({"car_too_large": True, "status_code": 502}, "CAR_TOO_LARGE"),
    *[({"status_code": code}, "UNSUPPORTED_MULTIADDR_FORMAT") for code in (700, 701, 799)],
    ({"status_code": 600}, "UNKNOWN_FETCH_ERROR"),
    ({"status_code": 801}, "HOSTNAME_DNS_ERROR"),
    ({"status_code": 802}, "CONNECTION_REFUSED"),
    ({"status_code": 901}, "UNSUPPORTED_CID_HASH_ALGO"),
    ({"status_code": 902}, "CONTENT_VERIFICATION_FAILED"),
    ({"status_code": 903}, "UNEXPECTED_CAR_BLOCK"),
    ({"status_code": 904}, "CANNOT_PARSE_CAR_FILE"),
    ({"status_code": 502}, "HTTP_502"),
    ({"status_code": 502, "protocol": "HTTP"}, "LASSIE_502"),
    ({"status_code": 504, "protocol": "graphsync"}, "LASSIE_504"),
    ({"status_code": 800, "protocol": None}, "LASSIE_800"),
    ({"status_code": 299}, "OK"),
    ({"status_code": 199}, "UNKNOWN_ERROR"),
    ({"status_code": None}, "UNKNOWN_ERROR"),
    ({"ended": False}, "UNKNOWN_ERROR"),
]


@pytest.mark.parametrize(("changes", "expected"), RESULTS)
def test_what_a_retrieval_came_to(changes: dict[str, Any], expected: str) -> None:
    usual: dict[str, Any] = {
        "indexer_result": "OK",
        "timeout": False,
        "car_too_large": False,
        "status_code": 200,
        "protocol": "http",
        "ended": True,
    }
    assert retrieval_result(**(usual | changes)) == expected
