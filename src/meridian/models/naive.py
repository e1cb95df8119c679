"""The model `naive`: every job on chain, summed and paid there; an epoch is recomputed from the chain alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from meridian.audit.evidence import Broken, Finding, Link, Step, require, run_steps
from meridian.models import job_sums
from meridian.models.job_sums import EpochSums
from meridian.models.plain_sums import NodeShare, shares, sums_result
from meridian.primitives.amounts import format_fil
from meridian.primitives.ids import Address, address_text


@dataclass(frozen=True, slots=True)
class Payment:
    """One push of a share."""

    node: Address
    amount: int
    refused: bool
    """The node took no money; it may collect it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NaiveEpoch:
    """All that the chain shows of an epoch, and what the run published about it."""

    sums: EpochSums
    funds_atto: int = 0
    payments: Sequence[Payment] = ()
    """In chain order."""
    gas: Mapping[str, int]
    """Step -> gas of the epoch's transactions."""
    names: Mapping[Address, str]
    """Account -> node id, as the run's file says; others are shown by their accounts."""
    published: Any = None
    """The result that the run left; None where there is none."""

    def expected_payments(self) -> list[tuple[Address, int]]:
        """Return who gets what, in the order in which the contract pays."""
        own = {node: weight for node, weight in _first_values(self.sums).items() if weight}
        return list(zip(own, shares(list(own.values()), self.funds_atto), strict=True))

    def result(self) -> dict[str, Any]:
        """Return the epoch's entry of the result document."""
        amounts = dict(self.expected_payments())
        return sums_result(
            self.sums.epoch,
            self.sums.jobs,
            [
                NodeShare(
                    node_id=self.names.get(node, address_text(node)),
                    weight=weight,
                    amount_atto=amounts.get(node, 0),
                )
                for node, weight in self.sums.node_sums().items()
            ],
            budget_atto=self.funds_atto,
            paid_atto=sum(one.amount for one in self.payments if not one.refused),
            gas=self.gas,
        )


def _first_values(sums: EpochSums) -> dict[Address, int]:
    """Return the nodes' sums in the order of their first jobs that are worth something: the contract's own order."""
    order = dict.fromkeys(word >> 96 for word in sums.words if word & 0xFFFFFFFF)
    own = sums.node_sums()
    return {node: own[node] for node in (Address(one.to_bytes(20, "big")) for one in order)}


def _check_rewards(case: NaiveEpoch) -> Finding:
    owed = case.expected_payments()
    total = sum(amount for _, amount in owed)
    if total > case.funds_atto:
        raise Broken(f"{total} atto are owed, {case.funds_atto} were funded")
    return Finding(
        f"{len(owed)} nodes are owed {format_fil(total)} of {format_fil(case.funds_atto)}: "
        "their shares by weight, rounded down"
    )


def _check_claims(case: NaiveEpoch) -> Finding:
    owed = case.expected_payments()
    problems = []
    if len(case.payments) > len(owed):
        problems.append(f"{len(case.payments)} payments to {len(owed)} nodes")
    for payment, (node, amount) in zip(case.payments, owed, strict=False):
        if (payment.node, payment.amount) != (node, amount):
            problems.append(
                f"{address_text(payment.node)} was paid {payment.amount} where {address_text(node)} is owed {amount}"
            )
    require(problems, "the payments are not the shares")
    if case.published is not None and case.published != case.result():
        fields = [name for name, value in case.result().items() if not _says(case, name, value)]
        raise Broken("the published result does not follow", fields or ["form"])
    refused = sum(1 for one in case.payments if one.refused)
    waiting = len(owed) - len(case.payments)
    notes = [f"{refused} nodes refused their share"] * bool(refused)
    notes += [f"{waiting} nodes wait for their share"] * bool(waiting)
    paid = sum(one.amount for one in case.payments)
    return Finding(
        f"{len(case.payments)} shares were pushed, {format_fil(paid)} in all", tuple(notes)
    )


def _says(case: NaiveEpoch, name: str, value: Any) -> bool:
    return isinstance(case.published, dict) and case.published.get(name) == value


STEPS: Final[tuple[Step[NaiveEpoch], ...]] = (
    Step("contracts", (), lambda case: job_sums.check_contract(case.sums)),
    Step("commitment", ("contracts",), lambda case: job_sums.check_closed(case.sums)),
    Step("jobs", ("commitment",), lambda case: job_sums.check_jobs(case.sums)),
    Step("function", ("jobs",), lambda case: job_sums.check_function(case.sums)),
    Step("evaluation", ("jobs", "function"), lambda case: job_sums.check_evaluation(case.sums)),
    Step("rewards", ("evaluation",), _check_rewards),
    Step("claims", ("rewards",), _check_claims),
)


def verify(case: NaiveEpoch) -> list[Link]:
    """Recompute an epoch; see `meridian.audit.evidence`."""
    return run_steps(case, STEPS)
