"""Evaluation functions: exact weights, one reason for each job, the same bytes in any order and on any threads."""

import random
from math import isqrt
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluate.epoch_builder import NO_INPUTS, input_of_jobs, payee
from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.flagging import ActiveLayer
from meridian.evaluate.function import EpochInput, Evaluation
from meridian.evaluate.functions import attestation, count, saturn
from meridian.evaluate.judging import exact_quantiles, judge
from meridian.evaluate.layered import evaluate_layered
from meridian.evaluate.registry import FUNCTIONS, function_named, function_with_digest
from meridian.evaluate.shipped_layers import layer_named
from meridian.primitives import dagcbor
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import address_text

SATURN_TYPES = {
    "num_bytes_sent": pa.int64(),
    "request_duration_sec": pa.int64(),
    "ttfb_ms": pa.int64(),
    "status code": pa.int64(),
    "client_id": pa.string(),
}
SECOND_NS = 10**9
SHARED = ("engine.py", "function.py", "jobs.py", "judging.py")
JOB_BY_JOB = sorted(set(FUNCTIONS) - {"spark", "spark-chain", "nym"})
"""Functions that look at one job at a time; `spark`, `spark-chain` and `nym` have tests of their own."""


def request(node: str, job: str, **changes: Any) -> dict[str, Any]:
    """A request that counts, unless changed."""
    fields = {
        "num_bytes_sent": 1_000_000,
        "request_duration_sec": SECOND_NS,
        "ttfb_ms": 100,
        "status code": 200,
        "client_id": "somebody",
    }
    return {"node_id": node, "job_id": job} | fields | changes


def reason_of(evaluation: Evaluation, epoch: EpochInput) -> dict[tuple[str, str], str]:
    names = zip(epoch.jobs["node_id"].to_pylist(), epoch.jobs["job_id"].to_pylist(), strict=True)
    return {
        name: evaluation.reasons[code]
        for name, code in zip(names, evaluation.verdicts, strict=True)
    }


def weight_of(evaluation: Evaluation, epoch: EpochInput) -> dict[str, int | None]:
    return dict(zip(epoch.node_ids, evaluation.weights, strict=True))


# --- count


def status_jobs(*statuses: int | None) -> EpochInput:
    jobs = [
        {"node_id": f"n{index % 2}", "job_id": str(index), "status code": status}
        for index, status in enumerate(statuses)
    ]
    return input_of_jobs(jobs, {"status code": pa.int64()})


def test_count_without_predicate_counts_every_job() -> None:
    epoch = status_jobs(200, 404, None)
    result = count.evaluate(epoch, {})
    assert weight_of(result, epoch) == {"n0": 2, "n1": 1}
    assert set(result.verdicts) == {0}


def test_count_with_predicate_counts_allowed_values_and_null_is_not_one() -> None:
    epoch = status_jobs(200, 404, None, 206, 500, 200)
    parameters = {"success": {"field": "status code", "allowed": [200, 206]}}
    result = count.evaluate(epoch, parameters)
    assert weight_of(result, epoch) == {"n0": 1, "n1": 2}
    assert result.summary == {"jobs": 6, "nodes": 2, "ok": 3, "unsuccessful": 3}


