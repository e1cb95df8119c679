"""What stands on a network's chain, read at one moment: contracts, epochs, stakes, funds, term.

Values are plain (numbers of atto as decimal texts), ready for JSON; the reads are bounded by the number of epochs asked
for, not by the age of the network, except for the events that list members.
"""

from typing import Any, Final

from meridian.contracts.artefact import load
from meridian.errors import Reverted
from meridian.node.chain.contract import Contract
from meridian.node.chain.rpc import ChainClient
from meridian.node.chain_view import AcceptedReport, ChainView, EpochCommitments
from meridian.node.deployment_file import Deployment
from meridian.primitives.fil_address import CHAIN_IDS, fil_text
from meridian.primitives.ids import ZERO_ADDRESS, Address, address_text

EPOCHS_MAX: Final = 1000


def read_status(client: ChainClient, deployment: Deployment, last_epochs: int) -> dict[str, Any]:
    """Return the JSON object of `meridian chain status`.

    Args:
        client: The endpoint.
        deployment: Where the contracts are.
        last_epochs: How many epochs to show, the newest; at most `EPOCHS_MAX`.
    """
    view = ChainView(client, deployment.contracts, deployment.deploy_block)
    head = client.call("eth_getBlockByNumber", "latest", False)
    epochs = _epochs(view, min(last_epochs, EPOCHS_MAX))
    return {
        "network": deployment.network,
        "chain_id": deployment.chain_id,
        "block": int(head["number"], 16),
        "time_s": int(head["timestamp"], 16),
        "client": client.call("web3_clientVersion"),
        "contracts": _contracts(client, deployment),
        "calendar": {
            "genesis_s": view.registry.read("genesis"),
            "epoch_seconds": view.registry.read("epoch_seconds"),
            "first_epoch": view.registry.read("first_epoch"),
            "next_to_open": view.registry.read("next_epoch"),
        },
        "term": view.term(),
        "voiding": view.evaluations.read("voiding"),
        "epochs": epochs,
        "evaluators": _evaluators(view),
        "aggregators": _aggregators(view),
        "funds": _funds(client, view),
        "disputes": _disputes(client, deployment),
    }


