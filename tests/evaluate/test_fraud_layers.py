"""Fraud layers: what an artefact may say, how codes are merged, and that nothing depends on order, threads or cuts."""

import random
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from tests.evaluate.epoch_builder import input_of_jobs

from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.expressions import parse
from meridian.evaluate.flagging import ActiveLayer, check_columns, flag, whole_nodes
from meridian.evaluate.function import EpochInput, Evaluation
from meridian.evaluate.functions import count
from meridian.evaluate.layer import Layer
from meridian.evaluate.layered import evaluate_layered
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.shipped_layers import (
    active_layers,
    layer_named,
    layer_of_toml,
    shipped_layers,
)
from meridian.primitives import dagcbor

TYPES = {
    "num_bytes_sent": pa.int64(),
    "request_duration_sec": pa.int64(),
    "status code": pa.int64(),
    "client_id": pa.string(),
    "cid": pa.string(),
    "cache_hit": pa.bool_(),
}
SECOND_NS = 10**9


def request(node: str, job: str, **changes: Any) -> dict[str, Any]:
    fields = {
        "num_bytes_sent": 1_000,
        "request_duration_sec": SECOND_NS,
        "status code": 200,
        "client_id": "somebody",
        "cid": "c",
        "cache_hit": False,
    }
    return {"node_id": node, "job_id": job} | fields | changes


def nobody(digest: bytes) -> bytes:
    raise NotFound(digest.hex())


def use(layer: Layer, **parameters: Any) -> ActiveLayer:
    return ActiveLayer(layer, layer.values(parameters))


def reasons(epoch: EpochInput, evaluation: Evaluation) -> dict[str, str]:
    ids = epoch.jobs.column("job_id").to_pylist()
    return {
        job: evaluation.reasons[code] for job, code in zip(ids, evaluation.verdicts, strict=True)
    }


# --- expressions


@pytest.mark.parametrize(
    "sql",
    [
        "1.5 * x",
        "1e3",
        "x / 2",
        "x ^ 2",
        "avg(x)",
        "x::DOUBLE",
        "CAST(x AS DECIMAL(18, 3))",
        "random()",
        "now()",
        "first(x)",
        "list(x)",
        "list_sort(x)",
        "sum(x ORDER BY y)",
        "count(*) OVER ()",
        "(SELECT 1)",
        "x IN (SELECT 1)",
        "*",
        "1, 2",
        "1 AS y",
        "DISTINCT x",
        "1 FROM jobs",
        "1 WHERE true",
        "1 LIMIT 1",
        "1; SELECT 2",
        "read_text('/etc/hosts')",
        "getenv('HOME')",
        "unnest(x)",
        "lambda y: y",
        "x +",
        "",
        "'ü'",
        "1" + " + 1" * 1_025,
    ],
)
def test_expressions_that_are_inexact_or_read_more_than_the_row_are_refused(sql: str) -> None:
    with pytest.raises(InvalidInput):
        parse(sql)


def test_an_expression_is_rewritten_where_its_names_stand_and_nowhere_else() -> None:
    sql = "CASE WHEN nodes.n > $n AND n <> 'n $n' THEN \"n\" END -- n"
    text = parse(sql).rewritten(lambda name: f"<{'.'.join(name)}>", lambda name: f"<${name}>")
    assert text == "(CASE WHEN <nodes.n> > <$n> AND <n> <> 'n $n' THEN <n> END -- n\n)"


# --- the artefact

