"""A proof file of every kind, made from the primitives alone."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from audit.audit_world import NETWORK
from meridian.audit.proofs import ProvenClaim
from meridian.measure.epoch_log import EpochRecord
from meridian.measure.proof import (
    AbsentJobProof,
    AbsentNodeProof,
    JobProof,
    NodeProof,
    Proof,
    Subject,
    proof_file,
)
from meridian.primitives import hashing, rfc6962
from meridian.primitives.hashing import tagged
from meridian.primitives.ids import Address, job_key, network_id, node_key
from meridian.primitives.sumtree import EMPTY_ROOT, LaneKind, SumTree, leaf_node
from meridian.reward.claims import ClaimsState
from meridian.verifier import Leaf, Name, ProofFile

LANES = LaneKind.PAIR_U64
EPOCH = 9
NAME = NETWORK.name


def tree_of(leaves: list[bytes], tag: int) -> SumTree:
    matrix = np.frombuffer(b"".join(leaves), dtype=np.uint8).reshape(len(leaves), 56)
    return SumTree(matrix, tag, LANES)


def job_row(job_id: str, amount: int) -> bytes:
    head = bytes((0, 1, 0, 0)) + job_key(job_id)
    return head + bytes(16) + LANES.join([amount, 1]) + hashing.sha256(job_id.encode())


class Epoch:
    """One node with jobs, among others, built from the primitives alone."""

    def __init__(self, jobs: int = 5, nodes: int = 6) -> None:
        self.rows = sorted(
            (job_row(f"job-{i}", 10 * i) for i in range(jobs)), key=lambda row: row[4:36]
        )
        self.jobs = tree_of(
            [leaf_node(tagged(hashing.JOB_LEAF, row), 1, row[52:68]) for row in self.rows],
            hashing.JOB_NODE,
        )
        self.ids = sorted((f"node-{i}" for i in range(nodes)), key=node_key)
        self.node_rows = [
            bytes(4) + EPOCH.to_bytes(4, "big") + node_key(name) + bytes(20) + self.jobs.root
            for name in self.ids
        ]
        self.nodes = tree_of(
            [tagged(hashing.NODE_LEAF, row) + row[92:116] for row in self.node_rows],
            hashing.NODE_NODE,
        )
        self.root = committed(nodes, self.nodes.root)

    def job(self, at: int) -> Leaf:
        return Leaf(self.rows[at], at, len(self.rows), tuple(self.jobs.path(at)))

    def node(self, at: int) -> Leaf:
        return Leaf(self.node_rows[at], at, len(self.ids), tuple(self.nodes.path(at)))

    @property
    def own(self) -> Leaf:
        return self.node(self.ids.index("node-1"))

    def file(self, proof: Proof, node_id: str = "node-1", job_id: str | None = None) -> ProofFile:
        job = None if job_id is None else Name.of(job_id)
        return proof_file(NAME, Subject(EPOCH, self.root, LANES, Name.of(node_id), job), proof)


def committed(size: int, top: bytes) -> bytes:
    head = EPOCH.to_bytes(8, "big") + size.to_bytes(8, "big")
    return tagged(hashing.COMMITTED_ROOT, head, top)


WHOLE = Epoch()


def job_file(number: int = 3, jobs: int = 5) -> ProofFile:
    epoch = Epoch(jobs)
    at = next(i for i, row in enumerate(epoch.rows) if row[4:36] == job_key(f"job-{number}"))
    return epoch.file(JobProof(epoch.job(at), epoch.own), job_id=f"job-{number}")


def key_at(place: int, keys: list[bytes], key_of, name: str) -> str:
    """Return an id whose key stands in front of the given place."""
    ids = (f"{name}-{i}" for i in range(1000))
    return next(one for one in ids if sum(key < key_of(one) for key in keys) == place)


def absent_job_file(place: int) -> ProofFile:
    job_id = key_at(place, [row[4:36] for row in WHOLE.rows], job_key, "never")
    left = WHOLE.job(place - 1) if place > 0 else None
    right = WHOLE.job(place) if place < len(WHOLE.rows) else None
    return WHOLE.file(AbsentJobProof(left, right, WHOLE.own), job_id=job_id)


def absent_node_file(place: int) -> ProofFile:
    node_id = key_at(place, [row[8:40] for row in WHOLE.node_rows], node_key, "stranger")
    left = WHOLE.node(place - 1) if place > 0 else None
    right = WHOLE.node(place) if place < len(WHOLE.ids) else None
    return WHOLE.file(AbsentNodeProof(left, right), node_id)


def empty_epoch_file() -> ProofFile:
    subject = Subject(EPOCH, committed(0, EMPTY_ROOT), LANES, Name.of("node-1"))
    return proof_file(NAME, subject, AbsentNodeProof(None, None))


def claim_file() -> ProofFile:
    state = ClaimsState.empty().advance(
        {node_key(f"node-{i}"): (Address(bytes([i]) * 20), 1000 + i) for i in range(7)}
    )
    proof = state.proof(node_key("node-1"))
    return ProvenClaim(NAME, EPOCH, "node-1", proof, state.reward_root, state.total).file


def by_key(file: ProofFile) -> ProofFile:
    """The same, asked for by keys."""
    names = {
        name: value._replace(id=None)
        for name, value in file.fields.items()
        if isinstance(value, Name)
    }
    return ProofFile(file.kind, {**file.fields, **names})


ENTRIES = [
    EpochRecord(
        network_id(NAME),
        EPOCH - 4 + at,
        Address(b"\xa9" * 20),
        bytes([at]) * 32,
        at,
        bytes(24),
        bytes(32),
    ).encode()
    for at in range(7)
]
HASHES = [rfc6962.leaf_hash(entry) for entry in ENTRIES]


def inclusion_file(index: int = 4, size: int = 7) -> ProofFile:
    fields = {
        "network": NAME,
        "epoch": EPOCH - 4 + index,
        "index": index,
        "size": size,
        "entry": ENTRIES[index],
        "path": tuple(rfc6962.inclusion_path(HASHES[:size], index)),
        "log_root": rfc6962.root(HASHES[:size]),
    }
    return ProofFile("log_inclusion", fields)


def consistency_file(old_size: int = 3, size: int = 7) -> ProofFile:
    fields = {
        "network": NAME,
        "old_size": old_size,
        "size": size,
        "old_root": rfc6962.root(HASHES[:old_size]),
        "path": tuple(rfc6962.consistency_path(HASHES[:size], old_size)),
        "log_root": rfc6962.root(HASHES[:size]),
    }
    return ProofFile("log_consistency", fields)


FILES = {
    "job": job_file(),
    "node": WHOLE.file(NodeProof(WHOLE.own)),
    "absent job between": absent_job_file(2),
    "absent job before the first": absent_job_file(0),
    "absent job after the last": absent_job_file(5),
    "absent node between": absent_node_file(3),
    "absent node before the first": absent_node_file(0),
    "absent node after the last": absent_node_file(6),
    "absent node of an empty epoch": empty_epoch_file(),
    "claim": claim_file(),
}
"""Those that the chain can be asked about."""
LOG_FILES = {"log inclusion": inclusion_file(), "log consistency": consistency_file()}
ALL_FILES = FILES | LOG_FILES | {f"{name} by key": by_key(file) for name, file in FILES.items()}


def others(file: ProofFile) -> Iterator[ProofFile]:
    """Changes that bytes hardly make: other places, sizes and paths, leaves for others, keys for ids."""
    f = file.fields
    leaves = [value for value in f.values() if isinstance(value, Leaf)]
    for name, value in f.items():
        if isinstance(value, Leaf):
            swapped: list[object] = [leaf for leaf in leaves if leaf != value]
            swapped += [replace(value, index=value.index + by) for by in (-1, 1)]
            swapped += [replace(value, size=value.size + by) for by in (-1, 1, 1 << 40)]
            swapped += [replace(value, path=path) for path in paths(value.path)]
            swapped += [None] if name in {"left", "right"} else []
        elif isinstance(value, int):
            swapped = [value + 1, max(0, value - 1), value << 1]
        elif isinstance(value, tuple) and name == "path":
            swapped = list(paths(value))
        elif isinstance(value, Name):
            swapped = [Name.of("somebody else"), value._replace(id=None)]
        elif value is None:
            swapped = list(leaves)
        elif value in {"pair_u64", "u128"}:
            swapped = ["u128"]
        else:
            swapped = []
        for one in swapped:
            yield ProofFile(file.kind, {**f, name: one})


def paths(path: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
    for at in range(len(path)):
        yield path[:at] + path[at + 1 :]
        yield (*path[:at], path[at], *path[at:])
        yield (*path[:at], b"\xff" * len(path[at]), *path[at + 1 :])
    yield (*path, bytes(len(path[0]) if path else 56))
