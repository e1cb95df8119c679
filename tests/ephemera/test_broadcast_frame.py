"""Frames of the broadcast: golden bytes, one spelling, refusal of anything else; what a signature binds."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cluster import EPOCH, context, keys
from hypothesis import given
from hypothesis import strategies as st

from meridian.ephemera import evidence
from meridian.ephemera.broadcast import frame as frames
from meridian.ephemera.broadcast.frame import (
    CHANNELS_MAX,
    EVIDENCE_BYTES_MAX,
    FIRST_KIND,
    MESSAGE_FRAME_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    Accusation,
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
    NUMBER_MAX,
    SIGNED_KINDS,
    DeliveryCertificate,
    Kind,
    Slot,
    signed,
    statement,
    verify_delivery,
)
from meridian.ephemera.context import Kind as AgreementKind
from meridian.ephemera.limits import FRAME_BYTES_MAX, MEMBERS_MAX
from meridian.errors import InvalidInput
from meridian.primitives.ids import Address

GOLDEN = Path(__file__).with_name("golden_broadcast_frames.json")
CONTEXT = context(4)
SLOT = Slot(1, 2, 7)
A, B = b"\x0a" * 32, b"\x0b" * 32


def sign(member: int, kind: Kind, slot: Slot = SLOT, digest: bytes = A) -> bytes:
    return keys(4)[member].sign(statement(CONTEXT, kind, slot, digest))


def certificate(members=(0, 2, 3)) -> DeliveryCertificate:
    return DeliveryCertificate(SLOT, A, tuple((m, sign(m, Kind.VOTE)) for m in members))


def proof(kind: Kind, member: int = 2) -> bytes:
    pair = [(digest, sign(member, kind, SLOT, digest)) for digest in (A, B)]
    return evidence.double_broadcast(CONTEXT, member, kind, SLOT, pair[0], pair[1])


EXAMPLES = {
    "SEND": Send(SLOT, sign(2, Kind.SEND), b"payload"),
    "ECHO": Echo(1, SLOT, A, sign(1, Kind.ECHO)),
    "VOTE": Vote(3, SLOT, A, sign(3, Kind.VOTE)),
    "CERTIFIED": Certified(certificate()),
    "FETCH": Fetch(SLOT, A),
    "PAYLOAD": Payload(SLOT, A, b"payload"),
    "FRONTIER": Frontier(((1, 0, 12), (1, 2, 6), (2, 0, NUMBER_MAX))),
    "FRONTIER of nothing": Frontier(()),
    "EVIDENCE": Accusation(proof(Kind.ECHO)),
    "MESSAGE": Gossip(b"message"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_kind_has_one_spelling_and_the_golden_one(name):
    """decode(encode(m)) == m, and the bytes are those of the published examples."""
    frame = frames.encode(EXAMPLES[name], EPOCH)
    assert frames.decode(frame, CONTEXT) == EXAMPLES[name]
    assert frames.epoch_of(frame) == EPOCH
    assert frames.is_broadcast(frame)
    assert frame.hex() == json.loads(GOLDEN.read_text())[name]


def test_every_kind_has_an_example_and_no_kind_is_one_of_the_agreement():
    assert {name.split()[0] for name in EXAMPLES} == {kind.name for kind in Kind}
    assert max(AgreementKind) < FIRST_KIND == min(Kind)
    assert json.loads(GOLDEN.read_text()).keys() == EXAMPLES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_frame_that_is_cut_or_longer_is_refused(name):
    frame = frames.encode(EXAMPLES[name], EPOCH)
    for end in range(len(frame)):
        with pytest.raises(InvalidInput):
            frames.decode(frame[:end], CONTEXT)
    for byte in range(256):
        with pytest.raises(InvalidInput):
            frames.decode(frame + bytes((byte,)), CONTEXT)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_flipped_bit_is_another_message_or_none(name):
    """No two frames decode to one message: what decodes encodes to the very same bytes."""
    frame = frames.encode(EXAMPLES[name], EPOCH)
    for at in range(8 * len(frame)):
        changed = bytearray(frame)
        changed[at // 8] ^= 1 << at % 8
        try:
            message = frames.decode(bytes(changed), CONTEXT)
        except InvalidInput:
            continue
        assert message != EXAMPLES[name]
        assert frames.encode(message, EPOCH) == changed


@pytest.mark.parametrize(
    ("at", "value", "field"),
    [(0, 2, "version"), (1, 31, "kind"), (1, 41, "kind"), (9, 6, "epoch"), (2, 0x80, "epoch")],
)
def test_version_kind_and_epoch_are_checked(at, value, field):
    frame = bytearray(frames.encode(EXAMPLES["ECHO"], EPOCH))
    frame[at] = value
    with pytest.raises(InvalidInput) as refusal:
        frames.decode(bytes(frame), CONTEXT)
    assert refusal.value.field == field


@pytest.mark.parametrize(
    "message",
    [
        replace(EXAMPLES["SEND"], slot=Slot(1, 4, 7)),
        replace(EXAMPLES["SEND"], slot=Slot(1, 2, 0)),
        replace(EXAMPLES["FETCH"], slot=Slot(1, 2, NUMBER_MAX + 1)),
        replace(EXAMPLES["ECHO"], member=4),
        Certified(replace(certificate(), slot=Slot(1, 4, 7))),
        Certified(replace(certificate(), votes=certificate().votes[::-1])),
        Certified(replace(certificate(), votes=certificate().votes[:1] * 2)),
        Certified(replace(certificate(), votes=((0, bytes(64)),) * (MEMBERS_MAX + 1))),
        Frontier(((1, 0, 0),)),
        Frontier(((1, 4, 1),)),
        Frontier(((1, 0, NUMBER_MAX + 1),)),
        Frontier(((1, 0, 1), (1, 0, 2))),
        Frontier(((2, 0, 1), (1, 0, 1))),
        Frontier(tuple((channel, 0, 1) for channel in range(CHANNELS_MAX * 4 + 1))),
    ],
    ids=repr,
)
def test_what_cannot_be_said_is_refused(message):
    frame = frames.encode(message, EPOCH)
    with pytest.raises(InvalidInput):
        frames.decode(frame, CONTEXT)


# --------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda size: Send(SLOT, bytes(64), bytes(size)), PAYLOAD_BYTES_MAX),
        (lambda size: Payload(SLOT, A, bytes(size)), PAYLOAD_BYTES_MAX),
        (lambda size: Accusation(bytes(size)), EVIDENCE_BYTES_MAX),
        (lambda size: Gossip(bytes(size)), MESSAGE_FRAME_BYTES_MAX),
    ],
    ids=["SEND", "PAYLOAD", "EVIDENCE", "MESSAGE"],
)
def test_the_largest_passes_and_one_byte_more_does_not(make, most):
    frame = frames.encode(make(most), EPOCH)
    assert len(frame) <= FRAME_BYTES_MAX
    assert frames.decode(frame, CONTEXT) == make(most)
    with pytest.raises(InvalidInput):
        frames.decode(frames.encode(make(most + 1), EPOCH), CONTEXT)


def test_the_frames_of_the_largest_member_set_fit():
    made = context(MEMBERS_MAX)
    votes = tuple((m, bytes(64)) for m in range(MEMBERS_MAX))
    entries = tuple((c, m, NUMBER_MAX) for c in range(CHANNELS_MAX) for m in range(MEMBERS_MAX))
    for message in (Certified(DeliveryCertificate(SLOT, A, votes)), Frontier(entries)):
        frame = frames.encode(message, EPOCH)
        assert frames.decode(frame, made) == message
        assert len(frame) <= FRAME_BYTES_MAX


def test_an_epoch_that_no_member_set_has_is_refused_before_any_set_is_asked():
    frame = bytearray(frames.encode(EXAMPLES["ECHO"], EPOCH))
    assert frames.epoch_of(bytes(frame)) == EPOCH
    frame[2] = 0x80
    with pytest.raises(InvalidInput, match="epoch"):
        frames.epoch_of(bytes(frame))


def test_size_is_checked_before_anything_is_parsed():
    for data in (b"", bytes(10), bytes(FRAME_BYTES_MAX + 1)):
        with pytest.raises(InvalidInput) as refusal:
            frames.decode(data, CONTEXT)
        assert refusal.value.field == "size"
    for data in (b"", b"\x01"):
        assert not frames.is_broadcast(data)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda kind, rest: bytes((1, kind)) + EPOCH.to_bytes(8, "big") + rest,
            st.integers(32, 41),
            st.binary(max_size=400),
        ),
    )
)
def test_garbage_raises_nothing_else_and_has_one_spelling(data):
    try:
        message = frames.decode(data, CONTEXT)
    except InvalidInput:
        return
    assert frames.encode(message, EPOCH) == data


# ---------------------------------------------------------------------------------- what is signed


def changed_contexts():
    domain = CONTEXT.domain
    return {
        "chain": replace(CONTEXT, domain=replace(domain, chain_id=domain.chain_id + 1)),
        "contract": replace(CONTEXT, domain=replace(domain, contract=Address(bytes(20)))),
        "domain name": replace(CONTEXT, domain=replace(domain, name="Other")),
        "domain version": replace(CONTEXT, domain=replace(domain, version="2")),
        "network": replace(CONTEXT, network=bytes(32)),
        "epoch": replace(CONTEXT, epoch=EPOCH + 1),
        "members": replace(CONTEXT, members=(*CONTEXT.members[:3], Address(b"\xff" * 20))),
    }


@pytest.mark.parametrize("kind", sorted(SIGNED_KINDS))
def test_a_signature_binds_everything(kind):
    """One field changed, and the signature is nobody's."""
    member = 2
    signature = sign(member, kind)
    assert signed(CONTEXT, member, kind, SLOT, A, signature)
    for name, other in changed_contexts().items():
        assert not signed(other, member, kind, SLOT, A, signature), name
    others = [other for other in SIGNED_KINDS if other is not kind]
    slots = [replace(SLOT, channel=2), replace(SLOT, sender=1), replace(SLOT, number=8)]
    assert not any(signed(CONTEXT, member, other, SLOT, A, signature) for other in others)
    assert not any(signed(CONTEXT, member, kind, slot, A, signature) for slot in slots)
    assert not signed(CONTEXT, member, kind, SLOT, B, signature)
    assert not signed(CONTEXT, 1, kind, SLOT, A, signature)
    for at in range(512):
        flipped = bytearray(signature)
        flipped[at // 8] ^= 1 << at % 8
        assert not signed(CONTEXT, member, kind, SLOT, A, bytes(flipped))


@pytest.mark.parametrize("kind", list(AgreementKind))
def test_no_statement_of_the_agreement_is_one_of_the_broadcast(kind):
    """The struct types differ, so even equal numbers mean different things."""
    said = {statement(CONTEXT, other, SLOT, A) for other in Kind}
    assert CONTEXT.statement(kind, 0, A) not in said


# ------------------------------------------------------------------------------------ certificates


def test_a_certificate_proves_a_delivery_only_in_its_context():
    verify_delivery(CONTEXT, certificate())
    verify_delivery(CONTEXT, certificate((0, 1, 2, 3)))
    for other in changed_contexts().values():
        with pytest.raises(InvalidInput):
            verify_delivery(other, certificate())


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (certificate((0, 1)), "certificate.votes"),
        (replace(certificate(), slot=Slot(1, 4, 7)), "certificate.sender"),
        (replace(certificate(), digest=B), "certificate.signature"),
        (replace(certificate(), slot=replace(SLOT, number=8)), "certificate.signature"),
        (
            DeliveryCertificate(SLOT, A, (*certificate((0, 1)).votes, (4, sign(3, Kind.VOTE)))),
            "certificate.member",
        ),
        (
            DeliveryCertificate(SLOT, A, (*certificate((0, 1)).votes, (2, sign(2, Kind.ECHO)))),
            "certificate.signature",
        ),
    ],
)
def test_anything_less_than_a_quorum_of_votes_proves_nothing(wrong, field):
    with pytest.raises(InvalidInput) as refusal:
        verify_delivery(CONTEXT, wrong)
    assert refusal.value.field == field


