"""The decided block and the certificate that proves it; both verify offline.

A block names one signed commitment per member with what opens it, and the signed HAVE vectors that show which rows
had to be in it. Laws: a row that at least f + 1 of the block's HAVEs list is in the block (inclusion), so no leader can
leave out a row that every correct member held in time; and no other is, unless too few are listed so often (admission),
so no leader can bring in a row whose commitment came when rows were revealed already. The block hash covers commitments
and vectors but no signature and no opening: a signature has its own rules, the commitment binds its opening, and two
spellings of one block must not be two blocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from struct import Struct

from meridian.ephemera.context import PROTOCOL_VERSION, VIEW_MAX, Context, Kind
from meridian.ephemera.limits import MEMBERS_MAX
from meridian.ephemera.opening import Opening, commitment_of
from meridian.errors import InvalidInput
from meridian.primitives import hashing
from meridian.primitives.codec import Reader, Writer

Entry = tuple[int, bytes]
"""(member index, commitment of 32 bytes)."""

Signature = tuple[int, bytes]
"""(member index, 64-byte EIP-2098 signature)."""

# A block of 100 members holds 10,000 entries: they are read and written in bulk.
_ENTRY = Struct(">H32s")
_SIGNATURE = Struct(">H64s")
_ROW = Struct(">H32s64s32s32s32s")


@dataclass(frozen=True, slots=True)
class SignedRow:
    """One member's row: its commitment, signed as ROW in view 0, and what opens it."""

    member: int
    digest: bytes
    """The commitment."""
    signature: bytes
    opening: Opening


@dataclass(frozen=True, slots=True)
class SignedHave:
    """The rows whose bodies one member held and accepted, signed as HAVE in view 0."""

    member: int
    entries: tuple[Entry, ...]
    """Strictly ascending by member."""
    signature: bytes
    vector: bytes = field(init=False, repr=False, compare=False)
    """The entries as they are written."""
    digest: bytes = field(init=False, repr=False, compare=False)
    """What the HAVE signature is about: SHA256(HAVE | vector)."""

    def __post_init__(self) -> None:
        self._spell(vector_bytes(self.entries))

    def _spell(self, vector: bytes) -> None:
        object.__setattr__(self, "vector", vector)
        object.__setattr__(self, "digest", hashing.tagged(hashing.HAVE, vector))

    @staticmethod
    def read(reader: Reader) -> SignedHave:
        """Read member, vector and signature."""
        have = object.__new__(
            SignedHave
        )  # Past __post_init__: the vector need not be written again.
        object.__setattr__(have, "member", reader.u16())
        count = _count(reader)
        data = reader.fixed(_ENTRY.size * count)
        object.__setattr__(have, "entries", tuple(_ENTRY.iter_unpack(data)))
        object.__setattr__(have, "signature", reader.fixed(64))
        have._spell(count.to_bytes(2, "big") + data)
        return have


@dataclass(frozen=True, slots=True)
class Block:
    """The rows that the epoch is decided on."""

    epoch: int
    rows: tuple[SignedRow, ...]
    """Strictly ascending by member; at least n - f."""
    haves: tuple[SignedHave, ...]
    """Strictly ascending by member; at least n - f."""
    hash: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        out = Writer().u16(PROTOCOL_VERSION).u64(self.epoch).u16(len(self.rows))
        for row in self.rows:
            out.u16(row.member).fixed(row.digest, 32)
        out.u16(len(self.haves))
        for have in self.haves:
            out.u16(have.member).raw(have.vector)
        object.__setattr__(self, "hash", hashing.tagged(hashing.BLOCK, out.bytes()))

    def encode(self) -> bytes:
        """Canonical bytes, signatures included."""
        out = Writer().u16(PROTOCOL_VERSION).u64(self.epoch).u16(len(self.rows))
        for row in self.rows:
            out.u16(row.member).fixed(row.digest, 32).fixed(row.signature, 64)
            write_opening(out, row.opening)
        out.u16(len(self.haves))
        for have in self.haves:
            out.u16(have.member).raw(have.vector).fixed(have.signature, 64)
        return out.bytes()

    @staticmethod
    def decode(data: bytes) -> Block:
        """Read canonical bytes; raises InvalidInput. Checks form, not signatures."""
        reader = Reader(data)
        block = read_block(reader)
        reader.finish()
        return block


