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
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from meridian.ephemera.effects import Record
from meridian.node.owned_database import Form, OwnedDatabase
from meridian.primitives.ids import Address

FORM: Final = Form(
    name="safety log",
    application_id=0x4D45524C,  # "MERL"
    version=1,
    schema="""
CREATE TABLE record (
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (epoch, kind, key)
) STRICT, WITHOUT ROWID;
""",
)


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
        self._database = OwnedDatabase(path, FORM, network=network, member=member)
        self.created = self._database.created

    def write(self, records: Sequence[Record]) -> None:
        """Make all records durable in one transaction; a later record replaces one of the same key.

        Raises:
            StorageFailure: If they are not known to be durable; from then on every call raises.
        """

        def insert(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT OR REPLACE INTO record (epoch, kind, key, value) VALUES (?, ?, ?, ?)",
                [(r.epoch, r.kind, r.key, r.value) for r in records],
            )

        self._database.write(insert)

    def load(self, epoch: int) -> tuple[Record, ...]:
        """Return the records of an epoch, ordered by (kind, key).

        Raises:
            StorageFailure: If they cannot be read.
        """
        rows = self._database.rows(
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
            rows = self._database.rows(sql, epoch, kind)
        else:
            sql = "SELECT epoch, kind, key, value FROM record WHERE epoch = ? AND kind = ? AND key = ?"
            rows = self._database.rows(sql, epoch, kind, key)
        return tuple(Record(*row) for row in rows)

    def epochs(self) -> tuple[int, ...]:
        """Return the epochs that have records, ascending."""
        return tuple(
            row[0] for row in self._database.rows("SELECT DISTINCT epoch FROM record ORDER BY 1")
        )

    def forget_before(self, epoch: int) -> None:
        """Delete the records of epochs before `epoch`: only for epochs whose report is final on chain.

        Raises:
            StorageFailure: As `write`.
        """

        def delete(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM record WHERE epoch < ?", (epoch,))

        self._database.write(delete)

    def close(self) -> None:
        """Release the database; everything written is durable already."""
        self._database.close()
