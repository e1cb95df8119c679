"""SPARK's fraud rules: the reference programme's vectors, its tasker's vectors, and what the vectors do not reach.

The table of JavaScript values was made by running Node 20; the rounds of odd values of the oracle's domain are compared
with `oracle.spark_plain`, which shares no code with the product.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.evaluate.spark import verdicts
from meridian.evaluate.spark.inet_groups import chosen, instant_texts
from meridian.evaluate.spark.javascript import (
    ABSENT,
    compared,
    instant_ms,
    instant_text,
    text_of,
    utf8,
    written,
)
from meridian.evaluate.spark.round_lines import evaluate, read_round
from meridian.evaluate.spark.scores import BURNER, scores
from meridian.evaluate.spark.tasking import Tasking, station_key, task_key
from oracle import spark_plain

RANDOMNESS = "fc90e50dcdf20886b56c038b30fa921a5e57c532ea448dadcc209e44eec0445e"
"""Of the beacon for chain epoch 4111111, which the tasker's vectors use."""


def round_line(measurements: list[Any], **changes: Any) -> dict[str, Any]:
    tasks = [{"cid": f"baf{number}", "minerId": "f01"} for number in range(4)]
    return {
        "randomness": RANDOMNESS,
        "required_committee_size": 1,
        "round_details": {"maxTasksPerNode": 4, "retrievalTasks": tasks},
        "measurements": measurements,
    } | changes


def measurement(**changes: Any) -> dict[str, Any]:
    """One that counts, unless changed; ABSENT takes a key away."""
    fields = {
        "cid": "baf0",
        "minerId": "f01",
        "stationId": "station",
        "inet_group": "group",
        "finished_at": 1_698_829_210_000,
        "participantAddress": "0xab",
        "providerId": "p",
        "indexerResult": "OK",
        "provider_address": "/ip4",
        "protocol": "http",
        "retrievalResult": "OK",
        "byte_length": 1,
        "carChecksum": "c",
    } | changes
    return {name: value for name, value in fields.items() if value is not ABSENT}


def result(line: dict[str, Any] | str) -> dict[str, Any]:
    text = line if isinstance(line, str) else json.dumps(line)
    document: dict[str, Any] = json.loads(
        json.dumps(evaluate(read_round(text.encode())).document())
    )
    return document


def test_all_rounds_of_the_vectors_are_equal(shared_dir: Path) -> None:
    path = shared_dir / "vectors" / "spark" / "spark_rounds_dev.ndjson.gz"
    lines = gzip.decompress(path.read_bytes()).splitlines()
    assert len(lines) == 180
    for number, line in enumerate(lines, 1):
        expected = json.loads(line)["expected"]
        assert result(line.decode()) == expected, f"line {number}"
        assert spark_plain.evaluate(spark_plain.loads(line)) == expected, f"line {number}"


# --- tasking: spark/test/tasker.test.js


def test_the_keys_of_the_taskers_vectors() -> None:
    task = task_key(("bafyone", "f0123"), RANDOMNESS)
    assert task == (19408172415633384483144889917969030396168570904487614072975030553911283422991)
    assert station_key("0" * 88) == (
        15730389902218173522122968096857080019341969656147255283496861606681823756880
    )


def test_the_three_tasks_that_the_taskers_vectors_pick() -> None:
    tasks = [(cid, f"f0{n}0") for cid in ("bafyone", "bafytwo") for n in (1, 2, 3, 4)]
    tasking = Tasking(tasks, RANDOMNESS, 3)
    station = np.zeros(len(tasks), dtype=np.int64)
    allowed = tasking.allowed(["some-station-id"], station, np.arange(len(tasks)))
    picked = {tasks[at] for at in np.flatnonzero(allowed)}
    assert picked == {("bafyone", "f020"), ("bafyone", "f010"), ("bafytwo", "f020")}


