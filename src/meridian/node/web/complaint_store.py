"""Complaints in SQLite: durable before they are acknowledged, each once, in bounded number.

The server and the commands of its operator may have the file open at the same time.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from meridian.errors import InvalidInput, NotFound, Overloaded, StorageFailure
from meridian.node.durable_file import sync_directory
from meridian.node.web.proven import Proven
from meridian.primitives.ids import Address, NodeKey, address_text

COMPLAINTS_MAX: Final = 100_000
PER_NODE_MAX: Final = 50
FULL_RETRY_S: Final = 3_600
ANSWER_BYTES_MAX: Final = 4_000
LISTED_MAX: Final = 10_000
_BUSY_S: Final = 5.0
_APPLICATION_ID: Final = int.from_bytes(b"Mcmp", "big")
_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE complaint (
    id BLOB PRIMARY KEY,
    node_key BLOB NOT NULL,
    node_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    text TEXT NOT NULL,
    at_s INTEGER NOT NULL,
    signer BLOB NOT NULL,
    signature BLOB NOT NULL,
    received_s INTEGER NOT NULL,
    answer TEXT,
    proved INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX complaint_node ON complaint (node_key);
CREATE INDEX complaint_epoch ON complaint (epoch);
"""
_ALL: Final = "SELECT * FROM complaint"
_INSERT: Final = "INSERT INTO complaint VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredComplaint:
    """One complaint with what became of it."""

    id: bytes
    """The digest that was signed."""
    node_key: NodeKey
    node_id: str
    epoch: int
    text: str
    at_s: int
    signer: Address
    signature: bytes
    """64 bytes (EIP-2098)."""
    received_s: int
    answer: str | None = None
    proved: bool = False
    """Whether a dispute has shown that what the epoch says of the node was wrong."""

    @property
    def state(self) -> str:
        """``proved``, ``answered`` or ``open``."""
        if self.proved:
            return "proved"
        return "open" if self.answer is None else "answered"

    def document(self) -> dict[str, Any]:
        """Return it as the pages read it; the signature lets anyone check who said it."""
        return {
            "id": self.id.hex(),
            "epoch": self.epoch,
            "nodeId": self.node_id,
            "nodeKey": self.node_key.hex(),
            "text": self.text,
            "signer": address_text(self.signer),
            "atS": self.at_s,
            "signature": "0x" + self.signature.hex(),
            "state": self.state,
            "answer": self.answer,
        }


