"""Many trees at once: the roots of a row of trees that lie one behind the other in a matrix of leaves.

Law: root i equals ``SumTree(leaves of tree i).root``. An epoch has thousands of small job trees; building them one by
one costs a fixed price per level and tree, so here every level of every tree is made in one step: pairs inside a tree
are combined, an odd last node is promoted.
"""

import numpy as np
import numpy.typing as npt

from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.sumtree import LaneKind, parent_levels


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
