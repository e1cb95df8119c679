"""Proofs of misbehaviour that need nothing but the epoch's context to be checked, also on chain by ecrecover.

Four forms. Double: two statements of one kind and view with different digests. Report: two report digests
in one attempt. Amnesia: a VOTE in view v, and a VIEW_CHANGE into a later view that denies the lock which
that VOTE implies. Broadcast: two statements of one kind in one slot of the reliable broadcast. Law: no correct member ever signs such a pair, across crashes too, so nobody can be framed.

Bytes: `version u16 | form u8 | epoch u64 | context 32 | member u16` and then
double: `kind u8 | view u32 | (digest 32 | signature 64) x 2`, digests ascending;
report: `attempt 32 | (digest 32 | signature 64) x 2`, digests ascending;
amnesia: `vote view u32 | block hash 32 | signature 64 | view u32 | flag u8 [lock view u32 | hash 32] | signature 64`;
broadcast: `kind u8 | channel u8 | sender u16 | slot u64 | (digest 32 | signature 64) x 2`, digests ascending.
"""

from __future__ import annotations

from dataclasses import dataclass

from meridian.ephemera.broadcast import slot as broadcast
from meridian.ephemera.broadcast.slot import Slot
from meridian.ephemera.context import PROTOCOL_VERSION, Context, Kind
from meridian.ephemera.message import Lock, lock_digest, report_digest, write_lock
from meridian.errors import InvalidInput
from meridian.primitives.codec import Reader, Writer

DOUBLE, REPORT, AMNESIA, BROADCAST = 1, 2, 3, 4

DOUBLE_KINDS = frozenset(
    {Kind.ROW, Kind.HAVE, Kind.PROPOSE, Kind.ECHO, Kind.VOTE, Kind.VIEW_CHANGE}
)
"""Kinds that a correct member signs at most once per view (ROW and HAVE: once, view 0)."""

Signed = tuple[bytes, bytes]
"""(digest 32, signature 64)."""


@dataclass(frozen=True, slots=True)
class Guilt:
    """What a piece of evidence proves."""

    member: int
    kind: str
    """`double_row`, `double_have`, ..., `double_report_sig`, `amnesia`, `broadcast_send`, `_echo`, `_vote`."""


def double(
    context: Context, member: int, kind: Kind, view: int, first: Signed, second: Signed
) -> bytes:
    """Evidence of two statements of one kind in one view."""
    return _pair(_head(context, DOUBLE, member).u8(kind).u32(view), first, second)


def double_report(
    context: Context, member: int, attempt: bytes, first: Signed, second: Signed
) -> bytes:
    """Evidence of two report digests in one attempt."""
    return _pair(_head(context, REPORT, member).fixed(attempt, 32), first, second)


def double_broadcast(
    context: Context,
    member: int,
    kind: broadcast.Kind,
    slot: Slot,
    first: Signed,
    second: Signed,
) -> bytes:
    """Evidence of two statements of one kind in one slot of the reliable broadcast."""
    return _pair(slot.write(_head(context, BROADCAST, member).u8(kind)), first, second)


def amnesia(
    context: Context,
    member: int,
    vote: tuple[int, bytes, bytes],
    view_change: tuple[int, Lock | None, bytes],
) -> bytes:
    """Evidence of a VOTE (view, block hash, signature) denied by a VIEW_CHANGE (view, lock, signature)."""
    out = _head(context, AMNESIA, member)
    out.u32(vote[0]).fixed(vote[1], 32).fixed(vote[2], 64).u32(view_change[0])
    write_lock(out, view_change[1])
    return out.fixed(view_change[2], 64).bytes()


def denies(vote_view: int, block_hash: bytes, view: int, lock: Lock | None) -> bool:
    """Whether a VIEW_CHANGE into `view` with `lock` cannot come from who voted so in `vote_view`."""
    if view <= vote_view:
        return False
    if lock is None or lock[0] < vote_view:
        return True
    return lock[0] == vote_view and lock[1] != block_hash


