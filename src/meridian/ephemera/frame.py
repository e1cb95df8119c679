"""The frames of the protocol, byte by byte.

Every frame is `version u8 | kind u8 | epoch u64 | content`, big-endian, canonical: a frame decodes in exactly
one way and encodes to the same bytes. What the 64-byte signatures are about stands in `message`. Law: size is
checked before anything is parsed, and parsing raises nothing but InvalidInput.

| kind | content |
|---|---|
| ROW | index u16, commitment 32, signature |
| HAVE | index u16, vector, signature |
| PROPOSE | index u16, view u32, signature, block blob, justification (view > 0) |
| ECHO, VOTE | index u16, view u32, block hash 32, signature |
| WISH | index u16, view u32, signature |
| VIEW_CHANGE | index u16, view u32, signature, flag u8, lock certificate if flag |
| DECIDED | certificate |
| REPORT_SIG | index u16, attempt 32, digest 32, report signature 64, signature |
| FETCH | object u8, index u16, digest 32, offset u64 |
| FETCH_REPLY | object u8, digest 32, total u64, offset u64, piece blob |
| EVIDENCE | evidence blob |
| ASK | want u8 |
| REVEAL | index u16, commitment 32, signature, salt 32, row root 32, trace root 32, flag u8, body blob if flag |

vector = count u16, (index u16, digest 32)...; certificate = view u32, block hash 32, count u16, (index u16,
signature)...; justification = count u16, (index u16, flag u8, lock view u32 and hash 32 if flag, signature)...,
flag u8, certificate if flag.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from struct import Struct

from meridian.ephemera.block import (
    Block,
    Certificate,
    SignedHave,
    block_bytes_max,
    read_certificate,
    read_opening,
    write_certificate,
    write_opening,
)
from meridian.ephemera.context import EPOCH_MAX, PROTOCOL_VERSION, VIEW_MAX, Context, Kind
from meridian.ephemera.limits import (
    FRAME_BYTES_MAX,
    MEMBERS_MAX,
    PIECE_BYTES_MAX,
    PUSHED_BODY_BYTES_MAX,
)
from meridian.ephemera.message import (
    BLOCK,
    BODY,
    KINDS,
    ROW,
    WANT_DECISION,
    WANT_REPORTS,
    Accusation,
    Ask,
    Claim,
    Decision,
    Echo,
    Fetch,
    FetchReply,
    Have,
    Justification,
    Message,
    Propose,
    ReportSignature,
    Reveal,
    Row,
    ViewChange,
    Vote,
    Wish,
    write_lock,
)
from meridian.errors import InvalidInput
from meridian.primitives.codec import Reader, Writer

EVIDENCE_BYTES_MAX = 512
HEADER_BYTES = 10

REQUESTS = frozenset({Kind.FETCH, Kind.ASK})
"""Kinds that only ask; they are answered for closed epochs too."""

_HEADER = Struct(">BBQ")
_ROW = Struct(">H32s64s")
_BALLOT = Struct(">HI32s64s")
_REPORT = Struct(">H32s32s64s64s")
_KINDS = {int(kind): kind for kind in Kind}


def frame_bytes_max(kind: Kind, context: Context) -> int:
    """The longest frame of a kind among the context's members."""
    return _bytes_max(kind, context.n)


@functools.cache
def _bytes_max(kind: Kind, n: int) -> int:
    entry, signature = 34, 66
    have = 2 + 2 + entry * n + 64
    certificate = 4 + 32 + 2 + signature * n
    match kind:
        case Kind.ROW:
            content = 98
        case Kind.REVEAL:
            content = 98 + 96 + 1 + 4 + PUSHED_BODY_BYTES_MAX
        case Kind.ECHO | Kind.VOTE | Kind.WISH | Kind.FETCH | Kind.ASK:
            content = 102
        case Kind.HAVE:
            content = have
        case Kind.PROPOSE:
            content = 74 + block_bytes_max(n) + 2 + n * (2 + 37 + 64) + 1 + certificate
        case Kind.VIEW_CHANGE:
            content = 71 + certificate
        case Kind.DECIDED:
            content = certificate
        case Kind.REPORT_SIG:
            content = 2 + 32 + 32 + 64 + 64
        case Kind.FETCH_REPLY:
            content = 1 + 32 + 8 + 8 + 4 + PIECE_BYTES_MAX
        case Kind.EVIDENCE:
            content = 4 + EVIDENCE_BYTES_MAX
    return HEADER_BYTES + content


