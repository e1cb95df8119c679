"""The rules of a network's economy beyond a plain split: growth pool, collateral, penalties, and what is owed.

All are optional parts of the parameters artefact, for networks whose rewards no contract recomputes.

- *Growth* (Saturn): of a pool R, R_t = R * min(B_t, baseline_t) / baseline_n is released by epoch t, where B_t is all that
  was measured so far and baseline_t = linear * t + quadratic * t * (t + 1). An epoch gives no more than what it releases.
- *Collateral* (Saturn): a penalty is `factor` times a node's mean share. Shares are withheld until so much stands as
  collateral. A flag takes the penalty from it, once; what stands above the penalty is owed back, and all of it once the
  node has had no share for `release_after` epochs.
- *Owed* money, a deferred node's share too, is paid from what later budgets leave over, in proportion, as far as that
  goes: a report can never add more to the total than its own epoch's budget.

Source of growth and collateral: protocol/cel-retrieval, saturn-aliens (2022).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from meridian.errors import InvalidInput
from meridian.primitives.amounts import largest_remainder
from meridian.primitives.ids import NodeKey
from meridian.reward.memory import Account, Memory

MEASURES: Final = {
    "jobs": slice(0, 8),
    "first-lane": slice(8, 16),
    "second-lane": slice(16, 24),
    "lane": slice(8, 24),
}
"""What growth can be measured by: a part of the commitment's annotation (count u64, then two u64 lanes or one u128)."""

FACTOR_MAX: Final = 1_000
EPOCHS_MAX: Final = 1 << 32
_AMOUNT_END: Final = 1 << 127


def _integer(values: Mapping[str, Any], name: str, lowest: int, end: int) -> int:
    value = values.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 40:
        value = int(value)  # amounts may pass what the artefact's integers hold
    if type(value) is not int or not lowest <= value < end:
        raise InvalidInput(f"economy.{name}", f"{values.get(name)!r} is not in {lowest}..{end - 1}")
    return value


def _only(values: Any, name: str, known: Collection[str]) -> dict[str, Any]:
    if not isinstance(values, dict) or set(values) - set(known):
        raise InvalidInput(name, f"is not a map of {', '.join(known)}")
    return values


@dataclass(frozen=True, slots=True)
class Growth:
    """How the pool is released."""

    pool_atto: int
    first_epoch: int
    epochs: int
    linear: int
    """In the unit of the measure."""
    quadratic: int
    measure: str

    @classmethod
    def of(cls, values: Any) -> Self:
        """Read the rule's parameters."""
        names = ("pool_atto", "first_epoch", "epochs", "linear", "quadratic", "measure")
        values = _only(values, "economy.growth", names)
        if values.get("measure") not in MEASURES:
            raise InvalidInput("economy.measure", f"is not one of {', '.join(MEASURES)}")
        growth = cls(
            _integer(values, "pool_atto", 1, _AMOUNT_END),
            _integer(values, "first_epoch", 0, EPOCHS_MAX),
            _integer(values, "epochs", 1, EPOCHS_MAX),
            _integer(values, "linear", 0, 1 << 63),
            _integer(values, "quadratic", 0, 1 << 63),
            values["measure"],
        )
        if growth.baseline(growth.epochs) == 0:
            raise InvalidInput("economy.growth", "the baseline never rises")
        return growth

    def baseline(self, t: int) -> int:
        """Return what is expected to have been measured by the end of the t-th epoch."""
        t = max(0, min(t, self.epochs))
        return self.linear * t + self.quadratic * t * (t + 1)

    def released(self, epoch: int, measured: int) -> int:
        """Return how much of the pool is released by an epoch, atto."""
        baseline = self.baseline(epoch - self.first_epoch + 1)
        return self.pool_atto * min(measured, baseline) // self.baseline(self.epochs)


@dataclass(frozen=True, slots=True)
class Collateral:
    """How much is withheld, and when it is given back."""

    factor: int
    release_after: int

    @classmethod
    def of(cls, values: Any) -> Self:
        """Read the rule's parameters."""
        values = _only(values, "economy.collateral", ("factor", "release_after"))
        return cls(
            _integer(values, "factor", 1, FACTOR_MAX + 1),
            _integer(values, "release_after", 1, EPOCHS_MAX),
        )

    def penalty(self, account: Account) -> int:
        """Return what a flag costs a node, atto."""
        return self.factor * account.earned // account.epochs if account.epochs else 0


