"""What a sender has signed, by purpose: durable before anything of it is sent.

The law: a purpose has at most one transaction that could still be mined. A new one may be signed for it only when the
last is known to be dead: reverted on chain, its nonce used by another transaction, or refused by the endpoint on its
first and only way out. Nonces are given out inside the same SQLite transaction that stores what was signed with them.

A stuck transaction is replaced by one for the same purpose with the same nonce and higher fees: the chain takes at most
one of them, whichever that is, so together they still count as one.
"""

import contextlib
import enum
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meridian.errors import InvalidInput, StorageFailure
from meridian.node.chain.rpc import ChainClient, RpcError
from meridian.primitives.ids import Address, address_text

_SCHEMA = """
CREATE TABLE IF NOT EXISTS owner (sender TEXT NOT NULL, chain_id INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS attempts (
    attempt INTEGER PRIMARY KEY, purpose TEXT NOT NULL, nonce INTEGER NOT NULL, tx_hash BLOB NOT NULL,
    raw BLOB NOT NULL, state TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS attempts_by_purpose ON attempts (purpose, attempt);
CREATE INDEX IF NOT EXISTS attempts_by_hash ON attempts (tx_hash, attempt);
CREATE UNIQUE INDEX IF NOT EXISTS one_live_per_nonce ON attempts (nonce) WHERE state IN ('signed', 'mined', 'reverted');
CREATE INDEX IF NOT EXISTS unsettled ON attempts (nonce) WHERE state = 'signed';
"""

_LIVE = "('signed', 'mined', 'reverted')"
_COLUMNS = "attempt, purpose, nonce, tx_hash, raw, state"


class State(enum.StrEnum):
    """What is known of an attempt."""

    SIGNED = "signed"
    """It may be anywhere between never sent and mined."""

    MINED = "mined"
    REVERTED = "reverted"

    REPLACED = "replaced"
    """Another for the same purpose, with the same nonce and higher fees, was signed; either may be mined."""

    SUPERSEDED = "superseded"
    """Another transaction used its nonce: it can never be mined."""

    REFUSED = "refused"
    """The endpoint refused it when it was first sent, and knows nothing of it."""