@given(
    numbers=st.lists(st.integers(0, 40), min_size=1, max_size=40),
    per_node=st.integers(-1, 45),
    station=st.text(max_size=3),
)
@settings(max_examples=150)
def test_allowed_are_the_closest_with_repeated_tasks_taking_places(
    numbers: list[int], per_node: int, station: str
) -> None:
    tasks = [(f"baf{number}", "f01") for number in numbers]
    by_distance = sorted(tasks, key=lambda t: station_key(station) ^ task_key(t, "r"))
    expected = set(by_distance[: max(0, per_node)])
    tasking = Tasking(tasks, "r", per_node)
    every = np.arange(len(tasking.index))
    allowed = tasking.allowed(["other", station], np.ones_like(every), every)
    names = list(tasking.index)
    assert {names[at] for at in np.flatnonzero(allowed)} == expected


def test_tasks_of_one_key_come_in_the_order_of_the_list() -> None:
    tasks = [("a\nb", "c"), ("a", "b\nc"), ("a\nb", "c")]
    for per_node, expected in ((1, [True, False]), (2, [True, True])):
        tasking = Tasking(tasks, "", per_node)
        assert tasking.allowed(["s"], np.zeros(2, int), np.arange(2)).tolist() == expected


@pytest.mark.parametrize("per_node", [0, -1, -5])
def test_nobody_may_do_anything_where_no_tasks_are_given_out(per_node: int) -> None:
    line = round_line([measurement()])
    line["round_details"]["maxTasksPerNode"] = per_node
    assert result(line)["verdicts"] == [["TASK_WRONG_NODE", None]]
    assert result(line)["scores"] == {BURNER: "1000000000000000"}


# --- inet groups


def test_a_full_group_takes_no_further_task_and_repeats_are_named_so() -> None:
    times = [1_698_829_210_000 + ms for ms in range(6)]
    order = sorted(range(6), key=lambda at: spark_plain.sha256_number(instant_text(times[at])))
    task = np.zeros(6, dtype=np.int64)
    task[order] = [7, 3, 7, 5, 3, 5]
    codes = chosen(np.zeros(6, int), task, np.array(times), np.zeros(6, int), per_node=2)
    assert codes[order].tolist() == [
        verdicts.REWARDED,
        verdicts.REWARDED,
        verdicts.DUP_INET_GROUP,
        verdicts.TOO_MANY_TASKS,
        verdicts.DUP_INET_GROUP,
        verdicts.TOO_MANY_TASKS,
    ]


def test_measurements_of_one_millisecond_stay_in_the_order_of_the_input() -> None:
    rows = [measurement(participantAddress=name) for name in ("0xb", "0xa")]
    for ordered in (rows, rows[::-1]):
        found = result(round_line(ordered))
        assert found["verdicts"] == [["OK", "MAJORITY_RESULT"], ["DUP_INET_GROUP", None]]
        assert found["scores"] == {ordered[0]["participantAddress"]: "1000000000000000"}


# --- committees: what counts as the same answer


def votes(*changes: dict[str, Any], required: int = 1) -> dict[str, Any]:
    rows = [measurement(inet_group=str(at), **change) for at, change in enumerate(changes)]
    return result(round_line(rows, required_committee_size=required))


def test_half_is_no_majority_and_one_more_is() -> None:
    halves = votes({"byte_length": 1}, {"byte_length": 2})
    assert halves["committee_decisions"] == {"baf0::f01": [True, "OK", False, "MAJORITY_NOT_FOUND"]}
    assert halves["verdicts"] == [["OK", "MAJORITY_NOT_FOUND"]] * 2
    most = votes({"byte_length": 1}, {"byte_length": 2}, {"byte_length": 2})
    assert [consensus for _, consensus in most["verdicts"]] == [
        "MINORITY_RESULT",
        "MAJORITY_RESULT",
        "MAJORITY_RESULT",
    ]


def test_a_small_committee_decides_nothing_and_thirty_is_the_rule_where_none_is_given() -> None:
    small = votes({}, {}, required=3)
    assert small["committee_decisions"] == {
        "baf0::f01": [False, "COMMITTEE_TOO_SMALL", False, "COMMITTEE_TOO_SMALL"]
    }
    for missing in (None, ABSENT):
        for count, verdict in ((29, "COMMITTEE_TOO_SMALL"), (30, "MAJORITY_RESULT")):
            line = round_line([measurement(inet_group=str(at)) for at in range(count)])
            line["required_committee_size"] = missing
            if missing is ABSENT:
                del line["required_committee_size"]
            assert result(line)["verdicts"] == [["OK", verdict]] * count


