"""Examples of page 10: statements, frames and certificate of the broadcast; messages, blocks, store, records, evidence, hints."""

import json

import msgspec
import spec_world as w
from spec_agreement import CONTEXT
from spec_layout import Example, Json, Layout, Part, Values, layout

from meridian.ephemera import evidence
from meridian.ephemera.broadcast import frame as frames
from meridian.ephemera.broadcast.frame import (
    Accusation,
    BroadcastMessage,
    Certified,
    Echo,
    Fetch,
    Frontier,
    Gossip,
    Payload,
    Send,
    Vote,
)
from meridian.ephemera.broadcast.slot import (
    BROADCAST,
    DeliveryCertificate,
    Kind,
    Slot,
    statement,
    verify_delivery,
)
from meridian.ephemera.journal import evidence_key
from meridian.ephemera.messages.block import (
    BLOCK_CHANNEL,
    MessageBlock,
    make_block,
    message_root,
    prove_inclusion,
)
from meridian.ephemera.messages.message import MESSAGE, Realm, sign_message
from meridian.ephemera.messages.store_channel import STORE_CHANNEL, StoreEntry, entry_digest
from meridian.node.ephemera.address_hints import (
    ADDRESS_HINT,
    decode_hints,
    encode_hints,
    sign_hint,
)
from meridian.primitives import eip712, hashing
from meridian.primitives.eip712 import keccak
from meridian.primitives.hashing import sha256

REALM = Realm(CONTEXT.domain, CONTEXT.network)
CREATOR = 1
CREATED_MS = w.NOW_US // 1_000
MESSAGES = tuple(
    sign_message(
        REALM, key, number=w.EPOCH, created_ms=CREATED_MS + at, label="greeting", data=data
    )
    for at, (key, data) in enumerate(zip(w.MEMBER_KEYS, (b"hello", b"good day", b""), strict=False))
)
LEAVES = tuple(message.hash(REALM) for message in MESSAGES)
FIRST = make_block(CONTEXT, CREATOR, 1, CONTEXT.digest, CREATED_MS + 10, MESSAGES[:1])
BLOCK = make_block(CONTEXT, CREATOR, 2, FIRST.hash, CREATED_MS + 30_010, MESSAGES[1:])
BLOCK_OF_THREE = make_block(CONTEXT, CREATOR, 1, CONTEXT.digest, CREATED_MS + 10, MESSAGES)
SLOT = FIRST.header.slot
ENTRY = StoreEntry(b"colour", b"blue", 7)
ENTRY_SLOT = Slot(STORE_CHANNEL, 2, 5)
MORE_THAN_ONE = sha256(b"another block")
for made in (FIRST, BLOCK, BLOCK_OF_THREE):
    made.verify(CONTEXT)


def sign(member: int, kind: Kind, slot: Slot, digest: bytes) -> bytes:
    return w.MEMBER_KEYS[member].sign(statement(CONTEXT, kind, slot, digest))


CERTIFICATE = DeliveryCertificate(
    SLOT, FIRST.hash, tuple((m, sign(m, Kind.VOTE, SLOT, FIRST.hash)) for m in (0, 1, 3))
)
verify_delivery(CONTEXT, CERTIFICATE)


def broadcast() -> dict[str, Example]:
    return {
        **_statements(),
        **_frames(),
        **_messages(),
        **_blocks(),
        **_store(),
        **_records(),
        **_evidence(),
        **_hints(),
    }


def _slot(slot: Slot) -> tuple[Part, ...]:
    return (
        ("channel", "u8", slot.channel),
        ("sender", "u16", slot.sender),
        ("number", "u64", slot.number),
    )


def _votes() -> list[Part]:
    parts: list[Part] = [("votes", "u16", len(CERTIFICATE.votes))]
    for at, (member, signature) in enumerate(CERTIFICATE.votes):
        parts += [
            (f"vote {at} member", "u16", member),
            (f"vote {at} signature", "bytes64", signature),
        ]
    return parts


def _statements() -> dict[str, Example]:
    struct = BROADCAST.hash(
        CONTEXT.digest, Kind.ECHO, SLOT.channel, SLOT.sender, SLOT.number, FIRST.hash
    )
    said = statement(CONTEXT, Kind.ECHO, SLOT, FIRST.hash)
    assert eip712.digest(w.EVALUATIONS, struct) == said
    return {
        "broadcast-statement": Values(
            {
                "type": BROADCAST.description,
                "type hash": keccak(BROADCAST.description.encode()),
                "context": CONTEXT.digest,
                "kind": int(Kind.ECHO),
                "channel": SLOT.channel,
                "sender": SLOT.sender,
                "slot": SLOT.number,
                "digest": FIRST.hash,
                "struct hash": struct,
                "signed bytes": said,
                "signature of member 0": sign(0, Kind.ECHO, SLOT, FIRST.hash),
            }
        ),
        "delivery-certificate": layout(
            CERTIFICATE.encode(),
            ("version", "u16", 1),
            *_slot(SLOT),
            ("digest", "bytes32", FIRST.hash),
            *_votes(),
        ),
    }


