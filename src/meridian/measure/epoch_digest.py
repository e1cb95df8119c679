"""The running digest over what stands committed for an epoch, and the one word that says what a commitment was.

Law: the digest starts at zero and is folded once for each commitment, void and self-commitment, in the order of their
events; the contract `Commitments` does the same. While no aggregator's commitment stands nobody can report the epoch;
what is committed later goes on from the digest that was folded.
"""

from typing import Final

from meridian.primitives.codec import Writer
from meridian.primitives.hashing import (
    COMMITMENT_RECORD,
    DIGEST_BYTES,
    EPOCH_DIGEST,
    SELF_DIGEST,
    VOID_DIGEST,
    tagged,
)
from meridian.primitives.ids import Address, NodeKey

NO_DIGEST: Final = bytes(DIGEST_BYTES)
"""The digest of an epoch before anything is committed."""
ANNOTATION_BYTES: Final = 24


def _content(root: bytes, n_nodes: int, annotation: bytes, manifest: bytes) -> bytes:
    return (
        Writer()
        .fixed(root, DIGEST_BYTES)
        .u64(n_nodes)
        .fixed(annotation, ANNOTATION_BYTES)
        .fixed(manifest, DIGEST_BYTES)
        .bytes()
    )


def commitment_record(root: bytes, n_nodes: int, annotation: bytes, manifest: bytes) -> bytes:
    """Return the word that the contract keeps for a commitment: all that it says, in 32 bytes."""
    return tagged(COMMITMENT_RECORD, _content(root, n_nodes, annotation, manifest))


def fold_commitment(
    before: bytes,
    aggregator: Address,
    root: bytes,
    n_nodes: int,
    annotation: bytes,
    manifest: bytes,
) -> bytes:
    """Return the epoch's digest after one more commitment."""
    return tagged(EPOCH_DIGEST, before, aggregator, _content(root, n_nodes, annotation, manifest))


def fold_void(before: bytes, aggregator: Address, root: bytes) -> bytes:
    """Return the epoch's digest after a commitment was voided."""
    return tagged(VOID_DIGEST, before, aggregator, root)


def fold_self(
    before: bytes, node: NodeKey, tree_hash: bytes, annotation: bytes, segment: bytes
) -> bytes:
    """Return the epoch's digest after a node committed itself.

    Args:
        before: The digest so far.
        node: The node's key.
        tree_hash: The hash of the root node of the node's job tree.
        annotation: That root node's annotation, 24 bytes.
        segment: SHA-256 of the published segment of the node's jobs.
    """
    return tagged(SELF_DIGEST, before, node, tree_hash, annotation, segment)
