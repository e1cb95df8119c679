"""Nodes and evaluators come and go; epochs are opened."""

from contract_world import account
from hypothesis import strategies as st
from hypothesis.stateful import rule
from machine.scene import PAYEES, Scene, anybody, member, mostly, near, node, operator

from meridian.primitives.ids import node_key


class RegistrySteps(Scene):
    """The calls of Registry."""

    @rule(
        name=node,
        by=operator,
        to=st.integers(0, len(PAYEES) - 1),
        flaw=mostly("good", "payee", "deadline", "nonce", "signer", "signature", "stake", "odd"),
    )
    def register_node(self, name: str, by: str, to: int, flaw: str) -> None:
        entries = [self.registration(by, name, PAYEES[to], flaw)]
        value = 10 - (flaw == "stake")
        if flaw == "odd":
            entries, value = entries * 2, 41
        self.call("registry", "register_nodes", entries, value=value)

    @rule(names=st.lists(node, max_size=2), by=operator)
    def register_nodes(self, names: list[str], by: str) -> None:
        """Several at once: the second signature of one operator has the next nonce."""
        operators = [by, "operator 0" if by == "operator 1" else "operator 1"]
        pairs = zip(operators, names, strict=False)
        entries = [self.registration(one, name, PAYEES[0]) for one, name in pairs]
        self.call("registry", "register_nodes", entries, value=20 * len(names))

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

    @rule(ahead=near, flaw=mostly("good", "span"))
    def open_epochs(self, ahead: int, flaw: str) -> None:
        through = self.rules.registry.next_epoch() + ahead + 256 * (flaw == "span")
        self.call("registry", "open_epochs", through)
