"""The epoch builder gives the commitment of all rows at once, however they are cut, and says what is wrong with them."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_schemas import SATURN, SPARK, payee

from meridian.errors import InvalidInput
from meridian.measure import epoch_builder
from meridian.measure.commitment import commit_rows, job_tree
from meridian.measure.epoch_builder import GROUP, EpochBuilder
from meridian.measure.forest import forest_roots
from meridian.primitives.hashing import JOB_NODE, ByteMatrix
from meridian.primitives.ids import node_key
from meridian.primitives.sumtree import EMPTY_ROOT

EPOCH = 7
EDGES = [1, 2, 255, 256, 257, 511, 512, 513, 768, 1025]


def rows_of(sizes: list[int], seed: int = 0) -> tuple[list[str], ByteMatrix]:
    """Nodes in order, and rows of so many jobs of each, in order, with sums that fit."""
    rows = np.random.default_rng(seed).integers(0, 256, (sum(sizes), 100), dtype=np.uint8)
    rows[:, 52:56] = rows[:, 60:64] = 0
    names = sorted((f"node-{at}" for at in range(len(sizes))), key=node_key)
    ends = np.cumsum(sizes).tolist()
    for start, end in zip([0, *ends], ends, strict=False):
        keys = np.ascontiguousarray(rows[start:end, 4:36]).view("S32").ravel()
        rows[start:end] = rows[start:end][np.argsort(keys)]
    return names, rows


def column(names: list[str], sizes: list[int], *, encoded: bool = False) -> pa.ChunkedArray:
    ids = pa.chunked_array([pa.array(np.repeat(np.array(names, dtype=object), sizes), pa.string())])
    return ids.dictionary_encode() if encoded else ids


@given(
    st.lists(st.one_of(st.sampled_from(EDGES), st.integers(1, 40)), min_size=1, max_size=8),
    st.lists(st.integers(1, 700), min_size=1, max_size=6),
    st.sampled_from([64, 257, 1 << 16]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_any_cut_gives_the_commitment_of_the_whole(
    sizes: list[int], cuts: list[int], slice_rows: int, encoded: bool
) -> None:
    names, rows = rows_of(sizes, sum(cuts))
    ids = column(names, sizes, encoded=encoded)
    payees = {name: payee(name) for name in names}
    whole = commit_rows(SATURN, EPOCH, column(names, sizes), rows, payees)
    level8: list[ByteMatrix] = []
    builder = EpochBuilder(SATURN, EPOCH, level8.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epoch_builder, "SLICE_ROWS", slice_rows)
        start = 0
        while start < len(rows):
            size = cuts[start % len(cuts)]
            builder.add(ids.slice(start, size), rows[start : start + size])
            start += size
    made = builder.finish(payees)
    assert (made.root, made.annotation, made.nodes.ids) == (
        whole.root,
        whole.annotation,
        whole.nodes.ids,
    )
    assert (made.nodes.rows == whole.nodes.rows).all()
    assert builder.jobs == len(rows)
    groups = -(-np.array(sizes) // GROUP)
    roots = forest_roots(np.concatenate(level8), groups, JOB_NODE, SATURN.lanes.kind)
    assert (roots == whole.nodes.rows[:, 60:]).all()


def test_level_eight_is_that_of_the_whole_tree() -> None:
    names, rows = rows_of([600])
    level8: list[ByteMatrix] = []
    builder = EpochBuilder(SATURN, EPOCH, level8.append)
    for start in range(0, 600, 100):
        builder.add(column(names, [100]), rows[start : start + 100])
    builder.finish({"node-0": payee("node-0")})
    parts = [job_tree(rows[at : at + GROUP], SATURN.lanes.kind).root for at in (0, 256, 512)]
    assert np.concatenate(level8).tobytes() == b"".join(parts)


def test_an_epoch_without_jobs_has_the_empty_tree() -> None:
    made = EpochBuilder(SATURN, EPOCH).finish({})
    whole = commit_rows(SATURN, EPOCH, column([], []), rows_of([])[1], {})
    assert made.root == whole.root
    assert made.annotation == EMPTY_ROOT[32:]


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_wrong_order_is_refused_also_across_a_cut(cut: int) -> None:
    names, rows = rows_of([4, 2])

    def add(order: list[int], nodes: list[str]) -> None:
        builder = EpochBuilder(SATURN, EPOCH)
        ids = pa.array(nodes)
        builder.add(ids[:cut], rows[order[:cut]])
        builder.add(ids[cut:], rows[order[cut:]])

    a, b = names
    add([0, 1, 2, 3, 4, 5], [a, a, a, a, b, b])
    with pytest.raises(InvalidInput, match=r"job_id.*does not follow"):
        add([0, 1, 1, 2, 4, 5], [a, a, a, a, b, b])
    with pytest.raises(InvalidInput, match=r"job_id.*does not follow"):
        add([0, 3, 1, 2, 4, 5], [a, a, a, a, b, b])
    for nodes in ([b, b, b, a, a, a], [a, b, a, b, a, b], [a, a, b, b, b, a]):
        with pytest.raises(InvalidInput, match=r"node_id.*not sorted"):
            add([0, 1, 2, 3, 4, 5], nodes)


def test_a_node_without_payee_is_named() -> None:
    builder = EpochBuilder(SATURN, EPOCH)
    names, rows = rows_of([1, 1])
    builder.add(column(names, [1, 1]), rows)
    with pytest.raises(InvalidInput, match=f"payees: no payee for '{names[1]}'"):
        builder.finish({names[0]: payee(names[0])})


@pytest.mark.parametrize("jobs", [2, 256, 300, 70_000])
def test_a_sum_that_overflows_is_named_with_its_lane_and_node(jobs: int) -> None:
    names, rows = rows_of([3, jobs, 1])
    rows[:, 52:68] = 0
    rows[3 : 3 + jobs, 60:68] = np.frombuffer(
        (2**64 // jobs + 1).to_bytes(8, "big"), dtype=np.uint8
    )
    builder = EpochBuilder(SATURN, EPOCH)
    with pytest.raises(InvalidInput, match=f"request_duration_sec: the sum of '{names[1]}'"):
        builder.add(column(names, [3, jobs, 1]), rows)


def test_a_sum_of_all_nodes_that_overflows_is_named_with_its_lane() -> None:
    names, rows = rows_of([1, 1])
    rows[:, 52] = 255
    pairs, single = EpochBuilder(SATURN, EPOCH), EpochBuilder(SPARK, EPOCH)
    payees = {name: payee(name) for name in names}
    for builder, lane in ((pairs, "num_bytes_sent"), (single, "num_bytes")):
        builder.add(column(names, [1, 1]), rows)
        with pytest.raises(InvalidInput, match=f"^{lane}: the sum of 'all nodes together'"):
            builder.finish(payees)
