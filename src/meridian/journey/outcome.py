"""The result of a run, read back from what was published and from the chain, never from the run's own memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from meridian.audit.record import OutcomeRecord
from meridian.ephemera.block import Block
from meridian.errors import NotFound
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.row import RowHeader
from meridian.evaluate.trace import Traces, work_root
from meridian.evaluate.verdict_document import document_leaves
from meridian.measure.manifest import Manifest, Nodes
from meridian.node.chain.rpc import ChainClient
from meridian.node.chain_view import AcceptedReport, ChainView, Commitment, PaidClaim
from meridian.node.network_file import NetworkFile
from meridian.primitives import dagcbor
from meridian.primitives.cid import cid_text, digest_of, parse_cid
from meridian.primitives.ids import Address, NodeKey, address_text
from meridian.reward.claims import ClaimsState
from meridian.reward.ledger import Ledger
from meridian.reward.members import PayTerms
from meridian.reward.memory import Memory
from meridian.reward.outcome import Outcome, compute_outcome
from meridian.reward.result import EpochFacts, epoch_result


@dataclass(frozen=True, slots=True)
class PublishedEpoch:
    """One epoch as the publications and the chain show it."""

    commitment: Commitment
    report: AcceptedReport
    outcome: Outcome
    jobs: int
    signers: tuple[Address, ...]
    node_ids: dict[NodeKey, str]
    seed_result: bytes
    """The design document's own result object, JSON."""
    reasons: tuple[str, ...]
    """The verdicts that there are, ``ok`` first."""
    summary: dict[str, int]
    """Jobs for each verdict, and the function's totals."""
    payees: dict[NodeKey, Address] = field(default_factory=dict)


class Publications:
    """The publication directories of a run, read by digest."""

    def __init__(self, directories: list[Path]) -> None:
        self._directories = directories

    def object(self, digest: bytes) -> bytes:
        """Return an artefact from the first publication that holds it whole.

        Raises:
            NotFound: If none does.
        """
        name = cid_text(digest)
        for directory in self._directories:
            path = directory / "objects" / name
            if path.is_file() and digest_of(data := path.read_bytes()) == digest:
                return data
        raise NotFound(f"artefact {name} is not published")

    def outcome(self, epoch: int, report_hash: bytes) -> OutcomeRecord | None:
        """Return the outcome record of an accepted report, or None while nobody has published it."""
        for directory in self._directories:
            path = directory / "epochs" / f"{epoch:06d}.outcome.json"
            if not path.is_file():
                continue
            index = msgspec.json.decode(path.read_bytes())
            if index["report_hash"] == report_hash.hex():
                return OutcomeRecord.decode(self.object(parse_cid(index["outcome"])[1]))
        return None


def read_epoch(
    publications: Publications, view: ChainView, commitment: Commitment, report: AcceptedReport
) -> PublishedEpoch | None:
    """Return a reported epoch, or None while its outcome is not published yet."""
    record = publications.outcome(report.epoch, report.report_hash)
    if record is None:
        return None
    manifest = Manifest.decode(publications.object(commitment.manifest))
    nodes = Nodes.decode(publications.object(manifest.nodes))
    payees = {NodeKey(key): payee for key, payee in zip(nodes.keys, nodes.payees, strict=True)}
    header = RowHeader(
        network=record.report.network,
        epoch=report.epoch,
        commitment=record.report.commitment,
        function=record.report.function_digest,
        parameters=record.report.parameters_digest,
        inputs_root=record.report.inputs_root,
    )
    before = _ledger(publications, record.previous_claims)
    block = Block.decode(publications.object(record.block))
    bodies = [publications.object(digest) for digest in record.rows]
    rows = [
        (record.members[row.member], body) for row, body in zip(block.rows, bodies, strict=True)
    ]
    verdicts = dagcbor.decode(publications.object(record.verdicts))
    outcome = compute_outcome(
        rows,
        members=record.members,
        parameters=EvaluationParameters.decode(publications.object(header.parameters)),
        budget=view.budget_atto(report.epoch, commitment.block),
        previous=before,
        expected=header,
        payees=payees,
        pay=PayTerms(*view.pay_terms(report.epoch)[1:]),
        aggregators={commitment.aggregator: 1},
        annotation=commitment.annotation,
        traces=Traces(
            {record.members[row.member]: row.opening.trace_root for row in block.rows},
            record.report.verdict_root,
            work_root(document_leaves(verdicts, nodes.keys)),
        ),
    )
    return PublishedEpoch(
        commitment=commitment,
        report=report,
        outcome=outcome,
        jobs=len(verdicts["codes"]),
        signers=tuple(signer for signer, _ in record.signatures),
        node_ids={NodeKey(key): name for key, name in zip(nodes.keys, nodes.ids, strict=True)},
        seed_result=publications.object(record.result),
        reasons=tuple(verdicts["reasons"]),
        summary=dict(verdicts["summary"]),
        payees=payees,
    )


