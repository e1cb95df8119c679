"""Proofs of presence and absence: they hold, and no bit of them can be changed."""

from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import product

import numpy as np
import pytest
from measure_schemas import SATURN, publish, saturn_record

from meridian.measure.commitment import load_epoch
from meridian.measure.proof import (
    AbsentJobProof,
    AbsentNodeProof,
    JobProof,
    Leaf,
    NodeProof,
    Proof,
    ProofMaker,
    Subject,
    check_proof,
)
from meridian.primitives.ids import node_key
from meridian.primitives.sumtree import EMPTY_ROOT
from meridian.verifier import Name, Step, holds

PUBLISHED = publish(SATURN, [saturn_record(at) for at in range(37)])
NODES, JOBS = load_epoch(PUBLISHED.manifest, SATURN, PUBLISHED.fetch)
MAKER = ProofMaker.of_table(SATURN, NODES, JOBS)
STRANGERS = [f"stranger-{at}" for at in range(40)]
SUBJECT = Subject(3, PUBLISHED.manifest.root, SATURN.lanes.kind, Name.of(""))
EMPTY = publish(SATURN, [])


def node_of(node_id: str, maker: ProofMaker = MAKER) -> Proof:
    return maker.prove(Name.of(node_id))


def job_of(node_id: str, job_id: str, maker: ProofMaker = MAKER) -> Proof:
    return maker.prove(Name.of(node_id), Name.of(job_id))


def about(node_id: str, job_id: str | None = None, base: Subject = SUBJECT) -> Subject:
    return replace(base, node=Name.of(node_id), job=None if job_id is None else Name.of(job_id))


def check(proof: Proof, node_id: str, job_id: str | None = None) -> list[Step]:
    return check_proof(proof, about(node_id, job_id))


def sides(proof: Proof) -> tuple[bool, bool]:
    assert isinstance(proof, AbsentJobProof | AbsentNodeProof)
    return proof.left is not None, proof.right is not None


def absent_node(left: bool, right: bool) -> tuple[Proof, str, None]:
    name = next(name for name in STRANGERS if sides(node_of(name)) == (left, right))
    return node_of(name), name, None


def absent_job(left: bool, right: bool) -> tuple[Proof, str, str]:
    ids = (f"never-{at}" for at in range(60))
    job_id = next(one for one in ids if sides(job_of("node-2", one)) == (left, right))
    return job_of("node-2", job_id), "node-2", job_id


CASES: dict[str, tuple[Proof, str, str | None]] = {
    "job": (job_of("node-2", "job-7"), "node-2", "job-7"),
    "node": (node_of("node-3"), "node-3", None),
    "absent job between": absent_job(True, True),
    "absent job before the first": absent_job(False, True),
    "absent job after the last": absent_job(True, False),
    "absent node between": absent_node(True, True),
    "absent node before the first": absent_node(False, True),
    "absent node after the last": absent_node(True, False),
}
every_case = pytest.mark.parametrize(
    ("proof", "node_id", "job_id"), CASES.values(), ids=CASES.keys()
)


@every_case
def test_a_proof_of_each_kind_holds_and_shows_every_level(
    proof: Proof, node_id: str, job_id: str | None
) -> None:
    steps = check(proof, node_id, job_id)
    assert holds(steps), steps
    leaves = [leaf for leaf in leaves_of(proof).values() if leaf is not None]
    assert sum(s.how == "climb" for s in steps) == sum(len(leaf.path) for leaf in leaves)


def test_every_job_is_proved_to_be_counted() -> None:
    for row in JOBS.select(["node_id", "job_id"]).to_pylist():
        proof = job_of(row["node_id"], row["job_id"])
        assert isinstance(proof, JobProof)
        assert holds(check(proof, row["node_id"], row["job_id"]))


def test_every_node_is_proved_with_its_count_and_sums() -> None:
    for name in NODES.ids:
        proof = node_of(name)
        assert isinstance(proof, NodeProof)
        assert holds(check(proof, name))


def test_absence_of_every_stranger_is_proved() -> None:
    for name in STRANGERS:
        assert holds(check(node_of(name), name)), name
        proof = job_of(name, "job-1")
        assert isinstance(proof, AbsentNodeProof)
        assert holds(check(proof, name, "job-1"))
    for at in range(60):
        assert holds(check(job_of("node-1", f"never-{at}"), "node-1", f"never-{at}"))


def test_nothing_is_in_an_empty_epoch() -> None:
    maker = ProofMaker.of_table(SATURN, *load_epoch(EMPTY.manifest, SATURN, EMPTY.fetch))
    proof = node_of("node-1", maker)
    subject = replace(about("node-1"), root=EMPTY.manifest.root)
    assert proof == job_of("node-1", "job-1", maker) == AbsentNodeProof(None, None)
    assert holds(check_proof(proof, subject))
    assert not holds(check_proof(proof, replace(subject, epoch=4)))
    assert not holds(check(proof, "stranger-1"))


def test_an_epoch_of_one_job_has_both_edges() -> None:
    one = publish(SATURN, [saturn_record(0)])
    nodes, jobs = load_epoch(one.manifest, SATURN, one.fetch)
    maker = ProofMaker.of_table(SATURN, nodes, jobs)
    subject = replace(about(nodes.ids[0]), root=one.manifest.root)
    seen = set()
    for at in range(20):
        proof = job_of(nodes.ids[0], f"never-{at}", maker)
        seen.add(sides(proof))
        assert holds(check_proof(proof, about(nodes.ids[0], f"never-{at}", subject)))
    assert seen == {(True, False), (False, True)}
    for name in STRANGERS:
        seen.add(sides(node_of(name, maker)))
        assert holds(check_proof(node_of(name, maker), about(name, None, subject)))
    assert seen == {(True, False), (False, True)}


