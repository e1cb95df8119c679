"""All contracts of a network together: calls are all or nothing, and money moves between them."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from model.commitment_proof_rules import CommitmentProofRules
from model.commitments_rules import CommitmentsRules
from model.disputes_rules import DisputesRules
from model.evaluations_rules import EvaluationsRules
from model.referees_rules import RefereesRules
from model.registry_rules import RegistryRules
from model.report_proof_rules import ReportProofRules
from model.rewards_rules import RewardsRules
from model.rule_state import (
    NOBODY,
    Answer,
    MoneyState,
    Reenters,
    Refusal,
    Refuses,
    Told,
    Transaction,
    copied,
    must,
)

from meridian.contracts.deployment import Addresses, Parameters
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address

PAYABLE = {
    ("registry", "register_nodes"),
    ("registry", "register_evaluator"),
    ("commitments", "join"),
    ("rewards", "fund"),
    ("disputes", "challenge"),
    ("disputes", "escalate"),
    ("referees", "deposit"),
}
UNGUARDED = {("referees", "deposit"), ("referees", "open_case")}
"""Calls that are possible while their contract pays somebody."""


@dataclass(frozen=True)
class Saved:
    """A copy of everything that calls change."""

    states: dict[str, Any]
    money: MoneyState
    now_s: int


class NetworkRules:
    """The model of a deployed network."""

    def __init__(self, parameters: Parameters, addresses: Addresses, chain_id: int) -> None:
        self.parameters, self.addresses, self.chain_id = parameters, addresses, chain_id
        self.now_s = parameters.genesis_s
        self.money = MoneyState()
        self.told: list[Told] = []
        self.registry = RegistryRules(self)
        self.commitments = CommitmentsRules(self)
        self.evaluations = EvaluationsRules(self)
        self.rewards = RewardsRules(self)
        self.disputes = DisputesRules(self)
        self.commitment_proofs = CommitmentProofRules(self)
        self.report_proofs = ReportProofRules(self)
        self.referees = RefereesRules(self)
        self.contracts = {
            "registry": self.registry,
            "commitments": self.commitments,
            "evaluations": self.evaluations,
            "rewards": self.rewards,
            "disputes": self.disputes,
            "commitment_proofs": self.commitment_proofs,
            "report_proofs": self.report_proofs,
            "referees": self.referees,
        }
        self.paying: set[str] = set()
        """Guarded contracts that pay somebody just now."""

    def address(self, contract: str) -> Address:
        """Where a contract is; nobody's address if the network does without it."""
        return getattr(self.addresses, contract, NOBODY)

    def running_epoch(self) -> int:
        """The epoch of the current time; the first one before the genesis."""
        p = self.parameters
        return p.first_epoch + max(0, self.now_s - p.genesis_s) // p.epoch_seconds

    def domain(self, contract: str) -> Domain:
        """In which domain statements to a contract are signed."""
        return Domain(self.chain_id, self.address(contract))

    # ---- all or nothing

    def save(self) -> Saved:
        """Copy the whole state."""
        states = {name: copied(rules.state) for name, rules in self.contracts.items()}
        return Saved(states, copied(self.money), self.now_s)

    def restore(self, saved: Saved) -> None:
        """Go back to a copied state; the copy stays good."""
        for name, rules in self.contracts.items():
            rules.state = copied(saved.states[name])
        self.money = copied(saved.money)
        self.now_s = saved.now_s

    def undone_if_refused(self, action: Callable[[], Any]) -> Any:
        """Run an action; if it is refused, nothing has happened."""
        saved, told = self.save(), len(self.told)
        try:
            return action()
        except Refusal:
            self.restore(saved)
            del self.told[told:]
            raise

    def call(
        self, contract: str, function: str, *args: Any, sender: Address, value: int = 0
    ) -> Answer:
        """Make a call from outside.

        Raises:
            Refusal: If the contract refuses it; then nothing has changed.
        """
        self.told = []
        result = self.undone_if_refused(
            lambda: self.inner_call(contract, function, args, Transaction(sender, value))
        )
        return Answer(result, tuple(self.told))

    def inner_call(
        self, contract: str, function: str, args: tuple[Any, ...], tx: Transaction
    ) -> Any:
        """Make a call inside of a running one."""
        must(tx.value == 0 or (contract, function) in PAYABLE, "")
        must(contract not in self.paying or (contract, function) in UNGUARDED, "")
        self.move(tx.sender, self.address(contract), tx.value)
        return getattr(self.contracts[contract], function)(tx, *args)

    def view(self, contract: str, function: str, *args: Any) -> Any:
        """Ask a contract."""
        return getattr(self.contracts[contract], function)(*args)

    @contextlib.contextmanager
    def locked(self, contract: str) -> Iterator[None]:
        """Refuse calls to a guarded contract meanwhile."""
        entered = contract not in self.paying
        self.paying.add(contract)
        try:
            yield
        finally:
            if entered:
                self.paying.discard(contract)

    # ---- money

    def balance(self, account: Address) -> int:
        """What an account has."""
        return self.money.balances.get(account, 0)

    def move(self, source: Address, to: Address, amount: int) -> None:
        """Move money, without asking anybody."""
        must(self.balance(source) >= amount, "")
        self.money.balances[source] = self.balance(source) - amount
        self.money.balances[to] = self.balance(to) + amount

    def pay(self, contract: str, account: Address, amount: int) -> bool:
        """Pay from a contract; tell whether the account took it, after whatever it does then."""
        behaviour = self.money.behaviours.get(account)
        if isinstance(behaviour, Refuses):
            return False
        self.move(self.address(contract), account, amount)
        if isinstance(behaviour, Reenters):
            self.react(account, behaviour)
        return True

    def react(self, account: Address, behaviour: Reenters) -> None:
        """Let a paid account make its call; a refusal is its own affair."""
        tx = Transaction(account)
        with contextlib.suppress(Refusal):
            self.undone_if_refused(
                lambda: self.inner_call(behaviour.contract, behaviour.function, behaviour.args, tx)
            )

    def tell(self, event: str, **args: Any) -> None:
        """Emit an event."""
        self.told.append(Told(event, args))
