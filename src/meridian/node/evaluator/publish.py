"""What an evaluator publishes about an epoch once its report stands on chain: all that an outsider needs to check it.

The outcome artefact names every other one by digest. It is written after all of them, and the index file last, so
whoever sees the index finds everything behind it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec

from meridian.audit.record import OutcomeRecord
from meridian.committee.observation import Observation
from meridian.committee.settlement import EpochTerms, Settled
from meridian.ephemera.effects import Decided
from meridian.node.chain_view import AcceptedReport, Commitment
from meridian.node.durable_file import write_durably
from meridian.node.evaluator.state import EpochState
from meridian.node.measure.publication import Publication
from meridian.node.publications import EVIDENCE, EVIDENCE_INDEX
from meridian.primitives.cid import cid_text
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, NodeKey
from meridian.reward.result import EpochFacts, seed_result

EVIDENCE_MAX: Final = 256
"""Pieces of evidence that are published; a stake is lost to the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What an evaluator knows about an epoch whose report stands on chain."""

    commitment: Commitment
    """What was evaluated."""
    terms: EpochTerms
    settled: Settled
    """Our reproduction of the accepted report."""
    decided: Decided
    observation: Observation
    """Our own row and the verdicts behind it."""
    accepted: AcceptedReport
    """The report as the chain has it."""
    signatures: list[tuple[Address, bytes]]
    """Those that the chain accepted, ascending by signer."""
    node_ids: dict[NodeKey, str]
    union: bytes | None = None
    """What is published of the contributions, where there are several."""

    @classmethod
    def of(
        cls,
        state: EpochState,
        accepted: AcceptedReport,
        settled: Settled,
        signatures: list[tuple[Address, bytes]],
    ) -> Self:
        """Return the evidence of an epoch that we worked and that is decided."""
        assert state.work is not None
        assert state.decided is not None
        return cls(
            commitment=state.commitment,
            terms=state.work.terms,
            settled=settled,
            decided=state.decided,
            observation=state.work.observation,
            accepted=accepted,
            signatures=signatures,
            node_ids=state.work.node_ids,
            union=state.work.union,
        )


def publish_outcome(publication: Publication, evidence: Evidence) -> bytes:
    """Publish an epoch's outcome and everything that it names; return the digest of the outcome artefact."""
    epoch, accepted = evidence.terms.header.epoch, evidence.accepted
    after, before = evidence.settled.proposal.outcome.ledger, evidence.settled.before
    for ledger in (before, after):
        if not ledger.memory.is_empty:
            publication.put(ledger.memory.encode())  # found by the digest in the claims
    decided = evidence.decided
    record = OutcomeRecord(
        network_id=evidence.terms.header.network,
        epoch=epoch,
        members=tuple(evidence.terms.members),
        manifest=evidence.commitment.manifest,
        block=publication.put(decided.block.encode()),
        certificate=publication.put(decided.certificate.encode()),
        rows=tuple(publication.put(body) for body in decided.bodies),
        verdicts=publication.put(evidence.observation.document),
        previous_claims=publication.put(before.claims.encode()) if before.claims.claims else None,
        claims=publication.put(after.claims.encode()),
        report=evidence.settled.proposal.report,
        report_hash=accepted.report_hash,
        signatures=tuple(evidence.signatures),
        transmitter=accepted.transmitter,
        result=publication.put(_result(evidence)),
        union=None if evidence.union is None else publication.put(evidence.union),
    )
    digest = publication.put(record.encode())
    index = {"epoch": epoch, "outcome": cid_text(digest), "report_hash": accepted.report_hash.hex()}
    path = publication.root / "epochs" / f"{epoch:06d}.outcome.json"
    write_durably(path, msgspec.json.format(msgspec.json.encode(index), indent=2) + b"\n")
    return digest


def publish_evidence(root: Path, epoch: int, term: int, evidence: bytes) -> None:
    """Publish what proves that a member signed two things, for whoever brings it to the chain; at most `EVIDENCE_MAX`.

    Args:
        root: Of the publication.
        epoch: The epoch that it is about.
        term: The term of the agreement in which it was signed.
        evidence: As `meridian.ephemera.evidence` defines it.
    """
    folder = root / EVIDENCE
    path = folder / f"{epoch:06d}-{sha256(evidence).hex()[:16]}.json"
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists() and sum(1 for _ in folder.iterdir()) < EVIDENCE_MAX:
        value = {"epoch": epoch, "term": term, "evidence": evidence.hex()}
        write_durably(path, msgspec.json.encode(value) + b"\n")
    names = sorted(one.name for one in folder.glob("*.json"))
    write_durably(root / EVIDENCE_INDEX, msgspec.json.encode(names) + b"\n")


def _result(evidence: Evidence) -> bytes:
    """Return the design document's own result object, as JSON."""
    proposal, evaluation = evidence.settled.proposal, evidence.observation.evaluation
    facts = EpochFacts(
        epoch=proposal.epoch,
        jobs=len(evaluation.verdicts),
        commitment_root=evidence.commitment.root,
        report_hash=evidence.accepted.report_hash,
        signers=[signer for signer, _ in evidence.signatures],
        transmitter=evidence.accepted.transmitter,
        paid_atto=0,  # the moment of publication is before any claim; this object does not show it
        gas={},
        node_ids=evidence.node_ids,
    )
    result = seed_result(
        proposal.report,
        proposal.outcome,
        measurement=cid_text(evidence.commitment.manifest),
        facts=facts,
        summary=evaluation.summary,
    )
    return msgspec.json.encode(result)
