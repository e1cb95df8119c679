"""A SQLite database that belongs to one member of one network, and to one process at a time.

Two processes that sign with one key are the equivocation that this prevents. Law: WAL and ``synchronous=FULL``; after the
first error nothing is read or written any more, because after a failed COMMIT the disk may hold either.
"""

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from meridian.errors import InvalidInput, StorageFailure
from meridian.node.durable_file import sync_directory
from meridian.primitives.ids import Address, address_text

_OWNER: Final = "CREATE TABLE owner (network BLOB NOT NULL, member BLOB NOT NULL) STRICT;"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Form:
    """What sort of database it is."""

    name: str
    """In messages, such as ``safety log``."""
    application_id: int
    """Four letters by which `file` and a wrong path are recognised."""
    version: int
    schema: str
    """SQL; the table of the owner comes by itself."""


class OwnedDatabase:
    """The open database; calls may come from any thread."""

    def __init__(self, path: Path, form: Form, *, network: bytes, member: Address) -> None:
        """Open the database at `path`, or create it; its directory must exist. `created` tells which.

        Raises:
            StorageFailure: If the file cannot be opened, is damaged, is of another schema, belongs
                to another member or network, or is in use by another process.
        """
        self._path = path
        self._form = form
        self._lock = threading.Lock()
        self.failure: str | None = None
        self.created = False
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False
            )
            self._connection = connection
            self._claim()
            self._initialise(network, member)
            self._check_owner(network, member)
        except (sqlite3.Error, OSError, StorageFailure) as error:
            if connection is not None:
                connection.close()
            if isinstance(error, StorageFailure):
                raise
            raise StorageFailure(f"{form.name} {path}: {error}") from error

    def close(self) -> None:
        """Release the database; everything written is durable already."""
        with self._lock:
            self.failure = self.failure or "closed"
            self._connection.close()

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something in one durable transaction; raises StorageFailure if it is not known to be durable."""

        def transaction(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
            connection.execute("COMMIT")
            return result

        return self._run(transaction)

    def rows(self, sql: str, *values: object) -> list[Any]:
        """Return what a query finds; raises StorageFailure."""
        return self._run(lambda connection: connection.execute(sql, values).fetchall())

    def rows_within(self, bytes_max: int, column: int, sql: str, *values: object) -> list[Any]:
        """As `rows`, up to the first row at which a column's bytes together pass a bound; raises StorageFailure."""

        def work(connection: sqlite3.Connection) -> list[Any]:
            found, total = [], 0
            for row in connection.execute(sql, values):
                found.append(row)
                total += len(row[column])
                if total > bytes_max:
                    break
            return found

        return self._run(work)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            if self.failure is not None:
                raise StorageFailure(f"{self._form.name}: unusable after: {self.failure}")
            try:
                return work(self._connection)
            except (sqlite3.Error, OverflowError, InvalidInput) as error:
                # Not rolled back and tried again: after a failed COMMIT the disk may hold either.
                self.failure = str(error)
                raise StorageFailure(f"{self._form.name}: {error}") from error

    # --- opening ---

    def _claim(self) -> None:
        """Take the database for this process alone, with full durability, before anything is read."""
        # Exclusive before the first access: the lock is then held until close, or until the process dies.
        self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        (mode,) = self._connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise StorageFailure(
                f"{self._form.name}: the file system offers journal mode {mode}, not wal"
            )
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("COMMIT")

    def _initialise(self, network: bytes, member: Address) -> None:
        application = self._pragma("application_id")
        version = self._pragma("user_version")
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if (application, version, tables) == (0, 0, 0):
            self._connection.executescript(
                f"BEGIN IMMEDIATE; PRAGMA application_id={self._form.application_id};"
                f"PRAGMA user_version={self._form.version}; {_OWNER} {self._form.schema}"
            )
            self._connection.execute("INSERT INTO owner VALUES (?, ?)", (network, member))
            self._connection.execute("COMMIT")
            sync_directory(self._path.parent)
            self.created = True
        elif application != self._form.application_id:
            raise StorageFailure(f"{self._form.name} {self._path}: this is some other database")
        elif version != self._form.version:
            raise StorageFailure(
                f"{self._form.name} {self._path}: schema {version}, this program knows {self._form.version}"
            )

    def _pragma(self, name: str) -> int:
        (value,) = self._connection.execute(f"PRAGMA {name}").fetchone()
        return int(value)

    def _check_owner(self, network: bytes, member: Address) -> None:
        (verdict,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise StorageFailure(f"{self._form.name} {self._path}: damaged: {verdict}")
        owners = self._connection.execute("SELECT network, member FROM owner").fetchall()
        if len(owners) != 1:
            raise StorageFailure(f"{self._form.name} {self._path}: damaged: {len(owners)} owners")
        ((owner_network, owner),) = owners
        if owner_network != network:
            raise StorageFailure(
                f"{self._form.name} {self._path}: of network {owner_network.hex()}, not {network.hex()}"
            )
        if owner != member:
            raise StorageFailure(
                f"{self._form.name} {self._path}: of {address_text(owner)}, not {address_text(member)}"
            )
