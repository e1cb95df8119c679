"""Probes of commitment and reveal: what is late, what stands in for what never came, and who is found out."""

from __future__ import annotations

from dataclasses import replace

from meridian.ephemera import frame as frames
from meridian.ephemera.block import Block, SignedHave, have_digest
from meridian.ephemera.context import Kind
from meridian.ephemera.effects import Misbehaviour
from meridian.ephemera.limits import Timing
from meridian.ephemera.message import WANT_DECISION, Ask, Have, Row
from meridian.sim.bench import (
    EPOCH,
    Bench,
    N,
    alone,
    block_of,
    body_of,
    propose_of,
    refused,
    reveal_of,
    said_by,
    wait,
)


def commit(bench: Bench, me: int, member: int, body: bytes) -> None:
    """A member commits itself to a row."""
    row = reveal_of(bench, member, body)
    bench.do(me, bench.tell(member, me, Row(member, row.digest, row.signature)))


def others_of(me: int) -> list[int]:
    """Everybody else."""
    return [i for i in range(N) if i != me]


def openings_are_checked() -> None:
    """A row, and a block, with the opening of another one."""
    bench, me, other = alone()
    row = reveal_of(bench, other, body_of(other))
    for opening in (
        reveal_of(bench, me, body_of(me)).opening,
        replace(row.opening, salt=bytes(32)),
    ):
        refused(bench.tell(other, me, replace(row, opening=opening)), "a row with another opening")
    block = block_of(bench)
    twisted = replace(block.rows[0], opening=block.rows[1].opening)
    propose = propose_of(bench, 0, Block(EPOCH, (twisted, *block.rows[1:]), block.haves))
    refused(bench.tell(propose.member, me, propose), "a block with another opening")


def rows_that_no_have_lists_are_not_admitted() -> None:
    """A leader brings in a row of which nobody had the commitment in time."""
    bench, me, other = alone()
    block = block_of(bench)
    entries = tuple((row.member, row.digest) for row in block.rows if row.member != other)
    told = have_digest(entries)
    haves = tuple(SignedHave(i, entries, bench.sign(i, Kind.HAVE, 0, told)) for i in range(N))
    propose = propose_of(bench, 0, Block(EPOCH, block.rows, haves))
    refused(bench.tell(propose.member, me, propose), "a block with a row that no HAVE lists")


def the_others_have_time_to_close() -> None:
    """Unless all have committed themselves, a row is revealed `reveal_ms` after the phase was closed."""
    bench, me, _ = alone()
    for i in others_of(me)[:2]:
        commit(bench, me, i, body_of(i))
    wait(bench, me, Timing().row_ms)
    assert ("closed", b"") in bench.disks[me], "the phase is not closed"
    assert Kind.REVEAL not in said_by(bench.seen[me]), "the row is revealed at once"
    wait(bench, me, Timing().reveal_ms)
    assert Kind.REVEAL in said_by(bench.seen[me]), "the row is not revealed"


def short_of_one() -> tuple[Bench, int, list[int]]:
    """A member that closed with n - f commitments, of which one is never opened; and who revealed what came in time."""
    bench, me, _ = alone()
    others = others_of(me)
    for i in others[:2]:
        commit(bench, me, i, body_of(me))
    for ms in (Timing().row_ms, Timing().reveal_ms):
        wait(bench, me, ms)
    bench.do(me, bench.tell(others[0], me, reveal_of(bench, others[0], body_of(me))))
    return bench, me, others


def late_rows_stand_in_after_a_while() -> None:
    """With one revealed row too few, a late one gets into the HAVE, and not before `fill_ms`."""
    bench, me, others = short_of_one()
    bench.do(me, bench.tell(others[2], me, reveal_of(bench, others[2], body_of(me))))
    wait(bench, me, Timing().have_ms)
    assert ("have", b"") not in bench.disks[me], "the late row stands in at once"
    wait(bench, me, Timing().fill_ms)
    have = frames.decode(bench.disks[me]["have", b""].value, bench.context)
    assert isinstance(have, Have), "no HAVE"
    assert others[2] in {member for member, _ in have.entries}, "the late row does not stand in"


def a_second_row_does_not_stand_in() -> None:
    """Who committed itself in time and then reveals something else, copied, gets into no HAVE."""
    bench, me, others = short_of_one()
    copy = reveal_of(bench, others[1], body_of(me), salt=bytes(32))
    bench.do(me, bench.tell(others[1], me, copy))
    wait(bench, me, Timing().fill_ms)
    assert ("have", b"") not in bench.disks[me], "a second row stands in"


def who_lost_its_records_is_told() -> None:
    """The others know that it had committed itself: it must not do so again."""
    bench, me, other = alone()
    commit(bench, me, other, body_of(other))
    answers = said_by(bench.tell(other, me, Ask(WANT_DECISION)))
    assert answers == {Kind.ROW}, "it is not told"


def two_commitments_are_found_in_a_block() -> None:
    """One commitment was shown to this member, another stands in the block."""
    bench, me, other = alone()
    commit(bench, me, other, b"another body")
    propose = propose_of(bench, 0, block_of(bench))
    effects = bench.tell(propose.member, me, propose)
    guilt = [e.kind for e in effects if isinstance(e, Misbehaviour)]
    assert guilt == ["double_row"], "two commitments are no evidence"
