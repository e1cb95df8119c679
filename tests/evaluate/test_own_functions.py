"""Functions that a network writes itself: what is accepted, what is refused, and that they give the same everywhere."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from epoch_builder import input_of_jobs

from meridian.cli.main import main
from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.bundle import Bundle
from meridian.evaluate.function import EpochInput
from meridian.evaluate.own_functions import PYTHON_ENGINE, SQL_ENGINE, function_of
from meridian.evaluate.python_subset import check_source
from meridian.evaluate.registry import FUNCTIONS, resolve
from meridian.networks.function_folder import read_bundle, write_folder
from meridian.networks.sources import NETWORKS
from meridian.node.sandbox.runner import PythonSandbox

SHARED = {
    "name": "own",
    "version": 1,
    "columns": {"size": "num_bytes_sent", "client": "client_id"},
    "inputs": [],
    "reasons": ["ok", "large", "known"],
    "parameters": {
        "most": {"kind": "integer", "default": 100, "minimum": 1},
        "names": {"kind": "texts", "default": ["c9"]},
    },
}
SQL: dict[str, Any] = SHARED | {
    "kind": "sql",
    "engine": SQL_ENGINE,
    "verdict": "CASE WHEN size > $most THEN 1 WHEN list_contains($names, client) THEN 2 ELSE 0 END",
    "weight": "coalesce(sum(size) FILTER (WHERE code = 0), 0)",
    "totals": {"largest": "max(size)"},
}
SOURCE = """
def evaluate(nodes, jobs, parameters, inputs):
    weights, verdicts = [None] * len(nodes), []
    for node, size, client in zip(jobs["node"], jobs["size"], jobs["client"]):
        code = 1 if size > parameters["most"] else 2 if client in parameters["names"] else 0
        verdicts.append(code)
        weights[node] = (weights[node] or 0) + (0 if code else size)
    return weights, verdicts
