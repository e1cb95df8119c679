"""Trees as proofs show them: rows, ways to a root, neighbours.

A node is (hash, annotation), an annotation one number: count * 2**128 + sums. Which root a place and a path imply
follows from the recursive definition of the tree (RFC 9162), not from bit tricks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model.rewards_rules import left_leaves, path_length
from model.rule_state import must

from meridian.primitives.hashing import (
    CLAIM_LEAF,
    CLAIM_NODE,
    COMMITTED_ROOT,
    JOB_LEAF,
    JOB_NODE,
    NODE_LEAF,
    NODE_NODE,
    sha256,
    tagged,
)
from meridian.primitives.ids import Address

Node = tuple[bytes, int]
Path = Sequence[tuple[bytes, int]]
"""As the contracts take it: an annotation stands in the upper 24 bytes of its word."""

SUMS_END = 1 << 128
COUNT_END = 1 << 64
ANNOTATION_END = 1 << 192
EMPTY: Node = (sha256(b""), 0)


@dataclass(frozen=True, slots=True)
class Kind:
    """Which tree rows belong to, and where a row has its key and its annotation."""

    width: int
    leaf_tag: int
    tag: int
    key: int
    sums: slice
    counted: bool
    """Whether the row itself says the count; else it is one."""

    def leaf(self, row: bytes) -> Node:
        must(len(row) == self.width, "trees: row")
        return tagged(self.leaf_tag, row), self.annotation(row)

    def annotation(self, row: bytes) -> int:
        said = int.from_bytes(row[self.sums])
        return said if self.counted else SUMS_END + said

    def key_of(self, row: bytes) -> bytes:
        return row[self.key : self.key + 32]


NODES = Kind(116, NODE_LEAF, NODE_NODE, 8, slice(92, 116), True)
JOBS = Kind(100, JOB_LEAF, JOB_NODE, 4, slice(52, 68), False)
CLAIMS = Kind(68, CLAIM_LEAF, CLAIM_NODE, 0, slice(52, 68), False)


def job_count(row: bytes) -> int:
    return NODES.annotation(row) >> 128


def node_epoch(row: bytes) -> int:
    return int.from_bytes(row[4:8])


def payee_of_row(row: bytes) -> Address:
    return Address(row[40:60])


def joined(kind: Kind, left: Node, right: Node) -> Node:
    """The parent; its sum may be too great for its bits, which `fits` finds."""
    halves = [node[0] + (node[1] % ANNOTATION_END).to_bytes(24) for node in (left, right)]
    return tagged(kind.tag, *halves), left[1] + right[1]


def nodes_of(path: Path) -> list[Node]:
    """The nodes of a path; a word with anything below its annotation is not one."""
    must(all(word % COUNT_END == 0 for _, word in path), "")
    return [(node, word >> 64) for node, word in path]


def fits(*annotations: int) -> bool:
    """Whether sums stay below their bits when they are added one after the other."""
    sums = sum(one % SUMS_END for one in annotations)
    counts = sum(one >> 128 for one in annotations)
    return sums < SUMS_END and counts < COUNT_END


def climb(kind: Kind, node: Node, sides: int, path: Path) -> Node:
    """The root above a node whose path stands on these sides."""
    must(sides >> len(path) == 0, "trees: path")
    siblings = nodes_of(path)
    # A claimed annotation may be wider than any; what is hashed is its lower 24 bytes.
    whole = [node[1] % ANNOTATION_END, *(annotation for _, annotation in siblings)]
    must(node[1] < ANNOTATION_END and fits(*whole), "trees: sum")
    for place, sibling in enumerate(siblings):
        pair = (sibling, node) if sides >> place & 1 else (node, sibling)
        node = joined(kind, *pair)
    return node


def root_at(kind: Kind, leaf: Node, index: int, size: int, path: Path) -> Node:
    """The root of the tree of `size` leaves in which the leaf stands at `index`."""
    must(len(path) == path_length(index, size), "trees: path")
    siblings = nodes_of(path)
    must(fits(leaf[1], *(annotation for _, annotation in siblings)), "trees: sum")
    return _root_at(kind, leaf, index, size, siblings)


def _root_at(kind: Kind, leaf: Node, index: int, size: int, path: Sequence[Node]) -> Node:
    if size == 1:
        return leaf
    left = left_leaves(size)
    if index < left:
        return joined(kind, _root_at(kind, leaf, index, left, path[:-1]), path[-1])
    return joined(kind, path[-1], _root_at(kind, leaf, index - left, size - left, path[:-1]))


def row_root(kind: Kind, row: bytes, index: int, size: int, path: Path) -> Node:
    must(index < size, "trees: path")
    must(len(path) == path_length(index, size), "trees: path")
    return root_at(kind, kind.leaf(row), index, size, path)


@dataclass(frozen=True, slots=True)
class Gap:
    """What stands at a key's place."""

    left: bytes
    right: bytes
    index: int
    path: Path
    lower: Path

    @classmethod
    def of(cls, words: Any) -> "Gap":
        return cls(*words)

    @property
    def is_nothing(self) -> bool:
        return not (self.left or self.right or self.index or self.path or self.lower)

    def root(self, kind: Kind, size: int) -> Node:
        """The root that the rows imply as neighbours, or one alone, or nothing."""
        if not self.right:
            must(not self.lower, "trees: gap")
            if self.left:
                return row_root(kind, self.left, self.index, size, self.path)
            must(size == 0 and self.index == 0 and not self.path, "trees: gap")
            return EMPTY
        if not self.left:
            must(self.index == 0 and not self.lower, "trees: gap")
            return row_root(kind, self.right, 0, size, self.path)
        must(self.index + 1 < size, "trees: gap")
        self._must_be_neighbours(kind, size)
        return row_root(kind, self.left, self.index, size, self.path)

    def _must_be_neighbours(self, kind: Kind, size: int) -> None:
        """The right row is the first leaf below the node of the path where the two ways part."""
        level = right_turns(self.index)
        leaves = min(1 << level, size - self.index - 1)
        node = row_root(kind, self.right, 0, leaves, self.lower)
        must(level < len(self.path), "trees: path")
        must(self.path[level] == (node[0], node[1] << 64), "trees: neighbours")

    def lacks(self, kind: Kind, key: bytes, size: int) -> bool:
        """Whether no row has the key; else `left` alone is its row."""
        if self.left:
            before = kind.key_of(self.left)
            if before == key:
                must(not self.right, "trees: gap")
                return False
            must(before < key, "trees: order")
            must(self.right or self.index + 1 == size, "trees: order")
        must(not self.right or key < kind.key_of(self.right), "trees: order")
        return True


def right_turns(index: int) -> int:
    """Below how many ancestors in a row a leaf is the last one: its number ends in so many ones."""
    return len(bin(index)) - len(bin(index).rstrip("1"))


def must_be_root(commitment: Any, node: Node) -> None:
    """A root node must be the one of a commitment's node tree."""
    epoch, _, root, n_nodes, *_ = commitment
    said = node[0] + (node[1] % ANNOTATION_END).to_bytes(24)
    made = tagged(COMMITTED_ROOT, epoch.to_bytes(8), n_nodes.to_bytes(8), said)
    must(made == root, "trees: root")


def must_be_job_root(row: bytes, node: Node) -> None:
    """A root node must be that of the jobs in a node's row."""
    must(len(row) >= 92, "")
    must(node[0] == row[60:92], "trees: job root")
    must(len(row) == NODES.width, "")
    must(node[1] == NODES.annotation(row), "trees: job root")


def must_hang(commitment: Any, spot: Any) -> None:
    """A node row must hang under a commitment's root."""
    row, sides, path = spot
    must_be_root(commitment, climb(NODES, NODES.leaf(row), sides, path))
