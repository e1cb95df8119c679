"""The whole way from jobs to roots against a second implementation that was written for reading (`tests/oracle`)."""

from typing import Any

import pyarrow as pa
import pytest
from epoch_builder import input_of_jobs, payee
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracle import plain_functions, plain_layers, plain_reward

from meridian.evaluate.flagging import ActiveLayer
from meridian.evaluate.function import EpochInput, Evaluation
from meridian.evaluate.layered import evaluate_layered
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.registry import function_named
from meridian.evaluate.row import Row, RowHeader
from meridian.evaluate.shipped_layers import layer_named
from meridian.evaluate.verdicts import verdict_leaves, verdict_root
from meridian.primitives import dagcbor
from meridian.primitives.ids import Address, NodeKey, job_key, node_key
from meridian.reward.ledger import Ledger
from meridian.reward.members import PayTerms, pay_key, split_budget
from meridian.reward.outcome import compute_outcome

TYPES = {
    "num_bytes_sent": pa.int64(), "request_duration_sec": pa.int64(), "ttfb_ms": pa.int64(),
    "status code": pa.int64(), "cache_hit": pa.bool_(), "client_id": pa.string(), "cid": pa.string(),
}  # fmt: skip
LAYERS = {
    "self-requests": {},
    "fast-requests": {"hit_bytes_per_s_max": 2_000, "miss_bytes_per_s_max": 1_000},
    "high-requests": {"requests_least": 5, "times": 2, "quantile_ppm": 500_000},
    "high-bandwidth": {"bytes_least": 50, "times": 2, "quantile_ppm": 400_000},
    "bot-requests": {"requests_least": 3, "times": 2, "quantile_ppm": 500_000},
    "bot-bytes": {"bytes_least": 30, "times": 3, "quantile_ppm": 300_000},
    "doctored-content": {"requests_least": 2, "sigmas": 1},
    "single-client-requests": {"requests_least": 2, "share_ppm": 600_000},
    "single-client-bytes": {"bytes_least": 10, "share_ppm": 600_000},
}
NAMES = ("n0", "n1", "n2", "n3")

jobs_of_saturn = st.lists(
    st.fixed_dictionaries(
        {
            "node_id": st.sampled_from(NAMES),
            "num_bytes_sent": st.integers(-1, 60),
            "request_duration_sec": st.integers(-1, 60_000_000),
            "ttfb_ms": st.one_of(st.none(), st.integers(-1, 40)),
            "status code": st.sampled_from([200, 206, 404, 502]),
            "cache_hit": st.booleans(),
            "client_id": st.one_of(st.none(), st.sampled_from(["n0", "n1", "c1", "c2", "c3"])),
            "cid": st.one_of(st.none(), st.sampled_from(["x", "y", "z"])),
        }
    ),
    min_size=1,
    max_size=25,
)


def given_epoch(
    jobs: list[dict[str, Any]], types: dict[str, pa.DataType], **more: Any
) -> EpochInput:
    return input_of_jobs(
        [{**job, "job_id": f"j{place}"} for place, job in enumerate(jobs)], types, **more
    )


def compare(
    epoch: EpochInput,
    jobs: list[dict[str, Any]],
    found: Evaluation,
    reasons: list[str],
    weights: dict[str, int | None],
) -> None:
    """Compare weights, and reasons by job; then the verdict root from the codes."""
    assert dict(zip(epoch.node_ids, found.weights, strict=True)) == weights
    places = [int(job_id[1:]) for job_id in epoch.jobs.column("job_id").to_pylist()]
    named = [found.reasons[code] for code in found.verdicts]
    assert named == [reasons[place] for place in places]
    for reason in set(reasons):
        assert found.summary[reason] == reasons.count(reason)
    codes = {reason: code for code, reason in enumerate(found.reasons)}
    by_node = []
    for name in sorted({job["node_id"] for job in jobs}, key=node_key):
        own = sorted(
            (job_key(f"j{place}"), codes[reasons[place]])
            for place, job in enumerate(jobs)
            if job["node_id"] == name
        )
        by_node.append((node_key(name), bytes(code for _, code in own)))
    root = verdict_root(verdict_leaves(epoch, found.verdicts))
    assert root == plain_reward.verdict_root(by_node)


@settings(max_examples=60)
@given(
    jobs_of_saturn,
    st.sets(st.sampled_from(sorted(LAYERS))),
    st.sampled_from([0, 300_000, 1_000_000]),
    st.booleans(),
    st.sampled_from([[], ["n1"]]),
)
def test_saturn_with_layers(
    jobs: list[dict[str, Any]],
    chosen: set[str],
    quantile: int,
    null_is_miss: bool,
    flagged: list[str],
) -> None:
    parameters = {
        "ttfb_limit_ms": 30, "duration_limit_ns": 40_000_000, "error_status_min": 400,
        "ttfb_quantile_ppm": quantile, "duration_quantile_ppm": quantile,
        "null_ttfb_error_is_miss": null_is_miss, "flagged": flagged,
    }  # fmt: skip
    uptime = {"n0": (2, 3), "n2": (0, 5)}
    inputs = {"health-checks": dagcbor.encode({name: list(pair) for name, pair in uptime.items()})}
    layers = {name: limits for name, limits in LAYERS.items() if name in chosen}
    active = [
        ActiveLayer(layer_named(name), layer_named(name).values(limits))
        for name, limits in layers.items()
    ]
    epoch = given_epoch(jobs, TYPES, inputs=inputs)
    found = evaluate_layered(function_named("saturn"), epoch, parameters, active)

    flags = plain_layers.flagged(jobs, layers)
    clean = [job for job, flag in zip(jobs, flags, strict=True) if flag is None]
    judged, weights = plain_functions.saturn(clean, parameters, uptime)
    rest = iter(judged)
    reasons = [flag or next(rest) for flag in flags]
    everybody = {job["node_id"]: 0 for job in jobs}
    compare(epoch, jobs, found, reasons, everybody | weights)


