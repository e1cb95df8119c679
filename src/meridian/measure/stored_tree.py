"""A sum tree that lies somewhere as rows and as every eighth level: paths without building the tree.

A tree of n leaves is kept as its n rows and the ceil(n/256) nodes of level 8; above 256 of these also those of level 16,
and so on. An odd last node is promoted from level to level, as in any tree here, so a stored level is exactly that level
of the whole tree. One path then costs one group of at most 256 nodes for every eight levels, whatever n is.

Law: `path` gives what `SumTree.path` of the whole tree gives.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from meridian.errors import InvalidInput
from meridian.measure.commitment import node_leaves
from meridian.measure.row import job_leaves
from meridian.primitives.hashing import JOB_NODE, NODE_NODE, ByteMatrix
from meridian.primitives.sumtree import LaneKind, SumTree, parent_level

GROUP: Final = 256
"""Leaves of the subtree below one node of a stored level."""
GROUP_LEVELS: Final = 8
STORED_LEVELS: Final = (8, 16, 24)
SIZE_MAX: Final = 1 << 32
"""Leaves of a tree whose level 24 is still one group."""
_WILD_GUESSES: Final = 6
"""Guesses by the keys' values before the search halves, whatever keys somebody has ground out."""


@dataclass(frozen=True, slots=True)
class RowForm:
    """What the rows of a tree are."""

    width: int
    key: slice
    """Where the 32-byte key stands by which they ascend."""
    leaves: Callable[[ByteMatrix], ByteMatrix]
    tag: int
    """The domain tag of inner nodes."""


JOB_ROWS: Final = RowForm(100, slice(4, 36), job_leaves, JOB_NODE)
NODE_ROWS: Final = RowForm(116, slice(8, 40), node_leaves, NODE_NODE)


class Shelf(Protocol):
    """Where one tree lies."""

    def rows(self, first: int, count: int) -> ByteMatrix:
        """Return some of its rows."""
        ...

    def nodes(self, level: int, first: int, count: int) -> ByteMatrix:
        """Return some nodes of one of `STORED_LEVELS`."""
        ...

    def will_need(self, level: int, first: int, count: int) -> None:
        """Note what is read next, rows at level 0: where it lies on a disk, one wait then does for all of it."""
        ...


def stored_sizes(size: int) -> tuple[int, ...]:
    """Return how many nodes of each of `STORED_LEVELS` are kept of a tree: a level above one group is kept in part."""
    if size > SIZE_MAX:
        raise InvalidInput("size", f"a stored tree has at most {SIZE_MAX} leaves")
    sizes = [-(-size // GROUP)]
    for _ in STORED_LEVELS[1:]:
        sizes.append(-(-sizes[-1] // GROUP) if sizes[-1] > GROUP else 0)
    return tuple(sizes)


def level_above(nodes: ByteMatrix, tag: int, lanes: LaneKind) -> ByteMatrix:
    """Return the nodes eight levels above some that begin at the start of a group."""
    for _ in range(GROUP_LEVELS):
        nodes = parent_level(nodes, tag, lanes)
    return nodes


class StoredTree:
    """One tree on its shelf.

    Args:
        shelf: Where it lies.
        size: Its number of leaves.
        form: What its rows are.
        lanes: What the lanes mean.
    """

    __slots__ = ("_form", "_lanes", "_shelf", "size")

    def __init__(self, shelf: Shelf, size: int, form: RowForm, lanes: LaneKind) -> None:
        self._shelf, self.size, self._form, self._lanes = shelf, size, form, lanes

    def row(self, index: int) -> bytes:
        """Return a row."""
        if not 0 <= index < self.size:
            raise InvalidInput("index", f"{index} is outside a tree of {self.size} leaves")
        return self._shelf.rows(index, 1).tobytes()

    def rows(self, first: int, count: int) -> bytes:
        """Return the bytes of some rows, one behind the other."""
        return self._shelf.rows(first, count).tobytes()

    def path(self, index: int) -> list[bytes]:
        """Return the sibling nodes from the leaf at `index` up to the root."""
        if not 0 <= index < self.size:
            raise InvalidInput("index", f"{index} is outside a tree of {self.size} leaves")
        groups = list(self._groups(index))
        for level, first, count, _ in groups:
            self._shelf.will_need(level, first, count)
        siblings: list[bytes] = []
        for level, first, count, at in groups:
            nodes = self._group(level, first, count)
            siblings += SumTree(nodes, self._form.tag, self._lanes).path(at)
        return siblings

    def _groups(self, index: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield the groups above a leaf: level, first node, how many, and which of them the path goes through."""
        at, size, level = index, self.size, 0
        while size > 1:
            first = at - at % GROUP
            yield level, first, min(GROUP, size - first), at - first
            at, size, level = at // GROUP, -(-size // GROUP), level + GROUP_LEVELS

    def _group(self, level: int, first: int, count: int) -> ByteMatrix:
        if level == 0:
            return self._form.leaves(self._shelf.rows(first, count))
        return self._shelf.nodes(level, first, count)

    def top(self) -> ByteMatrix:
        """Return the nodes of the highest stored level: at most 256, none for a tree without leaves."""
        sizes = stored_sizes(self.size)
        at = max((at for at, count in enumerate(sizes) if count), default=0)
        return self._shelf.nodes(STORED_LEVELS[at], 0, sizes[at])

    def find(self, key: bytes) -> tuple[int, bool]:
        """Return the place of a key in the order of the rows, and whether the row there has it.

        Keys are hashes, so where one stands can be guessed from its value: two reads of 256 rows instead of one read for
        every halving, which counts where each read goes to a disk.
        """
        low, high, guesses = 0, self.size, 0
        low_value, high_value, value = 0, 1 << 256, int.from_bytes(key, "big")
        while True:
            if guesses < _WILD_GUESSES:
                guess = low + (value - low_value) * (high - low) // (high_value - low_value)
                guesses += 1
            else:
                guess = (low + high) // 2
            first = max(low, min(guess - GROUP // 2, high - GROUP))
            rows = self._shelf.rows(first, min(GROUP, high - first))
            keys = [each.tobytes() for each in rows[:, self._form.key]]
            if first > low and key < keys[0]:
                high, high_value = first, int.from_bytes(keys[0], "big")
            elif first + len(keys) < high and key > keys[-1]:
                low, low_value = first + len(keys), int.from_bytes(keys[-1], "big")
            else:
                at = bisect_left(keys, key)
                return first + at, keys[at : at + 1] == [key]
