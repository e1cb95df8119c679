"""The control store in a SQLite file, for servers of one machine."""

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from meridian.errors import StorageFailure
from meridian.node.control.sql_control import SqlControl

BUSY_S: Final = 10.0
"""How long one server waits for the others' transactions."""


def open_sqlite(path: Path, network: str) -> SqlControl:
    """Open the file, or make it.

    Args:
        path: The file; several processes may have it open.
        network: The network's id, hex.

    Raises:
        StorageFailure: If it cannot be opened, or the disk refuses.
    """
    lock = threading.Lock()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except (sqlite3.Error, OSError) as error:
        raise StorageFailure(f"{path}: {error}") from error

    def run(statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        try:
            with lock:
                return connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StorageFailure(f"{path}: {error}") from error

    return SqlControl(network, run, connection.close)
