"""Faults are found where they are, and nowhere else."""

import itertools

import numpy as np
import pytest
from honest_aggregator import Aggregator
from hypothesis import given, settings
from hypothesis import strategies as st
from published_epochs import (
    LANES,
    batch,
    from_rows,
    inflated_job_tree,
    inflated_node_tree,
    job_row,
    published,
)

from meridian.disputes.commitment_faults import PublishedEpoch, find_faults
from meridian.disputes.promises import Promise, SortedEpoch, double_receipt, duplicates, omission
from meridian.disputes.ways import RowTree, job_row_tree, sides_of
from meridian.errors import InvalidInput
from meridian.measure.commitment import job_tree
from meridian.measure.epoch import Calendar
from meridian.measure.row import job_leaf
from meridian.primitives.eip712 import Domain
from meridian.primitives.hashing import JOB_NODE, sha256
from meridian.primitives.ids import Address, network_id, node_key
from meridian.primitives.keys import PrivateKey
from meridian.primitives.sumtree import climb, fold

NETWORK = network_id("test")
KEY = PrivateKey(sha256(b"aggregator"))
DOMAIN = Domain(31337, Address(bytes(20)))
CALENDAR = Calendar(1_700_000_000, 600, 10)


def us(epoch: int, offset: int = 0) -> int:
    return CALENDAR.start_us(epoch) + (10 + offset) * 10**6


def jobs_of(epoch: int, nodes: int) -> dict[str, list[bytes]]:
    return {
        f"n{i}": [job_row(f"j{i}-{k}", us(epoch, k)) for k in range(i % 5 + 1)]
        for i in range(nodes)
    }


def tree_of(size: int) -> RowTree:
    rows = sorted((job_row(f"j{i}", us(10)) for i in range(size)), key=lambda row: row[4:36])
    return job_row_tree(np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(size, 100), LANES)


def test_sides_and_neighbours_fit_trees_of_every_shape():
    for size in (*range(1, 20), 31, 32, 33):
        tree = tree_of(size)
        root = tree.tree.root
        for index in range(size):
            leaf, path = job_leaf(tree.rows[index]), tree.tree.path(index)
            steps = list(climb(leaf, index, size, path, JOB_NODE, LANES))
            sides = sum(step.on_left << at for at, step in enumerate(steps))
            assert sides_of(index, size) == sides
            if index + 1 == size:
                continue
            gap = tree.neighbours(index)
            level = (~index & (index + 1)).bit_length() - 1  # the left row's trailing ones
            leaves = min(1 << level, size - index - 1)
            right = job_leaf(gap.right)
            assert gap.path[level] == fold(right, 0, leaves, gap.lower, JOB_NODE, LANES)
            assert fold(leaf, index, size, gap.path, JOB_NODE, LANES) == root


@pytest.mark.parametrize("nodes", [0, 1, 2, 11])
def test_an_honest_epoch_has_no_fault(nodes):
    assert find_faults(published(10, jobs_of(10, nodes), KEY.address)) == []


def test_every_made_up_sum_of_a_node_tree_is_found():
    honest = published(10, jobs_of(10, 7), KEY.address)
    heights = {0: 7, 1: 3, 2: 2, 3: 1}
    for height, places in heights.items():
        for at, delta in itertools.product(range(places), (1, 5 << 64, 1 << 128)):
            lie, _ = inflated_node_tree(honest, height, at, delta)
            (fault,) = find_faults(lie)
            assert (fault.function, fault.guilty) == ("bad_sum", (KEY.address,))


def test_every_made_up_sum_of_a_job_tree_is_found():
    honest = published(10, jobs_of(10, 7), KEY.address)
    place = [len(rows) for rows in honest.job_rows].index(5)
    for height, places in {0: 5, 1: 2, 2: 1, 3: 1}.items():
        for at in range(places):
            lie = inflated_job_tree(honest, place, height, at, 1 << 128)
            (fault,) = find_faults(lie)
            assert fault.function == "bad_sum"
            assert "job tree" in fault.reason


def test_leaves_out_of_order_are_found():
    honest = published(10, jobs_of(10, 7), KEY.address)
    order = [0, 1, 3, 2, 4, 5, 6]
    tables = tuple(honest.job_rows[at] for at in order)
    lie = from_rows(10, honest.node_rows[order], tables, KEY.address)
    assert [fault.function for fault in find_faults(lie)] == ["disorder"]


def test_a_node_row_of_another_epoch_is_found():
    honest = published(11, jobs_of(11, 3), KEY.address)
    lie = from_rows(10, honest.node_rows, honest.job_rows, KEY.address)
    assert [fault.reason for fault in find_faults(lie)] == [
        f"the row of node {at} is of another epoch" for at in range(3)
    ]


