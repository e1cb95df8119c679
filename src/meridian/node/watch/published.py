"""What an aggregator committed to, read from what it published; nothing is believed but what hashes to its name.

Rows are taken as they are published, right or wrong: finding what is wrong with them is `meridian.disputes`' work.
"""

from collections.abc import Callable

import numpy as np

from meridian.disputes.accusation import Accusation
from meridian.disputes.accusation import Commitment as Accused
from meridian.disputes.commitment_faults import PublishedEpoch, challenge_job, challenge_node
from meridian.disputes.ways import RowTree, node_row_tree
from meridian.errors import InvalidInput, RemoteFault
from meridian.measure.commitment import committed_root, load_epoch
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.order import node_runs
from meridian.measure.row import rebuild_rows
from meridian.measure.schema import NetworkSchema
from meridian.node.chain_view import Commitment
from meridian.primitives.cid import digest_of

Fetch = Callable[[bytes], bytes]
"""Digest -> bytes, unchecked."""


def accused_of(commitment: Commitment) -> Accused:
    """Return a commitment as the proofs name it."""
    return Accused(
        commitment.epoch,
        commitment.aggregator,
        commitment.root,
        commitment.n_nodes,
        commitment.annotation,
        commitment.manifest,
    )


def published_epoch(commitment: Commitment, schema_digest: bytes, fetch: Fetch) -> PublishedEpoch:
    """Return the rows behind a commitment.

    Args:
        commitment: What the chain says.
        schema_digest: Of the network's schema.
        fetch: The published artefacts.

    Raises:
        InvalidInput: If what is published is not what the manifest names, or cannot be read: as good as nothing.
        RemoteFault: If something is not published now.
    """
    manifest, schema, checked = _head(commitment, schema_digest, fetch)
    nodes, jobs = load_epoch(manifest, schema, checked)
    rows = rebuild_rows(schema, jobs)
    names, sizes = node_runs(jobs.column("node_id"))
    ends = np.cumsum(sizes)
    of_node = {
        name: rows[end - size : end] for name, size, end in zip(names, sizes, ends, strict=True)
    }
    if len(of_node) != len(names):
        raise InvalidInput("jobs", "the jobs of a node do not stand together")
    none = rows[:0]
    return PublishedEpoch(
        accused_of(commitment),
        nodes.rows,
        tuple(of_node.get(name, none) for name in nodes.ids),
        schema.lanes.kind,
    )


def missing_row(commitment: Commitment, schema_digest: bytes, fetch: Fetch) -> Accusation:
    """Return a challenge to show what is not published: a job where the nodes are known, else a node."""
    accused = accused_of(commitment)
    try:
        nodes = published_nodes(commitment, schema_digest, fetch)
    except (InvalidInput, RemoteFault):
        return challenge_node(accused, 0)
    return challenge_job(accused, nodes, 0, 0) if nodes.size else challenge_node(accused, 0)


def published_nodes(commitment: Commitment, schema_digest: bytes, fetch: Fetch) -> RowTree:
    """Return the node rows behind a commitment, which lead to its root; jobs are not fetched.

    Raises:
        InvalidInput: If what is published is not what the manifest names, or does not lead to the root.
        RemoteFault: If something is not published now.
    """
    manifest, schema, checked = _head(commitment, schema_digest, fetch)
    nodes = node_row_tree(Nodes.decode(checked(manifest.nodes)).rows, schema.lanes.kind)
    if committed_root(commitment.epoch, nodes.size, nodes.tree.root) != commitment.root:
        raise InvalidInput("nodes", "the published rows do not lead to the committed root")
    return nodes


def _head(
    commitment: Commitment, schema_digest: bytes, fetch: Fetch
) -> tuple[Manifest, NetworkSchema, Fetch]:
    """Return manifest and schema, and a fetch that checks."""

    def checked(digest: bytes) -> bytes:
        data = fetch(digest)
        if digest_of(data) != digest:
            raise InvalidInput("artefact", f"the published bytes do not hash to {digest.hex()}")
        return data

    manifest = Manifest.decode(checked(commitment.manifest))
    if manifest.schema != schema_digest:
        raise InvalidInput("schema", "the manifest names another than the network's")
    return manifest, NetworkSchema.decode(checked(schema_digest)), checked