@dataclass(frozen=True, slots=True)
class Economy:
    """A network's rules; without any, an epoch's budget is split and nothing is remembered."""

    growth: Growth | None = None
    collateral: Collateral | None = None
    settles: bool = False
    """Whether what is owed is paid; always so with collateral."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Read the key ``economy`` of the parameters artefact.

        Raises:
            InvalidInput: Naming the parameter that is wrong or unknown.
        """
        values = _only(dict(values), "economy", ("growth", "collateral", "settle_deferred"))
        settles = values.get("settle_deferred", False)
        if not isinstance(settles, bool):
            raise InvalidInput("economy.settle_deferred", f"{settles!r} is not a boolean")
        growth = Growth.of(values["growth"]) if "growth" in values else None
        collateral = Collateral.of(values["collateral"]) if "collateral" in values else None
        return cls(growth, collateral, settles or collateral is not None)

    def spend(
        self, budget: int, epoch: int, annotation: bytes, memory: Memory
    ) -> tuple[int, Memory]:
        """Return how much of the nodes' budget an epoch may give, atto, and the memory after that.

        Args:
            budget: The nodes' part, atto.
            epoch: Its number.
            annotation: What the epoch's commitment counted, 24 bytes.
            memory: Before the epoch.
        """
        if self.growth is None:
            return budget, memory
        measured = memory.measured + int.from_bytes(
            annotation[MEASURES[self.growth.measure]], "big"
        )
        released = self.growth.released(epoch, measured)
        spent = min(budget, max(0, released - memory.released))
        return spent, replace(memory, measured=measured, released=memory.released + spent)

    def withhold(
        self,
        epoch: int,
        shares: Mapping[NodeKey, int],
        deferred: Mapping[NodeKey, int],
        flagged: Collection[NodeKey],
        memory: Memory,
    ) -> tuple[dict[NodeKey, int], Memory]:
        """Return how much of each share is withheld as collateral, atto, and the memory after that.

        Args:
            epoch: Its number.
            shares: Of the nodes that have a weight.
            deferred: Shares that are held back: owed from now on.
            flagged: Nodes that are excluded for fraud.
            memory: Before the epoch.
        """
        if not self.settles:
            return {}, memory
        accounts, withheld = dict(memory.accounts), dict[NodeKey, int]()
        for key, share in shares.items():
            if share and self.collateral is not None:
                account = accounts.get(key, Account())
                accounts[key] = replace(
                    account, earned=account.earned + share, epochs=account.epochs + 1,
                    last_epoch=epoch,
                )  # fmt: skip
        for key, share in deferred.items():
            account = accounts.get(key, Account())
            accounts[key] = replace(account, owed=account.owed + share)
        if self.collateral is not None:
            for key, account in accounts.items():
                accounts[key], kept = self._stand(
                    self.collateral, epoch, account, shares.get(key, 0), key in flagged
                )
                if kept:
                    withheld[key] = kept
        kept_accounts = {key: one for key, one in accounts.items() if one != Account()}
        return withheld, replace(memory, accounts=kept_accounts)

    @staticmethod
    def _stand(
        rule: Collateral, epoch: int, account: Account, share: int, is_flagged: bool
    ) -> tuple[Account, int]:
        """Return a node's account with its collateral as it should be, and how much of its share that takes."""
        penalty = rule.penalty(account)
        if is_flagged and not account.is_penalised:
            taken = min(penalty, account.collateral)
            return replace(account, collateral=account.collateral - taken, is_penalised=True), 0
        if epoch >= account.last_epoch + rule.release_after and not is_flagged:
            penalty = 0
        kept = min(share, max(0, penalty - account.collateral))
        stands = account.collateral + kept
        back = 0 if is_flagged else max(0, stands - penalty)
        return replace(account, collateral=stands - back, owed=account.owed + back), kept

    def settle(
        self, left: int, payable: Collection[NodeKey], before: Memory, memory: Memory
    ) -> tuple[dict[NodeKey, int], Memory]:
        """Pay what earlier epochs owe from what this epoch's budget leaves over.

        Args:
            left: That, atto.
            payable: The nodes that can be paid in this epoch: it has committed them.
            before: The memory before the epoch: what it comes to owe itself is paid later.
            memory: The memory before the payments.

        Returns:
            Atto for each node that is paid, and the memory after that.
        """
        if not self.settles:
            return {}, memory
        owed = {
            key: account.owed
            for key, account in sorted(before.accounts.items())
            if account.owed and key in payable
        }
        parts = largest_remainder(list(owed.values()), min(left, sum(owed.values())))
        paid = {key: part for key, part in zip(owed, parts, strict=True) if part}
        accounts = dict(memory.accounts)
        for key, part in paid.items():
            accounts[key] = replace(accounts[key], owed=accounts[key].owed - part)
        return paid, replace(
            memory, accounts={key: one for key, one in accounts.items() if one != Account()}
        )
