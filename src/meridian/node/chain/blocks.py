"""Makes one block from waiting transactions, on one virtual machine, as a draft that nobody has seen yet.

The law: the draft depends only on the parent, the line-up and the timestamp; py-evm itself validates the result against
the fork's rules. Applying every transaction on one machine and building the tries once is what makes it fast
(py-evm's own way rebuilds them per transaction: 52 ms instead of about 2 in a block of 200).
"""

from dataclasses import dataclass

import rlp
from eth.abc import ReceiptAPI
from eth.constants import BLANK_ROOT_HASH
from eth.db.atomic import AtomicDB
from eth.db.chain import ChainDB
from eth.db.trie import make_trie_root_and_nodes
from eth_utils.exceptions import ValidationError

from meridian.node.chain.pool import LineUp
from meridian.node.chain.rules import Computation, Header, Machine, Rules, SignedTransaction
from meridian.node.chain.signing import create_address
from meridian.node.chain.store import (
    ChainStore,
    StateDraft,
    StoredBlock,
    StoredLog,
    StoredTransaction,
)
from meridian.primitives.ids import Address

_GAS_OF_A_TRANSFER = 21_000


class Poisoned(Exception):
    """py-evm broke while it executed a transaction; nothing of the draft is valid."""

    def __init__(self, tx_hash: bytes, cause: Exception) -> None:
        super().__init__(f"transaction 0x{tx_hash.hex()}: {cause!r}")
        self.tx_hash = tx_hash


@dataclass(frozen=True, slots=True)
class Applied:
    """One executed transaction."""

    transaction: SignedTransaction
    receipt: ReceiptAPI
    computation: Computation


@dataclass(frozen=True, slots=True)
class BlockDraft:
    """A block that is ready to be stored, and the accounts whose nonces it may have moved.

    `priced_out` tells that a transaction waits only for the base fee to fall.
    """

    header: Header
    stored: StoredBlock
    nonces: dict[Address, int]
    priced_out: bool


def draft_block(
    store: ChainStore, rules: Rules, parent: Header, line_up: LineUp, timestamp_s: int
) -> BlockDraft:
    """Make the block after `parent` from whatever fits of `line_up`; it may turn out empty.

    Raises:
        Poisoned: If a transaction cannot be executed at all.
    """
    changes = StateDraft(store)
    database = AtomicDB(changes)
    header = rules.next_header(parent, timestamp_s)
    machine = rules.machine(database, header)
    applied, header, priced_out = _apply(machine, header, line_up)
    transactions = tuple(one.transaction.inner for one in applied)
    transaction_root, _ = make_trie_root_and_nodes(transactions)
    receipt_root, _ = make_trie_root_and_nodes(tuple(one.receipt for one in applied))
    roots = {"transaction_root": transaction_root, "receipt_root": receipt_root}
    block = machine.get_block().copy(
        header=header.copy(**(roots if applied else dict.fromkeys(roots, BLANK_ROOT_HASH))),
        transactions=transactions,
    )
    final = machine.mine_block(block).block
    ChainDB(database).persist_header(final.header)
    rows, logs = _records(final.header.block_number, applied)
    senders = {one.transaction.sender for one in applied}
    return BlockDraft(
        header=final.header,
        stored=StoredBlock(
            number=final.header.block_number,
            hash=bytes(final.header.hash),
            size_bytes=len(rlp.encode(final.header)) + sum(len(row.raw) for row in rows),
            state=changes.changes,
            transactions=rows,
            logs=logs,
        ),
        nonces={sender: machine.state.get_nonce(sender) for sender in senders},
        priced_out=priced_out,
    )


def _apply(machine: Machine, header: Header, line_up: LineUp) -> tuple[list[Applied], Header, bool]:
    applied: list[Applied] = []
    priced_out = False
    base_fee = header.base_fee_per_gas
    for one in line_up:
        if header.gas_limit - header.gas_used < _GAS_OF_A_TRANSFER:
            break
        nonce = machine.state.get_nonce(one.sender)
        if one.nonce < nonce:
            line_up.take()
            continue
        if one.nonce > nonce or one.gas > header.gas_limit - header.gas_used:
            continue
        if one.max_fee_wei < base_fee:
            priced_out = True
            continue
        if machine.state.get_balance(one.sender) < one.cost_atto:
            continue
        try:
            receipt, computation = machine.apply_transaction(header, one.inner)
        except ValidationError:
            # py-evm validates before it touches the state, so leaving the transaction out leaves no trace.
            continue
        except Exception as error:
            raise Poisoned(one.hash, error) from error
        header = machine.add_receipt_to_header(header, receipt)
        applied.append(Applied(one, receipt, computation))
        line_up.take()
    return applied, header, priced_out


def _records(
    number: int, applied: list[Applied]
) -> tuple[list[StoredTransaction], list[StoredLog]]:
    rows: list[StoredTransaction] = []
    logs: list[StoredLog] = []
    gas_before = 0
    for position, done in enumerate(applied):
        one, failed = done.transaction, done.computation.is_error
        created = None if one.inner.to else create_address(one.sender, one.nonce)
        rows.append(
            StoredTransaction(
                hash=one.hash,
                block=number,
                position=position,
                sender=one.sender,
                raw=one.raw,
                gas_used=done.receipt.gas_used - gas_before,
                gas_cumulative=done.receipt.gas_used,
                status=0 if failed else 1,
                created=created,
                output=bytes(done.computation.output) if failed else b"",
                first_log=len(logs),
                log_count=len(done.receipt.logs),
            )
        )
        gas_before = done.receipt.gas_used
        for log in done.receipt.logs:
            topics = tuple(topic.to_bytes(32, "big") for topic in log.topics)
            place = (number, len(logs), position, one.hash)
            logs.append(StoredLog(*place, Address(bytes(log.address)), topics, bytes(log.data)))
    return rows, logs
