"""What an evaluator of `offchain-store` makes of objects: those that are not what was told do not count, with a reason."""

import io
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.evaluate.functions.count import FUNCTION
from meridian.journey.models.offchain_world import Job, honest_jobs, segment
from meridian.measure.columns import segment_columns
from meridian.measure.epoch import Calendar
from meridian.models.offchain import Rules, evaluate_store
from meridian.models.offchain_statements import (
    UNAVAILABLE,
    Located,
    OutcomeArtefact,
    locations_chain,
)
from meridian.networks import comparison
from meridian.primitives import dagcbor
from meridian.primitives.cid import digest_of
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, NodeKey, node_key

EPOCH = comparison.FIRST_EPOCH
RULES = Rules(
    comparison.SCHEMA,
    Calendar(comparison.GENESIS_S, comparison.EPOCH_SECONDS, EPOCH),
    FUNCTION,
    comparison.DEFINITION.parameters,
)
HOUR_LATER = comparison.GENESIS_S + comparison.EPOCH_SECONDS


def outcome(objects, told=None, given_up=(), budget=1_000):
    """Evaluate objects by node id; `told` replaces what a node says of its own."""
    located = {
        node: Located(node_key(node), digest_of(data), told.get(node, 30) if told else 30)
        for node, data in objects.items()
    }
    by_digest = {digest_of(data): data for data in objects.values()}
    payees = {node_key(node): Address(sha256(node.encode())[:20]) for node in objects}
    return evaluate_store(
        RULES,
        EPOCH,
        list(located.values()),
        payees,
        budget,
        lambda one: by_digest.get(one.object),
        given_up,
    )


def test_weights_are_the_numbers_of_jobs_and_the_order_of_locations_does_not_matter() -> None:
    objects = {f"n{at}": segment(f"n{at}", honest_jobs(at)[: at + 1]) for at in range(5)}
    told = {f"n{at}": at + 1 for at in range(5)}
    found = outcome(objects, told)
    assert {found.node_ids[key]: weight for key, weight in found.weights.items()} == told
    assert sum(found.amounts.values()) == found.claims.total == 1_000
    assert found == outcome(dict(reversed(objects.items())), told)


@pytest.mark.parametrize(
    ("data", "count", "reason"),
    [
        (segment("other", honest_jobs(0)), 30, "node_id"),
        (segment("n", honest_jobs(0)), 31, "count: 31 jobs were told, and it holds 30"),
        (segment("n", [*honest_jobs(0), honest_jobs(0)[3]]), 31, "job_id"),
        (segment("n", [Job("late", HOUR_LATER - 1, HOUR_LATER)]), 1, "ended_us: 1 jobs do not"),
        (segment("n", [Job("back", HOUR_LATER - 1, HOUR_LATER - 2)]), 1, "ended_us: a job ends"),
        (segment("n", []), 0, "empty_batch"),
        (b"no segment", 30, "parquet"),
    ],
)
def test_an_object_that_is_not_what_was_told_does_not_count(data, count, reason) -> None:
    found = outcome({"n": data, "good": segment("good", honest_jobs(1))}, {"n": count})
    assert found.excluded[node_key("n")].startswith(reason)
    assert list(found.weights) == [node_key("good")]
    assert found.claims.total == 1_000


def test_what_is_not_to_be_had_does_not_count() -> None:
    objects = {node: segment(node, honest_jobs(at)) for at, node in enumerate(("n", "m"))}
    assert outcome(objects, given_up={node_key("n")}).excluded == {node_key("n"): UNAVAILABLE}
    told = [Located(node_key("n"), bytes(32), 30)]
    nobody = evaluate_store(RULES, EPOCH, told, {}, 1_000, lambda _one: b"another object")
    assert (nobody.excluded, nobody.claims.total) == ({node_key("n"): UNAVAILABLE}, 0)


def test_a_network_with_an_economy_is_refused() -> None:
    parameters = replace(RULES.parameters, reliability={"tolerance_ppm": 10})
    with pytest.raises(InvalidInput, match="no reliability"):
        Rules(RULES.schema, RULES.calendar, FUNCTION, parameters)


keys = st.binary(min_size=32, max_size=32).map(NodeKey)


@settings(max_examples=40)
@given(
    st.dictionaries(keys, st.integers(0, 2**128 - 1), max_size=5),
    st.dictionaries(keys, st.text(max_size=20), max_size=3),
)
def test_an_outcome_has_one_encoding(weights, excluded) -> None:
    one = OutcomeArtefact(3, weights, excluded)
    assert OutcomeArtefact.decode(one.encode()) == one


def test_bad_outcomes_are_refused() -> None:
    good = {"v": 1, "epoch": 3, "weights": bytes(48), "excluded": []}
    assert OutcomeArtefact.decode(dagcbor.encode(good)).weights == {bytes(32): 0}
    for change in (
        {"v": 2},
        {"epoch": "3"},
        {"weights": bytes(47)},
        {"weights": bytes(96)},
        {"weights": []},
        {"excluded": [[bytes(31), "x"]]},
        {"excluded": [["x", "x"]]},
        {"excluded": {}},
        {"more": 1},
    ):
        with pytest.raises(InvalidInput):
            OutcomeArtefact.decode(dagcbor.encode({**good, **change}))


def test_the_chain_of_locations_holds_order_and_every_field() -> None:
    one, two = Located(node_key("n"), bytes(32), 1), Located(node_key("m"), bytes(32), 1)
    ends = {
        locations_chain(located)
        for located in ([], [one], [two], [one, two], [two, one], [replace(one, count=2)])
    }
    assert len(ends) == 6
    assert locations_chain([]) == bytes(32)


def test_an_object_that_would_fill_the_memory_is_refused_before_it_is_read() -> None:
    """A text of a megabyte, once in a dictionary, 300,000 times in the column: 300 GB."""
    rows = 300_000
    columns = segment_columns(comparison.SCHEMA)
    long = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(rows, dtype=np.int32)), pa.array(["x" * (1 << 20)])
    )
    values = {
        pa.string(): long,
        pa.binary(32): pa.repeat(pa.scalar(bytes(32), pa.binary(32)), rows),
    }
    ones = pa.array(np.ones(rows, dtype=np.int64))
    table = pa.table(
        {
            one.name: values[one.type] if one.type in values else ones.cast(one.type)
            for one in columns
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", store_schema=False)
    assert len(sink.getvalue()) < 1 << 20
    found = outcome({"n": sink.getvalue()}, {"n": rows})
    assert "128 bytes" in found.excluded[node_key("n")]
