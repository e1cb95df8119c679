"""Probes of rules that worlds seldom put to the test: who may speak, what is kept, asked for and said again."""

from __future__ import annotations

from meridian.ephemera import frame as frames
from meridian.ephemera.block import Block, have_digest
from meridian.ephemera.collection import row_root
from meridian.ephemera.context import Kind
from meridian.ephemera.effects import (
    Broadcast,
    Misbehaviour,
    Persist,
    Send,
)
from meridian.ephemera.limits import Timing
from meridian.ephemera.message import (
    BODY,
    WANT_REPORTS,
    Ask,
    Have,
    Propose,
    Vote,
    Wish,
    propose_digest,
)
from meridian.ephemera.proposal import justify
from meridian.ephemera.retrieval import Retrieval
from meridian.sim.bench import (
    DIGEST,
    EPOCH,
    OTHER,
    Bench,
    N,
    alone,
    block_of,
    body_of,
    certificate_of,
    change_of,
    decided,
    propose_of,
    refused,
    report_of_bench,
    said_by,
    vote_of,
)
from meridian.sim.hosts import ATTEMPT, LIMITS


def a_member_has_one_row() -> None:
    """A proposal in which one member's row, or HAVE, stands twice, or which has too few."""
    bench, me, _ = alone()
    good = block_of(bench)
    rows, haves = good.rows, good.haves
    for block in (
        Block(EPOCH, (rows[0], *rows), haves),
        Block(EPOCH, rows, (haves[0], *haves)),
        Block(EPOCH, rows[:2], haves),
    ):
        propose = propose_of(bench, 0, block)
        refused(bench.tell(propose.member, me, propose), "a block with the wrong rows")


def only_the_leader_proposes() -> None:
    """A valid block, signed by a member that does not lead."""
    bench, me, other = alone()
    block = block_of(bench)
    signature = bench.sign(other, Kind.PROPOSE, 0, propose_digest(block.hash))
    refused(bench.tell(other, me, Propose(other, 0, signature, block, None)), "a usurper's PROPOSE")


def the_first_ballot_counts() -> None:
    """A second, different VOTE proves guilt and adds to no quorum."""
    bench, me, other = alone()
    third = next(i for i in range(N) if i not in {me, other})
    for i, digest in ((other, OTHER), (third, DIGEST), (me, DIGEST)):
        bench.do(me, bench.tell(i if i != me else third, me, vote_of(bench, i, digest)))
    effects = bench.tell(other, me, vote_of(bench, other, DIGEST))
    assert any(isinstance(e, Misbehaviour) for e in effects), "a second VOTE is no evidence"
    persisted = [e.record.kind for e in effects if isinstance(e, Persist)]
    assert "decided" not in persisted, "a second VOTE counts"


def amnesia_is_proved() -> None:
    """A VOTE, and a VIEW_CHANGE that denies its lock."""
    bench = Bench()
    me = bench.context.leader(1)
    other = next(i for i in range(N) if i != me)
    bench.open([me])
    bench.do(me, bench.tell(other, me, vote_of(bench, other, DIGEST)))
    effects = bench.tell(other, me, change_of(bench, other, 1, None))
    guilt = [e.kind for e in effects if isinstance(e, Misbehaviour)]
    assert guilt == ["amnesia"], "a denied lock is no evidence"


def refused_rows_are_not_echoed() -> None:
    """A block with a row that the application refuses."""
    bench, me, _ = alone()
    bodies = [b"bad", *(body_of(i) for i in range(1, N))]
    block = block_of(bench, bodies=bodies)
    for body in bodies:
        collection = bench.replicas[me]._machines[EPOCH]._collection  # noqa: SLF001 - bodies come by FETCH only
        collection.bodies[row_root(body)] = body
    propose = propose_of(bench, 0, block)
    for effect in bench.tell(propose.member, me, propose):
        assert not (isinstance(effect, Broadcast) and effect.frame[1] == Kind.ECHO), "echoed"


def listed_rows_are_asked_for() -> None:
    """A HAVE that lists a row of which nothing is known."""
    bench, me, other = alone()
    entries = tuple((i, bytes((i,)) * 32) for i in range(N))
    have = Have(other, entries, bench.sign(other, Kind.HAVE, 0, have_digest(entries)))
    asked = said_by(bench.tell(other, me, have))
    assert Kind.FETCH in asked, "a listed row is not asked for"


