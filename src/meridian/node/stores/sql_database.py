"""The two databases of the table store, behind the few things that they must do alike: statements, in a transaction.

SQL is written once, with ``?`` for values and ``{bytes}`` for the type of byte strings. A transaction holds a lock, so what
is read in it stays true until it ends.
"""

import contextlib
import importlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from meridian.errors import InvalidInput, RemoteFault, StorageFailure

Row = tuple[Any, ...]
Execute = Callable[[str, Sequence[object]], list[Row]]

WAIT_S: Final = 10
"""For the other writer's transaction, and for the server to answer a connection."""


class Database(Protocol):
    """A database with one connection; threads take turns."""

    bytes_type: str
    """The column type of byte strings."""

    def transaction(self, lock: int | None = None) -> contextlib.AbstractContextManager[Execute]:
        """Run statements; they become durable together when the context ends without an error.

        Args:
            lock: A number of 63 bits: no other transaction with it runs at the same time; None: only reads.
        """

    def close(self) -> None:
        """Close the connection."""


class SqliteDatabase:
    """A SQLite file, made when absent.

    Args:
        path: The file.

    Raises:
        StorageFailure: If it cannot be opened.
    """

    bytes_type = "BLOB"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.Lock()
        try:
            self._connection = sqlite3.connect(
                path, timeout=WAIT_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error as error:
            raise StorageFailure(f"{path}: {error}") from error

    @contextlib.contextmanager
    def transaction(self, lock: int | None = None) -> Iterator[Execute]:
        """Run statements; a writer keeps all others out of the file."""

        def execute(sql: str, values: Sequence[object]) -> list[Row]:
            return self._connection.execute(sql, values).fetchall()

        with self._mutex:
            try:
                self._connection.execute("BEGIN" if lock is None else "BEGIN IMMEDIATE")
                try:
                    yield execute
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise StorageFailure(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        with self._mutex:
            self._connection.close()


class PostgresDatabase:
    """A PostgreSQL database; a lost connection is made again at the next transaction.

    Args:
        conninfo: A connection string or URL of libpq, such as ``host=/run/postgresql dbname=meridian``.

    Raises:
        InvalidInput: If the optional driver is not installed.
        RemoteFault: If the server does not answer.
    """

    bytes_type = "BYTEA"

    def __init__(self, conninfo: str) -> None:
        try:
            self._driver: Any = importlib.import_module("psycopg")
        except ImportError:
            raise InvalidInput(
                "store", "PostgreSQL needs psycopg: pip install 'meridian-ie[postgres]'"
            ) from None
        self._conninfo = conninfo
        self._mutex = threading.Lock()
        self._connection: Any = None
        with self.transaction() as execute:
            execute("SELECT 1", ())

    @contextlib.contextmanager
    def transaction(self, lock: int | None = None) -> Iterator[Execute]:
        """Run statements; a writer holds the advisory lock of that number."""
        with self._mutex:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = self._driver.connect(
                        self._conninfo, autocommit=True, connect_timeout=WAIT_S
                    )
                with self._connection.transaction():
                    if lock is not None:
                        self._execute("SELECT pg_advisory_xact_lock(?)", (lock,))
                    yield self._execute
            except self._driver.Error as error:
                if self._connection is not None and self._connection.broken:
                    self._connection.close()
                raise RemoteFault(f"PostgreSQL: {str(error).strip()}") from error

    def close(self) -> None:
        """Close the connection."""
        with self._mutex:
            if self._connection is not None:
                self._connection.close()

    def _execute(self, sql: str, values: Sequence[object]) -> list[Row]:
        cursor = self._connection.execute(sql.replace("?", "%s"), values, binary=True)
        if cursor.description is None:
            return []
        return [tuple(map(_plain, row)) for row in cursor.fetchall()]


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview | bytearray) else value
