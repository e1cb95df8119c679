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
from meridian.measure.order import cached_node_key, node_runs
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
    """Numbers the aggregator's receipts from 0."""
    batch_root: bytes
    received_at_us: int

    def digest(self, domain: Domain) -> bytes:
        """Return the EIP-712 digest; the domain is that of the contract `Commitments`."""
        return eip712.digest(
            domain,
            RECEIPT.hash(
                self.network,
                self.deadline_epoch,
                self.aggregator,
                self.sequence,
                self.batch_root,
                self.received_at_us,
            ),
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
        return cls(receipt, domain, key.sign(receipt.digest(domain)))

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
