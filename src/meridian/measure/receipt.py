"""Receipts: what an aggregator promises for a batch, under its signature.

The promise: every accepted job of the batch stands exactly once in an epoch up to `deadline_epoch`, with exactly this
row. A batch may hold jobs of many nodes and needs one signature: its root is a tree over one small job tree for each
node. Receipt, the row's path to `batch_root`, and the absence of its job key up to the deadline prove an omission.

    part   root node (56 B) of the node's jobs in the batch: same rows, order, tags and sums as the epoch's job trees
    leaf   (SHA256(0x0c | node key 32 | part 56), annotation of the part), sorted by node key
    root   hash of the root node of the sum tree over the leaves with tag 0x0d
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.measure.commitment import job_roots, job_tree
from meridian.measure.forest import forest_roots
from meridian.measure.order import Integers, cached_node_key, node_runs, order_in_groups
from meridian.measure.row import JobRow, job_leaf
from meridian.measure.schema import NetworkSchema
from meridian.primitives import eip712
from meridian.primitives.eip712 import Domain, StructType
from meridian.primitives.hashing import (
    BATCH_LEAF,
    BATCH_NODE,
    DIGEST_BYTES,
    JOB_NODE,
    ByteMatrix,
    sha256_rows,
    tag_rows,
    tagged,
)
from meridian.primitives.ids import (
    Address,
    NodeKey,
    address_text,
    job_key,
    parse_address,
    parse_digest,
)
from meridian.primitives.keys import PrivateKey, signed_by
from meridian.primitives.sumtree import HASH_BYTES, LaneKind, SumTree, fold

RECEIPT: Final = StructType(
    "Receipt",
    (
        ("network", "bytes32"),
        ("deadlineEpoch", "uint64"),
        ("aggregator", "address"),
        ("sequence", "uint64"),
        ("batchRoot", "bytes32"),
        ("receivedAtUs", "uint64"),
    ),
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The signed statement."""

    network: bytes
    deadline_epoch: int
    aggregator: Address
    sequence: int
    """Numbers the aggregator's receipts, those of each of its servers apart (`claims.first_sequence`)."""
    batch_root: bytes
    received_at_us: int

    def digest(self, domain: Domain) -> bytes:
        """Return the EIP-712 digest; the domain is that of the contract `Commitments`."""
        return eip712.digests(domain, [self.encode()])[0]

    def encode(self) -> bytes:
        """Return the type's hash and the fields, as EIP-712 hashes them."""
        return RECEIPT.encode(
            self.network,
            self.deadline_epoch,
            self.aggregator,
            self.sequence,
            self.batch_root,
            self.received_at_us,
        )


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A receipt with its aggregator's signature, as it travels."""

    receipt: Receipt
    domain: Domain
    signature: bytes

    @classmethod
    def sign(cls, receipt: Receipt, domain: Domain, key: PrivateKey) -> "SignedReceipt":
        """Sign a receipt."""
        return cls.sign_all([receipt], domain, key)[0]

    @classmethod
    def sign_all(
        cls, receipts: Sequence[Receipt], domain: Domain, key: PrivateKey
    ) -> list["SignedReceipt"]:
        """Sign receipts that are given together."""
        digests = eip712.digests(domain, [receipt.encode() for receipt in receipts])
        return [
            cls(receipt, domain, key.sign(digest))
            for receipt, digest in zip(receipts, digests, strict=True)
        ]

    @property
    def holds(self) -> bool:
        """Whether the named aggregator signed it."""
        receipt = self.receipt
        return signed_by(receipt.digest(self.domain), self.signature, receipt.aggregator)

    def document(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "network": self.receipt.network.hex(),
            "deadline_epoch": self.receipt.deadline_epoch,
            "aggregator": address_text(self.receipt.aggregator),
            "sequence": self.receipt.sequence,
            "batch_root": self.receipt.batch_root.hex(),
            "received_at_us": self.receipt.received_at_us,
            "chain_id": self.domain.chain_id,
            "contract": address_text(self.domain.contract),
            "signature": self.signature.hex(),
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "SignedReceipt":
        """Read the JSON form.

        Raises:
            InvalidInput: If it is not one.
        """
        try:
            receipt = Receipt(
                network=parse_digest(document["network"], "network"),
                deadline_epoch=int(document["deadline_epoch"]),
                aggregator=parse_address(document["aggregator"], "aggregator"),
                sequence=int(document["sequence"]),
                batch_root=parse_digest(document["batch_root"], "batch_root"),
                received_at_us=int(document["received_at_us"]),
            )
            domain = Domain(int(document["chain_id"]), parse_address(document["contract"]))
            return cls(receipt, domain, bytes.fromhex(document["signature"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput("receipt", f"it lacks or misuses {error}") from error


@dataclass(frozen=True, slots=True)
class BatchProof:
    """The way from one job's row to a receipt's batch root."""

    row: bytes
    index: int
    """Place in the node's part, and `size` its number of jobs."""
    size: int
    path: tuple[bytes, ...]
    part_index: int
    """Place of the part among the batch's nodes, and `parts` their number."""
    parts: int
    part_path: tuple[bytes, ...]


class Batch:
    """The tree of one batch.

    Args:
        schema: The network's schema.
        rows: The job rows, sorted by (node key, job key).
        node_ids: The node of each row.
    """

    def __init__(self, schema: NetworkSchema, rows: ByteMatrix, node_ids: pa.ChunkedArray) -> None:
        self._lanes = schema.lanes.kind
        self._rows = rows
        self._ids, self._sizes = node_runs(node_ids)
        parts = job_roots(schema, rows, self._sizes)
        keys = b"".join([cached_node_key(name) for name in self._ids])
        key_rows = np.frombuffer(keys, dtype=np.uint8).reshape(-1, DIGEST_BYTES)
        leaves = parts.copy()
        leaves[:, :HASH_BYTES] = sha256_rows(tag_rows(BATCH_LEAF, key_rows, parts))
        self._tree = SumTree(leaves, BATCH_NODE, self._lanes)

    @property
    def root(self) -> bytes:
        """The 32 bytes that a receipt signs."""
        return self._tree.root[:HASH_BYTES]

    def prove(self, node_id: str, job_id: str) -> BatchProof:
        """Return the proof of one job.

        Raises:
            InvalidInput: If the batch has no such job.
        """
        if node_id not in self._ids:
            raise InvalidInput("node_id", f"{node_id!r} has no jobs in the batch")
        part = self._ids.index(node_id)
        start = int(self._sizes[:part].sum())
        rows = self._rows[start : start + int(self._sizes[part])]
        key = job_key(job_id)
        for at, row in enumerate(rows):
            if JobRow.decode(row.tobytes()).job_key == key:
                return BatchProof(
                    row=row.tobytes(),
                    index=at,
                    size=len(rows),
                    path=tuple(job_tree(rows, self._lanes).path(at)),
                    part_index=part,
                    parts=len(self._ids),
                    part_path=tuple(self._tree.path(part)),
                )
        raise InvalidInput("job_id", f"{job_id!r} is not in the batch")


@dataclass(frozen=True, slots=True)
class NodeOrder:
    """Some nodes in the order of their keys."""

    sorted_keys: ByteMatrix
    """The keys, ascending, shape (n, 32)."""
    rank: Integers
    """Where the key of each node stands among them."""

    @classmethod
    def of(cls, keys: ByteMatrix) -> "NodeOrder":
        """Return the order of node keys, each given once; shape (n, 32)."""
        by_key = order_in_groups(np.zeros(len(keys), dtype=np.int64), keys)
        rank = np.empty(len(keys), dtype=np.int64)
        rank[by_key] = np.arange(len(keys))
        return cls(keys[by_key], rank)


def batch_roots(
    lanes: LaneKind,
    leaves: ByteMatrix,
    *,
    batch_of: Integers,
    node_of: Integers,
    nodes: NodeOrder,
    keys: ByteMatrix,
) -> ByteMatrix:
    """Return the roots of many batches at once, shape (batches with jobs, 32), in the order of their numbers.

    Only a permutation is sorted; all trees of a layer are built together.

    Args:
        lanes: What the lanes mean.
        leaves: The job leaves, in any order, shape (n, 56).
        batch_of: The number of each job's batch.
        node_of: The number of each job's node.
        nodes: The order of the nodes, by number.
        keys: The job keys; one node has each at most once in a batch.
    """
    count = len(nodes.rank)
    part_of = batch_of * count + nodes.rank.take(node_of)
    order = order_in_groups(part_of, keys)
    part_of = part_of.take(order)
    starts = np.flatnonzero(np.diff(part_of, prepend=-1))
    sizes = np.diff(starts, append=len(part_of))
    parts = forest_roots(leaves.take(order, axis=0), sizes, JOB_NODE, lanes)
    batches, ranks = np.divmod(part_of[starts], count)
    tops = parts.copy()
    bound = np.concatenate([nodes.sorted_keys.take(ranks, axis=0), parts], axis=1)
    sha256_rows(bound, BATCH_LEAF, tops)
    counts = np.diff(np.flatnonzero(np.diff(batches, prepend=-1)), append=len(batches))
    return forest_roots(tops, counts, BATCH_NODE, lanes)[:, :HASH_BYTES]


def batch_root_of(proof: BatchProof, key: NodeKey, lanes: LaneKind) -> bytes:
    """Return the batch root that a proof implies for a node; the promise covers the row if the receipt has that root.

    Raises:
        InvalidInput: If the proof is malformed.
    """
    part = fold(job_leaf(proof.row), proof.index, proof.size, proof.path, JOB_NODE, lanes)
    if int.from_bytes(part[32:40], "big") != proof.size:
        raise InvalidInput("size", "it is not the part's number of jobs")
    leaf = tagged(BATCH_LEAF, key, part) + part[HASH_BYTES:]
    root = fold(leaf, proof.part_index, proof.parts, _nodes(proof), BATCH_NODE, lanes)
    return root[:HASH_BYTES]


def _nodes(proof: BatchProof) -> Sequence[bytes]:
    return proof.part_path