def epoch_of(frame: bytes) -> int:
    """The epoch of a frame, after size and version; raises InvalidInput."""
    return _header(frame)[1]


def decode(frame: bytes, context: Context) -> Message:
    """Parse one frame of the context's epoch; raises InvalidInput. Checks form, not signatures."""
    kind, epoch = _header(frame)
    if epoch != context.epoch:
        raise InvalidInput("epoch", f"must be {context.epoch}")
    if len(frame) > frame_bytes_max(kind, context):
        raise InvalidInput("size", f"too long for {kind.name}")
    reader = Reader(frame)
    reader.fixed(HEADER_BYTES)
    message = _READERS[kind](reader)
    reader.finish()
    member = getattr(message, "member", 0)
    if member >= context.n:
        raise InvalidInput("member", "is a stranger")
    return message


def decode_request(frame: bytes) -> Ask | Fetch:
    """Parse an ASK or a FETCH of any epoch, its members unknown; raises InvalidInput."""
    kind, _ = _header(frame)
    if kind not in REQUESTS:
        raise InvalidInput("kind", "is no request")
    reader = Reader(frame)
    reader.fixed(HEADER_BYTES)
    message = _READERS[kind](reader)
    reader.finish()
    assert isinstance(message, Ask | Fetch)
    return message


def encode(message: Message, epoch: int) -> bytes:
    """The one frame of a message."""
    kind = KINDS[type(message)]
    out = Writer().u8(PROTOCOL_VERSION).u8(kind).u64(epoch)
    match message:
        case Row(member, digest, signature):
            out.u16(member).fixed(digest, 32).fixed(signature, 64)
        case Reveal(member, digest, signature, opening, body):
            out.u16(member).fixed(digest, 32).fixed(signature, 64)
            write_opening(out, opening)
            out.u8(int(body is not None))
            if body is not None:
                out.blob(body)
        case Have(member, _, signature):
            out.u16(member).raw(message.vector).fixed(signature, 64)
        case Propose(member, view, signature, block, justification):
            out.u16(member).u32(view).fixed(signature, 64).blob(block.encode())
            if justification is not None:
                _write_justification(out, justification)
        case Echo(member, view, block_hash, signature) | Vote(member, view, block_hash, signature):
            out.u16(member).u32(view).fixed(block_hash, 32).fixed(signature, 64)
        case Wish(member, view, signature):
            out.u16(member).u32(view).fixed(signature, 64)
        case ViewChange(member, view, signature, certificate):
            out.u16(member).u32(view).fixed(signature, 64)
            _write_optional(out, certificate)
        case Decision(certificate):
            write_certificate(out, certificate)
        case ReportSignature(member, attempt, digest, report_signature, signature):
            out.u16(member).fixed(attempt, 32).fixed(digest, 32)
            out.fixed(report_signature, 64).fixed(signature, 64)
        case Fetch(thing, member, digest, offset):
            out.u8(thing).u16(member).fixed(digest, 32).u64(offset)
        case FetchReply(thing, digest, total_bytes, offset, piece):
            out.u8(thing).fixed(digest, 32).u64(total_bytes).u64(offset).blob(piece)
        case Accusation(evidence):
            out.blob(evidence)
        case Ask(want):
            out.u8(want)
    return out.bytes()


def _header(frame: bytes) -> tuple[Kind, int]:
    if not HEADER_BYTES < len(frame) <= FRAME_BYTES_MAX:
        raise InvalidInput("size", f"must be {HEADER_BYTES + 1}..{FRAME_BYTES_MAX} bytes")
    version, code, epoch = _HEADER.unpack_from(frame)
    if version != PROTOCOL_VERSION:
        raise InvalidInput("version", f"must be {PROTOCOL_VERSION}")
    kind = _KINDS.get(code)
    if kind is None:
        raise InvalidInput("kind", "unknown")
    if epoch > EPOCH_MAX:
        raise InvalidInput("epoch", f"must be at most {EPOCH_MAX}")
    return kind, epoch


def _view(reader: Reader) -> int:
    view = reader.u32()
    if view > VIEW_MAX:
        raise InvalidInput("view", f"must be at most {VIEW_MAX}")
    return view


