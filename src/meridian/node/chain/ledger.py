"""The chain: its file, its pool and its head, and what may happen to them: admit, mine, look up.

The law: what is in memory follows what is on disk, never the other way round. `admit` and the last step of `mine` take
turns under one lock; making a block happens outside it, so that transactions are admitted and calls answered meanwhile.
When the file refuses, the error leaves this module and the process is expected to end.
"""

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import rlp
from eth.db.atomic import AtomicDB
from eth.db.chain import ChainDB
from eth_typing import BlockNumber

from meridian.errors import InvalidInput
from meridian.node.chain.blocks import BlockDraft, Poisoned, draft_block
from meridian.node.chain.pool import Pool, Pooled
from meridian.node.chain.rules import (
    Header,
    Machine,
    Rules,
    SignedTransaction,
    TransactionRefused,
)
from meridian.node.chain.store import (
    ChainStore,
    LogQuery,
    StateDraft,
    StateReader,
    StoredBlock,
    StoredLog,
    StoredTransaction,
)
from meridian.primitives.ids import Address, address_text

RECURSION_MIN: Final = 100_000
"""What py-evm sets when it is imported; another part of the process may have set it back."""


class Ledger:
    """One chain with its owner's rights.

    Args:
        path: The SQLite file; None keeps the chain in memory.
        rules: Chain id and fork; an existing file must have been made with the same.
        alloc: Balances of the genesis, in the smallest unit; for an existing file the same or empty.
        clock: Returns seconds since the Unix epoch.

    Raises:
        InvalidInput: If the file belongs to another chain.
        StorageFailure: If the file cannot be used, or another process owns it.
    """

    def __init__(
        self,
        path: Path | None,
        rules: Rules,
        alloc: Mapping[Address, int],
        clock: Callable[[], float],
    ) -> None:
        # py-evm nests about ten Python calls for each call depth; its threads have stacks for that (see `miner`).
        sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION_MIN))
        self.rules = rules
        self.store = ChainStore(path)
        self.on_admitted: Callable[[], None] = _nothing
        self._clock = clock
        self._lock = threading.RLock()
        self._mining = threading.Lock()
        self._database = AtomicDB(StateReader(self.store))
        try:
            if self.store.last_block() is None:
                self._make_genesis(alloc)
            self._check_origin(alloc)
            self._head = ChainDB(self._database).get_canonical_head()
            self._pool, self._sequence = self._load_pool()
        except BaseException:
            self.store.close()
            raise

    def close(self) -> None:
        """Wait for a block that is being made, and close the file."""
        with self._mining, self._lock:
            self.store.close()

    # -- what is -----------------------------------------------------------------------------------------------------

    @property
    def head(self) -> Header:
        """The newest block's header."""
        return self._head

    @property
    def pool_size(self) -> int:
        """How many transactions wait."""
        return len(self._pool)

    def now_s(self) -> int:
        """Return the clock's whole seconds."""
        return int(self._clock())

    def next_header(self) -> Header:
        """Return the header that a block made now would start from."""
        head = self._head
        return self.rules.next_header(head, max(self.now_s(), head.timestamp + 1))

    def header(self, number: int) -> Header | None:
        """Return a block's header, or None beyond the head."""
        head = self._head
        if number == head.block_number:
            return head
        if not 0 <= number < head.block_number:
            return None
        return ChainDB(self._database).get_canonical_block_header_by_number(BlockNumber(number))

    def header_by_hash(self, block_hash: bytes) -> Header | None:
        """Return the header with that hash, or None."""
        number = self.store.block_number(block_hash)
        return None if number is None else self.header(number)

    def machine(self, header: Header) -> Machine:
        """Return a machine to ask or to try things on, inside the block of `header`; nothing of it is kept."""
        return self.rules.machine(self._database, header)

    def transaction(self, tx_hash: bytes) -> StoredTransaction | None:
        """Return a transaction that stands in a block up to the head."""
        stored = self.store.transaction(tx_hash)
        # A block is on disk a moment before it is the head; a receipt must not run ahead of eth_call.
        return stored if stored is not None and stored.block <= self._head.block_number else None

    def waiting(self, tx_hash: bytes) -> SignedTransaction | None:
        """Return a transaction of the pool."""
        with self._lock:
            pooled = self._pool.get(tx_hash)
        return None if pooled is None else pooled.transaction

    def logs(self, query: LogQuery, limit: int) -> list[StoredLog]:
        """Return matching logs up to the head, at most `limit`."""
        last = min(query.last, self._head.block_number)
        return self.store.logs(LogQuery(query.first, last, query.addresses, query.topics), limit)

    def pending_nonce(self, sender: Address) -> int:
        """Return the nonce after the sender's waiting transactions."""
        with self._lock:
            return self._pool.next_nonce(sender, self._account(self.machine(self._head), sender)[0])

    def has_work(self) -> bool:
        """Tell whether a transaction waits whose nonce is the next of its sender."""
        with self._lock:
            machine = self.machine(self._head)
            for sender in self._pool.senders():
                nonce, _ = self._account(machine, sender)
                if self._pool.next_nonce(sender, nonce) > nonce:
                    return True
        return False

    # -- what happens ------------------------------------------------------------------------------------------------

    def admit(self, raws: Sequence[bytes]) -> list[bytes | TransactionRefused]:
        """Take raw transactions into the pool, durably, in one step; return per transaction its hash or the refusal.

        Raises:
            StorageFailure: If nothing of it was stored.
        """
        read: list[SignedTransaction | TransactionRefused] = []
        for raw in raws:
            try:
                read.append(self.rules.read_transaction(raw))
            except TransactionRefused as refusal:
                read.append(refusal)
        with self._lock:
            results = self._admit([one for one in read if isinstance(one, SignedTransaction)])
        verdicts = [one if isinstance(one, TransactionRefused) else results.pop(0) for one in read]
        if any(isinstance(one, bytes) for one in verdicts):
            self.on_admitted()
        return verdicts

    def mine(self, timestamp_s: int | None = None, *, empty: bool = False) -> Header | None:
        """Make the next block from the pool and store it.

        Args:
            timestamp_s: The block's time; None means now, or a second after the head if that is later.
            empty: Make a block even when nothing can go into it.

        Returns:
            Its header, or None if there is nothing to put into a block.
        """
        with self._mining:
            while True:
                with self._lock:
                    line_up = self._pool.line_up()
                    head = self._head
                time_s = max(
                    self.now_s() if timestamp_s is None else timestamp_s, head.timestamp + 1
                )
                try:
                    draft = draft_block(self.store, self.rules, head, line_up, time_s)
                except Poisoned as poisoned:
                    # py-evm cannot execute it, now or ever: without this, no block could be made again.
                    with self._lock:
                        self.store.drop_pooled([poisoned.tx_hash])
                        self._pool.drop([poisoned.tx_hash])
                    continue
                # An empty block lowers the base fee for those who wait for that.
                if not (draft.stored.transactions or draft.priced_out or empty):
                    return None
                self._append(draft)
                return draft.header

    def _append(self, draft: BlockDraft) -> None:
        with self._lock:
            leave = [row.hash for row in draft.stored.transactions]
            for sender, nonce in draft.nonces.items():
                leave.extend(self._pool.below(sender, nonce))
            self.store.commit(draft.stored, leave_pool=leave)
            self._pool.drop(leave)
            self._head = draft.header

    def _admit(self, new: Sequence[SignedTransaction]) -> list[bytes | TransactionRefused]:
        machine = self.machine(self._head)
        results: list[bytes | TransactionRefused] = []
        rows: list[tuple[bytes, int, bytes]] = []
        replaced: list[bytes] = []
        try:
            for one in new:
                try:
                    old = self._pool.check(one, *self._account(machine, one.sender))
                except TransactionRefused as refusal:
                    results.append(refusal)
                    continue
                if old is not None:
                    replaced.append(old.transaction.hash)
                    rows = [row for row in rows if row[0] != old.transaction.hash]
                self._sequence += 1
                self._pool.add(Pooled(self._sequence, one))
                rows.append((one.hash, self._sequence, one.raw))
                results.append(one.hash)
            if rows:
                self.store.add_pooled(rows, replaced)
        except BaseException:
            self._pool, self._sequence = self._load_pool()
            raise
        return results

    def _account(self, machine: Machine, account: Address) -> tuple[int, int]:
        return machine.state.get_nonce(account), machine.state.get_balance(account)

    # -- opening -----------------------------------------------------------------------------------------------------

    def _make_genesis(self, alloc: Mapping[Address, int]) -> None:
        draft = StateDraft(self.store)
        # A second before now, so that the first block need not wait for the next second.
        header = self.rules.make_genesis(AtomicDB(draft), alloc, self.now_s() - 1)
        block = StoredBlock(0, bytes(header.hash), len(rlp.encode(header)), draft.changes, (), ())
        origin = {
            "chain_id": str(self.rules.chain_id).encode(),
            "fork": self.rules.fork.encode(),
            "alloc": _alloc_bytes(alloc),
        }
        self.store.commit(block, meta=origin)

    def _check_origin(self, alloc: Mapping[Address, int]) -> None:
        for name, value in [
            ("chain_id", str(self.rules.chain_id).encode()),
            ("fork", self.rules.fork.encode()),
        ]:
            stored = self.store.meta(name)
            if stored != value:
                was = (stored or b"?").decode()
                raise InvalidInput(name, f"the chain was made with {was}, not {value.decode()}")
        if alloc and self.store.meta("alloc") != _alloc_bytes(alloc):
            raise InvalidInput("alloc", "the chain was made with other balances")

    def _load_pool(self) -> tuple[Pool, int]:
        pool, last = Pool(), 0
        for sequence, raw in self.store.pooled():
            pool.add(Pooled(sequence, self.rules.read_transaction(raw)))
            last = sequence
        return pool, last


def _alloc_bytes(alloc: Mapping[Address, int]) -> bytes:
    return msgspec.json.encode({address_text(one): str(alloc[one]) for one in sorted(alloc)})


def _nothing() -> None:
    pass