SHARES = """
name = "shares"
version = 3
reasons = ["many", "single"]
verdict = '''
CASE WHEN nodes.requests > $times * middle.requests THEN 1
     WHEN single.most * 2 > nodes.requests AND clients.requests >= $least THEN 2 END'''
[columns]
client = {field = "client_id", type = "text"}
[parameters]
times = {type = "integer", default = 3, minimum = 1}
least = {type = "integer", default = 3, maximum = 1000}
[[groups]]
name = "nodes"
of = "jobs"
by = ["node"]
values = {requests = "count(*)"}
[[groups]]
name = "pairs"
of = "jobs"
by = ["node", "client"]
values = {requests = "count(*)"}
[[groups]]
name = "single"
of = "pairs"
by = ["node"]
values = {most = "max(requests)"}
[[groups]]
name = "clients"
of = "jobs"
by = ["client"]
values = {requests = "count(*)"}
[[groups]]
name = "middle"
of = "nodes"
by = []
values = {requests = "list_sort(list(requests))[(count(*) + 1) // 2]"}
"""


def test_a_layer_is_the_same_after_its_artefact_and_its_digest_covers_all_of_it() -> None:
    layer = layer_of_toml(SHARES)
    assert Layer.decode(layer.encode()) == layer
    value = dagcbor.decode(layer.encode())
    digests = {layer.digest}
    for changed in (
        value | {"version": 4},
        value | {"name": "other"},
        value | {"reasons": ["many", "one"]},
        value | {"verdict": "0"},
        value | {"groups": []} | {"verdict": "1"},
    ):
        digests.add(Layer.decode(dagcbor.encode(changed)).digest)
    assert len(digests) == 6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "Shares"),
        ("version", 0),
        ("version", True),
        ("engine", "duckdb 0.1"),
        ("reasons", []),
        ("reasons", ["a", "a"]),
        ("reasons", ["a b"]),
        ("verdict", "nodes.other"),
        ("verdict", "unknown"),
        ("verdict", "sum(client)"),
        ("verdict", "$unknown"),
        ("verdict", "a.b.c"),
        ("verdict", "1.5"),
        ("columns", {"node": {"field": "x", "type": "integer", "required": True}}),
        ("columns", {"x": {"field": "x", "type": "float", "required": True}}),
        ("parameters", {"x": {"type": "integer", "default": -1, "minimum": 0, "maximum": 1}}),
        ("groups", [{"name": "g", "of": "h", "by": [], "where": "true", "values": {}}]),
        ("groups", [{"name": "g", "of": "jobs", "by": ["x"], "where": "true", "values": {}}]),
        ("groups", [{"name": "g", "of": "jobs", "by": [], "where": "x", "values": {}}]),
        ("groups", [{"name": "g", "of": "jobs", "by": [], "where": "true", "values": {"n": "1"}}]),
        ("groups", [{"name": "jobs", "of": "jobs", "by": [], "where": "true", "values": {}}]),
        ("surplus", 1),
    ],
)
def test_an_artefact_that_cannot_be_a_layer_is_refused(name: str, value: Any) -> None:
    whole = dagcbor.decode(layer_named("self-requests").encode())
    with pytest.raises(InvalidInput):
        Layer.decode(dagcbor.encode(whole | {name: value}))
    del whole["verdict"]
    with pytest.raises(InvalidInput):
        Layer.decode(dagcbor.encode(whole))


def test_parameters_are_checked_by_name_type_and_bounds() -> None:
    layer = layer_of_toml(SHARES)
    assert layer.values({"times": 9}) == {"times": 9, "least": 3}
    for wrong in ({"time": 1}, {"times": 0}, {"times": True}, {"times": "3"}, {"least": 1001}):
        with pytest.raises(InvalidInput):
            layer.values(wrong)


def test_layers_are_found_by_digest_shipped_or_published_and_never_with_other_bytes() -> None:
    own, shipped = layer_of_toml(SHARES), layer_named("self-requests")
    uses = [
        {"layer": shipped.digest, "parameters": {}},
        {"layer": own.digest, "parameters": {"times": 7}},
    ]
    found = active_layers(uses, lambda _: own.encode())
    assert [item.layer for item in found] == [shipped, own]
    assert found[1].values["times"] == 7
    with pytest.raises(InvalidInput, match="hash"):
        active_layers(uses, lambda _: shipped.encode())
    with pytest.raises(NotFound, match="self-requests"):
        layer_named("no such layer")


