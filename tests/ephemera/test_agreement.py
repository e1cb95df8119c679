"""One decision per epoch: thresholds, inclusion, views, locks."""

from dataclasses import replace

import pytest
from cluster import EPOCH, AcceptAll, Cluster, Voice, filled, keys, ready, said, said_votes

from meridian.ephemera import frame as frames
from meridian.ephemera.block import verify_block, verify_certificate
from meridian.ephemera.context import Kind
from meridian.ephemera.effects import Decided, Persist, Rejected, Send
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.message import (
    BODY,
    Decision,
    Echo,
    Fetch,
    FetchReply,
    Have,
    Wish,
)
from meridian.ephemera.replica import Replica
from meridian.errors import InvalidInput, NotFound

SIZES = [*range(3, 32), 100]
"""Sizes at which others alone can be a quorum."""


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 13, 31])
def test_a_healthy_epoch_is_decided_without_waiting_for_any_timer(n):
    """With all rows and all HAVEs here, virtual time does not move."""
    cluster = filled(n)
    cluster.run(until_ms=0)
    blocks = {cluster.decided(i).block.hash for i in range(n)}
    assert len(blocks) == 1
    assert cluster.now_ms == 0
    for i in range(n):
        decided = cluster.decided(i)
        verify_block(cluster.context, decided.block)
        verify_certificate(cluster.context, decided.certificate)
        assert decided.bodies == tuple(b"body %d" % j for j in range(n))
        assert not cluster.guilt(i)


def test_equal_bodies_are_never_fetched():
    """Rows are content-addressed: evaluators that agree have each other's bodies already."""
    cluster = Cluster(4)
    cluster.open()
    for i in range(4):
        cluster.submit(i, b"the same evaluation")
    cluster.run(until_ms=0)
    assert all(cluster.decided(i) for i in range(4))
    assert not [kind for _, _, kind, _ in cluster.sent if kind is Kind.FETCH]


@pytest.mark.parametrize("n", [4, 5, 7, 10])
def test_n_minus_f_members_decide_and_one_less_does_not(n):
    """f may be silent; with one more silent, everybody waits and says for whom."""
    for silent, decides in ((Voice(n).context.f, True), (Voice(n).context.f + 1, False)):
        cluster = Cluster(n)
        alive = range(n - silent)
        cluster.down = set(range(n - silent, n))
        cluster.open(alive)
        for i in alive:
            cluster.submit(i, b"body %d" % i)
        cluster.run(20_000)
        assert [cluster.decided(i) is not None for i in alive] == [decides] * len(alive)
        status = cluster.replicas[0].status(EPOCH)
        assert status.heard == tuple(i for i in alive if i != 0)
        if not decides:
            assert (status.phase, status.view) == ("collect", 0)
            assert (status.committed, status.rows) == (len(alive), 1), "nobody reveals anything"


@pytest.mark.parametrize("n", SIZES)
def test_a_quorum_of_echoes_makes_a_vote_and_a_quorum_of_votes_a_decision(n):
    """One less makes nothing; the member's own ECHO is not among them (it has no proposal)."""
    voice = Voice(n)
    q, me = voice.context.quorum, 0
    cluster = Cluster(n)
    cluster.open([me])
    digest = bytes(range(32))
    for i in range(1, q):
        assert not said_votes(cluster.inject(i, me, voice.echo(i, 0, digest)), n)
    [vote] = said_votes(cluster.inject(q, me, voice.echo(q, 0, digest)), n)
    assert (vote.view, vote.block_hash) == (0, digest)
    # The own vote counts, so q - 1 others complete it.
    status = cluster.replicas[me].status(EPOCH)
    assert status.votes == 1
    for i in range(1, q - 1):
        cluster.inject(i, me, voice.vote(i, 0, digest))
    assert cluster.replicas[me].status(EPOCH).phase == "vote"
    cluster.inject(q - 1, me, voice.vote(q - 1, 0, digest))
    assert cluster.replicas[me].status(EPOCH).phase == "retrieve"


@pytest.mark.parametrize("kind", ["echo", "vote"])
def test_a_second_different_ballot_does_not_count(kind):
    """The first per signer and view wins; the other one is evidence."""
    voice, cluster = Voice(4), Cluster(4)
    cluster.open([0])
    a, b = b"\x0a" * 32, b"\x0b" * 32
    say = getattr(voice, kind)
    cluster.inject(1, 0, say(1, 0, a))
    for i in (2, 3):
        cluster.inject(i, 0, say(i, 0, b))
    effects = cluster.inject(1, 0, say(1, 0, b))
    assert not said_votes(effects, 4)
    assert cluster.replicas[0].status(EPOCH).phase == "collect"