def _framed(message: BroadcastMessage, *parts: Part) -> Layout:
    data = frames.encode(message, w.EPOCH)
    assert frames.decode(data, CONTEXT) == message
    head: tuple[Part, ...] = (
        ("version", "u8", 1),
        ("kind", "u8", Kind(data[1])),
        ("epoch", "u64", w.EPOCH),
    )
    return layout(data, *head, *parts)


def _proof() -> tuple[bytes, list[tuple[bytes, bytes]]]:
    pair = sorted((d, sign(3, Kind.ECHO, SLOT, d)) for d in (FIRST.hash, MORE_THAN_ONE))
    proof = evidence.double_broadcast(CONTEXT, 3, Kind.ECHO, SLOT, pair[0], pair[1])
    assert evidence.verify_evidence(CONTEXT, proof) == evidence.Guilt(3, "broadcast_echo")
    return proof, pair


def _frames() -> dict[str, Example]:
    sent = sign(CREATOR, Kind.SEND, SLOT, FIRST.hash)
    echo, vote = sign(0, Kind.ECHO, SLOT, FIRST.hash), sign(3, Kind.VOTE, SLOT, FIRST.hash)
    entry = ENTRY.encode()
    proof, _ = _proof()
    return {
        "broadcast-send": _framed(
            Send(SLOT, sent, FIRST.encode()),
            *_slot(SLOT),
            ("signature", "bytes64", sent),
            ("payload", "blob", FIRST.encode()),
        ),
        "broadcast-echo": _framed(
            Echo(0, SLOT, FIRST.hash, echo),
            ("member", "u16", 0),
            *_slot(SLOT),
            ("digest", "bytes32", FIRST.hash),
            ("signature", "bytes64", echo),
        ),
        "broadcast-vote": _framed(
            Vote(3, SLOT, FIRST.hash, vote),
            ("member", "u16", 3),
            *_slot(SLOT),
            ("digest", "bytes32", FIRST.hash),
            ("signature", "bytes64", vote),
        ),
        "broadcast-certified": _framed(
            Certified(CERTIFICATE), *_slot(SLOT), ("digest", "bytes32", FIRST.hash), *_votes()
        ),
        "broadcast-fetch": _framed(
            Fetch(ENTRY_SLOT, entry_digest(entry)),
            *_slot(ENTRY_SLOT),
            ("digest", "bytes32", entry_digest(entry)),
        ),
        "broadcast-payload": _framed(
            Payload(ENTRY_SLOT, entry_digest(entry), entry),
            *_slot(ENTRY_SLOT),
            ("digest", "bytes32", entry_digest(entry)),
            ("payload", "blob", entry),
        ),
        "broadcast-frontier": _framed(
            Frontier(((BLOCK_CHANNEL, 0, 12), (BLOCK_CHANNEL, 1, 1), (STORE_CHANNEL, 2, 4))),
            ("entries", "u16", 3),
            ("entry 0 channel", "u8", BLOCK_CHANNEL),
            ("entry 0 sender", "u16", 0),
            ("entry 0 number", "u64", 12),
            ("entry 1 channel", "u8", BLOCK_CHANNEL),
            ("entry 1 sender", "u16", 1),
            ("entry 1 number", "u64", 1),
            ("entry 2 channel", "u8", STORE_CHANNEL),
            ("entry 2 sender", "u16", 2),
            ("entry 2 number", "u64", 4),
        ),
        "broadcast-evidence": _framed(Accusation(proof), ("evidence", "blob", proof)),
        "broadcast-message": _framed(
            Gossip(MESSAGES[0].encode()), ("message", "blob", MESSAGES[0].encode())
        ),
    }


def _messages() -> dict[str, Example]:
    message = MESSAGES[0]
    label, data = sha256(message.label.encode()), sha256(message.data)
    struct = MESSAGE.hash(
        w.NETWORK_ID, message.round, message.sender, message.created_ms, label, data
    )
    said = message.statement(REALM)
    assert eip712.digest(w.EVALUATIONS, struct) == said
    assert sha256(bytes((hashing.MESSAGE_LEAF,)) + said) == LEAVES[0]
    message.verify(REALM)
    return {
        "message-statement": Values(
            {
                "type": MESSAGE.description,
                "type hash": keccak(MESSAGE.description.encode()),
                "network": w.NETWORK_ID,
                "round": message.round,
                "sender": message.sender,
                "created": message.created_ms,
                "label": label,
                "data": data,
                "struct hash": struct,
                "signed bytes": said,
                "message hash": LEAVES[0],
            }
        ),
        "message": layout(
            message.encode(),
            ("version", "u16", 1),
            ("sender", "bytes20", message.sender),
            ("round", "u64", message.round),
            ("created", "u64", message.created_ms),
            ("label", "blob", message.label.encode()),
            ("data", "blob", message.data),
            ("signature", "bytes64", message.signature),
            message_hash=LEAVES[0],
        ),
    }