@pytest.mark.parametrize(
    "parameters",
    [
        {"succes": {}},
        {"success": {"field": "status code"}},
        {"success": {"field": "status code", "allowed": []}},
        {"success": {"field": "status code", "allowed": [200, "200"]}},
        {"success": {"field": "status code", "allowed": [True, 1]}},
        {"success": {"field": "no such field", "allowed": [1]}},
    ],
)
def test_count_refuses_parameters_that_it_would_misread(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        count.evaluate(status_jobs(200), parameters)


def test_count_predicates_on_text_and_booleans() -> None:
    jobs = [{"node_id": "n", "job_id": str(i), "s": s, "b": s == "x"} for i, s in enumerate("xyx")]
    epoch = input_of_jobs(jobs, {"s": pa.string(), "b": pa.bool_()})
    for field, allowed in (("s", ["x"]), ("b", [True])):
        result = count.evaluate(epoch, {"success": {"field": field, "allowed": allowed}})
        assert result.weights == (2,)


# --- attestation


def test_attestation_sums_scores_beyond_64_bits_exactly() -> None:
    great = (1 << 63) - 1
    jobs = [{"node_id": "a", "job_id": str(index), "score": great} for index in range(5)]
    jobs += [
        {"node_id": "a", "job_id": "miss", "score": 0},
        {"node_id": "b", "job_id": "x", "score": 0},
    ]
    epoch = input_of_jobs(jobs, {"score": pa.int64()})
    result = attestation.evaluate(epoch, {})
    assert weight_of(result, epoch) == {"a": 5 * great, "b": 0}
    assert result.summary == {"jobs": 7, "nodes": 2, "ok": 5, "missed": 2, "impossible": 0}
    assert reason_of(result, epoch)["a", "miss"] == "missed"


def test_attestation_negative_scores_count_for_nothing() -> None:
    jobs = [
        {"node_id": "a", "job_id": "1", "score": 7},
        {"node_id": "a", "job_id": "2", "score": -5},
    ]
    epoch = input_of_jobs(jobs, {"score": pa.int64()})
    result = attestation.evaluate(epoch, {})
    assert result.weights == (7,)
    assert reason_of(result, epoch)["a", "2"] == "impossible"


def test_attestation_needs_the_field_and_no_parameters() -> None:
    with pytest.raises(InvalidInput, match="score"):
        attestation.evaluate(status_jobs(200), {})
    with pytest.raises(InvalidInput, match="x"):
        attestation.evaluate(status_jobs(200), {"x": 1})


# --- saturn


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "ok"),
        ({"ttfb_ms": None}, "no_ttfb"),
        ({"ttfb_ms": 4_999}, "ok"),
        ({"ttfb_ms": 5_000}, "slow_ttfb"),
        ({"request_duration_sec": 10 * SECOND_NS - 1}, "ok"),
        ({"request_duration_sec": 10 * SECOND_NS}, "slow_duration"),
        ({"ttfb_ms": 5_000, "request_duration_sec": 10 * SECOND_NS}, "slow_ttfb"),
        ({"status code": 399}, "ok"),
        ({"status code": 400}, "error"),
        ({"status code": None}, "ok"),
        ({"status code": 502, "ttfb_ms": None}, "error"),
        ({"client_id": None}, "ok"),
        ({"num_bytes_sent": 1_250_000_000}, "ok"),
        ({"request_duration_sec": 0, "num_bytes_sent": 0}, "ok"),
        ({"num_bytes_sent": -1}, "impossible"),
        ({"num_bytes_sent": None}, "impossible"),
        ({"request_duration_sec": -1}, "impossible"),
        ({"ttfb_ms": -1}, "impossible"),
    ],
)
def test_saturn_gives_each_job_exactly_one_reason(changes: dict[str, Any], reason: str) -> None:
    epoch = input_of_jobs([request("n", "1", **changes)], SATURN_TYPES)
    result = saturn.evaluate(epoch, {})
    assert reason_of(result, epoch) == {("n", "1"): reason}
    assert result.summary["jobs"] == 1
    assert sum(result.summary[name] for name in saturn.REASONS) == 1


def with_layers(epoch: EpochInput, *names: str) -> Evaluation:
    """Evaluate behind shipped layers with their default parameters."""
    layers = [ActiveLayer(layer_named(name), layer_named(name).values({})) for name in names]
    return evaluate_layered(saturn.FUNCTION, epoch, {}, layers)


