"""Leaving a view: timeouts, wishes, locks and what may be proposed afterwards."""

from dataclasses import replace

import pytest
from cluster import EPOCH, Cluster, Voice, filled, ready, said

from meridian.ephemera import frame as frames
from meridian.ephemera.block import verify_certificate
from meridian.ephemera.context import Kind
from meridian.ephemera.effects import Persist, Rejected
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.message import (
    Echo,
    Propose,
    Vote,
)
from meridian.errors import InvalidInput


def enter(cluster: Cluster, voice: Voice, me: int, view: int) -> list:
    effects = []
    for i in range(4):
        if i != me:
            effects += cluster.inject(i, me, voice.wish(i, view))
    cluster.do(me, effects)
    assert cluster.replicas[me].status(EPOCH).view == view
    return effects


def locked() -> tuple[Cluster, Voice, int, object, object]:
    """A member that voted for `block` in view 0 and is now in view 1."""
    voice = Voice(4)
    outsiders = {voice.context.leader(0), voice.context.leader(1)}
    cluster, voice, me = ready(4, next(i for i in range(4) if i not in outsiders))
    block = voice.block({i: b"body %d" % i for i in range(4)})
    cluster.do(me, cluster.inject(voice.context.leader(0), me, voice.propose(0, block)))
    lock = voice.certificate(Kind.ECHO, 0, block.hash, [0, 1, 2])
    for i in (0, 1, 2, 3):
        if i != me:
            cluster.do(me, cluster.inject(i, me, voice.echo(i, 0, block.hash)))
    assert cluster.replicas[me].status(EPOCH).phase == "vote"
    enter(cluster, voice, me, 1)
    return cluster, voice, me, block, lock


def other_block(voice: Voice):
    return voice.block({i: b"body %d" % i for i in range(4)}, holders=[0, 1, 2])


def test_a_lock_is_carried_into_the_next_view():
    """The VIEW_CHANGE shows the lock with its certificate, and the locked block is echoed again."""
    cluster, voice, me, block, lock = locked()
    changes = [f for i, _, kind, f in cluster.sent if i == me and kind is Kind.VIEW_CHANGE]
    change = frames.decode(changes[-1], voice.context)
    assert change.lock == (0, block.hash)
    verify_certificate(voice.context, change.certificate, Kind.ECHO)
    justification = voice.justification(1, [0, 1, 2], {1: lock})
    effects = cluster.inject(voice.context.leader(1), me, voice.propose(1, block, justification))
    [echo] = said(effects, Echo)
    assert (echo.view, echo.block_hash) == (1, block.hash)


def test_a_proposal_against_the_highest_lock_is_refused():
    """The lock check: without it two blocks can be decided in two views."""
    cluster, voice, me, _, lock = locked()
    leader = voice.context.leader(1)
    other = other_block(voice)
    shown = voice.justification(1, [0, 1, 2], {1: lock})
    hidden = replace(shown, certificate=None)
    later = voice.certificate(Kind.ECHO, 0, other.hash, [0, 1])  # no quorum
    faked = voice.justification(1, [0, 1, 2], {1: later})
    few = voice.justification(1, [0, 1, 2])
    few = replace(few, claims=few.claims[:2])
    twice = replace(few, claims=(*few.claims, few.claims[1]))
    for justification in (shown, hidden, faked, few, twice, None):
        propose = voice.propose(1, other, justification)
        try:
            frames.encode(propose, EPOCH)
        except InvalidInput:
            continue
        [effect] = cluster.inject(leader, me, propose)
        assert isinstance(effect, Rejected)


def test_without_any_lock_among_a_quorum_a_new_block_is_fine():
    """A lock of a minority binds nobody: it cannot have been decided."""
    cluster, voice, me, _, _ = locked()
    other = other_block(voice)
    free = voice.justification(1, [i for i in range(4) if i != me])
    effects = cluster.inject(voice.context.leader(1), me, voice.propose(1, other, free))
    assert [echo.block_hash for echo in said(effects, Echo)] == [other.hash]


def test_a_silent_leader_is_passed_over():
    """After view_ms everybody wishes, a quorum enters view 1, and its leader finishes the epoch."""
    cluster = filled(4)
    leader = cluster.context.leader(0)
    cluster.down = {leader}
    cluster.run(10_000, lambda: all(cluster.decided(i) for i in range(4) if i != leader))
    views = {cluster.decided(i).certificate.view for i in range(4) if i != leader}
    assert views == {1}
    assert cluster.timing.view_ms <= cluster.now_ms < 2 * cluster.timing.view_ms


