"""Contracts that need no other, on an in-memory EVM: the earlier interface, and the naive model."""

from typing import Any

from contract_world import ETHER, RICH, Contract, Outcome, World, account

from meridian.primitives.ids import Address, address_text

# Runs `PUSH1 0 PUSH1 0 REVERT` at each call: an account that takes no money.
REFUSES_MONEY = bytes.fromhex("645f5ffd00005f526005601bf3")
MAX_SCORE = 10**15
BURNER = bytes(18) + b"\xde\xad"


class AloneWorld(World):
    """One environment, rich actors, and any number of contracts."""

    def __init__(self) -> None:
        self.env = self.machine()
        self.admin = account("admin")
        self.someone = account("someone")
        for holder in (self.admin, self.someone):
            self.give(holder, RICH)
        self.deploy_gas = {}
        self.by_address = {}

    def contract(self, name: str, *args: Any) -> Contract:
        contract = Contract(self, name, self.deploy(name, *args, sender=self.admin))
        self.by_address[contract.address] = contract
        return contract

    def pay(self, to: Address, amount: int) -> None:
        self.execute(to, b"", self.someone, amount, None)

    @property
    def block(self) -> int:
        return int(self.env.evm.patch.block_number)

    @block.setter
    def block(self, value: int) -> None:
        self.env.evm.patch.block_number = value


class ImpactWorld(AloneWorld):
    """An ImpactEvaluator, or Spark's, whose admin calls unless a test says otherwise."""

    def __init__(self, name: str = "ImpactEvaluator") -> None:
        super().__init__()
        self.impact = self.contract(name, self.text(self.admin))

    @staticmethod
    def text(address: Address) -> str:
        return address_text(address)

    def send(self, function: str, *args: Any, **options: Any) -> Outcome:
        return self.impact.send(function, *args, **{"sender": self.admin, **options})

    def read(self, function: str, *args: Any) -> Any:
        return self.impact.read(function, *args)

    def fund(self, amount: int) -> None:
        self.pay(self.impact.address, amount)

    def funded_round(self, amount: int = 100 * ETHER) -> int:
        """Fund, and play until the funded round is the previous one; return its index."""
        self.fund(amount)
        self.send("adminAdvanceRound")
        self.send("adminAdvanceRound")
        return int(self.read("previousRoundIndex"))

    def score(self, index: int, scores: dict[Address, int], **options: Any) -> Outcome:
        return self.send("setScores", index, list(scores), list(scores.values()), **options)

    def scheduled_for(self, participant: Address) -> int:
        return int(self.read("rewardsScheduledFor", participant))

    def release_and_tick(self) -> Outcome:
        self.send("releaseRewards")
        return self.send("tick")

    @property
    def funds(self) -> int:
        return self.balance(self.impact.address)


def names(outcome: Outcome) -> list[str]:
    return [event.name for event in outcome.events]
