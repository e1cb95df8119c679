# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Paths in Merkle trees whose nodes carry checked sums
@custom:contract-name sum_tree
@license Apache-2.0
@notice The on-chain twin of `meridian.primitives.sumtree.fold`: same nodes, same order, same
        refusals. A node is 56 bytes: hash 32, count u64, total u128. A parent is
        SHA256(tag, left node, right node), its annotation the checked sum of the two.
@dev A library: no state. The shape is RFC 9162 section 2.1.3.2 (an odd last node is promoted).
     An annotation travels as one word: count * 2**128 + total.
"""

DEPTH_MAX: constant(uint256) = 40
TOTAL_MASK: constant(uint256) = 2**128 - 1
ANNOTATION_END: constant(uint256) = 2**192


@internal
@pure
def _bytes(annotation: uint256) -> bytes24:
    """
    @notice The 24 bytes that a node's hash is followed by.
    """
    return convert(convert(annotation << 64, bytes32), bytes24)


@internal
@pure
def _fold(
    tag: bytes1,
    leaf_hash: bytes32,
    leaf_annotation: uint256,
    index: uint64,
    size: uint64,
    hashes: DynArray[bytes32, DEPTH_MAX],
    annotations: DynArray[uint256, DEPTH_MAX],
) -> (bytes32, uint256):
    """
    @notice The root node that a leaf and its path imply.
    @dev Reverts with "sum tree: path" if the path cannot belong to leaf `index` of `size` leaves,
         and with "sum tree: overflow" if a sum does not fit its lane.
    """
    assert index < size and len(hashes) == len(annotations), "sum tree: path"
    at: uint256 = convert(index, uint256)
    last: uint256 = convert(size, uint256) - 1
    node: bytes32 = leaf_hash
    sum: uint256 = leaf_annotation
    i: uint256 = 0
    for sibling: bytes32 in hashes:
        assert last != 0, "sum tree: path"
        other: uint256 = annotations[i]
        assert (
            other < ANNOTATION_END and (sum & TOTAL_MASK) + (other & TOTAL_MASK) <= TOTAL_MASK
        ), "sum tree: overflow"
        own: bytes24 = self._bytes(sum)
        others: bytes24 = self._bytes(other)
        if at & 1 == 1 or at == last:
            node = sha256(concat(tag, sibling, others, node, own))
            if at & 1 == 0:
                # The last node of a level was promoted: go up to where it has a left sibling.
                for _: uint256 in range(64):
                    at >>= 1
                    last >>= 1
                    if at & 1 == 1:
                        break
        else:
            node = sha256(concat(tag, node, own, sibling, others))
        sum += other
        assert sum < ANNOTATION_END, "sum tree: overflow"
        at >>= 1
        last >>= 1
        i += 1
    assert last == 0, "sum tree: path"
    return node, sum
