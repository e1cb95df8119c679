"""Probes of memory: what a crash, a lost disk or a jumping clock must not change."""

from __future__ import annotations

from collections.abc import Sequence

from meridian.ephemera import evidence
from meridian.ephemera import frame as frames
from meridian.ephemera.block import Block, have_digest
from meridian.ephemera.collection import row_root
from meridian.ephemera.context import Kind
from meridian.ephemera.effects import (
    Attested,
    Broadcast,
    Decided,
    Misbehaviour,
    Send,
)
from meridian.ephemera.limits import Timing
from meridian.ephemera.message import (
    BLOCK,
    BODY,
    ROW,
    Accusation,
    Echo,
    Have,
    Propose,
    Row,
    ViewChange,
    Wish,
)
from meridian.errors import InvalidInput
from meridian.sim.bench import (
    DIGEST,
    EPOCH,
    LATE_MS,
    OTHER,
    Bench,
    N,
    alone,
    block_of,
    body_of,
    decided,
    decided_on_haves,
    propose_of,
    reveal_of,
    said_by,
    served,
    wait,
)
from meridian.sim.hosts import ATTEMPT, HOUR_MS


def a_restart_brings_everything_back() -> None:
    """Decision and report are announced again from the disk alone, and evidence is not found twice."""
    bench = decided()
    pairs = [(d, bench.sign(1, Kind.ECHO, 0, d)) for d in (DIGEST, OTHER)]
    proof = evidence.double(bench.context, 1, Kind.ECHO, 0, pairs[0], pairs[1])
    bench.do(0, bench.tell(2, 0, Accusation(proof)))
    effects = bench.restart(0)
    assert any(isinstance(e, Decided) for e in effects), "the decision is lost"
    assert any(isinstance(e, Attested) for e in effects), "the attested report is lost"
    again = bench.tell(2, 0, Accusation(proof))
    assert not any(isinstance(e, Misbehaviour) for e in again), "evidence is lost"


def an_observer_stays_one() -> None:
    """Told once that its records are lost, a member signs nothing, after later restarts either."""
    bench = Bench()
    for observer in (True, False):
        bench.do(0, bench.restart(0, observer=observer))
        effects = bench.replicas[0].submit_row(EPOCH, body_of(0), 0)
        assert not said_by(effects) & {Kind.ROW}, "an observer signs"


def an_unknown_own_statement_makes_an_observer() -> None:
    """A valid statement of the own key that is not remembered: a second process signs with it."""
    bench, me, other = alone()
    other_row = reveal_of(bench, me, b"another body")
    stale = Row(me, other_row.digest, other_row.signature)
    bench.do(me, bench.tell(other, me, stale))
    bench.now_ms = LATE_MS
    effects = bench.replicas[me].tick(LATE_MS)
    said = {e.frame[1] for e in effects if isinstance(e, Broadcast | Send)}
    assert not said & {Kind.ROW, Kind.HAVE, Kind.WISH}, "goes on signing"


def what_a_have_lists_survives_a_crash() -> None:
    """Rows of others, and their bodies, that the own HAVE lists: the inclusion rule may demand them."""
    bench = decided_on_haves()
    bench.do(0, bench.restart(0))
    for member in range(1, N):
        listed = reveal_of(bench, member, body_of(member))
        row = served(bench, 0, member, ROW, member, listed.digest)
        assert row == listed, "a listed row is lost"
        served(bench, 0, member, BODY, 0, listed.opening.row_root)


def what_was_echoed_survives_a_crash() -> None:
    """The echoed block and its bodies: somebody may be locked on it."""
    bench, me, other = alone()
    bodies = [body_of(me)] * N
    block = block_of(bench, bodies=bodies)
    propose = propose_of(bench, 0, block)
    bench.do(me, bench.tell(propose.member, me, propose))
    assert ("echo", b"") in bench.disks[me], "no ECHO"
    bench.do(me, bench.restart(me))
    served(bench, me, other, BODY, 0, row_root(bodies[0]))
    served(bench, me, other, BLOCK, 0, block.hash)


