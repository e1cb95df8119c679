"""The order of jobs in an epoch: by node key, then by job key; each pair once.

Sorted order is what makes absence provable, and duplicates visible: they stand side by side.
"""

import functools
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from meridian.errors import InvalidInput
from meridian.measure.columns import one_chunk
from meridian.measure.row import row_keys
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.ids import node_key

Integers = npt.NDArray[np.int64]


KEYS_KEPT: Final = 1 << 16
"""Node keys that are remembered: the same nodes send again and again."""

cached_node_key = functools.lru_cache(KEYS_KEPT)(node_key)
"""`ids.node_key`, remembered."""


def node_runs(node_ids: pa.ChunkedArray) -> tuple[list[str], Integers]:
    """Return the nodes in order of their runs, and how many jobs each run has.

    Raises:
        InvalidInput: If a node has two runs.
    """
    if len(node_ids) == 0:
        return [], np.zeros(0, dtype=np.int64)
    ids, at = node_indices(node_ids)
    if (np.diff(at) < 0).any():
        raise InvalidInput("node_id", "the jobs of a node do not stand together")
    return ids, np.bincount(at).astype(np.int64)


def node_indices(node_ids: pa.ChunkedArray) -> tuple[list[str], Integers]:
    """Return the distinct nodes in order of first appearance, and for each job the position of its node."""
    if len(node_ids) == 0:
        return [], np.zeros(0, dtype=np.int64)
    encoded = pc.dictionary_encode(one_chunk(node_ids))
    at = np.asarray(encoded.indices.to_numpy(zero_copy_only=False)).astype(np.int64)
    return encoded.dictionary.to_pylist(), at


def check_job_order(rows: ByteMatrix, sizes: Integers) -> None:
    """Refuse job keys that do not strictly ascend inside each node.

    Raises:
        InvalidInput: With the first row that is out of order or a duplicate.
    """
    if len(rows) < 2:
        return
    words = np.ascontiguousarray(row_keys(rows)).view(">u8").astype(np.uint64)
    before, after = words[:-1], words[1:]
    ascends = np.zeros(len(before), dtype=np.bool_)
    equal = np.ones(len(before), dtype=np.bool_)
    for at in range(4):
        ascends |= equal & (before[:, at] < after[:, at])
        equal &= before[:, at] == after[:, at]
    ascends[np.cumsum(sizes)[:-1] - 1] = True  # the first job of the next node may have any key
    wrong = np.flatnonzero(~ascends)
    if len(wrong):
        raise InvalidInput("job_id", f"row {int(wrong[0]) + 1} does not follow the one before it")


def sort_order(node_ids: pa.ChunkedArray, keys: ByteMatrix) -> Integers:
    """Return the positions of jobs in the order of (node key, job key); equal pairs keep their order.

    Args:
        node_ids: The node of each job.
        keys: The job keys, shape (n, 32).
    """
    if len(node_ids) == 0:
        return np.zeros(0, dtype=np.int64)
    ids, at = node_indices(node_ids)
    node_keys = [cached_node_key(name) for name in ids]
    by_key = sorted(range(len(node_keys)), key=node_keys.__getitem__)
    rank = np.empty(len(node_keys), dtype=np.int64)
    rank[by_key] = np.arange(len(node_keys))
    return order_in_groups(rank[at], keys)


def order_in_groups(groups: Integers, keys: ByteMatrix) -> Integers:
    """Return the positions of jobs in the order of (group, job key); equal pairs keep their order.

    Args:
        groups: The number of each job's group, from 0.
        keys: The job keys, shape (n, 32).
    """
    if len(groups) == 0:
        return np.zeros(0, dtype=np.int64)
    words = np.ascontiguousarray(keys).view(">u8").astype(np.uint64)
    ranks = groups.astype(np.uint64)
    bits = np.uint64(max(1, int(groups.max()).bit_length()))
    mixed = (ranks << (np.uint64(64) - bits)) | (words[:, 0] >> bits)
    order = np.argsort(mixed)
    sorted_mixed = mixed[order]
    if (
        sorted_mixed[1:] == sorted_mixed[:-1]
    ).any():  # two keys agree in their first bits, or are equal
        order = np.lexsort((words[:, 3], words[:, 2], words[:, 1], words[:, 0], ranks))
    return order.astype(np.int64)


def same_as_previous(node_ids: pa.ChunkedArray, keys: ByteMatrix) -> npt.NDArray[np.bool_]:
    """Tell of each job, in sorted order, whether it has node and job key of the one before it."""
    same = np.zeros(len(keys), dtype=np.bool_)
    if len(keys) > 1:
        _, nodes = node_indices(node_ids)
        same[1:] = (nodes[1:] == nodes[:-1]) & (keys[1:] == keys[:-1]).all(axis=1)
    return same