def test_the_parameters_artefact_names_layers_and_is_as_before_without_them() -> None:
    plain = EvaluationParameters()
    assert "layers" not in dagcbor.decode(plain.encode())
    uses = [{"layer": bytes(32), "parameters": {"x": 1}}]
    with_layers = EvaluationParameters(layers=uses)
    assert EvaluationParameters.decode(with_layers.encode()) == with_layers
    empty = dagcbor.decode(plain.encode()) | {"layers": []}
    with pytest.raises(InvalidInput, match="left out"):
        EvaluationParameters.decode(dagcbor.encode(empty))
    for wrong in ([{}], [{"layer": b"", "parameters": {}}], [uses[0] | {"more": 1}], uses * 33):
        with pytest.raises(InvalidInput, match="layer"):
            EvaluationParameters(layers=wrong)


# --- codes


def test_the_first_layer_decides_and_the_function_sees_only_the_rest() -> None:
    jobs = [
        request("a", "fine"),
        request("a", "error", **{"status code": 502}),
        request("a", "self", client_id="a"),
        request("a", "self and fast", client_id="a", request_duration_sec=1),
        request("b", "fast", request_duration_sec=1),
        request("b", "fast hit", request_duration_sec=1, cache_hit=True),
        request("c", "nothing", client_id=None, num_bytes_sent=None),
    ]
    epoch = input_of_jobs(jobs, TYPES)
    layers = [use(layer_named(name)) for name in ("self-requests", "fast-requests")]
    parameters = {"success": {"field": "status code", "allowed": [200]}}
    result = evaluate_layered(count.FUNCTION, epoch, parameters, layers)
    assert reasons(epoch, result) == {
        "fine": "ok",
        "error": "unsuccessful",
        "self": "self-requests: own_client",
        "self and fast": "self-requests: own_client",
        "fast": "fast-requests: cache_miss",
        "fast hit": "fast-requests: cache_hit",
        "nothing": "ok",
    }
    weights = dict(zip(epoch.node_ids, result.weights, strict=True))
    assert weights == {"a": 1, "b": 0, "c": 1}  # b has jobs, so it does not abstain
    assert result.summary == {
        "jobs": 7,
        "nodes": 3,
        "ok": 2,
        "unsuccessful": 1,
        "abuse": 4,
        "layer self-requests": 2,
        "layer fast-requests": 2,
        "self-requests: own_client": 2,
        "fast-requests: cache_hit": 1,
        "fast-requests: cache_miss": 1,
    }


def test_no_layers_change_nothing() -> None:
    epoch = input_of_jobs([request("a", "1"), request("b", "2")], TYPES)
    assert evaluate_layered(count.FUNCTION, epoch, {}, []) == count.evaluate(epoch, {})
    unflagged = evaluate_layered(count.FUNCTION, epoch, {}, [use(layer_named("self-requests"))])
    assert (unflagged.weights, unflagged.verdicts) == ((1, 1), bytes(2))


def test_an_epoch_without_jobs_has_groups_of_nothing() -> None:
    epoch = input_of_jobs([], TYPES)
    assert flag(epoch.jobs, [use(layer_of_toml(SHARES))]).tolist() == []


def test_a_missing_field_is_an_error_unless_the_layer_can_do_without() -> None:
    bare = pa.schema({name: TYPES[name] for name in ("num_bytes_sent", "request_duration_sec")})
    check_columns([use(layer_named("self-requests")), use(layer_named("fast-requests"))], bare)
    with pytest.raises(InvalidInput, match=r"layers.shares: the jobs have no field 'client_id'"):
        check_columns([use(layer_of_toml(SHARES))], bare)
    wrong = pa.schema({"num_bytes_sent": pa.string(), "request_duration_sec": pa.int64()})
    with pytest.raises(InvalidInput, match="is not integer"):
        check_columns([use(layer_named("fast-requests"))], wrong)