@pytest.mark.parametrize(
    "name", ["providerId", "indexerResult", "provider_address", "protocol", "byte_length"]
)
def test_an_absent_key_and_null_are_two_answers(name: str) -> None:
    split = votes({name: None}, {name: ABSENT})
    assert split["verdicts"] == [["OK", "MAJORITY_NOT_FOUND"]] * 2
    agreed = votes({name: None}, {name: None}, {name: ABSENT})
    assert agreed["verdicts"][2] == ["OK", "MINORITY_RESULT"]
    if name == "indexerResult":  # an absent result is written as null, as in a JSON list
        absent = votes({name: ABSENT}, {name: ABSENT}, {name: None})
        assert absent["committee_decisions"]["baf0::f01"] == [True, None, True, "OK"]


def test_the_order_of_keys_in_a_measurement_means_nothing() -> None:
    one = measurement(inet_group="1")
    two = dict(reversed(measurement(inet_group="2").items()))
    assert result(round_line([one, two]))["verdicts"] == [["OK", "MAJORITY_RESULT"]] * 2


JAVASCRIPT = [  # JSON text, JSON.stringify, String()
    ("1", "1", "1"),
    ("1.0", "1", "1"),
    ("1e0", "1", "1"),
    ("-0", "0", "0"),
    ("-0.0", "0", "0"),
    ("true", "true", "true"),
    ("false", "false", "false"),
    ("null", "null", "null"),
    ('"1"', '"1"', "1"),
    ("9007199254740993", "9007199254740992", "9007199254740992"),
    ("123456789012345678901234567890", "1.2345678901234568e+29", "1.2345678901234568e+29"),
    ("123456789012345680000", "123456789012345680000", "123456789012345680000"),
    ("1e21", "1e+21", "1e+21"),
    ("1e400", "null", "Infinity"),
    ("-1e400", "null", "-Infinity"),
    ("1e-6", "0.000001", "0.000001"),
    ("1.5e-7", "1.5e-7", "1.5e-7"),
    ("-12.5", "-12.5", "-12.5"),
    ("0.10000000000000000555", "0.1", "0.1"),
    ('"e\\u0301"', '"e\u0301"', "e\u0301"),
    ('"\\u00e9"', '"\u00e9"', "\u00e9"),
    ('"\\ud83d"', '"\\ud83d"', "\ud83d"),
    ('"\\ud83d\\ude00"', '"\U0001f600"', "\U0001f600"),
    ('{"a":1,"b":2}', '{"a":1,"b":2}', "[object Object]"),
    ('{"b":2,"a":1.0}', '{"b":2,"a":1}', "[object Object]"),
    ('{"b":1,"10":2,"9":3}', '{"9":3,"10":2,"b":1}', "[object Object]"),
    ('{"a":1,"b":2,"a":3}', '{"a":3,"b":2}', "[object Object]"),
    ('[1,[2.0,null],"x"]', '[1,[2,null],"x"]', "1,2,,x"),
    ("[]", "[]", ""),
    ("{}", "{}", "[object Object]"),
]


@pytest.mark.parametrize(("text", "stringified", "string"), JAVASCRIPT)
def test_values_mean_what_they_mean_in_javascript(text: str, stringified: str, string: str) -> None:
    value = json.loads(text)
    assert text_of(value) == string
    assert written(value) == json.loads(stringified)
    for other, other_stringified, _ in JAVASCRIPT:
        same = stringified == other_stringified
        assert (compared(value) == compared(json.loads(other))) is same, other
    line = json.dumps(round_line([measurement(participantAddress="@", retrievalResult="@")]))
    found = result(line.replace('"@"', text))
    assert found["scores"] == {string: "1000000000000000"}
    decided = found["committee_decisions"]["baf0::f01"]
    assert decided == [True, "OK", True, json.loads(stringified)]