def leaves_of(proof: Proof) -> dict[str, Leaf | None]:
    return {item.name: getattr(proof, item.name) for item in fields(proof)}


def changes(leaf: Leaf) -> Iterator[Leaf]:
    """Every bit of the row and of the path, other places and sizes, shorter and longer paths."""
    for row in flipped(leaf.row):
        yield replace(leaf, row=row)
    for at, node in enumerate(leaf.path):
        for other in flipped(node):
            yield replace(leaf, path=(*leaf.path[:at], other, *leaf.path[at + 1 :]))
        yield replace(leaf, path=leaf.path[:at] + leaf.path[at + 1 :])
    yield replace(leaf, path=(*leaf.path, bytes(56)))
    yield replace(leaf, path=(*leaf.path[:-1], leaf.path[-1][:-1]))
    for row in (b"", leaf.row[:-1], leaf.row + b"\0"):
        yield replace(leaf, row=row)
    for index, size in product(range(-1, leaf.size + 2), range(-1, leaf.size + 3)):
        if (index, size) != (leaf.index, leaf.size):
            yield replace(leaf, index=index, size=size)
    for bit in range(100):
        yield replace(leaf, index=leaf.index ^ 1 << bit)
        yield replace(leaf, size=leaf.size ^ 1 << bit)


def flipped(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        for bit in range(8):
            yield data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


@every_case
def test_no_bit_of_a_proof_can_be_changed(proof: Proof, node_id: str, job_id: str | None) -> None:
    for name, leaf in leaves_of(proof).items():
        for other in changes(leaf) if leaf else ():
            changed = replace(proof, **{name: other})
            assert not holds(check(changed, node_id, job_id)), (name, other)


@every_case
def test_no_part_can_be_left_out_or_stand_for_another(
    proof: Proof, node_id: str, job_id: str | None
) -> None:
    leaves = leaves_of(proof)
    parts = {leaf for leaf in leaves.values() if leaf}
    if isinstance(proof, AbsentJobProof | AbsentNodeProof):
        for left, right in product((None, *parts), repeat=2):
            if (left, right) != (proof.left, proof.right):
                assert not holds(check(replace(proof, left=left, right=right), node_id, job_id))
    for name in leaves.keys() - {"left", "right"}:
        for other in parts - {leaves[name]}:
            assert not holds(check(replace(proof, **{name: other}), node_id, job_id))


def test_a_proof_says_nothing_about_another_subject_epoch_or_root() -> None:
    job, node, absent = (CASES[name][0] for name in ("job", "node", "absent job between"))
    assert not holds(check(job, "node-3", "job-7"))
    assert not holds(check(job, "node-2", "job-12"))
    assert not holds(check(job, "node-2"))
    assert not holds(check(node, "node-2"))
    assert not holds(check(node, "node-3", "job-1"))
    assert not holds(check(absent, "node-2", "job-7"))
    assert not holds(check(absent, "node-2"))
    assert not holds(())
    for proof, node_id, job_id in CASES.values():
        subject = about(node_id, job_id)
        for other in (replace(subject, epoch=4), replace(subject, root=bytes(32))):
            assert not holds(check_proof(proof, other))


def test_a_present_node_cannot_be_proved_absent() -> None:
    """All pairs of leaves, adjacent or not, in front of each node."""
    leaves = [node_of(name).node for name in NODES.ids]
    for name, left, right in product(NODES.ids, (None, *leaves), (None, *leaves)):
        assert not holds(check(AbsentNodeProof(left, right), name)), (left, right)


def test_a_present_job_cannot_be_proved_absent() -> None:
    rows = JOBS.filter(np.array([name == "node-2" for name in JOBS["node_id"].to_pylist()]))
    ids = rows["job_id"].to_pylist()
    node = node_of("node-2").node
    leaves = [job_of("node-2", job_id).job for job_id in ids]
    assert len(leaves) > 3
    for job_id, left, right in product(ids, (None, *leaves), (None, *leaves)):
        assert not holds(check(AbsentJobProof(left, right, node), "node-2", job_id))


def test_a_row_over_no_jobs_at_all_proves_any_job_absent() -> None:
    """No honest epoch has such a row; where one is committed, it says so."""
    rows = NODES.rows.copy()
    place = NODES.ids.index("node-2")
    rows[place, 60:] = np.frombuffer(EMPTY_ROOT, dtype=np.uint8)
    forged = ProofMaker.of_table(SATURN, replace(NODES, rows=rows), JOBS)
    above = node_of("node-2", forged)
    top = check(above, "node-2")[-2].parts[2]
    subject = replace(about("node-2", "job-7"), root=top)
    assert holds(check_proof(AbsentJobProof(None, None, above.node), subject))
    with_jobs = node_of("node-1", forged).node
    other = about("node-1", "job-7", subject)
    assert not holds(check_proof(AbsentJobProof(None, None, with_jobs), other))


def test_a_step_that_does_not_hold_is_named_and_is_the_last() -> None:
    job = CASES["job"][0]
    other = replace(job, job=replace(job.job, path=(bytes(56), *job.job.path[1:])))
    steps = check(other, "node-2", "job-7")
    assert [step.ok for step in steps] == [True] * (len(steps) - 1) + [False]
    assert steps[-1].name == "job count"


def test_nodes_stand_in_the_order_of_their_keys() -> None:
    assert [node_key(name) for name in NODES.ids] == sorted(map(node_key, NODES.ids))
