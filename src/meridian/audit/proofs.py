"""Checking proof files: the steps for a person, what the proof says, and the comparison with the chain.

What must hold is written in `meridian.verifier`. A file that holds leads to the root that it names; it is to be believed
when that is the one on chain (`chain_step`).
"""

from dataclasses import dataclass
from typing import Final

from meridian import verifier
from meridian.audit.source import ChainView, EvidenceSource, LogCopy
from meridian.errors import InvalidInput
from meridian.measure.epoch_log import (
    EpochRecord,
    checkpoint_of,
    open_checkpoint,
    verify_log,
)
from meridian.measure.proof import AbsentJobProof, AbsentNodeProof
from meridian.measure.signed_note import Verifier
from meridian.primitives.ids import network_id
from meridian.reward.claims import ClaimProof
from meridian.verifier import Malformed, Name, ProofFile, Step

LOG_KINDS: Final = frozenset({"log_inclusion", "log_consistency"})


@dataclass(frozen=True, slots=True)
class ProvenClaim:
    """What a node had earned in all by an epoch's report, with its proof."""

    network: str
    epoch: int
    node_id: str
    proof: ClaimProof
    reward_root: bytes
    total: int
    """All claims under the root, in atto."""

    @property
    def file(self) -> ProofFile:
        """The proof as it is sent and checked."""
        proof = self.proof
        fields = {
            "network": self.network,
            "epoch": self.epoch,
            "node_id": Name.of(self.node_id),
            "payee": proof.payee,
            "cumulative_atto": proof.cumulative,
            "index": proof.index,
            "size": proof.size,
            "path": proof.path,
            "total_atto": self.total,
            "reward_root": self.reward_root,
        }
        return ProofFile("claim", fields)


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
    steps: tuple[Step, ...]
    file: ProofFile | None = None
    """What was read, where it holds."""

    @property
    def failed(self) -> Step | None:
        """The step that does not hold, if any."""
        return next((step for step in self.steps if not step.ok), None)


def check_file(data: bytes) -> Checked:
    """Check a proof file step by step; whatever the file holds, the answer is a list of steps."""
    try:
        file = verifier.decode(data)
    except Malformed as error:
        rule = f"field {error.field}" if error.field else "a proof file"
        step = Step("document", "form", (rule, error.reason), ok=False)
        return Checked("", 0, "", b"", 0, "", (step,))
    steps, fields = tuple(verifier.check(file)), file.fields
    network, epoch = fields["network"], fields.get("epoch", 0)
    if not verifier.holds(steps):
        return Checked(file.kind, epoch, "", b"", 0, network, steps)
    said, root, total = (
        verifier.statement(file),
        verifier.root_of(file),
        fields.get("total_atto", 0),
    )
    return Checked(file.kind, epoch, said, root, total, network, steps, file)


def outside_steps(checked: Checked, source: EvidenceSource) -> list[Step]:
    """Compare a proof that holds with what is known from outside it: the chain, and for logs the signed checkpoint."""
    network = source.network.network_id
    if checked.kind not in LOG_KINDS:
        return [chain_step(checked, source.chain, network)]
    steps = [_log_step(checked, source)]
    if checked.kind == "log_inclusion" and steps[0].ok:
        steps.append(_entry_step(checked, source.chain))
    return steps


def chain_step(checked: Checked, chain: ChainView, network: bytes) -> Step:
    """Compare a proof's root with the chain: the last step of a proof that is to be believed."""
    if network_id(checked.network) != network:
        rule = "the proof is about this network"
        return _said("network", rule, f"{checked.network!r} is another", ok=False)
    if checked.kind == "claim":
        stored = chain.report(checked.epoch)
        rule = f"reward root and total of the report of epoch {checked.epoch} on chain"
        if stored is None:
            return _said("chain", rule, "there is no report", ok=False)
        same = (stored.reward_root, stored.total) == (checked.root, checked.total)
        value = f"{stored.reward_root.hex()}, total {stored.total}"
        return _said("chain", rule, value, ok=same)
    roots = [event.root for event in chain.commitments(checked.epoch)]
    rule = f"committed root of epoch {checked.epoch} on chain"
    value = ", ".join(root.hex() for root in roots) or "there is no commitment"
    same = checked.root in roots
    if checked.kind in {AbsentJobProof.kind, AbsentNodeProof.kind} and len(roots) > 1:
        rule += ", which must be the only one: what one aggregator lacks another may have"
        same = False
    return _said("chain", rule, value, ok=same)


def _said(name: str, rule: str, value: str, *, ok: bool) -> Step:
    return Step(name, "form", (rule, value), ok)


def _log_step(checked: Checked, source: EvidenceSource) -> Step:
    """Compare the log root of a proof with a published log under its signed checkpoint."""
    assert checked.file is not None
    size, signer = checked.file.fields["size"], Verifier.parse(source.network.log_vkey)
    rule = f"root of the first {size} entries of a log that {signer.name} has signed"
    found = "there is no such log"
    for log in source.logs():
        try:
            signed = verify_log(log.checkpoint, log.entries[: _signed_size(log, signer)], signer)
        except InvalidInput as error:
            found = f"{log.file}: {error}"
            continue
        if signed.size < size:
            found = f"{log.file}: only {signed.size} entries are signed"
            continue
        root = checkpoint_of(signed.origin, log.entries[:size]).root
        if root == checked.root:
            return _said("signed log", rule, f"{log.file}: {root.hex()}", ok=True)
        found = f"{log.file}: {root.hex()}"
    return _said("signed log", rule, found, ok=False)


def _signed_size(log: LogCopy, signer: Verifier) -> int:
    return open_checkpoint(log.checkpoint, signer).size


def _entry_step(checked: Checked, chain: ChainView) -> Step:
    """Compare the entry of a proof with the commitments of its epoch."""
    assert checked.file is not None
    entry = EpochRecord.decode(checked.file.fields["entry"])
    about = (entry.aggregator, entry.root, entry.n_nodes, entry.annotation, entry.manifest)
    known = [
        (event.aggregator, event.root, event.n_nodes, event.annotation, event.manifest)
        for event in chain.commitments(entry.epoch)
    ]
    rule = f"the entry says what was committed for epoch {entry.epoch} on chain"
    value = ", ".join(root.hex() for _, root, *_ in known) or "there is no commitment"
    return _said("chain", rule, value, ok=about in known)