def test_an_absent_address_is_paid_under_the_name_that_javascript_gives_it() -> None:
    found = result(round_line([measurement(participantAddress=ABSENT)]))
    assert found["scores"] == {"undefined": "1000000000000000"}


def test_what_is_not_well_formed_is_hashed_as_a_replacement() -> None:
    assert utf8("a\ud83db") == "a\ufffdb".encode()
    assert utf8("\ude00\ud83d") == "\ufffd\ufffd".encode()
    assert utf8("\U0001f600") == b"\xf0\x9f\x98\x80"


INSTANTS = [  # number, milliseconds, toISOString()
    (1_698_829_210_000, 1_698_829_210_000, "2023-11-01T09:00:10.000Z"),
    (1_698_829_210_000.9, 1_698_829_210_000, "2023-11-01T09:00:10.000Z"),
    (0, 0, "1970-01-01T00:00:00.000Z"),
    (-0.5, 0, "1970-01-01T00:00:00.000Z"),
    (-1, -1, "1969-12-31T23:59:59.999Z"),
    (951_782_400_000, 951_782_400_000, "2000-02-29T00:00:00.000Z"),
    (-62_167_219_200_000, -62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
    (-62_167_219_200_001, -62_167_219_200_001, "-000001-12-31T23:59:59.999Z"),
    (253_402_300_799_999, 253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    (253_402_300_800_000, 253_402_300_800_000, "+010000-01-01T00:00:00.000Z"),
    (8_640_000_000_000_000, 8_640_000_000_000_000, "+275760-09-13T00:00:00.000Z"),
    (-8_640_000_000_000_000, -8_640_000_000_000_000, "-271821-04-20T00:00:00.000Z"),
]


@pytest.mark.parametrize(("value", "milliseconds", "text"), INSTANTS)
def test_instants_are_written_as_javascript_writes_them(
    value: float, milliseconds: int, text: str
) -> None:
    assert instant_ms(value) == milliseconds
    assert instant_text(milliseconds) == text
    assert instant_texts(np.array([milliseconds, 0])) == [
        text.encode(),
        b"1970-01-01T00:00:00.000Z",
    ]


# --- what cannot be evaluated


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (None, "not an object"),
        ([], "not an object"),
        (measurement(stationId=None), "stationId"),
        (measurement(stationId=ABSENT), "stationId"),
        (measurement(stationId=7), "stationId"),
        (measurement(inet_group=None), "inet_group"),
        (measurement(finished_at="1698829210000"), "finished_at"),
        (measurement(finished_at=True), "finished_at"),
        (measurement(finished_at=8_640_000_000_000_001), "beyond what a date can be"),
    ],
)
def test_one_measurement_that_cannot_be_evaluated_is_refused_alone(odd: Any, reason: str) -> None:
    line = json.dumps(round_line([measurement(inet_group="1"), odd, measurement(inet_group="2")]))
    evaluated = evaluate(read_round(line.encode()))
    assert result(line)["verdicts"] == [
        ["OK", "MAJORITY_RESULT"],
        [None, None],
        ["OK", "MAJORITY_RESULT"],
    ]
    assert list(evaluated.refused) == [1]
    assert reason in evaluated.refused[1]


