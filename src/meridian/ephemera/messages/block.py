"""A block of messages: made by one member, chained to its earlier blocks, delivered by reliable broadcast.

The slot of the broadcast is (BLOCK channel, creator, height), and the digest that members echo and vote for is the
block hash, so that the delivery certificate signs the header, and the header's root every message. Law: root and
number of messages stand in the hash and the tree promotes an odd node instead of duplicating it, so that one hash is
one list of messages (CVE-2012-2459). No signature of a message is part of the hash.

Header bytes: `version u16 | context 32 | creator u16 | height u64 | previous 32 | created u64 | count u32 | root 32`;
block bytes: header, then a blob for every message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from meridian.ephemera.broadcast.slot import NUMBER_MAX, Slot
from meridian.ephemera.context import PROTOCOL_VERSION, Context
from meridian.ephemera.messages.message import MESSAGE_BYTES_MAX, Realm, SignedMessage
from meridian.errors import InvalidInput
from meridian.primitives import hashing, rfc6962
from meridian.primitives.codec import Reader, Writer

BLOCK_CHANNEL = 1

BLOCK_BYTES_MAX = 1 << 20
"""Bytes of one block; what does not fit waits for the next."""

HEADER_BYTES = 2 + 32 + 2 + 8 + 32 + 8 + 4 + 32
MESSAGES_MAX = 8_192
"""Messages of one block."""


@dataclass(frozen=True, slots=True)
class MessageBlockHeader:
    """What a block's hash is about."""

    context: bytes
    """Digest of the member set: binds chain, contract, network and members."""
    creator: int
    """Index of the member that made the block."""
    height: int
    """From 1; the number of the broadcast slot."""
    previous: bytes
    """Hash of the creator's block before; the context digest before the first."""
    created_ms: int
    """Unix milliseconds by the creator's clock, greater than those of the block before; at most 2^63 - 1."""
    count: int
    root: bytes
    """Merkle root of the message hashes (RFC 9162 section 2.1.1, tag MESSAGE_NODE)."""

    def encode(self) -> bytes:
        """Canonical bytes."""
        out = Writer().u16(PROTOCOL_VERSION).fixed(self.context, 32).u16(self.creator)
        out.u64(self.height).fixed(self.previous, 32).u64(self.created_ms)
        return out.u32(self.count).fixed(self.root, 32).bytes()

    @property
    def hash(self) -> bytes:
        """SHA256(MESSAGE_BLOCK | header)."""
        return hashing.tagged(hashing.MESSAGE_BLOCK, self.encode())

    @property
    def slot(self) -> Slot:
        """Where the block is broadcast."""
        return Slot(BLOCK_CHANNEL, self.creator, self.height)

    @staticmethod
    def decode(data: bytes) -> MessageBlockHeader:
        """Read canonical bytes; raises InvalidInput."""
        reader = Reader(data)
        header = _read_header(reader)
        reader.finish()
        return header


@dataclass(frozen=True, slots=True)
class MessageBlock:
    """A header and its messages; `verify` checks that they belong together."""

    header: MessageBlockHeader
    messages: tuple[SignedMessage, ...]
    hash: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash", self.header.hash)

    def encode(self) -> bytes:
        """Canonical bytes, signatures of the messages included."""
        out = Writer()
        for message in self.messages:
            out.blob(message.encode())
        return self.header.encode() + out.bytes()

    def message_hashes(self, realm: Realm) -> list[bytes]:
        """The leaves of the block's tree, in order."""
        return [message.hash(realm) for message in self.messages]

    def verify(self, context: Context) -> None:
        """Raise InvalidInput unless header and messages hold together and every message is signed.

        Whether the creator made it, and whether members accepted it, is shown by the broadcast's certificate.
        """
        header = self.header
        if header.context != context.digest:
            raise InvalidInput("block.context", "is of another member set or network")
        if header.creator >= context.n:
            raise InvalidInput("block.creator", "is a stranger")
        realm = Realm(context.domain, context.network)
        for message in self.messages:
            message.verify(realm)
        hashes = self.message_hashes(realm)
        if len(set(hashes)) != len(hashes):
            raise InvalidInput("block.messages", "one stands twice")
        if (header.count, header.root) != (len(hashes), message_root(hashes)):
            raise InvalidInput("block.root", "is not that of the messages")

    @staticmethod
    def decode(data: bytes) -> MessageBlock:
        """Read canonical bytes; raises InvalidInput. Checks form only."""
        if len(data) > BLOCK_BYTES_MAX:
            raise InvalidInput("block", f"must be at most {BLOCK_BYTES_MAX} bytes")
        reader = Reader(data)
        header = _read_header(reader)
        messages = tuple(
            SignedMessage.decode(reader.blob(MESSAGE_BYTES_MAX)) for _ in range(header.count)
        )
        reader.finish()
        return MessageBlock(header, messages)


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That a message is in a block: with the header and its delivery certificate it proves itself."""

    message: bytes
    """Message hash."""
    index: int
    path: tuple[bytes, ...]
    """RFC 9162 section 2.1.3.1."""

    def holds(self, header: MessageBlockHeader) -> bool:
        """Whether the message stands at the index in the block of this header."""
        return rfc6962.verify_inclusion(
            self.message, self.index, header.count, self.path, header.root, hashing.MESSAGE_NODE
        )


def message_root(hashes: Sequence[bytes]) -> bytes:
    """The Merkle root of message hashes; SHA256("") of none."""
    return rfc6962.root(hashes, hashing.MESSAGE_NODE)


def prove_inclusion(hashes: Sequence[bytes], index: int) -> InclusionProof:
    """Return the proof for one message of a block; raises InvalidInput if there is no such index."""
    path = rfc6962.inclusion_path(hashes, index, hashing.MESSAGE_NODE)
    return InclusionProof(hashes[index], index, tuple(path))


def make_block(
    context: Context,
    creator: int,
    height: int,
    previous: bytes,
    created_ms: int,
    messages: Sequence[SignedMessage],
) -> MessageBlock:
    """Make a block of messages in the order given."""
    realm = Realm(context.domain, context.network)
    root = message_root([message.hash(realm) for message in messages])
    header = MessageBlockHeader(
        context.digest, creator, height, previous, created_ms, len(messages), root
    )
    return MessageBlock(header, tuple(messages))


def _read_header(reader: Reader) -> MessageBlockHeader:
    if reader.u16() != PROTOCOL_VERSION:
        raise InvalidInput("block.version", f"must be {PROTOCOL_VERSION}")
    header = MessageBlockHeader(
        reader.fixed(32),
        reader.u16(),
        reader.u64(),
        reader.fixed(32),
        reader.u64(),
        reader.u32(),
        reader.fixed(32),
    )
    if not 1 <= header.height <= NUMBER_MAX:
        raise InvalidInput("block.height", f"must be 1..{NUMBER_MAX}")
    if (
        header.created_ms > NUMBER_MAX
    ):  # databases hold no more, and a block must fit in all of them
        raise InvalidInput("block.created", f"must be at most {NUMBER_MAX}")
    if header.count > MESSAGES_MAX:
        raise InvalidInput("block.count", f"must be at most {MESSAGES_MAX}")
    return header
