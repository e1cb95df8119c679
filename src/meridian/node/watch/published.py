"""What an aggregator committed to, read from what it published; nothing is believed but what hashes to its name.

Rows are taken as they are published, right or wrong: finding what is wrong with them is `meridian.disputes`' work.
"""

from collections.abc import Callable, Mapping

import numpy as np

from meridian.disputes.accusation import Accusation
from meridian.disputes.accusation import Commitment as Accused
from meridian.disputes.commitment_faults import PublishedEpoch, challenge_job, challenge_node
from meridian.disputes.ways import RowTree, node_row_tree
from meridian.errors import InvalidInput, RemoteFault
from meridian.measure.commitment import committed_root, job_tree, load_epoch, load_node_jobs
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.order import node_runs
from meridian.measure.row import ROW_BYTES, rebuild_rows
from meridian.measure.schema import NetworkSchema
from meridian.node.chain_view import Commitment
from meridian.primitives.cid import digest_of
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.ids import NodeKey
from meridian.primitives.sumtree import LaneKind

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


def published_epoch(
    commitment: Commitment, schema_digest: bytes, fetch: Fetch, only: NodeKey | None = None
) -> PublishedEpoch:
    """Return the rows behind a commitment.

    Args:
        commitment: What the chain says.
        schema_digest: Of the network's schema.
        fetch: The published artefacts.
        only: The one node whose jobs are wanted: segments without them are not fetched; None: all.

    Raises:
        InvalidInput: If what is published is not what the manifest names, or cannot be read: as good as nothing.
        RemoteFault: If something is not published now.
    """
    manifest, schema, checked = _head(commitment, schema_digest, fetch)
    if only is not None:
        nodes = Nodes.decode(checked(manifest.nodes))
        place = place_of_node(nodes.rows, only)
        if place is None:
            return _epoch(commitment, schema, nodes, {})
        own = rebuild_rows(schema, load_node_jobs(manifest, schema, checked, nodes, place))
        if _root(own, schema.lanes.kind) == nodes.job_root(place):
            return _epoch(commitment, schema, nodes, {nodes.ids[place]: own})
    nodes, jobs = load_epoch(manifest, schema, checked)
    rows = rebuild_rows(schema, jobs)
    names, sizes = node_runs(jobs.column("node_id"))
    ends = np.cumsum(sizes)
    of_node = {
        name: rows[end - size : end] for name, size, end in zip(names, sizes, ends, strict=True)
    }
    if len(of_node) != len(names):
        raise InvalidInput("jobs", "the jobs of a node do not stand together")
    return _epoch(commitment, schema, nodes, of_node)


def _epoch(
    commitment: Commitment, schema: NetworkSchema, nodes: Nodes, of_node: Mapping[str, ByteMatrix]
) -> PublishedEpoch:
    none = np.zeros((0, ROW_BYTES), dtype=np.uint8)
    tables = tuple(of_node.get(name, none) for name in nodes.ids)
    return PublishedEpoch(accused_of(commitment), nodes.rows, tables, schema.lanes.kind)


def _root(rows: ByteMatrix, lanes: LaneKind) -> bytes | None:
    try:
        return job_tree(rows, lanes).root
    except InvalidInput:  # a sum passes its bits
        return None


def place_of_node(node_rows: ByteMatrix, key: NodeKey) -> int | None:
    """Return where a node's row stands, None if it has none."""
    wanted = np.frombuffer(key, dtype=np.uint8)
    found = np.flatnonzero((node_rows[:, 8:40] == wanted).all(axis=1))
    return int(found[0]) if len(found) else None


def missing_row(
    commitment: Commitment, schema_digest: bytes, fetch: Fetch, only: NodeKey | None = None
) -> Accusation | None:
    """Return a challenge to show what is not published: a job of a missing segment where the nodes are known, else a node.

    Args:
        commitment: What the chain says.
        schema_digest: Of the network's schema.
        fetch: The published artefacts.
        only: The one node that matters; None: any.

    Returns:
        None if the one node that matters has no jobs: nothing of it is missing.
    """
    accused = accused_of(commitment)
    try:
        manifest, schema, checked = _head(commitment, schema_digest, fetch)
        published = Nodes.decode(checked(manifest.nodes))
        nodes = node_row_tree(published.rows, schema.lanes.kind)
    except (InvalidInput, RemoteFault):
        return challenge_node(accused, 0)
    if not nodes.size or committed_root(accused.epoch, nodes.size, nodes.tree.root) != accused.root:
        return challenge_node(accused, 0)
    if only is not None:
        place = place_of_node(published.rows, only)
        if place is None or not published.job_counts[place]:
            return None
        return challenge_job(accused, nodes, place, 0)
    return challenge_job(accused, nodes, *_first_missing(manifest, published, checked))


def _first_missing(manifest: Manifest, nodes: Nodes, checked: Fetch) -> tuple[int, int]:
    """Return node and job of the first row in a segment that is not published: whoever has the others cannot show it."""
    row = 0
    for segment in manifest.segments:
        try:
            checked(segment.digest)
        except (InvalidInput, RemoteFault):
            break
        row += segment.rows
    for place, count in enumerate(nodes.job_counts):
        if row < count:
            return place, row
        row -= count
    return 0, 0


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