def test_saturn_weight_by_hand() -> None:
    """8 bytes-bearing jobs, 5 of 7 measured ones good, an error is a miss, uptime 2/3; fraud counts for nothing."""
    jobs = [request("n", f"ok{index}") for index in range(5)]
    jobs += [
        request("n", "slow", ttfb_ms=9_000),
        request("n", "unmeasured", ttfb_ms=None),
        request("n", "error", **{"status code": 502, "ttfb_ms": None, "num_bytes_sent": 294}),
        request("n", "fraud", client_id="n", num_bytes_sent=10**12),
        request("n", "faster", num_bytes_sent=10**15),
    ]
    checks = {saturn.HEALTH_CHECKS: dagcbor.encode({"n": [40, 60], "other": [1, 1]})}
    epoch = input_of_jobs(jobs, SATURN_TYPES, inputs=checks)
    result = with_layers(epoch, "self-requests", "fast-requests")
    served = 7 * 1_000_000
    assert result.weights == (isqrt(served * 10**36) * 5**2 * 40**2 // (7**2 * 60**2),)
    assert result.summary["bytes"] == served


def test_saturn_error_without_ttfb_is_a_miss_unless_the_parameters_say_otherwise() -> None:
    jobs = [
        request("n", "1"),
        request("n", "2", **{"status code": 502, "ttfb_ms": None}),
        request("n", "3", **{"status code": 502, "ttfb_ms": 5}),
    ]
    epoch = input_of_jobs(jobs, SATURN_TYPES)
    root = isqrt(1_000_000 * 10**36)
    assert saturn.evaluate(epoch, {}).weights == (root // 9,)
    assert saturn.evaluate(epoch, {"null_ttfb_error_is_miss": False}).weights == (root // 4,)


def test_saturn_node_whose_speed_was_never_measured_weighs_nothing_but_does_not_abstain() -> None:
    epoch = input_of_jobs([request("n", "1", ttfb_ms=None)], SATURN_TYPES)
    assert saturn.evaluate(epoch, {}).weights == (0,)


def test_saturn_limits_may_be_exact_quantiles_of_the_epoch_if_these_are_smaller() -> None:
    jobs = [request("n", str(index), ttfb_ms=10 * index) for index in range(1, 11)]
    jobs += [request("n", "error", ttfb_ms=1, **{"status code": 502})]
    jobs += [request("n", "unmeasured", ttfb_ms=None)]
    epoch = input_of_jobs(jobs, SATURN_TYPES)
    for ppm, ok in ((1, 1), (100_000, 1), (100_001, 2), (500_000, 5), (999_999, 10), (10**6, 10)):
        result = saturn.evaluate(epoch, {"ttfb_quantile_ppm": ppm})
        assert (result.summary["ok"], result.summary["slow_ttfb"]) == (ok, 10 - ok)
    both = {"ttfb_quantile_ppm": 900_000, "ttfb_limit_ms": 51}
    assert saturn.evaluate(epoch, both).summary["ok"] == 5
    slow = saturn.evaluate(epoch, {"duration_quantile_ppm": 500_000})
    assert slow.summary["ok"] == 10  # all took as long as the one in the middle
    assert saturn.evaluate(input_of_jobs([], SATURN_TYPES), both).weights == ()


def test_quantiles_are_the_values_of_their_exact_ranks() -> None:
    dice = random.Random(3)
    for size in (1, 2, 3, 7, 10, 64, 999):
        values = [
            dice.choice([dice.randrange(-9, 9), dice.randrange(1 << 62)]) for _ in range(size)
        ]
        jobs = pa.table({"node": [0] * (size + 1), "x": pa.array([*values, None], pa.int64())})
        ppms = [1, *(at * 10**6 // size for at in range(1, size + 1, max(1, size // 20))), 10**6]
        wanted = {f"q{at}": ("x", ppm) for at, ppm in enumerate(ppms)}
        found = exact_quantiles(jobs, {"x": "x"}, wanted, {}, 2)
        ranks = [max(1, -(-ppm * size // 10**6)) for ppm in ppms]
        assert list(found.values()) == [sorted(values)[rank - 1] for rank in ranks]
    assert exact_quantiles(jobs.slice(0, 0), {"x": "x"}, {"q": ("x", 1)}, {}, 1) == {"q": None}


@pytest.mark.parametrize("flag", ["bad", address_text(payee("bad"))])
def test_saturn_flagged_operators_are_excluded_entirely(flag: str) -> None:
    epoch = input_of_jobs([request("bad", "1"), request("good", "1")], SATURN_TYPES)
    result = saturn.evaluate(epoch, {"flagged": [flag]})
    weights = weight_of(result, epoch)
    assert weights["bad"] == 0
    assert weights["good"] == isqrt(1_000_000 * 10**36)
    assert reason_of(result, epoch) == {("bad", "1"): "flagged", ("good", "1"): "ok"}


def test_saturn_works_without_optional_columns() -> None:
    types = {
        name: SATURN_TYPES[name] for name in ("num_bytes_sent", "request_duration_sec", "ttfb_ms")
    }
    job = {name: request("n", "1")[name] for name in ("node_id", "job_id", *types)}
    assert saturn.evaluate(input_of_jobs([job], types), {}).weights == (isqrt(1_000_000 * 10**36),)


@pytest.mark.parametrize(
    "parameters",
    [
        {"ttfb_limit_ms": -1},
        {"ttfb_limit_ms": True},
        {"ttfb_limit_ms": 1 << 63},
        {"ttfb_limit": 1},
        {"flagged": "n"},
        {"flagged": [1]},
        {"null_ttfb_error_is_miss": 1},
        {"ttfb_quantile_ppm": 1_000_001},
        {"bytes_per_s_max": 1},  # of version 1; now of the layer fast-requests
    ],
)
def test_saturn_refuses_bad_parameters(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        saturn.FUNCTION.check(parameters)
    with pytest.raises(InvalidInput):
        saturn.evaluate(input_of_jobs([request("n", "1")], SATURN_TYPES), parameters)


@pytest.mark.parametrize(
    "checks",
    [[], {"n": 1}, {"n": [2, 1]}, {"n": [0, 0]}, {"n": [True, 1]}, {"n": [-1, 1]}, {"n": [1]}],
)
def test_saturn_refuses_malformed_health_checks(checks: Any) -> None:
    inputs = {saturn.HEALTH_CHECKS: dagcbor.encode(checks)}
    epoch = input_of_jobs([request("n", "1")], SATURN_TYPES, inputs=inputs)
    with pytest.raises(InvalidInput, match="health-checks"):
        saturn.evaluate(epoch, {})


numbers = st.integers(0, 3).flatmap(
    lambda kind: [
        st.none(),
        st.integers(-2, 2),
        st.integers(0, 20_000),
        st.integers(0, (1 << 63) - 1),
    ][kind]
)
jobs_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "node_id": st.sampled_from(["a", "b", "c"]),
            "num_bytes_sent": numbers,
            "request_duration_sec": st.one_of(numbers, st.integers(0, 20 * SECOND_NS)),
            "ttfb_ms": numbers,
            "status code": st.sampled_from([None, 200, 206, 304, 404, 502]),
            "client_id": st.sampled_from([None, "a", "b", "x"]),
        }
    ),
    max_size=25,
)


def naive_saturn(jobs: list[dict[str, Any]], checks: dict[str, tuple[int, int]]) -> dict[str, int]:
    """The rules of the module once more, record by record, in plain Python."""
    totals: dict[str, list[int]] = {}
    for job in jobs:
        served, ok, requests = totals.setdefault(job["node_id"], [0, 0, 0])
        size, duration, ttfb = job["num_bytes_sent"], job["request_duration_sec"], job["ttfb_ms"]
        if size is None or duration is None or min(size, duration, ttfb or 0) < 0:
            continue
        if job["client_id"] == job["node_id"] or size * SECOND_NS > duration * 1_250_000_000:
            continue
        if (job["status code"] or 0) >= 400:
            requests += 1
        else:
            served += size
            if ttfb is not None:
                requests += 1
                ok += ttfb < 5_000 and duration < 10 * SECOND_NS
        totals[job["node_id"]] = [served, ok, requests]
    weights = {}
    for node, (served, ok, requests) in totals.items():
        up, every = checks.get(node, (1, 1))
        speed = isqrt(served * 10**36) * ok * ok * up * up
        weights[node] = speed // (requests * requests * every * every) if requests else 0
    return weights


@settings(max_examples=60, deadline=None)
@given(jobs=jobs_strategy, up=st.integers(0, 60))
def test_saturn_agrees_with_the_rules_written_record_by_record(
    jobs: list[dict[str, Any]], up: int
) -> None:
    named = [job | {"job_id": str(index)} for index, job in enumerate(jobs)]
    inputs = {saturn.HEALTH_CHECKS: dagcbor.encode({"a": [up, 60]})}
    epoch = input_of_jobs(named, SATURN_TYPES, inputs=inputs)
    result = with_layers(epoch, "self-requests", "fast-requests")
    assert weight_of(result, epoch) == naive_saturn(named, {"a": (up, 60)})
    assert len(result.verdicts) == len(named)


# --- what holds for all of them


def scrambled(epoch: EpochInput, order: list[int]) -> EpochInput:
    return EpochInput(
        epoch=epoch.epoch,
        node_ids=epoch.node_ids,
        node_keys=epoch.node_keys,
        payees=epoch.payees,
        jobs=epoch.jobs.take(pa.array(order, pa.int64())),
        inputs=epoch.inputs,
    )


@pytest.mark.parametrize("name", JOB_BY_JOB)
def test_same_bytes_for_any_order_of_rows_and_any_number_of_threads(name: str) -> None:
    dice = random.Random(5)
    jobs = [
        request(
            f"n{dice.randrange(9)}",
            str(index),
            ttfb_ms=dice.choice([None, 50, 9_000]),
            num_bytes_sent=dice.choice([0, 10**4, 10**6, 10**11]),
            client_id=dice.choice(["x", "n1"]),
            **{"status code": dice.choice([200, 200, 502])},
        )
        | {"score": dice.choice([0, 10**18])}
        for index in range(400)
    ]
    epoch = input_of_jobs(jobs, SATURN_TYPES | {"score": pa.int64()}, inputs=NO_INPUTS)
    parameters = {"success": {"field": "status code", "allowed": [200]}} if name == "count" else {}
    function = function_named(name)
    expected = function.evaluate(epoch, parameters)
    reasons = reason_of(expected, epoch)
    assert len(set(reasons.values())) > 1
    for turn in range(50):
        other = scrambled(epoch, dice.sample(range(len(jobs)), len(jobs)))
        result = function.evaluate(other, parameters, threads=turn % 4 + 1)
        assert result.weights == expected.weights
        assert result.summary == expected.summary
        assert reason_of(result, other) == reasons


@pytest.mark.parametrize("name", JOB_BY_JOB)
def test_a_node_without_jobs_abstains(name: str) -> None:
    fields = request("here", "1") | {"score": 1}
    epoch = input_of_jobs([fields], SATURN_TYPES | {"score": pa.int64()})
    both = EpochInput(
        epoch=1,
        node_ids=("absent", "here"),
        node_keys=(bytes(32), epoch.node_keys[0]),
        payees=(payee("absent"), epoch.payees[0]),
        jobs=epoch.jobs.set_column(epoch.jobs.column_names.index("node"), "node", pa.array([1])),
        inputs={},
    )
    weights = function_named(name).evaluate(both, {}).weights
    assert weights[0] is None
    assert weights[1] is not None
    assert weights[1] > 0
    nobody = scrambled(both, [])
    assert function_named(name).evaluate(nobody, {}).weights == (None, None)


def test_a_column_of_floats_is_refused() -> None:
    epoch = input_of_jobs([{"node_id": "n", "job_id": "1", "x": 0.5}], {"x": pa.float64()})
    with pytest.raises(InvalidInput, match="floats"):
        count.evaluate(epoch, {})


def test_a_sum_that_overflows_is_an_error_and_not_a_wrong_number() -> None:
    epoch = status_jobs(1, 2, 3, 4)
    great = {"x": f"{(1 << 127) - 1}::HUGEINT"}
    with pytest.raises(InvalidInput, match=r"[Oo]verflow"):
        judge(epoch.jobs, great, "0", ["sum(x)"], {}, 1)


def test_sql_cannot_reach_files() -> None:
    epoch = status_jobs(1)
    with pytest.raises(duckdb.PermissionException):
        judge(
            epoch.jobs,
            {"x": "(SELECT count(*) FROM read_text('/etc/hosts'))"},
            "0",
            ["sum(x)"],
            {},
            1,
        )


@pytest.mark.parametrize("threads", [0, -1, 257])
def test_impossible_numbers_of_threads_are_refused(threads: int) -> None:
    with pytest.raises(InvalidInput, match="threads"):
        count.evaluate(status_jobs(200), {}, threads=threads)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_the_digest_covers_the_source_that_computes_the_weights(name: str) -> None:
    function = function_named(name)
    bundle = dagcbor.decode(function.bundle)
    assert function.digest == digest_of(function.bundle)
    assert (bundle["name"], bundle["version"]) == (name, {"saturn": 2}.get(name, 1))
    assert bundle["engine"].startswith("duckdb ")
    module, folder = f"functions/{name.replace('-', '_')}.py", name.split("-", maxsplit=1)[0]
    own = {path for path in bundle["sources"] if path.startswith(f"{folder}/")}
    assert set(bundle["sources"]) == {*SHARED, module} | own
    assert f"`{name}`".encode() in bundle["sources"][module]
    assert function_with_digest(function.digest) is function


def test_unknown_functions_are_not_found() -> None:
    with pytest.raises(NotFound, match="count"):
        function_named("no such function")
    with pytest.raises(NotFound):
        function_with_digest(bytes(32))
    assert len({function.digest for function in FUNCTIONS.values()}) == len(FUNCTIONS)
