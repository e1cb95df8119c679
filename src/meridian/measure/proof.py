"""Proofs about one epoch, small enough to send: a job is counted, a node is counted, something is absent.

Law: a proof holds only evidence. What it is about and the root that it is checked against (`Subject`) are given by
whoever checks, so that no bit of a proof can change its meaning. The numbers of leaves are part of the evidence: the
committed root fixes the number of nodes, and a node's row the number of its jobs.

    job          job row -> job tree -> node row -> node tree -> committed root
    node         node row -> node tree -> committed root
    absent job   the node as above, and the two job rows between which the job's key would stand
    absent node  the two node rows between which the node's key would stand

Absence rests on the order of the leaves. Every evaluator checks it before it signs a report about the epoch. What must
hold is written once, in `meridian.verifier`, which can be copied alone; here proofs are made, and put into its form.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

import pyarrow as pa

from meridian import verifier
from meridian.measure.commitment import job_tree, node_tree
from meridian.measure.manifest import Nodes
from meridian.measure.row import rebuild_rows
from meridian.measure.schema import NetworkSchema
from meridian.measure.stored_tree import JOB_ROWS, NODE_ROWS, RowForm
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.sumtree import LaneKind, SumTree
from meridian.verifier import Leaf, Name, ProofFile, Step


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


class Rows(Protocol):
    """A tree of rows in the order of their keys: one in memory, or a `stored_tree.StoredTree`."""

    size: int
    """Its number of leaves."""

    def row(self, index: int) -> bytes:
        """Return a row."""
        ...

    def rows(self, first: int, count: int) -> bytes:
        """Return the bytes of some rows, one behind the other."""
        ...

    def path(self, index: int) -> Sequence[bytes]:
        """Return the sibling nodes from a leaf up to the root."""
        ...

    def find(self, key: bytes) -> tuple[int, bool]:
        """Return the place of a key in the order, and whether the row there has it."""
        ...


class BuiltTree:
    """Rows in memory with their whole tree."""

    def __init__(self, rows: ByteMatrix, tree: SumTree, form: RowForm) -> None:
        self._rows, self._tree, self.size = rows, tree, len(rows)
        self._keys = [key.tobytes() for key in rows[:, form.key]]

    def row(self, index: int) -> bytes:
        """Return a row."""
        row: bytes = self._rows[index].tobytes()
        return row

    def rows(self, first: int, count: int) -> bytes:
        """Return the bytes of some rows, one behind the other."""
        rows: bytes = self._rows[first : first + count].tobytes()
        return rows

    def path(self, index: int) -> list[bytes]:
        """Return the sibling nodes from a leaf up to the root."""
        return self._tree.path(index)

    def find(self, key: bytes) -> tuple[int, bool]:
        """Return the place of a key in the order, and whether the row there has it."""
        place = bisect_left(self._keys, key)
        return place, self._keys[place : place + 1] == [key]


def prove(
    nodes: Rows, jobs: Callable[[int], Rows], node_key: bytes, job_key: bytes | None = None
) -> Proof:
    """Return the proof of a node or of one job of it; the proof of its absence if the epoch does not have it.

    Args:
        nodes: The epoch's nodes.
        jobs: Gives the jobs of the node at a place.
        node_key: The node.
        job_key: The job; None: the question is about the node.
    """
    place, there = nodes.find(node_key)
    if not there:
        return AbsentNodeProof(*_around(nodes, place))
    above = _leaf(nodes, place)
    if job_key is None:
        return NodeProof(above)
    own = jobs(place)
    at, there = own.find(job_key)
    if there:
        return JobProof(_leaf(own, at), above)
    return AbsentJobProof(*_around(own, at), above)


def _leaf(rows: Rows, at: int) -> Leaf:
    return Leaf(rows.row(at), at, rows.size, tuple(rows.path(at)))


def _around(rows: Rows, place: int) -> tuple[Leaf | None, Leaf | None]:
    left = _leaf(rows, place - 1) if place > 0 else None
    return left, _leaf(rows, place) if place < rows.size else None


class ProofMaker:
    """Makes proofs about one loaded epoch.

    Args:
        schema: The network's schema.
        nodes: The epoch's nodes.
        jobs_of: Gives the jobs of the node at a place, in order.
    """

    def __init__(
        self, schema: NetworkSchema, nodes: Nodes, jobs_of: Callable[[int], pa.Table]
    ) -> None:
        self._schema, self._jobs_of = schema, jobs_of
        self._lanes = schema.lanes.kind
        self._nodes = BuiltTree(nodes.rows, node_tree(nodes.rows, self._lanes), NODE_ROWS)

    @classmethod
    def of_table(cls, schema: NetworkSchema, nodes: Nodes, jobs: pa.Table) -> "ProofMaker":
        """Return the maker over all jobs of an epoch in one table, in order."""
        counts = nodes.job_counts
        return cls(schema, nodes, lambda place: jobs.slice(sum(counts[:place]), counts[place]))

    def prove(self, node: Name, job: Name | None = None) -> Proof:
        """Return the proof of a node or of one job of it; the proof of its absence if the epoch does not have it."""
        return prove(self._nodes, self.jobs, node.key, None if job is None else job.key)

    def jobs(self, place: int) -> Rows:
        """Return the jobs of the node at a place."""
        rows = rebuild_rows(self._schema, self._jobs_of(place))
        return BuiltTree(rows, job_tree(rows, self._lanes), JOB_ROWS)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a proof must be about, and what it must lead to."""

    epoch: int
    root: bytes
    """The committed root, from the chain."""
    lanes: LaneKind
    """Those of the network's schema."""
    node: Name
    job: Name | None = None
    """For proofs of jobs and of their absence."""


def proof_file(network: str, subject: Subject, proof: Proof) -> ProofFile:
    """Return a proof with all that it is about, as it is sent and checked.

    A job of an absent node is absent with it: the file is the node's.
    """
    about: dict[str, Any] = {"network": network, "epoch": subject.epoch, "node_id": subject.node}
    if isinstance(proof, JobProof | AbsentJobProof):
        about["job_id"] = subject.job
    leaves = {item.name: getattr(proof, item.name) for item in fields(proof)}
    end = {"lanes": subject.lanes.value, "committed_root": subject.root}
    return ProofFile(proof.kind, about | leaves | end)


def check_proof(proof: Proof, subject: Subject) -> list[Step]:
    """Check a proof about a node, or about one job of a node.

    Returns:
        The steps, up to the first that does not hold (`verifier.holds`). What a proof that holds says is its kind.
    """
    of_job = isinstance(proof, JobProof | AbsentJobProof)
    if of_job != (subject.job is not None) and not isinstance(proof, AbsentNodeProof):
        asked = "a node" if of_job else "a job"
        parts = (f"a proof of kind {proof.kind}", f"the question is about {asked}")
        return [Step("subject", "form", parts, ok=False)]
    return verifier.check(proof_file("", subject, proof), subject.root)
