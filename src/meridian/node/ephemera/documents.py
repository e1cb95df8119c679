"""The JSON of the API: what stands in it, made from blocks and read back into them.

Bytes are hex, addresses lower case with ``0x``, integers beyond 2**53 - 1 decimal text (`Number`). A
`BlockDocument` holds everything that proves the block: `read_block` rebuilds it and checks all of it.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from meridian.ephemera.broadcast.slot import DeliveryCertificate, Slot, verify_delivery
from meridian.ephemera.context import Context
from meridian.ephemera.messages.block import InclusionProof, MessageBlock, MessageBlockHeader
from meridian.ephemera.messages.message import Realm, SignedMessage
from meridian.errors import InvalidInput
from meridian.node.ephemera.storage import FinalisedBlock
from meridian.primitives.base58 import decode as decode_base58
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, address_text, parse_address, parse_digest

Number = int | str
"""An integer; as decimal text where a JSON reader might round it."""

EXACT_MAX: Final = (1 << 53) - 1
_DIGITS_MAX: Final = 78
"""Digits of 2**256."""


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object."""


class MessageDocument(Document, frozen=True, kw_only=True):
    """A signed message."""

    sender: str
    round: Number
    created_ms: Number
    label: str
    data: str
    signature: str


class HeaderDocument(Document, frozen=True, kw_only=True):
    """A block's header; `hash` is the block's."""

    hash: str
    context: str
    creator: str
    creator_index: int
    height: Number
    previous: str
    created_ms: Number
    count: int
    root: str


class MemberSetDocument(Document, frozen=True, kw_only=True):
    """Who finalised, and where their signatures count."""

    number: Number
    network: str
    chain_id: Number
    contract: str
    members: tuple[str, ...]


class VoteDocument(Document, frozen=True, kw_only=True):
    """One member's signature under a block."""

    member: str
    signature: str


class CertificateDocument(Document, frozen=True, kw_only=True):
    """The votes that made a block final."""

    channel: int
    digest: str
    quorum: int
    votes: tuple[VoteDocument, ...]


class BlockDocument(Document, frozen=True, kw_only=True):
    """A finalised block with its proof; `sequence` is its place in the answering node's own order."""

    sequence: Number
    header: HeaderDocument
    messages: tuple[MessageDocument, ...]
    certificate: CertificateDocument
    member_set: MemberSetDocument


class ProofDocument(Document, frozen=True, kw_only=True):
    """That a message stands in a final block, for anyone to verify offline."""

    message: MessageDocument
    message_hash: str
    index: int
    path: tuple[str, ...]
    header: HeaderDocument
    certificate: CertificateDocument
    member_set: MemberSetDocument


def number(value: int) -> Number:
    """Return an integer as every JSON reader gets it right."""
    return value if abs(value) <= EXACT_MAX else str(value)


def read_number(value: Number, field: str) -> int:
    """Return the integer; raises InvalidInput for text that is none."""
    if isinstance(value, int):
        return value
    if len(value) > _DIGITS_MAX or not (value.isascii() and value.isdecimal()):
        raise InvalidInput(field, "is no decimal number")
    return int(value)


def read_hex(text: str, field: str, *, bytes_max: int) -> bytes:
    """Return bytes of hex with or without ``0x``; raises InvalidInput."""
    digits = text.removeprefix("0x")
    if len(digits) > 2 * bytes_max:
        raise InvalidInput(field, f"more than {bytes_max} bytes")
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        data = None
    if data is None or 2 * len(data) != len(digits):  # fromhex passes over spaces
        raise InvalidInput(field, "is not hex")
    return data


def read_hash(text: str, field: str) -> bytes:
    """Return 32 bytes of hex or base58; raises InvalidInput, also for any other length."""
    if len(text.removeprefix("0x")) == 64:
        return parse_digest(text, field)
    data = decode_base58(text, field)
    if len(data) != 32:
        raise InvalidInput(field, f"{len(data)} bytes where 32 are needed")
    return data


# --- to JSON ---


def message_document(message: SignedMessage) -> MessageDocument:
    """Return a message as JSON."""
    return MessageDocument(
        sender=address_text(message.sender),
        round=number(message.round),
        created_ms=number(message.created_ms),
        label=message.label,
        data=message.data.hex(),
        signature=message.signature.hex(),
    )


def header_document(header: MessageBlockHeader, context: Context) -> HeaderDocument:
    """Return a header as JSON."""
    return HeaderDocument(
        hash=header.hash.hex(),
        context=header.context.hex(),
        creator=address_text(Address(context.members[header.creator])),
        creator_index=header.creator,
        height=number(header.height),
        previous=header.previous.hex(),
        created_ms=number(header.created_ms),
        count=header.count,
        root=header.root.hex(),
    )


def member_set_document(context: Context) -> MemberSetDocument:
    """Return a member set as JSON."""
    return MemberSetDocument(
        number=number(context.epoch),
        network=context.network.hex(),
        chain_id=number(context.domain.chain_id),
        contract=address_text(context.domain.contract),
        members=tuple(address_text(Address(member)) for member in context.members),
    )


def certificate_document(certificate: DeliveryCertificate, context: Context) -> CertificateDocument:
    """Return a certificate as JSON; its slot is that of the block."""
    return CertificateDocument(
        channel=certificate.slot.channel,
        digest=certificate.digest.hex(),
        quorum=context.quorum,
        votes=tuple(
            VoteDocument(
                member=address_text(Address(context.members[member])), signature=signature.hex()
            )
            for member, signature in certificate.votes
        ),
    )


