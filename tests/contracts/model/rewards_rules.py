"""Rewards: sponsors fund epochs, payees claim what reports gave them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from model.rule_state import NO_DIGEST, U96_END, Transaction, must

from meridian.primitives.hashing import CLAIM_LEAF, CLAIM_NODE, REWARD_ROOT, tagged
from meridian.primitives.ids import Address

if TYPE_CHECKING:
    from model.network_rules import NetworkRules

EPOCHS_PER_CALL = 1024
EPOCHS_AHEAD_MAX = 1 << 16
TOTAL_END = 1 << 122
COUNT_END = 1 << 58

TreeNode = tuple[bytes, int, int]
"""Hash, number of leaves, sum of the amounts."""


@dataclass(frozen=True, slots=True)
class Deposit:
    """`each` for `n` epochs from `first` on."""

    first: int
    n: int
    each: int

    def covers(self, epoch: int) -> bool:
        return self.first <= epoch < self.first + self.n


@dataclass(frozen=True, slots=True)
class Record:
    """What a report gave: the tree's root, the cumulative total, from when on it is paid."""

    reward_root: bytes
    total: int
    unlock_at: int
    winner: int


@dataclass
class RewardsState:
    """What Rewards remembers."""

    deposits: list[Deposit] = field(default_factory=list)
    settled: int = 0
    """The first epoch whose budget is not final."""
    total: int = 0
    """The cumulative total of the report accepted last."""
    records: dict[int, Record] = field(default_factory=dict)
    claimed: dict[bytes, int] = field(default_factory=dict)