"""
PYTHON: dict[str, Any] = SHARED | {"kind": "python", "engine": PYTHON_ENGINE, "source": SOURCE}


@pytest.fixture(scope="module")
def epoch() -> EpochInput:
    jobs = [
        {"node_id": f"n{k % 3}", "job_id": f"j{k}", "num_bytes_sent": k * 7 % 130, "client_id": f"c{k % 10}"}
        for k in range(60)
    ]  # fmt: skip
    return input_of_jobs(jobs, {"num_bytes_sent": pa.int64(), "client_id": pa.string()})


def test_sql_and_python_give_the_same(epoch: EpochInput) -> None:
    sql = function_of(Bundle.of(SQL), None)
    python = function_of(Bundle.of(PYTHON), PythonSandbox())
    for parameters in ({}, {"most": 3}, {"names": []}):
        one, other = sql.evaluate(epoch, parameters), python.evaluate(epoch, parameters)
        assert one.weights == other.weights
        assert one.verdicts == other.verdicts
        assert one.summary["ok"] == other.summary["ok"]
    assert sql.evaluate(epoch, {}).summary["largest"] == 374
    assert sql.digest != python.digest


def test_a_published_bundle_is_run_and_another_one_refused(epoch: EpochInput) -> None:
    bundle = Bundle.of(SQL)
    assert Bundle.decode(bundle.encode()) == bundle
    found = resolve(bundle.digest, lambda _: bundle.encode(), None)
    assert found.evaluate(epoch, {}) == function_of(bundle, None).evaluate(epoch, {})
    changed = Bundle.of(SQL | {"version": 2}).encode()
    with pytest.raises(InvalidInput, match="do not hash"):
        resolve(bundle.digest, lambda _: changed, None)
    shipped = FUNCTIONS["count"]
    assert resolve(shipped.digest, lambda _: b"never asked", None) is shipped
    old = Bundle.of(SQL | {"engine": "duckdb 0.1"})
    with pytest.raises(NotFound, match=r"duckdb 0\.1"):
        resolve(old.digest, lambda _: old.encode(), None)
    with pytest.raises(NotFound, match="Python"):
        function_of(Bundle.of(PYTHON), None)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": "Own"}, "name"),
        ({"version": 0}, "version"),
        ({"reasons": ["fine"]}, "reasons"),
        ({"reasons": ["ok", "ok"]}, "reasons"),
        ({"columns": {}}, "columns"),
        ({"columns": {"code": "x"}}, "columns"),
        ({"columns": {"most": "x"}}, "parameters"),
        ({"parameters": {"most": {"kind": "float"}}}, "parameters.most"),
        ({"parameters": {"most": {"kind": "integer", "default": 0, "minimum": 1}}}, "most"),
        ({"more": 1}, "more"),
        ({"engine": 3}, "bundle"),
    ],
)
def test_a_malformed_bundle_is_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        Bundle.of(SQL | change)
    with pytest.raises(InvalidInput, match="weight"):
        Bundle.of({name: value for name, value in SQL.items() if name != "weight"})


@pytest.mark.parametrize(
    ("parameters", "named"),
    [({"mots": 1}, "mots"), ({"most": 0}, "most"), ({"most": 1.5}, "most"), ({"most": 1 << 63}, "most"),
     ({"names": "c1"}, "names"), ({"names": [1]}, "names")],
)  # fmt: skip
def test_parameters_are_checked(parameters: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        Bundle.of(SQL).check(parameters)


@pytest.mark.parametrize(
    ("key", "sql", "why"),
    [
        ("verdict", "random()", "random"),
        ("verdict", "size / 2", "/"),
        ("verdict", "(SELECT 1)", "subquery"),
        ("verdict", "0; DROP TABLE jobs", "Only SELECT"),
        ("verdict", "other", "other"),
        ("verdict", "$other", r"\$other"),
        ("verdict", "sum(size)", "sums up jobs"),
        ("verdict", "code", "code"),
        ("weight", "size", "does not sum up"),
        ("weight", "avg(size)", "avg"),
        ("weight", "first(size)", "first"),
        ("totals", {"ok": "sum(size)"}, "counted anyway"),
        ("totals", {"x": 1}, r"totals\.x"),
        ("inputs", ["x"], "inputs"),
    ],
)
def test_sql_that_is_not_exact_is_refused(key: str, sql: object, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        function_of(Bundle.of(SQL | {key: sql}), None)


def test_weights_and_verdicts_must_be_what_they_should_be(epoch: EpochInput) -> None:
    for change, named in (
        ({"weight": "sum(size) - 100000"}, "does not fit"),
        ({"weight": "bool_and(size > 0)"}, "not an integer"),
        ({"weight": "min(client)"}, "not an integer"),
        ({"verdict": "3"}, "verdict: of a job is 3"),
        ({"verdict": "size * 1000"}, "jobs"),
        ({"verdict": "NULL"}, "verdict: of a job is none"),
        ({"columns": {"size": "bytes", "client": "client_id"}}, r"columns\.size"),
    ):
        with pytest.raises(InvalidInput, match=named):
            function_of(Bundle.of(SQL | change), None).evaluate(epoch, {})


HEAD = "def evaluate(nodes, jobs, parameters, inputs):\n    "


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("x = 1", "0 functions"),
        ("def evaluate(jobs):\n    pass", "does not take"),
        ("def f(:", "no Python"),
        (HEAD + "return 1 / 2", "line 2"),
        (HEAD + "x = 1\n    x /= 2", "line 3"),
        (HEAD + "return 0.5", "float"),
        (HEAD + "return 2 ** nodes", "power"),
        (HEAD + "return {1, 2}", "set"),
        (HEAD + "return nodes.__class__", "__class__"),
        (HEAD + "return __builtins__", "__builtins__"),
        ("import os\n" + HEAD + "pass", "line 1"),
        ("from os import path\n" + HEAD + "pass", "os import path"),
        ("from math import sqrt\n" + HEAD + "pass", "sqrt"),
        ("class A:\n    pass\n" + HEAD + "pass", "class"),
    ],
)
def test_python_beyond_the_subset_is_refused(source: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        check_source(source)


@pytest.mark.parametrize("kind", ["sql", "python"])
def test_from_init_to_a_bundle(tmp_path: Path, kind: str) -> None:
    folder, runner = tmp_path / "f", CliRunner()
    assert runner.invoke(main, ["function", "init", str(folder), "--kind", kind]).exit_code == 0
    tested = runner.invoke(main, ["function", "test", str(folder), "--json", "--orders", "3"])
    document = json.loads(tested.output)
    assert document["differences"] == []
    assert len(document["epochs"]) == 2
    assert document["epochs"][0]["summary"]["too_slow"] > 0
    stricter = runner.invoke(
        main, ["function", "test", str(folder), "--json", "--orders", "1", "--parameters", '{"slow_ms": 1}']
    )  # fmt: skip
    assert json.loads(stricter.output)["epochs"][0]["summary"]["ok"] == 0
    out = tmp_path / "f.cbor"
    published = runner.invoke(
        main, ["function", "publish", str(folder), "--to", str(tmp_path / "public"), "-o", str(out), "--json"]
    )  # fmt: skip
    said = json.loads(published.output)
    bundle = read_bundle(out)
    assert bundle == read_bundle(folder)
    assert said["digest"] == bundle.digest.hex()
    assert (tmp_path / "public" / "objects" / said["cid"]).read_bytes() == out.read_bytes()
    assert (
        json.loads(runner.invoke(main, ["function", "show", str(out), "--json"]).output)["kind"]
        == kind
    )
    again = runner.invoke(main, ["function", "init", str(folder), "--kind", kind])
    assert again.exit_code == 2
    network = NETWORKS["saturn"].with_function(bundle.encode(), {"slow_ms": 7})
    assert network.evaluation_function.digest == bundle.digest
    assert network.reward_rule == 0
    with pytest.raises(InvalidInput, match="slow_ms"):
        NETWORKS["saturn"].with_function(bundle.encode(), {"slow_ms": 0})
    with pytest.raises(InvalidInput, match="columns"):
        NETWORKS["attestation"].with_function(bundle.encode(), {})


def test_a_function_that_depends_on_order_is_found(tmp_path: Path) -> None:
    write_folder(tmp_path, "python")
    path = tmp_path / "function.py"
    path.write_text(
        path.read_text().replace(
            "    return weights, verdicts",
            "    weights[jobs['node'][0]] += 1\n    return weights, verdicts",
        )
    )
    done = CliRunner().invoke(main, ["function", "test", str(tmp_path), "--orders", "5"])
    assert done.exit_code == 1
    assert "differs: epoch 1: weights" in done.output
    listed = CliRunner().invoke(main, ["function", "list", "--json"])
    assert {one["name"] for one in json.loads(listed.output)} == set(FUNCTIONS)