@dataclass(frozen=True, slots=True)
class Certificate:
    """A quorum of signatures about one block hash in one view: VOTEs prove a decision, ECHOs a lock."""

    view: int
    block_hash: bytes
    votes: tuple[Signature, ...]
    """Strictly ascending by member index."""

    def encode(self) -> bytes:
        """Canonical bytes."""
        out = Writer().u16(PROTOCOL_VERSION)
        write_certificate(out, self)
        return out.bytes()

    @staticmethod
    def decode(data: bytes) -> Certificate:
        """Read canonical bytes; raises InvalidInput. Checks form, not signatures."""
        reader = Reader(data)
        if reader.u16() != PROTOCOL_VERSION:
            raise InvalidInput("certificate.version", f"must be {PROTOCOL_VERSION}")
        certificate = read_certificate(reader)
        reader.finish()
        return certificate


def block_bytes_max(n: int) -> int:
    """Bytes of the longest block of n members."""
    return 14 + n * _ROW.size + n * (2 + 2 + _ENTRY.size * n + 64)


def verify_block(context: Context, block: Block) -> None:
    """Raise InvalidInput unless `block` could be decided in `context` (bft.md section 3, S2)."""
    if block.epoch != context.epoch:
        raise InvalidInput("block.epoch", f"must be {context.epoch}")
    _check_members("block.rows", context, [row.member for row in block.rows])
    _check_members("block.haves", context, [have.member for have in block.haves])
    for have in block.haves:
        check_entries(context, have.entries)
    _check_inclusion(context, block)
    for row in block.rows:
        if commitment_of(context.members[row.member], row.opening) != row.digest:
            raise InvalidInput("block.rows", f"member {row.member} committed to another row")
        if not context.signed(row.member, Kind.ROW, 0, row.digest, row.signature):
            raise InvalidInput("block.rows", f"signature of member {row.member} does not verify")
    for have in block.haves:
        if not context.signed(have.member, Kind.HAVE, 0, have.digest, have.signature):
            raise InvalidInput("block.haves", f"signature of member {have.member} does not verify")


def verify_certificate(context: Context, certificate: Certificate, kind: Kind = Kind.VOTE) -> None:
    """Raise InvalidInput unless a quorum of members signed `kind` for the certificate's block."""
    members = [member for member, _ in certificate.votes]
    if len(members) < context.quorum:
        raise InvalidInput("certificate.votes", f"{len(members)} of {context.quorum} needed")
    if any(member >= context.n for member in members):
        raise InvalidInput("certificate.votes", "names a stranger")
    if any(a >= b for a, b in pairwise(members)):
        raise InvalidInput("certificate.votes", "must be strictly ascending")
    for member, signature in certificate.votes:
        if not context.signed(member, kind, certificate.view, certificate.block_hash, signature):
            raise InvalidInput("certificate.votes", f"signature of member {member} does not verify")


def listings(haves: Iterable[SignedHave]) -> Counter[Entry]:
    """How many of the HAVEs list each row."""
    return Counter(chain.from_iterable(have.entries for have in haves))


def required_members(context: Context, haves: Iterable[SignedHave]) -> set[int]:
    """Members of whom some row is listed by at least f + 1 of the HAVEs: they must be in the block.

    Counted per (member, digest): f + 1 listings of one digest include a correct member, which holds opening and
    body, and which had the commitment before it revealed its own row.
    """
    counts = listings(haves)
    return {member for (member, _), count in counts.items() if count >= context.amplify}


