"""A table that belongs to a key, in the manner of Tableland, over SQLite or PostgreSQL.

    meridian_statements   table_id 32 | sequence | kind (put, delete) | object 32 | signature 64
    meridian_objects      table_id 32 | object 32 | data

Reading is public: whoever can query the database reads. Writing is public by the owner's signature: every row of
`meridian_statements` is signed by the owner (EIP-712), anybody may carry it to the database (`submit`), and without that
signature it is no statement: readers recover the signer of what they use. Deleting is private: only the owner does it,
by a signed statement too, and the data are gone then.

Law: sequences are gapless from 0, and what stands is what the last statement about an object says. So whoever runs the
database can neither add, change nor silently remove rows in the middle; the newest statements it can withhold, as
any server can (`statements` returns them all, to compare with one's own).

Limits: Tableland keeps its tables by smart contract and replays every chain event in each validator; here one database
holds them, and the owner's key stands where the contract's does. An object is at most 256 MiB, as it is one value.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from meridian.errors import InvalidInput, NotFound, StorageFailure
from meridian.node.stores.signed_chain import DOMAIN
from meridian.node.stores.sql_database import Database, Execute
from meridian.node.stores.store import bounded, checked
from meridian.primitives import eip712
from meridian.primitives.cid import cid_text
from meridian.primitives.eip712 import StructType
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, address_text
from meridian.primitives.keys import PrivateKey, signed_by

ROW_BYTES_MAX: Final = 256 << 20

Kind = Literal["put", "delete"]
_Column = Literal["data", "length(data)"]

TABLE_STATEMENT: Final = StructType(
    "TableStatement",
    (
        ("owner", "address"),
        ("table", "bytes32"),
        ("sequence", "uint64"),
        ("kind", "string"),
        ("object", "bytes32"),
    ),
)
_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS meridian_statements (
    table_id {bytes} NOT NULL, sequence BIGINT NOT NULL, kind TEXT NOT NULL, object {bytes} NOT NULL,
    signature {bytes} NOT NULL, PRIMARY KEY (table_id, sequence))""",
    """CREATE INDEX IF NOT EXISTS meridian_statements_by_object
    ON meridian_statements (table_id, object, sequence)""",
    """CREATE TABLE IF NOT EXISTS meridian_objects (
    table_id {bytes} NOT NULL, object {bytes} NOT NULL, data {bytes} NOT NULL,
    PRIMARY KEY (table_id, object))""",
)
_SCHEMA_LOCK: Final = 0x6D65726964  # before there are tables there is no table's own lock


@dataclass(frozen=True, slots=True)
class TableName:
    """Which table: whose, and with which name."""

    owner: Address
    name: str

    @property
    def id(self) -> bytes:
        """The 32 bytes that stand for the table in rows and statements."""
        return sha256(b"meridian table", self.owner, self.name.encode())


@dataclass(frozen=True, slots=True)
class Statement:
    """One change of a table, signed by its owner."""

    sequence: int
    kind: Kind
    object: bytes
    signature: bytes


def sign_statement(
    table: TableName, key: PrivateKey, sequence: int, kind: Kind, digest: bytes
) -> Statement:
    """Return a statement that anybody may carry to the database."""
    return Statement(sequence, kind, digest, key.sign(_signed(table, sequence, kind, digest)))