def _contracts(client: ChainClient, deployment: Deployment) -> list[dict[str, Any]]:
    found = []
    for name in deployment.contracts.__dataclass_fields__:
        address: Address = getattr(deployment.contracts, name)
        if address == ZERO_ADDRESS:
            continue
        code = client.call("eth_getCode", address_text(address), "latest")
        row: dict[str, Any] = {"name": name, "address": address_text(address)}
        if deployment.chain_id in CHAIN_IDS:
            row["filecoin"] = fil_text(address, deployment.chain_id)
        found.append({**row, "code_bytes": len(code) // 2 - 1})
    return found


def _epochs(view: ChainView, count: int) -> list[dict[str, Any]]:
    first: int = view.registry.read("first_epoch")
    following: int = view.registry.read("next_epoch")
    commitments: dict[int, EpochCommitments] = {}
    view.follow_commitments(commitments)
    abandoned = view.abandoned()
    reported = {report.epoch: report for report in view.reported()}
    paid: dict[int, int] = {}
    for claim in view.claims():
        paid[claim.epoch] = paid.get(claim.epoch, 0) + claim.amount
    # Funded epochs that are not open yet are shown too, as far as they fit.
    last = max(following - 1, view.rewards.read("funded_through"))
    newest = min(last, following - 1 + count)
    rows = []
    for epoch in range(max(first, newest - count + 1), newest + 1):
        report = reported.get(epoch)
        is_open = epoch < following
        standing = len(commitments[epoch].standing) if epoch in commitments else 0
        rows.append(
            {
                "epoch": epoch,
                "state": "abandoned"
                if epoch in abandoned
                else _report_state(view, report)
                if report is not None
                else "committed"
                if standing
                else "open"
                if is_open
                else "funded",
                "members": len(view.committee(epoch)) if is_open else 0,
                "standing_commitments": standing,
                "report_hash": None if report is None else "0x" + report.report_hash.hex(),
                "unlock_at_s": None if report is None else report.unlock_at,
                "budget_atto": _budget(view, epoch),
                "paid_atto": str(paid.get(epoch, 0)),
            }
        )
    return rows


def _report_state(view: ChainView, report: AcceptedReport) -> str:
    return "unlocked" if view.is_unlocked(report.epoch) else "reported"


def _budget(view: ChainView, epoch: int) -> str | None:
    try:
        return str(view.rewards.read("budget", epoch))
    except Reverted:  # further from the settled epochs than the contract looks at once
        return None


def _evaluators(view: ChainView) -> list[dict[str, Any]]:
    known: dict[Address, Any] = {}
    view.follow_evaluators(known)
    rows = []
    for address in sorted(known):
        stake, _, exit_at = view.registry.read("evaluator", address)
        state = "active" if known[address].is_active else "leaving" if stake else "left"
        if view.registry.read("is_slashed", address):
            state = "slashed"
        rows.append(
            {
                "address": address_text(address),
                "state": state,
                "endpoint": known[address].endpoint,
                "stake_atto": str(stake),
                "exit_at_s": exit_at or None,
            }
        )
    return rows


def _aggregators(view: ChainView) -> list[dict[str, Any]]:
    rows = []
    for account in view.commitments.read("aggregators"):
        is_active, stake, exit_at, is_slashed = view.commitments.read("aggregator", account)
        state = (
            "slashed"
            if is_slashed
            else "leaving"
            if exit_at
            else "active"
            if is_active
            else "not joined"
        )
        rows.append(
            {
                "address": address_text(account),
                "state": state,
                "stake_atto": str(stake),
                "exit_at_s": exit_at or None,
            }
        )
    return rows


def _funds(client: ChainClient, view: ChainView) -> dict[str, Any]:
    nodes = view.nodes()
    staked = sum(
        int(client.call("eth_getBalance", address_text(one.address), "latest"), 16)
        for one in (view.registry, view.commitments)
    )
    return {
        "funded_atto": str(view.rewards.read("total_funded")),
        "claimed_atto": str(view.rewards.read("total_claimed")),
        "funded_through": view.rewards.read("funded_through"),
        "staked_atto": str(staked),
        "nodes_registered": len(nodes),
    }


def _disputes(client: ChainClient, deployment: Deployment) -> dict[str, Any] | None:
    """Return what is open before the court, and its verdicts; None for a network without one."""
    place = deployment.contracts.disputes
    if place == ZERO_ADDRESS or client.call("eth_getCode", address_text(place), "latest") == "0x":
        return None
    court = Contract(client, place, load("Disputes"))

    def events(name: str) -> list[dict[str, Any]]:
        return [event.args for event in court.events(name, deployment.deploy_block)]

    closed = {one["challenge_id"] for name in ("Answered", "Resolved") for one in events(name)}
    ruled = {one["case_id"] for one in events("Ruled")}
    return {
        "bond_atto": str(court.read("bond")),
        "challenges": [
            {
                "epoch": one["epoch"],
                "challenge_id": "0x" + one["challenge_id"].hex(),
                "challenger": address_text(one["challenger"]),
                "aggregator": address_text(one["aggregator"]),
                "node_index": one["node_index"],
                "job_index": one["job_index"] if one["of_job"] else None,
                "until_s": one["until"],
            }
            for one in events("Opened")
            if one["challenge_id"] not in closed
        ],
        "cases": [
            {
                "epoch": one["epoch"],
                "case_id": str(one["case_id"]),
                "escalator": address_text(one["escalator"]),
                "uri": one["uri"],
                "until_s": one["until"],
            }
            for one in events("Escalated")
            if one["case_id"] not in ruled
        ],
        "verdicts": [
            {
                "epoch": one["epoch"],
                "kind": one["kind"],
                "guilty": address_text(one["guilty"]),
                "winner": address_text(one["winner"]),
                "stake_atto": str(one["stake"]),
            }
            for one in events("Verdict")
        ],
    }
