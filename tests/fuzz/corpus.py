"""What fuzzing begins with: genuine inputs, made afresh from the golden frames and from short runs of four members.

Nothing binary is kept in the repository. `SIGNED` holds every signature that went into the corpus: an input that
verifies with any other one is a forgery, or a second spelling of a signature.
"""

import functools
import json
from pathlib import Path

from ephemera.broadcast_cluster import Cluster as BroadcastCluster
from ephemera.broadcast_cluster import context_of, keys_of, message_of
from ephemera.cluster import EPOCH, Cluster, Voice
from meridian.ephemera import evidence
from meridian.ephemera import frame as frames
from meridian.ephemera.broadcast import frame as broadcast_frames
from meridian.ephemera.broadcast.slot import DeliveryCertificate, Slot, statement
from meridian.ephemera.broadcast.slot import Kind as BroadcastKind
from meridian.ephemera.context import Kind
from meridian.ephemera.effects import Record
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.message import Accusation, Decision, Propose, ReportSignature, lock_digest
from meridian.ephemera.messages.block import BLOCK_CHANNEL, MessageBlock, make_block
from meridian.node.link_frames import CHUNK_BYTES, Hello
from meridian.node.link_frames import Kind as LinkKind
from meridian.node.link_frames import encode_frame as encode_link_frame
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.ids import Address

GOLDEN = Path(__file__).resolve().parents[1] / "ephemera" / "golden_frames.json"
VOICE = Voice(4)
OWN = 0
"""The member whose replica and records are fuzzed."""
TIMING = Timing(
    row_ms=30,
    reveal_ms=10,
    have_ms=30,
    fill_ms=60,
    grace_ms=10,
    view_ms=500,
    resend_ms=100,
    fetch_ms=100,
)
LIMITS = Limits(piece_bytes=256, body_bytes_max=4096)
BODIES = {i: b"row of %d " % i * (5 + 30 * i) for i in range(4)}
KINDS = (
    "context", "row", "closed", "have", "listed_row", "propose", "echo", "view_change", "view", "lock", "block", "body",
    "decided", "report", "attested", "evidence",
)  # fmt: skip
BROADCAST_KEYS = keys_of(4)
BROADCAST_CONTEXT = context_of(BROADCAST_KEYS)


def golden() -> list[bytes]:
    """One frame of every kind."""
    return [bytes.fromhex(text) for text in json.loads(GOLDEN.read_text()).values()]


@functools.cache
def heard() -> tuple[tuple[int, bytes], ...]:
    """(sender, frame) of everything that member 0 hears in a run of four, of which one is a view late."""
    cluster = Cluster(4, timing=TIMING, limits=LIMITS)
    leader = cluster.context.leader(0)
    cluster.allow = lambda i, _j, kind: not (i == leader and kind == Kind.PROPOSE)
    cluster.open()
    for i, body in BODIES.items():
        cluster.submit(i, body)
    cluster.run(5_000, lambda: all(cluster.decided(i) for i in range(4)))
    decided = cluster.decided(0)
    assert decided is not None
    for i in range(4):
        report = cluster.replicas[i].submit_report(EPOCH, bytes(32), decided.block.hash, 5_000)
        cluster.do(i, report)
    cluster.deliver()
    assert cluster.attested(0)
    records = list(cluster.disks[0].values())
    _records.extend(records)
    return tuple((i, frame) for i, j, _, frame in cluster.sent if j == OWN)


_records: list[Record] = []


def records() -> list[Record]:
    """What member 0 had persisted at the end of that run."""
    heard()
    return list(_records)


def write_records(kept: list[Record]) -> bytes:
    """Records as one input."""
    out = Writer().u16(len(kept))
    for record in kept:
        key = record.key
        out.u8(KINDS.index(record.kind)).u8(len(key)).raw(key).blob(record.value)
    return out.bytes()


