"""Claims paid: for every node, what the newest unlocked report gives it beyond what it has drawn.

Anyone may relay claims; the run's relayer does it for all nodes, as most nodes have no gas. The first claim of an
epoch goes alone, so that its price can be shown; the others share transactions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from meridian.contracts.calldata import CLAIMS_PER_CALL, Claim
from meridian.errors import Reverted
from meridian.node.chain.sender import Sender
from meridian.node.chain.signing import Call
from meridian.node.chain_view import ChainView
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import NodeKey
from meridian.reward.claims import ClaimsState

GROUPS_AT_ONCE: Final = 4
"""Transactions that are estimated and sent together."""

_ITS_OWN: Final = ("rewards: payment", "rewards: nothing")
"""Refusals that concern one claim alone: its payee takes no money, or somebody else has relayed it just now."""


@dataclass(slots=True)
class ClaimSummary:
    """What claiming did."""

    claims: int = 0
    transactions: int = 0
    single_gas: int | None = None
    """Gas of the claim that went alone."""
    total_gas: int = 0


def pay_claims(
    relayer: Sender,
    view: ChainView,
    epoch: int,
    claims: ClaimsState,
    limit: int | None,
    progress: Callable[[int, int], None],
) -> ClaimSummary:
    """Draw for every node what is due under an epoch's unlocked report.

    Args:
        relayer: Pays the gas.
        view: Reads of the contracts.
        epoch: The epoch of the report.
        claims: The state whose root the report holds.
        limit: Greatest number of nodes; None means all.
        progress: Called with (claims sent, all claims due).
    """
    drawn: dict[NodeKey, int] = {}
    for paid in view.claims():
        drawn[paid.node_key] = max(drawn.get(paid.node_key, 0), paid.cumulative)
    # The limit takes the same nodes every time: running this again must not pay the next ones.
    wanted = list(claims.claims)[:limit]
    due = [key for key in wanted if claims.claims[key].cumulative > drawn.get(key, 0)]
    summary = ClaimSummary(claims=len(due))
    progress(0, len(due))
    if not due:
        return summary
    try:
        single = relayer.transact(
            view.rewards.address,
            view.rewards.encode("claim", *_claim(epoch, claims, due[0]).arguments),
            purpose=f"claim/{epoch}/{due[0].hex()}/{claims.claims[due[0]].cumulative}",
        )
    except Reverted as refusal:
        if refusal.reason not in _ITS_OWN:
            raise
        summary.claims -= 1  # one payee that takes no money must not keep the others from theirs
    else:
        summary.single_gas = summary.total_gas = single.gas_used
        summary.transactions = 1
    groups = [due[at : at + CLAIMS_PER_CALL] for at in range(1, len(due), CLAIMS_PER_CALL)]
    hashes = []
    for at in range(0, len(groups), GROUPS_AT_ONCE):
        hashes += _submit(relayer, view, epoch, claims, groups[at : at + GROUPS_AT_ONCE])
        progress(sum(map(len, groups[: at + GROUPS_AT_ONCE])), len(due))
    for receipt in relayer.wait_all(hashes):
        if not receipt.status:
            raise Reverted(receipt.reason)
        summary.total_gas += receipt.gas_used
    summary.transactions += len(hashes)
    progress(len(due), len(due))
    return summary


def _claim(epoch: int, claims: ClaimsState, key: NodeKey) -> Claim:
    proof = claims.proof(key)
    return Claim(
        epoch=epoch,
        node_key=key,
        payee=proof.payee,
        cumulative_atto=proof.cumulative,
        index=proof.index,
        size=proof.size,
        path=proof.path,
    )


def _submit(
    relayer: Sender,
    view: ChainView,
    epoch: int,
    claims: ClaimsState,
    groups: Sequence[Sequence[NodeKey]],
) -> list[bytes]:
    calls = []
    for group in groups:
        batch = [_claim(epoch, claims, key).arguments for key in group]
        data = view.rewards.encode("claim_many", batch)
        # Named by all that is in it: after a refused payment another group may begin with the same node.
        purpose = f"claim-many/{epoch}/{digest_of(data).hex()}"
        calls.append((purpose, Call(view.rewards.address, data, 0)))
    return succeeded(relayer.submit_many(calls))


def succeeded(answers: Sequence[bytes | Reverted]) -> list[bytes]:
    """Return the transaction hashes of `Sender.submit_many`; raises the first refusal."""
    hashes = []
    for answer in answers:
        if isinstance(answer, Reverted):
            raise answer
        hashes.append(answer)
    return hashes
