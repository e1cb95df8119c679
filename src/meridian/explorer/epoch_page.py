"""`epoch.json`: everything of one epoch but its nodes, in two parts. Pure.

The chain's part follows from events and may change for as long as the epoch is not final; the gathered part follows from
what is published and changes only with commitments and report. Amounts are decimal text.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from meridian.explorer.chain_history import (
    ChainFacts,
    EpochChain,
    Happened,
    dispute_kind,
    unlock_at_s,
)
from meridian.explorer.epoch_files import GROUP, has_own_trees
from meridian.explorer.gathered import Decided, Measured
from meridian.explorer.overview import EpochRow
from meridian.primitives.cid import cid_text
from meridian.primitives.ids import Address, address_text
from meridian.primitives.sumtree import LaneKind

FORMAT: Final = 1
"""Counts up when the files of an epoch change their form: then all are made anew."""

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What an epoch runs with."""

    name: str
    function: bytes
    parameters: bytes
    source: str | None
    """Where the function's code can be read, relative to the site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What only the chain's endpoint says, when it is asked."""

    transactions: Mapping[bytes, JsonObject] = field(default_factory=dict)
    signers: Mapping[bytes, Sequence[Address]] = field(default_factory=dict)
    """By report hash."""


def stamp(chain: EpochChain, jobs_max: int) -> tuple[str, str]:
    """Return what the gathered part depends on: the commitments, and the report."""
    measured = hashlib.sha256(f"{FORMAT} {jobs_max}".encode())
    for event, stands in chain.committed:
        measured.update(event.tx_hash + event.args["root"] + bytes([stands]))
    for event in chain.own:
        measured.update(event.tx_hash + event.args["tree_hash"])
    report = chain.report
    return measured.hexdigest()[:32], "" if report is None else report.args["report_hash"].hex()


