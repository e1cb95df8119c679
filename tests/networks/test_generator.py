"""Made-up traffic: the same bytes everywhere, and everything in it that an evaluation must cope with."""

import hashlib
import json

import pytest

from evaluate.epoch_builder import input_of_table, tables_by_epoch
from meridian.errors import InvalidInput
from meridian.evaluate.functions.saturn import HEALTH_CHECKS, health_checks
from meridian.evaluate.layered import evaluate_layered
from meridian.measure.times import parse_time
from meridian.networks.definition import BATCH_RECORDS, JobSource
from meridian.networks.generator import Draws, Traffic, following, generate

GOLDEN = "06cb155678b1367647ac58b64754a73bc88cdd75b859bcae25d5b45f83698faf"
"""Pinned from one machine, so that every other one is compared with it."""


def fingerprint(source: JobSource) -> str:
    state = hashlib.sha256()
    for batch in source.batches():
        state.update(batch)
    for epoch in source.epochs:
        state.update(source.inputs[epoch][HEALTH_CHECKS])
    return state.hexdigest()


def test_the_draws_are_splitmix64() -> None:
    """The first outputs of the published generator for the state that the stream starts with."""
    start = int.from_bytes(hashlib.sha256(b"7/x").digest()[:8], "big")
    expected, mask = [], (1 << 64) - 1
    for turn in range(1, 4):
        z = (start + turn * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        expected.append((z ^ (z >> 31)) % 1_000_003)
    assert Draws(7).below("x", 3, 1_000_003).tolist() == expected


def test_the_same_seed_gives_the_same_bytes_on_every_machine() -> None:
    source = generate(Traffic(jobs=2_000, nodes=20))
    assert fingerprint(source) == fingerprint(source) == GOLDEN
    assert fingerprint(generate(Traffic(jobs=2_000, nodes=20, seed=2))) != GOLDEN


def test_the_default_traffic_has_fraud_errors_gaps_and_absent_nodes() -> None:
    source = generate(Traffic())
    assert (source.jobs, len(source.nodes), source.n_epochs) == (200_000, 300, 3)
    definition = source.definition
    seen_nodes = []
    for epoch, table in tables_by_epoch(source).items():
        prepared = input_of_table(table, epoch, source.inputs[epoch])
        results = [
            evaluate_layered(
                definition.evaluation_function,
                prepared,
                definition.function_parameters,
                definition.active_layers,
                threads=t,
            )
            for t in (1, 4)
        ]
        assert results[0] == results[1]
        counts = results[0].summary
        frauds = ("layer self-requests", "fast-requests: cache_hit", "fast-requests: cache_miss")
        for reason in ("ok", "no_ttfb", "slow_ttfb", "error", *frauds):
            assert counts[reason] > 100, reason
        assert counts["impossible"] == counts["flagged"] == 0
        flagged_by_two = counts["layer self-requests"] + counts["layer fast-requests"]
        assert counts["abuse"] == flagged_by_two  # made-up clients and contents are all alike
        assert counts["ok"] > counts["jobs"] // 2
        seen_nodes.append(set(prepared.node_ids))
        away = {name for name, (up, _) in health_checks(source.inputs[epoch]).items() if up == 0}
        assert away
        assert not away & seen_nodes[-1]
    assert all(nodes < set(source.nodes) for nodes in seen_nodes)
    assert set.union(*seen_nodes) == set(source.nodes)


def test_further_epochs_have_jobs_of_their_own_in_their_own_time() -> None:
    traffic = Traffic(jobs=500, nodes=20, epochs=2)
    sources = [generate(traffic), *(following(traffic, epoch, 90, 20) for epoch in (3, 4))]
    seen: set[str] = set()
    for source in sources:
        lines = [json.loads(line) for batch in source.batches() for line in batch.splitlines()]
        assert len(lines) == source.jobs
        ids = {line["job_id"] for line in lines}
        assert len(ids) == source.jobs
        assert not ids & seen
        seen |= ids
        ends = [parse_time(line["ended_at"]) // 1_000_000 for line in lines]
        assert source.genesis_s <= min(ends)
        assert max(ends) < source.genesis_s + source.epoch_seconds * source.n_epochs
        assert {line["peer_id"] for line in lines} <= set(sources[0].nodes)
        assert all(HEALTH_CHECKS in source.inputs[epoch] for epoch in source.epochs)
    assert [len(b.splitlines()) for b in sources[1].batches()] == [20, 20, 20, 20, 10]
    with pytest.raises(InvalidInput, match="2 does not follow"):
        following(traffic, 2, 90, 20)


@pytest.mark.parametrize(("jobs", "nodes", "epochs"), [(1, 1, 1), (10, 1, 3), (3, 9, 3)])
def test_small_traffic_is_valid_too(jobs: int, nodes: int, epochs: int) -> None:
    tables = tables_by_epoch(generate(Traffic(jobs=jobs, nodes=nodes, epochs=epochs)))
    assert sum(table.num_rows for table in tables.values()) == jobs


def test_batches_are_bounded_and_in_the_order_of_time() -> None:
    source = generate(Traffic(jobs=25_000, nodes=10))
    batches = list(source.batches())
    assert [batch.count(b"\n") for batch in batches] == [BATCH_RECORDS, BATCH_RECORDS, 5_000]
    ends = [
        row["ended_us"] for table in tables_by_epoch(source).values() for row in table.to_pylist()
    ]
    assert ends == sorted(ends)


@pytest.mark.parametrize("change", [{"jobs": 0}, {"nodes": 0}, {"epochs": 0}, {"epochs": 1_001}])
def test_impossible_traffic_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(InvalidInput):
        Traffic(**change)
