"""Many trees at once: the roots of a row of trees that lie one behind the other in a matrix of leaves.

Law: root i equals ``SumTree(leaves of tree i).root``. An epoch has thousands of small job trees; building them one by
one costs a fixed price per level and tree, so here every level of every tree is made in one step: pairs inside a tree
are combined, an odd last node is promoted.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.sumtree import NODE_BYTES, LaneKind, parent_levels

PIECE: Final = 1 << 15
"""Leaves that are in memory at a time, in `roots_of_rows`."""


def forest_roots(
    leaves: ByteMatrix, sizes: npt.NDArray[np.int64], tag: int, lanes: LaneKind
) -> ByteMatrix:
    """Return the root node of each tree, shape (number of trees, 56).

    Args:
        leaves: The leaf nodes of all trees, shape (sum of sizes, 56).
        sizes: How many leaves each tree has, each at least 1.
        tag: The domain tag of inner nodes.
        lanes: What the lanes mean.

    Raises:
        InvalidInput: If a sum overflows.
    """
    level = leaves
    while len(level) > len(sizes):
        level, sizes = parent_levels(level, sizes, tag, lanes), (sizes + 1) >> 1
    return level


def roots_of_rows(
    rows: ByteMatrix,
    sizes: npt.NDArray[np.int64],
    leaves_of: Callable[[ByteMatrix], ByteMatrix],
    tag: int,
    lanes: LaneKind,
) -> ByteMatrix:
    """Return the root node of each tree over rows, shape (number of trees, 56), a piece of them at a time.

    Only `PIECE` leaves and the nodes above them are in memory: they stay in the cache, and fresh memory costs more than
    a hash. A tree is cut at multiples of `PIECE`, a power of two; so every piece but the last is a whole subtree, the last
    is what is promoted to it, and the tree over their roots is the tree.

    Args:
        rows: The rows of all trees.
        sizes: How many rows each tree has, each at least 1.
        leaves_of: Gives the leaf nodes of rows.
        tag: The domain tag of inner nodes.
        lanes: What the lanes mean.

    Raises:
        InvalidInput: If a sum overflows.
    """
    if len(rows) <= PIECE:
        return forest_roots(leaves_of(rows), sizes, tag, lanes)
    pieces_of = (sizes + PIECE - 1) // PIECE
    pieces = np.full(int(pieces_of.sum()), PIECE, dtype=np.int64)
    pieces[np.cumsum(pieces_of) - 1] = sizes - (pieces_of - 1) * PIECE
    ends = np.cumsum(pieces)
    tops = np.empty((len(pieces), NODE_BYTES), dtype=np.uint8)
    first = start = 0
    while first < len(pieces):
        last = max(first + 1, int(np.searchsorted(ends, start + PIECE, side="right")))
        end = int(ends[last - 1])
        leaves = leaves_of(rows[start:end])
        tops[first:last] = forest_roots(leaves, pieces[first:last], tag, lanes)
        first, start = last, end
    return forest_roots(tops, pieces_of, tag, lanes)
