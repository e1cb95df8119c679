"""Proofs about one epoch, small enough to send: a job is counted, a node is counted, something is absent.

Law: a proof holds only evidence. What it is about and the root that it is checked against (`Subject`) are given by
whoever checks, so that no bit of a proof can change its meaning. The numbers of leaves are part of the evidence: the
committed root fixes the number of nodes, and a node's row the number of its jobs.

    job          job row -> job tree -> node row -> node tree -> committed root
    node         node row -> node tree -> committed root
    absent job   the node as above, and the two job rows between which the job's key would stand
    absent node  the two node rows between which the node's key would stand

Absence rests on the order of the leaves. Every evaluator checks it before it signs a report about the epoch.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.measure.commitment import committed_root, job_tree, node_leaf, node_tree
from meridian.measure.manifest import NodeRow, Nodes
from meridian.measure.proof_steps import Refused, Step, Stopped, Trace
from meridian.measure.row import JobRow, job_leaf, rebuild_rows, row_keys
from meridian.measure.schema import NetworkSchema
from meridian.primitives.hashing import COMMITTED_ROOT, JOB_LEAF, JOB_NODE, NODE_LEAF, NODE_NODE
from meridian.primitives.ids import job_key, node_key
from meridian.primitives.sumtree import EMPTY_ROOT, LaneKind

_JOB_LAYOUT: Final = "job row 100"
_NODE_LAYOUT: Final = "node row 116"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A row, its place in its tree, and its siblings up to the root."""

    row: bytes
    index: int
    size: int
    """Number of leaves in the tree."""
    path: tuple[bytes, ...]
    """Nodes of 56 bytes, from the leaf up."""


@dataclass(frozen=True, slots=True)
class JobProof:
    """A job is one of its node's jobs."""

    job: Leaf
    node: Leaf
    kind: ClassVar[str] = "job"


@dataclass(frozen=True, slots=True)
class NodeProof:
    """A node has a row: so many jobs, such sums, this payee."""

    node: Leaf
    kind: ClassVar[str] = "node"


@dataclass(frozen=True, slots=True)
class AbsentJobProof:
    """A node has a row, and a job is none of its jobs."""

    left: Leaf | None
    """The job before; None where the job would be the first."""
    right: Leaf | None
    """The job after; None where the job would be the last."""
    node: Leaf
    kind: ClassVar[str] = "absent_job"


@dataclass(frozen=True, slots=True)
class AbsentNodeProof:
    """A node has no row, and so no jobs; both neighbours are None only in an empty epoch."""

    left: Leaf | None
    right: Leaf | None
    kind: ClassVar[str] = "absent_node"


Proof = JobProof | NodeProof | AbsentJobProof | AbsentNodeProof


class ProofMaker:
    """Makes proofs about one loaded epoch.

    Args:
        schema: The network's schema.
        nodes: The epoch's nodes.
        jobs: Its jobs, in order.
    """

    def __init__(self, schema: NetworkSchema, nodes: Nodes, jobs: pa.Table) -> None:
        self._schema, self._nodes, self._jobs = schema, nodes, jobs
        self._lanes = schema.lanes.kind
        self._tree = node_tree(nodes.rows, self._lanes)

    def node(self, node_id: str) -> NodeProof | AbsentNodeProof:
        """Return the proof of a node's row; the proof of its absence if it has none."""
        keys = self._nodes.keys
        place = bisect_left(keys, node_key(node_id))
        if keys[place : place + 1] == (node_key(node_id),):
            return NodeProof(self._node_leaf(place))
        return AbsentNodeProof(*_around(place, len(keys), self._node_leaf))

    def job(self, node_id: str, job_id: str) -> JobProof | AbsentJobProof | AbsentNodeProof:
        """Return the proof of a job; the proof of its absence, or of its node's, if the epoch does not have it."""
        above = self.node(node_id)
        if isinstance(above, AbsentNodeProof):
            return above
        counts = self._nodes.job_counts
        start = sum(counts[: above.node.index])
        rows = rebuild_rows(self._schema, self._jobs.slice(start, counts[above.node.index]))
        tree = job_tree(rows, self._lanes)

        def leaf(at: int) -> Leaf:
            return Leaf(rows[at].tobytes(), at, len(rows), tuple(tree.path(at)))

        keys = [key.tobytes() for key in row_keys(rows)]
        place = bisect_left(keys, job_key(job_id))
        if keys[place : place + 1] == [job_key(job_id)]:
            return JobProof(leaf(place), above.node)
        return AbsentJobProof(*_around(place, len(rows), leaf), above.node)

    def _node_leaf(self, place: int) -> Leaf:
        row, path = self._nodes.rows[place].tobytes(), self._tree.path(place)
        return Leaf(row, place, self._tree.size, tuple(path))


def _around(place: int, size: int, leaf: Callable[[int], Leaf]) -> tuple[Leaf | None, Leaf | None]:
    return leaf(place - 1) if place > 0 else None, leaf(place) if place < size else None


@dataclass(frozen=True, slots=True)
class Subject:
    """What a proof must be about, and what it must lead to."""

    epoch: int
    root: bytes
    """The committed root, from the chain."""
    lanes: LaneKind
    """Those of the network's schema."""
    node_id: str
    job_id: str | None = None
    """For proofs of jobs and of their absence."""


