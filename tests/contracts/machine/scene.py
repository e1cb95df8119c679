"""Where every example begins, what all steps share, and what must hold after each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from contract_world import DISPUTE_TERMS, FIRST, NETWORK, ClaimTree, Report, account
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant
from machine.actors import (
    ACTORS,
    AGGREGATORS,
    KEYS,
    MEMBERS,
    NODES,
    OPERATORS,
    PAYEES,
    REFEREES,
    SPONSORS,
)
from machine.small_epochs import Made
from machine.stage import Pair
from machine.views import all_views
from model.rule_state import Answer

from meridian.contracts.calldata import signature_words
from meridian.contracts.deployment import Terms
from meridian.contracts.statements import RegisterEvaluator, RegisterNode
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, node_key
from meridian.primitives.keys import PrivateKey

AGGREGATOR_STAKE = 500
SEALING_S = 90
REPORT_S = 1800
REFEREE_STAKE = 7
CHALLENGE_S = 2400
"""Longer than three epochs: several reports are locked at once."""

TERMS = replace(
    DISPUTE_TERMS,
    referees=tuple(KEYS[name].address for name in REFEREES),
    referee_stake_min_atto=REFEREE_STAKE,
)


@dataclass(frozen=True)
class Sent:
    """A report that was sent: is it true, who signed it, and which claims are under it?"""

    true: bool
    signers: tuple[Address, ...]
    report: Report
    rows: tuple[bytes, ...] | None
    """None: nobody knows them."""
    signatures: Mapping[Address, bytes]


class Scene(RuleBasedStateMachine):
    """A network with four evaluators, three nodes and money for some epochs; the first is reported."""

    shared: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.trees: dict[bytes, ClaimTree] = {}
        self.sent: dict[bytes, Sent] = {}
        """Submitted reports by hash."""
        self.made: dict[tuple[int, Address], Made] = {}
        """What was committed, by epoch and aggregator."""
        self.rows: dict[bytes, tuple[bytes, ...]] = {}
        """The claims under a reward root, in the order of the tree."""
        self.promises: set[tuple[int, Address, int]] = set()
        """Receipts for the promised job of an epoch: epoch, aggregator, deadline."""
        self.liars: frozenset[str] = frozenset()
        if "pair" not in self.shared:
            pair = self.shared["pair"] = Pair(
                ACTORS,
                aggregators=len(AGGREGATORS),
                aggregator_stake_min_atto=AGGREGATOR_STAKE,
                sealing_seconds=SEALING_S,
                report_seconds=REPORT_S,
                challenge_seconds=CHALLENGE_S,
                disputes=TERMS,
                terms=Terms(rule=1),
            )
            self.pair, self.rules = pair, pair.rules
            self.begin()
            known = {"trees": self.trees, "sent": self.sent, "made": self.made, "rows": self.rows}
            self.shared.update(known, saved=pair.save())
        self.pair = self.shared["pair"]
        self.rules = self.pair.rules
        self.shared["saved"] = self.pair.restore(self.shared["saved"])
        self.money = sum(self.rules.money.balances.values())
        self.trees = dict(self.shared["trees"])
        self.sent = dict(self.shared["sent"])
        self.made = dict(self.shared["made"])
        self.rows = dict(self.shared["rows"])
        self.paid: dict[bytes, int] = {}
        self.steps = 0
        self.false: set[Address] = set()
        """Who has done what a correct party does not do."""

    def begin(self) -> None:
        """Evaluators, aggregators and nodes join, a sponsor funds."""
        for name in MEMBERS[:4]:
            self.accepted(self.register_evaluator(name))
        for name in AGGREGATORS:
            self.accepted(self.call("commitments", "join", by=name, value=AGGREGATOR_STAKE))
        for i, name in enumerate(NODES[:3]):
            entry = self.registration(OPERATORS[i % 2], name, PAYEES[i])
            self.accepted(self.call("registry", "register_nodes", [entry], value=10))
        self.accepted(self.call("rewards", "fund", FIRST, 12, 300, value=3600, by=SPONSORS[0]))
        for name in REFEREES:
            self.accepted(self.call("referees", "deposit", by=name, value=REFEREE_STAKE))

    @initialize(members=st.sampled_from([0, 1, 4, 4, 5]), aggregators=st.sampled_from([0, 1, 2, 4]))
    def choose_liars(self, members: int, aggregators: int) -> None:
        """Nobody lies, or fewer than can decide anything, or so many that they decide everything."""
        self.liars = frozenset([*MEMBERS[:members], *AGGREGATORS[:aggregators]])

    # ---- calls

    def call(
        self, contract: str, function: str, *args: Any, by: str = "someone", value: int = 0
    ) -> Answer | str:
        sender = self.rules.address("disputes") if by == "judge" else account(by)
        return self.pair.call(contract, function, *args, sender=sender, value=value)

    def accepted(self, answer: Answer | str) -> Answer:
        """The answer of a call that the model accepted, too, and that must not have been refused."""
        assert isinstance(answer, Answer), answer
        return answer

    def refused(self, answer: Answer | str, *reasons: str) -> None:
        assert answer in reasons, answer

    def sign(self, who: PrivateKey, contract: str, says: Any) -> tuple[int, int]:
        return signature_words(who.sign(says.digest(self.rules.domain(contract))))

    def registration(
        self, operator: str, name: str, payee: str, flaw: str = "good"
    ) -> tuple[Any, ...]:
        """An entry of `register_nodes`."""
        by = KEYS[operator]
        to = Address(bytes(20)) if flaw == "payee" else account(payee)
        nonce = self.rules.registry.nonces(by.address) + (flaw == "nonce")
        deadline = self.rules.now_s - (flaw == "deadline")
        says = RegisterNode(NETWORK, node_key(name), by.address, to, nonce, deadline)
        signer = KEYS["watcher"] if flaw == "signer" else by
        words = self.sign(signer, "registry", says)
        if flaw == "signature":
            words = (0, 0)
        return (says.node_key, by.address, to, deadline, *words)

    def register_evaluator(self, name: str, flaw: str = "good", extra: int = 0) -> Answer | str:
        by = KEYS[name]
        nonce = self.rules.registry.nonces(by.address) + (flaw == "nonce")
        deadline = self.rules.now_s - (flaw == "deadline")
        link = sha256(b"link", by.address)
        says = RegisterEvaluator(NETWORK, by.address, link, "127.0.0.1:7000", nonce, deadline)
        words = self.sign(KEYS["watcher"] if flaw == "signer" else by, "registry", says)
        stake = self.rules.parameters.evaluator_stake_min_atto + extra - (flaw == "stake")
        args = (by.address, link, says.endpoint, deadline, *words)
        return self.call("registry", "register_evaluator", *args, value=stake)

    # ---- what always holds

    @invariant()
    def contracts_and_model_agree(self) -> None:
        """Balances after every step; of the views one at each step, and a third at the end."""
        self.pair.compare_balances()
        views = all_views(self.rules)
        # 61 has no divisor in common with most lengths: neighbours in time are not neighbours in the list.
        self.pair.compare_view(*views[61 * self.steps % len(views)])
        self.steps += 1

    @invariant()
    def no_money_is_made_or_lost(self) -> None:
        assert sum(self.rules.money.balances.values()) == self.money
        rewards = self.rules.balance(self.rules.address("rewards"))
        claimed = sum(self.rules.rewards.state.paid.values())
        funded = self.rules.rewards.total_funded()
        assert claimed <= funded
        assert self.rules.rewards.state.total <= funded
        assert rewards >= funded - claimed

    @invariant()
    def nothing_unlocks_before_its_parent(self) -> None:
        records = self.rules.rewards.state.records
        unlocks = [records[epoch].unlock_at for epoch in self.rules.evaluations.state.chain]
        assert unlocks == sorted(unlocks)
        assert set(records) == set(self.rules.evaluations.state.chain)

    @invariant()
    def no_correct_party_is_slashed(self) -> None:
        """Whatever anybody says about it."""
        evaluators = self.rules.registry.state.evaluators
        aggregators = self.rules.commitments.state.aggregators
        slashed = {one for one in evaluators if evaluators[one].slashed}
        slashed |= {one for one in aggregators if aggregators[one].slashed}
        assert slashed <= self.false

    @invariant()
    def bonds_and_deposits_are_there(self) -> None:
        disputes = self.rules.balance(self.rules.address("disputes"))
        assert disputes >= self.rules.disputes.locked()
        deposits = sum(self.rules.referees.state.deposits.values())
        assert self.rules.balance(self.rules.address("referees")) >= deposits

    @invariant()
    def every_budget_is_there_once(self) -> None:
        """What was given, epoch by epoch, is what was rolled forward and what was not."""
        state = self.rules.rewards.state
        epochs = range(FIRST, self.rules.rewards.funded_through() + 1)
        if len(epochs) < 1000:
            assert sum(self.rules.rewards.budget(epoch) for epoch in epochs) == state.funded

    @invariant()
    def stakes_are_where_they_were_put(self) -> None:
        state = self.rules.registry.state
        stakes = sum(known.stake for known in state.evaluators.values())
        stakes += sum(known.stake for known in state.nodes.values())
        assert self.rules.balance(self.rules.address("registry")) >= stakes

        stakes = sum(known.stake for known in self.rules.commitments.state.aggregators.values())
        assert self.rules.balance(self.rules.address("commitments")) >= stakes

    def teardown(self) -> None:
        if self.steps and not self.pair.differ:
            # A third of the views; over several examples it is all of them.
            for view in all_views(self.rules)[self.steps % 3 :: 3]:
                self.pair.compare_view(*view)