def _flag(reader: Reader) -> bool:
    flag = reader.u8()
    if flag > 1:
        raise InvalidInput("flag", "must be 0 or 1")
    return flag == 1


def _write_optional(out: Writer, certificate: Certificate | None) -> None:
    if certificate is None:
        out.u8(0)
    else:
        write_certificate(out.u8(1), certificate)


def _read_optional(reader: Reader) -> Certificate | None:
    return read_certificate(reader) if _flag(reader) else None


def _write_justification(out: Writer, justification: Justification) -> None:
    out.u16(len(justification.claims))
    for claim in justification.claims:
        out.u16(claim.member)
        write_lock(out, claim.lock)
        out.fixed(claim.signature, 64)
    _write_optional(out, justification.certificate)


def _read_justification(reader: Reader) -> Justification:
    count = reader.u16()
    if count > MEMBERS_MAX:
        raise InvalidInput("justification", f"must be at most {MEMBERS_MAX} claims")
    claims = tuple(_read_claim(reader) for _ in range(count))
    return Justification(claims, _read_optional(reader))


def _read_claim(reader: Reader) -> Claim:
    member = reader.u16()
    lock = (_view(reader), reader.fixed(32)) if _flag(reader) else None
    return Claim(member, lock, reader.fixed(64))


def _read_propose(reader: Reader) -> Propose:
    member, view, signature = reader.u16(), _view(reader), reader.fixed(64)
    block = Block.decode(reader.blob(FRAME_BYTES_MAX))
    justification = _read_justification(reader) if view > 0 else None
    return Propose(member, view, signature, block, justification)


def _read_fetch(reader: Reader) -> Fetch:
    thing, member, digest, offset = reader.u8(), reader.u16(), reader.fixed(32), reader.u64()
    if thing not in {BODY, BLOCK, ROW} or (thing != ROW and member):
        raise InvalidInput("object", "unknown")
    return Fetch(thing, member, digest, offset)


def _read_reply(reader: Reader) -> FetchReply:
    reply = FetchReply(
        reader.u8(), reader.fixed(32), reader.u64(), reader.u64(), reader.blob(PIECE_BYTES_MAX)
    )
    if reply.object not in {BODY, BLOCK}:
        raise InvalidInput("object", "unknown")
    return reply


def _read_ask(reader: Reader) -> Ask:
    want = reader.u8()
    if want not in {WANT_DECISION, WANT_REPORTS}:
        raise InvalidInput("want", "unknown")
    return Ask(want)


def _read_report(reader: Reader) -> ReportSignature:
    return ReportSignature(*reader.unpack(_REPORT))


def _read_reveal(reader: Reader) -> Reveal:
    member, digest, signature = reader.unpack(_ROW)
    opening = read_opening(reader)
    body = reader.blob(PUSHED_BODY_BYTES_MAX) if _flag(reader) else None
    return Reveal(member, digest, signature, opening, body)


def _read_ballot(reader: Reader) -> tuple[int, int, bytes, bytes]:
    member, view, block_hash, signature = reader.unpack(_BALLOT)
    if view > VIEW_MAX:
        raise InvalidInput("view", f"must be at most {VIEW_MAX}")
    return member, view, block_hash, signature


_READERS: dict[Kind, Callable[[Reader], Message]] = {
    Kind.ROW: lambda r: Row(*r.unpack(_ROW)),
    Kind.HAVE: SignedHave.read,
    Kind.PROPOSE: _read_propose,
    Kind.ECHO: lambda r: Echo(*_read_ballot(r)),
    Kind.VOTE: lambda r: Vote(*_read_ballot(r)),
    Kind.WISH: lambda r: Wish(r.u16(), _view(r), r.fixed(64)),
    Kind.VIEW_CHANGE: lambda r: ViewChange(r.u16(), _view(r), r.fixed(64), _read_optional(r)),
    Kind.DECIDED: lambda r: Decision(read_certificate(r)),
    Kind.REPORT_SIG: _read_report,
    Kind.FETCH: _read_fetch,
    Kind.FETCH_REPLY: _read_reply,
    Kind.EVIDENCE: lambda r: Accusation(r.blob(EVIDENCE_BYTES_MAX)),
    Kind.ASK: _read_ask,
    Kind.REVEAL: _read_reveal,
}
