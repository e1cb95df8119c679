"""What stands on a network's chain, read at one moment: contracts, epochs, stakes, funds, term.

Values are plain (numbers of atto as decimal texts), ready for JSON; the reads are bounded by the number of epochs asked
for, not by the age of the network, except for the events that list members.
"""

from typing import Any, Final

from meridian.errors import Reverted
from meridian.node.chain.rpc import ChainClient
from meridian.node.chain_view import ChainView
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
        "epochs": epochs,
        "evaluators": _evaluators(view),
        "aggregators": _aggregators(view),
        "funds": _funds(client, view),
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
    committed: dict[int, int] = {}
    for commitment in view.committed():
        committed[commitment.epoch] = committed.get(commitment.epoch, 0) + 1
    reported = {report.epoch: report for report in view.reported()}
    paid: dict[int, int] = {}
    for claim in view.claims():
        paid[claim.epoch] = paid.get(claim.epoch, 0) + claim.amount_atto
    # Funded epochs that are not open yet are shown too, as far as they fit.
    last = max(following - 1, view.rewards.read("funded_through"))
    newest = min(last, following - 1 + count)
    rows = []
    for epoch in range(max(first, newest - count + 1), newest + 1):
        report = reported.get(epoch)
        is_open = epoch < following
        rows.append(
            {
                "epoch": epoch,
                "state": _state(view, epoch, is_open, committed, report is not None),
                "members": len(view.committee(epoch)) if is_open else 0,
                "commitments": committed.get(epoch, 0),
                "report_hash": None if report is None else "0x" + report.report_hash.hex(),
                "unlock_at_s": None if report is None else report.unlock_at_s,
                "budget_atto": _budget(view, epoch),
                "paid_atto": str(paid.get(epoch, 0)),
            }
        )
    return rows


def _state(
    view: ChainView, epoch: int, is_open: bool, committed: dict[int, int], is_reported: bool
) -> str:
    if is_reported and view.is_reported(epoch):
        return "unlocked" if view.is_unlocked(epoch) else "reported"
    if epoch in committed:
        return "committed"
    return "open" if is_open else "funded"


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
