"""The verdict tree: one leaf for each node, over the codes of its jobs in the order of its job tree.

The evaluation's own accumulation beside the commitment: what was measured stays as it is, and what was thought of it is
recorded and provable. The shape is RFC 9162's, with tags of its own; leaves are sorted by node key.
"""

from collections.abc import Sequence

import numpy as np

from meridian.errors import InvalidInput
from meridian.evaluate.function import EpochInput, Evaluation
from meridian.primitives.codec import Writer
from meridian.primitives.hashing import (
    EMPTY_TREE,
    SEALED_COUNTS,
    SEALED_VERDICTS,
    VERDICT_LEAF,
    VERDICT_NODE,
    sha256,
    tagged,
)


def verdict_leaf(node_key: bytes, codes: bytes) -> bytes:
    """Return the leaf of a node: its key, the number of its jobs and the hash of their codes."""
    return verdict_leaf_of(node_key, len(codes), sha256(codes))


def verdict_leaf_of(node_key: bytes, jobs: int, codes_digest: bytes) -> bytes:
    """Return the leaf of a node from the SHA-256 of its codes."""
    return tagged(VERDICT_LEAF, node_key, jobs.to_bytes(8, "big"), codes_digest)


def verdicts_by_node(epoch: EpochInput, verdicts: bytes) -> list[bytes]:
    """Cut the codes of a whole epoch into one byte string for each node.

    Raises:
        InvalidInput: If the table is not sorted by node, so that the order of codes would not be canonical.
    """
    nodes = epoch.jobs.column("node").to_numpy()
    if len(nodes) != len(verdicts) or (len(nodes) > 1 and bool((nodes[1:] < nodes[:-1]).any())):
        raise InvalidInput("jobs", "the table is not sorted by node, or has another number of rows")
    ends = np.searchsorted(nodes, np.arange(len(epoch.node_ids)), side="right").tolist()
    return [verdicts[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def verdict_leaves(epoch: EpochInput, verdicts: bytes) -> list[bytes]:
    """Return the leaves of an epoch, in the order of its nodes."""
    parts = verdicts_by_node(epoch, verdicts)
    return [verdict_leaf(key, codes) for key, codes in zip(epoch.node_keys, parts, strict=True)]


def evaluation_leaves(epoch: EpochInput, evaluation: Evaluation) -> list[bytes]:
    """Return the leaves of an evaluation; where a layer is sealed, they bind the true reasons too.

    Raises:
        InvalidInput: As `verdicts_by_node`, or if there is another number of roots than of nodes.
    """
    leaves = verdict_leaves(epoch, evaluation.verdicts)
    if evaluation.sealed is None:
        return leaves
    roots = evaluation.sealed.roots
    if len(roots) != len(leaves):
        raise InvalidInput("sealed", f"{len(roots)} roots for {len(leaves)} nodes")
    return [tagged(SEALED_VERDICTS, leaf, root) for leaf, root in zip(leaves, roots, strict=True)]


def evaluation_root(epoch: EpochInput, evaluation: Evaluation) -> bytes:
    """Return the verdict root of an evaluation, which its row carries."""
    root = verdict_root(evaluation_leaves(epoch, evaluation))
    return root if evaluation.sealed is None else counted_root(root, evaluation.sealed.counts)


def counted_root(root: bytes, counts: Sequence[tuple[str, int]]) -> bytes:
    """Return the root over the leaves bound to the counts of the sealed layers."""
    writer = Writer().fixed(root, 32)
    for name, count in counts:
        writer.blob(name.encode()).u64(count)
    return tagged(SEALED_COUNTS, writer.bytes())


def _parents(level: Sequence[bytes], tag: int) -> list[bytes]:
    pairs = [tagged(tag, a, b) for a, b in zip(level[0::2], level[1::2], strict=False)]
    return pairs + list(level[len(pairs) * 2 :])


def verdict_root(leaves: Sequence[bytes], tag: int = VERDICT_NODE) -> bytes:
    """Return the root over the leaves, the empty tree's for none; `tag` is that of inner nodes."""
    level = list(leaves) or [EMPTY_TREE]
    while len(level) > 1:
        level = _parents(level, tag)
    return level[0]


def verdict_path(leaves: Sequence[bytes], index: int, tag: int = VERDICT_NODE) -> list[bytes]:
    """Return the siblings from the leaf at `index` up to the root."""
    if not 0 <= index < len(leaves):
        raise InvalidInput("index", f"{index} is outside a tree of {len(leaves)} leaves")
    level, path = list(leaves), []
    while len(level) > 1:
        if index ^ 1 < len(level):
            path.append(level[index ^ 1])
        level, index = _parents(level, tag), index >> 1
    return path


def verify_verdict(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Tell whether `leaf` stands at `index` among the `size` leaves under `root`."""
    return root_of_path(leaf, index, size, path, VERDICT_NODE) == root


def root_of_path(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], tag: int
) -> bytes | None:
    """Return the root that a path gives, None where it has not the shape of `index` among `size` leaves."""
    if not 0 <= index < size:
        return None
    node, siblings = leaf, iter(path)
    while size > 1:
        if index ^ 1 < size:
            sibling = next(siblings, None)
            if sibling is None:
                return None
            node = tagged(tag, *((sibling, node) if index & 1 else (node, sibling)))
        index, size = index >> 1, (size + 1) >> 1
    return node if next(siblings, None) is None else None
