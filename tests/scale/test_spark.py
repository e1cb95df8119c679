"""Within Spark: the pool gives what a loop gives, and a network's SQL gives the same bytes or an error, never others."""

import os
from functools import partial

import pytest
from tests.measure.measure_schemas import SATURN, publish, saturn_record
from tests.scale import test_pools as tasks
from tests.scale.sharded_epochs import shards_of
from tests.scale.test_sharded_evaluation import CASES, OWN, big_epoch

from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.bundle import Bundle
from meridian.evaluate.function import EpochInput
from meridian.evaluate.layered import evaluate_layered
from meridian.evaluate.own_functions import SQL_ENGINE, function_of
from meridian.measure.commitment import load_epoch
from meridian.primitives.cid import cid_text
from meridian.scale.evaluating import Rule, evaluate_sharded
from meridian.scale.pool import open_pool
from meridian.scale.settings import EngineKind, EngineSettings
from meridian.scale.spark_sql import SegmentFiles, evaluate_on_spark, spark_words

pytest.importorskip("pyspark", reason="Spark is an extra: pip install meridian-ie[spark]")


@pytest.fixture(scope="module")
def pool():
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [os.environ.get("PYTHONPATH", ""), str(tasks.__file__).rpartition("/tests/")[0]]
    )
    with open_pool(EngineSettings(kind=EngineKind.SPARK, scheduler="local[2]")) as opened:
        yield opened


def test_results_are_those_of_a_loop_also_when_a_worker_is_killed(pool, tmp_path):
    told = []
    assert pool.map(tasks.squared, range(9), told.append) == [at * at for at in range(9)]
    assert told == list(range(1, 10))
    with pytest.raises(InvalidInput, match="item 2"):
        pool.map(tasks.refused, range(12))
    found = pool.map(partial(tasks.kill_once, tmp_path / "killed"), range(6))
    assert (tmp_path / "killed").exists()
    assert [square for _, square in found] == [0, 1, 4, 9, 16, 25]
    epoch, (function, parameters, layers) = big_epoch(), CASES["saturn"]
    rule = Rule(function.bundle, parameters, layers)
    made = evaluate_sharded(rule, function, shards_of(epoch, 300, 90), pool)
    assert made.evaluation == evaluate_layered(function, epoch, parameters, layers)


def bundle_of(**change):
    code = {
        "name": "own",
        "version": 1,
        "kind": "sql",
        "engine": SQL_ENGINE,
        "columns": {"size": "num_bytes_sent", "took": "request_duration_sec", "hit": "cache_hit"},
        "inputs": [],
        "reasons": ["ok", "small", "listed"],
        "parameters": {
            "least": {"kind": "integer", "default": 2, "minimum": 0},
            "codes": {"kind": "integers", "default": [5]},
        },
        "verdict": "CASE WHEN size % 7 < $least THEN 1 WHEN list_contains($codes, size // 100) THEN 2 ELSE 0 END",
        "weight": "coalesce(sum(size * 1000) FILTER (WHERE code = 0), 0) // 3 + count(*)",
        "totals": {"longest": "max(took)", "hits": "count(*) FILTER (WHERE hit)"},
    }
    return Bundle.of(code | change)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    made = publish(SATURN, [saturn_record(at) for at in range(123)], rows_max=17)
    folder = tmp_path_factory.mktemp("segments")
    for digest, data in made.store.items():
        (folder / cid_text(digest)).write_bytes(data)
    nodes, jobs = load_epoch(made.manifest, SATURN, made.fetch)
    segments = made.manifest.segments
    files = SegmentFiles(
        tuple(folder / cid_text(segment.digest) for segment in segments),
        tuple(segment.rows for segment in segments),
        nodes.ids,
    )
    return EpochInput(3, nodes.ids, nodes.keys, nodes.payees, jobs, {}), files


@pytest.mark.parametrize("parameters", [{}, {"least": 4, "codes": [1, 2, 3]}])
def test_the_same_sql_gives_the_same_bytes(pool, published, parameters):
    epoch, files = published
    here = function_of(bundle_of(), None).evaluate(epoch, parameters)
    assert len(set(here.verdicts)) > 1
    assert evaluate_on_spark(pool._session, bundle_of(), parameters, files) == here
    simple = Bundle.decode(OWN.bundle)
    assert evaluate_on_spark(pool._session, simple, {}, files) == OWN.evaluate(epoch, {})


def test_what_does_not_fit_is_an_error_and_never_another_number(pool, published):
    _, files = published
    wide = "sum(CAST(size + 1 AS HUGEINT) * 9223372036854775807 * 9223372036854775807)"
    for weight in (wide, "sum(size * 9223372036854775807)"):
        with pytest.raises(Exception, match=r"OVERFLOW|OUT_OF_RANGE|out of range|overflow"):
            evaluate_on_spark(pool._session, bundle_of(weight=weight), {}, files)


@pytest.mark.parametrize(
    "sql", ["length(x)", "x = 'it''s'", "lower(x) = 'a'", "x = 'a\\b'", '"x" = 1', "x like 'a'"]
)
def test_what_spark_reads_otherwise_is_refused(sql):
    with pytest.raises(NotFound):
        spark_words(sql, {})


def test_words_of_the_dialect():
    words = spark_words("sum(a // $n) + count(*) -- rest\n + CAST(b AS HUGEINT)", {"n": "BIGINT"})
    assert words == (
        "sum (CAST(( a div CAST(:n AS BIGINT) ) AS DECIMAL(38,0))) + count ( * ) + "
        "CAST ( b AS DECIMAL(38,0) )"
    )