def a_clock_that_is_set_back_is_survived() -> None:
    """An hour back: the next repetition is due as soon as ever."""
    bench, me, _ = alone()
    replica = bench.replicas[me]
    replica.tick(-HOUR_MS)
    due_ms = replica.next_deadline_ms()
    assert due_ms is not None, "nothing is due"
    assert due_ms + HOUR_MS <= Timing().resend_ms, "everything is due an hour later"


def a_restart_signs_the_same_row() -> None:
    """The first body counts, also after a crash."""
    bench = Bench()
    bench.open([0])
    bench.do(0, bench.restart(0) + bench.replicas[0].submit_row(EPOCH, b"another body", 0))
    same_again(bench, 0, Row)


def same_again(bench: Bench, me: int, kind: type[Row | Have | Propose | Echo | ViewChange]) -> None:
    """Assert that a member said something of a kind, and never two different things."""
    said = {
        message
        for effect in bench.seen[me]
        if isinstance(effect, Broadcast | Send)
        and isinstance(message := frames.decode(effect.frame, bench.context), kind)
    }
    assert said, "nothing was said"
    assert len(said) == 1, f"two different {kind.__name__}s"


def hear_rows(bench: Bench, me: int, members: Sequence[int]) -> None:
    """Revealed rows of others with the own body, so that nothing has to be fetched."""
    for i in members:
        bench.do(me, bench.tell(i, me, reveal_of(bench, i, body_of(me))))


def hear_have(bench: Bench, me: int, member: int) -> None:
    """A HAVE of another member that lists all rows."""
    entries = tuple((i, reveal_of(bench, i, body_of(me)).digest) for i in range(N))
    have = Have(member, entries, bench.sign(member, Kind.HAVE, 0, have_digest(entries)))
    bench.do(me, bench.tell(member, me, have))


def close(bench: Bench, me: int) -> None:
    """Let the phase of commitments end, and the own row be revealed."""
    for ms in (Timing().row_ms, Timing().reveal_ms, Timing().have_ms):
        wait(bench, me, ms)


def a_restart_does_not_open_the_phase_again() -> None:
    """A commitment that comes after the own row was revealed, and after a crash, is late as before."""
    bench, me, _ = alone()
    others = [i for i in range(N) if i != me]
    for i in others[:2]:
        row = reveal_of(bench, i, body_of(me))
        bench.do(me, bench.tell(i, me, Row(i, row.digest, row.signature)))
    close(bench, me)
    assert any(kind == "closed" for kind, _ in bench.disks[me]), "the phase is not closed"
    bench.do(me, bench.restart(me))
    hear_rows(bench, me, [*others[2:], *others[:2]])
    close(bench, me)
    value = bench.disks[me]["have", b""].value
    have = frames.decode(value, bench.context)
    assert isinstance(have, Have), "no HAVE"
    assert others[2] not in {member for member, _ in have.entries}, "a late row is listed"


def a_restart_signs_the_same_have() -> None:
    """A row that is revealed after the crash does not get into the HAVE, though its commitment came in time."""
    bench, me, _ = alone()
    others = [i for i in range(N) if i != me]
    slow = reveal_of(bench, others[2], body_of(me))
    bench.do(me, bench.tell(others[2], me, Row(slow.member, slow.digest, slow.signature)))
    hear_rows(bench, me, others[:2])
    close(bench, me)
    bench.do(me, bench.restart(me))
    hear_rows(bench, me, others)
    close(bench, me)
    same_again(bench, me, Have)