def block_document(finalised: FinalisedBlock) -> BlockDocument:
    """Return a finalised block as JSON."""
    return BlockDocument(
        sequence=number(finalised.sequence),
        header=header_document(finalised.block.header, finalised.context),
        messages=tuple(message_document(message) for message in finalised.block.messages),
        certificate=certificate_document(finalised.certificate, finalised.context),
        member_set=member_set_document(finalised.context),
    )


def proof_document(finalised: FinalisedBlock, proof: InclusionProof) -> ProofDocument:
    """Return the proof of one message as JSON."""
    return ProofDocument(
        message=message_document(finalised.block.messages[proof.index]),
        message_hash=proof.message.hex(),
        index=proof.index,
        path=tuple(step.hex() for step in proof.path),
        header=header_document(finalised.block.header, finalised.context),
        certificate=certificate_document(finalised.certificate, finalised.context),
        member_set=member_set_document(finalised.context),
    )


# --- from JSON; everything raises InvalidInput ---


def read_message(document: MessageDocument) -> SignedMessage:
    """Read a message; checks its form, not its signature."""
    return SignedMessage(
        sender=parse_address(document.sender, "sender"),
        round=read_number(document.round, "round"),
        created_ms=read_number(document.created_ms, "created_ms"),
        label=document.label,
        data=read_hex(document.data, "data", bytes_max=len(document.data)),
        signature=read_hex(document.signature, "signature", bytes_max=64),
    )


def read_context(document: MemberSetDocument) -> Context:
    """Read a member set."""
    domain = Domain(
        chain_id=read_number(document.chain_id, "chain_id"),
        contract=parse_address(document.contract, "contract"),
    )
    members = tuple(parse_address(text, "members") for text in document.members)
    network = parse_digest(document.network, "network")
    return Context(domain, network, read_number(document.number, "number"), members)


def read_header(document: HeaderDocument) -> MessageBlockHeader:
    """Read a header; the hash that it names must be its own."""
    header = MessageBlockHeader(
        context=parse_digest(document.context, "context"),
        creator=document.creator_index,
        height=read_number(document.height, "height"),
        previous=parse_digest(document.previous, "previous"),
        created_ms=read_number(document.created_ms, "created_ms"),
        count=document.count,
        root=parse_digest(document.root, "root"),
    )
    if header.hash != parse_digest(document.hash, "hash"):
        raise InvalidInput("header.hash", "is not that of the header")
    return header


def verify_block_document(document: BlockDocument) -> FinalisedBlock:
    """Read a block and check all of it: hash, root, signatures of messages, quorum of votes."""
    context = read_context(document.member_set)
    header = _verify_final(document.header, document.certificate, context)
    messages = tuple(read_message(message) for message in document.messages)
    block = MessageBlock(header, messages)
    block.verify(context)
    certificate = _read_certificate(document.certificate, header, context)
    return FinalisedBlock(read_number(document.sequence, "sequence"), context, block, certificate)


def verify_proof_document(document: ProofDocument) -> Context:
    """Check that the message is signed and stands in a block that a quorum of the member set made final."""
    context = read_context(document.member_set)
    header = _verify_final(document.header, document.certificate, context)
    realm = Realm(context.domain, context.network)
    message = read_message(document.message)
    message.verify(realm)
    if message.hash(realm) != parse_digest(document.message_hash, "message_hash"):
        raise InvalidInput("message_hash", "is not that of the message")
    path = tuple(parse_digest(step, "path") for step in document.path)
    if not InclusionProof(message.hash(realm), document.index, path).holds(header):
        raise InvalidInput("path", "does not lead to the block's root")
    return context


def _verify_final(
    header_json: HeaderDocument, certificate_json: CertificateDocument, context: Context
) -> MessageBlockHeader:
    header = read_header(header_json)
    if header.context != context.digest:
        raise InvalidInput("header.context", "is of another member set or network")
    if not 0 <= header.creator < context.n:
        raise InvalidInput("header.creator_index", "is a stranger")
    if context.members[header.creator] != parse_address(header_json.creator, "header.creator"):
        raise InvalidInput("header.creator", "is not the member of that index")
    verify_delivery(context, _read_certificate(certificate_json, header, context))
    return header


def _read_certificate(
    document: CertificateDocument, header: MessageBlockHeader, context: Context
) -> DeliveryCertificate:
    slot = Slot(document.channel, header.creator, header.height)
    digest = parse_digest(document.digest, "certificate.digest")
    if slot != header.slot or digest != header.hash:
        raise InvalidInput("certificate", "is of another block")
    certificate = DeliveryCertificate(slot, digest, _read_votes(document.votes, context))
    return DeliveryCertificate.decode(certificate.encode())  # checks the order of the votes


def _read_votes(votes: Sequence[VoteDocument], context: Context) -> tuple[tuple[int, bytes], ...]:
    found = []
    for vote in votes:
        member = context.index_of(parse_address(vote.member, "certificate.member"))
        if member is None:
            raise InvalidInput("certificate.member", f"{vote.member} is a stranger")
        found.append((member, read_hex(vote.signature, "certificate.signature", bytes_max=64)))
    return tuple(found)
