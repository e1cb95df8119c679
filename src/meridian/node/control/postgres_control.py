"""The control store in PostgreSQL, for servers of several machines (`pip install meridian-ie[postgres]`)."""

import threading
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from meridian.errors import InvalidInput, RemoteFault
from meridian.node.control.sql_control import SqlControl

CONNECT_S: Final = 5
STATEMENT_MS: Final = 10_000


class _Database:
    """One connection, made anew when it was lost; threads take turns."""

    def __init__(self, url: str) -> None:
        try:
            import psycopg  # noqa: PLC0415 - an extra
        except ImportError:
            raise InvalidInput(
                "control_url", "psycopg is not installed: pip install meridian-ie[postgres]"
            ) from None
        self._driver, self._url = psycopg, url
        self._lock = threading.Lock()
        self._connection: Any = None

    def run(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """Run one statement; a connection that was lost meanwhile is made anew once."""
        with self._lock:
            try:
                return self._once(statement, values)
            except self._driver.OperationalError:
                self._drop()
            except self._driver.Error as error:
                raise RemoteFault(f"PostgreSQL: {error}") from error
            try:
                return self._once(statement, values)
            except self._driver.Error as error:
                self._drop()
                raise RemoteFault(f"PostgreSQL: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _once(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = self._driver.connect(
                self._url,
                autocommit=True,
                connect_timeout=CONNECT_S,
                options=f"-c statement_timeout={STATEMENT_MS} -c synchronous_commit=on",
            )
        found = self._connection.execute(statement.replace("?", "%s"), values)
        return [] if found.description is None else list(found.fetchall())

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def open_postgres(url: str, network: str) -> SqlControl:
    """Open the store in a database, and make its tables where they are missing.

    Args:
        url: ``postgresql://user@host:port/database``, without a password: that stands in the file of ``PGPASSFILE``.
        network: The network's id, hex.

    Raises:
        InvalidInput: If the URL is none, or holds a password, or psycopg is not installed.
        RemoteFault: If the database cannot be reached.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise InvalidInput("control_url", f"{parts.scheme or url!r}: postgresql://... is known")
    if parts.password is not None:
        raise InvalidInput("control_url", "a password belongs into a file that PGPASSFILE names")
    database = _Database(url)
    return SqlControl(network, database.run, database.close)