def a_restart_signs_the_same_proposal() -> None:
    """A HAVE that comes after the crash does not get into the block."""
    bench = Bench()
    me = bench.context.leader(0)
    bench.open([me])
    others = [i for i in range(N) if i != me]
    hear_rows(bench, me, others)
    for i in others[:2]:
        hear_have(bench, me, i)
    wait(bench, me, Timing().grace_ms)
    bench.do(me, bench.restart(me))
    hear_rows(bench, me, others)
    for i in others:
        hear_have(bench, me, i)
    wait(bench, me, Timing().grace_ms)
    same_again(bench, me, Propose)


def echoing(bodies: Sequence[bytes] = ()) -> tuple[Bench, int, Block]:
    """A bench on which one member has echoed the block of view 0."""
    bench, me, _ = alone()
    block = block_of(bench, bodies=bodies or [body_of(me)] * N)
    propose = propose_of(bench, 0, block)
    bench.do(me, bench.tell(propose.member, me, propose))
    return bench, me, block


def a_restart_echoes_no_other_block() -> None:
    """A leader that proposes another block after the crash gets no second ECHO."""
    bench, me, block = echoing()
    bench.do(me, bench.restart(me))
    propose = propose_of(bench, 0, Block(EPOCH, block.rows, block.haves[:3]))
    bench.do(me, bench.tell(propose.member, me, propose))
    same_again(bench, me, Echo)


def locked() -> tuple[Bench, int, Block]:
    """A bench on which one member has voted in view 0."""
    bench, me, block = echoing()
    for i in range(N):
        if i != me:
            signature = bench.sign(i, Kind.ECHO, 0, block.hash)
            bench.do(me, bench.tell(i, me, Echo(i, 0, block.hash, signature)))
    return bench, me, block


def leave(bench: Bench, me: int, view: int) -> None:
    """Enter a view for which all others wish."""
    for i in range(N):
        if i != me:
            wish = Wish(i, view, bench.sign(i, Kind.WISH, view, bytes(32)))
            bench.do(me, bench.tell(i, me, wish))


def a_restart_keeps_the_lock() -> None:
    """A member that voted and crashed admits its lock in the next view."""
    bench, me, block = locked()
    bench.do(me, bench.restart(me))
    view = next(v for v in range(1, N) if bench.context.leader(v) != me)
    leave(bench, me, view)
    changes = [
        message
        for effect in bench.seen[me]
        if isinstance(effect, Broadcast | Send)
        and isinstance(message := frames.decode(effect.frame, bench.context), ViewChange)
    ]
    assert changes, "no VIEW_CHANGE"
    assert all(change.lock == (0, block.hash) for change in changes), "the lock is lost"


def a_restart_keeps_the_view() -> None:
    """Views only grow, and so do wishes."""
    bench, me, _ = alone()
    leave(bench, me, 3)
    bench.do(me, bench.restart(me))
    status = bench.replicas[me].status(EPOCH)
    assert (status.view, status.wish) == (3, 3), "the view is lost"


def a_restart_signs_the_same_view_change() -> None:
    """A VOTE of the view that was entered does not get into its VIEW_CHANGE."""
    bench = Bench()
    view = 1
    me = next(i for i in range(N) if i != bench.context.leader(view))
    bench.open([me])
    leave(bench, me, view)
    for i in range(N):
        if i != me:
            echo = Echo(i, view, DIGEST, bench.sign(i, Kind.ECHO, view, DIGEST))
            bench.do(me, bench.tell(i, me, echo))
    bench.do(me, bench.restart(me))
    same_again(bench, me, ViewChange)


def a_restart_signs_the_same_report() -> None:
    """Another digest in the same attempt is refused, also after a crash."""
    bench = decided(reporters=())
    bench.do(0, bench.replicas[0].submit_report(EPOCH, ATTEMPT, DIGEST, bench.now_ms))
    bench.restart(0)
    try:
        bench.replicas[0].submit_report(EPOCH, ATTEMPT, OTHER, bench.now_ms)
    except InvalidInput:
        return
    raise AssertionError("another report is signed")
