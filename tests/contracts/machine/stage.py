"""The contracts and the model side by side: one call goes to both, and both must say the same."""

from collections import Counter
from typing import Any

from contract_world import RICH, Refused, World, account, reason_of
from model.network_rules import NetworkRules, Saved
from model.rule_state import Answer, Behaviour, Reenters, Refusal, Refuses
from quick_evm import hasten

from meridian.primitives.ids import Address, address_text

REACHED: Counter[str] = Counter()
"""How often each reason was given, by contracts and model alike; and each function that succeeded."""

GAS = 10**14
"""So much that accounts which burn all that they are given leave enough, several times."""

ACCEPTS_CODE = b""
REFUSES_CODE = bytes.fromhex("5f5ffd")  # PUSH0 PUSH0 REVERT
GREEDY_CODE = bytes.fromhex("fe")  # INVALID: all gas is gone


def reenters_code(target: Address, data: bytes) -> bytes:
    """Code that calls `target` with `data`, whatever it is called with, and then stops."""
    # PUSH2 size DUP1 PUSH1 offset PUSH0 CODECOPY; PUSH0 PUSH0 <size> PUSH0 PUSH0 target GAS CALL STOP
    size = len(data).to_bytes(2, "big")
    head = b"\x61" + size + b"\x60\x2a" + b"\x5f\x39"
    call = b"\x5f\x5f\x61" + size + b"\x5f\x5f\x73" + target + b"\x5a\xf1\x00"
    code = head + call
    return code.replace(b"\x60\x2a", bytes((0x60, len(code))), 1) + data


class Stage(World):
    """A World whose calls are cheap: gas is not counted, so nothing is prepared for counting it."""

    def execute(
        self, to: Address, data: bytes, sender: Address | None, value: int, gas: int | None
    ) -> Any:
        run = self.env.execute_code(
            to_address=address_text(to),
            sender=address_text(sender or self.someone),
            value=value,
            data=data,
            gas=gas or GAS,
        )
        self.env.evm.vm.state.clear_transient_storage()
        if run.is_error:
            raise Refused(reason_of(run.output))
        return run


def plain(value: Any) -> Any:
    """A value in the form in which the ABI decoder gives it."""
    if isinstance(value, bytes) and len(value) == 20:
        return address_text(Address(value)).lower()
    if isinstance(value, (list, tuple)):
        return tuple(plain(part) for part in value)
    return value


class Disagreement(AssertionError):
    """Contracts and model differ."""


class Pair:
    """A deployed network and its model."""

    def __init__(self, actors: list[str], **changes: Any) -> None:
        self.stage = Stage(**changes)
        self.stage.deploy_judges()
        hasten(self.stage.env)
        self.rules = NetworkRules(
            self.stage.parameters, self.stage.addresses, self.stage.env.evm.patch.chain_id
        )
        self.rules.now_s = self.stage.now_s
        self.differ = False
        self.actors = [account(name) for name in actors]
        for actor in self.actors:
            self.give(actor, RICH)

    # ---- what happens outside of contracts

    def give(self, holder: Address, amount: int) -> None:
        """Make an account have so much more, as if it came from elsewhere."""
        self.rules.money.balances[holder] = self.rules.balance(holder) + amount
        self.stage.give(holder, self.rules.balance(holder))

    def wait(self, seconds: int) -> None:
        self.rules.now_s += seconds
        self.stage.now_s = self.rules.now_s

    def behave(self, holder: Address, behaviour: Behaviour | None) -> None:
        """Turn an account into a contract that refuses money or calls back, or back into a plain one."""
        code = ACCEPTS_CODE
        if isinstance(behaviour, Refuses):
            code = GREEDY_CODE if behaviour.greedy else REFUSES_CODE
        elif isinstance(behaviour, Reenters):
            contract = getattr(self.stage, behaviour.contract)
            data = contract.encode(behaviour.function, *behaviour.args)
            code = reenters_code(contract.address, data)
        if behaviour is None:
            self.rules.money.behaviours.pop(holder, None)
        else:
            self.rules.money.behaviours[holder] = behaviour
        self.stage.env.set_code(address_text(holder), code)

    # ---- calls

    def call(
        self, contract: str, function: str, *args: Any, sender: Address, value: int = 0
    ) -> Answer | str:
        """Make a call to both, compare, and return the answer or the reason."""
        where = f"{contract}.{function}"
        try:
            expected: Answer | str = self.rules.call(
                contract, function, *args, sender=sender, value=value
            )
        except Refusal as refusal:
            expected = str(refusal)
        try:
            outcome = getattr(self.stage, contract).send(
                function, *args, sender=sender, value=value
            )
        except Refused as refused:
            self.same(where, str(refused), expected)
            REACHED[str(refused)] += 1
            return str(expected)
        if isinstance(expected, str):
            self.same(where, "accepted", expected)
            return expected
        REACHED[where] += 1
        self.same(f"{where} returns", outcome.value or None, plain(expected.value) or None)
        told = [(event.name, event.args) for event in outcome.events]
        foretold = [
            (event.name, {name: plain(value) for name, value in event.args.items()})
            for event in expected.events
        ]
        self.same(f"{where} tells", told, foretold)
        return expected

    def same(self, what: str, seen: Any, expected: Any) -> None:
        if seen != expected:
            self.differ = True
            raise Disagreement(f"{what}: the contract says {seen!r}, the model {expected!r}")

    # ---- states

    def compare_balances(self) -> None:
        """Everybody has exactly what the model says, to the atto."""
        state = self.stage.env.evm.vm.state
        for holder, amount in self.rules.money.balances.items():
            seen = state.get_balance(holder)
            if seen != amount:
                self.same(f"balance of 0x{holder.hex()}", seen, amount)

    def compare_view(self, contract: str, function: str, *args: Any) -> None:
        """A view answers, or refuses, as the model says."""
        try:
            expected = plain(self.rules.view(contract, function, *args))
        except Refusal as refusal:
            expected = f"refused: {refusal}"
        try:
            seen: Any = getattr(self.stage, contract).send(function, *args).value
        except Refused as refused:
            seen = f"refused: {refused}"
            REACHED[str(refused)] += 1
        self.same(f"{contract}.{function}{args}", plain(seen), expected)

    def save(self) -> tuple[Any, Saved]:
        return self.stage.env.evm.vm.state.snapshot(), self.rules.save()

    def restore(self, saved: tuple[Any, Saved]) -> tuple[Any, Saved]:
        """Go back; what was saved is used up, a new copy of it is returned."""
        self.stage.env.evm.vm.state.revert(saved[0])
        self.rules.restore(saved[1])
        self.differ = False
        self.stage.now_s = self.rules.now_s
        return self.stage.env.evm.vm.state.snapshot(), saved[1]
