"""Evaluating shard by shard gives the bytes of evaluating at once: every function, every layer, any cut."""

import os
import random
import signal
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluate.epoch_builder import input_of_jobs
from tests.scale.sharded_epochs import shards_of

from meridian.evaluate.bundle import Bundle
from meridian.evaluate.flagging import ActiveLayer
from meridian.evaluate.functions import attestation, count, nym, saturn, spark, spark_chain
from meridian.evaluate.layer import Column, Group, Layer
from meridian.evaluate.layered import evaluate_layered
from meridian.evaluate.own_functions import SQL_ENGINE, function_of
from meridian.evaluate.shipped_layers import layer_named, shipped_layers
from meridian.evaluate.verdicts import evaluation_leaves, evaluation_root
from meridian.primitives import dagcbor
from meridian.scale.evaluating import Rule, evaluate_sharded, must_stay_whole
from meridian.scale.pool import InlinePool, ProcessPool

TYPES = {
    "num_bytes_sent": pa.int64(),
    "request_duration_sec": pa.int64(),
    "ttfb_ms": pa.int64(),
    "status code": pa.int64(),
    "cache_hit": pa.bool_(),
    "client_id": pa.string(),
    "cid": pa.string(),
    "referrer": pa.string(),
    "score": pa.int64(),
    "reliability": pa.int64(),
}
MAYBE = st.one_of(st.none(), st.integers(-5, 10**11))
JOB = st.fixed_dictionaries(
    {
        "node_id": st.sampled_from("aaaabbcdef"),
        "num_bytes_sent": MAYBE,
        "request_duration_sec": st.one_of(st.none(), st.integers(-1, 2**62)),
        "ttfb_ms": st.one_of(st.none(), st.integers(-1, 9_000)),
        "status code": st.sampled_from([200, 200, 502]),
        "cache_hit": st.booleans(),
        "client_id": st.one_of(st.none(), st.sampled_from("abxxxy")),
        "cid": st.one_of(st.none(), st.sampled_from("PQQQRS")),
        "referrer": st.one_of(st.none(), st.sampled_from(["here", "there"])),
        "score": st.integers(-3, 2**62),
        "reliability": st.one_of(st.none(), st.integers(-1, 101)),
    }
)
LOW = {
    "bytes_least": 1_000,
    "requests_least": 2,
    "times": 2,
    "sigmas": 0,
    "share_ppm": 300_000,
    "hit_bytes_per_s_max": 1_000,
    "miss_bytes_per_s_max": 10,
}
"""Thresholds at which a handful of jobs is flagged."""


def low(layer: Layer, salt: bytes | None = None) -> ActiveLayer:
    known = {name: value for name, value in LOW.items() if name in layer.parameters}
    return ActiveLayer(layer, layer.values(known), salt)


ALL_LAYERS = tuple(low(layer) for layer in shipped_layers().values())
NUMBERED = ActiveLayer(
    Layer(
        name="numbered",
        version=1,
        reasons=("second", "busy"),
        verdict="CASE WHEN node = 1 THEN 1 WHEN size * 2 > every.mean AND clients.n > 2 THEN 2 END",
        columns={"size": Column("num_bytes_sent", "integer"), "who": Column("client_id", "text")},
        groups=(
            Group("clients", "jobs", ("who",), {"n": "count(*)"}),
            Group("every", "jobs", (), {"mean": "sum(size) // greatest(1, count(size))"}),
        ),
    ),
    {},
)
"""Asks for the number of a node, and for groups beside a job's own values."""
LISTED = ActiveLayer(
    Layer(
        name="listed",
        version=1,
        reasons=("large",),
        verdict="size > every.middle",
        columns={"size": Column("num_bytes_sent", "integer")},
        groups=(Group("every", "jobs", (), {"middle": "list_sort(list(size))[1]"}),),
    ),
    {},
)
QUANTILES = {"ttfb_quantile_ppm": 500_000, "duration_quantile_ppm": 900_000}
OWN = function_of(
    Bundle.of(
        {
            "name": "own",
            "version": 1,
            "kind": "sql",
            "engine": SQL_ENGINE,
            "columns": {"size": "num_bytes_sent"},
            "inputs": [],
            "reasons": ["ok", "large"],
            "parameters": {},
            "verdict": "CASE WHEN size > 1000 THEN 1 ELSE 0 END",
            "weight": "count(*) FILTER (WHERE code = 0)",
            "totals": {"largest": "coalesce(max(size), 0)"},
        }
    ),
    None,
)
CASES = {
    "count": (count.FUNCTION, {}, ()),
    "count with layers": (count.FUNCTION, {"success": {"field": "status code", "allowed": [200]}}, ALL_LAYERS),
    "attestation": (attestation.FUNCTION, {}, ()),
    "nym": (nym.FUNCTION, {}, (NUMBERED,)),
    "saturn": (saturn.FUNCTION, {}, ALL_LAYERS),
    "saturn, quantiles": (saturn.FUNCTION, QUANTILES, ()),
    "saturn, quantiles behind layers": (saturn.FUNCTION, QUANTILES, (*ALL_LAYERS, NUMBERED)),
    "sealed": (count.FUNCTION, {}, (ALL_LAYERS[2], low(layer_named("bot-requests"), bytes(32)))),
    "own SQL": (OWN, {}, ALL_LAYERS[:3]),
}  # fmt: skip


