"""The union of contributions against plain Python, whatever the pieces; and the second step's comparison."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.measure.columns import segment_columns
from meridian.measure.row import rebuild_rows
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.measure.second_step import compare_sums, sum_names
from meridian.measure.union import Merge, Piece
from meridian.primitives.ids import Address, job_key, node_key
from meridian.primitives.sumtree import LaneKind

SCHEMA = NetworkSchema(
    id=5,
    name="union",
    evaluation_fields=(Field.integer("size"),),
    additional_fields=(),
    lanes=Lanes(LaneKind.PAIR_U64, ("size",)),
)
NODES = ("alpha", "beta", "gamma", "delta")

Job = tuple[str, str, int]
"""Node, job, size."""


def order_of(job: Job) -> tuple[bytes, bytes]:
    return node_key(job[0]), job_key(job[1])


def table_of(jobs: Sequence[Job]) -> pa.Table:
    rows = [
        {
            "node_id": node,
            "job_id": job,
            "flags": 0,
            "started_us": 1,
            "ended_us": 2,
            "batch_seed": bytes(32),
            "size": size,
        }
        for node, job, size in jobs
    ]
    return pa.Table.from_pylist(rows, schema=segment_columns(SCHEMA))


def pieces_of(source: int, jobs: Sequence[Job], length: int) -> Iterator[Piece]:
    whole = Piece(source, table_of(jobs), rebuild_rows(SCHEMA, table_of(jobs)))
    for start in range(0, len(jobs), length):
        yield whole.slice(start, length)


def plain_union(contributions: Sequence[Sequence[Job]]) -> tuple[list[Job], list[list[int]]]:
    """The law in plain Python: first come, first counted."""
    counted: dict[tuple[str, str], Job] = {}
    shares = []
    for jobs in contributions:
        share = [len(jobs), 0, 0, 0]
        for job in jobs:
            first = counted.setdefault(job[:2], job)
            share[1 if first is job else 2 if first == job else 3] += 1
        shares.append(share)
    return sorted(counted.values(), key=order_of), shares


jobs_strategy = st.dictionaries(
    st.tuples(st.sampled_from(NODES), st.integers(0, 12).map(str)), st.integers(1, 2), max_size=30
).map(lambda found: sorted([(*key, size) for key, size in found.items()], key=order_of))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(jobs_strategy, min_size=1, max_size=4),
    st.lists(st.integers(1, 9), min_size=4, max_size=4),
)
def test_the_union_is_what_plain_python_finds_whatever_the_pieces(contributions, lengths) -> None:
    merge = Merge(len(contributions))
    streams = [pieces_of(at, jobs, lengths[at]) for at, jobs in enumerate(contributions)]
    found = list(merge.chunks(streams))
    wanted, shares = plain_union(contributions)
    table = table_of(wanted)
    got = pa.concat_tables([segment_columns(SCHEMA).empty_table(), *(part for part, _ in found)])
    assert got.equals(table)
    rows = np.concatenate([np.zeros((0, 100), np.uint8), *(part for _, part in found)])
    assert (rows == rebuild_rows(SCHEMA, table)).all()
    assert [[s.jobs, s.counted, s.repeated, s.differing] for s in merge.shares] == shares


def test_nodes_that_committed_themselves_come_behind_one_another_in_one_stream() -> None:
    own = sorted([("alpha", "1", 9), ("beta", "2", 2)], key=order_of)
    alone = {name: source for source, name in enumerate(("alpha", "beta"))}
    aggregator = sorted([("alpha", "1", 1), ("beta", "2", 2), ("beta", "3", 3)], key=order_of)
    chained = (piece for job in own for piece in pieces_of(alone[job[0]], [job], 1))
    merge = Merge(3)
    found = list(merge.chunks([chained, pieces_of(2, aggregator, 2)]))
    jobs = [
        tuple(row[name] for name in ("node_id", "job_id", "size"))
        for table, _ in found
        for row in table.to_pylist()
    ]
    assert jobs == sorted([("alpha", "1", 9), ("beta", "2", 2), ("beta", "3", 3)], key=order_of)
    shares = [(s.counted, s.repeated, s.differing) for s in merge.shares]
    assert shares == [(1, 0, 0), (1, 0, 0), (1, 1, 1)]


def test_the_second_step_says_how_far_own_sums_are_from_each_commitment() -> None:
    one, other, third = (Address(bytes([n]) * 20) for n in (1, 2, 3))

    def said(count: int, size: int) -> bytes:
        return count.to_bytes(8, "big") + size.to_bytes(8, "big") + bytes(8)

    found = compare_sums(
        said(7, 700), {other: said(5, 900), one: said(7, 700), third: None}, LaneKind.PAIR_U64
    )
    assert [row.aggregator for row in found] == [one, other, third]
    assert [row.difference for row in found] == [(0, 0, 0), (2, -200, 0), (7, 700, 0)]
    assert [row.agrees for row in found] == [True, False, False]
    assert sum_names(("size",), LaneKind.PAIR_U64) == ("jobs", "size", "-")
    with pytest.raises(InvalidInput, match="annotation"):
        compare_sums(bytes(23), {}, LaneKind.PAIR_U64)
