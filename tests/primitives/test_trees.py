"""Annotated trees and the plain tree of RFC 6962."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.primitives import rfc6962
from meridian.primitives.hashing import JOB_NODE, NODE_NODE, sha256, sha256_rows
from meridian.primitives.sumtree import (
    EMPTY_ROOT,
    NODE_BYTES,
    LaneKind,
    SumTree,
    add_annotations,
    annotation,
    combine,
    fold,
    leaf_node,
)


def leaves_of(values: list[int], kind: LaneKind = LaneKind.PAIR_U64) -> list[bytes]:
    """Make one leaf node for each value."""
    lanes = [kind.join([v, 1] if kind is LaneKind.PAIR_U64 else [v]) for v in values]
    return [
        leaf_node(sha256(b"leaf", i.to_bytes(4, "big")), 1, lane) for i, lane in enumerate(lanes)
    ]


def matrix(leaves: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(leaves), dtype=np.uint8).reshape(len(leaves), NODE_BYTES)


def oracle_root(nodes: list[bytes], tag: int, kind: LaneKind) -> bytes:
    """The definition of RFC 9162 section 2.1.1, recursively."""
    if len(nodes) == 1:
        return nodes[0]
    middle = 1 << ((len(nodes) - 1).bit_length() - 1)
    return combine(
        tag, oracle_root(nodes[:middle], tag, kind), oracle_root(nodes[middle:], tag, kind), kind
    )


@pytest.mark.parametrize("kind", list(LaneKind))
@pytest.mark.parametrize("size", [*range(1, 18), 31, 32, 33, 100])
def test_tree_equals_the_recursive_definition_and_every_path_folds_to_its_root(size, kind):
    nodes = leaves_of([3 * i + 1 for i in range(size)], kind)
    tree = SumTree(matrix(nodes), JOB_NODE, kind)
    assert tree.root == oracle_root(nodes, JOB_NODE, kind)
    assert annotation(tree.root, kind)[0] == size
    assert annotation(tree.root, kind)[1][0] == sum(3 * i + 1 for i in range(size))
    for index in range(size):
        assert fold(nodes[index], index, size, tree.path(index), JOB_NODE, kind) == tree.root


def test_the_empty_tree_has_the_root_of_rfc_6962():
    assert (
        SumTree(np.empty((0, NODE_BYTES), dtype=np.uint8), JOB_NODE, LaneKind.U128).root
        == EMPTY_ROOT
    )


@given(st.integers(1, 40), st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_path_never_gives_the_same_root(size, data):
    nodes = leaves_of(list(range(size)))
    tree = SumTree(matrix(nodes), NODE_NODE, LaneKind.PAIR_U64)
    index = data.draw(st.integers(0, size - 1))
    path = tree.path(index)
    change = data.draw(st.sampled_from(["bit", "drop", "extend", "index", "leaf"]))
    leaf, at = nodes[index], index
    if change == "bit" and path:
        which = data.draw(st.integers(0, len(path) - 1))
        byte, bit = data.draw(st.integers(0, NODE_BYTES - 1)), data.draw(st.integers(0, 7))
        broken = bytearray(path[which])
        broken[byte] ^= 1 << bit
        path[which] = bytes(broken)
    elif change == "drop" and path:
        path.pop(data.draw(st.integers(0, len(path) - 1)))
    elif change == "extend":
        path.append(nodes[0])
    elif change == "index" and size > 1:
        at = (index + data.draw(st.integers(1, size - 1))) % size
    else:
        leaf = leaf_node(sha256(b"other"), 1, bytes(16))
    try:
        root = fold(leaf, at, size, path, NODE_NODE, LaneKind.PAIR_U64)
    except InvalidInput:
        return
    assert root != tree.root


def test_sums_that_do_not_fit_are_refused_in_single_and_bulk_form():
    big = leaf_node(bytes(32), 1, LaneKind.PAIR_U64.join([2**64 - 1, 0]))
    one = leaf_node(bytes(32), 1, LaneKind.PAIR_U64.join([1, 0]))
    with pytest.raises(InvalidInput):
        combine(JOB_NODE, big, one, LaneKind.PAIR_U64)
    with pytest.raises(InvalidInput):
        SumTree(matrix([big, one]), JOB_NODE, LaneKind.PAIR_U64)
    huge = leaf_node(bytes(32), 1, LaneKind.U128.join([2**128 - 1]))
    tiny = leaf_node(bytes(32), 1, LaneKind.U128.join([1]))
    with pytest.raises(InvalidInput):
        SumTree(matrix([huge, tiny]), JOB_NODE, LaneKind.U128)
    SumTree(
        matrix([leaf_node(bytes(32), 1, LaneKind.U128.join([2**128 - 2])), tiny]),
        JOB_NODE,
        LaneKind.U128,
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 2**127 - 1), st.integers(0, 2**127 - 1)), min_size=1, max_size=8
    )
)
def test_bulk_addition_of_u128_lanes_equals_python_integers(pairs):
    left = np.array(
        [list((1).to_bytes(8, "big") + a.to_bytes(16, "big")) for a, _ in pairs], dtype=np.uint8
    )
    right = np.array(
        [list((2).to_bytes(8, "big") + b.to_bytes(16, "big")) for _, b in pairs], dtype=np.uint8
    )
    total = add_annotations(left, right, LaneKind.U128)
    for row, (a, b) in zip(total, pairs, strict=True):
        assert row.tobytes() == (3).to_bytes(8, "big") + (a + b).to_bytes(16, "big")


@given(st.integers(0, 50), st.integers(1, 200), st.randoms(use_true_random=False))
def test_bulk_hashing_equals_hashlib(count, width, random):
    rows = np.frombuffer(random.randbytes(count * width), dtype=np.uint8).reshape(count, width)
    digests = sha256_rows(rows)
    assert [d.tobytes() for d in digests] == [sha256(r.tobytes()) for r in rows]


def test_two_trees_of_equal_total_but_other_parts_have_other_roots():
    """Children of 60 and 40 must not be exchangeable with 40 and 60 under the same total."""
    digests = [sha256(b"a"), sha256(b"b")]
    first = matrix(
        [leaf_node(d, 1, LaneKind.U128.join([v])) for d, v in zip(digests, (60, 40), strict=True)]
    )
    second = matrix(
        [leaf_node(d, 1, LaneKind.U128.join([v])) for d, v in zip(digests, (40, 60), strict=True)]
    )
    roots = [SumTree(m, JOB_NODE, LaneKind.U128).root for m in (first, second)]
    assert roots[0] != roots[1]
    assert roots[0][32:] == roots[1][32:]


@pytest.mark.parametrize("size", range(1, 20))
def test_log_proofs_of_every_index_and_size_verify(size):
    leaves = [rfc6962.leaf_hash(bytes((i,))) for i in range(size)]
    head = rfc6962.root(leaves)
    for index in range(size):
        assert rfc6962.verify_inclusion(
            leaves[index], index, size, rfc6962.inclusion_path(leaves, index), head
        )
    for old in range(1, size + 1):
        path = rfc6962.consistency_path(leaves, old)
        assert rfc6962.verify_consistency(old, size, path, rfc6962.root(leaves[:old]), head)
        if old < size:
            assert not rfc6962.verify_consistency(old, size, path, sha256(b"x"), head)
