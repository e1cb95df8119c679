"""Nodes and evaluators come and go; epochs are opened."""

from contract_world import EXIT_DELAY_S, account
from hypothesis import strategies as st
from hypothesis.stateful import rule
from machine.actors import (
    AGGREGATORS,
    NODES,
    OPERATORS,
    PAYEES,
    anybody,
    member,
    mostly,
    near,
    node,
    operator,
)
from machine.scene import Scene
from model.rule_state import Reenters

from meridian.primitives.ids import node_key


class RegistrySteps(Scene):
    """The calls of Registry."""

    @rule(
        name=node,
        by=operator,
        to=st.integers(0, len(PAYEES) - 1),
        flaw=mostly(
            "good",
            "payee",
            "deadline",
            "nonce",
            "signer",
            "signature",
            "stake",
            "odd",
            "two",
            "none",
        ),
    )
    def register_node(self, name: str, by: str, to: int, flaw: str) -> None:
        entries = [self.registration(by, name, PAYEES[to], flaw)]
        value = 10 - (flaw == "stake")
        if flaw == "odd":
            entries, value = entries * 2, 41
        elif flaw == "two":
            other = OPERATORS[by == OPERATORS[0]]
            entries.append(self.registration(other, NODES[to], PAYEES[0]))
            value = 22
        elif flaw == "none":
            entries = []
        self.call("registry", "register_nodes", entries, value=value)

    @rule(name=node, by=st.one_of(operator, anybody), act=st.sampled_from(["leave", "withdraw"]))
    def part_with_node(self, name: str, by: str, act: str) -> None:
        self.call("registry", f"{act}_node", node_key(name), by=by)

    @rule(
        name=member,
        flaw=mostly("good", "stake", "deadline", "nonce", "signer"),
        extra=st.integers(0, 3),
    )
    def join(self, name: str, flaw: str, extra: int) -> None:
        self.register_evaluator(name, flaw, extra)

    @rule(name=st.one_of(member, anybody), act=st.sampled_from(["leave", "withdraw"]))
    def part(self, name: str, act: str) -> None:
        before = self.rules.balance(account(name))
        stake = self.rules.registry.evaluator(account(name))[0]
        answer = self.call("registry", f"{act}_evaluator", by=name)
        if act == "withdraw" and not isinstance(answer, str):
            assert self.rules.balance(account(name)) >= before + stake

    @rule(name=member, seconds=st.sampled_from([EXIT_DELAY_S - 1, EXIT_DELAY_S]))
    def leave_for_good(self, name: str, seconds: int) -> None:
        """An evaluator that asks for its stake a second time while it is paid."""
        self.pair.behave(account(name), Reenters("registry", "withdraw_evaluator", ()))
        self.call("registry", "leave_evaluator", by=name)
        self.pair.wait(seconds)
        self.call("registry", "withdraw_evaluator", by=name)
        self.pair.behave(account(name), None)

    @rule(name=st.sampled_from(AGGREGATORS))
    def stop_serving(self, name: str) -> None:
        """The same with an aggregator."""
        self.pair.behave(account(name), Reenters("commitments", "withdraw", ()))
        self.call("commitments", "leave", by=name)
        self.pair.wait(EXIT_DELAY_S)
        self.call("commitments", "withdraw", by=name)
        self.pair.behave(account(name), None)

    @rule(ahead=near, flaw=mostly("good", "span"))
    def open_epochs(self, ahead: int, flaw: str) -> None:
        through = self.rules.registry.next_epoch() + ahead + 256 * (flaw == "span")
        self.call("registry", "open_epochs", through)
