"""The chain's one SQLite file: state, blocks, transactions, logs, and the pool of accepted transactions.

The law: a block is one SQLite transaction, so after any crash it is there with everything that belongs to it (state,
receipts, logs, and its transactions gone from the pool) or not at all; a pooled transaction is on disk before anybody
is told that it was accepted; and one process owns the file.

State is a flat key-value table (trie nodes by their hash, code, headers) that is only ever added to, so that every old
block can still be asked. Reads go through a cache in memory.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eth.db.backends.base import BaseDB

from meridian.errors import StorageFailure
from meridian.primitives.ids import Address

CACHE_ENTRIES_MAX: Final = 300_000
"""State entries kept in memory (about 150 bytes each); beyond it the cache starts afresh."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pool (
    hash BLOB PRIMARY KEY, sequence INTEGER NOT NULL, raw BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (
    number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, size_bytes INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS transactions (
    hash BLOB PRIMARY KEY, block INTEGER NOT NULL, position INTEGER NOT NULL, sender BLOB NOT NULL, raw BLOB NOT NULL,
    gas_used INTEGER NOT NULL, gas_cumulative INTEGER NOT NULL, status INTEGER NOT NULL, created BLOB, output BLOB,
    first_log INTEGER NOT NULL, log_count INTEGER NOT NULL, UNIQUE (block, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS logs (
    block INTEGER NOT NULL, position INTEGER NOT NULL, tx_position INTEGER NOT NULL, tx_hash BLOB NOT NULL,
    address BLOB NOT NULL, topic0 BLOB, topic1 BLOB, topic2 BLOB, topic3 BLOB, data BLOB NOT NULL,
    PRIMARY KEY (block, position)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS logs_by_address ON logs (address, topic0, block);
"""


@dataclass(frozen=True, slots=True)
class StoredTransaction:
    """A transaction in a block, with what its receipt says.

    `output` is what a failed transaction returned (its revert data), empty otherwise; `created` the contract's address.
    """

    hash: bytes
    block: int
    position: int
    sender: Address
    raw: bytes
    gas_used: int
    gas_cumulative: int
    status: int
    created: Address | None
    output: bytes
    first_log: int
    log_count: int


@dataclass(frozen=True, slots=True)
class StoredLog:
    """An event log; `position` counts through its block."""

    block: int
    position: int
    tx_position: int
    tx_hash: bytes
    address: Address
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """Everything that one block adds; `state` maps keys to their new value, or None where a key goes away."""

    number: int
    hash: bytes
    size_bytes: int
    state: Mapping[bytes, bytes | None]
    transactions: Sequence[StoredTransaction]
    logs: Sequence[StoredLog]


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which logs: blocks `first` to `last`, any of `addresses` (none = all), per position any of the topics."""

    first: int
    last: int
    addresses: tuple[Address, ...] = ()
    topics: tuple[tuple[bytes, ...], ...] = ()


class ChainStore:
    """The open file; safe to use from several threads, which take turns.

    Args:
        path: The file, made when absent; None keeps everything in memory.

    Raises:
        StorageFailure: If another process owns the file, or it cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._cache: dict[bytes, bytes] = {}
        self._owner: int | None = None if path is None else _own(path)
        try:
            self._db = sqlite3.connect(
                ":memory:" if path is None else path, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            self._release()
            raise StorageFailure(f"chain file {path}: {error}") from error

    def close(self) -> None:
        """Close the file and give up its ownership."""
        with self._lock:
            self._db.close()
            self._release()

    # -- state ------------------------------------------------------------------------------------------------------

    def state(self, key: bytes) -> bytes | None:
        """Return a state entry, or None."""
        value = self._cache.get(key)
        if value is None:
            row = self._one("SELECT value FROM state WHERE key = ?", (key,))
            if row is None:
                return None
            value = bytes(row[0])
            self._remember(key, value)
        return value

    def meta(self, name: str) -> bytes | None:
        """Return one of the facts that the chain was made with, or None."""
        row = self._one("SELECT value FROM meta WHERE name = ?", (name,))
        return None if row is None else bytes(row[0])

    # -- pool -------------------------------------------------------------------------------------------------------

    def add_pooled(
        self, rows: Sequence[tuple[bytes, int, bytes]], replaced: Sequence[bytes]
    ) -> None:
        """Make accepted transactions (hash, sequence, raw) durable, and forget the ones that they replace."""
        with self._transaction() as db:
            db.executemany("DELETE FROM pool WHERE hash = ?", [(one,) for one in replaced])
            db.executemany("INSERT INTO pool (hash, sequence, raw) VALUES (?, ?, ?)", rows)

    def drop_pooled(self, hashes: Sequence[bytes]) -> None:
        """Forget pooled transactions that no block can ever hold."""
        with self._transaction() as db:
            db.executemany("DELETE FROM pool WHERE hash = ?", [(one,) for one in hashes])

    def pooled(self) -> list[tuple[int, bytes]]:
        """Return (sequence, raw) of every pooled transaction, in order of arrival."""
        rows = self._all("SELECT sequence, raw FROM pool ORDER BY sequence", ())
        return [(int(sequence), bytes(raw)) for sequence, raw in rows]

    # -- blocks -----------------------------------------------------------------------------------------------------

    def commit(
        self,
        block: StoredBlock,
        *,
        leave_pool: Sequence[bytes] = (),
        meta: Mapping[str, bytes] | None = None,
    ) -> None:
        """Make a block durable, in one transaction.

        Args:
            block: The block with its state, transactions and logs.
            leave_pool: Hashes that are not pending any more.
            meta: Facts to store with it (the genesis block's).

        Raises:
            StorageFailure: If nothing of it was stored.
        """
        written = [(key, value) for key, value in block.state.items() if value is not None]
        removed = [(key,) for key, value in block.state.items() if value is None]
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list((meta or {}).items()))
            db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", written)
            db.executemany("DELETE FROM state WHERE key = ?", removed)
            db.execute(
                "INSERT INTO blocks VALUES (?, ?, ?)", (block.number, block.hash, block.size_bytes)
            )
            db.executemany(
                "INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_transaction_row(one) for one in block.transactions],
            )
            db.executemany(
                "INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_log_row(one) for one in block.logs],
            )
            db.executemany("DELETE FROM pool WHERE hash = ?", [(one,) for one in leave_pool])
        for key, value in block.state.items():
            if value is None:
                self._cache.pop(key, None)
            else:
                self._remember(key, value)

    def last_block(self) -> tuple[int, bytes] | None:
        """Return number and hash of the newest block, or None before the genesis."""
        row = self._one("SELECT number, hash FROM blocks ORDER BY number DESC LIMIT 1", ())
        return None if row is None else (int(row[0]), bytes(row[1]))

    def block_hash(self, number: int) -> bytes | None:
        """Return the hash of a block, or None."""
        row = self._one("SELECT hash FROM blocks WHERE number = ?", (number,))
        return None if row is None else bytes(row[0])

    def block_number(self, block_hash: bytes) -> int | None:
        """Return the number of the block with that hash, or None."""
        row = self._one("SELECT number FROM blocks WHERE hash = ?", (block_hash,))
        return None if row is None else int(row[0])

    def block_size_bytes(self, number: int) -> int:
        """Return the encoded size of a block."""
        row = self._one("SELECT size_bytes FROM blocks WHERE number = ?", (number,))
        return 0 if row is None else int(row[0])

    def transaction(self, tx_hash: bytes) -> StoredTransaction | None:
        """Return a transaction that stands in a block, or None."""
        row = self._one("SELECT * FROM transactions WHERE hash = ?", (tx_hash,))
        return None if row is None else _stored_transaction(row)

    def block_transactions(self, number: int) -> list[StoredTransaction]:
        """Return the transactions of a block, in order."""
        rows = self._all("SELECT * FROM transactions WHERE block = ? ORDER BY position", (number,))
        return [_stored_transaction(row) for row in rows]

    def transaction_logs(self, one: StoredTransaction) -> list[StoredLog]:
        """Return the logs of one transaction, in order."""
        sql = "SELECT * FROM logs WHERE block = ? AND position >= ? AND position < ? ORDER BY position"
        span = (one.block, one.first_log, one.first_log + one.log_count)
        return [_stored_log(row) for row in self._all(sql, span)]

    def logs(self, query: LogQuery, limit: int) -> list[StoredLog]:
        """Return the logs that match, in chain order, at most `limit`."""
        wheres, values = ["block BETWEEN ? AND ?"], [query.first, query.last]
        arguments: list[object] = list(values)
        for column, options in [
            ("address", query.addresses),
            *((f"topic{i}", options) for i, options in enumerate(query.topics)),
        ]:
            if options:
                wheres.append(f"{column} IN ({','.join('?' * len(options))})")
                arguments.extend(options)
        # Only column names and placeholders of ours are put into the text; the values are bound.
        sql = f"SELECT * FROM logs WHERE {' AND '.join(wheres)} ORDER BY block, position LIMIT ?"  # noqa: S608
        return [_stored_log(row) for row in self._all(sql, (*arguments, limit))]

    # -- inside -----------------------------------------------------------------------------------------------------

    def _remember(self, key: bytes, value: bytes) -> None:
        if len(self._cache) >= CACHE_ENTRIES_MAX:
            self._cache.clear()
        self._cache[key] = value

    def _one(self, sql: str, values: Sequence[object]) -> tuple[Any, ...] | None:
        rows = self._all(sql, values)
        return rows[0] if rows else None

    def _all(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StorageFailure(f"chain file: {error}") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise StorageFailure(f"chain file: {error}") from error

    def _release(self) -> None:
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None


class StateReader(BaseDB):
    """What py-evm sees of the store: the committed state, read only."""

    def __init__(self, store: ChainStore) -> None:
        self._store = store

    def __getitem__(self, key: bytes) -> bytes:
        value = self._store.state(key)
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        raise TypeError("a committed state is not written to")

    def __delitem__(self, key: bytes) -> None:
        raise TypeError("a committed state is not written to")

    def _exists(self, key: bytes) -> bool:
        return self._store.state(key) is not None


class StateDraft(BaseDB):
    """The committed state with the changes of a block that is being made; dropping it undoes them."""

    def __init__(self, store: ChainStore) -> None:
        self._store = store
        self.changes: dict[bytes, bytes | None] = {}

    def __getitem__(self, key: bytes) -> bytes:
        value = self.changes[key] if key in self.changes else self._store.state(key)
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.changes[key] = value

    def __delitem__(self, key: bytes) -> None:
        self.changes[key] = None

    def _exists(self, key: bytes) -> bool:
        value = self.changes[key] if key in self.changes else self._store.state(key)
        return value is not None


def _own(path: Path) -> int:
    """Take the file's lock, which the system frees when the process ends, however it ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    except OSError as error:
        raise StorageFailure(f"chain file {path}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise StorageFailure(f"chain file {path}: another process owns it") from error
    return handle


def _transaction_row(one: StoredTransaction) -> tuple[object, ...]:
    return (
        one.hash,
        one.block,
        one.position,
        one.sender,
        one.raw,
        one.gas_used,
        one.gas_cumulative,
        one.status,
        one.created,
        one.output or None,
        one.first_log,
        one.log_count,
    )


def _stored_transaction(row: tuple[Any, ...]) -> StoredTransaction:
    names = StoredTransaction.__slots__
    return StoredTransaction(**dict(zip(names, row, strict=True)) | {"output": row[9] or b""})


def _log_row(one: StoredLog) -> tuple[object, ...]:
    topics = (*one.topics, None, None, None, None)[:4]
    place = (one.block, one.position, one.tx_position, one.tx_hash)
    return (*place, one.address, *topics, one.data)


def _stored_log(row: tuple[Any, ...]) -> StoredLog:
    topics = tuple(topic for topic in row[5:9] if topic is not None)
    block, position, tx_position, tx_hash, address = row[:5]
    return StoredLog(block, position, tx_position, tx_hash, address, topics, row[9])
