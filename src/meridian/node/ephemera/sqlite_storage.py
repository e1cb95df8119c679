"""Ephemera's storage in one SQLite database (WAL, ``synchronous=FULL``), exclusive to one process.

The rules of `storage` hold. Blocks, message index and key-value rows are written
in the transaction of the delivery that they follow from, so none of them can be missing after a crash.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from meridian.ephemera.broadcast.slot import DeliveryCertificate, Slot
from meridian.ephemera.context import Context
from meridian.ephemera.effects import Delivered, Durable, Forget, Persist, Record
from meridian.ephemera.messages.block import BLOCK_CHANNEL, MessageBlock
from meridian.ephemera.messages.message import Realm
from meridian.ephemera.messages.store_channel import STORE_CHANNEL, StoreEntry
from meridian.errors import StorageFailure
from meridian.node.ephemera.storage import (
    BlockQuery,
    FinalisedBlock,
    StorageCounts,
    StoredEntry,
)
from meridian.node.owned_database import Form, OwnedDatabase
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address

_FORM: Final = Form(
    name="storage",
    application_id=0x4D455250,  # "MERP"
    version=1,
    schema="""
CREATE TABLE progress (told_through INTEGER NOT NULL) STRICT;
INSERT INTO progress VALUES (0);
CREATE TABLE member_set (
    epoch INTEGER PRIMARY KEY, chain_id TEXT NOT NULL, contract BLOB NOT NULL, members BLOB NOT NULL
) STRICT;
CREATE TABLE record (
    epoch INTEGER NOT NULL, kind TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (epoch, kind, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE delivery (
    sequence INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, channel INTEGER NOT NULL,
    sender INTEGER NOT NULL, number INTEGER NOT NULL, payload BLOB NOT NULL, certificate BLOB NOT NULL,
    UNIQUE (epoch, channel, sender, number)
) STRICT;
CREATE TABLE block (
    hash BLOB PRIMARY KEY, sequence INTEGER NOT NULL UNIQUE, epoch INTEGER NOT NULL,
    creator BLOB NOT NULL, height INTEGER NOT NULL, created_ms INTEGER NOT NULL,
    UNIQUE (epoch, creator, height)
) STRICT, WITHOUT ROWID;
CREATE INDEX block_by_creator ON block (creator, sequence);
CREATE TABLE message (
    hash BLOB NOT NULL, epoch INTEGER NOT NULL, creator INTEGER NOT NULL,
    block BLOB NOT NULL, position INTEGER NOT NULL,
    PRIMARY KEY (hash, epoch, creator)
) STRICT, WITHOUT ROWID;
CREATE TABLE entry (
    key BLOB PRIMARY KEY, value BLOB NOT NULL, clock INTEGER NOT NULL, writer BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX entry_by_clock ON entry (clock);
""",
)

_BLOCK: Final = (
    "SELECT d.sequence, d.epoch, d.payload, d.certificate "
    "FROM block b JOIN delivery d ON d.sequence = b.sequence "
)


class SqliteStorage:
    """The open storage of one member; see `storage.Storage` for its methods."""

    def __init__(self, path: Path, *, network: bytes, member: Address) -> None:
        """Open or create the database at `path`.

        Args:
            path: The database file; its directory must exist.
            network: The 32 bytes of the network.
            member: The address whose key signs what is recorded here.

        Raises:
            StorageFailure: If the file cannot be opened, is damaged, is of another schema, belongs
                to another member or network, or is in use by another process.
        """
        self._network = network
        self._database = OwnedDatabase(path, _FORM, network=network, member=member)
        self._write, self._rows = self._database.write, self._database.rows
        ((self._told_through,),) = self._rows("SELECT told_through FROM progress")
        self._contexts: dict[int, Context] = {}
        self._frontiers: dict[int, dict[tuple[int, int], int]] = {}
        self._read_member_sets()

    @property
    def created(self) -> bool:
        """See `Storage`."""
        return self._database.created

    @property
    def failure(self) -> str | None:
        """See `Storage`."""
        return self._database.failure

    def close(self) -> None:
        """See `Storage`."""
        self._database.close()

    def _read_member_sets(self) -> None:
        rows = self._rows("SELECT epoch, chain_id, contract, members FROM member_set")
        for epoch, chain_id, contract, members in rows:
            addresses = tuple(Address(members[i : i + 20]) for i in range(0, len(members), 20))
            domain = Domain(chain_id=int(chain_id), contract=Address(contract))
            self._contexts[epoch] = Context(domain, self._network, epoch, addresses)

    # --- member sets and records ---

    def remember_member_set(self, context: Context) -> None:
        """See `Storage`."""
        known = self._contexts.get(context.epoch)
        if known is not None:
            if known != context:
                raise StorageFailure(f"member set {context.epoch}: another one is stored")
            return
        row = (
            context.epoch,
            str(context.domain.chain_id),
            context.domain.contract,
            b"".join(context.members),
        )
        self._write(lambda c: c.execute("INSERT INTO member_set VALUES (?, ?, ?, ?)", row))
        self._contexts[context.epoch] = context

    def member_set(self, epoch: int) -> Context | None:
        """See `Storage`."""
        return self._contexts.get(epoch)

    def member_sets(self) -> tuple[int, ...]:
        """See `Storage`."""
        return tuple(sorted(self._contexts))

    def load(self, epoch: int) -> tuple[Record, ...]:
        """See `Storage`."""
        rows = self._rows(
            "SELECT epoch, kind, key, value FROM record WHERE epoch = ? ORDER BY kind, key", epoch
        )
        return tuple(Record(*row) for row in rows)

    def forget_records(self, epoch: int) -> None:
        """See `Storage`."""
        self._write(lambda c: c.execute("DELETE FROM record WHERE epoch = ?", (epoch,)))

    # --- what the core makes durable ---

    def commit(self, run: Sequence[Durable], told_through: int) -> tuple[FinalisedBlock, ...]:
        """See `Storage`."""

        def work(connection: sqlite3.Connection) -> tuple[FinalisedBlock, ...]:
            blocks = []
            for effect in run:
                if isinstance(effect, Persist):
                    r = effect.record
                    connection.execute(
                        "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)",
                        (r.epoch, r.kind, r.key, r.value),
                    )
                    continue
                if isinstance(effect, Forget):
                    connection.execute(
                        "DELETE FROM record WHERE epoch = ? AND kind = ? AND key = ?",
                        (effect.epoch, effect.kind, effect.key),
                    )
                    continue
                block = self._write_delivery(connection, effect)
                if block is not None:
                    blocks.append(block)
            self._write_told(connection, told_through)
            return tuple(blocks)

        blocks = self._write(work)
        for effect in run:
            if isinstance(effect, Delivered) and effect.epoch in self._frontiers:
                slot = effect.slot
                self._frontiers[effect.epoch][slot.channel, slot.sender] = slot.number
        return blocks

    def _write_delivery(
        self, connection: sqlite3.Connection, effect: Delivered
    ) -> FinalisedBlock | None:
        context, slot = self._contexts[effect.epoch], effect.slot
        sequence = connection.execute(
            "INSERT INTO delivery (epoch, channel, sender, number, payload, certificate)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                effect.epoch,
                slot.channel,
                slot.sender,
                slot.number,
                effect.payload,
                effect.certificate.encode(),
            ),
        ).lastrowid
        assert sequence is not None
        connection.execute(
            "DELETE FROM record WHERE epoch = ? AND key = ?", (effect.epoch, slot.key())
        )
        if slot.channel == STORE_CHANNEL:
            _write_entry(
                connection, StoreEntry.decode(effect.payload), context.members[slot.sender]
            )
        if slot.channel != BLOCK_CHANNEL:
            return None
        block = MessageBlock.decode(effect.payload)
        header = block.header
        connection.execute(
            "INSERT INTO block VALUES (?, ?, ?, ?, ?, ?)",
            (
                block.hash,
                sequence,
                effect.epoch,
                context.members[header.creator],
                header.height,
                header.created_ms,
            ),
        )
        realm = Realm(context.domain, context.network)
        # A message may stand again in a later block of the same creator, if that one is faulty: the first counts.
        connection.executemany(
            "INSERT OR IGNORE INTO message VALUES (?, ?, ?, ?, ?)",
            [
                (name, effect.epoch, header.creator, block.hash, position)
                for position, name in enumerate(block.message_hashes(realm))
            ],
        )
        return FinalisedBlock(sequence, context, block, effect.certificate)

    def _write_told(self, connection: sqlite3.Connection, sequence: int) -> None:
        if sequence > self._told_through:
            connection.execute("UPDATE progress SET told_through = ?", (sequence,))
            self._told_through = sequence

    def note_told(self, sequence: int) -> None:
        """See `Storage`."""
        if sequence > self._told_through:
            self._write(lambda c: self._write_told(c, sequence))

    def untold(self, limit: int) -> tuple[FinalisedBlock, ...]:
        """See `Storage`."""
        return self.blocks(BlockQuery(after=self._told_through, limit=limit))

    # --- Archive: what the core asks ---

    def frontiers(self, epoch: int) -> Mapping[tuple[int, int], int]:
        """See `Archive`."""
        if epoch not in self._frontiers:
            rows = self._rows(
                "SELECT channel, sender, max(number) FROM delivery WHERE epoch = ?"
                " GROUP BY channel, sender",
                epoch,
            )
            self._frontiers[epoch] = {(row[0], row[1]): row[2] for row in rows}
        return dict(self._frontiers[epoch])

    def delivery(self, epoch: int, slot: Slot) -> tuple[bytes, DeliveryCertificate] | None:
        """See `Archive`."""
        rows = self._rows(
            "SELECT payload, certificate FROM delivery"
            " WHERE epoch = ? AND channel = ? AND sender = ? AND number = ?",
            epoch,
            slot.channel,
            slot.sender,
            slot.number,
        )
        return (rows[0][0], DeliveryCertificate.decode(rows[0][1])) if rows else None

    def contains_message(self, epoch: int, creator: int, message_hash: bytes) -> bool:
        """See `Archive`."""
        return bool(
            self._rows(
                "SELECT 1 FROM message WHERE hash = ? AND epoch = ? AND creator = ?",
                message_hash,
                epoch,
                creator,
            )
        )

    def store_clock(self) -> int:
        """See `Archive`: the highest clock of all always is the highest of its key, so it is in a row."""
        return int(self._rows("SELECT coalesce(max(clock), 0) FROM entry")[0][0])

    # --- what users ask ---

    def block(self, block_hash: bytes) -> FinalisedBlock | None:
        """See `Storage`."""
        return self._one(_BLOCK + "WHERE b.hash = ?", block_hash)

    def block_at(self, epoch: int, creator: Address, height: int) -> FinalisedBlock | None:
        """See `Storage`."""
        return self._one(
            _BLOCK + "WHERE b.epoch = ? AND b.creator = ? AND b.height = ?", epoch, creator, height
        )

    def last_block(self, creator: Address | None = None) -> FinalisedBlock | None:
        """See `Storage`."""
        order = "ORDER BY b.sequence DESC LIMIT 1"
        if creator is None:
            return self._one(_BLOCK + order)
        return self._one(_BLOCK + "WHERE b.creator = ? " + order, creator)

    def blocks(self, query: BlockQuery) -> tuple[FinalisedBlock, ...]:
        """See `Storage`."""
        where, values = ["b.sequence > ?", "b.height >= ?"], [query.after, query.from_height]
        if query.epoch is not None:
            where.append("b.epoch = ?")
            values.append(query.epoch)
        wanted: list[object] = list(values)
        if query.creator is not None:
            where.append("b.creator = ?")
            wanted.append(query.creator)
        sql = f"{_BLOCK} WHERE {' AND '.join(where)} ORDER BY b.sequence LIMIT ?"
        rows = self._database.rows_within(query.bytes_max, 2, sql, *wanted, query.limit)
        return tuple(self._finalised(row) for row in rows)

    def find_message(self, message_hash: bytes) -> tuple[bytes, int] | None:
        """See `Storage`."""
        rows = self._rows(
            "SELECT m.block, m.position FROM message m JOIN block b ON b.hash = m.block"
            " WHERE m.hash = ? ORDER BY b.sequence LIMIT 1",
            message_hash,
        )
        return (rows[0][0], rows[0][1]) if rows else None

    def entry(self, key: bytes) -> StoredEntry | None:
        """See `Storage`."""
        rows = self._rows("SELECT value, clock, writer FROM entry WHERE key = ?", key)
        if not rows or not rows[0][0]:  # An empty value says that there is none any more.
            return None
        return StoredEntry(rows[0][0], rows[0][1], Address(rows[0][2]))

    def counts(self) -> StorageCounts:
        """See `Storage`."""
        creators = self._rows("SELECT creator, count(*) FROM block GROUP BY creator")
        ((entries,),) = self._rows("SELECT count(*) FROM entry")
        ((deliveries,),) = self._rows("SELECT coalesce(max(sequence), 0) FROM delivery")
        by_creator = {Address(creator): count for creator, count in creators}
        return StorageCounts(sum(by_creator.values()), entries, deliveries, by_creator)

    def _one(self, sql: str, *values: object) -> FinalisedBlock | None:
        rows = self._rows(sql, *values)
        return self._finalised(rows[0]) if rows else None

    def _finalised(self, row: tuple[int, int, bytes, bytes]) -> FinalisedBlock:
        sequence, epoch, payload, certificate = row
        return FinalisedBlock(
            sequence,
            self._contexts[epoch],
            MessageBlock.decode(payload),
            DeliveryCertificate.decode(certificate),
        )


def _write_entry(connection: sqlite3.Connection, entry: StoreEntry, writer: Address) -> None:
    """Keep the entry if its rank is the highest of its key (`StoreEntry.rank`): the same on all members, in any order."""
    connection.execute(
        "INSERT INTO entry VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE"
        " SET value = excluded.value, clock = excluded.clock, writer = excluded.writer"
        " WHERE (excluded.clock, excluded.writer, excluded.value) > (entry.clock, entry.writer, entry.value)",
        (entry.key, entry.value, entry.clock, writer),
    )
