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
     sibling for each bit left in the index. A path is its nodes, one behind the other; inside, an
     annotation is one word, count * 2**128 + total. Sums cannot overflow because each of the at most 41 summands must be
     below 2**122 (2**58 for counts); no money and no tree reaches that.
"""


struct Node:
    hash: bytes32
    annotation: uint256


DEPTH_MAX: constant(uint256) = 40
NODE_BYTES: constant(uint256) = 56
PATH_BYTES_MAX: constant(uint256) = 56 * 40
ANNOTATION_MASK: constant(uint256) = 2**192 - 1
# Bits that no summand may have, with the annotation at the upper end of its word: counts from
# 2**58 and totals from 2**122 on. (The conversion to 24 bytes refuses what stands behind.)
SUMS_FORBIDDEN: constant(uint256) = ~(((2**58 - 1) << 192) | ((2**122 - 1) << 64))


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
    path: DynArray[Node, DEPTH_MAX],
) -> (bytes32, uint256):
    """
    @notice The root node that a leaf and its path imply.
    @dev Reverts with "sum tree: path" if the path cannot belong to leaf `index` of `size` leaves,
         and with "sum tree: sum" if an annotation is greater than any that can be meant.
    @param path The path's nodes, leaf to root.
    """
    assert index < size, "sum tree: path"
    sides: uint256 = 0
    length: uint256 = 0
    sides, length = self._sides(index, size)
    assert len(path) == length, "sum tree: path"
    node: bytes32 = leaf_hash
    # Annotations stand at the upper end of their words, as they are hashed.
    sum: uint256 = leaf_annotation << 64
    seen: uint256 = sum
    for sibling: Node in path:
        if sides & 1 == 0:
            node = sha256(
                concat(
                    tag,
                    node,
                    convert(convert(sum, bytes32), bytes24),
                    sibling.hash,
                    convert(convert(sibling.annotation, bytes32), bytes24),
                )
            )
        else:
            node = sha256(
                concat(
                    tag,
                    sibling.hash,
                    convert(convert(sibling.annotation, bytes32), bytes24),
                    node,
                    convert(convert(sum, bytes32), bytes24),
                )
            )
        seen |= sibling.annotation
        sum = unsafe_add(sum, sibling.annotation)
        sides >>= 1
    # A bit of any summand is a bit of `seen`, so this bounds them all.
    assert seen & SUMS_FORBIDDEN == 0, "sum tree: sum"
    return node, sum >> 64
