"""The frames of the reliable broadcast, byte by byte.

Every frame is `version u8 | kind u8 | epoch u64 | content`, big-endian and canonical, as those of the agreement;
`epoch` is the number of the member set. Law: size is checked before anything is parsed, and parsing raises nothing
but InvalidInput.

| kind | content |
|---|---|
| SEND | slot, signature 64, payload blob |
| ECHO, VOTE | member u16, slot, digest 32, signature 64 |
| CERTIFIED | slot, digest 32, count u16, (member u16, signature 64)... |
| FETCH | slot, digest 32 |
| PAYLOAD | slot, digest 32, payload blob |
| FRONTIER | count u16, (channel u8, sender u16, number u64)... |
| EVIDENCE | evidence blob |
| MESSAGE | message blob |

slot = channel u8, sender u16, number u64.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from meridian.ephemera.broadcast.slot import NUMBER_MAX, DeliveryCertificate, Kind, Slot
from meridian.ephemera.context import EPOCH_MAX, PROTOCOL_VERSION, Context
from meridian.ephemera.limits import FRAME_BYTES_MAX
from meridian.errors import InvalidInput
from meridian.primitives.codec import Reader, Writer

PAYLOAD_BYTES_MAX = 1 << 20
MESSAGE_FRAME_BYTES_MAX = 512 * 1024
EVIDENCE_BYTES_MAX = 512
CHANNELS_MAX = 4
HEADER_BYTES = 10
FIRST_KIND = int(min(Kind))
"""Frames with this kind (second byte) or a higher one are ours, lower ones the agreement's."""


@dataclass(frozen=True, slots=True)
class Send:
    """The sender of a slot broadcasts this payload. Signed digest: that of the payload."""

    slot: Slot
    signature: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Echo:
    """I have this payload, and it is acceptable."""

    member: int
    slot: Slot
    digest: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Vote:
    """A quorum echoed this digest, or f + 1 members voted for it."""

    member: int
    slot: Slot
    digest: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Certified:
    """This digest is delivered: proves itself, so anybody may pass it on."""

    certificate: DeliveryCertificate


@dataclass(frozen=True, slots=True)
class Fetch:
    """Send me the payload. Unsigned: the link knows the sender."""

    slot: Slot
    digest: bytes


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload. Unsigned: it is checked against its digest."""

    slot: Slot
    digest: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Frontier:
    """What I have delivered: the last number of every channel and sender. Unsigned; asks for what I lack."""

    entries: tuple[tuple[int, int, int], ...]
    """(channel, sender, number), strictly ascending by (channel, sender); number 0 is left out."""


@dataclass(frozen=True, slots=True)
class Accusation:
    """Evidence: proves itself."""

    evidence: bytes


@dataclass(frozen=True, slots=True)
class Gossip:
    """A signed message for the mempool."""

    message: bytes


BroadcastMessage = Send | Echo | Vote | Certified | Fetch | Payload | Frontier | Accusation | Gossip

_KINDS: dict[type[BroadcastMessage], Kind] = {
    Send: Kind.SEND,
    Echo: Kind.ECHO,
    Vote: Kind.VOTE,
    Certified: Kind.CERTIFIED,
    Fetch: Kind.FETCH,
    Payload: Kind.PAYLOAD,
    Frontier: Kind.FRONTIER,
    Accusation: Kind.EVIDENCE,
    Gossip: Kind.MESSAGE,
}


def is_broadcast(frame: bytes) -> bool:
    """Whether a frame belongs to the broadcast and not to the agreement; anything too short does not."""
    return len(frame) > 1 and frame[1] >= FIRST_KIND


def epoch_of(frame: bytes) -> int:
    """The member set of a frame, after size and version; raises InvalidInput."""
    return _header(frame)[1]


def encode(message: BroadcastMessage, epoch: int) -> bytes:
    """The one frame of a message."""
    out = Writer().u8(PROTOCOL_VERSION).u8(_KINDS[type(message)]).u64(epoch)
    match message:
        case Send(slot, signature, payload):
            slot.write(out).fixed(signature, 64).blob(payload)
        case Echo(member, slot, digest, signature) | Vote(member, slot, digest, signature):
            slot.write(out.u16(member)).fixed(digest, 32).fixed(signature, 64)
        case Certified(certificate):
            certificate.write(out)
        case Fetch(slot, digest):
            slot.write(out).fixed(digest, 32)
        case Payload(slot, digest, payload):
            slot.write(out).fixed(digest, 32).blob(payload)
        case Frontier(entries):
            out.u16(len(entries))
            for channel, sender, number in entries:
                out.u8(channel).u16(sender).u64(number)
        case Accusation(evidence):
            out.blob(evidence)
        case Gossip(data):
            out.blob(data)
    return out.bytes()


def decode(frame: bytes, context: Context) -> BroadcastMessage:
    """Parse one frame of the context's member set; raises InvalidInput. Checks form, not signatures."""
    kind, epoch = _header(frame)
    if epoch != context.epoch:
        raise InvalidInput("epoch", f"must be {context.epoch}")
    reader = Reader(frame)
    reader.fixed(HEADER_BYTES)
    message = _READERS[kind](reader, context)
    reader.finish()
    return message