def test_a_task_that_is_no_text_or_a_time_of_no_date_is_first_of_all_not_in_the_round() -> None:
    for changes in ({"cid": ["baf0"]}, {"cid": {}}, {"minerId": None}, {"cid": 5}):
        assert result(round_line([measurement(**changes)]))["verdicts"] == [
            ["TASK_NOT_IN_ROUND", None]
        ]
    assert result(round_line([measurement(cid="x", finished_at=1e300)]))["verdicts"] == [
        ["TASK_NOT_IN_ROUND", None]
    ]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "line"),
        ("[]", "line"),
        ("{", "line"),
        ('{"randomness": NaN}', "line"),
        ("[" * 5000, "line"),
        ("{}", "randomness"),
        ('{"randomness": 5}', "randomness"),
        ('{"randomness": "r"}', "round_details"),
        ('{"randomness": "r", "round_details": {}}', "round_details.maxTasksPerNode"),
        (
            '{"randomness": "r", "round_details": {"maxTasksPerNode": 1.5}}',
            "round_details.maxTasksPerNode",
        ),
        (
            '{"randomness": "r", "round_details": {"maxTasksPerNode": 1}}',
            "round_details.retrievalTasks",
        ),
        (
            '{"randomness": "r", "round_details": {"maxTasksPerNode": 1, "retrievalTasks": [{"cid": "a"}]}}',
            "round_details.retrievalTasks[0].minerId",
        ),
        (
            '{"randomness": "r", "round_details": {"maxTasksPerNode": 1, "retrievalTasks": []}}',
            "measurements",
        ),
        (
            json.dumps(round_line([], required_committee_size="9")),
            "required_committee_size",
        ),
    ],
)
def test_a_line_that_is_no_round_is_refused_with_the_field(text: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_round(text.encode())
    assert caught.value.field == field


# --- scores


def test_scores_floor_and_the_burner_takes_the_rest() -> None:
    assert scores({"a": 1, "b": 2}) == {
        "a": 333_333_333_333_333,
        "b": 666_666_666_666_666,
        BURNER: 1,
    }
    assert scores({"a": 1, "b": 1}) == {"a": 5 * 10**14, "b": 5 * 10**14}
    assert scores({"a": 2, BURNER: 1})[BURNER] == 333_333_333_333_334
    assert scores({}) == {BURNER: 10**15}
    assert scores({"0xAB": 1, "0xab": 1}) == {"0xAB": 5 * 10**14, "0xab": 5 * 10**14}


# --- against the oracle

VALUES = st.sampled_from(
    [None, ABSENT, "x", "y", 1, 1.0, 2, True, 2**53 + 1, 2**53, {"a": 1, "b": 2}, {"b": 2, "a": 1}]
)


@st.composite
def rounds(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(["a", "b", "c", "é", "😀", "a::b"]), max_size=7))
    tasks = [{"cid": name, "minerId": draw(st.sampled_from(["f0", "f1"]))} for name in names]
    usual = draw(st.fixed_dictionaries({"byte_length": VALUES, "carChecksum": VALUES}))
    one = st.fixed_dictionaries(
        {
            "cid": st.sampled_from([*names, "z", None]),
            "minerId": st.sampled_from(["f0", "f1"]),
            "stationId": st.sampled_from(["s1", "s2", "s3", "", None]),
            "inet_group": st.sampled_from(["g1", "g2", "g3", "g4"]),
            "finished_at": st.integers(1_698_829_200_000, 1_698_829_200_006),
            "participantAddress": st.sampled_from(["0xa", "0xA", BURNER]),
        },
        optional={"indexerResult": VALUES, "byte_length": VALUES, "retrievalResult": VALUES},
    )
    rows = draw(st.lists(one, max_size=40))
    line = round_line([measurement(**{**usual, **row}) for row in rows])
    line["required_committee_size"] = draw(st.sampled_from([None, 1, 1.5, 2, 3]))
    line["round_details"] = {
        "maxTasksPerNode": draw(st.integers(-1, 6)),
        "retrievalTasks": tasks,
    }
    return line


@given(line=rounds())
@settings(max_examples=200)
def test_any_round_is_judged_as_the_plain_rules_say(line: dict[str, Any]) -> None:
    text = json.dumps(line)
    assert result(text) == spark_plain.evaluate(spark_plain.loads(text))


@given(line=rounds(), order=st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_where_times_differ_the_order_of_the_measurements_means_nothing(
    line: dict[str, Any], order: Any
) -> None:
    rows = [
        row | {"finished_at": 1_698_829_200_000 + at} for at, row in enumerate(line["measurements"])
    ]
    places = list(range(len(rows)))
    order.shuffle(places)
    straight = result(line | {"measurements": rows})
    shuffled = result(line | {"measurements": [rows[at] for at in places]})
    assert [straight["verdicts"][at] for at in places] == shuffled["verdicts"]
    assert straight["scores"] == shuffled["scores"]
    assert straight["committee_decisions"] == shuffled["committee_decisions"]
