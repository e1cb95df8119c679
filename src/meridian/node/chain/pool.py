"""Transactions that wait for a block: per sender in nonce order, across senders in order of arrival.

The law: every collection is bounded; an accepted transaction leaves only into a block, by a replacement from its own
sender, or because its nonce was used. Whoever calls makes each change durable; this is the view in memory.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from meridian.node.chain.rules import SignedTransaction, TransactionRefused
from meridian.primitives.ids import Address

POOL_TRANSACTIONS_MAX: Final = 16_384
POOL_BYTES_MAX: Final = 64 * 1024 * 1024
POOL_PER_SENDER_MAX: Final = 4_096
"""Also how far a nonce may lie ahead of the account's."""

REPLACEMENT_BUMP_PERCENT: Final = 10


@dataclass(frozen=True, slots=True)
class Pooled:
    """A waiting transaction and its place in the order of arrival."""

    sequence: int
    transaction: SignedTransaction


class Pool:
    """The waiting transactions."""

    def __init__(self) -> None:
        self._by_hash: dict[bytes, Pooled] = {}
        self._by_sender: dict[Address, dict[int, Pooled]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._by_hash)

    def get(self, tx_hash: bytes) -> Pooled | None:
        """Return a waiting transaction by its hash."""
        return self._by_hash.get(tx_hash)

    def hashes(self) -> list[bytes]:
        """Return the hashes of all waiting transactions, in order of arrival."""
        return [one.transaction.hash for one in sorted(self._by_hash.values(), key=_arrival)]

    def check(self, new: SignedTransaction, account_nonce: int, balance_atto: int) -> Pooled | None:
        """Decide whether `new` may be added, given its sender's account; return the one that it would replace.

        Raises:
            TransactionRefused: With the reason, in the words of other Ethereum nodes.
        """
        if new.hash in self._by_hash:
            raise TransactionRefused("already known")
        if new.nonce < account_nonce:
            raise TransactionRefused(
                f"nonce too low: next nonce {account_nonce}, tx nonce {new.nonce}"
            )
        if new.nonce >= account_nonce + POOL_PER_SENDER_MAX:
            raise TransactionRefused(
                f"nonce too high: next nonce {account_nonce}, tx nonce {new.nonce}"
            )
        queue = self._by_sender.get(new.sender, {})
        old = queue.get(new.nonce)
        if old is None:
            if (
                len(self._by_hash) >= POOL_TRANSACTIONS_MAX
                or self._bytes + len(new.raw) > POOL_BYTES_MAX
            ):
                raise TransactionRefused("txpool is full")
            if len(queue) >= POOL_PER_SENDER_MAX:
                raise TransactionRefused("txpool is full for this sender")
        elif not _outbids(new, old.transaction):
            raise TransactionRefused("replacement transaction underpriced")
        owed = sum(one.transaction.cost_atto for one in queue.values() if one is not old)
        if owed + new.cost_atto > balance_atto:
            raise TransactionRefused(
                "insufficient funds for gas * price + value: "
                f"have {balance_atto}, want {owed + new.cost_atto} with the sender's waiting transactions"
            )
        return old

    def add(self, new: Pooled) -> None:
        """Add a transaction that `check` let pass; one of the same sender and nonce goes away."""
        one = new.transaction
        queue = self._by_sender.setdefault(one.sender, {})
        old = queue.get(one.nonce)
        if old is not None:
            self.drop([old.transaction.hash])
            queue = self._by_sender.setdefault(one.sender, {})
        queue[one.nonce] = new
        self._by_hash[one.hash] = new
        self._bytes += len(one.raw)

    def drop(self, hashes: Iterable[bytes]) -> None:
        """Forget these; unknown hashes are ignored."""
        for tx_hash in hashes:
            gone = self._by_hash.pop(tx_hash, None)
            if gone is None:
                continue
            one = gone.transaction
            self._bytes -= len(one.raw)
            queue = self._by_sender[one.sender]
            del queue[one.nonce]
            if not queue:
                del self._by_sender[one.sender]

    def senders(self) -> list[Address]:
        """Return who has transactions waiting."""
        return list(self._by_sender)

    def next_nonce(self, sender: Address, account_nonce: int) -> int:
        """Return the first nonce from the account's on that nothing waits for."""
        queue = self._by_sender.get(sender, {})
        nonce = account_nonce
        while nonce in queue:
            nonce += 1
        return nonce

    def below(self, sender: Address, nonce: int) -> list[bytes]:
        """Return the waiting transactions of `sender` whose nonce is used up once the account's is `nonce`."""
        queue = self._by_sender.get(sender, {})
        return [one.transaction.hash for number, one in queue.items() if number < nonce]

    def line_up(self) -> "LineUp":
        """Return a frozen view for making one block."""
        return LineUp(
            {
                sender: sorted(queue.values(), key=_nonce)
                for sender, queue in self._by_sender.items()
            }
        )


class LineUp:
    """The order in which one block tries the waiting transactions.

    Iterating yields the earliest arrival among the first in line of each sender; after each, `take()` moves its sender's
    line on, and without it that sender is left out of this block.
    """

    def __init__(self, lines: dict[Address, list[Pooled]]) -> None:
        self._lines = lines
        self._place = dict.fromkeys(lines, 0)
        self._heap = [(line[0].sequence, sender) for sender, line in lines.items()]
        heapq.heapify(self._heap)
        self._current: Address | None = None

    def __iter__(self) -> Iterator[SignedTransaction]:
        while self._heap:
            _, sender = heapq.heappop(self._heap)
            self._current = sender
            yield self._lines[sender][self._place[sender]].transaction

    def take(self) -> None:
        """Let the sender of the transaction that was yielded last go on to its next one."""
        sender = self._current
        assert sender is not None
        self._place[sender] += 1
        line = self._lines[sender]
        if self._place[sender] < len(line):
            heapq.heappush(self._heap, (line[self._place[sender]].sequence, sender))


def _arrival(one: Pooled) -> int:
    return one.sequence


def _nonce(one: Pooled) -> int:
    return one.transaction.nonce


def _outbids(new: SignedTransaction, old: SignedTransaction) -> bool:
    percent = 100 + REPLACEMENT_BUMP_PERCENT
    return (
        new.max_fee_wei * 100 >= old.max_fee_wei * percent
        and new.tip_wei * 100 >= old.tip_wei * percent
    )