@settings(max_examples=25)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"node_id": st.sampled_from(NAMES), "reliability": st.one_of(st.none(), st.integers(-2, 103))}
        ),
        min_size=1,
        max_size=20,
    )
)  # fmt: skip
def test_nym(jobs: list[dict[str, Any]]) -> None:
    epoch = given_epoch(jobs, {"reliability": pa.int64()})
    compare(epoch, jobs, function_named("nym").evaluate(epoch, {}), *plain_functions.nym(jobs))


@settings(max_examples=25)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"node_id": st.sampled_from(NAMES), "score": st.integers(-5, 1 << 60)}
        ),
        min_size=1,
        max_size=20,
    )
)  # fmt: skip
def test_attestation_and_count(jobs: list[dict[str, Any]]) -> None:
    epoch = given_epoch(jobs, {"score": pa.int64()})
    found = function_named("attestation").evaluate(epoch, {})
    compare(epoch, jobs, found, *plain_functions.attestation(jobs))
    allowed = [0, 1, jobs[0]["score"]]
    counted = function_named("count").evaluate(
        epoch, {"success": {"field": "score", "allowed": allowed}}
    )
    expected = plain_functions.count(jobs, lambda job: job["score"] in allowed)
    compare(epoch, jobs, counted, *expected)


MEMBERS = [f"m{place}" for place in range(7)]
ADDRESSES = {name: Address(bytes([place + 1]) * 20) for place, name in enumerate(MEMBERS)}
KEYS = sorted(node_key(name) for name in NAMES)

said = st.lists(st.one_of(st.none(), st.integers(0, 50)), min_size=4, max_size=4)


@settings(max_examples=80)
@given(
    st.integers(4, 7),
    st.lists(
        st.tuples(st.lists(said, min_size=1, max_size=7), st.integers(0, 10**6)),
        min_size=1,
        max_size=4,
    ),
)
def test_from_rows_to_roots(n: int, epochs: list[tuple[list[list[int | None]], int]]) -> None:
    """Some epochs in a row: weights with learnt reliability, amounts, pay, claims, and the root over them."""
    members, terms = MEMBERS[:n], PayTerms(100_000, 0)
    parameters = EvaluationParameters(reliability={"tolerance_ppm": 100_000})
    ledger = Ledger.empty()
    standings: dict[str, plain_reward.Standing] = {}
    claims: dict[bytes, tuple[bytes, int]] = {}
    for epoch, (values, budget) in enumerate(epochs, 1):
        rows = dict(zip(members, values, strict=False))
        header = RowHeader(b"n" * 32, epoch, b"c" * 32, b"f" * 32, parameters.digest, b"i" * 32)
        outcome = compute_outcome(
            [
                (ADDRESSES[name], Row(header, b"v" * 32, tuple(KEYS), tuple(row)).encode())
                for name, row in rows.items()
            ],
            members=[ADDRESSES[name] for name in members],
            parameters=parameters,
            budget=budget,
            previous=ledger,
            expected=header,
            payees={NodeKey(key): payee(key.hex()) for key in KEYS},
            pay=terms,
        )
        result = plain_reward.decided(rows, members, standings)
        assert list(outcome.weights) == result
        parts = split_budget(budget, terms)
        due, held = plain_reward.shares(rows, result, parts.nodes)
        assert (list(outcome.amounts), list(outcome.held_back)) == (due, held)
        pays = plain_reward.evaluators_pay(parts.evaluators, rows, result)
        assert dict(outcome.member_pay) == {ADDRESSES[m]: pay for m, pay in pays.items() if pay}
        standings = plain_reward.learnt(rows, result, standings, 100_000)
        known = {a: (s.agreed, s.differed) for a, s in outcome.ledger.memory.standings.items()}
        assert known == {ADDRESSES[m]: s for m, s in standings.items() if s != (0, 0)}
        for key, amount in zip(KEYS, due, strict=True):
            before = claims[key][1] if key in claims else 0
            if before + amount:
                claims[key] = (payee(key.hex()), before + amount)
        for member, pay in pays.items():
            key = pay_key(ADDRESSES[member])
            before = claims[key][1] if key in claims else 0
            if before + pay:
                claims[key] = (ADDRESSES[member], before + pay)
        memory = outcome.ledger.memory
        bound = (
            {} if memory.is_empty else {memory.digest: (b"meridian/memory/1".ljust(20, b"\0"), 0)}
        )
        assert outcome.reward_root == plain_reward.reward_root(claims | bound)
        assert outcome.total == sum(amount for _, amount in claims.values())
        ledger = outcome.ledger


@pytest.mark.parametrize("name", sorted(set(LAYERS)))
def test_every_layer_of_the_oracle_can_flag(name: str) -> None:
    """So that the comparison above is about something: a job set that each layer flags in part."""
    usual = [
        {"node_id": f"n{k % 3}", "client_id": f"c{k}", "cid": f"x{k}", "num_bytes_sent": 5,
         "request_duration_sec": 50_000_000, "ttfb_ms": 3, "status code": 200, "cache_hit": True}
        for k in range(9)
    ]  # fmt: skip
    odd = [
        {**usual[0], "node_id": "n3", "client_id": "n3", "cid": "hot", "num_bytes_sent": 60,
         "request_duration_sec": 1_000}
        for _ in range(8)
    ]  # fmt: skip
    flags = plain_layers.flagged([*usual, *odd], {name: LAYERS[name]})
    assert None in flags[:9]
    assert any(flags[9:])