def gathered_part(
    measured: Measured | None,
    decided: Decided | None,
    *,
    schedule: Schedule,
    members: Sequence[Address],
    problem: str,
) -> JsonObject:
    """Return what is published about the epoch.

    Args:
        measured: None: it cannot be read.
        decided: None: not decided yet, or it cannot be read.
        schedule: Function and parameters.
        members: The epoch's committee.
        problem: Why something cannot be read; empty where all can.
    """
    groups = 0 if measured is None else -(-len(measured.nodes.ids) // GROUP)
    return {
        "function": {
            "name": schedule.name,
            "digest": schedule.function.hex(),
            "cid": cid_text(schedule.function),
            "source": schedule.source,
        },
        "parameters": schedule.parameters.hex(),
        "inputs": []
        if measured is None
        else [{"name": name, "cid": cid_text(digest)} for name, digest in measured.inputs],
        "members": _members(decided, members),
        "blockHash": None if decided is None else decided.block_hash.hex(),
        "verdictRoot": None if decided is None else decided.verdict_root.hex(),
        "verdicts": []
        if decided is None
        else [
            {"reason": reason, "jobs": int(jobs)}
            for reason, jobs in zip(decided.reasons, decided.verdicts.sum(axis=0), strict=True)
        ],
        "artefacts": _artefacts(measured, decided),
        "files": {
            "group": GROUP,
            "groups": groups,
            "jobs": measured is not None and measured.jobs is not None,
            "ownTrees": measured is not None and has_own_trees(measured),
            "trees": []
            if measured is None
            else [
                {
                    "aggregator": address_text(tree.account),
                    "root": tree.root.hex(),
                    "nodes": len(tree.nodes.ids),
                }
                for tree in measured.trees
            ],
        },
        "problem": problem,
    }


def _members(decided: Decided | None, members: Sequence[Address]) -> list[JsonObject]:
    if decided is None:
        return [
            {
                "member": address_text(member),
                "present": False,
                "body": None,
                "agreementPpm": 0,
                "outliers": 0,
            }
            for member in members
        ]
    return [
        {
            "member": address_text(voice.member),
            "present": voice.body is not None,
            "body": None if voice.body is None else cid_text(voice.body),
            "agreementPpm": voice.agreement_ppm,
            "outliers": len(voice.outliers),
        }
        for voice in decided.voices
    ]


def _artefacts(measured: Measured | None, decided: Decided | None) -> list[JsonObject]:
    found: list[tuple[str, bytes, int | None]] = []
    if measured is not None:
        found += [("manifest", digest, None) for digest in measured.manifests]
        found += [
            (f"segment {at + 1}", digest, size)
            for at, (digest, size) in enumerate(measured.segments)
        ]
        found += [(f"input {name}", digest, None) for name, digest in measured.inputs]
    if decided is not None:
        found += [(name, digest, None) for name, digest in decided.artefacts]
    return [{"what": what, "cid": cid_text(digest), "bytes": size} for what, digest, size in found]


def chain_part(
    chain: EpochChain, facts: ChainFacts, row: EpochRow, lanes: LaneKind, asked: Asked
) -> JsonObject:
    """Return what the chain says of the epoch."""
    opened = chain.opened and asked.transactions.get(chain.opened.tx_hash)
    return {
        "row": row_object(row),
        "openedS": opened["atS"] if opened else None,
        "commitments": [
            {
                "aggregator": address_text(event.args["aggregator"]),
                "root": event.args["root"].hex(),
                "nodes": event.args["n_nodes"],
                **_annotation(event, lanes),
                "manifest": cid_text(event.args["manifest"]),
                "standing": stands,
                "transaction": asked.transactions.get(event.tx_hash),
            }
            for event, stands in chain.committed
        ],
        "selfCommitments": [
            {
                "nodeKey": event.args["node_key"].hex(),
                "nodeId": None,
                **_annotation(event, lanes),
                "segment": cid_text(event.args["segment"]),
                "transaction": asked.transactions.get(event.tx_hash),
            }
            for event in chain.own
        ],
        "reports": [_report(chain, facts, event, asked, stands) for event, stands in chain.reports],
        "disputes": [_dispute(event, facts, asked) for event in chain.disputes],
        "claims": {"count": len(chain.claims), "paid": str(chain.paid_under_it)},
        "gas": _gas(chain, asked),
    }


def row_object(row: EpochRow) -> JsonObject:
    """Return a line of the list of epochs as JSON."""
    return {
        "epoch": row.epoch,
        "state": row.state,
        "endS": row.end_s,
        "jobs": row.jobs,
        "nodes": row.nodes,
        "members": row.members,
        "signers": row.signers,
        "budget": str(row.budget),
        "allocated": str(row.allocated),
        "paid": str(row.paid),
        "unlockAtS": row.unlock_at_s,
        "disputes": row.disputes,
    }


def _annotation(event: Happened, lanes: LaneKind) -> JsonObject:
    data = event.args["annotation"]
    sums = [str(value) for value in lanes.split(data[8:24])]
    return {"jobs": int.from_bytes(data[:8], "big"), "sums": sums}


def _report(
    chain: EpochChain, facts: ChainFacts, event: Happened, asked: Asked, stands: bool
) -> JsonObject:
    digest = event.args["report_hash"]
    return {
        "hash": digest.hex(),
        "previous": event.args["previous"].hex(),
        "rewardRoot": event.args["reward_root"].hex(),
        "total": str(event.args["total"]),
        "signers": [address_text(one) for one in asked.signers.get(digest, ())],
        "transmitter": address_text(event.args["transmitter"]),
        "unlockAtS": unlock_at_s(chain, facts) if stands else event.args["unlock_at"],
        "transaction": asked.transactions.get(event.tx_hash),
        "standing": stands,
    }


def _dispute(event: Happened, facts: ChainFacts, asked: Asked) -> JsonObject:
    names = {
        "Verdict": ("guilty", "winner"),
        "Opened": ("aggregator", "challenger"),
        "Escalated": (None, "escalator"),
    }
    accused, accuser = names[event.name]
    return {
        "kind": dispute_kind(event),
        "accused": address_text(event.args[accused]) if accused else "",
        "accuser": address_text(event.args[accuser]),
        "outcome": _outcome(event, facts),
        "transaction": asked.transactions.get(event.tx_hash),
    }


def _outcome(event: Happened, facts: ChainFacts) -> str:
    if event.name == "Verdict":
        return "guilty"
    if event.name == "Escalated":
        for ruled in facts.of("Ruled"):
            if ruled.args["case_id"] == event.args["case_id"]:
                return "upheld" if ruled.args["upheld"] else "dismissed"
        return "open"
    case = event.args["challenge_id"]
    if any(one.args["challenge_id"] == case for one in facts.of("Answered")):
        return "answered"
    for resolved in facts.of("Resolved"):
        if resolved.args["challenge_id"] == case:
            return "guilty" if resolved.args["guilty"] else "not guilty"
    return "open"


def _gas(chain: EpochChain, asked: Asked) -> list[JsonObject]:
    parts: list[tuple[str, list[Happened]]] = [
        ("commit", [event for event, _ in chain.committed]),
        ("self-commit", list(chain.own)),
        ("report", [event for event, _ in chain.reports]),
        ("disputes", list(chain.disputes)),
        ("claims", list(chain.claims)),
    ]
    found = []
    for what, events in parts:
        known = {event.tx_hash: asked.transactions.get(event.tx_hash) for event in events}
        if known and all(known.values()):
            found.append({"what": what, "gas": sum(one["gas"] for one in known.values() if one)})
    return found


def whole_page(gathered: Mapping[str, Any], chain: Mapping[str, Any]) -> JsonObject:
    """Return the file: both parts, and in the reports what only the gathered part knows."""
    reports = [
        {**report, "verdictRoot": (gathered["verdictRoot"] or "") if report["standing"] else ""}
        for report in chain["reports"]
    ]
    return {**gathered, **chain, "reports": reports}
