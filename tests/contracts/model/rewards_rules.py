"""Rewards: sponsors fund epochs, payees claim what reports gave them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from model.rule_state import NO_DIGEST, NOBODY, U96_END, Transaction, must, signer_of

from meridian.contracts.statements import Delegate, RelayedClaim
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
    previous_epoch: int


@dataclass
class RewardsState:
    """What Rewards remembers."""

    deposits: list[Deposit] = field(default_factory=list)
    """What sponsors gave, and what was rolled forward."""
    funded: int = 0
    rolled: frozenset[int] = frozenset()
    settled: int = 0
    """The first epoch whose budget is not final."""
    total: int = 0
    """The cumulative total of the report accepted last."""
    records: dict[int, Record] = field(default_factory=dict)
    paid: dict[bytes, int] = field(default_factory=dict)
    nonces: dict[Address, int] = field(default_factory=dict)
    delegates: dict[Address, Address] = field(default_factory=dict)


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
        deployed = self.network.parameters.first_epoch
        running = self.network.running_epoch()
        in_time = first >= running or running == deployed or first + n <= deployed
        must(in_time, "rewards: over")
        fits = each < U96_END and self.total_funded() + tx.value < U96_END
        must(fits and tx.value == n * each, "rewards: value")
        self.state.deposits.append(Deposit(first, n, each))
        self.state.funded += tx.value
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
        previous_epoch: int,
    ) -> int:
        self._must_be_evaluations(tx)
        budget = self.settle(tx, epoch)
        must(total >= self.state.total, "rewards: total")
        must(total - self.state.total <= budget, "rewards: budget")
        self.state.total = total
        before = self.state.records.get(previous_epoch)
        unlock = max(unlock_at, before.unlock_at if before else 0)
        self.state.records[epoch] = Record(reward_root, total, unlock, winner, previous_epoch)
        return unlock

    def _must_be_evaluations(self, tx: Transaction) -> None:
        must(tx.sender == self.network.address("evaluations"), "rewards: sender")

    def forget(self, tx: Transaction, epoch: int, more: bool) -> int:
        self._must_be_evaluations(tx)
        must(epoch in self.state.records, "rewards: unreported")
        previous = self.state.records.pop(epoch).previous_epoch
        before = self.state.records.get(previous)
        self.state.total = before.total if before else 0
        return previous

    def roll(self, tx: Transaction, epoch: int) -> tuple[int, int]:
        self._must_be_evaluations(tx)
        free = epoch not in self.state.records and epoch not in self.state.rolled
        must(free, "rewards: reported")
        budget = self.settle(tx, epoch)
        to = max(self.state.settled, self.network.running_epoch())
        self.state.rolled |= {epoch}
        if budget:
            self.state.deposits.append(Deposit(to, 1, budget))
        return budget, to

    def hold(self, tx: Transaction, epoch: int, until: int) -> None:
        must(tx.sender == self.network.address("disputes"), "rewards: sender")
        known = self.state.records.get(epoch)
        must(known, "rewards: unreported")
        assert known
        must(self.network.now_s < known.unlock_at, "rewards: unlocked")
        chain = self.network.evaluations.state.chain
        for at in chain[chain.index(epoch) :]:
            record = self.state.records[at]
            self.state.records[at] = replace(record, unlock_at=max(record.unlock_at, until))
        self.network.tell("Held", epoch=epoch, until=until)

    # ---- claims

    def claim(self, tx: Transaction, *claim: Any) -> None:
        amount = self._book(*claim)
        self._pay(claim[2], amount)

    def claim_to(self, tx: Transaction, claim: tuple[Any, ...], recipient: Address) -> None:
        payee = claim[2]
        must(tx.sender in {payee, self.delegates(payee)}, "rewards: delegate")
        must(recipient != NOBODY, "rewards: recipient")
        amount = self._book(*claim)
        self.network.tell("ClaimedTo", node_key=claim[1], recipient=recipient)
        self._pay(recipient, amount)

    def claim_relayed(
        self, tx: Transaction, claim: tuple[Any, ...], fee: int, deadline: int, r: int, vs: int
    ) -> None:
        key, payee = claim[1], claim[2]
        network = self.network.parameters.network
        nonce = self.nonces(payee)
        self._must_be_signed(RelayedClaim(network, key, payee, fee, nonce, deadline), r, vs)
        amount = self._book(*claim)
        share = min(fee, amount)
        self.network.tell("FeePaid", node_key=key, relayer=tx.sender, fee=share)
        if amount > share:
            self._pay(payee, amount - share)
        if share:
            self._pay(tx.sender, share)
        self._must_leave_the_reserve(0)

    def set_delegate(self, tx: Transaction, delegate: Address) -> None:
        self._name_delegate(tx.sender, delegate)

    def set_delegate_signed(
        self, tx: Transaction, payee: Address, delegate: Address, deadline: int, r: int, vs: int
    ) -> None:
        network = self.network.parameters.network
        says = Delegate(network, payee, delegate, self.nonces(payee), deadline)
        self._must_be_signed(says, r, vs)
        self._name_delegate(payee, delegate)

    def _name_delegate(self, payee: Address, delegate: Address) -> None:
        self.state.delegates[payee] = delegate
        self.network.tell("DelegateSet", payee=payee, delegate=delegate)

    def _must_be_signed(self, says: RelayedClaim | Delegate, r: int, vs: int) -> None:
        must(self.network.now_s <= says.deadline_s, "rewards: deadline")
        signer = signer_of(says.digest(self.network.domain("rewards")), r, vs)
        must(signer != NOBODY and signer == says.payee, "rewards: signature")
        self.state.nonces[says.payee] = self.nonces(says.payee) + 1

    def claim_many(self, tx: Transaction, claims: Sequence[tuple[Any, ...]]) -> int:
        done = 0
        for claim in claims:
            self._must_be_proven(*claim)
            epoch, key, payee, cumulative, *_ = claim
            before = self.claimed(key)
            amount = cumulative - before
            if amount <= 0:
                continue
            self._must_leave_the_reserve(amount)
            self.state.paid[key] = cumulative
            event = {"node_key": key, "payee": payee, "epoch": epoch, "amount": amount}
            if self.network.pay("rewards", payee, amount):
                done += 1
                self.network.tell("Claimed", **event, cumulative=cumulative)
            else:
                self.state.paid[key] = before
                self.network.tell("PaymentRefused", **event)
        return done

    def _book(self, *claim: Any) -> int:
        """Check a claim and note it as paid; return what is to be paid."""
        self._must_be_proven(*claim)
        epoch, key, payee, cumulative, *_ = claim
        amount = cumulative - self.claimed(key)
        must(amount > 0, "rewards: nothing")
        self._must_leave_the_reserve(amount)
        self.state.paid[key] = cumulative
        event = {"node_key": key, "payee": payee, "epoch": epoch, "amount": amount}
        self.network.tell("Claimed", **event, cumulative=cumulative)
        return int(amount)

    def _pay(self, account: Address, amount: int) -> None:
        must(self.network.pay("rewards", account, amount), "rewards: payment")

    def _must_be_proven(
        self,
        epoch: int,
        key: bytes,
        payee: Address,
        cumulative: int,
        index: int,
        size: int,
        path: Sequence[tuple[bytes, int]],
    ) -> None:
        leaf = tagged(CLAIM_LEAF, key, payee, cumulative.to_bytes(16, "big"))
        siblings = [(node, word >> 192, (word >> 64) % (1 << 128)) for node, word in path]
        fits = index < size and len(path) == path_length(index, size)
        must(fits, "sum tree: path")
        summands = [(leaf, 1, cumulative), *siblings]
        small = all(count < COUNT_END and total < TOTAL_END for _, count, total in summands)
        must(small, "sum tree: sum")
        record = self.state.records.get(epoch)
        must(record, "rewards: unreported")
        assert record
        must(self.network.now_s >= record.unlock_at, "rewards: locked")
        top = root_of(summands[0], index, size, siblings)
        must(top[1:] == (size, record.total), "rewards: sums")
        root = tagged(REWARD_ROOT, size.to_bytes(8, "big"), node_bytes(top))
        must(root == record.reward_root, "rewards: proof")

    def _must_leave_the_reserve(self, amount: int) -> None:
        """No payment touches money that no report has given to anybody yet."""
        balance = self.network.balance(self.network.address("rewards"))
        must(balance - amount >= self.total_funded() - self.state.total, "rewards: reserve")

    # ---- views

    def claimed(self, key: bytes) -> int:
        return self.state.paid.get(key, 0)

    def budget(self, epoch: int) -> int:
        must(epoch - self.state.settled <= EPOCHS_AHEAD_MAX, "rewards: span")
        return 0 if epoch in self.state.rolled else self._budget(epoch)

    def nonces(self, account: Address) -> int:
        return self.state.nonces.get(account, 0)

    def delegates(self, account: Address) -> Address:
        return self.state.delegates.get(account, NOBODY)

    def previous_epoch(self, epoch: int) -> int:
        known = self.state.records.get(epoch)
        return known.previous_epoch if known else 0

    def next_to_settle(self) -> int:
        return self.state.settled

    def funded_through(self) -> int:
        lasts = [deposit.first + deposit.n - 1 for deposit in self.state.deposits]
        return max(lasts, default=max(0, self.network.parameters.first_epoch - 1))

    def total_funded(self) -> int:
        return self.state.funded

    def total_claimed(self) -> int:
        return max(0, self.total_funded() - self.network.balance(self.network.address("rewards")))

    def last_total(self) -> int:
        return self.state.total

    def allotment(self, epoch: int) -> tuple[bytes, int, int, int]:
        known = self.state.records.get(epoch) or Record(NO_DIGEST, 0, 0, 0, 0)
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
