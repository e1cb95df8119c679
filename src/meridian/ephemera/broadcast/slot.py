"""Slots of the reliable broadcast, what a signature in a slot is about, and the certificate of a delivery.

A slot is (channel, sender, number) within one member set, whose context digest stands in every signature. Law: a
correct member sends, echoes and votes for at most one digest in a slot, so no two digests get a quorum of votes.
"""

from __future__ import annotations

import enum
import functools
import itertools
from dataclasses import dataclass

from meridian.ephemera.context import PROTOCOL_VERSION, Context, signed_by
from meridian.ephemera.limits import MEMBERS_MAX
from meridian.errors import InvalidInput
from meridian.primitives import eip712
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.eip712 import Domain, StructType
from meridian.primitives.ids import Address

NUMBER_MAX = (1 << 63) - 1


class Kind(enum.IntEnum):
    """Kinds of frames; the agreement has those below 32."""

    SEND = 32
    ECHO = 33
    VOTE = 34
    CERTIFIED = 35
    FETCH = 36
    PAYLOAD = 37
    FRONTIER = 38
    EVIDENCE = 39
    MESSAGE = 40


SIGNED_KINDS = frozenset({Kind.SEND, Kind.ECHO, Kind.VOTE})

BROADCAST = StructType(
    "Broadcast",
    (
        ("context", "bytes32"),
        ("kind", "uint8"),
        ("channel", "uint8"),
        ("sender", "uint16"),
        ("slot", "uint64"),
        ("digest", "bytes32"),
    ),
)
"""The EIP-712 struct behind SEND, ECHO and VOTE; `context` is `Context.digest`."""


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """Where one payload is broadcast."""

    channel: int
    """0..255; which channels there are is the owner's business."""
    sender: int
    """Index of the sending member."""
    number: int
    """From 1, without gaps."""

    def write(self, out: Writer) -> Writer:
        """Append channel u8, sender u16, number u64."""
        return out.u8(self.channel).u16(self.sender).u64(self.number)

    def key(self) -> bytes:
        """The 11 bytes under which records of the slot are kept."""
        return self.write(Writer()).bytes()

    @staticmethod
    def read(reader: Reader) -> Slot:
        """Read what `write` wrote; raises InvalidInput."""
        slot = Slot(reader.u8(), reader.u16(), reader.u64())
        if not 1 <= slot.number <= NUMBER_MAX:
            raise InvalidInput("slot", f"must be 1..{NUMBER_MAX}")
        return slot


def statement(context: Context, kind: Kind, slot: Slot, digest: bytes) -> bytes:
    """The 32 bytes that a member signs to say `kind` about `digest` in `slot`."""
    return _statement(context.domain, context.digest, int(kind), slot, digest)


@functools.lru_cache(maxsize=8192)
def _statement(domain: Domain, context: bytes, kind: int, slot: Slot, digest: bytes) -> bytes:
    struct = BROADCAST.hash(context, kind, slot.channel, slot.sender, slot.number, digest)
    return eip712.digest(domain, struct)


def signed(
    context: Context, member: int, kind: Kind, slot: Slot, digest: bytes, signature: bytes
) -> bool:
    """Whether `signature` (64 bytes, EIP-2098) is that of `members[member]` under the statement."""
    return signed_by(
        Address(context.members[member]), statement(context, kind, slot, digest), signature
    )


@dataclass(frozen=True, slots=True)
class DeliveryCertificate:
    """A quorum of VOTEs: this digest, and no other, is delivered in this slot. Proves itself."""

    slot: Slot
    digest: bytes
    votes: tuple[tuple[int, bytes], ...]
    """(member index, signature of VOTE), strictly ascending by member."""

    def encode(self) -> bytes:
        """Canonical bytes: version u16, then as in CERTIFIED."""
        out = Writer().u16(PROTOCOL_VERSION)
        self.write(out)
        return out.bytes()

    def write(self, out: Writer) -> None:
        """Append slot, digest 32, count u16, (member u16, signature 64)..."""
        self.slot.write(out).fixed(self.digest, 32).u16(len(self.votes))
        for member, signature in self.votes:
            out.u16(member).fixed(signature, 64)

    @staticmethod
    def decode(data: bytes) -> DeliveryCertificate:
        """Read canonical bytes; raises InvalidInput. Checks form, not signatures."""
        reader = Reader(data)
        if reader.u16() != PROTOCOL_VERSION:
            raise InvalidInput("certificate.version", f"must be {PROTOCOL_VERSION}")
        certificate = DeliveryCertificate.read(reader)
        reader.finish()
        return certificate

    @staticmethod
    def read(reader: Reader) -> DeliveryCertificate:
        """Read what `write` wrote; raises InvalidInput."""
        slot, digest, count = Slot.read(reader), reader.fixed(32), reader.u16()
        if count > MEMBERS_MAX:
            raise InvalidInput("certificate.votes", f"must be at most {MEMBERS_MAX}")
        votes = tuple((reader.u16(), reader.fixed(64)) for _ in range(count))
        if any(a[0] >= b[0] for a, b in itertools.pairwise(votes)):
            raise InvalidInput("certificate.votes", "must be strictly ascending by member")
        return DeliveryCertificate(slot, digest, votes)


def verify_delivery(context: Context, certificate: DeliveryCertificate) -> None:
    """Raise InvalidInput unless a quorum of the context's members voted for the digest in the slot."""
    if certificate.slot.sender >= context.n:
        raise InvalidInput("certificate.sender", "is a stranger")
    if len(certificate.votes) < context.quorum:
        raise InvalidInput("certificate.votes", f"must be at least {context.quorum}")
    for member, signature in certificate.votes:
        if member >= context.n:
            raise InvalidInput("certificate.member", "is a stranger")
        if not signed(context, member, Kind.VOTE, certificate.slot, certificate.digest, signature):
            raise InvalidInput("certificate.signature", f"is not that of member {member}")
