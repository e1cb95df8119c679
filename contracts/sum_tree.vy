# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Paths in Merkle trees whose nodes carry sums
@custom:contract-name sum_tree
@license Apache-2.0
@notice The on-chain twin of `meridian.primitives.sumtree.fold`: same nodes, same order, same
        roots. A node is 56 bytes: hash 32, count u64, total u128. A parent's hash is
        SHA256(tag, left node, right node), its annotation the sum of the two.
@dev A library: no state. The shape is that of RFC 9162: a path has one node for each level on
     which leaf and last leaf still differ (on the side that the index says), then one left
     sibling for each bit left in the index. An annotation travels as one word,
     count * 2**128 + total. Sums cannot overflow because each of the at most 41 summands must be
     below 2**122 (2**58 for counts); no money and no tree reaches that.
"""

DEPTH_MAX: constant(uint256) = 40
TOTAL_MASK: constant(uint256) = 2**128 - 1
TOTAL_END: constant(uint256) = 2**122
COUNT_END: constant(uint256) = 2**58


@internal
@pure
def _bytes(annotation: uint256) -> bytes24:
    """
    @notice The 24 bytes that follow a node's hash.
    """
    return convert(convert(annotation << 64, bytes32), bytes24)


@internal
@pure
def _bit_length(number: uint256) -> uint256:
    """
    @notice The number of bits of a number below 2**64.
    """
    rest: uint256 = number
    bits: uint256 = 0
    if rest >> 32 != 0:
        rest >>= 32
        bits = 32
    if rest >> 16 != 0:
        rest >>= 16
        bits |= 16
    if rest >> 8 != 0:
        rest >>= 8
        bits |= 8
    if rest >> 4 != 0:
        rest >>= 4
        bits |= 4
    if rest >> 2 != 0:
        rest >>= 2
        bits |= 2
    if rest >> 1 != 0:
        rest >>= 1
        bits |= 1
    return bits + rest


@internal
@pure
def _sides(index: uint64, size: uint64) -> (uint256, uint256):
    """
    @notice The path's shape: bit i is set where its node i is a left sibling; and its length.
    """
    at: uint256 = convert(index, uint256)
    length: uint256 = self._bit_length(at ^ (convert(size, uint256) - 1))
    border: uint256 = at >> length
    sides: uint256 = at & ((1 << length) - 1)
    for _: uint256 in range(64):
        if border == 0:
            break
        if border & 1 == 1:
            sides |= 1 << length
            length += 1
        border >>= 1
    return sides, length


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
         and with "sum tree: sum" if an annotation is greater than any that can be meant.
    """
    assert index < size, "sum tree: path"
    sides: uint256 = 0
    length: uint256 = 0
    sides, length = self._sides(index, size)
    assert len(hashes) == length and len(annotations) == length, "sum tree: path"
    node: bytes32 = leaf_hash
    sum: uint256 = leaf_annotation
    seen: uint256 = sum
    i: uint256 = 0
    for sibling: bytes32 in hashes:
        other: uint256 = annotations[i]
        if sides & 1 == 0:
            node = sha256(
                concat(
                    tag,
                    node,
                    convert(convert(sum << 64, bytes32), bytes24),
                    sibling,
                    convert(convert(other << 64, bytes32), bytes24),
                )
            )
        else:
            node = sha256(
                concat(
                    tag,
                    sibling,
                    convert(convert(other << 64, bytes32), bytes24),
                    node,
                    convert(convert(sum << 64, bytes32), bytes24),
                )
            )
        seen |= other
        sum = unsafe_add(sum, other)
        sides >>= 1
        i = unsafe_add(i, 1)
    # A bit of any summand is a bit of `seen`, so this bounds them all.
    assert seen & TOTAL_MASK < TOTAL_END and seen >> 128 < COUNT_END, "sum tree: sum"
    return node, sum
