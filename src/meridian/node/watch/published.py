"""What an aggregator committed to, read from what it published; nothing is believed but what hashes to its name.

Rows are taken as they are published, right or wrong: finding what is wrong with them is `meridian.disputes`' work.
"""

from collections.abc import Callable

import numpy as np

from meridian.disputes.accusation import Commitment as Accused
from meridian.disputes.commitment_faults import PublishedEpoch
from meridian.errors import InvalidInput
from meridian.measure.commitment import load_epoch
from meridian.measure.manifest import Manifest
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

    def checked(digest: bytes) -> bytes:
        data = fetch(digest)
        if digest_of(data) != digest:
            raise InvalidInput("artefact", f"the published bytes do not hash to {digest.hex()}")
        return data

    manifest = Manifest.decode(checked(commitment.manifest))
    if manifest.schema != schema_digest:
        raise InvalidInput("schema", "the manifest names another than the network's")
    schema = NetworkSchema.decode(checked(schema_digest))
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
