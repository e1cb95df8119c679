"""Rows are committed before any is revealed: when a member closes, reveals and lists, and what is late."""

from dataclasses import replace

import pytest
from cluster import EPOCH, Cluster, Voice, filled, said

from meridian.ephemera import frame as frames
from meridian.ephemera.context import Kind
from meridian.ephemera.effects import Persist, Rejected, Send
from meridian.ephemera.limits import Timing
from meridian.ephemera.message import (
    ROW,
    WANT_DECISION,
    Ask,
    Echo,
    Fetch,
    Have,
    Reveal,
    Row,
)
from meridian.ephemera.opening import NO_TRACE
from meridian.errors import InvalidInput

N = 4


def sent(cluster: Cluster, member: int, kind: Kind) -> list:
    """Messages of a kind that a member has sent, in order."""
    return [
        frames.decode(frame, cluster.context)
        for i, _, said_kind, frame in cluster.sent
        if (i, said_kind) == (member, kind)
    ]


def have_of(cluster: Cluster, member: int) -> Have:
    return frames.decode(cluster.disks[member][EPOCH, "have", b""].value, cluster.context)


def alone(body: bytes = b"body") -> tuple[Cluster, Voice, int]:
    """One member with its row committed, which does not lead view 0."""
    voice, cluster = Voice(N), Cluster(N)
    me = next(i for i in range(N) if i != voice.context.leader(0))
    cluster.open([me])
    cluster.submit(me, body)
    return cluster, voice, me


def pass_time(cluster: Cluster, me: int, *steps_ms: int) -> list:
    effects = []
    for ms in steps_ms:
        cluster.now_ms += ms
        effects += cluster.replicas[me].tick(cluster.now_ms)
    cluster.do(me, effects)
    return effects


def test_nobody_reveals_before_all_have_committed_themselves():
    """At every member the first REVEAL comes after all ROWs; and no timer is needed."""
    cluster = filled(N)
    cluster.run(until_ms=0)
    kinds = [kind for _, _, kind, _ in cluster.sent]
    first = kinds.index(Kind.REVEAL)
    assert kinds[:first].count(Kind.ROW) >= N - 1
    for i in range(N):
        [own] = {row.digest for row in sent(cluster, i, Kind.ROW)}
        [revealed] = {row.digest for row in sent(cluster, i, Kind.REVEAL)}
        assert own == revealed
    assert len(cluster.decided(0).block.rows) == N


def test_a_commitment_says_nothing_of_the_row():
    """Equal rows of two members, and of one member in two epochs, look different; nothing but the key tells the salt."""
    here, there = Voice(N), Voice(N, EPOCH + 1)
    rows = [here.row(0, b"same"), here.row(1, b"same"), there.row(0, b"same"), here.row(0, b"x")]
    assert len({row.digest for row in rows}) == 4
    assert len({row.opening.salt for row in rows}) == 4
    cluster = Cluster(N)
    cluster.open([0])
    cluster.submit(0, b"same")
    [row] = {row.digest for row in sent(cluster, 0, Kind.ROW)}
    assert row == rows[0].digest
    cluster.restart(0, lost=True)
    cluster.replicas[0] = cluster.new(0)
    cluster.open([0])
    cluster.submit(0, b"same")
    assert {row.digest for row in sent(cluster, 0, Kind.ROW)} == {row}, "after a lost disk, too"


def test_with_one_silent_the_others_close_then_reveal_and_wait_for_no_row_twice():
    cluster = Cluster(N)
    silent = next(i for i in range(N) if i != cluster.context.leader(0))
    others = [i for i in range(N) if i != silent]
    cluster.down = {silent}
    cluster.open(others)
    for i in others:
        cluster.submit(i, b"body %d" % i)
    timing = cluster.timing
    cluster.run(timing.row_ms + timing.reveal_ms - 1)
    assert all((EPOCH, "closed", b"") in cluster.disks[i] for i in others)
    assert not any(sent(cluster, i, Kind.REVEAL) for i in others)
    cluster.run(timing.row_ms + timing.reveal_ms)
    assert all((EPOCH, "have", b"") in cluster.disks[i] for i in others)
    cluster.run(timing.row_ms + timing.reveal_ms + timing.grace_ms)
    assert all(cluster.decided(i) for i in others)