def test_a_decision_hidden_from_all_is_reached_again_through_the_lock():
    """All VOTEs of view 0 are lost: view 1 proposes the same block, not another."""
    cluster = filled(4)
    proposed = []

    def allow(i, j, kind):
        return not (kind is Kind.VOTE and all(r.status(EPOCH).view == 0 for r in cluster.replicas))

    cluster.allow = allow
    cluster.run(20_000, lambda: all(cluster.decided(i) for i in range(4)))
    for _, _, kind, frame in cluster.sent:
        if kind is Kind.PROPOSE:
            proposed.append(frames.decode(frame, cluster.context))
    assert {p.view for p in proposed} == {0, 1}
    assert len({p.block.hash for p in proposed}) == 1
    assert next(p for p in proposed if p.view == 1).justification.certificate is not None


@pytest.mark.parametrize("n", [4, 5, 6, 7, 10])
def test_f_plus_1_wishes_are_joined_and_a_quorum_enters(n):
    voice, cluster = Voice(n), Cluster(n)
    context, me = voice.context, 0
    cluster.open([me])
    for i in range(1, context.f + 1):
        cluster.inject(i, me, voice.wish(i, 3))
    assert cluster.replicas[me].status(EPOCH).wish == 0
    effects = cluster.inject(context.f + 1, me, voice.wish(context.f + 1, 3))
    assert cluster.replicas[me].status(EPOCH).wish == 3
    kinds = [e.record.kind if isinstance(e, Persist) else type(e).__name__ for e in effects]
    assert kinds[:2] == ["view", "Broadcast"]
    for i in range(context.f + 2, context.quorum - 1):
        cluster.inject(i, me, voice.wish(i, 3))
    if context.f + 2 < context.quorum:
        assert cluster.replicas[me].status(EPOCH).view == 0
        cluster.inject(context.quorum - 1, me, voice.wish(context.quorum - 1, 3))
    assert cluster.replicas[me].status(EPOCH).view == 3


def test_views_last_longer_and_longer():
    timing = Timing(view_ms=100, view_max_ms=250)
    assert [timing.view_timeout_ms(view) for view in range(4)] == [100, 200, 250, 250]


def test_a_statement_too_far_ahead_is_refused_and_one_within_the_window_is_kept():
    voice, cluster = Voice(4), Cluster(4, limits=Limits(views_ahead_max=2))
    cluster.open([0])
    digest = bytes(32)
    [effect] = cluster.inject(1, 0, voice.echo(1, 3, digest))
    assert isinstance(effect, Rejected)
    for i in (1, 2, 3):
        assert not said(cluster.inject(i, 0, voice.echo(i, 2, digest)), Vote)
    effects = [e for i in (1, 2, 3) for e in cluster.inject(i, 0, voice.wish(i, 2))]
    assert [vote.view for vote in said(effects, Vote)] == [2]


def test_deadlines_are_exact():
    """Before its deadline a tick does nothing; at it, it does something or moves it on."""
    cluster = filled(4)
    cluster.down = {cluster.context.leader(0)}
    for _ in range(60):
        cluster.deliver()
        due = {i: cluster.replicas[i].next_deadline_ms() for i in range(4) if i not in cluster.down}
        for i, deadline in due.items():
            if deadline is not None and deadline > cluster.now_ms:
                assert cluster.replicas[i].tick(deadline - 1) == []
                assert cluster.replicas[i].next_deadline_ms() == deadline
        waiting = [deadline for deadline in due.values() if deadline is not None]
        if not waiting:
            break
        cluster.now_ms = max(cluster.now_ms, min(waiting))
        for i, deadline in due.items():
            if deadline == cluster.now_ms:
                cluster.do(i, cluster.replicas[i].tick(cluster.now_ms))
                after = cluster.replicas[i].next_deadline_ms()
                assert after is None or after > cluster.now_ms


def test_a_proposal_far_too_early_waits_for_its_view():
    cluster, voice, me = ready()
    view = next(v for v in range(1, 5) if voice.context.leader(v) != me)
    block = voice.block({i: b"body %d" % i for i in range(4)})
    justification = voice.justification(view, [0, 1, 2])
    propose = voice.propose(view, block, justification)
    assert not said(cluster.inject(propose.member, me, propose), Echo)
    effects = enter(cluster, voice, me, view)
    assert [echo.view for echo in said(effects, Echo)] == [view]
    assert isinstance(propose, Propose)
