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
    keys = row_keys(rows)
    first = _first_words(keys)
    ascends = first[:-1] < first[1:]
    ascends[np.cumsum(sizes)[:-1] - 1] = True  # the first job of the next node may have any key
    doubtful = np.flatnonzero(~ascends)  # none, but for keys that agree in their first 8 bytes
    before, after = _all_words(keys[doubtful]), _all_words(keys[doubtful + 1])
    below, equal = np.zeros(len(before), dtype=np.bool_), np.ones(len(before), dtype=np.bool_)
    for at in range(before.shape[1]):
        below |= equal & (before[:, at] < after[:, at])
        equal &= before[:, at] == after[:, at]
    wrong = doubtful[~below]
    if len(wrong):
        raise InvalidInput("job_id", f"row {int(wrong[0]) + 1} does not follow the one before it")


def _first_words(keys: ByteMatrix) -> npt.NDArray[np.uint64]:
    """Return the first 8 bytes of each key as a number."""
    return keys[:, :8].view(">u8")[:, 0].astype(np.uint64)


def _all_words(keys: ByteMatrix) -> npt.NDArray[np.uint64]:
    words: npt.NDArray[np.uint64] = np.ascontiguousarray(keys).view(">u8").astype(np.uint64)
    return words


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
    ranks = groups.astype(np.uint64)
    bits = np.uint64(max(1, int(groups.max()).bit_length()))
    mixed = (ranks << (np.uint64(64) - bits)) | (_first_words(keys) >> bits)
    order: Integers = np.argsort(mixed).astype(np.int64)
    sorted_mixed = mixed[order]
    same = sorted_mixed[1:] == sorted_mixed[:-1]
    if same.any():  # keys that agree in their first bits, by chance or by work, or are equal
        in_tie = np.zeros(len(order), dtype=np.bool_)
        in_tie[1:] |= same
        in_tie[:-1] |= same
        tied = np.sort(order[in_tie])
        words = _all_words(keys[tied])
        columns = (words[:, 3], words[:, 2], words[:, 1], words[:, 0], ranks[tied])
        order[in_tie] = tied[np.lexsort(columns)]  # runs of ties keep their places: they ascend
    return order


def same_as_previous(node_ids: pa.ChunkedArray, keys: ByteMatrix) -> npt.NDArray[np.bool_]:
    """Tell of each job, in sorted order, whether it has node and job key of the one before it."""
    same = np.zeros(len(keys), dtype=np.bool_)
    if len(keys) > 1:
        _, nodes = node_indices(node_ids)
        same[1:] = (nodes[1:] == nodes[:-1]) & (keys[1:] == keys[:-1]).all(axis=1)
    return same
