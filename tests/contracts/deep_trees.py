"""Commitments to so many jobs that only the paths of one proof exist."""

from dataclasses import dataclass

from contract_world import NETWORK
from disputes_world import DisputesWorld, us
from published_epochs import MANIFEST, job_row, node_row, payee_of

from meridian.contracts.calldata import signature_words
from meridian.disputes.accusation import Accusation, Commitment
from meridian.disputes.promises import receipt_words
from meridian.disputes.ways import Gap, Spot
from meridian.measure.commitment import committed_root, node_leaf
from meridian.measure.receipt import Receipt, SignedReceipt
from meridian.measure.row import job_leaf
from meridian.primitives.hashing import BATCH_LEAF, JOB_NODE, NODE_NODE, sha256, tagged
from meridian.primitives.ids import node_key
from meridian.primitives.sumtree import HASH_BYTES, leaf_node

LANES = (1_000_000, 35)


@dataclass(frozen=True)
class Deep:
    """A node of 2^nodes, with 2^jobs jobs of which two neighbours exist."""

    commitment: Commitment
    tree_hash: bytes
    node: Gap
    pair: Gap
    """The two jobs, between which another one would stand."""


def parent(left: bytes, right: bytes, tag: int) -> bytes:
    total = int.from_bytes(left[HASH_BYTES:], "big") + int.from_bytes(right[HASH_BYTES:], "big")
    return tagged(tag, left, right) + total.to_bytes(24, "big")


def sibling(level: int) -> bytes:
    """A subtree of 2^level average jobs that nobody ever built."""
    lanes = b"".join((value << level).to_bytes(8, "big") for value in LANES)
    return leaf_node(sha256(b"subtree", bytes([level])), 1 << level, lanes)


def climb(
    leaf: bytes, index: int, depth: int, tag: int, base: int = 0
) -> tuple[list[bytes], bytes]:
    """A path of average siblings and the root that it leads to."""
    path, node = [], leaf
    for level in range(depth):
        other = sibling(base + level)
        path.append(other)
        pair = (other, node) if index >> level & 1 else (node, other)
        node = parent(*pair, tag)
    return path, node


def deep(epoch: int, aggregator: bytes, nodes: int, jobs: int, name: str = "n") -> Deep:
    """Build the paths; the pair's left index ends in binary 01, as every fourth does."""
    rows = sorted((job_row(f"{i}", us(epoch), LANES) for i in range(2)), key=lambda r: r[4:36])
    index = (0b1011_0010_1011_0010_1011_0010_1001 & ((1 << jobs) - 1)) if jobs > 1 else 0
    level = 1 if jobs > 1 else 0
    lower, right = climb(job_leaf(rows[1]), 0, level, JOB_NODE)
    path, node = climb(job_leaf(rows[0]), index, level, JOB_NODE)
    node, path = parent(node, right, JOB_NODE), [*path, right]
    upper, root = climb(node, index >> (level + 1), jobs - level - 1, JOB_NODE, level + 1)
    pair = Gap(rows[0], rows[1], index, (*path, *upper), tuple(lower))
    row = node_row(epoch, node_key(name), payee_of(name), root)
    place = 0b0110_1011_0010_1011_0010_1011_0010 & ((1 << nodes) - 1)
    way, top = climb(node_leaf(row), place, nodes, NODE_NODE, jobs)
    size = 1 << nodes
    commitment = Commitment(
        epoch, aggregator, committed_root(epoch, size, top), size, top[HASH_BYTES:], MANIFEST
    )
    return Deep(commitment, top[:HASH_BYTES], Gap(row, b"", place, tuple(way), ()), pair)


def commit(world: DisputesWorld, made: Deep) -> None:
    c = made.commitment
    world.open(c.epoch)
    world.now_s = max(world.now_s, us(c.epoch + 1) // 10**6)
    words = (c.epoch, made.tree_hash, c.n_nodes, c.annotation, c.manifest)
    world.commitments.send("commit", *words, sender=world.aggregators[0])


def between(pair: Gap, epoch: int) -> bytes:
    """A job row whose key stands between the two."""
    low = int.from_bytes(pair.left[4:36], "big")
    row = job_row("promised", us(epoch), LANES)
    return row[:4] + (low + 1).to_bytes(32, "big") + row[36:]


def omitted(world: DisputesWorld, made: Deep, batch_depth: int) -> Accusation:
    """The proof that a job of a receipt over 2^batch_depth jobs stands not between the pair."""
    epoch = made.commitment.epoch
    row = between(made.pair, epoch)
    path, part = climb(job_leaf(row), 0, batch_depth, JOB_NODE)

    root = tagged(BATCH_LEAF, node_key("n"), part)
    receipt = Receipt(NETWORK, epoch, world.aggregators[0], 0, root, 10**15)
    signed = SignedReceipt.sign(receipt, world.commitments.domain, world.aggregator_key())
    promise = (
        receipt_words(receipt),
        signature_words(signed.signature),
        node_key("n"),
        Spot(row, 0, tuple(path)).words,
        0,
        [],
    )
    absence = (made.commitment.words, made.node.words, made.pair.words)
    guilty = (world.aggregators[0],)
    return Accusation("CommitmentProofs", "omission", (promise, [absence]), epoch, guilty, "")
