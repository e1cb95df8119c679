"""The fuzz targets: each takes any bytes, and raises only when the code under it breaks a promise.

The promises: a parser raises nothing but its own refusal; what it takes has one spelling; what verifies was signed; a
replica takes every frame without an error, says nothing twice and never accuses itself.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from ephemera.broadcast_cluster import SETTINGS, Node, message_of
from ephemera.cluster import EPOCH, AcceptAll, keys
from meridian.ephemera import frame as frames
from meridian.ephemera.block import Block, Certificate, verify_block, verify_certificate
from meridian.ephemera.broadcast import frame as broadcast_frames
from meridian.ephemera.broadcast.slot import DeliveryCertificate, verify_delivery
from meridian.ephemera.context import Kind
from meridian.ephemera.effects import Broadcast, Delivered, Effect, Misbehaviour, Send
from meridian.ephemera.evidence import DOUBLE_KINDS, verify_evidence
from meridian.ephemera.journal import remember
from meridian.ephemera.messages.block import MessageBlock
from meridian.ephemera.messages.hooks import AcceptAll as AcceptAnyMessage
from meridian.ephemera.messages.message import SignedMessage
from meridian.ephemera.replica import Replica
from meridian.errors import InvalidInput, StorageFailure
from meridian.node.link_frames import (
    HELLO_BYTES,
    FrameParser,
    PeerFault,
    decode_hello,
    encode_frame,
)
from meridian.node.link_frames import (
    Kind as LinkKind,
)
from meridian.primitives.codec import Reader

from . import body_targets, corpus, proof_targets
from .promise import Broken, promise

LINK_FRAME_BYTES_MAX: Final = 1 << 16
STEPS_MAX: Final = 200


def fuzz_frame(data: bytes) -> None:
    """The decoder of protocol frames."""
    try:
        epoch = frames.epoch_of(data)
        message = frames.decode(data, corpus.VOICE.context)
    except InvalidInput:
        return
    promise(frames.encode(message, epoch) == data, "a frame has two spellings")


def fuzz_link(data: bytes) -> None:
    """The parser that takes link frames from chunks, and the hello."""
    read = _read_all(data)
    at = 0
    for kind, payload in read:
        promise(len(payload) <= LINK_FRAME_BYTES_MAX, "a payload passes the limit")
        frame = encode_frame(kind, payload)
        promise(data[at : at + len(frame)] == frame, "a link frame has two spellings")
        at += len(frame)
        if kind is LinkKind.HELLO:
            try:
                hello = decode_hello(payload)
            except PeerFault:
                continue
            promise(hello.encode() == payload, "a hello has two spellings")
            promise(len(payload) == HELLO_BYTES, "a hello of another length")
    for chunk_bytes in (1 + len(data), 1 + sum(data[:3]) % 97 + len(data) // 100):
        parsed, faulty = _parse_all(data, chunk_bytes)
        promise(parsed == read[: len(parsed)], "the parser reads other frames")
        promise(faulty or parsed == read, "the parser leaves frames out")


def _read_all(data: bytes) -> list[tuple[LinkKind, bytes]]:
    """The frames up to the first that is wrong or cut off, read without haste: what the parser must find."""
    found, at, kinds = [], 0, {int(kind) for kind in LinkKind}
    while len(data) - at >= 5:
        payload_bytes, kind = int.from_bytes(data[at : at + 4], "big") - 1, data[at + 4]
        end = at + 5 + payload_bytes
        if not 0 <= payload_bytes <= LINK_FRAME_BYTES_MAX or kind not in kinds or end > len(data):
            break
        found.append((LinkKind(kind), data[at + 5 : end]))
        at = end
    return found


def _parse_all(data: bytes, chunk_bytes: int) -> tuple[list[tuple[LinkKind, bytes]], bool]:
    parser, found = FrameParser(LINK_FRAME_BYTES_MAX), []
    for first in range(0, len(data), chunk_bytes):
        try:
            found += parser.feed(data[first : first + chunk_bytes])
        except PeerFault:
            return found, True
    return found, False


def fuzz_certificate(data: bytes) -> None:
    """Decoder and verifier of blocks and certificates."""
    context = corpus.VOICE.context
    if not data:
        return
    try:
        if data[0] == 0:
            block = Block.decode(data[1:])
            promise(block.encode() == data[1:], "a block has two spellings")
            verify_block(context, block)
            signatures = [row.signature for row in block.rows]
            signatures += [have.signature for have in block.haves]
            promise(len(block.rows) >= context.rows_min, "a block of too few rows verifies")
        else:
            certificate = Certificate.decode(data[1:])
            promise(certificate.encode() == data[1:], "a certificate has two spellings")
            verify_certificate(context, certificate, Kind.VOTE if data[0] == 1 else Kind.ECHO)
            signatures = [signature for _, signature in certificate.votes]
            promise(len(signatures) >= context.quorum, "a certificate without quorum verifies")
    except InvalidInput:
        return
    promise(set(signatures) <= corpus.signed_pairs(), "a forgery verifies")


def fuzz_journal(data: bytes) -> None:
    """The reader of safety records."""
    try:
        records = corpus.read_records(data, EPOCH)
    except InvalidInput:
        return
    own = corpus.VOICE.context.members[corpus.OWN]
    try:
        remember(corpus.VOICE.context, own, records)
        # What can be read can be gone on from, or is refused: nothing else may happen at a start.
        _replica().open(corpus.VOICE.context, records, 0)
    except StorageFailure:
        return


def fuzz_evidence(data: bytes) -> None:
    """The verifier of evidence."""
    try:
        guilt = verify_evidence(corpus.VOICE.context, data)
    except InvalidInput:
        return
    promise(guilt.member == 1, f"member {guilt.member} is framed")
    promise(data in corpus.proofs(), "evidence has two spellings")


def fuzz_replica(data: bytes) -> None:
    """A whole member with its real key, which hears frames of anybody."""
    replica, said = _replica(), {}
    effects = replica.open(corpus.VOICE.context, [], 0)
    effects += replica.submit_row(EPOCH, corpus.BODIES[corpus.OWN], 0)
    reader, now_ms = Reader(data), 0
    for _ in range(STEPS_MAX):
        try:
            sender, frame = reader.u8() % 4, reader.fixed(reader.u16())
        except InvalidInput:
            break
        now_ms += 1 + sender
        effects += replica.receive(corpus.VOICE.context.members[sender], frame, now_ms)
        due_ms = replica.next_deadline_ms()
        if due_ms is not None and due_ms <= now_ms:
            effects += replica.tick(now_ms)
    promise(len(effects) < 100 * STEPS_MAX, "effects without end")
    for effect in effects:
        _note(effect, said)


def _note(effect: Effect, said: dict[tuple[int, int], bytes]) -> None:
    """A member says one thing of a kind in a view, and never accuses itself."""
    if isinstance(effect, Misbehaviour):
        promise(effect.member != corpus.OWN, "a correct member accuses itself")
    if not isinstance(effect, Send | Broadcast):
        return
    kind = Kind(effect.frame[1])
    if kind not in DOUBLE_KINDS:
        return
    message: Any = frames.decode(effect.frame, corpus.VOICE.context)
    if message.member == corpus.OWN:
        key = (int(kind), getattr(message, "view", 0))
        promise(said.setdefault(key, effect.frame) == effect.frame, f"two {kind.name}s in a view")


def fuzz_block_replica(data: bytes) -> None:
    """A whole member of the reliable broadcast with its real key, which hears frames of anybody."""
    context, said = corpus.BROADCAST_CONTEXT, {}
    node = Node(corpus.BROADCAST_KEYS[corpus.OWN], context, SETTINGS, AcceptAnyMessage())
    effects = node.replica.open(context, [], 0)
    _carry_out(node, effects)
    message = message_of(corpus.BROADCAST_KEYS[corpus.OWN])
    _carry_out(node, node.replica.submit(message, 0))
    reader, now_ms = Reader(data), 0
    for _ in range(STEPS_MAX):
        try:
            sender, frame = reader.u8() % 4, reader.fixed(reader.u16())
        except InvalidInput:
            break
        now_ms += 5 + sender
        taken = node.replica.receive(context.members[sender], frame, now_ms)
        due_ms = node.replica.next_deadline_ms()
        _carry_out(node, taken)
        effects += taken
        if due_ms is not None and due_ms <= now_ms:
            ticked = node.replica.tick(now_ms, now_ms)
            _carry_out(node, ticked)
            effects += ticked
    promise(len(effects) < 100 * STEPS_MAX, "effects without end")
    for effect in effects:
        _note_broadcast(effect, said)


def _carry_out(node: Node, effects: list[Effect]) -> None:
    """Make deliveries durable, as a driver does."""
    for effect in effects:
        if isinstance(effect, Delivered):
            node.archive.add(effect)


def _note_broadcast(effect: Effect, said: dict[tuple[int, Any], bytes]) -> None:
    """A member sends, echoes and votes for one digest in a slot, and never accuses itself."""
    if isinstance(effect, Misbehaviour):
        promise(effect.member != corpus.OWN, "a correct member accuses itself")
    if not isinstance(effect, Send | Broadcast):
        return
    message: Any = broadcast_frames.decode(effect.frame, corpus.BROADCAST_CONTEXT)
    if isinstance(message, broadcast_frames.Echo | broadcast_frames.Vote):
        by, what = message.member, message.digest
    elif isinstance(message, broadcast_frames.Send):
        by, what = message.slot.sender, message.payload
    else:
        return
    if by == corpus.OWN:
        key = (effect.frame[1], message.slot)
        promise(said.setdefault(key, what) == what, "two statements in a slot")


def fuzz_broadcast(data: bytes) -> None:
    """Decoders and verifiers of the reliable broadcast: frames, certificates, blocks, messages."""
    context = corpus.BROADCAST_CONTEXT
    if not data:
        return
    selector, rest = data[0], data[1:]
    try:
        if selector == 0:
            message = broadcast_frames.decode(rest, context)
            encoded = broadcast_frames.encode(message, broadcast_frames.epoch_of(rest))
        elif selector == 1:
            certificate = DeliveryCertificate.decode(rest)
            encoded = certificate.encode()
            verify_delivery(context, certificate)
            promise(rest in _genuine(), "a forged delivery verifies")
        elif selector == 2:
            block = MessageBlock.decode(rest)
            encoded = block.encode()
            block.verify(context)
        else:
            encoded = SignedMessage.decode(rest).encode()
    except InvalidInput:
        return
    promise(encoded == rest, "two spellings")


def _genuine() -> frozenset[bytes]:
    return frozenset(data[1:] for data in TARGETS["broadcast"].seeds())


def _replica() -> Replica:
    return Replica(keys(4)[corpus.OWN], corpus.TIMING, corpus.LIMITS, AcceptAll())


_LOOP: Final = asyncio.new_event_loop()


def _finish(task: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that has all that it needs and never waits."""
    try:
        task.send(None)
    except StopIteration as ended:
        return ended.value
    raise Broken("it waits although the stream has ended")


