"""Merkle trees whose nodes carry checked sums.

A node is 56 bytes: a 32-byte hash and a 24-byte annotation (a count and 16 bytes of lanes: two u64, or one u128). A
parent hashes **both children with their annotations separately**; hashing only their total would let children of 60
and 40 verify under a total of 60 in two ways. The 113 bytes of a parent cost the same two SHA-256 compressions as 65.

The shape is that of RFC 9162 section 2.1.1: the left subtree holds the largest power of two smaller than n leaves, so
level by level an odd last node is promoted unchanged and never duplicated.
"""

import enum
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from meridian.errors import InvalidInput
from meridian.primitives.hashing import EMPTY_TREE, ByteMatrix, bulk, sha256_rows, tagged

HASH_BYTES: Final = 32
ANNOTATION_BYTES: Final = 24
NODE_BYTES: Final = HASH_BYTES + ANNOTATION_BYTES
EMPTY_ROOT: Final = EMPTY_TREE + bytes(ANNOTATION_BYTES)
"""The root node of a tree without leaves."""
PATH_MAX: Final = 64
"""No path has more siblings."""

_U64: Final = 1 << 64
_U128: Final = 1 << 128


class LaneKind(enum.Enum):
    """What the 16 bytes of lanes in an annotation mean."""

    PAIR_U64 = "pair_u64"
    U128 = "u128"

    def split(self, lanes: bytes) -> tuple[int, ...]:
        """Return the lanes as integers."""
        if self is LaneKind.U128:
            return (int.from_bytes(lanes, "big"),)
        return int.from_bytes(lanes[:8], "big"), int.from_bytes(lanes[8:], "big")

    def join(self, values: Sequence[int]) -> bytes:
        """Return lane values as 16 bytes.

        Raises:
            InvalidInput: If their number is wrong or one does not fit.
        """
        width = 16 if self is LaneKind.U128 else 8
        if len(values) != 16 // width:
            raise InvalidInput("lanes", f"{len(values)} values where {16 // width} are needed")
        try:
            return b"".join(value.to_bytes(width, "big") for value in values)
        except OverflowError:
            raise InvalidInput(
                "lanes", f"{list(values)} does not fit in {8 * width} bits each"
            ) from None


def leaf_node(digest: bytes, count: int, lanes: bytes) -> bytes:
    """Return the 56-byte node of a leaf."""
    return digest + count.to_bytes(8, "big") + lanes


def annotation(node: bytes, lanes: LaneKind) -> tuple[int, tuple[int, ...]]:
    """Return a node's count and lane values."""
    return int.from_bytes(node[32:40], "big"), lanes.split(node[40:56])


def combine(tag: int, left: bytes, right: bytes, lanes: LaneKind) -> bytes:
    """Return the parent of two nodes.

    Raises:
        InvalidInput: If a sum does not fit; such a tree cannot exist.
    """
    count = int.from_bytes(left[32:40], "big") + int.from_bytes(right[32:40], "big")
    if count >= _U64:
        raise InvalidInput("count", "the sum passes 64 bits")
    sums = [a + b for a, b in zip(lanes.split(left[40:]), lanes.split(right[40:]), strict=True)]
    return leaf_node(tagged(tag, left, right), count, lanes.join(sums))


class SumTree:
    """A whole tree in memory, one byte matrix for each level.

    Args:
        leaves: Shape (n, 56): the leaf nodes in order.
        tag: The domain tag of inner nodes.
        lanes: What the lanes mean.

    Raises:
        InvalidInput: If a sum overflows.
    """

    __slots__ = ("_levels", "_size")

    def __init__(self, leaves: ByteMatrix, tag: int, lanes: LaneKind) -> None:
        self._size = len(leaves)
        self._levels = [leaves]
        while len(self._levels[-1]) > 1:
            self._levels.append(parent_level(self._levels[-1], tag, lanes))

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    @property
    def root(self) -> bytes:
        """The 56-byte root node."""
        return self._levels[-1][0].tobytes() if self._size else EMPTY_ROOT

    def path(self, index: int) -> list[bytes]:
        """Return the sibling nodes from the leaf at `index` up to the root."""
        if not 0 <= index < self._size:
            raise InvalidInput("index", f"{index} is outside a tree of {self._size} leaves")
        siblings = []
        for level in self._levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):
                siblings.append(level[sibling].tobytes())
            index >>= 1
        return siblings


def parent_level(level: ByteMatrix, tag: int, lanes: LaneKind) -> ByteMatrix:
    """Return the next level up: pairs combined, an odd last node promoted.

    Raises:
        InvalidInput: If a sum overflows.
    """
    return parent_levels(level, np.array([len(level)]), tag, lanes)