def test_rows_that_do_not_lead_to_the_root_are_challenged():
    honest = published(10, jobs_of(10, 5), KEY.address)
    other = honest.node_rows.copy()
    other[2, 40] ^= 1  # another payee than in the committed row
    withheld = PublishedEpoch(honest.commitment, other, honest.job_rows, LANES)
    (fault,) = find_faults(withheld)
    assert (fault.contract, fault.function, fault.takes_bond) == ("Disputes", "challenge", True)
    jobs = list(honest.job_rows)
    jobs[1] = jobs[1][:-1]
    withheld = PublishedEpoch(honest.commitment, honest.node_rows, tuple(jobs), LANES)
    (fault,) = find_faults(withheld)
    assert fault.arguments[1] == 1
    assert fault.arguments[4] == len(jobs[1])


# ---- promises


def kept(jobs: dict[str, list[bytes]], deadline: int = 11) -> list[Promise]:
    made = batch(jobs, KEY, DOMAIN, NETWORK, deadline)
    return [
        Promise(made.receipt, node_key(name), proof) for (name, _), proof in made.proofs.items()
    ]


def test_a_job_that_is_dropped_or_altered_is_an_omission_and_a_kept_one_is_none():
    jobs = jobs_of(10, 4)
    empty = SortedEpoch(published(11, {}, KEY.address))
    honest = SortedEpoch(published(10, jobs, KEY.address))
    for promise in kept(jobs):
        assert omission(promise, {10: honest, 11: empty}, CALENDAR) is None
        assert omission(promise, {10: honest}, CALENDAR) is None  # 11 is not known yet
        row = promise.proof.row
        name = next(name for name in jobs if node_key(name) == promise.node_key)
        left = {**jobs, name: [other for other in jobs[name] if other != row]}
        altered = {**jobs, name: [*left[name], row[:59] + b"\x01" + row[60:]]}
        for lie in (left, altered):
            first = SortedEpoch(published(10, lie, KEY.address))
            fault = omission(promise, {10: first, 11: empty}, CALENDAR)
            assert fault is not None
            assert (fault.function, fault.epoch) == ("omission", 11)


def test_a_deadline_before_the_jobs_own_epoch_is_refused():
    (promise, *_) = kept(jobs_of(10, 1), deadline=9)
    with pytest.raises(InvalidInput, match="deadline_epoch"):
        omission(promise, {}, CALENDAR)


def test_a_job_counted_twice_is_found_and_an_id_used_again_is_not():
    first = SortedEpoch(published(10, jobs_of(10, 3), KEY.address))
    twice = SortedEpoch(published(11, {"n1": [job_row("j1-0", us(10, 3))]}, KEY.address))
    again = SortedEpoch(published(15, {"n1": [job_row("j1-0", us(15))]}, KEY.address))
    assert [fault.epoch for fault in duplicates(first, twice, CALENDAR)] == [11]
    assert list(duplicates(first, again, CALENDAR)) == []


def test_two_receipts_of_one_number_are_found():
    one = batch(jobs_of(10, 2), KEY, DOMAIN, NETWORK, 11, 5).receipt
    other = batch(jobs_of(10, 1), KEY, DOMAIN, NETWORK, 11, 5).receipt
    later = batch(jobs_of(10, 1), KEY, DOMAIN, NETWORK, 11, 6).receipt
    assert double_receipt(one, one) is None
    assert double_receipt(one, later) is None
    assert double_receipt(one, other) is not None


# ---- framing


ids = st.integers(0, 3)
jobs = st.lists(st.tuples(ids, ids, st.integers(-900, 60)), max_size=6)
"""(node, job id, seconds from now to its end): the same job again and again, split over batches, late, ahead."""
steps = st.lists(st.one_of(jobs, st.just("seal"), st.integers(1, 700)), max_size=25)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_resent_late_split_and_delayed_jobs_frame_nobody(script):
    aggregator = Aggregator(KEY, DOMAIN, NETWORK, CALENDAR)
    now_s = CALENDAR.genesis_s
    for step in script:
        if step == "seal":
            if now_s * 10**6 >= CALENDAR.end_us(aggregator.open_epoch):
                aggregator.seal()
        elif isinstance(step, int):
            now_s += step
        else:
            rows = [(f"n{n}", job_row(f"j{j}", (now_s + s) * 10**6)) for n, j, s in step]
            aggregator.submit(rows, now_s * 10**6)
    for _ in range(4):
        aggregator.seal()
    for promise in aggregator.promises:
        assert omission(promise, aggregator.epochs, CALENDAR) is None
    numbered = sorted(aggregator.epochs.items())
    for (_, first), (_, second) in itertools.combinations(numbered, 2):
        assert list(duplicates(first, second, CALENDAR)) == []


def test_a_job_tree_root_is_what_the_forest_makes():
    honest = published(10, jobs_of(10, 3), KEY.address)
    for row, jobs_ in zip(honest.node_rows, honest.job_rows, strict=True):
        assert row[60:].tobytes() == job_tree(jobs_, LANES).root