def _check_inclusion(context: Context, block: Block) -> None:
    """Who must be in a block, and who may be: see the laws above.

    n - f rows listed f + 1 times need not exist (from n = 7 on, where no two members held the same rows in time), so
    rows that are listed less often may fill a block up to n - f, and never further.
    """
    counts = listings(block.haves)
    required = required_members(context, block.haves)
    missing = required - {row.member for row in block.rows}
    if missing:
        raise InvalidInput(
            "block.rows", f"leaves out member {min(missing)}, which the HAVEs require"
        )
    for row in block.rows:
        listed = counts[row.member, row.digest]
        if listed >= context.amplify:
            continue
        if not listed or row.member in required or len(block.rows) > context.rows_min:
            raise InvalidInput(
                "block.rows", f"holds a row of member {row.member} that the HAVEs do not admit"
            )


def have_digest(entries: Sequence[Entry]) -> bytes:
    """SHA256(HAVE | count u16 | (member u16, digest)...)."""
    return hashing.tagged(hashing.HAVE, vector_bytes(entries))


def check_entries(context: Context, entries: Sequence[Entry]) -> None:
    """Raise InvalidInput unless a HAVE vector is ascending, of members, and of at least n - f rows."""
    _check_members("have.entries", context, [member for member, _ in entries])


def _check_members(name: str, context: Context, members: Sequence[int]) -> None:
    if len(members) < context.rows_min:
        raise InvalidInput(name, f"{len(members)} of {context.rows_min} needed")
    if members[-1] >= context.n:
        raise InvalidInput(name, "names a stranger")
    if list(members) != sorted(set(members)):
        raise InvalidInput(name, "must be strictly ascending by member")


def vector_bytes(entries: Sequence[Entry]) -> bytes:
    """The bytes of a HAVE vector."""
    out = Writer().u16(len(entries))
    for member, digest in entries:
        out.u16(member).fixed(digest, 32)
    return out.bytes()


def write_opening(out: Writer, opening: Opening) -> None:
    """Append salt, row root and trace root."""
    out.fixed(opening.salt, 32).fixed(opening.row_root, 32).fixed(opening.trace_root, 32)


def read_opening(reader: Reader) -> Opening:
    """Read what `write_opening` wrote."""
    return Opening(reader.fixed(32), reader.fixed(32), reader.fixed(32))


def write_certificate(out: Writer, certificate: Certificate) -> None:
    """Append a certificate without its version."""
    out.u32(certificate.view).fixed(certificate.block_hash, 32).u16(len(certificate.votes))
    for member, signature in certificate.votes:
        out.u16(member).fixed(signature, 64)


def read_certificate(reader: Reader) -> Certificate:
    """Read what `write_certificate` wrote."""
    view, block_hash = reader.u32(), reader.fixed(32)
    if view > VIEW_MAX:
        raise InvalidInput("certificate.view", f"must be at most {VIEW_MAX}")
    data = reader.fixed(_SIGNATURE.size * _count(reader))
    votes: tuple[Signature, ...] = tuple(_SIGNATURE.iter_unpack(data))
    return Certificate(view, block_hash, votes)


def read_block(reader: Reader) -> Block:
    """Read what `Block.encode` wrote."""
    if reader.u16() != PROTOCOL_VERSION:
        raise InvalidInput("block.version", f"must be {PROTOCOL_VERSION}")
    epoch = reader.u64()
    data = reader.fixed(_ROW.size * _count(reader))
    rows = tuple(
        SignedRow(member, digest, signature, Opening(*opening))
        for member, digest, signature, *opening in _ROW.iter_unpack(data)
    )
    haves = tuple(SignedHave.read(reader) for _ in range(_count(reader)))
    return Block(epoch, rows, haves)


def _count(reader: Reader) -> int:
    count = reader.u16()
    if count > MEMBERS_MAX:
        raise InvalidInput("count", f"must be at most {MEMBERS_MAX}")
    return count