class RewardsRules:
    """The calls and views of Rewards."""

    def __init__(self, network: "NetworkRules") -> None:
        self.network = network
        self.state = RewardsState(settled=network.parameters.first_epoch)

    # ---- funding

    def fund(self, tx: Transaction, first: int, n: int, each: int) -> None:
        must(n and each, "rewards: nothing")
        must(first >= self.state.settled, "rewards: settled")
        must(n <= EPOCHS_AHEAD_MAX and first + n - 1 <= self._horizon(), "rewards: too far")
        fits = each < U96_END and self.total_funded() + tx.value < U96_END
        must(fits and tx.value == n * each, "rewards: value")
        self.state.deposits.append(Deposit(first, n, each))
        self.network.tell("Funded", sponsor=tx.sender, first=first, n=n, each=each)

    def _horizon(self) -> int:
        return self.network.running_epoch() + EPOCHS_AHEAD_MAX

    def settle(self, tx: Transaction, through: int) -> int:
        if through >= self.state.settled:
            must(self.network.registry.epoch_set(through), "rewards: not open")
            must(through - self.state.settled < EPOCHS_PER_CALL, "rewards: span")
            self.state.settled = through + 1
        return self._budget(through)

    def _budget(self, epoch: int) -> int:
        return sum(deposit.each for deposit in self.state.deposits if deposit.covers(epoch))

    # ---- totals

    def accept(
        self,
        tx: Transaction,
        epoch: int,
        reward_root: bytes,
        total: int,
        unlock_at: int,
        winner: int,
    ) -> None:
        must(tx.sender == self.network.address("evaluations"), "rewards: sender")
        budget = self.settle(tx, epoch)
        must(total >= self.state.total, "rewards: total")
        must(total - self.state.total <= budget, "rewards: budget")
        self.state.total = total
        self.state.records[epoch] = Record(reward_root, total, unlock_at, winner)

    # ---- claims

    def claim(self, tx: Transaction, *claim: Any) -> None:
        self._must_be_proven(*claim)
        epoch, key, payee, cumulative, *_ = claim
        before = self.claimed(key)
        must(cumulative > before, "rewards: nothing")
        self._must_leave_the_reserve(cumulative - before)
        self.state.claimed[key] = cumulative
        must(self.network.pay("rewards", payee, cumulative - before), "rewards: payment")
        self._tell_payment("Claimed", epoch, key, payee, cumulative, before)

    def claim_many(self, tx: Transaction, claims: Sequence[tuple[Any, ...]]) -> int:
        done = 0
        for claim in claims:
            self._must_be_proven(*claim)
            epoch, key, payee, cumulative, *_ = claim
            before = self.claimed(key)
            if cumulative <= before:
                continue
            self._must_leave_the_reserve(cumulative - before)
            self.state.claimed[key] = cumulative
            if self.network.pay("rewards", payee, cumulative - before):
                done += 1
                self._tell_payment("Claimed", epoch, key, payee, cumulative, before)
            else:
                self.state.claimed[key] = before
                self.network.tell(
                    "PaymentRefused",
                    node_key=key,
                    payee=payee,
                    epoch=epoch,
                    amount=cumulative - before,
                )
        return done

    def _tell_payment(
        self, event: str, epoch: int, key: bytes, payee: Address, cumulative: int, before: int
    ) -> None:
        self.network.tell(
            event,
            node_key=key,
            payee=payee,
            epoch=epoch,
            amount=cumulative - before,
            cumulative=cumulative,
        )

    def _must_be_proven(
        self,
        epoch: int,
        key: bytes,
        payee: Address,
        cumulative: int,
        index: int,
        size: int,
        hashes: Sequence[bytes],
        annotations: Sequence[int],
    ) -> None:
        record = self.state.records.get(epoch)
        must(record, "rewards: unreported")
        assert record
        must(self.network.now_s >= record.unlock_at, "rewards: locked")
        leaf = tagged(CLAIM_LEAF, key, payee, cumulative.to_bytes(16, "big"))
        path = [
            (node, word >> 128, word % (1 << 128))
            for node, word in zip(hashes, annotations, strict=False)
        ]
        fits = index < size and len(hashes) == len(annotations) == path_length(index, size)
        must(fits, "sum tree: path")
        summands = [(leaf, 1, cumulative), *path]
        small = all(count < COUNT_END and total < TOTAL_END for _, count, total in summands)
        must(small, "sum tree: sum")
        top = root_of(summands[0], index, size, path)
        must(top[1:] == (size, record.total), "rewards: sums")
        root = tagged(REWARD_ROOT, size.to_bytes(8, "big"), node_bytes(top))
        must(root == record.reward_root, "rewards: proof")

    def _must_leave_the_reserve(self, amount: int) -> None:
        """No payment touches money that no report has given to anybody yet."""
        balance = self.network.balance(self.network.address("rewards"))
        must(balance - amount >= self.total_funded() - self.state.total, "rewards: reserve")

    # ---- views

    def claimed(self, key: bytes) -> int:
        return self.state.claimed.get(key, 0)

    def budget(self, epoch: int) -> int:
        must(epoch - self.state.settled <= EPOCHS_AHEAD_MAX, "rewards: span")
        return self._budget(epoch)

    def next_to_settle(self) -> int:
        return self.state.settled

    def funded_through(self) -> int:
        lasts = [deposit.first + deposit.n - 1 for deposit in self.state.deposits]
        return max(lasts, default=max(0, self.network.parameters.first_epoch - 1))

    def total_funded(self) -> int:
        return sum(deposit.n * deposit.each for deposit in self.state.deposits)

    def total_claimed(self) -> int:
        return max(0, self.total_funded() - self.network.balance(self.network.address("rewards")))

    def last_total(self) -> int:
        return self.state.total

    def allotment(self, epoch: int) -> tuple[bytes, int, int, int]:
        known = self.state.records.get(epoch) or Record(NO_DIGEST, 0, 0, 0)
        return known.reward_root, known.total, known.unlock_at, known.winner


def left_leaves(size: int) -> int:
    """How many of `size` leaves are in the left half: the greatest power of two below size (RFC 9162)."""
    return 1 << ((size - 1).bit_length() - 1)


def path_length(index: int, size: int) -> int:
    """How many siblings lie on the way from a leaf to the root."""
    length = 0
    while size > 1:
        left = left_leaves(size)
        index, size = (index, left) if index < left else (index - left, size - left)
        length += 1
    return length


def root_of(leaf: TreeNode, index: int, size: int, path: Sequence[TreeNode]) -> TreeNode:
    """The root that a leaf and its path imply, from the definition of the tree."""
    if size == 1:
        return leaf
    left = left_leaves(size)
    if index < left:
        return joined(root_of(leaf, index, left, path[:-1]), path[-1])
    return joined(path[-1], root_of(leaf, index - left, size - left, path[:-1]))


def joined(left: TreeNode, right: TreeNode) -> TreeNode:
    """The parent of two nodes."""
    digest = tagged(CLAIM_NODE, node_bytes(left), node_bytes(right))
    return digest, left[1] + right[1], left[2] + right[2]


def node_bytes(node: TreeNode) -> bytes:
    """Hash, count u64, sum u128: 56 bytes."""
    return node[0] + node[1].to_bytes(8, "big") + node[2].to_bytes(16, "big")