def read_records(data: bytes, epoch: int) -> list[Record]:
    """The records of an input; raises InvalidInput where it is cut off."""
    reader = Reader(data)
    return [
        Record(
            epoch,
            KINDS[reader.u8() % len(KINDS)],
            reader.fixed(reader.u8()),
            reader.blob(len(data)),
        )
        for _ in range(reader.u16())
    ]


def write_script(script: tuple[tuple[int, bytes], ...]) -> bytes:
    """(sender, frame)s as one input."""
    out = Writer()
    for sender, frame in script:
        out.u8(sender).u16(len(frame)).raw(frame)
    return out.bytes()


def journals() -> list[bytes]:
    """What member 0 had persisted after each of its transactions, and each record beside the first."""
    kept = records()
    prefixes = [write_records(kept[: i + 1]) for i in range(1, len(kept))]
    pairs = [write_records([kept[0], record]) for record in kept[1:]]
    return list(dict.fromkeys(prefixes + pairs))


def scripts() -> list[bytes]:
    """The run as it was, in the opposite order, and a part of it from a single sender."""
    script = heard()
    return [
        write_script(script),
        write_script(script[::-1]),
        write_script(tuple((1, frame) for _, frame in script[:40])),
        write_script(tuple((1, frame) for frame in golden())),
    ]


def decoded() -> list[object]:
    """Messages of the golden frames and of the run."""
    return [frames.decode(frame, VOICE.context) for frame in (*golden(), *(f for _, f in heard()))]


def certificates() -> list[bytes]:
    """A selector byte (0 block, 1 VOTE certificate, 2 ECHO certificate) and the bytes."""
    found = []
    for message in decoded():
        if isinstance(message, Propose):
            found.append(b"\0" + message.block.encode())
            if message.justification is not None and message.justification.certificate is not None:
                found.append(b"\2" + message.justification.certificate.encode())
        elif isinstance(message, Decision):
            found.append(b"\1" + message.certificate.encode())
    return list(dict.fromkeys(found))


def proofs() -> list[bytes]:
    """Evidence against member 1, of every form."""
    context, a, b = VOICE.context, b"\x0a" * 32, b"\x0b" * 32
    found = [m.evidence for m in decoded() if isinstance(m, Accusation)]
    for kind in sorted(evidence.DOUBLE_KINDS):
        view = 0 if kind in {Kind.ROW, Kind.HAVE} else 3
        pair = [(digest, VOICE.sign(1, kind, view, digest)) for digest in (a, b)]
        found.append(evidence.double(context, 1, kind, view, *pair))
    vote = (2, a, VOICE.sign(1, Kind.VOTE, 2, a))
    for lock in (None, (1, b)):
        denial = (4, lock, VOICE.sign(1, Kind.VIEW_CHANGE, 4, lock_digest(lock)))
        found.append(evidence.amnesia(context, 1, vote, denial))
    reports = [VOICE.report(1, a, digest) for digest in (a, b)]
    signed = [(report.digest, report.signature) for report in reports]
    return [*found, evidence.double_report(context, 1, a, *signed)]


def link_streams() -> list[bytes]:
    """What arrives on a link: a hello, then frames of every kind."""
    hello = Hello(bytes(32), Address(b"\1" * 20), Address(b"\2" * 20)).encode()
    stream = encode_link_frame(LinkKind.HELLO, hello)
    stream += encode_link_frame(LinkKind.PING) + encode_link_frame(LinkKind.PONG)
    stream += b"".join(encode_link_frame(LinkKind.SMALL, frame) for frame in golden())
    bulk = encode_link_frame(LinkKind.BULK_PART, bytes(300))
    bulk += encode_link_frame(LinkKind.BULK_END, b"end")
    huge = (2**30).to_bytes(4, "big") + bytes([LinkKind.SMALL]) + bytes(64)
    return [
        stream,
        bulk,
        stream + bulk,
        huge,
        encode_link_frame(LinkKind.SMALL, bytes(CHUNK_BYTES)),
    ]