def epoch_of(jobs):
    numbered = [{**job, "job_id": f"job {at}"} for at, job in enumerate(jobs)]
    checks = {"health-checks": dagcbor.encode({"a": [1, 2], "d": [3, 4]})}
    return input_of_jobs(numbered, TYPES, inputs=checks)


def assert_equal(name, epoch, shards, pool):
    function, parameters, layers = CASES[name]
    assert must_stay_whole(function, parameters, layers, shards[0].input().jobs) is None
    expected = evaluate_layered(function, epoch, parameters, layers)
    found = evaluate_sharded(Rule(function.bundle, parameters, layers), function, shards, pool)
    assert found.evaluation == expected
    assert list(found.leaves) == evaluation_leaves(epoch, expected)
    assert found.verdict_root == evaluation_root(epoch, expected)


@pytest.mark.parametrize("name", CASES)
@given(st.lists(JOB, max_size=30), st.integers(1, 30), st.integers(1, 9))
@settings(max_examples=5, deadline=None)
def test_any_cut_gives_the_bytes_of_the_whole(name, jobs, rows_max, part_rows):
    epoch = epoch_of(jobs)
    assert_equal(name, epoch, shards_of(epoch, rows_max, part_rows), InlinePool())


def big_epoch():
    """Some hundred jobs, of which layers flag some and functions judge differently."""
    dice = random.Random(7)
    return epoch_of(
        [
            {
                "node_id": dice.choice("aaaaaaabbbcdef") + str(dice.randrange(3)),
                "num_bytes_sent": dice.choice([None, -5, 0, 10, 10**3, 10**6, 10**11]),
                "request_duration_sec": dice.choice([None, -1, 10, dice.randrange(10**9)]),
                "ttfb_ms": dice.choice([None, 20, dice.randrange(9_000)]),
                "status code": dice.choice([200, 200, 502]),
                "cache_hit": dice.choice([True, False]),
                "client_id": dice.choice([None, "a0", "b", *"xxxxyz"]),
                "cid": dice.choice([None, *"QQQQRST"]),
                "referrer": dice.choice(["here", "there", None]),
                "score": dice.randrange(-3, 2**62),
                "reliability": dice.choice([None, 101, dice.randrange(101)]),
            }
            for _ in range(700)
        ]
    )


def test_worker_processes_give_the_bytes_of_the_whole_also_when_one_is_killed():
    epoch = big_epoch()
    with ProcessPool(2) as pool:
        for name in ("saturn, quantiles behind layers", "sealed"):
            assert_equal(name, epoch, shards_of(epoch, 300, 90), pool)
            assert len(set(evaluate_layered(CASES[name][0], epoch, *CASES[name][1:]).verdicts)) > 1
        [victim, _] = pool.pids
        os.kill(victim, signal.SIGKILL)
        assert_equal("saturn", epoch, shards_of(epoch, 150, 90), pool)
        assert victim not in pool.pids


@pytest.mark.parametrize(
    ("function", "layers", "words"),
    [
        (spark.FUNCTION, (), "spark sees all jobs at once: committees"),
        (spark_chain.FUNCTION, (), "spark-chain sees all jobs at once: a task"),
        (count.FUNCTION, (LISTED,), "the layer 'listed' lists"),
        (
            replace(count.FUNCTION, bundle=b"another"),
            (),
            "count sees all jobs at once: its bundle",
        ),
    ],
)
def test_what_must_see_all_jobs_at_once_says_so(function, layers, words):
    jobs = shards_of(epoch_of([]), 1)[0].input().jobs
    assert must_stay_whole(function, {}, layers, jobs).startswith(words)