DEAD = frozenset({State.REVERTED, State.SUPERSEDED, State.REFUSED})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed transaction."""

    attempt: int
    purpose: str
    nonce: int
    tx_hash: bytes
    raw: bytes
    state: State


class SenderJournal:
    """The journal file of one key on one chain; several processes with the key may share it.

    Raises:
        InvalidInput: If the file belongs to another key or chain.
        StorageFailure: If it cannot be used.
    """

    def __init__(self, path: Path, sender: Address, chain_id: int) -> None:
        self._lock = threading.RLock()
        self._inside = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, timeout=30.0, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StorageFailure(f"sender's journal {path}: {error}") from error
        with self._transaction() as db:
            owner = db.execute("SELECT sender, chain_id FROM owner").fetchone()
            if owner is None:
                db.execute("INSERT INTO owner VALUES (?, ?)", (address_text(sender), chain_id))
        if owner is not None and owner != (address_text(sender), chain_id):
            self._db.close()
            raise InvalidInput("journal", f"{path.name} belongs to {owner[0]} on chain {owner[1]}")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def latest(self, purpose: str) -> Attempt | None:
        """Return the last attempt for a purpose."""
        # One in a block is the answer even where a replacement was signed after it.
        where = "purpose = ? ORDER BY state = 'mined' DESC, attempt DESC LIMIT 1"
        found = self._select(where, (purpose,))
        return found[0] if found else None

    def by_hash(self, tx_hash: bytes) -> Attempt | None:
        """Return the last attempt with that transaction hash (a refused one may have been signed again, alike)."""
        found = self._select("tx_hash = ? ORDER BY attempt DESC LIMIT 1", (tx_hash,))
        return found[0] if found else None

    def siblings(self, tx_hashes: Sequence[bytes]) -> dict[bytes, list[bytes]]:
        """Return for each of at most 500 transactions those that replaced it or that it replaced."""
        marks = ",".join("?" * len(tx_hashes))
        try:
            with self._lock:
                rows = self._db.execute(
                    "SELECT one.tx_hash, other.tx_hash FROM attempts one JOIN attempts other"  # noqa: S608
                    " ON other.purpose = one.purpose AND other.nonce = one.nonce AND other.tx_hash != one.tx_hash"
                    f" WHERE one.tx_hash IN ({marks})",
                    tx_hashes,
                ).fetchall()
        except sqlite3.Error as error:
            raise StorageFailure(f"sender's journal: {error}") from error
        found: dict[bytes, list[bytes]] = {}
        for one, other in rows:
            found.setdefault(one, []).append(other)
        return found

    def replace(self, old: Attempt, sign: Callable[[int], tuple[bytes, bytes]]) -> Attempt | None:
        """Store a replacement of an unsettled attempt; None if another process settled or replaced it meanwhile.

        Args:
            old: The newest attempt for its purpose.
            sign: From its nonce to (hash, raw bytes).
        """
        with self._transaction() as db:
            last = self.latest(old.purpose)
            if last != old or old.state is not State.SIGNED:
                return None
            tx_hash, raw = sign(old.nonce)
            db.execute("UPDATE attempts SET state = 'replaced' WHERE attempt = ?", (old.attempt,))
            db.execute(
                "INSERT INTO attempts (purpose, nonce, tx_hash, raw, state) VALUES (?, ?, ?, ?, ?)",
                (old.purpose, old.nonce, tx_hash, raw, State.SIGNED),
            )
            return self.latest(old.purpose)

    def unsettled(self) -> list[Attempt]:
        """Return the attempts of which nothing final is known, by nonce."""
        return self._select("state = 'signed' ORDER BY nonce", ())

    def sign(
        self,
        purposes: Sequence[str],
        sign: Callable[[int, int], tuple[bytes, bytes]],
        nonce_floor: int,
    ) -> list[Attempt]:
        """Give out nonces, sign, and store, in one transaction.

        Args:
            purposes: What is to be signed, in order of nonces; each one's last attempt must be dead.
            sign: From (index, nonce) to (hash, raw bytes).
            nonce_floor: No nonce below this is given out: the chain's count for the sender.

        Returns:
            Per purpose its attempt: the new one, or the live one that another process stored meanwhile.
        """
        with self._transaction() as db:
            nonce = self.next_nonce(nonce_floor)
            for index, purpose in enumerate(purposes):
                last = self.latest(purpose)
                if last is not None and last.state not in DEAD:
                    continue
                tx_hash, raw = sign(index, nonce)
                db.execute(
                    "INSERT INTO attempts (purpose, nonce, tx_hash, raw, state) VALUES (?, ?, ?, ?, ?)",
                    (purpose, nonce, tx_hash, raw, State.SIGNED),
                )
                nonce += 1
            stored = [self.latest(purpose) for purpose in purposes]
        return [one for one in stored if one is not None]

    def next_nonce(self, nonce_floor: int) -> int:
        """Return the nonce that the next one to be signed gets, at least `nonce_floor`."""
        with self._transaction() as db:
            row = db.execute(f"SELECT MAX(nonce) FROM attempts WHERE state IN {_LIVE}").fetchone()  # noqa: S608
        return max(nonce_floor, -1 if row[0] is None else int(row[0]) + 1, 0)

    def settle(self, tx_hash: bytes, state: State) -> None:
        """Record what became of the transaction with that hash; what is in a block kills others with its nonce."""
        with self._transaction() as db:
            one = self.by_hash(tx_hash)
            if one is None or one.state is state:
                return
            if state in {State.MINED, State.REVERTED}:
                db.execute(
                    "UPDATE attempts SET state = 'superseded' WHERE nonce = ? AND attempt != ?"
                    " AND state IN ('signed', 'replaced')",
                    (one.nonce, one.attempt),
                )
            db.execute("UPDATE attempts SET state = ? WHERE attempt = ?", (state, one.attempt))

    def refuse(self, attempt: Attempt) -> bool:
        """Give a refused attempt's nonce back if nothing was signed after it; tell whether that was so."""
        with self._transaction() as db:
            later = db.execute(
                f"SELECT 1 FROM attempts WHERE nonce > ? AND state IN {_LIVE} LIMIT 1",  # noqa: S608
                (attempt.nonce,),
            ).fetchone()
            if later is None:
                self.settle(attempt.tx_hash, State.REFUSED)
        return later is None

    def _select(self, where: str, values: Sequence[object]) -> list[Attempt]:
        try:
            with self._lock:
                rows = self._db.execute(
                    f"SELECT {_COLUMNS} FROM attempts WHERE {where}",  # noqa: S608
                    values,
                ).fetchall()
        except sqlite3.Error as error:
            raise StorageFailure(f"sender's journal: {error}") from error
        return [Attempt(*row) for row in map(_typed, rows)]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._inside:  # of another one of this thread: that one commits
                yield self._db
                return
            self._inside = True
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
                raise StorageFailure(f"sender's journal: {error}") from error
            finally:
                self._inside = False


def _typed(row: tuple[Any, ...]) -> tuple[Any, Any, Any, Any, Any, State]:
    attempt, purpose, nonce, tx_hash, raw, state = row
    return attempt, purpose, nonce, tx_hash, raw, State(state)


def journal_name(rpc: ChainClient, chain_id: int, account: Address) -> str:
    """Return the name of the journal of what an account has sent on a chain: every programme on a machine finds the same."""
    return f"{chain_id}-{_genesis(rpc)}-{account.hex()}.sqlite"


def _genesis(rpc: ChainClient) -> str:
    """Return what tells this chain from others with its number: two local chains have the same one."""
    try:
        block = rpc.call("eth_getBlockByNumber", "0x0", False)
    except RpcError:
        block = None
    return str(block["hash"])[2:10] if block else "pruned"
