"""What members say to each other, and which digest each of their signatures is about.

`frame` gives the bytes. The signature of a message is over `Context.statement(kind, view, digest)`; kinds
without a view sign view 0. Unsigned kinds either prove themselves (DECIDED, EVIDENCE), carry content that is
checked against a digest (FETCH_REPLY), or are mere requests (FETCH, ASK).
"""

from __future__ import annotations

from dataclasses import dataclass

from meridian.ephemera.block import Block, Certificate, SignedHave
from meridian.ephemera.context import NO_DIGEST, Kind
from meridian.ephemera.opening import Opening
from meridian.primitives import hashing
from meridian.primitives.codec import Writer

Lock = tuple[int, bytes]
"""(view, block hash) that a quorum echoed."""

BODY, BLOCK, ROW = 1, 2, 3
"""Objects of FETCH: a row body by its root, a block by its hash, a revealed row by member and commitment."""

WANT_DECISION, WANT_REPORTS = 1, 2
"""What an ASK asks for."""


@dataclass(frozen=True, slots=True)
class Row:
    """I commit myself to a row. Signed digest: the commitment itself, view 0."""

    member: int
    digest: bytes
    """The commitment (see `opening`)."""
    signature: bytes


@dataclass(frozen=True, slots=True)
class Reveal:
    """What was committed, with the signature of its ROW: proves itself, so anybody may pass it on."""

    member: int
    digest: bytes
    """The commitment."""
    signature: bytes
    """Of the ROW."""
    opening: Opening
    body: bytes | None = None
    """A short body comes along and need not be fetched; checked against the root."""


Have = SignedHave
"""I hold and accept these rows. Signed digest: `have_digest(entries)`, view 0. Stands in blocks as it came."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One member's lock at the entry of a view, as carried in a justification."""

    member: int
    lock: Lock | None
    signature: bytes


@dataclass(frozen=True, slots=True)
class Justification:
    """A quorum of VIEW_CHANGE claims, and the certificate of the highest lock among them."""

    claims: tuple[Claim, ...]
    """Strictly ascending by member."""
    certificate: Certificate | None


@dataclass(frozen=True, slots=True)
class Propose:
    """I lead this view and propose this block. Signed digest: SHA256(PROPOSE | block hash)."""

    member: int
    view: int
    signature: bytes
    block: Block
    justification: Justification | None


@dataclass(frozen=True, slots=True)
class Echo:
    """The proposal of this view is valid and I hold its bodies. Signed digest: the block hash."""

    member: int
    view: int
    block_hash: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Vote:
    """A quorum echoed this block in this view; I am locked on it. Signed digest: the block hash."""

    member: int
    view: int
    block_hash: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Wish:
    """I want to leave for this view. Signed digest: 32 zero bytes."""

    member: int
    view: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class ViewChange:
    """I entered this view with this lock. Signed digest: `lock_digest(lock)`."""

    member: int
    view: int
    signature: bytes
    certificate: Certificate | None
    """The ECHO certificate of the lock."""

    @property
    def lock(self) -> Lock | None:
        """(view, hash) of the lock, if any."""
        if self.certificate is None:
            return None
        return (self.certificate.view, self.certificate.block_hash)


@dataclass(frozen=True, slots=True)
class Decision:
    """DECIDED: proves itself, so anybody may pass it on."""

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class ReportSignature:
    """I signed this report digest in this attempt. Signed digest: `report_digest(attempt, digest)`."""

    member: int
    attempt: bytes
    digest: bytes
    report_signature: bytes
    """Over `digest` itself: this one goes on chain."""
    signature: bytes


@dataclass(frozen=True, slots=True)
class Fetch:
    """Send me the piece of this object that starts at `offset`. Unsigned: the link knows the sender."""

    object: int
    member: int
    """Only for ROW, else 0."""
    digest: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class FetchReply:
    """A piece of an object. Unsigned: the object is checked against its digest when it is complete."""

    object: int
    digest: bytes
    total_bytes: int
    offset: int
    piece: bytes


@dataclass(frozen=True, slots=True)
class Accusation:
    """EVIDENCE: proves itself (see `evidence`)."""

    evidence: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """Tell me the decision, or the report signatures, if you know them. Unsigned."""

    want: int


Message = (
    Row
    | Have
    | Propose
    | Echo
    | Vote
    | Wish
    | ViewChange
    | Decision
    | ReportSignature
    | Fetch
    | FetchReply
    | Accusation
    | Ask
    | Reveal
)


def lock_digest(lock: Lock | None) -> bytes:
    """SHA256(VIEW_CHANGE | flag u8 | view u32 | hash): what a VIEW_CHANGE signs."""
    out = Writer()
    write_lock(out, lock)
    return hashing.tagged(hashing.VIEW_CHANGE, out.bytes())


def propose_digest(block_hash: bytes) -> bytes:
    """SHA256(PROPOSE | block hash): what a PROPOSE signs."""
    return hashing.tagged(hashing.PROPOSE, block_hash)


def report_digest(attempt: bytes, digest: bytes) -> bytes:
    """SHA256(REPORT_SIG | attempt | digest): what a REPORT_SIG signs."""
    return hashing.tagged(hashing.REPORT_SIG, attempt, digest)


WISH_DIGEST = NO_DIGEST
"""What a WISH signs besides its view."""


def write_lock(out: Writer, lock: Lock | None) -> None:
    """Append flag u8, and view u32 and hash 32 if there is a lock."""
    if lock is None:
        out.u8(0)
    else:
        out.u8(1).u32(lock[0]).fixed(lock[1], 32)


KINDS: dict[type[Message], Kind] = {
    Row: Kind.ROW,
    Have: Kind.HAVE,
    Propose: Kind.PROPOSE,
    Echo: Kind.ECHO,
    Vote: Kind.VOTE,
    Wish: Kind.WISH,
    ViewChange: Kind.VIEW_CHANGE,
    Decision: Kind.DECIDED,
    ReportSignature: Kind.REPORT_SIG,
    Fetch: Kind.FETCH,
    FetchReply: Kind.FETCH_REPLY,
    Accusation: Kind.EVIDENCE,
    Ask: Kind.ASK,
    Reveal: Kind.REVEAL,
}
