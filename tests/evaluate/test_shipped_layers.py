"""The shipped fraud layers against the same rules in plain Python, and that no order, cut or number of threads matters."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.evaluate.epoch_builder import input_of_jobs

from meridian.errors import InvalidInput
from meridian.evaluate.flagging import ActiveLayer, flag
from meridian.evaluate.function import EpochInput
from meridian.evaluate.functions import saturn
from meridian.evaluate.jobs import Segments
from meridian.evaluate.layered import evaluate_layered
from meridian.evaluate.sealed_layer import PrivateLayer
from meridian.evaluate.shipped_layers import layer_named, shipped_layers
from meridian.networks.definition import NetworkDefinition
from meridian.networks.saturn import DEFINITION, SCHEMA
from meridian.primitives import dagcbor
from meridian.primitives.cid import digest_of

Job = dict[str, Any]
TYPES = {
    "num_bytes_sent": pa.int64(),
    "request_duration_sec": pa.int64(),
    "ttfb_ms": pa.int64(),
    "status code": pa.int64(),
    "cache_hit": pa.bool_(),
    "client_id": pa.string(),
    "cid": pa.string(),
    "referrer": pa.string(),
}
PPM = 10**6


def made_up(count: int, seed: int) -> list[Job]:
    """Jobs of a few nodes, clients and contents, some of them far more busy than the others."""
    dice = random.Random(seed)
    nodes = "a" * 30 + "bbbbbcdefgh"
    return [
        {
            "node_id": (node := dice.choice(nodes)),
            "job_id": str(index),
            "num_bytes_sent": dice.choice([None, -5, 0, 10, 1_000, 10**6, 10**11]),
            "request_duration_sec": dice.choice([None, -1, 0, 10, 10**9]),
            "ttfb_ms": dice.choice([None, 20, 9_000]),
            "status code": dice.choice([200, 200, 502]),
            "cache_hit": dice.choice([True, False]),
            "client_id": dice.choice(
                [None, "a", "b", *"xxxxxxxyzuvw", "x" if node == "c" else "k"]
            ),
            "cid": dice.choice([None, *"Q" * 40, *"rstuvwxyzABCDEFGHIJKLMNOP"]),
            "referrer": dice.choice(["here", "there", None]),
        }
        for index in range(count)
    ]


JOBS = made_up(700, 11)
EPOCH = input_of_jobs(JOBS, TYPES)


def rank(values: list[int], ppm: int) -> int:
    ordered = sorted(values)
    return ordered[max(1, -(-len(ordered) * ppm // PPM)) - 1]


def sums(key: str, worth: Callable[[Job], int | None]) -> Counter[str]:
    found: Counter[str] = Counter()
    for job in JOBS:
        if job[key] is not None and (value := worth(job)) is not None:
            found[job[key]] += value
    return found


def one(job: Job) -> int:
    return 1


def positive(job: Job) -> int | None:
    size = job["num_bytes_sent"]
    return size if size is not None and size > 0 else None


def or_zero(job: Job) -> int:
    return positive(job) or 0


def far_above(key: str, worth: Callable[[Job], int | None], name: str) -> Any:
    def plain(job: Job, p: dict[str, int]) -> int:
        found = sums(key, worth)
        limit = max(p[f"{name}_least"], p["times"] * rank(list(found.values()), p["quantile_ppm"]))
        return int(job[key] in found and found[job[key]] > limit)

    return plain


def single_client(worth: Callable[[Job], int | None], name: str) -> Any:
    def plain(job: Job, p: dict[str, int]) -> int:
        mine = [other for other in JOBS if other["node_id"] == job["node_id"]]
        whole = sum(worth(other) or 0 for other in mine)
        clients: Counter[str] = Counter()
        for other in mine:
            if other["client_id"] is not None:
                clients[other["client_id"]] += worth(other) or 0
        most = max(clients.values(), default=0)
        return int(whole >= p[f"{name}_least"] and most * PPM > whole * p["share_ppm"])

    return plain


def doctored(key: str) -> Any:
    def plain(job: Job, p: dict[str, int]) -> int:
        found = sums(key, one)
        n, total = len(found), sum(found.values())
        squares = sum(x * x for x in found.values())
        x = found.get(job[key], 0)
        above = n * x - total
        spread = p["sigmas"] ** 2 * (n * squares - total**2)
        return int(x >= p["requests_least"] and above > 0 and above**2 > spread)

    return plain


def self_request(job: Job, p: dict[str, int]) -> int:
    return int(job["client_id"] == job["node_id"])


def too_fast(job: Job, p: dict[str, int]) -> int:
    size, took = job["num_bytes_sent"], job["request_duration_sec"]
    if size is None or took is None or min(size, took) < 0:
        return 0
    limit = p["hit_bytes_per_s_max" if job["cache_hit"] else "miss_bytes_per_s_max"]
    return (1 if job["cache_hit"] else 2) * (size * 10**9 > took * limit)


RULES: dict[str, tuple[Any, dict[str, int]]] = {
    "self-requests": (self_request, {}),
    "fast-requests": (too_fast, {"hit_bytes_per_s_max": 10**12, "miss_bytes_per_s_max": 10**6}),
    "high-requests": (
        far_above("node_id", one, "requests"),
        {"requests_least": 50, "times": 5, "quantile_ppm": 250_000},
    ),
    "high-bandwidth": (
        far_above("node_id", positive, "bytes"),
        {"bytes_least": 1, "times": 2, "quantile_ppm": 500_000},
    ),
    "bot-requests": (
        far_above("client_id", one, "requests"),
        {"requests_least": 40, "times": 2, "quantile_ppm": 500_000},
    ),
    "bot-bytes": (
        far_above("client_id", or_zero, "bytes"),
        {"bytes_least": 40, "times": 3, "quantile_ppm": 1},
    ),
    "doctored-content": (doctored("cid"), {"requests_least": 10, "sigmas": 3}),
    "doctored-referrer": (doctored("referrer"), {"requests_least": 10, "sigmas": 0}),
    "single-client-requests": (
        single_client(one, "requests"),
        {"requests_least": 20, "share_ppm": 400_000},
    ),
    "single-client-bytes": (
        single_client(positive, "bytes"),
        {"bytes_least": 1_000, "share_ppm": 600_000},
    ),
}


def active(name: str) -> ActiveLayer:
    layer = layer_named(name)
    return ActiveLayer(layer, layer.values(RULES[name][1]))


ALL = [active(name) for name in RULES]


@pytest.mark.parametrize("name", sorted(shipped_layers()))
def test_a_layer_flags_what_its_rule_says(name: str) -> None:
    plain, given = RULES[name]
    parameters = active(name).values
    assert given.items() <= parameters.items()
    by_id = {job["job_id"]: plain(job, dict(parameters)) for job in JOBS}
    ids = EPOCH.jobs.column("job_id").to_pylist()
    codes = flag(EPOCH.jobs, [active(name)]).tolist()
    assert dict(zip(ids, codes, strict=True)) == by_id
    assert len(set(codes)) > 1, "the jobs show nothing of this layer"


def test_all_layers_give_the_same_codes_in_every_order_and_with_any_number_of_threads() -> None:
    dice = random.Random(4)
    single = [flag(EPOCH.jobs, [use]) for use in ALL]
    offsets = np.cumsum([0, *(len(use.layer.reasons) for use in ALL[:-1])])
    expected = np.zeros(len(JOBS), dtype=np.uint8)
    for found, offset in reversed(list(zip(single, offsets, strict=True))):
        expected = np.where(found > 0, found + offset, expected)
    for turn in range(50):
        order = np.array(dice.sample(range(len(JOBS)), len(JOBS)))
        jobs = EPOCH.jobs.take(pa.array(order))
        assert (flag(jobs, ALL, turn % 4 + 1) == expected[order]).all()


def segments(epoch: EpochInput, cuts: list[int]) -> Segments:
    """The same jobs as segments that are cut somewhere."""
    table = epoch.jobs
    ends = [*cuts, table.num_rows]
    parts = [table.slice(a, b - a) for a, b in pairwise([0, *ends])]
    nodes = table.column("node").to_pylist()
    counts = {name: nodes.count(at) for at, name in enumerate(epoch.node_ids)}
    stored = pa.schema([field for field in table.schema if field.name != "node"])
    rows = [part.num_rows for part in parts]
    return Segments.of(stored, rows, counts, lambda at, names: parts[at].select(names))


@pytest.mark.parametrize("cuts", [[], [1], [0, 0, 350], [100, 101, 102, 640, 700]])
def test_segments_are_evaluated_as_one_table_is(
    cuts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meridian.evaluate.flagging.CHUNK_ROWS", 64)
    checks = {saturn.HEALTH_CHECKS: dagcbor.encode({"a": [1, 3]})}
    whole = replace(EPOCH, inputs=checks)
    cut = replace(whole, jobs=segments(EPOCH, cuts))
    assert cut.jobs.column("node_id").to_pylist() == EPOCH.jobs.column("node_id").to_pylist()
    assert cut.jobs.column("cid").to_pylist() == EPOCH.jobs.column("cid").to_pylist()
    given = {"ttfb_quantile_ppm": 400_000}
    expected = evaluate_layered(saturn.FUNCTION, whole, given, ALL)
    assert len(set(expected.verdicts)) >= 10
    for threads in (1, 3):
        assert evaluate_layered(saturn.FUNCTION, cut, given, ALL, threads=threads) == expected


def test_segments_with_other_numbers_than_were_told_are_refused() -> None:
    jobs = segments(EPOCH, [300])
    with pytest.raises(InvalidInput, match="as many jobs"):
        Segments.of(pa.schema([("node_id", pa.string())]), [3], {"a": 2}, jobs.read)
    short = Segments(jobs.schema, jobs.ends + 1, jobs.nodes, jobs.ids, jobs.read)
    with pytest.raises(InvalidInput, match="segment 0"):
        short.column("cid")


def test_a_network_takes_layers_of_its_own_public_or_sealed() -> None:
    own = replace(layer_named("bot-requests"), name="my-bots")
    secret = PrivateLayer(replace(own, name="hunch"), {"times": 7}, bytes(range(32)))
    definition = DEFINITION.with_layer(own.encode(), {"times": 3})
    definition = definition.with_layer(secret.public.encode(), {})
    assert list(definition.layers)[-2:] == ["my-bots", "hunch"]
    assert definition.active_layers[-1] == ActiveLayer(own, own.values({"times": 3}))
    digests = [use["layer"] for use in definition.parameters.layers]
    assert digests == [digest_of(data) for data in definition.layer_bundles.values()]
    assert definition.layer_bundles["hunch"] == secret.public.encode()
    for artefact, parameters in (
        (own.encode(), {}),
        (layer_named("bot-bytes").encode(), {}),
        (replace(own, name="other").encode(), {"time": 1}),
        (layer_named("doctored-referrer").encode(), {}),
        (b"no layer", {}),
    ):
        with pytest.raises(InvalidInput):
            definition.with_layer(artefact, parameters)


def test_the_saturn_network_uses_every_layer_that_its_records_allow() -> None:
    assert set(DEFINITION.layers) == set(shipped_layers()) - {"doctored-referrer"}
    assert list(DEFINITION.layers)[:2] == ["self-requests", "fast-requests"]  # cheap first
    with pytest.raises(InvalidInput, match=r"doctored-referrer: the jobs have no field 'referrer'"):
        NetworkDefinition(
            name="x", schema=SCHEMA, function="saturn", layers={"doctored-referrer": {}}
        )
