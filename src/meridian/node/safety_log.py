"""The safety log: what a member must never forget having said, in one SQLite database.

A member that forgot an ECHO or a VOTE after a crash could sign the opposite and be slashed for it.
So the driver writes every record here, and only when the disk has it (WAL, ``synchronous=FULL``)
may a message leave that the record protects.

Law: `write` returns after all its records are durable together, or raises; after the first error
nothing is written any more, because nobody knows what the disk holds (fail-stop). One database
belongs to one member of one network, and to one process at a time: two processes that sign with one
key are the equivocation that this file prevents.
"""

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

from meridian.ephemera.effects import Record
from meridian.errors import StorageFailure
from meridian.node.durable_file import sync_directory
from meridian.primitives.ids import Address, address_text

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x4D45524C  # "MERL": `file` and a wrong path are recognised.

_SCHEMA = """
CREATE TABLE owner (network BLOB NOT NULL, member BLOB NOT NULL) STRICT;
CREATE TABLE record (
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (epoch, kind, key)
) STRICT, WITHOUT ROWID;
"""


class SafetyLog:
    """The open log of one member; calls may come from any thread, one at a time."""

    def __init__(self, path: Path, *, network: bytes, member: Address) -> None:
        """Open or create the database at `path`; `created` tells which.

        Args:
            path: The database file; its directory must exist.
            network: The 32 bytes of the network.
            member: The address whose key signs what is recorded here.

        Raises:
            StorageFailure: If the file cannot be opened, is damaged, is of another schema, belongs
                to another member or network, or is in use by another process.
        """
        self._lock = threading.Lock()
        self._failure: str | None = None
        self.created = False
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False
            )
            self._connection = connection
            self._claim()
            self._initialise(path, network, member)
            self._check_owner(path, network, member)
        except (sqlite3.Error, OSError, StorageFailure) as error:
            if connection is not None:
                connection.close()
            if isinstance(error, StorageFailure):
                raise
            raise StorageFailure(f"safety log {path}: {error}") from error

    def _claim(self) -> None:
        """Take the database for this process alone, with full durability, before anything is read."""
        # Exclusive before the first access: the lock is then held until close, or until the process dies.
        self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        (mode,) = self._connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise StorageFailure(f"safety log: the file system offers journal mode {mode}, not wal")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("COMMIT")

    def _initialise(self, path: Path, network: bytes, member: Address) -> None:
        application = self._pragma("application_id")
        version = self._pragma("user_version")
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if (application, version, tables) == (0, 0, 0):
            self._connection.executescript(
                f"BEGIN IMMEDIATE; PRAGMA application_id={_APPLICATION_ID};"
                f"PRAGMA user_version={SCHEMA_VERSION}; {_SCHEMA}"
            )
            self._connection.execute("INSERT INTO owner VALUES (?, ?)", (network, member))
            self._connection.execute("COMMIT")
            sync_directory(path.parent)
            self.created = True
        elif application != _APPLICATION_ID:
            raise StorageFailure(f"safety log {path}: this is some other database")
        elif version != SCHEMA_VERSION:
            raise StorageFailure(
                f"safety log {path}: schema {version}, this program knows {SCHEMA_VERSION}"
            )

    def _pragma(self, name: str) -> int:
        (value,) = self._connection.execute(f"PRAGMA {name}").fetchone()
        return int(value)

    def _check_owner(self, path: Path, network: bytes, member: Address) -> None:
        (verdict,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise StorageFailure(f"safety log {path}: damaged: {verdict}")
        owners = self._connection.execute("SELECT network, member FROM owner").fetchall()
        if len(owners) != 1:
            raise StorageFailure(f"safety log {path}: damaged: {len(owners)} owners")
        ((owner_network, owner_member),) = owners
        if owner_network != network:
            raise StorageFailure(
                f"safety log {path}: of network {owner_network.hex()}, not {network.hex()}"
            )
        if owner_member != member:
            raise StorageFailure(
                f"safety log {path}: of {address_text(owner_member)}, not {address_text(member)}"
            )

    def write(self, records: Sequence[Record]) -> None:
        """Make all records durable in one transaction; a later record replaces one of the same key.

        Raises:
            StorageFailure: If they are not known to be durable; from then on every call raises.
        """
        with self._lock:
            self._refuse_after_failure()
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(
                    "INSERT OR REPLACE INTO record (epoch, kind, key, value) VALUES (?, ?, ?, ?)",
                    [(r.epoch, r.kind, r.key, r.value) for r in records],
                )
                self._connection.execute("COMMIT")
            except (sqlite3.Error, OverflowError) as error:
                # Not rolled back and tried again: after a failed COMMIT the disk may hold either.
                self._failure = str(error)
                raise StorageFailure(f"safety log: {error}") from error

    def load(self, epoch: int) -> tuple[Record, ...]:
        """Return the records of an epoch, ordered by (kind, key).

        Raises:
            StorageFailure: If they cannot be read.
        """
        rows = self._query(
            "SELECT epoch, kind, key, value FROM record WHERE epoch = ? ORDER BY kind, key", epoch
        )
        return tuple(Record(*row) for row in rows)

    def records(self, epoch: int, kind: str, key: bytes | None = None) -> tuple[Record, ...]:
        """Return the records of an epoch and kind, ascending by key, or only that of `key`: a replica's archive.

        Raises:
            StorageFailure: If they cannot be read.
        """
        if key is None:
            sql = "SELECT epoch, kind, key, value FROM record WHERE epoch = ? AND kind = ? ORDER BY key"
            rows = self._query(sql, epoch, kind)
        else:
            sql = "SELECT epoch, kind, key, value FROM record WHERE epoch = ? AND kind = ? AND key = ?"
            rows = self._query(sql, epoch, kind, key)
        return tuple(Record(*row) for row in rows)

    def epochs(self) -> tuple[int, ...]:
        """Return the epochs that have records, ascending."""
        return tuple(row[0] for row in self._query("SELECT DISTINCT epoch FROM record ORDER BY 1"))

    def forget_before(self, epoch: int) -> None:
        """Delete the records of epochs before `epoch`: only for epochs whose report is final on chain.

        Raises:
            StorageFailure: As `write`.
        """
        with self._lock:
            self._refuse_after_failure()
            try:
                self._connection.execute("DELETE FROM record WHERE epoch < ?", (epoch,))
            except (sqlite3.Error, OverflowError) as error:
                self._failure = str(error)
                raise StorageFailure(f"safety log: {error}") from error

    def close(self) -> None:
        """Release the database; everything written is durable already."""
        with self._lock:
            self._failure = self._failure or "closed"
            self._connection.close()

    def _query(self, sql: str, *values: int | str | bytes) -> list[tuple[int, str, bytes, bytes]]:
        with self._lock:
            self._refuse_after_failure()
            try:
                return self._connection.execute(sql, values).fetchall()
            except (sqlite3.Error, OverflowError) as error:
                self._failure = str(error)
                raise StorageFailure(f"safety log: {error}") from error

    def _refuse_after_failure(self) -> None:
        if self._failure is not None:
            raise StorageFailure(f"safety log: unusable after: {self._failure}")