@dataclass(frozen=True)
class Target:
    """One function under fuzzing."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    longest: int


def _cached(make: Callable[[], list[bytes]]) -> Callable[[], list[bytes]]:
    made: list[bytes] = []

    def seeds() -> list[bytes]:
        if not made:
            made.extend(make())
        return made

    return seeds


TARGETS: Final = {
    "frame": Target(fuzz_frame, _cached(corpus.golden), 2_560),
    "link": Target(fuzz_link, _cached(corpus.link_streams), 70_000),
    "certificate": Target(fuzz_certificate, _cached(corpus.certificates), 4_096),
    "journal": Target(fuzz_journal, _cached(corpus.journals), 16_384),
    "evidence": Target(fuzz_evidence, _cached(corpus.proofs), 512),
    "replica": Target(fuzz_replica, _cached(corpus.scripts), 32_768),
    "block-replica": Target(fuzz_block_replica, _cached(corpus.broadcast_scripts), 32_768),
    "broadcast": Target(fuzz_broadcast, _cached(corpus.broadcast_inputs), 4_096),
    "ndjson": Target(body_targets.fuzz_ndjson, _cached(body_targets.ndjson_bodies), 8_192),
    "json": Target(body_targets.fuzz_json, _cached(body_targets.json_bodies), 8_192),
    "arrow": Target(body_targets.fuzz_arrow, _cached(body_targets.arrow_bodies), 8_192),
    "parquet": Target(body_targets.fuzz_parquet, _cached(body_targets.parquet_bodies), 12_288),
    "compressed": Target(
        body_targets.fuzz_compressed, _cached(body_targets.compressed_bodies), 8_192
    ),
    "proof": Target(proof_targets.fuzz_proof, _cached(proof_targets.proof_files), 8_192),
}
