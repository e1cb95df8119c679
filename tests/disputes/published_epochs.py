"""Small published epochs, honest and otherwise, made of rows alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from meridian.disputes.accusation import Commitment
from meridian.disputes.commitment_faults import PublishedEpoch
from meridian.measure.commitment import committed_root, job_tree, node_leaf, node_tree
from meridian.measure.epoch import Calendar
from meridian.measure.receipt import BatchProof, Receipt, SignedReceipt
from meridian.measure.row import JobRow, job_leaf
from meridian.primitives.codec import Writer
from meridian.primitives.eip712 import Domain
from meridian.primitives.hashing import (
    BATCH_LEAF,
    BATCH_NODE,
    JOB_NODE,
    NODE_NODE,
    ByteMatrix,
    sha256,
    tagged,
)
from meridian.primitives.ids import Address, NodeKey, node_key
from meridian.primitives.keys import PrivateKey
from meridian.primitives.sumtree import HASH_BYTES, NODE_BYTES, LaneKind, SumTree

LANES = LaneKind.PAIR_U64
MANIFEST = sha256(b"manifest")

Jobs = Mapping[str, Sequence[bytes]]
"""Node id -> its job rows, in any order."""


def job_row(job_id: str, ended_us: int, lanes: tuple[int, int] = (7, 9), flags: int = 0) -> bytes:
    return JobRow(
        1,
        flags,
        sha256(job_id.encode()),
        ended_us - 1000,
        ended_us,
        LANES.join(lanes),
        sha256(b"private", job_id.encode()),
    ).encode()


def matrix(rows: Sequence[bytes], width: int) -> ByteMatrix:
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), width)


def node_row(epoch: int, key: bytes, payee: bytes, job_root: bytes) -> bytes:
    head = Writer().u16(1).u16(0).u32(epoch).fixed(key, 32).fixed(payee, 20)
    return head.fixed(job_root, NODE_BYTES).bytes()


def payee_of(node_id: str) -> Address:
    return Address(sha256(b"payee", node_id.encode())[:20])


def published(
    epoch: int,
    jobs: Jobs,
    aggregator: Address,
    payees: Callable[[str], Address] = payee_of,
) -> PublishedEpoch:
    """An honest epoch."""
    order = sorted((node_id for node_id in jobs if jobs[node_id]), key=node_key)
    tables = tuple(matrix(sorted(jobs[name], key=lambda row: row[4:36]), 100) for name in order)
    rows = [
        node_row(epoch, node_key(name), payees(name), job_tree(table, LANES).root)
        for name, table in zip(order, tables, strict=True)
    ]
    return from_rows(epoch, matrix(rows, 116), tables, aggregator)


def from_rows(
    epoch: int,
    rows: ByteMatrix,
    tables: tuple[ByteMatrix, ...],
    aggregator: Address,
    top: bytes | None = None,
) -> PublishedEpoch:
    top = top or node_tree(rows, LANES).root
    root = committed_root(epoch, len(rows), top)
    commitment = Commitment(epoch, aggregator, root, len(rows), top[HASH_BYTES:], MANIFEST)
    return PublishedEpoch(commitment, rows, tables, LANES)


def tree_hash(epoch: PublishedEpoch) -> bytes:
    """The hash of the node tree's root node, whatever annotations were made up."""
    return node_tree(epoch.node_rows, LANES).root[:HASH_BYTES]


def made_up_top(leaves: Sequence[bytes], tag: int, height: int, at: int, delta: int) -> bytes:
    """The root node of a tree in which one node's sums are `delta` too high."""
    level = list(leaves)
    for step in range(65):
        if step == height:
            word = int.from_bytes(level[at][HASH_BYTES:], "big") + delta
            level[at] = level[at][:HASH_BYTES] + word.to_bytes(24, "big")
        if len(level) == 1:
            return level[0]
        above = []
        for a, b in zip(level[::2], level[1::2], strict=False):
            total = int.from_bytes(a[HASH_BYTES:], "big") + int.from_bytes(b[HASH_BYTES:], "big")
            above.append(tagged(tag, a, b) + total.to_bytes(24, "big"))
        level = above + level[2 * len(above) :]
    raise AssertionError


def inflated_node_tree(
    honest: PublishedEpoch, height: int, at: int, delta: int
) -> tuple[PublishedEpoch, bytes]:
    """A commitment to the honest rows, with one made-up sum in the node tree; and the tree's hash."""
    leaves = [node_leaf(row.tobytes()) for row in honest.node_rows]
    top = made_up_top(leaves, NODE_NODE, height, at, delta)
    c = honest.commitment
    lie = from_rows(c.epoch, honest.node_rows, honest.job_rows, c.aggregator, top)
    return lie, top[:HASH_BYTES]


def inflated_job_tree(
    honest: PublishedEpoch, place: int, height: int, at: int, delta: int
) -> PublishedEpoch:
    """The same in the job tree of one node, whose row then carries the lie."""
    leaves = [job_leaf(row.tobytes()) for row in honest.job_rows[place]]
    top = made_up_top(leaves, JOB_NODE, height, at, delta)
    rows = honest.node_rows.copy()
    rows[place, 60:] = np.frombuffer(top, dtype=np.uint8)
    c = honest.commitment
    return from_rows(c.epoch, rows, honest.job_rows, c.aggregator)


@dataclass(frozen=True)
class Batch:
    """A receipt over a batch, and the proof of each of its jobs."""

    receipt: SignedReceipt
    proofs: Mapping[tuple[str, bytes], BatchProof]


def batch(
    jobs: Jobs,
    key: PrivateKey,
    domain: Domain,
    network: bytes,
    deadline: int,
    sequence: int = 0,
) -> Batch:
    order = sorted((name for name in jobs if jobs[name]), key=node_key)
    tables = [matrix(sorted(jobs[name], key=lambda row: row[4:36]), 100) for name in order]
    trees = [job_tree(table, LANES) for table in tables]
    leaves = [
        tagged(BATCH_LEAF, node_key(name), tree.root) + tree.root[HASH_BYTES:]
        for name, tree in zip(order, trees, strict=True)
    ]
    top = SumTree(matrix(leaves, NODE_BYTES), BATCH_NODE, LANES)
    receipt = Receipt(network, deadline, key.address, sequence, top.root[:HASH_BYTES], 10**15)
    proofs = {}
    for part, (name, table, tree) in enumerate(zip(order, tables, trees, strict=True)):
        for at, row in enumerate(table):
            proofs[name, row.tobytes()] = BatchProof(
                row.tobytes(),
                at,
                len(table),
                tuple(tree.path(at)),
                part,
                len(order),
                tuple(top.path(part)),
            )
    return Batch(SignedReceipt.sign(receipt, domain, key), proofs)


def calendar(genesis_s: int, epoch_s: int, first: int) -> Calendar:
    return Calendar(genesis_s, epoch_s, first)


def key_of(node_id: str) -> NodeKey:
    return node_key(node_id)
