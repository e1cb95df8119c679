"""The result of an epoch in the two shapes that people and programs read.

- `results`: ``{"epochs": [...]}`` with money. Integers that can pass 2^53 are decimal strings, digests and addresses
  lower-case hex with 0x.
- `seed_result`: the design document's own object, byte for byte in its field names.

Proportions are for reading: 18 decimals that sum to exactly 1. Money comes from weights, never from proportions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meridian.primitives.amounts import proportions
from meridian.primitives.cid import cid_text
from meridian.primitives.ids import Address, NodeKey, address_text
from meridian.reward.outcome import Outcome
from meridian.reward.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochFacts:
    """What an epoch's result says besides its outcome; all of it public."""

    epoch: int
    jobs: int
    commitment_root: bytes
    report_hash: bytes
    signers: Sequence[Address]
    transmitter: Address
    paid_atto: int
    """Claimed on chain, of this epoch."""
    gas: Mapping[str, int]
    node_ids: Mapping[NodeKey, str]
    """Key -> text id, for every node of the outcome."""


def _hex(digest: bytes) -> str:
    return "0x" + digest.hex()


def payee_rows(outcome: Outcome, node_ids: Mapping[NodeKey, str]) -> list[dict[str, Any]]:
    """Return one entry for each node, by node id; the weight of a deferred node is null."""
    shares = proportions([weight or 0 for weight in outcome.weights])
    columns = zip(outcome.node_keys, outcome.weights, shares, outcome.amounts, strict=True)
    rows = [
        {
            "node_id": node_ids[key],
            "weight": None if weight is None else str(weight),
            "proportion": share,
            "amount_atto": str(amount),
        }
        for key, weight, share, amount in columns
    ]
    return sorted(rows, key=lambda row: str(row["node_id"]))


def epoch_result(facts: EpochFacts, outcome: Outcome) -> dict[str, Any]:
    """Return one entry of ``{"epochs": [...]}``: total = budget, allocated = sum of amounts, paid = claimed."""
    return {
        "epoch": facts.epoch,
        "jobs": facts.jobs,
        "nodes": len(outcome.node_keys),
        "commitment_root": _hex(facts.commitment_root),
        "report_hash": _hex(facts.report_hash),
        "signers": sorted(address_text(signer) for signer in facts.signers),
        "transmitter": address_text(facts.transmitter),
        "total_atto": str(outcome.budget),
        "allocated_atto": str(outcome.allocated),
        "paid_atto": str(facts.paid_atto),
        "gas": dict(facts.gas),
        "payees": payee_rows(outcome, facts.node_ids),
    }


def results(epochs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the whole result document."""
    return {"epochs": list(epochs)}


def seed_result(
    report: Report,
    outcome: Outcome,
    *,
    measurement: str,
    facts: EpochFacts,
    summary: Mapping[str, int],
) -> dict[str, Any]:
    """Return the design document's result object.

    Args:
        report: The accepted report; its digests are what binds the trace.
        outcome: The shares.
        measurement: CID of the epoch's manifest.
        facts: Names of nodes, signers and hashes.
        summary: The evaluation's counts by reason and totals: "this many successes, this many failures".
    """
    trace = {
        "function": cid_text(report.function_digest),
        "parameters": cid_text(report.parameters_digest),
        "commitment_root": _hex(facts.commitment_root),
        "commitment": _hex(report.commitment),
        "inputs_root": _hex(report.inputs_root),
        "block_hash": _hex(report.block_hash),
        "verdict_root": _hex(report.verdict_root),
        "reward_root": _hex(report.reward_root),
        "previous_report": _hex(report.previous),
        "report_hash": _hex(facts.report_hash),
        "signers": sorted(address_text(signer) for signer in facts.signers),
        "transmitter": address_text(facts.transmitter),
        "summary": {name: str(number) for name, number in summary.items()},
    }
    return {
        "epoch": str(report.epoch),
        "measurement": measurement,
        "trace_of_eval": trace,
        "payees": [
            {"node_id": row["node_id"], "proportion": row["proportion"]}
            for row in payee_rows(outcome, facts.node_ids)
        ],
    }
