"""Proofs of presence and absence: they hold, and no bit of them can be changed."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from measure_schemas import SATURN, publish, saturn_record

from meridian.errors import InvalidInput
from meridian.measure.commitment import load_epoch
from meridian.measure.proof import Anchor, Proof, ProofMaker, Step, check_proof, holds
from meridian.primitives.ids import node_key
from meridian.primitives.sumtree import LaneKind

LANES = SATURN.lanes.kind
PUBLISHED = publish(SATURN, [saturn_record(at) for at in range(37)])
ANCHOR = Anchor(3, PUBLISHED.manifest.root, PUBLISHED.manifest.n_nodes)
NODES, JOBS = load_epoch(PUBLISHED.manifest, SATURN, PUBLISHED.fetch)
MAKER = ProofMaker(SATURN, NODES, JOBS)
ABSENT_NODES = [f"stranger-{at}" for at in range(40)]


def check(proof: Proof, node_id: str, job_id: str | None = None) -> tuple[Step, ...]:
    return check_proof(proof, ANCHOR, LANES, node_id, job_id)


def test_every_job_is_proved_to_be_counted() -> None:
    for row in JOBS.select(["node_id", "job_id"]).to_pylist():
        proof = MAKER.job(row["node_id"], row["job_id"])
        steps = check(proof, row["node_id"], row["job_id"])
        assert proof.kind == "job"
        assert holds(steps), steps
        assert [step.name for step in steps] == ["node_key", "node_path", "job_key", "job_path"]


def test_every_node_is_proved_with_its_count_and_sums() -> None:
    for name in NODES.ids:
        proof = MAKER.node(name)
        assert (proof.kind, holds(check(proof, name))) == ("node", True)


def test_absence_of_jobs_and_nodes_is_proved_at_the_edges_too() -> None:
    kinds = set()
    for name in ABSENT_NODES:
        proof = MAKER.node(name)
        assert proof.kind == "absent_node"
        assert holds(check(proof, name)), name
        assert holds(check(MAKER.job(name, "job-1"), name, "job-1"))
        kinds.add((proof.left is None, proof.right is None))
    assert kinds == {(True, False), (False, False), (False, True)}
    kinds = set()
    for at in range(60):
        job_id = f"never-{at}"
        proof = MAKER.job("node-1", job_id)
        assert proof.kind == "absent_job"
        assert holds(check(proof, "node-1", job_id))
        kinds.add((proof.left is None, proof.right is None))
    assert kinds == {(True, False), (False, False), (False, True)}


def test_nothing_is_in_an_empty_epoch() -> None:
    empty = publish(SATURN, [])
    maker = ProofMaker(SATURN, *load_epoch(empty.manifest, SATURN, empty.fetch))
    proof = maker.node("node-1")
    assert holds(check_proof(proof, Anchor(3, empty.manifest.root, 0), LANES, "node-1"))
    assert not holds(check_proof(proof, Anchor(3, ANCHOR.root, 0), LANES, "node-1"))
    assert not holds(check_proof(proof, ANCHOR, LANES, "node-1"))


def proofs() -> list[tuple[Proof, str, str | None]]:
    return [
        (MAKER.job("node-2", "job-7"), "node-2", "job-7"),
        (MAKER.node("node-3"), "node-3", None),
        (MAKER.job("node-2", "job-8"), "node-2", "job-8"),
        (next(p for p in map(MAKER.node, ABSENT_NODES) if p.left and p.right), "", None),
    ]


@pytest.mark.parametrize("at", range(4), ids=["job", "node", "absent_job", "absent_node"])
def test_no_bit_of_a_proof_can_be_changed(at: int) -> None:
    proof, node_id, job_id = proofs()[at]
    if not node_id:
        node_id = next(name for name in ABSENT_NODES if MAKER.node(name) == proof)
    assert holds(check(Proof.decode(proof.encode()), node_id, job_id))
    for data in flipped(proof.encode()):
        try:
            other = Proof.decode(data)
        except InvalidInput:
            continue
        assert not holds(check(other, node_id, job_id))


def flipped(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        for bit in range(8):
            yield data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def test_a_proof_says_nothing_about_another_subject_epoch_or_root() -> None:
    job, node, absent, _ = (proof for proof, *_ in proofs())
    assert not holds(check(job, "node-3", "job-7"))
    assert not holds(check(job, "node-2", "job-12"))
    assert not holds(check(job, "node-2"))
    assert not holds(check(node, "node-2"))
    assert not holds(check(node, "node-3", "job-1"))
    assert not holds(check(absent, "node-2", "job-7"))
    for anchor in (
        replace(ANCHOR, epoch=4),
        replace(ANCHOR, n_nodes=6),
        replace(ANCHOR, root=bytes(32)),
    ):
        assert not holds(check_proof(job, anchor, LANES, "node-2", "job-7"))
    assert not holds(())


def test_a_present_job_or_node_cannot_be_proved_absent() -> None:
    """All pairs of leaves, adjacent or not, in front of each node."""
    leaves = [MAKER.node(name).node for name in NODES.ids]
    for name in NODES.ids:
        for left in (None, *leaves):
            for right in (None, *leaves):
                proof = Proof("absent_node", left=left, right=right)
                assert not holds(check(proof, name)), (left, right)


def test_a_step_that_does_not_hold_is_named_and_is_the_last() -> None:
    job = MAKER.job("node-2", "job-7")
    assert job.job is not None
    other = replace(job, job=replace(job.job, path=(bytes(56), *job.job.path[1:])))
    steps = check(other, "node-2", "job-7")
    assert [step.holds for step in steps] == [True, True, True, False]
    assert (steps[-1].name, steps[-1].detail != "") == ("job_path", True)


def test_the_json_form_holds_the_same_and_has_one_spelling() -> None:
    for proof, *_ in proofs():
        text = proof.to_json()
        assert Proof.from_json(text) == proof
        for bad in (
            text.replace('"v": 1', '"v": 2'),
            text[:-1],
            "7",
            text.replace("a", "A", 1),
            "[" * 10**5,
        ):
            with pytest.raises(InvalidInput):
                Proof.from_json(bad)


def test_lanes_are_the_schemas_business() -> None:
    proof = MAKER.job("node-2", "job-7")
    assert holds(check_proof(proof, ANCHOR, LaneKind.PAIR_U64, "node-2", "job-7"))


def test_nodes_stand_in_the_order_of_their_keys() -> None:
    assert [node_key(name) for name in NODES.ids] == sorted(map(node_key, NODES.ids))
