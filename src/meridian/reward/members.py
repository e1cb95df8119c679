"""The pay of evaluators and aggregators: stated shares of an epoch's budget, as leaves of the claim tree like any other.

Law: each pool is the floor of its share, what is left is the nodes' budget; evaluators get the same floor each, and
aggregators the floor of their part by the jobs that they contributed and that count. What a pool cannot split evenly is dust and stays with the contract; a pool without members stays there whole.
The contract `ReportProofs` recomputes the nodes' budget in the same way, so no remainder ever goes to the nodes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from meridian.errors import InvalidInput
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, NodeKey

MILLION: Final = 10**6


@dataclass(frozen=True, slots=True)
class PayTerms:
    """The members' own shares of an epoch's budget, millionths; both together at most a million."""

    evaluators_ppm: int = 0
    aggregators_ppm: int = 0

    def __post_init__(self) -> None:
        shares = (self.evaluators_ppm, self.aggregators_ppm)
        if min(shares) < 0 or sum(shares) > MILLION:
            raise InvalidInput("terms", f"shares of {shares} millionths")


NO_PAY: Final = PayTerms()
"""Everything goes to the nodes."""


@dataclass(frozen=True, slots=True)
class BudgetParts:
    """An epoch's budget, atto, split before anybody's share is computed."""

    nodes: int
    evaluators: int
    aggregators: int


def split_budget(budget: int, terms: PayTerms) -> BudgetParts:
    """Return the pools of an epoch's budget, atto."""
    evaluators = budget * terms.evaluators_ppm // MILLION
    aggregators = budget * terms.aggregators_ppm // MILLION
    return BudgetParts(budget - evaluators - aggregators, evaluators, aggregators)


def pay_key(account: Address) -> NodeKey:
    """Return the key under which a member's pay stands in the claim tree; its payee is the account itself."""
    return NodeKey(sha256(b"meridian/member/1:", account))


def member_pay(
    parts: BudgetParts,
    evaluators: Iterable[Address],
    aggregators: Mapping[Address, int],
    trust_ppm: Mapping[Address, int] = MappingProxyType({}),
) -> tuple[tuple[Address, int], ...]:
    """Return what each member gets, ascending by account; an account in both pools gets both shares.

    Evaluators out of line get less and nobody gets more for it: a contract knows the even share as the most that there is.

    Args:
        parts: The split budget.
        evaluators: The members whose row counted in the decided block.
        aggregators: Account of each whose commitment counts -> how many of the jobs that count it contributed first. The
            pool is split by that, and evenly where no job counts.
        trust_ppm: How much of its even share an evaluator gets, millionths; all of it by default.
    """
    voices = set(evaluators)
    pay = {
        account: parts.evaluators // len(voices) * trust_ppm.get(account, MILLION) // MILLION
        for account in voices
    }
    jobs = aggregators if any(aggregators.values()) else dict.fromkeys(aggregators, 1)
    for account, own in jobs.items():
        pay[account] = pay.get(account, 0) + parts.aggregators * own // sum(jobs.values())
    return tuple((account, amount) for account, amount in sorted(pay.items()) if amount)