@functools.cache
def broadcast_heard() -> tuple[tuple[int, bytes], ...]:
    """(sender, frame) of everything that member 0 hears while four members broadcast blocks and store values."""
    cluster, found = BroadcastCluster(4), []

    def note(sender: int, to: int, message: object) -> bool:
        if to == OWN:
            found.append((sender, broadcast_frames.encode(message, BROADCAST_CONTEXT.epoch)))
        return False

    cluster.drop = note
    for i, key in enumerate(BROADCAST_KEYS[:3]):
        cluster.submit(i, message_of(key, data=b"from %d" % i))
    cluster.put(1, b"key", b"value")
    cluster.pass_time(400)
    assert len(cluster.nodes[OWN].blocks(1)) >= 1
    return tuple(found)


def broadcast_scripts() -> list[bytes]:
    """The run as it was, in the opposite order, all from a single sender, and one frame of every kind."""
    script = broadcast_heard()
    one = [(1, data[1:]) for data in broadcast_inputs() if data[0] == 0]
    return [
        write_script(script),
        write_script(script[::-1]),
        write_script(tuple((1, frame) for _, frame in script)),
        write_script(tuple(one)),
    ]


def message_block() -> MessageBlock:
    """A block of the broadcast with two messages."""
    messages = [message_of(key, data=b"data of it") for key in BROADCAST_KEYS[:2]]
    return make_block(BROADCAST_CONTEXT, 1, 1, bytes(32), 5, messages)


def broadcast_inputs() -> list[bytes]:
    """A selector byte (0 frame, 1 delivery certificate, 2 block, 3 message) and the bytes."""
    block = message_block()
    slot, payload = Slot(BLOCK_CHANNEL, 1, 1), block.encode()
    digest = block.header.hash
    signed = {
        kind: [key.sign(statement(BROADCAST_CONTEXT, kind, slot, digest)) for key in BROADCAST_KEYS]
        for kind in (BroadcastKind.SEND, BroadcastKind.ECHO, BroadcastKind.VOTE)
    }
    votes = tuple(enumerate(signed[BroadcastKind.VOTE][:3]))
    certificate = DeliveryCertificate(slot, digest, votes)
    messages: list[broadcast_frames.BroadcastMessage] = [
        broadcast_frames.Send(slot, signed[BroadcastKind.SEND][1], payload),
        broadcast_frames.Echo(0, slot, digest, signed[BroadcastKind.ECHO][0]),
        broadcast_frames.Vote(2, slot, digest, signed[BroadcastKind.VOTE][2]),
        broadcast_frames.Certified(certificate),
        broadcast_frames.Fetch(slot, digest),
        broadcast_frames.Payload(slot, digest, payload),
        broadcast_frames.Frontier(((1, 0, 3), (1, 2, 1))),
        broadcast_frames.Accusation(b"no evidence"),
        broadcast_frames.Gossip(block.messages[0].encode()),
    ]
    epoch = BROADCAST_CONTEXT.epoch
    found = [b"\0" + broadcast_frames.encode(message, epoch) for message in messages]
    return [
        *found,
        b"\1" + certificate.encode(),
        b"\2" + payload,
        b"\3" + block.messages[0].encode(),
    ]


@functools.cache
def signed_pairs() -> frozenset[bytes]:
    """Every 64-byte signature in the corpus."""
    found: set[bytes] = set()
    for message in decoded():
        for name in ("signature", "report_signature"):
            if hasattr(message, name):
                found.add(getattr(message, name))
        if isinstance(message, Propose):
            found |= {row.signature for row in message.block.rows}
            found |= {have.signature for have in message.block.haves}
            if message.justification is not None:
                found |= {claim.signature for claim in message.justification.claims}
                if message.justification.certificate is not None:
                    found |= {s for _, s in message.justification.certificate.votes}
        elif isinstance(message, Decision):
            found |= {s for _, s in message.certificate.votes}
        elif isinstance(message, ReportSignature):
            found.add(message.report_signature)
    for proof in proofs():
        # The signatures of a proof stand at fixed places; every window is more than enough.
        found |= {proof[i : i + 64] for i in range(len(proof) - 63)}
    return frozenset(found)
