"""Faults of a commitment that follow from what its aggregator published: node rows and job rows.

A root that the published rows do not lead to is either a tree in which one annotation was made up (found by trying
every place, and proven by its two children), or a tree of other rows. Against the latter there is no proof, only a
challenge to show the row: whoever cannot lead a row to the root, sum by sum, cannot answer it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from meridian.disputes.accusation import Accusation, Commitment
from meridian.disputes.ways import (
    NO_SPOT,
    PathWords,
    RowTree,
    Spot,
    job_row_tree,
    node_row_tree,
    path_words,
    sides_of,
)
from meridian.errors import InvalidInput
from meridian.measure.commitment import committed_root, node_leaf
from meridian.measure.manifest import NodeRow
from meridian.measure.row import job_leaf
from meridian.primitives.hashing import JOB_NODE, NODE_NODE, ByteMatrix, tagged
from meridian.primitives.sumtree import HASH_BYTES, LaneKind

LEAVES_SEARCHED_MAX: Final = 1 << 16
"""In greater trees no made-up annotation is looked for: the search costs leaves times depth."""


@dataclass(frozen=True, slots=True)
class PublishedEpoch:
    """A commitment with the rows that its aggregator published."""

    commitment: Commitment
    node_rows: ByteMatrix
    """Shape (n, 116), in the order of the tree."""
    job_rows: tuple[ByteMatrix, ...]
    """Of each node its jobs, shape (m, 100), in the order of the tree."""
    lanes: LaneKind


def find_faults(epoch: PublishedEpoch, places: Sequence[int] | None = None) -> list[Accusation]:
    """Return every accusation that the published rows allow, proofs before challenges.

    Args:
        epoch: What was published.
        places: Of the nodes whose jobs are looked at; None: all.
    """
    faults = list(_node_faults(epoch))
    if not faults:  # else nothing hangs from the root
        nodes = node_row_tree(epoch.node_rows, epoch.lanes)
        for place in range(nodes.size) if places is None else places:
            faults += _job_faults(epoch, place, nodes)
    return sorted(faults, key=lambda fault: fault.takes_bond)


def bad_sum(
    commitment: Commitment, content: bytes, claimed: bytes, way: Spot, node: Spot, reason: str
) -> Accusation:
    """Accuse of a node whose annotation is not that of its content.

    Args:
        commitment: The standing commitment.
        content: Two child nodes (112 bytes) or the row of a leaf.
        claimed: The annotation that stands beside its hash, 24 bytes.
        way: Sides and path of the node; its row is not read.
        node: The node's row above, for a tree of jobs; else `NO_SPOT`.
        reason: For people.
    """
    word = int.from_bytes(claimed, "big")
    arguments = (
        commitment.words,
        content,
        word,
        way.sides,
        path_words(way.path),
        node.words,
    )
    return _accuse(commitment, "bad_sum", arguments, reason)


def disorder(commitment: Commitment, tree: RowTree, index: int, node: Spot) -> Accusation:
    """Accuse of two neighbouring leaves, `index` and the next, that do not ascend."""
    gap = tree.neighbours(index)
    reason = f"leaves {index} and {index + 1} are not in ascending order"
    return _accuse(commitment, "disorder", (commitment.words, gap.words, node.words), reason)


def challenge_node(commitment: Commitment, index: int) -> Accusation:
    """Demand the row of a node."""
    no_path: PathWords = []
    arguments = (commitment.words, index, b"", no_path, 0)
    reason = f"the row of node {index} does not lead to the root"
    return _accuse(commitment, "challenge", arguments, reason, contract="Disputes")


def challenge_job(commitment: Commitment, nodes: RowTree, index: int, job: int) -> Accusation:
    """Demand the row of a node's job; the node's row is shown by the challenger."""
    path = path_words(nodes.tree.path(index))
    arguments = (commitment.words, index, nodes.rows[index], path, job)
    reason = f"the row of job {job} of node {index} does not lead to the node's row"
    return _accuse(commitment, "challenge", arguments, reason, contract="Disputes")


def _accuse(
    commitment: Commitment,
    function: str,
    arguments: tuple[object, ...],
    reason: str,
    contract: str = "CommitmentProofs",
) -> Accusation:
    guilty = (commitment.aggregator,)
    return Accusation(contract, function, arguments, commitment.epoch, guilty, reason)


def _node_faults(epoch: PublishedEpoch) -> Iterator[Accusation]:
    commitment = epoch.commitment
    try:
        tree = node_row_tree(epoch.node_rows, epoch.lanes)
    except InvalidInput:  # a sum passes its bits: such a tree cannot be
        yield challenge_node(commitment, 0)
        return
    said = committed_root(commitment.epoch, tree.size, tree.tree.root)
    if said != commitment.root or tree.size != commitment.n_nodes:
        leaves = [node_leaf(row) for row in tree.rows]
        fault = _made_up(leaves, NODE_NODE, commitment.annotation, lambda top: _is_root(epoch, top))
        if fault is not None and tree.size == commitment.n_nodes:
            yield _made_up_sum(epoch, fault, tree.rows, NO_SPOT)
        elif commitment.n_nodes:
            yield challenge_node(commitment, min(tree.size, commitment.n_nodes - 1))
        return
    for at, (left, right) in enumerate(pairwise(tree.keys)):
        if left >= right:
            yield disorder(commitment, tree, at, NO_SPOT)
    for at, row in enumerate(tree.rows):
        if NodeRow.decode(row).epoch != commitment.epoch:
            claimed = node_leaf(row)[HASH_BYTES:]
            reason = f"the row of node {at} is of another epoch"
            yield bad_sum(commitment, row, claimed, tree.spot(at), NO_SPOT, reason)


def _is_root(epoch: PublishedEpoch, top: bytes) -> bool:
    commitment = epoch.commitment
    return committed_root(commitment.epoch, commitment.n_nodes, top) == commitment.root


def _job_faults(epoch: PublishedEpoch, place: int, nodes: RowTree) -> Iterator[Accusation]:
    commitment, rows = epoch.commitment, epoch.job_rows[place]
    stated = NodeRow.decode(nodes.rows[place]).job_root
    count = int.from_bytes(stated[32:40], "big")
    try:
        tree = job_row_tree(rows, epoch.lanes)
    except InvalidInput:
        yield challenge_job(commitment, nodes, place, 0)
        return
    if tree.tree.root != stated:
        leaves = [job_leaf(row) for row in tree.rows]
        fault = _made_up(leaves, JOB_NODE, stated[HASH_BYTES:], lambda top: top == stated)
        if fault is not None:
            yield _made_up_sum(epoch, fault, tree.rows, nodes.spot(place))
        elif count:
            yield challenge_job(commitment, nodes, place, min(tree.size, count - 1))
        return
    for at, (left, right) in enumerate(pairwise(tree.keys)):
        if left >= right:
            yield disorder(commitment, tree, at, nodes.spot(place))


# ------------------------------------------------------------------------ made-up annotations


@dataclass(frozen=True, slots=True)
class _MadeUp:
    """The one node of a tree whose annotation does not follow from what is below it."""

    children: tuple[bytes, bytes] | None
    """None for a leaf."""
    leaf: int
    claimed: bytes
    way: Spot


def _made_up_sum(
    epoch: PublishedEpoch, fault: _MadeUp, rows: Sequence[bytes], node: Spot
) -> Accusation:
    what = "a leaf" if fault.children is None else "an inner node"
    content = rows[fault.leaf] if fault.children is None else b"".join(fault.children)
    kind = "job" if node.row else "node"
    reason = f"{what} of a {kind} tree has a made-up annotation"
    return bad_sum(epoch.commitment, content, fault.claimed, fault.way, node, reason)


def _made_up(
    leaves: Sequence[bytes], tag: int, annotation: bytes, is_root: Callable[[bytes], bool]
) -> _MadeUp | None:
    """Find the single node whose annotation, raised by what the root is too high, gives the root."""
    if not leaves or len(leaves) > LEAVES_SEARCHED_MAX:
        return None
    levels = _levels(leaves, tag)
    top = levels[-1][0]
    delta = _word(annotation) - _word(top[HASH_BYTES:])
    for height, level in enumerate(levels):
        for at, node in enumerate(level):
            below = levels[height - 1] if height else ()
            if height and 2 * at + 1 == len(below):
                continue  # an odd last node went up unchanged: it is tried where it stands
            claimed = _word(node[HASH_BYTES:]) + delta
            if not 0 <= claimed < 1 << 192:
                continue
            changed = node[:HASH_BYTES] + claimed.to_bytes(24, "big")
            path = _path(levels, height, at)
            sides = sides_of(at, len(level))
            if is_root(_climb(changed, path, sides, tag)):
                children = (below[2 * at], below[2 * at + 1]) if height else None
                return _MadeUp(children, at, changed[HASH_BYTES:], Spot(b"", sides, tuple(path)))
    return None


def _word(annotation: bytes) -> int:
    return int.from_bytes(annotation, "big")


def _parent(left: bytes, right: bytes, tag: int) -> bytes:
    """Return the parent as the contracts compute it: count and sums as one number."""
    total = (_word(left[HASH_BYTES:]) + _word(right[HASH_BYTES:])) % (1 << 192)
    return tagged(tag, left, right) + total.to_bytes(24, "big")


def _levels(leaves: Sequence[bytes], tag: int) -> list[list[bytes]]:
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        level = levels[-1]
        above = [_parent(a, b, tag) for a, b in zip(level[::2], level[1::2], strict=False)]
        levels.append(above + level[2 * len(above) :])
    return levels


def _path(levels: Sequence[Sequence[bytes]], height: int, at: int) -> list[bytes]:
    path = []
    for level in levels[height:-1]:
        if at ^ 1 < len(level):
            path.append(level[at ^ 1])
        at >>= 1
    return path


def _climb(node: bytes, path: Sequence[bytes], sides: int, tag: int) -> bytes:
    for sibling in path:
        pair = (sibling, node) if sides & 1 else (node, sibling)
        node, sides = _parent(*pair, tag), sides >> 1
    return node