class ComplaintStore:
    """The open file; calls may come from any thread."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            StorageFailure: If it cannot be opened or is some other database.
        """
        self._path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
        except (sqlite3.Error, OSError) as error:
            raise StorageFailure(f"complaints {path}: {error}") from error
        try:
            with self._failing_named():
                self._initialise()
        except StorageFailure:
            self._connection.close()
            raise

    def _initialise(self) -> None:
        run = self._connection.execute
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        run("BEGIN IMMEDIATE")
        ((application,), (version,)) = (
            run("PRAGMA application_id").fetchone(),
            run("PRAGMA user_version").fetchone(),
        )
        (tables,) = run("SELECT count(*) FROM sqlite_schema").fetchone()
        if (application, version, tables) == (0, 0, 0):
            run(f"PRAGMA application_id={_APPLICATION_ID}")
            run(f"PRAGMA user_version={_VERSION}")
            for statement in filter(str.strip, _SCHEMA.split(";")):
                run(statement)
            sync_directory(self._path.parent)
        elif (application, version) != (_APPLICATION_ID, _VERSION):
            raise StorageFailure(f"complaints {self._path}: this is some other database")
        run("COMMIT")

    @contextlib.contextmanager
    def _failing_named(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StorageFailure(f"complaints {self._path}: {error}") from error
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file; everything acknowledged is durable already."""
        with self._lock:
            self._connection.close()

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock, self._failing_named():
            self._connection.execute("BEGIN IMMEDIATE")
            result = work(self._connection)
            self._connection.execute("COMMIT")
            return result

    def _read(self, query: str, *values: Any) -> list[StoredComplaint]:
        with self._lock, self._failing_named():
            rows = self._connection.execute(f"{_ALL} {query}", values)
            return [_complaint(row) for row in rows]

    def add(self, complaint: StoredComplaint) -> bool:
        """Keep a complaint; returns whether it is new. It is durable when this returns.

        Raises:
            InvalidInput: If the node has complained too often.
            Overloaded: If the store is full.
            StorageFailure: If the disk refuses.
        """

        def insert(connection: sqlite3.Connection) -> bool:
            if connection.execute(
                "SELECT 1 FROM complaint WHERE id = ?", (complaint.id,)
            ).fetchone():
                return False
            (of_node,) = connection.execute(
                "SELECT count(*) FROM complaint WHERE node_key = ?", (complaint.node_key,)
            ).fetchone()
            if of_node >= PER_NODE_MAX:
                raise InvalidInput("nodeKey", f"the node has complained {PER_NODE_MAX} times")
            (all_of_them,) = connection.execute("SELECT count(*) FROM complaint").fetchone()
            if all_of_them >= COMPLAINTS_MAX:
                raise Overloaded(FULL_RETRY_S, "no more complaints can be kept")
            connection.execute(_INSERT, _row(complaint))
            return True

        return self._transact(insert)

    def get(self, complaint_id: bytes) -> StoredComplaint | None:
        """Return a complaint by its id, if it is there."""
        found = self._read("WHERE id = ?", complaint_id)
        return found[0] if found else None

    def find(self, prefix: str) -> StoredComplaint:
        """Return the complaint whose id begins with these hex digits.

        Raises:
            InvalidInput: If it is no hex, or several begin so.
            NotFound: If none does.
        """
        digits = prefix.removeprefix("0x").lower()
        if not digits or set(digits) - set("0123456789abcdef"):
            raise InvalidInput("id", f"{prefix[:80]!r} is not hex digits")
        found = self._read("WHERE substr(lower(hex(id)), 1, ?) = ? LIMIT 2", len(digits), digits)
        if not found:
            raise NotFound(f"no complaint {prefix[:80]}")
        if len(found) > 1:
            raise InvalidInput(
                "id", f"several complaints begin with {prefix[:80]}: give more of it"
            )
        return found[0]

    def newest(self, limit: int = LISTED_MAX) -> list[StoredComplaint]:
        """Return the newest complaints, newest first."""
        return self._read("ORDER BY received_s DESC, id LIMIT ?", limit)

    def answer(self, complaint_id: bytes, text: str) -> None:
        """Keep the operator's answer; a later one takes its place.

        Raises:
            InvalidInput: If it is empty or too long.
        """
        if not text.strip() or len(text.encode()) > ANSWER_BYTES_MAX:
            raise InvalidInput("answer", f"1 to {ANSWER_BYTES_MAX} bytes are accepted")
        self._transact(
            lambda connection: connection.execute(
                "UPDATE complaint SET answer = ? WHERE id = ?", (text, complaint_id)
            )
        )

    def prove(self, proven: Collection[Proven]) -> int:
        """Note what disputes have proved; returns how many complaints are proved by that.

        Args:
            proven: Each proves the complaints of its node about its epoch; without a node, all about the epoch.
        """

        def note(connection: sqlite3.Connection) -> int:
            return sum(
                connection.execute(
                    "UPDATE complaint SET proved = 1 WHERE epoch = ? AND node_key = coalesce(?, node_key)"
                    " AND proved = 0",
                    (one.epoch, one.node),
                ).rowcount
                for one in proven
            )

        return self._transact(note) if proven else 0

    def counts(self) -> dict[str, int]:
        """Return how many complaints are in each state."""
        with self._lock, self._failing_named():
            rows = self._connection.execute(
                "SELECT CASE WHEN proved THEN 'proved' WHEN answer IS NULL THEN 'open'"
                " ELSE 'answered' END AS state, count(*) FROM complaint GROUP BY state"
            ).fetchall()
        return {"open": 0, "answered": 0, "proved": 0} | dict(rows)


def _row(one: StoredComplaint) -> tuple[Any, ...]:
    return (
        one.id,
        one.node_key,
        one.node_id,
        one.epoch,
        one.text,
        one.at_s,
        one.signer,
        one.signature,
        one.received_s,
        one.answer,
        int(one.proved),
    )


def _complaint(row: tuple[Any, ...]) -> StoredComplaint:
    return StoredComplaint(
        id=bytes(row[0]),
        node_key=NodeKey(bytes(row[1])),
        node_id=row[2],
        epoch=row[3],
        text=row[4],
        at_s=row[5],
        signer=Address(bytes(row[6])),
        signature=bytes(row[7]),
        received_s=row[8],
        answer=row[9],
        proved=bool(row[10]),
    )
