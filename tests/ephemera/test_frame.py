"""Frames: golden bytes, one spelling, refusal of anything else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cluster import EPOCH, Cluster, Voice, context
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.ephemera import evidence
from meridian.ephemera import frame as frames
from meridian.ephemera.context import Kind
from meridian.ephemera.limits import FRAME_BYTES_MAX, PIECE_BYTES_MAX
from meridian.ephemera.message import (
    BODY,
    ROW,
    WANT_DECISION,
    Accusation,
    Ask,
    Decision,
    Fetch,
    FetchReply,
    lock_digest,
)
from meridian.errors import InvalidInput

GOLDEN = Path(__file__).with_name("golden_frames.json")


def examples():
    """One message of every kind, and a PROPOSE and VIEW_CHANGE with a lock, among four members."""
    voice = Voice(4)
    block = voice.block({i: b"body %d" % i for i in range(4)})
    lock = voice.certificate(Kind.ECHO, 0, block.hash, [0, 1, 2])
    proof = evidence.double(
        voice.context,
        1,
        Kind.ECHO,
        0,
        (bytes(32), voice.sign(1, Kind.ECHO, 0, bytes(32))),
        (block.hash, voice.sign(1, Kind.ECHO, 0, block.hash)),
    )
    return {
        "ROW": voice.committed(1, b"body 1"),
        "REVEAL": voice.row(1, b"body 1"),
        "REVEAL with body": replace(voice.row(1, b"body 1"), body=b"body 1"),
        "HAVE": voice.have(2, [(0, bytes(32)), (1, b"\x01" * 32), (3, b"\x03" * 32)]),
        "PROPOSE": voice.propose(0, block),
        "PROPOSE with lock": voice.propose(1, block, voice.justification(1, [0, 1, 3], {1: lock})),
        "ECHO": voice.echo(0, 2, block.hash),
        "VOTE": voice.vote(3, 2, block.hash),
        "WISH": voice.wish(2, 7),
        "VIEW_CHANGE": voice.change(2, 7),
        "VIEW_CHANGE with lock": voice.change(0, 1, lock),
        "DECIDED": Decision(voice.certificate(Kind.VOTE, 1, block.hash, [0, 2, 3])),
        "REPORT_SIG": voice.report(1, b"\xaa" * 32, b"\xbb" * 32),
        "FETCH": Fetch(ROW, 3, b"\x03" * 32, 0),
        "FETCH_REPLY": FetchReply(BODY, b"\x05" * 32, 1_000, 64, b"piece"),
        "EVIDENCE": Accusation(proof),
        "ASK": Ask(WANT_DECISION),
    }


EXAMPLES = examples()


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_kind_has_one_spelling_and_the_golden_one(name):
    """decode(encode(m)) == m, and the bytes are those of the published examples."""
    message = EXAMPLES[name]
    frame = frames.encode(message, EPOCH)
    assert frames.decode(frame, context(4)) == message
    assert frames.epoch_of(frame) == EPOCH
    assert frame.hex() == json.loads(GOLDEN.read_text())[name]


def test_every_kind_has_an_example():
    assert {name.split()[0] for name in EXAMPLES} == {kind.name for kind in Kind}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_frame_that_is_cut_or_longer_is_refused(name):
    frame = frames.encode(EXAMPLES[name], EPOCH)
    for end in range(len(frame)):
        with pytest.raises(InvalidInput):
            frames.decode(frame[:end], context(4))
    for tail in (b"\x00", b"\xff" * 80):
        with pytest.raises(InvalidInput):
            frames.decode(frame + tail, context(4))


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_changed_byte_is_another_message_or_none(name):
    """No two frames decode to one message: what decodes encodes to the very same bytes."""
    frame = frames.encode(EXAMPLES[name], EPOCH)
    for at in range(len(frame)):
        changed = frame[:at] + bytes((frame[at] ^ 0x41,)) + frame[at + 1 :]
        try:
            message = frames.decode(changed, context(4))
        except InvalidInput:
            continue
        assert message != EXAMPLES[name]
        assert frames.encode(message, EPOCH) == changed


@pytest.mark.parametrize(
    ("at", "value", "field"), [(0, 2, "version"), (1, 0, "kind"), (1, 15, "kind"), (9, 6, "epoch")]
)
def test_version_kind_and_epoch_are_checked(at, value, field):
    frame = bytearray(frames.encode(EXAMPLES["ECHO"], EPOCH))
    frame[at] = value
    with pytest.raises(InvalidInput) as refusal:
        frames.decode(bytes(frame), context(4))
    assert refusal.value.field == field


def test_size_is_checked_before_anything_is_parsed():
    with pytest.raises(InvalidInput, match="size"):
        frames.epoch_of(bytes(FRAME_BYTES_MAX + 1))
    frame = frames.encode(EXAMPLES["ECHO"], EPOCH)
    with pytest.raises(InvalidInput, match="size"):
        frames.decode(frame + bytes(200), context(4))


@pytest.mark.parametrize("n", [1, 4, 31, 128])
def test_no_kind_can_pass_the_frame_limit_of_the_links(n):
    made = context(4) if n == 128 else context(n)
    sizes = {kind: frames.frame_bytes_max(kind, made) for kind in Kind}
    assert max(sizes.values()) <= FRAME_BYTES_MAX
    reply = FetchReply(BODY, bytes(32), 1 << 40, 0, bytes(PIECE_BYTES_MAX))
    assert len(frames.encode(reply, EPOCH)) == sizes[Kind.FETCH_REPLY]


def test_the_largest_proposal_fits():
    """Seven members, every row listed by every HAVE, every claim with a lock."""
    voice = Voice(7)
    block = voice.block({i: b"body %d" % i for i in range(7)})
    lock = voice.certificate(Kind.ECHO, 0, block.hash, range(7))
    claims = voice.justification(1, range(7), dict.fromkeys(range(7), lock))
    frame = frames.encode(voice.propose(1, block, claims), EPOCH)
    assert len(frame) <= frames.frame_bytes_max(Kind.PROPOSE, voice.context)
    change = frames.encode(voice.change(0, 1, lock), EPOCH)
    assert len(change) == frames.frame_bytes_max(Kind.VIEW_CHANGE, voice.context)


def test_a_claim_without_lock_signs_something_else_than_any_lock():
    assert lock_digest(None) != lock_digest((0, bytes(32)))


@pytest.fixture(scope="module")
def idle():
    cluster = Cluster(4)
    cluster.open([0])
    return cluster


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda kind, rest: bytes((1, kind)) + EPOCH.to_bytes(8, "big") + rest,
            st.integers(1, 13),
            st.binary(max_size=400),
        ),
    )
)
def test_garbage_never_raises_and_never_changes_anything(idle, data):
    """Whatever bytes come, the replica answers with `Rejected` and stays as it was."""
    before = idle.replicas[0].status(EPOCH), idle.replicas[0].next_deadline_ms()
    effects = idle.inject(1, 0, data)
    if [type(effect).__name__ for effect in effects] == ["Rejected"]:
        assert (idle.replicas[0].status(EPOCH), idle.replicas[0].next_deadline_ms()) == before
    else:
        frames.decode(data, idle.context)  # only a well-formed frame is anything but rejected