def test_a_valid_proposal_is_echoed_once():
    cluster, voice, me = ready()
    block = voice.block({i: b"body %d" % i for i in range(4)})
    leader = voice.context.leader(0)
    effects = cluster.inject(leader, me, voice.propose(0, block))
    [echo] = said(effects, Echo)
    assert (echo.view, echo.block_hash) == (0, block.hash)
    assert cluster.inject(leader, me, voice.propose(0, block)) == []
    other = voice.block({i: b"body %d" % i for i in range(4)}, holders=[0, 1, 2])
    assert not said(cluster.inject(leader, me, voice.propose(0, other)), Echo)


def test_everything_is_durable_before_the_echo_leaves():
    """Bodies, then the block, then the ECHO record, then the ECHO."""
    cluster, voice, me = ready()
    block = voice.block({i: b"body %d" % i for i in range(4)})
    effects = cluster.inject(voice.context.leader(0), me, voice.propose(0, block))
    kinds = [e.record.kind if isinstance(e, Persist) else type(e).__name__ for e in effects]
    assert kinds == ["block", "echo", "Broadcast"], "the bodies are durable since the HAVE"


def test_no_echo_before_every_body_is_here_and_accepted():
    """Missing bodies are fetched; a body that the application refuses is never echoed."""
    for body, echoes in ((b"late body", 1), (b"bad body", 0)):
        cluster, voice, me = ready()
        victim = next(i for i in range(4) if i not in {me, voice.context.leader(0)})
        bodies = {i: b"body %d" % i for i in range(4)} | {victim: body}
        block = voice.block(bodies)
        effects = cluster.inject(voice.context.leader(0), me, voice.propose(0, block))
        assert not said(effects, Echo)
        [fetch] = said(effects, Fetch)
        source = next(cluster.context.members.index(e.to) for e in effects if isinstance(e, Send))
        reply = FetchReply(BODY, fetch.digest, len(body), 0, body)
        assert len(said(cluster.inject(source, me, reply), Echo)) == echoes


def test_a_censoring_leader_is_refused():
    """A row that f + 1 HAVEs list and the block leaves out: rejected, nothing echoed, state unchanged."""
    cluster, voice, me = ready()
    full = voice.block({i: b"body %d" % i for i in range(4)})
    censored = replace(full, rows=full.rows[:3])
    before = cluster.replicas[me].status(EPOCH)
    [effect] = cluster.inject(voice.context.leader(0), me, voice.propose(0, censored))
    assert isinstance(effect, Rejected)
    assert "leaves out member 3" in effect.reason
    assert cluster.replicas[me].status(EPOCH) == before


def test_only_the_leader_of_the_view_proposes():
    cluster, voice, me = ready()
    block = voice.block({i: b"body %d" % i for i in range(4)})
    stranger = next(i for i in range(4) if i not in {me, voice.context.leader(0)})
    propose = replace(voice.propose(0, block), member=stranger)
    [effect] = cluster.inject(stranger, me, propose)
    assert isinstance(effect, Rejected)
    forged = replace(voice.propose(0, block), signature=bytes(64))
    [effect] = cluster.inject(voice.context.leader(0), me, forged)
    assert isinstance(effect, Rejected)


@pytest.mark.parametrize("n", [4, 5, 7])
def test_rows_and_haves_below_n_minus_f_start_nothing(n):
    """With n - f rows the phase closes after row_ms, the own one is revealed, and with n - f HAVEs a leader proposes."""
    voice = Voice(n)
    me, least = voice.context.leader(0), voice.context.rows_min
    others = [i for i in range(n) if i != me]
    cluster = Cluster(n)
    cluster.open([me])
    cluster.submit(me, b"the same")
    for i in others[: least - 2]:
        cluster.do(me, cluster.inject(i, me, voice.row(i, b"the same")))
    cluster.queue.clear()
    cluster.do(me, cluster.replicas[me].tick(10_000))
    assert cluster.replicas[me].status(EPOCH).haves == 0
    cluster.now_ms = 10_000
    cluster.do(me, cluster.inject(others[least - 2], me, voice.row(others[least - 2], b"the same")))
    assert cluster.replicas[me].status(EPOCH).haves == 0
    for ms in (cluster.timing.row_ms, cluster.timing.reveal_ms):
        cluster.now_ms += ms
        cluster.do(me, cluster.replicas[me].tick(cluster.now_ms))
    assert cluster.replicas[me].status(EPOCH).haves == 1, (
        "the own one: who leads sends it to nobody"
    )
    entries = [(i, voice.row(i, b"the same").digest) for i in sorted([me, *others[: least - 1]])]
    for count, i in enumerate(others[: least - 1], start=2):
        cluster.do(me, cluster.inject(i, me, voice.have(i, entries)))
        cluster.now_ms += cluster.timing.grace_ms
        cluster.do(me, cluster.replicas[me].tick(cluster.now_ms))
        proposed = [1 for _, _, kind, _ in cluster.sent if kind is Kind.PROPOSE]
        # The grace starts with the last of n - f HAVEs; the next tick is at its end.
        assert bool(proposed) is (count == least)


