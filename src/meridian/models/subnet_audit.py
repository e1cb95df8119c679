"""How an outsider recomputes an epoch of the model `subnet` from its two chains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from meridian.audit.evidence import Broken, Finding, Link, Step, require, run_steps
from meridian.contracts.artefact import load
from meridian.models import job_sums
from meridian.models.job_sums import EpochSums
from meridian.models.plain_sums import NodeShare, sums_result
from meridian.models.subnet import (
    NO_CHECKPOINT,
    Books,
    Checkpoint,
    ChildState,
    Committed,
    Deposit,
    account_key,
    next_checkpoint,
)
from meridian.primitives.amounts import format_fil
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, address_text
from meridian.primitives.quorum import quorum
from meridian.reward.claims import ClaimsState

Paid = tuple[Address, int, int]
"""Account, amount, and all that it was paid with this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetEpoch:
    """All that the two chains show of an epoch, and what the run published about it."""

    epoch: int
    first_epoch: int
    domain: Domain
    """Of the gateway."""
    code: Mapping[str, bytes]
    """Name of the parent's contract -> what is at its address."""
    wiring: Mapping[str, Address]
    """What Registry and gateway name: ``registry``, ``evaluations``, ``disputes``."""
    registry: Address
    committed: Sequence[Committed]
    """All checkpoints of the parent, oldest first."""
    committees: Mapping[int, Sequence[Address]]
    """Epoch -> validators, of every epoch that is settled."""
    states: Sequence[ChildState | None]
    """For each checkpoint, the child at its block; None where the child does not show it."""
    sums: EpochSums | None
    """The child's jobs of the epoch; None where no child is shown."""
    deposits: Sequence[Deposit]
    minted: Sequence[Deposit]
    claimed: Sequence[Paid]
    withdrawn: Sequence[Paid]
    names: Mapping[Address, str]
    published: Any = None
    """The result that the run left; None where there is none."""

    def place(self) -> int:
        """Return which checkpoint settles the epoch.

        Raises:
            Broken: If none does.
        """
        wanted = self.epoch - self.first_epoch + 1
        for place, one in enumerate(self.committed):
            if one.checkpoint.settled == wanted:
                return place
        raise Broken(f"no checkpoint on the parent settles epoch {self.epoch}")

    def books(self) -> list[tuple[Checkpoint, Books]]:
        """Return what each checkpoint should have been, with its books, as far as the child shows.

        Raises:
            Broken: If the child does not show a block, or its sums do not fit each other.
        """
        found: list[tuple[Checkpoint, Books]] = []
        before: Checkpoint | None = None
        previous, books = NO_CHECKPOINT, Books.empty()
        for one, state in zip(self.committed, self.states, strict=True):
            if state is None:
                raise Broken(f"the child does not show its block {one.checkpoint.height}")
            expected, books = next_checkpoint(before, previous, books, state)
            found.append((expected, books))
            before, previous = one.checkpoint, one.digest
        return found

    def result(self) -> dict[str, Any]:
        """Return the epoch's entry of the result document."""
        place = self.place()
        settling = self.committed[place]
        state, sums = self.states[place], self.sums
        if state is None or state.epoch is None or sums is None:
            raise Broken("the child does not show the epoch")
        before = self.books()[place - 1][1].rewards if place else ClaimsState.empty()
        amounts = state.epoch.amounts()
        drawn = {account: cumulative for account, _, cumulative in self.claimed}
        paid = 0
        for account, amount in amounts.items():
            earlier = before.claims.get(account_key(account))
            paid += min(
                max(drawn.get(account, 0) - (earlier.cumulative if earlier else 0), 0), amount
            )
        return sums_result(
            self.epoch,
            state.epoch.jobs,
            [
                NodeShare(
                    node_id=self.names.get(node, address_text(node)),
                    weight=weight,
                    amount_atto=amounts.get(node, 0),
                )
                for node, weight in sums.node_sums().items()
            ],
            budget_atto=settling.checkpoint.budget,
            paid_atto=paid,
            gas={"commit": settling.gas_used},
            commitment_root="0x" + settling.checkpoint.block_hash.hex(),
            report_hash="0x" + settling.digest.hex(),
            signers=[address_text(one) for one in settling.signers],
            transmitter=address_text(settling.transmitter),
        )


def _check_contracts(case: SubnetEpoch) -> Finding:
    problems = [
        f"{name}: {'another code than this installation ships' if code else 'there is no contract'}"
        for name, code in case.code.items()
        if not code or not code.startswith(load(name).runtime)
    ]
    expected = {
        "registry": case.registry,
        "evaluations": case.domain.contract,
        "disputes": case.domain.contract,
    }
    problems += [
        f"{name}: another contract" for name, at in expected.items() if case.wiring.get(name) != at
    ]
    require(problems, "the parent's contracts are not those of the run's file")
    return Finding(
        f"{len(case.code)} contracts on the parent carry the shipped code and name each other"
    )


