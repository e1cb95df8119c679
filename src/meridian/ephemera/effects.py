"""What the replica asks its driver to do, in order.

The law: the driver carries the effects of one call out one after the other, in the order of the list.
A `Persist` is durable before any later `Send` or `Broadcast` leaves the process; a storage error stops
the node. A node that forgot what it signed would sign the opposite after a restart. A `lazy` one protects
no signature, proves itself and can be learnt again: it may become durable later, but in its place in the order,
so before or together with the next one that is not lazy; what a restart finds is always a prefix.

`Decided` and `Attested` are delivered at least once: again after every `open` of an epoch whose records
hold them, so that a driver that crashed before it acted on one gets it again.
"""

from __future__ import annotations

from dataclasses import dataclass

from meridian.ephemera.block import Block, Certificate
from meridian.ephemera.broadcast.slot import DeliveryCertificate, Slot
from meridian.primitives.ids import Address


@dataclass(frozen=True, slots=True)
class Record:
    """One durable fact; a later record with the same (epoch, kind, key) replaces it."""

    epoch: int
    kind: str
    """Lower-case word, at most 16 characters."""
    key: bytes
    """At most 40 bytes; may be empty."""
    value: bytes


@dataclass(frozen=True, slots=True)
class Persist:
    """Make the record durable before anything later in the list; a lazy one within a moment."""

    record: Record
    lazy: bool = False


@dataclass(frozen=True, slots=True)
class Forget:
    """A record is of no use any more: it goes in the transaction of its neighbours, and nothing depends on when."""

    epoch: int
    kind: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Send one frame to one member. May be lost: the protocol resends."""

    to: Address
    frame: bytes
    bulk: bool = False
    """True for pieces of bodies and blocks: they must not stand in front of votes."""


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send one frame to every other member of its epoch (`to`, ascending, never oneself)."""

    to: tuple[Address, ...]
    frame: bytes


@dataclass(frozen=True, slots=True)
class Decided:
    """The one block of the epoch, with every body, is known and proved."""

    epoch: int
    block: Block
    certificate: Certificate
    bodies: tuple[bytes, ...]
    """One body per row of the block, in the block's row order."""


@dataclass(frozen=True, slots=True)
class Attested:
    """At least a quorum of members signed this report digest in this attempt."""

    epoch: int
    attempt: bytes
    digest: bytes
    signatures: tuple[tuple[Address, bytes], ...]
    """(member, 64-byte EIP-2098 signature of `digest`), ascending by address."""


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """A member signed two statements that no correct member signs together. Once per (member, kind)."""

    epoch: int
    member: int
    """Index in the epoch's members, ascending by address."""
    kind: str
    evidence: bytes
    """Self-certifying: `evidence.verify_evidence(context, evidence)` needs nothing else."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A payload of the reliable broadcast is final. Durable like `Persist`, before anything later in the list.

    Comes once per slot, in the order of the sender's numbers. From then on the records of the slot (those whose
    key is `slot.key()`) are of no use and may go in the same transaction.
    """

    epoch: int
    """Number of the member set."""
    slot: Slot
    payload: bytes
    certificate: DeliveryCertificate


@dataclass(frozen=True, slots=True)
class Rejected:
    """A frame was refused and changed nothing. To be counted, never a reason to stop."""

    sender: Address
    field: str
    reason: str


Durable = Persist | Forget | Delivered
"""What the storage does; consecutive ones are one transaction."""

Effect = (
    Persist | Forget | Send | Broadcast | Decided | Attested | Misbehaviour | Delivered | Rejected
)