def _header(block: MessageBlock) -> tuple[Part, ...]:
    header = block.header
    return (
        ("version", "u16", 1),
        ("context", "bytes32", header.context),
        ("creator", "u16", header.creator),
        ("height", "u64", header.height),
        ("previous", "bytes32", header.previous),
        ("created", "u64", header.created_ms),
        ("count", "u32", header.count),
        ("root", "bytes32", header.root),
    )


def _blocks() -> dict[str, Example]:
    inner = sha256(bytes((hashing.MESSAGE_NODE,)) + LEAVES[0] + LEAVES[1])
    root = sha256(bytes((hashing.MESSAGE_NODE,)) + inner + LEAVES[2])
    header = BLOCK_OF_THREE.header
    proofs = [prove_inclusion(LEAVES, index) for index in range(3)]
    assert root == header.root
    assert all(proof.holds(header) for proof in proofs)
    return {
        "block-header": layout(BLOCK.header.encode(), *_header(BLOCK), block_hash=BLOCK.hash),
        "block-of-messages": layout(
            BLOCK.encode(),
            *_header(BLOCK),
            *((f"message {at}", "blob", m.encode()) for at, m in enumerate(BLOCK.messages)),
            block_hash=BLOCK.hash,
        ),
        "message-tree": Values(
            {
                **{f"leaf {at}": leaf for at, leaf in enumerate(LEAVES)},
                "inner": inner,
                "root": root,
                **{
                    f"path of leaf {proof.index}": "\n".join(node.hex() for node in proof.path)
                    for proof in proofs
                },
                "root of leaves 0, 1, 2, 2": message_root([*LEAVES, LEAVES[2]]),
                "root of no leaves": message_root([]),
            }
        ),
    }


def _store() -> dict[str, Example]:
    writes = (
        (0, StoreEntry(b"colour", b"red", 6)),
        (1, StoreEntry(b"colour", b"green", 7)),
        (2, ENTRY),
    )
    _, last = max(writes, key=lambda write: write[1].rank(w.MEMBERS[write[0]]))
    return {
        "store-entry": layout(
            ENTRY.encode(),
            ("version", "u16", 1),
            ("clock", "u64", ENTRY.clock),
            ("key", "blob", ENTRY.key),
            ("value", "blob", ENTRY.value),
            digest=entry_digest(ENTRY.encode()),
        ),
        "last-writer": Values(
            {
                **{
                    f"member {member} writes": f"{entry.value.decode()}, clock {entry.clock}"
                    for member, entry in writes
                },
                "value": last.value.decode(),
            }
        ),
    }


def _records() -> dict[str, Example]:
    return {
        "slot-key": layout(SLOT.key(), *_slot(SLOT)),
        "broadcast-evidence-key": layout(
            evidence_key(3, "broadcast_echo"),
            ("member", "u16", 3),
            ("guilt", "bytes14", b"broadcast_echo"),
        ),
    }


def _evidence() -> dict[str, Example]:
    proof, pair = _proof()
    return {
        "evidence-broadcast": layout(
            proof,
            ("version", "u16", 1),
            ("form", "u8", evidence.BROADCAST),
            ("epoch", "u64", w.EPOCH),
            ("context", "bytes32", CONTEXT.digest),
            ("member", "u16", 3),
            ("kind", "u8", Kind.ECHO),
            *_slot(SLOT),
            ("digest 0", "bytes32", pair[0][0]),
            ("signature 0", "bytes64", pair[0][1]),
            ("digest 1", "bytes32", pair[1][0]),
            ("signature 1", "bytes64", pair[1][1]),
        )
    }


def _hints() -> dict[str, Example]:
    key, host, port = w.MEMBER_KEYS[1], "node2.example.org", 3_000
    hint = sign_hint(REALM, key, host=host, port=port, sequence=CREATED_MS)
    host_hash = sha256(host.encode())
    struct = ADDRESS_HINT.hash(w.NETWORK_ID, key.address, host_hash, port, CREATED_MS)
    said = eip712.digest(w.EVALUATIONS, struct)
    assert hint.signature == key.sign(said)
    document = msgspec.json.encode(encode_hints([hint]))
    assert decode_hints(document, REALM) == [hint]
    return {
        "address-hint": Values(
            {
                "type": ADDRESS_HINT.description,
                "type hash": keccak(ADDRESS_HINT.description.encode()),
                "network": w.NETWORK_ID,
                "member": key.address,
                "host": host_hash,
                "port": port,
                "sequence": CREATED_MS,
                "struct hash": struct,
                "signed bytes": said,
            }
        ),
        "address-hints": Json(json.loads(document)),
    }