def check_proof(proof: Proof, subject: Subject) -> tuple[Step, ...]:
    """Check a proof about a node, or about one job of a node.

    Returns:
        The steps, up to the first that does not hold (`proof_steps.holds`). What a proof that holds says is its kind.
    """
    trace = Trace()
    try:
        _Check(trace, subject).run(proof)
    except Stopped:
        pass
    except InvalidInput as error:
        trace.steps.append(Refused(error.field, "has its form", error.reason))
    return tuple(trace.steps)


class _Check:
    """The steps of all kinds of proof."""

    def __init__(self, trace: Trace, subject: Subject) -> None:
        self._trace, self._subject = trace, subject

    def run(self, proof: Proof) -> None:
        """Check a proof of any kind."""
        if isinstance(proof, AbsentNodeProof):
            self._absent_node(proof)
            return
        row = NodeRow.decode(proof.node.row)
        if isinstance(proof, JobProof):
            self._job(proof.job, row)
        elif isinstance(proof, AbsentJobProof):
            self._absent_job(proof, row)
        elif self._subject.job_id is not None:
            self._trace.refuse("subject", "a proof of a node", "the question is about a job")
        key, node_id = node_key(self._subject.node_id), self._subject.node_id
        rule = f"SHA-256 of the id {node_id!r}, in the node row"
        self._trace.equal("node key", rule, key, row.node_key)
        self._under_root("", proof.node, row)

    def _job_key(self) -> tuple[str, bytes]:
        job_id = self._subject.job_id
        if job_id is None:
            self._trace.refuse("subject", "a proof about a job", "the question is about a node")
        return f"SHA-256 of the id {job_id!r}", job_key(job_id)

    def _job(self, leaf: Leaf, above: NodeRow) -> None:
        rule, key = self._job_key()
        row = JobRow.decode(leaf.row)
        self._trace.equal("job key", f"{rule}, in the job row", key, row.job_key)
        self._under_node("", leaf, above)

    def _under_node(self, prefix: str, leaf: Leaf, above: NodeRow) -> None:
        """Lead a job row to the job tree of a node's row."""
        trace, lanes = self._trace, self._subject.lanes
        node = job_leaf(leaf.row)
        trace.hashed(f"{prefix}job leaf", _JOB_LAYOUT, JOB_LEAF, node[:32])
        name = f"{prefix}job tree"
        top = trace.climb(name, node, leaf.index, leaf.size, leaf.path, JOB_NODE, lanes)
        count = int.from_bytes(top[32:40], "big")
        trace.equal(f"{prefix}job count", "the job tree counts its leaves", count, leaf.size)
        trace.equal(f"{name} root", "stands in the node row", top, above.job_root)

    def _under_root(self, prefix: str, leaf: Leaf, row: NodeRow) -> None:
        """Lead a node row to the committed root."""
        trace, subject = self._trace, self._subject
        trace.equal(f"{prefix}epoch", "in the node row", row.epoch, subject.epoch)
        node = node_leaf(leaf.row)
        trace.hashed(f"{prefix}node leaf", _NODE_LAYOUT, NODE_LEAF, node[:32])
        name = f"{prefix}node tree"
        top = trace.climb(name, node, leaf.index, leaf.size, leaf.path, NODE_NODE, subject.lanes)
        self._root(prefix, leaf.size, top)

    def _root(self, prefix: str, size: int, top: bytes) -> None:
        epoch = self._subject.epoch
        layout = f"epoch {epoch} u64 | nodes {size} u64 | node tree root 56"
        root = committed_root(epoch, size, top)
        self._trace.hashed(f"{prefix}committed root", layout, COMMITTED_ROOT, root)
        self._trace.equal(
            f"{prefix}root", "is the one that is asked about", root, self._subject.root
        )

    def _absent_job(self, proof: AbsentJobProof, above: NodeRow) -> None:
        rule, key = self._job_key()
        self._trace.hashed("job key", rule, None, key)
        self._between(proof.left, proof.right, key, lambda row: JobRow.decode(row).job_key)
        for side, leaf in (("left ", proof.left), ("right ", proof.right)):
            if leaf is not None:
                self._under_node(side, leaf, above)
        if proof.left is None and proof.right is None:
            self._trace.equal("no jobs", "the node row is over no jobs", above.job_root, EMPTY_ROOT)

    def _absent_node(self, proof: AbsentNodeProof) -> None:
        node_id = self._subject.node_id
        key = node_key(node_id)
        self._trace.hashed("node key", f"SHA-256 of the id {node_id!r}", None, key)
        self._between(proof.left, proof.right, key, lambda row: NodeRow.decode(row).node_key)
        for side, leaf in (("left ", proof.left), ("right ", proof.right)):
            if leaf is not None:
                self._under_root(side, leaf, NodeRow.decode(leaf.row))
        if proof.left is None and proof.right is None:
            self._root("", 0, EMPTY_ROOT)

    def _between(
        self,
        left: Leaf | None,
        right: Leaf | None,
        key: bytes,
        key_of: Callable[[bytes], bytes],
    ) -> None:
        """Check that the key would stand between the neighbours, and that no leaf does."""
        trace = self._trace
        if left is not None:
            trace.ascend("left key", "the key before is lower", key_of(left.row), key)
        if right is not None:
            trace.ascend("right key", "the key after is higher", key, key_of(right.row))
        if right is not None:
            before = -1 if left is None else left.index
            rule = "is the first leaf" if left is None else "stands directly behind the left leaf"
            trace.equal("neighbours", f"the right leaf {rule}", right.index, before + 1)
        elif left is not None:
            trace.equal("neighbours", "the left leaf is the last", left.index, left.size - 1)