class SqlStore:
    """An `ObjectStore` in a table.

    Args:
        database: Where the table is; closed with the store.
        table: Which one.
        key: The owner's; None: reads, and carries what the owner signed.
        bytes_max: The longest object.

    Raises:
        InvalidInput: If the key is not the owner's.
        StorageFailure: If SQLite refuses.
        RemoteFault: If PostgreSQL does.
    """

    append_only: Final = False

    def __init__(
        self,
        database: Database,
        table: TableName,
        key: PrivateKey | None,
        bytes_max: int = ROW_BYTES_MAX,
    ) -> None:
        if key is not None and key.address != table.owner:
            raise InvalidInput("key", "not that of the table's owner")
        self._database, self._table, self._key = database, table, key
        self._bytes_max = min(bytes_max, ROW_BYTES_MAX)
        self._lock = int.from_bytes(table.id[:8], "big") >> 1
        with database.transaction(_SCHEMA_LOCK) as execute:
            for sql in _SCHEMA:
                execute(sql.format(bytes=database.bytes_type), ())

    def put(self, data: bytes) -> bytes:
        """Insert an object; one that stands already with the right length stays."""
        digest = bounded(data, self._bytes_max)
        with self._database.transaction(self._lock) as execute:
            if self._standing(execute, digest) is None:
                self._apply(execute, self._sign(execute, "put", digest), data)
            elif self._length(execute, digest) != len(data):
                self._write(execute, digest, data)
        return digest

    def submit(self, statement: Statement, data: bytes = b"") -> None:
        """Carry a statement of the owner's to the table; no key is needed.

        Args:
            statement: Signed by the owner, and the next in the table.
            data: The object of a ``put``.

        Raises:
            InvalidInput: If it is not the owner's, or not the next, or `data` are not its object.
        """
        if statement.kind == "put" and bounded(data, self._bytes_max) != statement.object:
            raise InvalidInput("data", "not the statement's object")
        self._check(statement, InvalidInput)
        with self._database.transaction(self._lock) as execute:
            due = self._next(execute)
            if statement.sequence != due:
                raise InvalidInput("sequence", f"{statement.sequence}, and {due} is the next")
            self._apply(execute, statement, data)

    def get(self, digest: bytes) -> bytes:
        """Return an object that the owner put, checked."""
        with self._database.transaction() as execute:
            standing = self._standing(execute, digest)
            rows = self._rows(execute, "data", digest)
        if standing is None:
            raise NotFound(f"table {self._table.name!r}: no {cid_text(digest)}")
        if not rows:
            raise StorageFailure(
                f"table {self._table.name!r}: {cid_text(digest)} is damaged: its row is gone, and its"
                " owner did not delete it"
            )
        return checked(rows[0], digest, f"table {self._table.name!r}")

    def has(self, digest: bytes) -> bool:
        """Tell whether the object stands and its row is there."""
        with self._database.transaction() as execute:
            standing = self._standing(execute, digest)
            return standing is not None and self._length(execute, digest) is not None

    def digests(self) -> Iterator[bytes]:
        """Yield the digests of the objects that stand."""
        standing: dict[bytes, None] = {}
        for statement in self.statements():
            if statement.kind == "put":
                standing[statement.object] = None
            else:
                standing.pop(statement.object, None)
        yield from standing

    def statements(self) -> list[Statement]:
        """Return all statements in order, each signature checked.

        Raises:
            StorageFailure: If one is missing or not the owner's.
        """
        with self._database.transaction() as execute:
            rows = execute(
                "SELECT sequence, kind, object, signature FROM meridian_statements WHERE table_id = ?"
                " ORDER BY sequence",
                (self._table.id,),
            )
        found = [Statement(*row) for row in rows]
        for place, statement in enumerate(found):
            if statement.sequence != place:
                raise StorageFailure(f"table {self._table.name!r}: statement {place} is missing")
            self._check(statement, StorageFailure)
        return found

    def delete(self, digest: bytes) -> None:
        """Delete an object, as its owner; of other owners' tables nothing is deleted (`InvalidInput`)."""
        with self._database.transaction(self._lock) as execute:
            if self._standing(execute, digest) is not None:
                self._apply(execute, self._sign(execute, "delete", digest), b"")

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    # -- inside ---------------------------------------------------------------------------------------

    def _sign(self, execute: Execute, kind: Kind, digest: bytes) -> Statement:
        if self._key is None:
            raise InvalidInput("key", f"only {address_text(self._table.owner)} changes this table")
        return sign_statement(self._table, self._key, self._next(execute), kind, digest)

    def _apply(self, execute: Execute, statement: Statement, data: bytes) -> None:
        execute(
            "INSERT INTO meridian_statements VALUES (?, ?, ?, ?, ?)",
            (
                self._table.id,
                statement.sequence,
                statement.kind,
                statement.object,
                statement.signature,
            ),
        )
        if statement.kind == "put":
            self._write(execute, statement.object, data)
        else:
            self._remove(execute, statement.object)

    def _write(self, execute: Execute, digest: bytes, data: bytes) -> None:
        self._remove(execute, digest)
        execute("INSERT INTO meridian_objects VALUES (?, ?, ?)", (self._table.id, digest, data))

    def _remove(self, execute: Execute, digest: bytes) -> None:
        execute(
            "DELETE FROM meridian_objects WHERE table_id = ? AND object = ?",
            (self._table.id, digest),
        )

    def _next(self, execute: Execute) -> int:
        rows = execute(
            "SELECT COALESCE(MAX(sequence) + 1, 0) FROM meridian_statements WHERE table_id = ?",
            (self._table.id,),
        )
        return int(rows[0][0])

    def _standing(self, execute: Execute, digest: bytes) -> Statement | None:
        """Return the owner's statement by which an object stands; None if it does not."""
        rows = execute(
            "SELECT sequence, kind, object, signature FROM meridian_statements"
            " WHERE table_id = ? AND object = ? ORDER BY sequence DESC LIMIT 1",
            (self._table.id, digest),
        )
        if not rows:
            return None
        statement = Statement(*rows[0])
        self._check(statement, StorageFailure)
        return statement if statement.kind == "put" else None

    def _length(self, execute: Execute, digest: bytes) -> int | None:
        rows = self._rows(execute, "length(data)", digest)
        return int(rows[0]) if rows else None

    def _rows(self, execute: Execute, column: _Column, digest: bytes) -> list[Any]:
        sql = f"SELECT {column} FROM meridian_objects WHERE table_id = ? AND object = ?"  # noqa: S608 - one of two
        return [row[0] for row in execute(sql, (self._table.id, digest))]

    def _check(self, statement: Statement, error: type[StorageFailure | InvalidInput]) -> None:
        if statement.kind in {"put", "delete"} and signed_by(
            _signed(self._table, statement.sequence, statement.kind, statement.object),
            statement.signature,
            self._table.owner,
        ):
            return
        reason = (
            f"statement {statement.sequence} is not signed by {address_text(self._table.owner)}"
        )
        if error is InvalidInput:
            raise InvalidInput("signature", reason)
        raise StorageFailure(f"table {self._table.name!r}: {reason}")


def _signed(table: TableName, sequence: int, kind: Kind, digest: bytes) -> bytes:
    values = (table.owner, table.id, sequence, kind, digest)
    return eip712.digest(DOMAIN, TABLE_STATEMENT.hash(*values))