def test_a_commitment_that_comes_after_the_own_row_was_revealed_is_late():
    """Its member copied what it saw: it stands in no HAVE of a correct member, and no block may hold it."""
    cluster, voice, me = alone(b"the same")
    others = [i for i in range(N) if i != me]
    for i in others[:2]:
        cluster.do(me, cluster.inject(i, me, voice.committed(i, b"the same")))
    timing = cluster.timing
    assert not said(pass_time(cluster, me, timing.row_ms), Reveal)
    assert said(pass_time(cluster, me, timing.reveal_ms), Reveal)
    copy = others[2]
    for i in (copy, *others[:2]):
        cluster.do(me, cluster.inject(i, me, voice.row(i, b"the same")))
    assert [member for member, _ in have_of(cluster, me).entries] == sorted({*others[:2], me})
    block = voice.block(dict.fromkeys(range(N), b"the same"), listed=[*sorted({*others[:2], me})])
    [refusal] = cluster.inject(voice.context.leader(0), me, voice.propose(0, block))
    assert isinstance(refusal, Rejected)
    assert f"row of member {copy} that the HAVEs do not admit" in refusal.reason


def test_the_phase_is_durable_before_the_row_is_revealed():
    cluster, voice, me = alone()
    for i in range(N):
        if i != me:
            cluster.do(me, cluster.inject(i, me, voice.committed(i, b"body %d" % i)))
    kinds = [
        effect.record.kind if isinstance(effect, Persist) else Kind(effect.frame[1]).name
        for effect in cluster.seen[me]
    ]
    assert kinds[-2:] == ["closed", "REVEAL"]


def test_who_commits_itself_and_never_reveals_abstains():
    cluster = Cluster(N)
    mute = next(i for i in range(N) if i != cluster.context.leader(0))
    cluster.allow = lambda i, j, kind: not (i == mute and kind is Kind.REVEAL)
    cluster.open()
    for i in range(N):
        cluster.submit(i, b"body %d" % i)
    others = [i for i in range(N) if i != mute]
    timing = cluster.timing
    cluster.run(timing.have_ms + timing.grace_ms, lambda: all(cluster.decided(i) for i in others))
    assert [row.member for row in cluster.decided(others[0]).block.rows] == others


def test_a_late_row_stands_in_when_another_is_never_revealed():
    """One that lies and one that is late may leave fewer than n - f rows in time: the epoch is decided all the same."""
    cluster = Cluster(N)
    mute, late = [i for i in range(N) if i != cluster.context.leader(0)][:2]
    cluster.allow = lambda i, j, kind: not (i == mute and kind is Kind.REVEAL)
    cluster.open()
    others = [i for i in range(N) if i != mute]
    for i in range(N):
        if i != late:
            cluster.submit(i, b"body %d" % i)
    timing = cluster.timing
    cluster.run(timing.row_ms + timing.reveal_ms)
    assert not any((EPOCH, "have", b"") in cluster.disks[i] for i in others)
    cluster.submit(late, b"late")
    began_ms = cluster.now_ms
    cluster.run(began_ms + timing.fill_ms - 1)
    assert not any((EPOCH, "have", b"") in cluster.disks[i] for i in others if i != late)
    cluster.run(began_ms + 10_000, lambda: all(cluster.decided(i) for i in others))
    assert [row.member for row in cluster.decided(others[0]).block.rows] == others


def test_a_member_that_committed_itself_in_time_has_no_second_row_to_stand_in():
    """A copycat that had committed itself to something, and then saw the others' rows, gains nothing."""
    cluster, voice, me = alone(b"the same")
    others = [i for i in range(N) if i != me]
    for i in others[:2]:
        cluster.do(me, cluster.inject(i, me, voice.committed(i, b"made up")))
    pass_time(cluster, me, cluster.timing.row_ms, cluster.timing.reveal_ms)
    for i in others[:2]:
        cluster.do(me, cluster.inject(i, me, voice.row(i, b"the same")))
    pass_time(cluster, me, 10 * cluster.timing.fill_ms)
    assert (EPOCH, "have", b"") not in cluster.disks[me]
    assert {guilt.kind for guilt in cluster.guilt(me)} == {"double_row"}


