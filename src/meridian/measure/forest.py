"""Many trees at once: the roots of a row of trees that lie one behind the other in a matrix of leaves.

Law: root i equals ``SumTree(leaves of tree i).root``. An epoch has thousands of small job trees; building them one by
one costs a fixed price per level and tree, so here every level of every tree is made in one step: pairs inside a tree
are combined, an odd last node is promoted.
"""

import numpy as np
import numpy.typing as npt

from meridian.primitives.hashing import ByteMatrix, sha256_rows, tag_rows
from meridian.primitives.sumtree import HASH_BYTES, NODE_BYTES, LaneKind, add_annotations


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
        level, sizes = _parents(level, sizes, tag, lanes)
    return level


def _parents(
    level: ByteMatrix, sizes: npt.NDArray[np.int64], tag: int, lanes: LaneKind
) -> tuple[ByteMatrix, npt.NDArray[np.int64]]:
    pairs, odd = sizes >> 1, (sizes & 1).astype(np.bool_)
    above = pairs + odd
    last = np.cumsum(sizes) - 1
    is_promoted = np.zeros(len(level), dtype=np.bool_)
    is_promoted[last[odd]] = True
    paired = level[~is_promoted]
    left, right = paired[0::2], paired[1::2]
    parents = np.empty((int(above.sum()), NODE_BYTES), dtype=np.uint8)
    is_odd_parent = np.zeros(len(parents), dtype=np.bool_)
    is_odd_parent[(np.cumsum(above) - 1)[odd]] = True
    combined = np.empty((len(left), NODE_BYTES), dtype=np.uint8)
    combined[:, :HASH_BYTES] = sha256_rows(tag_rows(tag, left, right))
    combined[:, HASH_BYTES:] = add_annotations(left[:, HASH_BYTES:], right[:, HASH_BYTES:], lanes)
    parents[~is_odd_parent] = combined
    parents[is_odd_parent] = level[is_promoted]
    return parents, above