CERTIFICATES = st.builds(
    lambda slot, digest, votes: DeliveryCertificate(slot, digest, tuple(sorted(votes.items()))),
    st.builds(Slot, st.integers(0, 255), st.integers(0, 65_535), st.integers(1, NUMBER_MAX)),
    st.binary(min_size=32, max_size=32),
    st.dictionaries(
        st.integers(0, 65_535), st.binary(min_size=64, max_size=64), max_size=MEMBERS_MAX
    ),
)


@given(CERTIFICATES)
def test_a_certificate_has_one_spelling(made):
    data = made.encode()
    assert DeliveryCertificate.decode(data) == made
    for other in (data[:-1], data + b"\x00", b"\x00\x02" + data[2:]):
        with pytest.raises(InvalidInput):
            DeliveryCertificate.decode(other)


# ---------------------------------------------------------------------------------------- evidence


@pytest.mark.parametrize("kind", sorted(SIGNED_KINDS))
def test_evidence_names_who_said_two_things_and_any_changed_byte_proves_nothing(kind):
    data = proof(kind)
    guilt = evidence.Guilt(2, f"broadcast_{kind.name.lower()}")
    assert evidence.verify_evidence(CONTEXT, data) == guilt
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        with pytest.raises(InvalidInput):
            evidence.verify_evidence(CONTEXT, bytes(changed))
    for cut in (data[:-1], data + b"\x00"):
        with pytest.raises(InvalidInput):
            evidence.verify_evidence(CONTEXT, cut)
    for other in changed_contexts().values():
        with pytest.raises(InvalidInput):
            evidence.verify_evidence(other, data)


def test_nobody_is_framed_by_what_a_correct_member_may_sign():
    """The same twice, two slots, two kinds; another's SEND; statements that are not signed."""
    first, second = (A, sign(2, Kind.ECHO)), (B, sign(2, Kind.ECHO, SLOT, B))
    elsewhere = (B, sign(2, Kind.ECHO, replace(SLOT, number=8), B))
    voted = (B, sign(2, Kind.VOTE, SLOT, B))
    for kind, pair in (
        (Kind.ECHO, (first, first)),
        (Kind.ECHO, (first, elsewhere)),
        (Kind.ECHO, (first, voted)),
        (Kind.FETCH, (first, second)),
    ):
        data = evidence.double_broadcast(CONTEXT, 2, kind, SLOT, *pair)
        with pytest.raises(InvalidInput):
            evidence.verify_evidence(CONTEXT, data)
    with pytest.raises(InvalidInput, match="sender"):
        evidence.verify_evidence(CONTEXT, proof(Kind.SEND, member=1))