def test_what_was_not_committed_is_refused_and_changes_nothing():
    cluster, voice, me = alone()
    other = next(i for i in range(N) if i != me)
    row = voice.row(other, b"body")
    before = cluster.replicas[me].status(EPOCH)
    for opening in (
        replace(row.opening, salt=bytes(32)),
        replace(row.opening, row_root=bytes(32)),
        replace(row.opening, trace_root=b"\x01" * 32),
        voice.row(me, b"body").opening,
    ):
        [refusal] = cluster.inject(other, me, replace(row, opening=opening))
        assert isinstance(refusal, Rejected)
        assert refusal.field == "opening"
    [refusal] = cluster.inject(other, me, replace(row, signature=bytes(64)))
    assert refusal.field == "signature"
    after = cluster.replicas[me].status(EPOCH)
    assert (after.committed, after.rows) == (before.committed, before.rows)


def test_the_own_row_is_given_to_nobody_before_it_is_revealed():
    cluster, voice, me = alone()
    own = voice.row(me, b"body")
    other = next(i for i in range(N) if i != me)
    fetch = Fetch(ROW, me, own.digest, 0)
    assert cluster.inject(other, me, fetch) == []
    for i in range(N):
        if i != me:
            cluster.do(me, cluster.inject(i, me, voice.committed(i, b"body %d" % i)))
    [send] = cluster.inject(other, me, fetch)
    assert isinstance(send, Send)
    assert frames.decode(send.frame, cluster.context) == own


def test_the_trace_root_is_bound_and_stands_in_the_block():
    cluster = Cluster(N)
    cluster.open()
    traces = [bytes([i]) * 32 for i in range(N)]
    for i, trace in enumerate(traces):
        effects = cluster.replicas[i].submit_row(EPOCH, b"the same", 0, trace)
        cluster.do(i, effects)
    cluster.run(0)
    openings = [row.opening for row in cluster.decided(0).block.rows]
    assert [opening.trace_root for opening in openings] == traces
    assert len({opening.row_root for opening in openings}) == 1


def test_a_trace_root_has_32_bytes():
    cluster = Cluster(N)
    cluster.open([0])
    with pytest.raises(InvalidInput, match="trace_root"):
        cluster.replicas[0].submit_row(EPOCH, b"body", 0, b"short")


def test_two_commitments_are_found_out_when_one_stands_in_a_block():
    """A copycat showed the first to one member only, so that this one reveals, and the second to the rest."""
    cluster, voice, me = alone(b"the same")
    leader = voice.context.leader(0)
    twofaced = next(i for i in range(N) if i not in {me, leader})
    cluster.do(me, cluster.inject(twofaced, me, voice.committed(twofaced, b"made up")))
    block = voice.block(dict.fromkeys(range(N), b"the same"))
    effects = cluster.inject(leader, me, voice.propose(0, block))
    assert [e.kind for e in effects if type(e).__name__ == "Misbehaviour"] == ["double_row"]
    assert said(effects, Echo), "the block is valid all the same"


def test_who_lost_its_records_learns_from_the_others_that_it_had_committed_itself():
    cluster = Cluster(N)
    cluster.open([0, 1])
    cluster.submit(0, b"forgotten")
    cluster.deliver()
    answers = cluster.inject(0, 1, Ask(WANT_DECISION))
    assert [type(m) for m in said(answers, Row)] == [Row]
    cluster.disks[0] = {}
    cluster.restart(0)
    cluster.now_ms += cluster.timing.resend_ms
    cluster.deliver()
    assert cluster.replicas[0].status(EPOCH).observer
    cluster.submit(0, b"another")
    assert len({row.digest for row in sent(cluster, 0, Kind.ROW)}) == 1


@pytest.mark.parametrize("name", ["row_ms", "reveal_ms", "have_ms", "fill_ms", "grace_ms"])
def test_waiting_times_are_not_negative(name):
    with pytest.raises(InvalidInput, match=name):
        Timing(**{name: -1})


def test_a_row_without_a_trace_says_so():
    assert Voice(N).row(0, b"body").opening.trace_root == NO_TRACE == bytes(32)
