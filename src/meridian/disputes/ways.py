"""Ways to a root, in the shape of the contracts' arguments (``contracts/trees.vy``).

A `Spot` is a row with the sides and nodes of its path. A `Gap` is what stands at a key's place in the order of leaves:
the rows before and behind it, or the row itself alone. Two neighbours share the upper part of their paths: the right
one is the first leaf below one node of the left one's path, so its own path ends there.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from meridian.measure.commitment import job_tree, node_tree
from meridian.primitives.hashing import CLAIM_LEAF, CLAIM_NODE, ByteMatrix, sha256_rows, tag_rows
from meridian.primitives.sumtree import HASH_BYTES, LaneKind, SumTree

JOB_KEY: Final = slice(4, 36)
NODE_KEY: Final = slice(8, 40)
CLAIM_KEY: Final = slice(0, 32)

PathWords = list[tuple[bytes, int]]
SpotWords = tuple[bytes, int, PathWords]
GapWords = tuple[bytes, bytes, int, PathWords, PathWords]


def path_words(path: Sequence[bytes]) -> PathWords:
    """Return the nodes of a path as the contracts take them: hash, and annotation at the upper end of a word."""
    return [
        (node[:HASH_BYTES], int.from_bytes(node[HASH_BYTES:] + bytes(8), "big")) for node in path
    ]


def sides_of(index: int, size: int) -> int:
    """Return which nodes of the path of leaf `index` of `size` stand on the left: bit i for node i."""
    sides, place, last = 0, 0, size - 1
    while last:
        if index & 1:
            sides |= 1 << place
        if index & 1 or index < last:
            place += 1
        index, last = index >> 1, last >> 1
    return sides


@dataclass(frozen=True, slots=True)
class Spot:
    """A row somewhere under a root."""

    row: bytes
    sides: int
    path: tuple[bytes, ...]

    @property
    def words(self) -> SpotWords:
        """The fields as the contracts take them."""
        return self.row, self.sides, path_words(self.path)


@dataclass(frozen=True, slots=True)
class Gap:
    """What stands at a key's place: neighbours, an edge, nothing, or (`left` alone) the key's own row."""

    left: bytes
    right: bytes
    index: int
    path: tuple[bytes, ...]
    lower: tuple[bytes, ...]

    @property
    def words(self) -> GapWords:
        """The fields as the contracts take them."""
        return self.left, self.right, self.index, path_words(self.path), path_words(self.lower)


NO_SPOT: Final = Spot(b"", 0, ())
NO_GAP: Final = Gap(b"", b"", 0, (), ())


class RowTree:
    """Rows with their tree.

    Args:
        rows: The rows, in the order of the leaves.
        tree: The tree over them.
        key: Where in a row the key stands by which leaves are sorted.
    """

    def __init__(self, rows: Sequence[bytes], tree: SumTree, key: slice) -> None:
        self.rows, self.tree = rows, tree
        self.keys = [row[key] for row in rows]

    @property
    def size(self) -> int:
        """The number of leaves."""
        return len(self.rows)

    def spot(self, index: int) -> Spot:
        """Return the way of one row."""
        return Spot(self.rows[index], sides_of(index, self.size), tuple(self.tree.path(index)))

    def alone(self, index: int) -> Gap:
        """Return the place of a row that is there."""
        return Gap(self.rows[index], b"", index, tuple(self.tree.path(index)), ())

    def neighbours(self, index: int) -> Gap:
        """Return the rows at `index` and `index + 1`."""
        right = index + 1
        leaves = min(right & -right, self.size - right)
        lower = self.tree.path(right)[: (leaves - 1).bit_length()]
        path = tuple(self.tree.path(index))
        return Gap(self.rows[index], self.rows[right], index, path, tuple(lower))

    def place(self, key: bytes) -> Gap:
        """Return what stands at a key's place; keys must ascend."""
        at = bisect_left(self.keys, key)
        if at < self.size and self.keys[at] == key:
            return self.alone(at)
        if self.size == 0:
            return NO_GAP
        if at == 0:
            return Gap(b"", self.rows[0], 0, tuple(self.tree.path(0)), ())
        if at == self.size:
            return self.alone(at - 1)
        return self.neighbours(at - 1)


def node_row_tree(rows: ByteMatrix, lanes: LaneKind) -> RowTree:
    """Return the tree over an epoch's node rows, shape (n, 116)."""
    return RowTree(_texts(rows), node_tree(rows, lanes), NODE_KEY)


def job_row_tree(rows: ByteMatrix, lanes: LaneKind) -> RowTree:
    """Return the tree over a node's job rows, shape (n, 100)."""
    return RowTree(_texts(rows), job_tree(rows, lanes), JOB_KEY)


def claim_row_tree(rows: ByteMatrix) -> RowTree:
    """Return the tree over claim rows (node key 32, payee 20, cumulative u128), shape (n, 68)."""
    leaves = np.zeros((len(rows), 56), dtype=np.uint8)
    leaves[:, :HASH_BYTES] = sha256_rows(tag_rows(CLAIM_LEAF, rows))
    leaves[:, HASH_BYTES + 7] = 1
    leaves[:, HASH_BYTES + 8 :] = rows[:, 52:]
    return RowTree(_texts(rows), SumTree(leaves, CLAIM_NODE, LaneKind.U128), CLAIM_KEY)


def _texts(rows: ByteMatrix) -> list[bytes]:
    return [row.tobytes() for row in rows]
