"""One SQLite database of one process: opened durably by its owner, read by anybody who only looks.

WAL and ``synchronous=FULL``: what a call has written is on the disk when it returns. Calls may come from any thread, one
after the other. Nothing is ever wiped: a file of another schema is refused.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from meridian.errors import NotFound, StorageFailure
from meridian.node.durable_file import sync_directory

SCHEMA_VERSION: Final = 1
_BUSY_S: Final = 5.0


class Database:
    """An open database.

    Args:
        path: Its file; the directory is made.
        application: Four bytes that say what the file is.
        schema: The statements that make its tables.

    Raises:
        StorageFailure: If it cannot be opened, is damaged or is something else.
    """

    def __init__(self, path: Path, application: int, schema: str) -> None:
        self._lock = threading.Lock()
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._prepare(application, schema)
        except (sqlite3.Error, OSError) as error:
            raise StorageFailure(f"{path}: {error}") from error

    def _prepare(self, application: int, schema: str) -> None:
        connection = self._connection
        found = tuple(
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version")
        )
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if (*found, tables) == (0, 0, 0):
            connection.executescript(
                f"BEGIN IMMEDIATE; PRAGMA application_id={application};"
                f"PRAGMA user_version={SCHEMA_VERSION}; {schema} COMMIT;"
            )
            sync_directory(self._path.parent)
        elif found != (application, SCHEMA_VERSION):
            raise StorageFailure(f"{self._path}: another database, or of another version")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, alone: all of it is durable at the end of the block, or nothing after an error.

        Raises:
            StorageFailure: If the disk refused.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise StorageFailure(f"{self._path}: {error}") from error

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        Raises:
            StorageFailure: If the database cannot be read.
        """
        with self._lock:
            return _query(self._connection, self._path, sql, values)

    def close(self) -> None:
        """Release the database."""
        with self._lock:
            self._connection.close()


class ReadOnlyDatabase:
    """A database that is only looked at, while its owner runs or not; changes nothing.

    Raises:
        NotFound: If there is no such file.
        StorageFailure: If it is not what it should be.
    """

    def __init__(self, path: Path, application: int) -> None:
        if not path.exists():
            raise NotFound(f"{path}: no such database")
        self._path = path
        try:
            self._connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S
            )
            (found,) = self._connection.execute("PRAGMA application_id").fetchone()
        except sqlite3.Error as error:
            raise StorageFailure(f"{path}: {error}") from error
        if found != application:
            self._connection.close()
            raise StorageFailure(f"{path}: another database")

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query; raises StorageFailure."""
        return _query(self._connection, self._path, sql, values)

    def close(self) -> None:
        """Release the database."""
        self._connection.close()


def _query(
    connection: sqlite3.Connection, path: Path, sql: str, values: tuple[Any, ...]
) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(sql, values).fetchall()
    except sqlite3.Error as error:
        raise StorageFailure(f"{path}: {error}") from error