def another_block_is_not_taken() -> None:
    """A valid block that is fetched under the hash of another one."""
    bench, me, _ = alone()
    blocks = bench.replicas[me]._machines[EPOCH]._agreement.blocks  # noqa: SLF001 - FETCH only fills it
    block = block_of(bench)
    assert blocks.take(block.hash, block.encode()), "a right block is refused"
    assert not blocks.take(DIGEST, block.encode()), "a block is taken under another hash"


def fetches_go_from_source_to_source() -> None:
    """Who does not answer is asked twice, and then the next."""
    bench = Bench()
    timing = Timing()
    retrieval = Retrieval(bench.context, 0, timing, LIMITS)
    retrieval.want(BODY, DIGEST, [1])
    asked = [m for turn in range(3) for m, _ in retrieval.requests(turn * timing.fetch_ms)]
    assert asked[:2] == [1, 1], "the source is not asked first"
    assert asked[2:] == [2], "the next source is not asked"


def the_latest_is_said_again() -> None:
    """The row, HAVE, ECHO and VOTE, as long as nothing is decided."""
    bench = Bench()
    bench.open()
    bench.run(frozenset({Kind.VOTE, Kind.DECIDED}))
    me = next(i for i in range(N) if ("lock", b"") in bench.disks[i])
    again = said_by(bench.replicas[me].tick(Timing().resend_ms))
    assert {Kind.REVEAL, Kind.HAVE, Kind.ECHO, Kind.VOTE} <= again, "something is not said again"


def wishes_move_views_together() -> None:
    """F + 1 wishes are joined; a view is entered when a quorum wishes for it, and no higher one."""
    bench, me, other = alone()
    third = next(i for i in range(N) if i not in {me, other})
    for i, view in ((other, 5), (third, 1)):
        wish = Wish(i, view, bench.sign(i, Kind.WISH, view, bytes(32)))
        bench.do(me, bench.tell(i, me, wish))
    status = bench.replicas[me].status(EPOCH)
    assert status.wish == 1, "f + 1 wishes are not joined"
    assert status.view == 1, "a view is entered without a quorum"


def the_highest_lock_is_carried() -> None:
    """A leader justifies with the lock of the highest view among the claims."""
    bench = Bench()
    low, high = (certificate_of(bench.sign, Kind.ECHO, view, DIGEST) for view in (0, 1))
    locks = {0: low, 1: high, 2: low}
    changes = {i: change_of(bench, i, 2, lock) for i, lock in locks.items()}
    carried = justify(bench.context, changes).certificate
    assert carried is not None, "no lock is carried"
    assert carried.view == 1, "a lower lock is carried"


def views_are_bounded() -> None:
    """What is far ahead is refused; what is far behind is forgotten and not taken again."""
    bench, me, other = alone()
    ahead = Vote(other, 1_000, DIGEST, bench.sign(other, Kind.VOTE, 1_000, DIGEST))
    refused(bench.tell(other, me, ahead), "a VOTE far ahead")
    for i in range(N):
        if i != me:
            wish = Wish(i, 30, bench.sign(i, Kind.WISH, 30, bytes(32)))
            bench.do(me, bench.tell(i, me, wish))
    assert bench.replicas[me].status(EPOCH).view == 30, "a quorum's view is not entered"
    bench.do(me, bench.tell(other, me, vote_of(bench, other, DIGEST)))
    again = bench.tell(other, me, vote_of(bench, other, OTHER))
    assert not again, "a VOTE far behind is kept"


def the_own_report_goes_beside_an_attested_set() -> None:
    """Who asks may have met another signature of one of the set, and then needs one more."""
    bench = decided(reporters=())
    for i in range(1, N):
        bench.do(0, bench.tell(i, 0, report_of_bench(bench, i, bench.sign, DIGEST)))
    bench.do(0, bench.replicas[0].submit_report(EPOCH, ATTEMPT, DIGEST, bench.now_ms))
    answers = bench.tell(1, 0, Ask(WANT_REPORTS))
    said = [e.frame for e in answers if isinstance(e, Send)]
    signers = {getattr(frames.decode(f, bench.context), "member", None) for f in said}
    assert signers == set(range(N)), "a signature is held back"