def _header(frame: bytes) -> tuple[Kind, int]:
    if not HEADER_BYTES < len(frame) <= FRAME_BYTES_MAX:
        raise InvalidInput("size", f"must be {HEADER_BYTES + 1}..{FRAME_BYTES_MAX} bytes")
    reader = Reader(frame[:HEADER_BYTES])
    if reader.u8() != PROTOCOL_VERSION:
        raise InvalidInput("version", f"must be {PROTOCOL_VERSION}")
    try:
        kind = Kind(reader.u8())
    except ValueError:
        raise InvalidInput("kind", "unknown") from None
    epoch = reader.u64()
    if epoch > EPOCH_MAX:
        raise InvalidInput("epoch", f"must be at most {EPOCH_MAX}")
    return kind, epoch


def _slot(reader: Reader, context: Context) -> Slot:
    slot = Slot.read(reader)
    if slot.sender >= context.n:
        raise InvalidInput("sender", "is a stranger")
    return slot


def _member(reader: Reader, context: Context) -> int:
    member = reader.u16()
    if member >= context.n:
        raise InvalidInput("member", "is a stranger")
    return member


def _read_send(reader: Reader, context: Context) -> Send:
    return Send(_slot(reader, context), reader.fixed(64), reader.blob(PAYLOAD_BYTES_MAX))


def _read_certified(reader: Reader, context: Context) -> Certified:
    certificate = DeliveryCertificate.read(reader)
    if certificate.slot.sender >= context.n:
        raise InvalidInput("sender", "is a stranger")
    return Certified(certificate)


def _read_payload(reader: Reader, context: Context) -> Payload:
    return Payload(_slot(reader, context), reader.fixed(32), reader.blob(PAYLOAD_BYTES_MAX))


def _read_frontier(reader: Reader, context: Context) -> Frontier:
    count = reader.u16()
    if count > CHANNELS_MAX * context.n:
        raise InvalidInput("frontier", f"must be at most {CHANNELS_MAX * context.n} entries")
    entries = tuple((reader.u8(), reader.u16(), reader.u64()) for _ in range(count))
    if any(a[:2] >= b[:2] for a, b in itertools.pairwise(entries)):
        raise InvalidInput("frontier", "must be strictly ascending by channel and sender")
    if any(s >= context.n or not 0 < number <= NUMBER_MAX for _, s, number in entries):
        raise InvalidInput("frontier", "names a stranger or an impossible number")
    return Frontier(entries)


_READERS: dict[Kind, Callable[[Reader, Context], BroadcastMessage]] = {
    Kind.SEND: _read_send,
    Kind.ECHO: lambda r, c: Echo(_member(r, c), _slot(r, c), r.fixed(32), r.fixed(64)),
    Kind.VOTE: lambda r, c: Vote(_member(r, c), _slot(r, c), r.fixed(32), r.fixed(64)),
    Kind.CERTIFIED: _read_certified,
    Kind.FETCH: lambda r, c: Fetch(_slot(r, c), r.fixed(32)),
    Kind.PAYLOAD: _read_payload,
    Kind.FRONTIER: _read_frontier,
    Kind.EVIDENCE: lambda r, _: Accusation(r.blob(EVIDENCE_BYTES_MAX)),
    Kind.MESSAGE: lambda r, _: Gossip(r.blob(MESSAGE_FRAME_BYTES_MAX)),
}
