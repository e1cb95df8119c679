"""What an evaluator publishes about an epoch once its report stands on chain: all that an outsider needs to check it.

The outcome artefact names every other one by digest. It is written after all of them, and the index file last, so
whoever sees the index finds everything behind it.
"""

import msgspec

from meridian.committee.observation import Observation
from meridian.committee.settlement import EpochTerms, Settled
from meridian.ephemera.effects import Decided
from meridian.node.chain_view import AcceptedReport, Commitment
from meridian.node.durable_file import write_durably
from meridian.node.measure.publication import Publication
from meridian.primitives import dagcbor
from meridian.primitives.cid import DAG_CBOR, cid_text
from meridian.primitives.ids import Address, NodeKey
from meridian.reward.result import EpochFacts, seed_result

VERSION = 1


def publish_outcome(
    publication: Publication,
    *,
    commitment: Commitment,
    terms: EpochTerms,
    settled: Settled,
    decided: Decided,
    observation: Observation,
    accepted: AcceptedReport,
    signatures: list[tuple[Address, bytes]],
    node_ids: dict[NodeKey, str],
) -> bytes:
    """Publish an epoch's outcome and everything that it names.

    Args:
        publication: The evaluator's own publication directory.
        commitment: What was evaluated.
        terms: Members, parameters and header.
        settled: Our reproduction of the accepted report.
        decided: Block, certificate and row bodies.
        observation: Our own row and the verdicts behind it.
        accepted: The report as the chain has it.
        signatures: Those that the chain accepted, ascending by signer.
        node_ids: Key -> text id of the committed nodes.

    Returns:
        The digest of the outcome artefact.
    """
    epoch, proposal = terms.header.epoch, settled.proposal
    evaluation = observation.evaluation
    verdicts = dagcbor.encode(
        {
            "reasons": list(evaluation.reasons),
            "codes": evaluation.verdicts,
            "summary": evaluation.summary,
        }
    )
    facts = EpochFacts(
        epoch=epoch,
        jobs=len(evaluation.verdicts),
        commitment_root=commitment.root,
        report_hash=accepted.report_hash,
        signers=[signer for signer, _ in signatures],
        transmitter=accepted.transmitter,
        paid_atto=0,
        gas={},
        node_ids=node_ids,
    )
    result = seed_result(
        proposal.report,
        proposal.outcome,
        measurement=cid_text(commitment.manifest, DAG_CBOR),
        facts=facts,
        summary=evaluation.summary,
    )
    report = proposal.report
    outcome = {
        "v": VERSION,
        "network_id": terms.header.network,
        "epoch": epoch,
        "members": list(terms.members),
        "manifest": commitment.manifest,
        "block": publication.put(decided.block.encode()),
        "certificate": publication.put(decided.certificate.encode()),
        "rows": [publication.put(body) for body in decided.bodies],
        "verdicts": publication.put(verdicts),
        "previous_claims": publication.put(settled.claims_before.encode())
        if settled.claims_before.claims
        else None,
        "claims": publication.put(proposal.outcome.claims.encode()),
        "report": {
            "network": report.network,
            "epoch": report.epoch,
            "commitment": report.commitment,
            "function": report.function_digest,
            "parameters": report.parameters_digest,
            "inputs_root": report.inputs_root,
            "block_hash": report.block_hash,
            "verdict_root": report.verdict_root,
            "reward_root": report.reward_root,
            "total": report.total.to_bytes(16, "big"),
            "previous": report.previous,
        },
        "report_hash": accepted.report_hash,
        "signatures": [[signer, signature] for signer, signature in signatures],
        "transmitter": accepted.transmitter,
        "result": publication.put(msgspec.json.encode(result)),
    }
    digest = publication.put(dagcbor.encode(outcome))
    index = {"epoch": epoch, "outcome": cid_text(digest), "report_hash": accepted.report_hash.hex()}
    path = publication.root / "epochs" / f"{epoch:06d}.outcome.json"
    write_durably(path, msgspec.json.format(msgspec.json.encode(index), indent=2) + b"\n")
    return digest