def test_a_verdict_that_is_no_reason_and_a_sum_that_overflows_are_errors() -> None:
    epoch = input_of_jobs([request("a", "1")], TYPES)
    one = layer_named("self-requests")
    plain = dagcbor.decode(one.encode())
    for verdict, problem in (("2", "not one of its layer's reasons"), ("300", "range|cast")):
        layer = Layer.decode(dagcbor.encode(plain | {"verdict": verdict}))
        with pytest.raises(InvalidInput, match=problem):
            flag(epoch.jobs, [use(layer)])
    great = plain | {"verdict": "CAST(170141183460469231731687303715884105727 AS HUGEINT) * 2 > 1"}
    with pytest.raises(InvalidInput, match=r"[Oo]verflow"):
        flag(epoch.jobs, [use(Layer.decode(dagcbor.encode(great)))])


def plain_shares(jobs: list[dict[str, Any]], times: int, least: int) -> dict[str, int]:
    """The layer `SHARES` once more, in plain Python."""
    by_node: dict[str, list[str | None]] = {}
    clients: dict[str, int] = {}
    for job in jobs:
        client = job["client_id"]
        by_node.setdefault(job["node_id"], []).append(client)
        if client is not None:
            clients[client] = clients.get(client, 0) + 1
    counts = sorted(map(len, by_node.values()))
    middle = counts[(len(counts) + 1) // 2 - 1]
    codes = {}
    for job in jobs:
        mine, client = by_node[job["node_id"]], job["client_id"]
        known = [one for one in mine if one is not None]
        most = max((known.count(one) for one in known), default=0)
        single = most * 2 > len(mine) and clients.get(client, 0) >= least
        codes[job["job_id"]] = 1 if len(mine) > times * middle else 2 if single else 0
    return codes


def test_groups_of_groups_agree_with_plain_python_however_the_jobs_are_cut_and_ordered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dice = random.Random(7)
    jobs = [
        request(
            dice.choice("aabcdefgh" + "a" * 8),
            str(index),
            client_id=dice.choice(["x", "x", "y", "z", None]),
        )
        for index in range(300)
    ]
    layers = [use(layer_of_toml(SHARES), times=2, least=70)]
    expected = plain_shares(jobs, 2, 70)
    assert set(expected.values()) == {0, 1, 2}
    epoch = input_of_jobs(jobs, TYPES)
    for rows in (1, 7, 64, 1_000):
        monkeypatch.setattr("meridian.evaluate.flagging.CHUNK_ROWS", rows)
        codes = flag(epoch.jobs, layers)
        ids = epoch.jobs.column("job_id").to_pylist()
        assert dict(zip(ids, codes.tolist(), strict=True)) == expected
    for threads in (1, 2, 3, 4):
        order = dice.sample(range(len(jobs)), len(jobs))
        mixed = epoch.jobs.take(pa.array(order))
        codes = flag(mixed, layers, threads)
        ids = mixed.column("job_id").to_pylist()
        assert dict(zip(ids, codes.tolist(), strict=True)) == expected


def test_nodes_are_never_cut_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meridian.evaluate.flagging.CHUNK_ROWS", 4)
    nodes = [0, 0, 1, 1, 1, 1, 1, 1, 1, 2, 3, 3, 3, 4]
    for width in range(1, 15):
        table = pa.concat_tables(
            [pa.table({"node": nodes[at : at + width]}) for at in range(0, len(nodes), width)]
        )
        parts = [part.column("node").to_pylist() for part in whole_nodes(table, [])]
        assert [node for part in parts for node in part] == nodes
        assert all(a[-1] < b[0] for a, b in pairwise(parts))
        assert len(parts) >= 2


def test_every_shipped_layer_reads_and_has_a_digest_of_its_own() -> None:
    layers = shipped_layers()
    assert {"self-requests", "fast-requests"} <= set(layers)
    assert len({layer.digest for layer in layers.values()}) == len(layers)
    for name, layer in layers.items():
        assert layer.name == name
        assert Layer.decode(layer.encode()) == layer