def _check_commitment(case: SubnetEpoch) -> Finding:
    place = case.place()
    problems, previous = [], NO_CHECKPOINT
    for number, (one, state) in enumerate(zip(case.committed, case.states, strict=True), 1):
        checkpoint = one.checkpoint
        if checkpoint.digest(case.domain) != one.digest or checkpoint.number != number:
            problems.append(f"checkpoint {number}: the call that brought it says something else")
        if checkpoint.previous != previous:
            problems.append(f"checkpoint {number}: does not follow the one before")
        if state is not None and state.block_hash != checkpoint.block_hash:
            problems.append(
                f"checkpoint {number}: the child's block {checkpoint.height} is another"
            )
        previous = one.digest
    require(problems, "the checkpoints do not form a chain over the child's blocks")
    height = case.committed[place].checkpoint.height
    return Finding(f"checkpoint {place + 1} settles the epoch with the child's block {height}")


def _check_signatures(case: SubnetEpoch) -> Finding:
    problems = []
    for one in case.committed:
        number = one.checkpoint.number
        settled = case.first_epoch + max(one.checkpoint.settled, 1) - 1
        members = case.committees.get(settled, ())
        if not members or len(set(one.signers) & set(members)) < quorum(len(members)):
            problems.append(
                f"checkpoint {number}: no quorum of the {len(members)} validators signed"
            )
    require(problems, "checkpoints lack signatures")
    n = len(case.committees[case.epoch])
    signers = case.committed[case.place()].signers
    return Finding(
        f"{len(signers)} of {n} validators signed, {quorum(n)} are needed",
        tuple(address_text(one) for one in signers),
    )


def _sums(case: SubnetEpoch) -> EpochSums:
    if case.sums is None:
        raise Broken("the child chain is not shown: nobody can see which jobs there were")
    return case.sums


def _check_jobs(case: SubnetEpoch) -> Finding:
    sums = _sums(case)
    job_sums.check_contract(sums)
    job_sums.check_closed(sums)
    return job_sums.check_jobs(sums)


def _check_rewards(case: SubnetEpoch) -> Finding:
    place = case.place()
    sums, state = _sums(case), case.states[place]
    problems = []
    for one, (expected, _) in zip(case.committed[: place + 1], case.books(), strict=False):
        fields = [
            name
            for name in Checkpoint.__dataclass_fields__
            if getattr(expected, name) != getattr(one.checkpoint, name)
        ]
        if fields:
            problems.append(f"checkpoint {one.checkpoint.number}: {', '.join(fields)}")
    if state is not None and state.epoch is not None:
        counted = {account: weight for account, weight in state.epoch.weights.items() if weight}
        if counted != {node: weight for node, weight in sums.node_sums().items() if weight}:
            problems.append("the weights at the checkpoint's block are not the sums of the jobs")
    require(problems, "what the validators signed does not follow from the child")
    amounts = state.epoch.amounts() if state and state.epoch else {}
    budget = case.committed[place].checkpoint.budget
    return Finding(
        f"{len(amounts)} accounts earn {format_fil(sum(amounts.values()))} of {format_fil(budget)}: "
        "their shares by weight, rounded down"
    )


def _check_claims(case: SubnetEpoch) -> Finding:
    problems = []
    if list(case.minted) != list(case.deposits[: len(case.minted)]):
        problems.append("the stake on the child is not what was deposited on the parent")
    books = [one for _, one in case.books()]
    problems += _unowed("reward", case.claimed, [one.rewards for one in books])
    problems += _unowed("stake", case.withdrawn, [one.releases for one in books])
    require(problems, "money went across that nobody was owed")
    if case.published is not None and case.published != case.result():
        own = case.result()
        shown = case.published if isinstance(case.published, dict) else {}
        raise Broken(
            "the published result does not follow",
            [name for name, value in own.items() if shown.get(name) != value] or ["form"],
        )
    paid, back = (sum(one[1] for one in events) for events in (case.claimed, case.withdrawn))
    return Finding(
        f"{len(case.claimed)} claims were paid so far, {format_fil(paid)} in all; {len(case.minted)} deposits "
        f"crossed to the child, {format_fil(back)} came back"
    )


def _unowed(what: str, paid: Sequence[Paid], states: Sequence[ClaimsState]) -> list[str]:
    """Return the payments that are no account's cumulative amount in any checkpoint's tree, less what it had."""
    owed: dict[Address, set[int]] = {}
    for state in states:
        for claim in state.claims.values():
            owed.setdefault(claim.payee, set()).add(claim.cumulative)
    problems, drawn = [], dict[Address, int]()
    for account, amount, cumulative in paid:
        if amount != cumulative - drawn.get(account, 0) or cumulative not in owed.get(account, ()):
            problems.append(
                f"{what}: {address_text(account)} was paid {amount}, {cumulative} in all"
            )
        drawn[account] = cumulative
    return problems


STEPS: Final[tuple[Step[SubnetEpoch], ...]] = (
    Step("contracts", (), _check_contracts),
    Step("commitment", ("contracts",), _check_commitment),
    Step("signatures", ("commitment",), _check_signatures),
    Step("jobs", ("commitment",), _check_jobs),
    Step("function", ("jobs",), lambda case: job_sums.check_function(_sums(case))),
    Step("evaluation", ("jobs", "function"), lambda case: job_sums.check_evaluation(_sums(case))),
    Step("rewards", ("commitment", "evaluation"), _check_rewards),
    Step("claims", ("rewards",), _check_claims),
)


def verify(case: SubnetEpoch) -> list[Link]:
    """Recompute an epoch; see `meridian.audit.evidence`."""
    return run_steps(case, STEPS)