def verify_evidence(context: Context, evidence: bytes) -> Guilt:
    """Return who is proved guilty of what; raises InvalidInput if nothing is proved."""
    reader = Reader(evidence)
    version, form, epoch = reader.u16(), reader.u8(), reader.u64()
    if version != PROTOCOL_VERSION:
        raise InvalidInput("evidence.version", f"must be {PROTOCOL_VERSION}")
    if epoch != context.epoch or reader.fixed(32) != context.digest:
        raise InvalidInput("evidence.context", "is about another epoch or member set")
    member = reader.u16()
    if member >= context.n:
        raise InvalidInput("evidence.member", "is a stranger")
    if form == DOUBLE:
        guilt = _verify_double(context, member, reader)
    elif form == REPORT:
        guilt = _verify_report(context, member, reader)
    elif form == AMNESIA:
        guilt = _verify_amnesia(context, member, reader)
    elif form == BROADCAST:
        guilt = _verify_broadcast(context, member, reader)
    else:
        raise InvalidInput("evidence.form", "unknown")
    reader.finish()
    return guilt


def _verify_double(context: Context, member: int, reader: Reader) -> Guilt:
    code, view = reader.u8(), reader.u32()
    if code not in DOUBLE_KINDS:
        raise InvalidInput("evidence.kind", "may be signed more than once")
    kind = Kind(code)
    if kind in {Kind.ROW, Kind.HAVE} and view != 0:
        raise InvalidInput("evidence.view", "must be 0")
    first, second = _read_pair(reader)
    for digest, signature in (first, second):
        _check(context.signed(member, kind, view, digest, signature))
    return Guilt(member, f"double_{kind.name.lower()}")


def _verify_report(context: Context, member: int, reader: Reader) -> Guilt:
    attempt = reader.fixed(32)
    first, second = _read_pair(reader)
    for digest, signature in (first, second):
        said = report_digest(attempt, digest)
        _check(context.signed(member, Kind.REPORT_SIG, 0, said, signature))
    return Guilt(member, "double_report_sig")


def _verify_amnesia(context: Context, member: int, reader: Reader) -> Guilt:
    vote_view, block_hash, vote_signature = reader.u32(), reader.fixed(32), reader.fixed(64)
    view, flag = reader.u32(), reader.u8()
    if flag > 1:
        raise InvalidInput("evidence.flag", "must be 0 or 1")
    lock = (reader.u32(), reader.fixed(32)) if flag else None
    signature = reader.fixed(64)
    if not denies(vote_view, block_hash, view, lock):
        raise InvalidInput("evidence.lock", "does not deny the vote")
    _check(context.signed(member, Kind.VOTE, vote_view, block_hash, vote_signature))
    _check(context.signed(member, Kind.VIEW_CHANGE, view, lock_digest(lock), signature))
    return Guilt(member, "amnesia")


def _verify_broadcast(context: Context, member: int, reader: Reader) -> Guilt:
    code, slot = reader.u8(), Slot.read(reader)
    if code not in broadcast.SIGNED_KINDS:
        raise InvalidInput("evidence.kind", "is not signed")
    kind = broadcast.Kind(code)
    if slot.sender >= context.n or (kind is broadcast.Kind.SEND and slot.sender != member):
        raise InvalidInput("evidence.sender", "is a stranger or another member")
    first, second = _read_pair(reader)
    for digest, signature in (first, second):
        _check(broadcast.signed(context, member, kind, slot, digest, signature))
    return Guilt(member, f"broadcast_{kind.name.lower()}")


def _check(holds: bool) -> None:
    if not holds:
        raise InvalidInput("evidence.signature", "does not verify")


def _head(context: Context, form: int, member: int) -> Writer:
    out = Writer().u16(PROTOCOL_VERSION).u8(form).u64(context.epoch)
    return out.fixed(context.digest, 32).u16(member)


def _pair(out: Writer, first: Signed, second: Signed) -> bytes:
    for digest, signature in sorted((first, second)):
        out.fixed(digest, 32).fixed(signature, 64)
    return out.bytes()


def _read_pair(reader: Reader) -> tuple[Signed, Signed]:
    first = (reader.fixed(32), reader.fixed(64))
    second = (reader.fixed(32), reader.fixed(64))
    if first[0] >= second[0]:
        raise InvalidInput("evidence.digests", "must be different and ascending")
    return first, second