def _ledger(publications: Publications, claims_digest: bytes | None) -> Ledger:
    """Return the ledger whose claims are published under a digest; None: nothing was earned before."""
    if claims_digest is None:
        return Ledger.empty()
    claims = ClaimsState.decode(publications.object(claims_digest))
    if claims.memory is None:
        return Ledger(claims, Memory())
    return Ledger(claims, Memory.decode(publications.object(claims.memory)))


def run_result(
    client: ChainClient,
    network: NetworkFile,
    epochs: list[PublishedEpoch],
    scores: Callable[[Mapping[str, int]], Mapping[str, int]] | None = None,
) -> dict[str, Any]:
    """Return the result document of the epochs, in their order.

    Args:
        client: For receipts and claims.
        network: Where the contracts are.
        epochs: All reported epochs.
        scores: The network's own view of what payees earned; its ``scores`` stand in the entries where there is one.
    """
    view = ChainView(client, network.contracts, network.deploy_block)
    claims = view.claims()
    paid = paid_by_epoch(epochs, claims)
    entries = []
    for item in sorted(epochs, key=lambda one: one.report.epoch):
        facts = EpochFacts(
            epoch=item.report.epoch,
            jobs=item.jobs,
            commitment_root=item.commitment.root,
            report_hash=item.report.report_hash,
            signers=item.signers,
            transmitter=item.report.transmitter,
            paid_atto=paid[item.report.epoch],
            gas=_gas(client, item, claims),
            node_ids=item.node_ids,
        )
        entry = epoch_result(facts, item.outcome)
        if scores is not None:
            shown = scores(_weights_by_payee(item))
            entry["scores"] = {name: str(score) for name, score in shown.items()}
        entries.append(entry)
    return {"epochs": entries}


def _weights_by_payee(item: PublishedEpoch) -> dict[str, int]:
    """Return the sum of the weights of each payee's nodes, where there is one."""
    sums: dict[str, int] = {}
    for key, weight in zip(item.outcome.node_keys, item.outcome.weights, strict=True):
        if weight:
            payee = address_text(item.payees[key])
            sums[payee] = sums.get(payee, 0) + weight
    return sums


def paid_by_epoch(epochs: list[PublishedEpoch], claims: list[PaidClaim]) -> dict[int, int]:
    """Return how much of each epoch's amounts has been drawn: the oldest report's amount is drawn first."""
    left: dict[NodeKey, int] = {}
    for claim in claims:
        left[claim.node_key] = max(left.get(claim.node_key, 0), claim.cumulative)
    paid = {}
    for item in _in_report_order(epochs):
        total = 0
        for key, amount in zip(item.outcome.node_keys, item.outcome.amounts, strict=True):
            drawn = min(amount, left.get(key, 0))
            left[key] = left.get(key, 0) - drawn
            total += drawn
        paid[item.report.epoch] = total
    return paid


def _in_report_order(epochs: list[PublishedEpoch]) -> list[PublishedEpoch]:
    return sorted(epochs, key=lambda item: (item.report.block, item.report.total))


def _gas(client: ChainClient, item: PublishedEpoch, claims: list[PaidClaim]) -> dict[str, int]:
    """Return the gas of the epoch's commitment, its report, and one claim that went alone (0 if there is none)."""
    by_transaction: dict[bytes, int] = {}
    for claim in claims:
        if claim.epoch == item.report.epoch:
            by_transaction[claim.tx_hash] = by_transaction.get(claim.tx_hash, 0) + 1
    alone = next((tx for tx, count in by_transaction.items() if count == 1), None)
    return {
        "commit": _gas_used(client, item.commitment.tx_hash),
        "report": _gas_used(client, item.report.tx_hash),
        "claim": _gas_used(client, alone) if alone else 0,
    }


def _gas_used(client: ChainClient, tx_hash: bytes) -> int:
    return int(client.call("eth_getTransactionReceipt", "0x" + tx_hash.hex())["gasUsed"], 16)
