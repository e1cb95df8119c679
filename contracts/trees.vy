# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title The trees of a commitment: rows, paths, neighbours
@custom:contract-name trees
@license Apache-2.0
@notice What a dispute asks about the two layers of a commitment: which leaf a row makes, which root
        a node and its path imply, and which rows stand next to each other. The on-chain twin of
        `meridian.disputes.ways`.
@dev A library: no state. A node of a path has its annotation (count u64, sums 16 bytes) at the
     upper end of a word, as it is hashed; elsewhere an annotation is count * 2**128 + sums. The 16
     bytes of sums are added as one number: two u64 lanes whose lower one does not overflow give
     the same bytes.

     A path by *sides* (bit i is set where node i stands on the left) says only that a node hangs
     somewhere under the root. A path by *place* (index and number of leaves) says where: absence
     and order rest on it.
"""

import sum_tree

struct Commitment:
    epoch: uint64
    aggregator: address
    root: bytes32
    n_nodes: uint64
    annotation: bytes24
    manifest: bytes32

struct Node:
    hash: bytes32
    annotation: uint256

# A row somewhere under a root.
struct Spot:
    row: Bytes[116]
    sides: uint256
    path: DynArray[Node, DEPTH_MAX]

# What stands at a key's place in the order: the rows before and behind it, or the row itself as
# `left` alone. `index` is that of the left row, or 0 without one; `path` leads from there to the
# root. `lower` leads from the right row to the node of the path below which it is the first leaf.
struct Gap:
    left: Bytes[116]
    right: Bytes[116]
    index: uint64
    path: DynArray[Node, DEPTH_MAX]
    lower: DynArray[Node, DEPTH_MAX]


# Which tree rows belong to.
NODES: constant(uint256) = 0
JOBS: constant(uint256) = 1
CLAIMS: constant(uint256) = 2

JOB_LEAF: constant(bytes1) = 0x02
JOB_NODE: constant(bytes1) = 0x03
NODE_LEAF: constant(bytes1) = 0x04
NODE_NODE: constant(bytes1) = 0x05
CLAIM_LEAF: constant(bytes1) = 0x06
CLAIM_NODE: constant(bytes1) = 0x07
COMMITTED_ROOT: constant(bytes1) = 0x12

JOB_ROW: constant(uint256) = 100
NODE_ROW: constant(uint256) = 116
CLAIM_ROW: constant(uint256) = 68
ONE_LEAF: constant(uint256) = 2**128
DEPTH_MAX: constant(uint256) = 32
ANNOTATION_MASK: constant(uint256) = 2**192 - 1
SUMS_MASK: constant(uint256) = 2**128 - 1
SUMS_CARRY: constant(uint256) = 2**192
# SHA-256 of nothing: the root hash of a tree without leaves.
EMPTY_TREE: constant(bytes32) = 0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855


# ----------------------------------------------------------------------------------------- rows


@internal
@pure
def _job_key(row: Bytes[116]) -> bytes32:
    return extract32(row, 4)


@internal
@pure
def _ended_us(row: Bytes[116]) -> uint256:
    return convert(extract32(row, 44), uint256) >> 192


@internal
@pure
def _node_key(row: Bytes[116]) -> bytes32:
    return extract32(row, 8)


@internal
@pure
def _row_epoch(row: Bytes[116]) -> uint64:
    return convert((convert(extract32(row, 0), uint256) >> 192) & (2**32 - 1), uint64)


@internal
@pure
def _payee(row: Bytes[116]) -> address:
    return convert(convert(extract32(row, 40), uint256) >> 96, address)


@internal
@pure
def _job_root(row: Bytes[116]) -> bytes32:
    """
    @notice The hash of a node row's job tree; its annotation is the row's (`_annotation`).
    """
    return extract32(row, 60)


@internal
@pure
def _key(row: Bytes[116], tree: uint256) -> uint256:
    """
    @notice What the rows of a tree are sorted by, as a number.
    """
    if tree == NODES:
        return convert(extract32(row, 8), uint256)
    if tree == JOBS:
        return convert(extract32(row, 4), uint256)
    return convert(extract32(row, 0), uint256)


@internal
@pure
def _annotation(row: Bytes[116], tree: uint256) -> uint256:
    """
    @notice Count and sums that the leaf of a row must have.
    """
    if tree == NODES:
        return convert(extract32(row, 84), uint256) & ANNOTATION_MASK
    if tree == JOBS:
        return ONE_LEAF | (convert(extract32(row, 52), uint256) >> 128)
    return ONE_LEAF | (convert(extract32(row, 36), uint256) & SUMS_MASK)


@internal
@pure
def _leaf(row: Bytes[116], tree: uint256) -> bytes32:
    """
    @notice The hash of a row's leaf.
    """
    if tree == NODES:
        assert len(row) == NODE_ROW, "trees: row"
        return sha256(concat(NODE_LEAF, row))
    if tree == JOBS:
        assert len(row) == JOB_ROW, "trees: row"
        return sha256(concat(JOB_LEAF, row))
    assert len(row) == CLAIM_ROW, "trees: row"
    return sha256(concat(CLAIM_LEAF, row))


@internal
@pure
def _tag(tree: uint256) -> bytes1:
    """
    @notice The tag of a tree's inner nodes.
    """
    if tree == NODES:
        return NODE_NODE
    if tree == JOBS:
        return JOB_NODE
    return CLAIM_NODE


# ---------------------------------------------------------------------------------------- paths


@internal
@pure
def _climb(
    tag: bytes1, leaf_hash: bytes32, annotation: uint256, sides: uint256, path: DynArray[Node, DEPTH_MAX]
) -> (bytes32, uint256):
    """
    @notice The root node that a node and its path imply.
    @dev Reverts with "trees: path" if `sides` names more nodes than there are, and with
         "trees: sum" if a sum does not fit: such a tree has a bad sum.
    """
    assert sides >> len(path) == 0, "trees: path"
    node: bytes32 = leaf_hash
    sums: uint256 = annotation << 64
    rest: uint256 = sides
    wrong: uint256 = annotation >> 192
    for sibling: Node in path:
        other: uint256 = sibling.annotation
        if rest & 1 == 0:
            node = sha256(
                concat(
                    tag,
                    node,
                    convert(convert(sums, bytes32), bytes24),
                    sibling.hash,
                    convert(convert(other, bytes32), bytes24),
                )
            )
        else:
            node = sha256(
                concat(
                    tag,
                    sibling.hash,
                    convert(convert(other, bytes32), bytes24),
                    node,
                    convert(convert(sums, bytes32), bytes24),
                )
            )
        total: uint256 = unsafe_add(sums, other)
        # The carries out of the sums and, where the total is smaller, out of the count.
        wrong |= (sums ^ other ^ total) & SUMS_CARRY
        if total < other:
            wrong = SUMS_CARRY
        sums = total
        rest >>= 1
    assert wrong == 0, "trees: sum"
    return node, sums >> 64


@internal
@pure
def _adds_up(left: uint256, right: uint256, claimed: uint256) -> bool:
    """
    @notice Whether counts and sums are exactly those of the children; a sum that does not fit in
            its bits is right nowhere.
    """
    return (
        (left & SUMS_MASK) + (right & SUMS_MASK) == claimed & SUMS_MASK
        and (left >> 128) + (right >> 128) == claimed >> 128
    )


@internal
@pure
def _row_root(
    row: Bytes[116], index: uint64, size: uint64, path: DynArray[Node, DEPTH_MAX], tree: uint256
) -> (bytes32, uint256):
    """
    @notice The root node of the tree of `size` leaves in which a row is leaf `index`.
    """
    assert index < size, "trees: path"
    sides: uint256 = 0
    length: uint256 = 0
    sides, length = sum_tree._sides(index, size)
    assert len(path) == length, "trees: path"
    return self._climb(
        self._tag(tree), self._leaf(row, tree), self._annotation(row, tree), sides, path
    )


@internal
@pure
def _gap_root(gap: Gap, size: uint64, tree: uint256) -> (bytes32, uint256):
    """
    @notice The root node of the tree of `size` leaves in which the rows of a gap are neighbours, or
            its first or last row alone, or nothing at all.
    @dev Says nothing of the order of the rows, nor, with one row, whether it is at an edge.
    """
    if len(gap.right) == 0:
        assert len(gap.lower) == 0, "trees: gap"
        if len(gap.left) == 0:
            assert size == 0 and gap.index == 0 and len(gap.path) == 0, "trees: gap"
            return EMPTY_TREE, 0
        return self._row_root(gap.left, gap.index, size, gap.path, tree)
    if len(gap.left) == 0:
        assert gap.index == 0 and len(gap.lower) == 0, "trees: gap"
        return self._row_root(gap.right, 0, size, gap.path, tree)
    # The left row is the last leaf below its `level` lowest ancestors that are right children; the
    # right row is the first leaf below the next node of its path, which has at most 2**level ones.
    assert gap.index + 1 < size, "trees: gap"
    level: uint256 = 0
    bits: uint256 = convert(gap.index, uint256)
    for _: uint256 in range(DEPTH_MAX):
        if bits & 1 == 0:
            break
        bits >>= 1
        level += 1
    leaves: uint64 = min(convert(1 << level, uint64), size - gap.index - 1)
    node: bytes32 = empty(bytes32)
    sums: uint256 = 0
    node, sums = self._row_root(gap.right, 0, leaves, gap.lower, tree)
    assert level < len(gap.path), "trees: path"
    assert (
        gap.path[level].hash == node and gap.path[level].annotation == sums << 64
    ), "trees: neighbours"
    return self._row_root(gap.left, gap.index, size, gap.path, tree)


@internal
@pure
def _is_absent(gap: Gap, key: bytes32, size: uint64, tree: uint256) -> bool:
    """
    @notice Whether a gap, if it leads to the root, says that no row has the key; else it must say
            that `left` alone has it.
    @dev Reverts with "trees: order" if it says neither.
    """
    wanted: uint256 = convert(key, uint256)
    if len(gap.left) != 0:
        before: uint256 = self._key(gap.left, tree)
        if before == wanted:
            assert len(gap.right) == 0, "trees: gap"
            return False
        assert before < wanted, "trees: order"
        if len(gap.right) == 0:
            assert gap.index + 1 == size, "trees: order"
    if len(gap.right) != 0:
        assert wanted < self._key(gap.right, tree), "trees: order"
    return True


# ------------------------------------------------------------------------------ committed things


@internal
@pure
def _check_root(commitment: Commitment, node: bytes32, sums: uint256):
    """
    @notice Requires a root node to be the one of a commitment's node tree.
    """
    root: bytes32 = sha256(
        concat(
            COMMITTED_ROOT,
            convert(commitment.epoch, bytes8),
            convert(commitment.n_nodes, bytes8),
            node,
            sum_tree._bytes(sums),
        )
    )
    assert root == commitment.root, "trees: root"


@internal
@pure
def _check_node(commitment: Commitment, spot: Spot):
    """
    @notice Requires a node row to hang under a commitment's root.
    """
    node: bytes32 = empty(bytes32)
    sums: uint256 = 0
    node, sums = self._climb(
        NODE_NODE,
        self._leaf(spot.row, NODES),
        self._annotation(spot.row, NODES),
        spot.sides,
        spot.path,
    )
    self._check_root(commitment, node, sums)


@internal
@pure
def _check_job_root(row: Bytes[116], node: bytes32, sums: uint256):
    """
    @notice Requires a root node to be the job tree's in a node row.
    """
    assert (
        node == self._job_root(row) and sums == self._annotation(row, NODES)
    ), "trees: job root"


@internal
@pure
def _job_count(row: Bytes[116]) -> uint64:
    """
    @notice The number of jobs in a node row.
    """
    return convert(self._annotation(row, NODES) >> 128, uint64)
