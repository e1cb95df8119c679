"""Short bodies come along with their rows; longer ones are fetched."""

from dataclasses import replace

import pytest
from cluster import EPOCH, Cluster, Voice

from meridian.ephemera import frame as frames
from meridian.ephemera.context import Kind
from meridian.ephemera.effects import Rejected
from meridian.ephemera.limits import PUSHED_BODY_BYTES_MAX, Limits
from meridian.errors import InvalidInput

N = 4


def opened(pushed_body_bytes: int) -> Cluster:
    cluster = Cluster(N, pushed_body_bytes=pushed_body_bytes)
    cluster.open()
    return cluster


@pytest.mark.parametrize(("limit", "fetched"), [(100, 0), (99, N * (N - 1))])
def test_a_short_body_needs_no_fetch_and_a_longer_one_does(limit, fetched):
    cluster = opened(limit)
    for i in range(N):
        cluster.submit(i, bytes([i]) * 100)
    cluster.run(60_000, lambda: all(cluster.decided(i) for i in range(N)))
    assert sum(kind is Kind.FETCH_REPLY for _, _, kind, _ in cluster.sent) == fetched
    assert len({cluster.decided(i).block.hash for i in range(N)}) == 1
    assert sorted(cluster.decided(0).bodies) == [bytes([i]) * 100 for i in range(N)]


def test_a_body_that_is_not_the_rows_is_refused_and_changes_nothing():
    cluster, voice = opened(100), Voice(N)
    row = replace(voice.row(1, b"body"), body=b"another")
    [refusal] = cluster.inject(1, 0, row)
    assert isinstance(refusal, Rejected)
    assert refusal.field == "body"
    assert cluster.replicas[0].status(EPOCH).rows == 0
    cluster.inject(1, 0, replace(row, body=b"body"))
    assert cluster.replicas[0].status(EPOCH).rows == 1


def test_a_body_that_comes_after_its_row_ends_the_fetch():
    cluster, voice = opened(0), Voice(N)
    row = voice.row(1, b"body")
    assert len(cluster.inject(1, 0, row)) == 1, "a FETCH"
    assert cluster.replicas[0].status(EPOCH).rows == 0
    cluster.inject(2, 0, replace(row, body=b"body"))
    assert cluster.replicas[0].status(EPOCH).rows == 1
    cluster.now_ms += cluster.timing.fetch_ms
    again = cluster.replicas[0].tick(cluster.now_ms)
    assert Kind.FETCH not in {Kind(e.frame[1]) for e in again if hasattr(e, "frame")}


def test_no_frame_carries_a_longer_body():
    voice = Voice(N)
    row = voice.row(1, bytes(PUSHED_BODY_BYTES_MAX))
    longest = frames.encode(replace(row, body=bytes(PUSHED_BODY_BYTES_MAX)), EPOCH)
    assert frames.decode(longest, voice.context).body == bytes(PUSHED_BODY_BYTES_MAX)
    longer = frames.encode(replace(row, body=bytes(PUSHED_BODY_BYTES_MAX + 1)), EPOCH)
    with pytest.raises(InvalidInput):
        frames.decode(longer, voice.context)
    with pytest.raises(InvalidInput):
        Limits(pushed_body_bytes=PUSHED_BODY_BYTES_MAX + 1)


def test_an_empty_body_is_pushed_too():
    cluster, voice = opened(0), Voice(N)
    cluster.inject(1, 0, replace(voice.row(1, b""), body=b""))
    assert cluster.replicas[0].status(EPOCH).rows == 1


def test_decided_goes_to_those_who_were_not_heard_voting():
    """Not at once, for most are only a moment behind; the others are about to decide, and ask after a loss."""
    cluster = opened(100)
    silent = 3
    cluster.allow = lambda i, j, kind: (i, kind) != (silent, Kind.VOTE)
    for i in range(N):
        cluster.submit(i, b"body %d" % i)
    cluster.run(60_000, lambda: all(cluster.decided(i) for i in range(N)))
    assert Kind.DECIDED not in {kind for _, _, kind, _ in cluster.sent}
    cluster.run(cluster.now_ms + cluster.timing.resend_ms // 2)
    told = {(i, j) for i, j, kind, _ in cluster.sent if kind is Kind.DECIDED}
    assert {(i, silent) for i in range(N - 1)} <= told
    assert all(j == silent for i, j in told if i != silent)
