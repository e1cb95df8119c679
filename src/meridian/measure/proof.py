"""Proofs about one epoch, small enough to send: a job is counted, a node is counted, something is absent.

Law: a proof holds only evidence. What it is about (node id, job id) and what it is checked against (`Anchor`, from the
chain) are given by whoever checks, so that no bit of a proof can change its meaning. `check_*` return every step with
its outcome and stop at the first that does not hold.

    job      job row -> job tree -> node row -> node tree -> committed root
    node     node row -> node tree -> committed root
    absence  of a job: the node's row as above, and the two rows between which the job key would stand;
             of a node: the two node rows between which its key would stand
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.measure.commitment import committed_root, job_tree, node_leaf, node_tree
from meridian.measure.manifest import NodeRow, Nodes
from meridian.measure.nesting import too_deep
from meridian.measure.row import JobRow, job_leaf, rebuild_rows
from meridian.measure.schema import NetworkSchema
from meridian.primitives import dagcbor
from meridian.primitives.hashing import JOB_NODE, NODE_NODE
from meridian.primitives.ids import job_key, node_key
from meridian.primitives.sumtree import EMPTY_ROOT, LaneKind, fold

PATH_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Anchor:
    """What stands on chain for the epoch."""

    epoch: int
    root: bytes
    n_nodes: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """A row, its place in its tree, and its siblings up to the root."""

    row: bytes
    index: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """Evidence of any kind; which parts are there tells the kind."""

    kind: str
    """``job``, ``node``, ``absent_job`` or ``absent_node``."""
    node: Leaf | None = None
    job: Leaf | None = None
    left: Leaf | None = None
    """Absence: the neighbour before; None where there is none."""
    right: Leaf | None = None

    def document(self) -> dict[str, Any]:
        """Return the value that both forms encode."""
        parts = {"node": self.node, "job": self.job, "left": self.left, "right": self.right}
        return {"v": 1, "kind": self.kind} | {
            name: {"row": leaf.row, "index": leaf.index, "path": list(leaf.path)}
            for name, leaf in parts.items()
            if leaf is not None
        }

    def encode(self) -> bytes:
        """Return the DAG-CBOR form."""
        return dagcbor.encode(self.document())

    def to_json(self) -> str:
        """Return the JSON form: the same value, bytes as lower-case hex."""
        return json.dumps(_hex(self.document()), indent=1)

    @classmethod
    def decode(cls, data: bytes) -> "Proof":
        """Read the DAG-CBOR form.

        Raises:
            InvalidInput: If it is not the form of a proof.
        """
        proof = _read(dagcbor.decode(data), _plain_bytes)
        if proof.encode() != data:
            raise InvalidInput("proof", "it holds more than a proof of version 1")
        return proof

    @classmethod
    def from_json(cls, text: str) -> "Proof":
        """Read the JSON form.

        Raises:
            InvalidInput: If it is not the form of a proof.
        """
        if too_deep(text.encode(errors="replace")):
            raise InvalidInput("proof", "it is nested too deeply")
        try:
            value = json.loads(text)
        except ValueError as error:
            raise InvalidInput("proof", f"not JSON: {error}") from error
        proof = _read(value, _hex_bytes)
        if _hex(proof.document()) != value:
            raise InvalidInput("proof", "it holds more than a proof of version 1")
        return proof


def _read(value: Any, to_bytes: Callable[[Any], bytes]) -> Proof:
    if not isinstance(value, dict) or value.get("v") != 1 or value.get("kind") not in _PARTS:
        raise InvalidInput("proof", "it is not a proof of version 1")
    leaves = {}
    for name in ("node", "job", "left", "right"):
        part = value.get(name)
        if part is None:
            continue
        if not isinstance(part, dict) or not isinstance(part.get("path"), list):
            raise InvalidInput(name, "a row with its index and path is needed")
        index, path = part.get("index"), part["path"]
        if not isinstance(index, int) or isinstance(index, bool) or len(path) > PATH_MAX:
            raise InvalidInput(name, "its index or path is malformed")
        leaves[name] = Leaf(to_bytes(part.get("row")), index, tuple(map(to_bytes, path)))
    required, allowed = _PARTS[value["kind"]]
    if not required <= leaves.keys() <= allowed:
        raise InvalidInput("proof", f"its parts are not those of the kind {value['kind']!r}")
    return Proof(value["kind"], **leaves)


_PARTS: Final = {
    "job": ({"node", "job"}, {"node", "job"}),
    "node": ({"node"}, {"node"}),
    "absent_job": ({"node"}, {"node", "left", "right"}),
    "absent_node": (set[str](), {"left", "right"}),
}


def _hex(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _hex(item) for key, item in value.items()}
    return [_hex(item) for item in value] if isinstance(value, list) else value


def _plain_bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise InvalidInput("proof", "bytes are needed")
    return value


def _hex_bytes(value: Any) -> bytes:
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError):
        raise InvalidInput("proof", "hex is needed") from None


class ProofMaker:
    """Makes proofs about one loaded epoch.

    Args:
        schema: The network's schema.
        nodes: The epoch's nodes.
        jobs: Its jobs, as `commitment.load_epoch` returns them.
    """

    def __init__(self, schema: NetworkSchema, nodes: Nodes, jobs: pa.Table) -> None:
        self._schema, self._nodes, self._jobs = schema, nodes, jobs
        self._lanes = schema.lanes.kind
        self._tree = node_tree(nodes.rows, self._lanes)
        counts = nodes.job_counts
        self._starts = [sum(counts[:at]) for at in range(len(counts) + 1)]

    def node(self, node_id: str) -> Proof:
        """Return the proof of a node's row; the proof of its absence if it has none."""
        if node_id in self._nodes.ids:
            return Proof("node", node=self._node_leaf(self._nodes.ids.index(node_id)))
        key = node_key(node_id)
        after = next((i for i, k in enumerate(self._nodes.keys) if k > key), len(self._nodes.ids))
        left, right = self._around(after, len(self._nodes.ids), self._node_leaf)
        return Proof("absent_node", left=left, right=right)

    def job(self, node_id: str, job_id: str) -> Proof:
        """Return the proof of a job; the proof of its absence if the epoch does not have it."""
        if node_id not in self._nodes.ids:
            return self.node(node_id)
        place = self._nodes.ids.index(node_id)
        start, stop = self._starts[place : place + 2]
        rows = rebuild_rows(self._schema, self._jobs.slice(start, stop - start))
        tree = job_tree(rows, self._lanes)

        def leaf(at: int) -> Leaf:
            return Leaf(rows[at].tobytes(), at, tuple(tree.path(at)))

        keys = [JobRow.decode(row.tobytes()).job_key for row in rows]
        key = job_key(job_id)
        node = self._node_leaf(place)
        if key in keys:
            return Proof("job", node=node, job=leaf(keys.index(key)))
        after = next((i for i, k in enumerate(keys) if k > key), len(keys))
        left, right = self._around(after, len(keys), leaf)
        return Proof("absent_job", node=node, left=left, right=right)

    def _node_leaf(self, place: int) -> Leaf:
        return Leaf(self._nodes.rows[place].tobytes(), place, tuple(self._tree.path(place)))

    @staticmethod
    def _around(
        after: int, size: int, leaf: Callable[[int], Leaf]
    ) -> tuple[Leaf | None, Leaf | None]:
        return (
            leaf(after - 1) if after > 0 else None,
            leaf(after) if after < size else None,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a check."""

    name: str
    holds: bool
    detail: str = ""


def holds(steps: Sequence[Step]) -> bool:
    """Tell whether a check went through."""
    return bool(steps) and all(step.holds for step in steps)


def check_proof(
    proof: Proof, anchor: Anchor, lanes: LaneKind, node_id: str, job_id: str | None = None
) -> tuple[Step, ...]:
    """Check a proof about a node, or about one job of a node.

    Args:
        proof: The evidence.
        anchor: What stands on chain.
        lanes: What the schema's lanes are.
        node_id: The node that the proof must be about.
        job_id: The job that it must be about; None for proofs about the node.

    Returns:
        The steps, up to the first that does not hold. The meaning of a proof that holds is its kind.
    """
    steps: list[Step] = []
    try:
        _check(_Checker(anchor, lanes, steps), proof, node_id, job_id)
    except InvalidInput as error:
        steps.append(Step(error.field, holds=False, detail=error.reason))
    return tuple(steps)


def _check(checker: "_Checker", proof: Proof, node_id: str, job_id: str | None) -> None:
    about_job = proof.kind in ("job", "absent_job")
    if about_job and job_id is None:
        raise InvalidInput("subject", "the proof is about a job, the question is not")
    if proof.kind == "node" and job_id is not None:
        raise InvalidInput("subject", "the proof is about a node, the question about a job")
    if proof.kind == "absent_node":
        checker.node_absent(proof, node_key(node_id))
        return
    assert proof.node is not None  # `_read` and `ProofMaker` give every other kind its node
    row = checker.node_row(proof.node, node_id)
    if not about_job:
        return
    assert job_id is not None
    if proof.job is not None and proof.kind == "job":
        checker.job_row(proof.job, row, job_key(job_id))
    else:
        checker.job_absent(proof, row, job_key(job_id))


class _Checker:
    """The steps of all kinds of proof; each raises where it does not hold."""

    def __init__(self, anchor: Anchor, lanes: LaneKind, steps: list[Step]) -> None:
        self._anchor, self._lanes, self._steps = anchor, lanes, steps

    def _require(self, name: str, condition: bool, reason: str) -> None:
        if not condition:
            raise InvalidInput(name, reason)
        self._steps.append(Step(name, holds=True))

    def node_row(self, leaf: Leaf, node_id: str) -> NodeRow:
        row = NodeRow.decode(leaf.row)
        self._require("node_key", row.node_key == node_key(node_id), "the row is another node's")
        self._under_root("node_path", leaf)
        return row

    def _under_root(self, name: str, leaf: Leaf) -> None:
        anchor = self._anchor
        epoch = NodeRow.decode(leaf.row).epoch
        if epoch != anchor.epoch:
            raise InvalidInput(name, f"the row is of epoch {epoch}")
        top = fold(
            node_leaf(leaf.row), leaf.index, anchor.n_nodes, leaf.path, NODE_NODE, self._lanes
        )
        same = committed_root(anchor.epoch, anchor.n_nodes, top) == anchor.root
        self._require(name, same, "the path does not lead to the committed root")

    def _under_node(self, name: str, leaf: Leaf, row: NodeRow) -> None:
        top = fold(job_leaf(leaf.row), leaf.index, _jobs(row), leaf.path, JOB_NODE, self._lanes)
        self._require(name, top == row.job_root, "the path does not lead to the node's job root")

    def job_row(self, leaf: Leaf, row: NodeRow, key: bytes) -> None:
        self._require("job_key", JobRow.decode(leaf.row).job_key == key, "the row is another job's")
        self._under_node("job_path", leaf, row)

    def job_absent(self, proof: Proof, row: NodeRow, key: bytes) -> None:
        for name, leaf in (("left_path", proof.left), ("right_path", proof.right)):
            if leaf is not None:
                self._under_node(name, leaf, row)
        self._between(proof, key, _jobs(row), lambda data: JobRow.decode(data).job_key)

    def node_absent(self, proof: Proof, key: bytes) -> None:
        for name, leaf in (("left_path", proof.left), ("right_path", proof.right)):
            if leaf is not None:
                self._under_root(name, leaf)
        if self._anchor.n_nodes == 0:
            empty = committed_root(self._anchor.epoch, 0, EMPTY_ROOT)
            self._require("empty", self._anchor.root == empty, "the epoch is not empty")
        self._between(proof, key, self._anchor.n_nodes, lambda data: NodeRow.decode(data).node_key)

    def _between(
        self, proof: Proof, key: bytes, size: int, key_of: Callable[[bytes], bytes]
    ) -> None:
        """Check that nothing can stand between the neighbours, and that the key would."""
        before = -1 if proof.left is None else proof.left.index
        after = size if proof.right is None else proof.right.index
        self._require("adjacent", after == before + 1, "there is a leaf between the neighbours")
        low = proof.left is None or key_of(proof.left.row) < key
        high = proof.right is None or key < key_of(proof.right.row)
        self._require("between", low and high, "the key does not stand between the neighbours")


def _jobs(row: NodeRow) -> int:
    return int.from_bytes(row.job_root[32:40], "big")