def parent_levels(
    level: ByteMatrix, sizes: npt.NDArray[np.int64], tag: int, lanes: LaneKind
) -> ByteMatrix:
    """Return the next level of many trees at once.

    Args:
        level: Their nodes, one tree behind the other.
        sizes: How many nodes each tree has here.
        tag: The domain tag of inner nodes.
        lanes: What the lanes mean.

    Returns:
        ``(size + 1) // 2`` nodes for each tree.

    Raises:
        InvalidInput: If a sum overflows.
    """
    kernels = bulk(len(level))
    if kernels is None:
        return _parents_by_hashlib(level, sizes, tag, lanes)
    parents, overflows = kernels.level(level, sizes, tag, wide=lanes is LaneKind.U128)
    if overflows:
        raise InvalidInput("annotation", "a sum in the tree overflows its lane")
    return parents


def _parents_by_hashlib(
    level: ByteMatrix, sizes: npt.NDArray[np.int64], tag: int, lanes: LaneKind
) -> ByteMatrix:
    odd = (sizes & 1).astype(np.bool_)
    above = (sizes + 1) >> 1
    is_promoted = np.zeros(len(level), dtype=np.bool_)
    is_promoted[(np.cumsum(sizes) - 1)[odd]] = True
    is_odd_parent = np.zeros(int(above.sum()), dtype=np.bool_)
    is_odd_parent[(np.cumsum(above) - 1)[odd]] = True
    pairs = level[~is_promoted].reshape(-1, 2 * NODE_BYTES)
    combined = np.empty((len(pairs), NODE_BYTES), dtype=np.uint8)
    sha256_rows(pairs, tag, combined)
    combined[:, HASH_BYTES:] = add_annotations(
        pairs[:, HASH_BYTES:NODE_BYTES], pairs[:, NODE_BYTES + HASH_BYTES :], lanes
    )
    parents = np.empty((len(is_odd_parent), NODE_BYTES), dtype=np.uint8)
    parents[~is_odd_parent] = combined
    parents[is_odd_parent] = level[is_promoted]
    return parents


def add_annotations(left: ByteMatrix, right: ByteMatrix, lanes: LaneKind) -> ByteMatrix:
    """Add annotations row by row, in columns of u64.

    Raises:
        InvalidInput: If a count or a lane overflows in any row.
    """
    a = np.ascontiguousarray(left).view(">u8").astype(np.uint64)
    b = np.ascontiguousarray(right).view(">u8").astype(np.uint64)
    total = a + b
    carry = total < a
    if lanes is LaneKind.U128:
        low_carry = carry[:, 2].astype(np.uint64)
        high = total[:, 1] + low_carry
        carry[:, 1] |= high < total[:, 1]
        total[:, 1] = high
        carry[:, 2] = False
    if carry.any():
        raise InvalidInput("annotation", "a sum in the tree overflows its lane")
    return total.astype(">u8").view(np.uint8).reshape(len(total), ANNOTATION_BYTES)


class Level(NamedTuple):
    """One step up from a leaf."""

    sibling: bytes
    on_left: bool
    """Whether the sibling stands on the left."""
    node: bytes
    """The parent."""


def climb(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], tag: int, lanes: LaneKind
) -> Iterator[Level]:
    """Yield each level that a leaf and its path imply (RFC 9162 section 2.1.3.2, with annotated nodes).

    Raises:
        InvalidInput: If the path cannot belong to leaf `index` of a tree of `size` leaves.
    """
    if not 0 <= index < size:
        raise InvalidInput("index", f"{index} is outside a tree of {size} leaves")
    if (
        len(path) > PATH_MAX
        or any(len(node) != NODE_BYTES for node in path)
        or len(leaf) != NODE_BYTES
    ):
        raise InvalidInput("path", "the nodes do not have the form of this tree")
    node, at, last = leaf, index, size - 1
    for sibling in path:
        if last == 0:
            raise InvalidInput("path", "it is longer than the tree is deep")
        on_left = bool(at & 1) or at == last
        if on_left:
            node = combine(tag, sibling, node, lanes)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = combine(tag, node, sibling, lanes)
        yield Level(sibling, on_left, node)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise InvalidInput("path", "it is shorter than the tree is deep")


def fold(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], tag: int, lanes: LaneKind
) -> bytes:
    """Return the root node that a leaf and its path imply: the last level of `climb`.

    Raises:
        InvalidInput: If the path cannot belong to leaf `index` of a tree of `size` leaves.
    """
    node = leaf
    for level in climb(leaf, index, size, path, tag, lanes):
        node = level.node
    return node
