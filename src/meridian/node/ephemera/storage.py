"""What Ephemera's shell needs of a database.

Law: `commit` returns after all its effects are durable together, or raises; after the first error of
the database nothing is written any more (fail-stop). One storage belongs to one member of one
network, and to one process at a time. Calls may come from any thread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from meridian.ephemera.broadcast.archive import Archive
from meridian.ephemera.broadcast.slot import DeliveryCertificate
from meridian.ephemera.context import Context
from meridian.ephemera.effects import Durable, Record
from meridian.ephemera.messages.block import MessageBlock
from meridian.primitives.ids import Address


@dataclass(frozen=True, slots=True)
class FinalisedBlock:
    """A block that is final, and what proves it."""

    sequence: int
    """Position in the order in which this node delivered, from 1, ascending; other nodes have other orders."""
    context: Context
    """The member set that finalised it."""
    block: MessageBlock
    certificate: DeliveryCertificate

    @property
    def creator(self) -> Address:
        """The member that made the block."""
        return Address(self.context.members[self.block.header.creator])


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """The present value of a key of the replicated store."""

    value: bytes
    clock: int
    """Logical clock of the write; the highest (clock, address of the writer, value) wins."""
    writer: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockQuery:
    """Which blocks, in the order of delivery."""

    after: int = 0
    """Only with a greater `sequence`."""
    epoch: int | None = None
    """Only of this member set."""
    creator: Address | None = None
    from_height: int = 1
    limit: int = 100
    bytes_max: int = 4 << 20
    """No further block once those found are longer than this together; at least one is found."""


@dataclass(frozen=True, slots=True)
class StorageCounts:
    """What a storage holds."""

    blocks: int
    entries: int
    deliveries: int
    blocks_by_creator: Mapping[Address, int] = field(default_factory=dict)


class Storage(Archive, Protocol):
    """A database for one member; every method may raise StorageFailure."""

    @property
    def created(self) -> bool:
        """Whether it was empty when it was opened."""
        ...

    @property
    def failure(self) -> str | None:
        """Why it is unusable; None while it works."""
        ...

    def remember_member_set(self, context: Context) -> None:
        """Keep a member set for ever, so that what it finalised stays verifiable.

        Raises:
            StorageFailure: If another member set of the same number is kept.
        """
        ...

    def member_set(self, epoch: int) -> Context | None:
        """Return a member set that was remembered."""
        ...

    def member_sets(self) -> tuple[int, ...]:
        """Return the numbers of all remembered member sets, ascending."""
        ...

    def load(self, epoch: int) -> tuple[Record, ...]:
        """Return the records of a member set."""
        ...

    def forget_records(self, epoch: int) -> None:
        """Delete the records of a member set that will never be opened again; deliveries stay."""
        ...

    def commit(self, run: Sequence[Durable], told_through: int) -> tuple[FinalisedBlock, ...]:
        """Make effects durable in one transaction, with all that follows from deliveries.

        Args:
            run: Consecutive effects of the core.
            told_through: `sequence` of the last block that the application has been told of.

        Returns:
            The blocks among the deliveries, in order.
        """
        ...

    def note_told(self, sequence: int) -> None:
        """Keep that the application has been told of all blocks up to `sequence`."""
        ...

    def untold(self, limit: int) -> tuple[FinalisedBlock, ...]:
        """Return the first blocks that the application may not have been told of, in order."""
        ...

    def block(self, block_hash: bytes) -> FinalisedBlock | None:
        """Return a block by its hash."""
        ...

    def block_at(self, epoch: int, creator: Address, height: int) -> FinalisedBlock | None:
        """Return a block by its place in its creator's chain."""
        ...

    def last_block(self, creator: Address | None = None) -> FinalisedBlock | None:
        """Return the block delivered last, of one creator or of all."""
        ...

    def blocks(self, query: BlockQuery) -> tuple[FinalisedBlock, ...]:
        """Return blocks in the order of their delivery."""
        ...

    def find_message(self, message_hash: bytes) -> tuple[bytes, int] | None:
        """Return (block hash, index) of the first finalised block that holds a message."""
        ...

    def entry(self, key: bytes) -> StoredEntry | None:
        """Return the present value of a key; None if it has none, or an empty one."""
        ...

    def counts(self) -> StorageCounts:
        """Return what is stored."""
        ...

    def close(self) -> None:
        """Release the database; everything committed is durable already."""
        ...
