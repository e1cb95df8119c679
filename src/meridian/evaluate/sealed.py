"""True reasons under salt: the tree over what sealed layers hide, and the opening of one job's reason.

    epoch seed     = SHA256(SEALED_SEED | epoch u64 | salts of the private bundles, in order)
    salt of a job  = SHA256(SEALED_SALT | epoch seed 32 | node key 32 | index u64)
    leaf of a job  = SHA256(SEALED_LEAF | salt 32 | node key 32 | index u64 | SHA-256(reason) 32)
    root of a node = the root over the leaves of its jobs, inner nodes tagged SEALED_NODE

All evaluators have the same salts, and so the same roots. An opening shows one job's
reason and salt and two paths, up to the verdict root that the report carries. It says nothing of any other job.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meridian.errors import InvalidInput
from meridian.evaluate.function import EpochInput, Evaluation, SealedVerdicts
from meridian.evaluate.verdicts import (
    counted_root,
    evaluation_leaves,
    root_of_path,
    verdict_leaf_of,
    verdict_path,
    verdicts_by_node,
)
from meridian.primitives.hashing import (
    EMPTY_TREE,
    SEALED_LEAF,
    SEALED_NODE,
    SEALED_SALT,
    SEALED_SEED,
    SEALED_VERDICTS,
    VERDICT_NODE,
    ByteMatrix,
    sha256,
    sha256_rows,
    tag_rows,
    tagged,
)


@dataclass(frozen=True, slots=True)
class TrueReasons:
    """What only evaluators know: the reason of every job, and the seed of the salts."""

    seed: bytes
    codes: bytes
    """One for each job, in the order of the jobs."""
    reasons: tuple[str, ...]


def epoch_seed(epoch: int, salts: Sequence[bytes]) -> bytes:
    """Return the seed of an epoch's salts, from the salts of its sealed layers in order."""
    return tagged(SEALED_SEED, epoch.to_bytes(8, "big"), *salts)


def reason_roots(epoch: EpochInput, secret: TrueReasons) -> tuple[bytes, ...]:
    """Return the root over the true reasons of each node's jobs."""
    parts = zip(epoch.node_keys, verdicts_by_node(epoch, secret.codes), strict=True)
    return tuple(_root(_leaves(secret, key, codes)) for key, codes in parts)


def _leaves(secret: TrueReasons, node_key: bytes, codes: bytes) -> ByteMatrix:
    count = len(codes)
    key = np.broadcast_to(np.frombuffer(node_key, dtype=np.uint8), (count, 32))
    seed = np.broadcast_to(np.frombuffer(secret.seed, dtype=np.uint8), (count, 32))
    index = np.arange(count, dtype=">u8").view(np.uint8).reshape(count, 8)
    salts = sha256_rows(tag_rows(SEALED_SALT, seed, key, index))
    hashed = b"".join(sha256(reason.encode()) for reason in secret.reasons)
    reasons = np.frombuffer(hashed, dtype=np.uint8).reshape(len(secret.reasons), 32)
    which = reasons[np.frombuffer(codes, dtype=np.uint8)]
    return sha256_rows(tag_rows(SEALED_LEAF, salts, key, index, which))


def _parents(level: ByteMatrix) -> ByteMatrix:
    pairs = len(level) // 2
    above = sha256_rows(tag_rows(SEALED_NODE, level[0 : 2 * pairs : 2], level[1 : 2 * pairs : 2]))
    return np.concatenate([above, level[2 * pairs :]])


def _root(level: ByteMatrix) -> bytes:
    while len(level) > 1:
        level = _parents(level)
    return level[0].tobytes() if len(level) else EMPTY_TREE


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One job's true reason, and the way from it to the verdict root."""

    node_key: bytes
    index: int
    """Of the job in the node's job tree."""
    jobs: int
    """Of the node."""
    reason: str
    salt: bytes
    path: tuple[bytes, ...]
    """Siblings up to the root over the node's reasons."""
    codes_digest: bytes
    """SHA-256 of the node's public codes."""
    node_index: int
    nodes: int
    node_path: tuple[bytes, ...]
    """Siblings up to the root over the nodes."""
    counts: tuple[tuple[str, int], ...]
    """The counts of the sealed layers, which the verdict root binds."""


def open_reason(
    epoch: EpochInput, evaluation: Evaluation, secret: TrueReasons, node: int, index: int
) -> Opening:
    """Open one job's true reason.

    Args:
        epoch: What was evaluated.
        evaluation: With sealed verdicts.
        secret: The true reasons behind it.
        node: Number of the node.
        index: Of the job in the node's job tree.

    Raises:
        InvalidInput: If nothing is sealed, or there is no such job.
    """
    if evaluation.sealed is None:
        raise InvalidInput("layers", "none is sealed: every reason is public")
    codes = verdicts_by_node(epoch, secret.codes)[node]
    if not 0 <= index < len(codes):
        raise InvalidInput("index", f"{index} is not one of the node's {len(codes)} jobs")
    key, at = epoch.node_keys[node], index.to_bytes(8, "big")
    level, place, path = _leaves(secret, key, codes), index, []
    while len(level) > 1:
        if place ^ 1 < len(level):
            path.append(level[place ^ 1].tobytes())
        level, place = _parents(level), place >> 1
    public = verdicts_by_node(epoch, evaluation.verdicts)[node]
    return Opening(
        node_key=key,
        index=index,
        jobs=len(codes),
        reason=secret.reasons[codes[index]],
        salt=tagged(SEALED_SALT, secret.seed, key, at),
        path=tuple(path),
        codes_digest=sha256(public),
        node_index=node,
        nodes=len(epoch.node_keys),
        node_path=tuple(verdict_path(evaluation_leaves(epoch, evaluation), node)),
        counts=evaluation.sealed.counts,
    )


def check_opening(opening: Opening, root: bytes) -> bool:
    """Tell whether an opening shows a reason that stands under a verdict root."""
    index = opening.index.to_bytes(8, "big")
    hashed = sha256(opening.reason.encode())
    leaf = tagged(SEALED_LEAF, opening.salt, opening.node_key, index, hashed)
    reasons = root_of_path(leaf, opening.index, opening.jobs, opening.path, SEALED_NODE)
    if reasons is None:
        return False
    node = tagged(
        SEALED_VERDICTS,
        verdict_leaf_of(opening.node_key, opening.jobs, opening.codes_digest),
        reasons,
    )
    top = root_of_path(node, opening.node_index, opening.nodes, opening.node_path, VERDICT_NODE)
    return top is not None and counted_root(top, opening.counts) == root


def sealed_verdicts(
    epoch: EpochInput, secret: TrueReasons, counts: Sequence[tuple[str, int]]
) -> SealedVerdicts:
    """Return what is published of true reasons."""
    return SealedVerdicts(reason_roots(epoch, secret), tuple(counts))