def test_a_certificate_of_any_view_decides_even_far_ahead():
    """DECIDED is exempt from the window."""
    voice, cluster = Voice(4), Cluster(4)
    cluster.open([0])
    proof = voice.certificate(Kind.VOTE, 999, bytes(32), [1, 2, 3])
    effects = cluster.inject(3, 0, Decision(proof))
    assert isinstance(effects[0], Persist)
    assert effects[0].record.kind == "decided"
    assert cluster.replicas[0].status(EPOCH).phase == "retrieve"


def test_a_forged_decision_is_refused():
    voice, cluster = Voice(4), Cluster(4)
    cluster.open([0])
    proof = voice.certificate(Kind.VOTE, 0, bytes(32), [1, 2])
    [effect] = cluster.inject(1, 0, Decision(proof))
    assert isinstance(effect, Rejected)


def test_strangers_oneself_and_closed_epochs_are_refused():
    voice, cluster = Voice(4), Cluster(4)
    cluster.open([0])
    frame = frames.encode(voice.wish(1, 1), EPOCH)
    stranger = keys(9)[8].address
    assert stranger not in cluster.context.members
    for sender in (stranger, cluster.context.members[0]):
        [effect] = cluster.replicas[0].receive(sender, frame, 0)
        assert isinstance(effect, Rejected)
        assert effect.field == "sender"
    cluster.replicas[0].close(EPOCH)
    [effect] = cluster.replicas[0].receive(cluster.context.members[1], frame, 0)
    assert effect == Rejected(cluster.context.members[1], "epoch", "not open")
    with pytest.raises(NotFound):
        cluster.replicas[0].status(EPOCH)


def test_a_signature_must_be_that_of_the_claimed_member_whoever_brings_it():
    """Passing on is fine, speaking for another is not."""
    voice, cluster = Voice(4), Cluster(4)
    cluster.open([0])
    genuine = voice.wish(2, 1)
    assert cluster.inject(1, 0, genuine) == []
    [effect] = cluster.inject(1, 0, Wish(3, 1, genuine.signature))
    assert isinstance(effect, Rejected)


def test_epochs_are_bounded_and_opened_once_by_members_only():
    cluster = Cluster(4, limits=Limits(epochs_max=1))
    cluster.open([0])
    with pytest.raises(InvalidInput, match="already open"):
        cluster.replicas[0].open(cluster.context, [], 0)
    with pytest.raises(InvalidInput, match="open already"):
        cluster.replicas[0].open(Voice(4, EPOCH + 1).context, [], 0)
    outsider = Replica(keys(9)[8], Timing(), Limits(), AcceptAll())
    with pytest.raises(InvalidInput, match="not a member"):
        outsider.open(cluster.context, [], 0)


def test_the_own_row_is_checked_and_the_first_one_counts():
    cluster = Cluster(4, limits=Limits(body_bytes_max=10))
    cluster.open([0])
    for body in (b"bad", b"12345678901"):
        with pytest.raises(InvalidInput):
            cluster.replicas[0].submit_row(EPOCH, body, 0)
    assert cluster.replicas[0].submit_row(EPOCH, b"good", 0)
    assert cluster.replicas[0].submit_row(EPOCH, b"better", 0) == []


def test_a_row_withheld_by_its_member_is_not_required():
    """HAVE lists only rows whose bodies are held, so a row without body holds nobody up."""
    cluster = Cluster(4)
    cluster.open()
    liar = next(i for i in range(4) if i != cluster.context.leader(0))
    cluster.allow = lambda i, j, kind: not (i == liar and kind is Kind.FETCH_REPLY)
    for i in range(4):
        cluster.submit(i, b"body %d" % i)
    others = [i for i in range(4) if i != liar]
    cluster.run(5_000, lambda: all(cluster.decided(i) for i in others))
    rows = [row.member for row in cluster.decided(others[0]).block.rows]
    assert rows == others
    assert cluster.decided(others[0]).certificate.view == 0


def test_messages_before_and_after_a_decision_leave_it_alone():
    cluster = filled(4)
    cluster.run(0)
    voice = Voice(4)
    status = cluster.replicas[0].status(EPOCH)
    for message in (voice.echo(1, 3, bytes(32)), voice.wish(1, 9), voice.row(1, b"other")):
        assert cluster.inject(1, 0, message) == []
    assert cluster.replicas[0].status(EPOCH) == status
    assert len(cluster.effects(0, Decided)) == 1


def test_a_have_with_too_few_rows_is_refused():
    voice, cluster = Voice(4), Cluster(4)
    cluster.open([0])
    rows = [(i, bytes(32)) for i in range(4)]
    [effect] = cluster.inject(1, 0, voice.have(1, rows[:2]))
    assert isinstance(effect, Rejected)
    assert cluster.inject(1, 0, voice.have(1, rows[:3])) != []
    [effect] = cluster.inject(1, 0, Have(2, tuple(rows), voice.have(1, rows).signature))
    assert isinstance(effect, Rejected)
