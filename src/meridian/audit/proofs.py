"""Checking proof files: the steps for a person, what the proof says, and the comparison with the chain.

What an epoch counted is checked by `measure.proof`. Claims are checked here with the same kind of steps:

    node key, payee, cumulative amount -> claim tree -> reward root and total

A file that holds leads to the root that it names; it is to be believed when that is the one on chain (`chain_step`).
"""

import contextlib
from dataclasses import dataclass

from meridian.audit.proof_document import ClaimFile, ProofFile, decode_file
from meridian.audit.proof_text import ProofStep, step_text
from meridian.audit.source import ChainView
from meridian.errors import InvalidInput
from meridian.measure.epoch import LATE_FLAG
from meridian.measure.manifest import NodeRow
from meridian.measure.proof import AbsentJobProof, AbsentNodeProof, JobProof, check_proof
from meridian.measure.proof_steps import Refused, Step, Stopped, Trace, holds
from meridian.measure.row import JobRow
from meridian.primitives import hashing
from meridian.primitives.hashing import tagged
from meridian.primitives.ids import address_text, network_id, node_key
from meridian.primitives.sumtree import LaneKind, annotation, leaf_node


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of checking a proof file."""

    kind: str
    """As in the file; empty where the file is no proof."""
    epoch: int
    statement: str
    """What the proof says, in a sentence; empty where it does not hold."""
    root: bytes
    """The committed root or reward root that the steps lead to; empty where they lead nowhere."""
    total: int
    """Claims: the cumulative total under that root, in atto."""
    network: str
    steps: tuple[ProofStep, ...]

    @property
    def failed(self) -> ProofStep | None:
        """The step that does not hold, if any."""
        return next((step for step in self.steps if not step.ok), None)


def check_file(data: bytes) -> Checked:
    """Check a proof file step by step; whatever the file holds, the answer is a list of steps."""
    try:
        file = decode_file(data)
    except InvalidInput as error:
        rule = f"field {error.field}" if error.field else "a proof file"
        step = step_text(Refused("document", rule, error.reason))
        return Checked("", 0, "", b"", 0, "", (step,))
    if isinstance(file, ClaimFile):
        steps, epoch, root, total = _claim_steps(file), file.epoch, file.reward_root, file.total
    else:
        steps, total = check_proof(file.proof, file.subject), 0
        epoch, root = file.subject.epoch, file.subject.root
    shown = tuple(map(step_text, steps))
    if not holds(steps):
        return Checked(file.kind, epoch, "", b"", 0, file.network, shown)
    return Checked(file.kind, epoch, _statement(file), root, total, file.network, shown)


def _claim_steps(file: ClaimFile) -> tuple[Step, ...]:
    trace = Trace()
    with contextlib.suppress(Stopped):
        _check_claim(trace, file)
    return tuple(trace.steps)


def _check_claim(trace: Trace, file: ClaimFile) -> None:
    proof, lanes = file.proof, LaneKind.U128
    rule = f"SHA-256 of the id {file.node_id!r}"
    trace.equal("node key", rule, node_key(file.node_id), proof.node_key)
    amount = proof.cumulative.to_bytes(16, "big")
    digest = tagged(hashing.CLAIM_LEAF, proof.node_key, proof.payee, amount)
    layout = "node key 32 | payee 20 | cumulative u128"
    trace.hashed("claim leaf", layout, hashing.CLAIM_LEAF, digest)
    leaf = leaf_node(digest, 1, amount)
    top = trace.climb(
        "claim tree", leaf, proof.index, proof.size, proof.path, hashing.CLAIM_NODE, lanes
    )
    count, (summed,) = annotation(top, lanes)
    trace.equal("claim count", "the claim tree counts its leaves", count, proof.size)
    trace.equal("total", "the claims add up to the report's total", summed, file.total)
    layout = f"claims {proof.size} u64 | claim tree root 56"
    root = tagged(hashing.REWARD_ROOT, proof.size.to_bytes(8, "big"), top)
    trace.hashed("reward root", layout, hashing.REWARD_ROOT, root)
    trace.equal("root", "is the one that the file names", root, file.reward_root)


def _statement(file: ProofFile) -> str:
    """Return what a file says whose steps hold."""
    if isinstance(file, ClaimFile):
        payee, amount = address_text(file.proof.payee), file.proof.cumulative
        return f"node {file.node_id!r} earned {amount} atto in all, payable to {payee}"
    subject, proof = file.subject, file.proof
    node, where = f"node {subject.node_id!r}", f"in epoch {subject.epoch}"
    if isinstance(proof, AbsentNodeProof):
        return f"{node} has no job {where}"
    row = NodeRow.decode(proof.node.row)
    count, sums = annotation(row.job_root, subject.lanes)
    if isinstance(proof, AbsentJobProof):
        return f"job {subject.job_id!r} is none of the {count} jobs of {node} {where}"
    if isinstance(proof, JobProof):
        late = " (late)" if JobRow.decode(proof.job.row).flags & LATE_FLAG else ""
        number = f"number {proof.job.index + 1} of the {proof.job.size} jobs"
        return f"job {subject.job_id!r}{late} is {number} of {node} {where}"
    return (
        f"{node} has {count} jobs {where} ({subject.lanes.value} sums {', '.join(map(str, sums))}) under "
        f"job tree root {row.job_root[:32].hex()}, payee {address_text(row.payee)}"
    )


def chain_step(checked: Checked, chain: ChainView, network: bytes) -> ProofStep:
    """Compare a proof's root with the chain: the last step of a proof that is to be believed."""
    if network_id(checked.network) != network:
        rule = "the proof is about this network"
        return ProofStep("network", rule, f"{checked.network!r} is another", ok=False)
    if checked.kind == ClaimFile.kind:
        stored = chain.report(checked.epoch)
        rule = f"reward root and total of the report of epoch {checked.epoch} on chain"
        if stored is None:
            return ProofStep("chain", rule, "there is no report", ok=False)
        same = (stored.reward_root, stored.total) == (checked.root, checked.total)
        value = f"{stored.reward_root.hex()}, total {stored.total}"
        return ProofStep("chain", rule, value, ok=same)
    roots = [event.root for event in chain.commitments(checked.epoch)]
    rule = f"committed root of epoch {checked.epoch} on chain"
    value = ", ".join(root.hex() for root in roots) or "there is no commitment"
    same = checked.root in roots
    if checked.kind in {AbsentJobProof.kind, AbsentNodeProof.kind} and len(roots) > 1:
        rule += ", which must be the only one: what one aggregator lacks another may have"
        same = False
    return ProofStep("chain", rule, value, ok=same)
