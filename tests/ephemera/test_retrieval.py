"""Fetching by digest: pieces, bounds, bad sources."""

import pytest
from cluster import EPOCH, Cluster, Voice, context
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from meridian.ephemera import frame as frames
from meridian.ephemera.collection import row_root
from meridian.ephemera.effects import Rejected, Send
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.message import BODY, Fetch, FetchReply
from meridian.ephemera.retrieval import TRIES_PER_SOURCE, Retrieval
from meridian.errors import InvalidInput

TIMING = Timing(fetch_ms=10)
LIMITS = Limits(body_bytes_max=100, piece_bytes=10, fetches_max=2)
DIGEST = bytes(32)


def retrieval() -> Retrieval:
    return Retrieval(context(4), 0, TIMING, LIMITS)


def reply(offset: int, piece: bytes, total: int = 25) -> FetchReply:
    return FetchReply(BODY, DIGEST, total, offset, piece)


def test_an_object_comes_in_pieces_from_one_source():
    made = retrieval()
    made.want(BODY, DIGEST, [2])
    assert made.requests(0) == [(2, Fetch(BODY, 0, DIGEST, 0))]
    assert made.accept(2, reply(0, b"a" * 10)) is None
    assert made.requests(1) == [(2, Fetch(BODY, 0, DIGEST, 10))]
    assert made.accept(2, reply(10, b"b" * 10)) is None
    assert made.requests(2) == [(2, Fetch(BODY, 0, DIGEST, 20))]
    assert made.accept(2, reply(20, b"c" * 5)) == b"a" * 10 + b"b" * 10 + b"c" * 5


@pytest.mark.parametrize(
    ("sender", "offset", "piece", "total"),
    [
        (1, 0, b"a" * 10, 25),  # another member than the one asked
        (2, 10, b"a" * 10, 25),  # another offset
        (2, 0, b"a" * 9, 25),  # too short a piece
        (2, 0, b"a" * 11, 25),  # too long a piece
        (2, 0, b"a" * 10, 101),  # past the limit
        (2, 0, b"a" * 10, 5),  # longer than the whole
    ],
)
def test_what_was_not_asked_for_is_refused(sender, offset, piece, total):
    made = retrieval()
    made.want(BODY, DIGEST, [2])
    with pytest.raises(InvalidInput):
        made.accept(2, reply(0, b"a" * 10))  # not asked yet
    made.requests(0)
    with pytest.raises(InvalidInput):
        made.accept(sender, reply(offset, piece, total))
    assert made.accept(2, reply(0, b"a" * 10)) is None
    made.requests(0)
    with pytest.raises(InvalidInput):
        made.accept(2, reply(10, b"a" * 10, 26))  # the total changed


def test_a_silent_source_is_asked_again_then_the_next_one_from_the_start():
    made = retrieval()
    made.want(BODY, DIGEST, [2])
    made.requests(0)
    made.accept(2, reply(0, b"a" * 10))
    asked = []
    for now_ms in range(0, 100, 10):
        asked += made.requests(now_ms)
    members = [member for member, _ in asked]
    assert members[: TRIES_PER_SOURCE + 1] == [2] * TRIES_PER_SOURCE + [1]
    assert {1, 2, 3} <= set(members)
    first_of_next = next(fetch for member, fetch in asked if member == 1)
    assert first_of_next.offset == 0


def test_a_wrong_object_moves_its_source_to_the_end():
    made = retrieval()
    made.want(BODY, DIGEST, [2])
    made.requests(0)
    made.accept(2, FetchReply(BODY, DIGEST, 5, 0, b"wrong"))
    made.spoiled((BODY, DIGEST))
    assert [member for member, _ in made.requests(0)] == [1]


def test_few_objects_at_a_time_and_no_starvation():
    """Two withheld objects do not hold up the third for ever."""
    made = retrieval()
    for i in range(5):
        made.want(BODY, bytes([i]) * 32, [1])
    asked = set()
    for now_ms in range(0, 2_000, 10):
        requests = made.requests(now_ms)
        assert len(requests) <= LIMITS.fetches_max
        asked |= {fetch.digest[0] for _, fetch in requests}
    assert asked == set(range(5))
    assert made.next_deadline_ms() is not None
    made.keep_only([])
    assert made.next_deadline_ms() is None


def test_nobody_to_ask():
    alone = Retrieval(context(1), 0, TIMING, LIMITS)
    alone.want(BODY, DIGEST, [])
    assert alone.requests(0) == []


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 64))
def test_any_body_travels_whole(body, piece_bytes):
    """Serving and reassembly agree for every length, empty and exact multiples too."""
    assume(not body.startswith(b"bad"))  # the cluster's rules refuse it already at its own member
    cluster = Cluster(2, limits=Limits(piece_bytes=piece_bytes))
    cluster.open()
    cluster.submit(0, body)
    cluster.submit(1, b"x")
    cluster.run(0)
    assert body in cluster.decided(1).bodies


def test_a_body_with_another_digest_is_never_taken():
    voice, cluster = Voice(4), Cluster(4)
    cluster.open([0])
    [send] = [e for e in cluster.inject(1, 0, voice.row(1, b"true")) if isinstance(e, Send)]
    fetch = frames.decode(send.frame, cluster.context)
    assert isinstance(fetch, Fetch)
    wrong = FetchReply(BODY, fetch.digest, 5, 0, b"false")
    effects = cluster.inject(1, 0, wrong)
    again = [e for e in effects if isinstance(e, Send)]
    assert [cluster.context.members.index(e.to) for e in again] != [1]
    assert cluster.replicas[0].status(EPOCH).rows == 0
    assert row_root(b"false") != fetch.digest


def test_serving_is_limited_per_member_and_second():
    cluster = Cluster(2, limits=Limits(served_bytes_per_s_max=25, piece_bytes=10))
    cluster.open()
    cluster.submit(0, b"0123456789" * 3)
    fetch = Fetch(BODY, 0, row_root(b"0123456789" * 3), 0)
    sent = [cluster.inject(1, 0, fetch)[0] for _ in range(3)]
    assert [isinstance(effect, Send) for effect in sent] == [True, True, False]
    assert isinstance(sent[2], Rejected)
    cluster.now_ms = 1_000
    assert isinstance(cluster.inject(1, 0, fetch)[0], Send)


def test_what_is_not_held_is_not_answered():
    cluster = Cluster(2)
    cluster.open()
    assert cluster.inject(1, 0, Fetch(BODY, 0, DIGEST, 0)) == []
    cluster.submit(0, b"body")
    assert cluster.inject(1, 0, Fetch(BODY, 0, row_root(b"body"), 4)) == []
    assert cluster.inject(1, 0, Fetch(BODY, 0, row_root(b"body"), 1 << 60)) == []
