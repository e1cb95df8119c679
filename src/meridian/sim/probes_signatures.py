"""Probes of what a signature covers, and that it is looked at."""

from __future__ import annotations

from dataclasses import replace

from meridian.ephemera import evidence
from meridian.ephemera.block import Block, Certificate, have_digest
from meridian.ephemera.context import Kind
from meridian.ephemera.effects import Misbehaviour
from meridian.ephemera.ledger import Finding, Ledger
from meridian.ephemera.message import (
    Accusation,
    Decision,
    Echo,
    Have,
    Justification,
    Propose,
    Row,
    Vote,
    Wish,
    lock_digest,
    propose_digest,
    report_digest,
)
from meridian.ephemera.opening import Opening, commitment_of
from meridian.ephemera.proposal import justify
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, network_id
from meridian.sim.bench import (
    DIGEST,
    EPOCH,
    OTHER,
    Bench,
    N,
    Sign,
    alone,
    block_of,
    certificate_of,
    change_of,
    propose_of,
    refused,
    report_of_bench,
)
from meridian.sim.hosts import ATTEMPT


def statements_bind_every_field() -> None:
    """A signature made for another chain, contract, network, epoch, members, kind, view or digest counts nowhere."""
    bench = Bench()
    context, domain = bench.context, bench.context.domain
    signature = bench.sign(0, Kind.ECHO, 1, DIGEST)
    assert context.signed(0, Kind.ECHO, 1, DIGEST, signature), "a right signature is refused"
    stranger = Address(b"\xff" * 20)
    elsewhere = {
        "chain": replace(context, domain=Domain(2, domain.contract)),
        "contract": replace(context, domain=Domain(1, Address(b"\x01" * 20))),
        "network": replace(context, network=network_id("another")),
        "epoch": replace(context, epoch=EPOCH + 1),
        "members": replace(context, members=(*context.members[:3], stranger)),
        "number of members": replace(context, members=(*context.members, stranger)),
    }
    for name, other in elsewhere.items():
        assert not other.signed(0, Kind.ECHO, 1, DIGEST, signature), f"{name} is not signed"
    assert not context.signed(0, Kind.VOTE, 1, DIGEST, signature), "kind is not signed"
    assert not context.signed(0, Kind.ECHO, 2, DIGEST, signature), "view is not signed"
    assert not context.signed(0, Kind.ECHO, 1, OTHER, signature), "digest is not signed"
    assert not context.signed(1, Kind.ECHO, 1, DIGEST, signature), "member is not checked"


def digests_bind_every_field() -> None:
    """What a statement is about covers attempt, report, lock, block and HAVE vector."""
    reports = {report_digest(a, d) for a in (DIGEST, OTHER) for d in (DIGEST, OTHER)}
    assert len(reports) == 4, "attempt or report is not signed"
    locks = (None, (1, DIGEST), (2, DIGEST), (1, OTHER))
    assert len({lock_digest(lock) for lock in locks}) == 4, "a lock is not signed"
    assert propose_digest(DIGEST) != propose_digest(OTHER), "the block is not signed"
    vectors = (((0, DIGEST),), ((1, DIGEST),), ((0, OTHER),))
    assert len({have_digest(vector) for vector in vectors}) == 3, "a HAVE is not signed"
    bench = Bench()
    members, opened = bench.context.members, Opening(DIGEST, DIGEST, DIGEST)
    others = [replace(opened, **{name: OTHER}) for name in ("salt", "row_root", "trace_root")]
    commitments = {commitment_of(members[0], each) for each in (opened, *others)}
    commitments.add(commitment_of(members[1], opened))
    assert len(commitments) == 5, "member, salt, row or trace is not committed"
    block = block_of(bench)
    changed = {
        Block(EPOCH + 1, block.rows, block.haves).hash,
        Block(EPOCH, block.rows[1:], block.haves).hash,
        Block(EPOCH, block.rows, block.haves[1:]).hash,
        block.hash,
    }
    assert len(changed) == 4, "the block hash leaves something out"


def forged_statements_are_refused() -> None:
    """ROW, HAVE, PROPOSE, ECHO, VOTE and VIEW_CHANGE under another member's signature."""
    bench, me, other = alone()
    wrong = bench.wrong
    row = Row(other, DIGEST, wrong(other, Kind.ROW, 0, DIGEST))
    refused(bench.tell(other, me, row), "a forged ROW")
    entries = tuple((i, DIGEST) for i in range(N))
    have = Have(other, entries, wrong(other, Kind.HAVE, 0, have_digest(entries)))
    refused(bench.tell(other, me, have), "a forged HAVE")
    echo = Echo(other, 0, DIGEST, wrong(other, Kind.ECHO, 0, DIGEST))
    refused(bench.tell(other, me, echo), "a forged ECHO")
    vote = Vote(other, 0, DIGEST, wrong(other, Kind.VOTE, 0, DIGEST))
    refused(bench.tell(other, me, vote), "a forged VOTE")
    block = block_of(bench)
    leader = bench.context.leader(0)
    signature = wrong(leader, Kind.PROPOSE, 0, propose_digest(block.hash))
    refused(bench.tell(leader, me, Propose(leader, 0, signature, block, None)), "a forged PROPOSE")


def forged_wishes_are_refused() -> None:
    """WISH under another member's signature."""
    bench, me, other = alone()
    wish = Wish(other, 3, bench.wrong(other, Kind.WISH, 3, bytes(32)))
    refused(bench.tell(other, me, wish), "a forged WISH")


def forged_blocks_are_refused() -> None:
    """A proposal whose rows, or HAVEs, the members did not sign."""
    for rows, haves in (("wrong", "sign"), ("sign", "wrong")):
        bench, me, _ = alone()
        block = block_of(bench, getattr(bench, rows), getattr(bench, haves))
        propose = propose_of(bench, 0, block)
        refused(bench.tell(propose.member, me, propose), "a block with forged rows or HAVEs")


def forged_decisions_are_refused() -> None:
    """DECIDED with signatures that are not the voters', and with ECHOs in the place of VOTEs."""
    bench, me, other = alone()
    forged = certificate_of(bench.wrong, Kind.VOTE, 0, DIGEST)
    refused(bench.tell(other, me, Decision(forged)), "a forged decision")
    echoes = certificate_of(bench.sign, Kind.ECHO, 0, DIGEST)
    refused(bench.tell(other, me, Decision(echoes)), "a decision made of ECHOs")
    few = certificate_of(bench.sign, Kind.VOTE, 0, DIGEST)
    few = replace(few, votes=few.votes[:2])
    refused(bench.tell(other, me, Decision(few)), "a decision without a quorum")
    twice = replace(few, votes=(few.votes[0], few.votes[0], few.votes[1]))
    refused(bench.tell(other, me, Decision(twice)), "a decision in which one voted twice")


def _justified(
    bench: Bench, lock: Certificate | None, sign: Sign | None = None
) -> tuple[Block, Justification]:
    block = block_of(bench)
    changes = {i: change_of(bench, i, 1, lock, sign) for i in range(3)}
    return block, justify(bench.context, changes)


def forged_justifications_are_refused() -> None:
    """PROPOSE in view 1 with forged claims, a forged lock, too few claims, against the lock, or a later lock."""
    bench, me, _ = alone(1)
    block, forged = _justified(bench, None, bench.wrong)
    propose = propose_of(bench, 1, block, forged)
    refused(bench.tell(propose.member, me, propose), "a justification with forged claims")
    lock = certificate_of(bench.wrong, Kind.ECHO, 0, block.hash)
    propose = propose_of(bench, 1, *_justified(bench, lock))
    refused(bench.tell(propose.member, me, propose), "a justification with a forged lock")
    good = _justified(bench, None)[1]
    propose = propose_of(bench, 1, block, Justification(good.claims[:2], None))
    refused(bench.tell(propose.member, me, propose), "a justification without a quorum")
    lock = certificate_of(bench.sign, Kind.ECHO, 0, DIGEST)
    propose = propose_of(bench, 1, *_justified(bench, lock))
    refused(bench.tell(propose.member, me, propose), "a proposal against the lock")
    later = certificate_of(bench.sign, Kind.ECHO, 1, block.hash)
    propose = propose_of(bench, 1, *_justified(bench, later))
    refused(bench.tell(propose.member, me, propose), "a lock of the same view")


def forged_locks_are_refused() -> None:
    """VIEW_CHANGE with a lock that nobody echoed, or of the view that it enters."""
    bench = Bench()
    me = bench.context.leader(1)
    other = next(i for i in range(N) if i != me)
    bench.open([me])
    forged = certificate_of(bench.wrong, Kind.ECHO, 0, DIGEST)
    refused(bench.tell(other, me, change_of(bench, other, 1, forged)), "a forged lock")
    later = certificate_of(bench.sign, Kind.ECHO, 1, DIGEST)
    refused(bench.tell(other, me, change_of(bench, other, 1, later)), "a lock of the same view")


def forged_reports_are_refused() -> None:
    """REPORT_SIG whose statement, or whose signature for the chain, is not the member's."""
    bench, me, other = alone()
    forged = report_of_bench(bench, other, bench.wrong, DIGEST)
    refused(bench.tell(other, me, forged), "a forged REPORT_SIG")
    true = report_of_bench(bench, other, bench.sign, DIGEST)
    false = replace(true, report_signature=bench.keys[me].sign(DIGEST))
    refused(bench.tell(other, me, false), "a report signature of somebody else")


def forged_evidence_is_refused() -> None:
    """EVIDENCE against a member that signed nothing."""
    bench, me, other = alone()
    pairs = [(d, bench.wrong(other, Kind.ECHO, 0, d)) for d in (DIGEST, OTHER)]
    proof = evidence.double(bench.context, other, Kind.ECHO, 0, pairs[0], pairs[1])
    refused(bench.tell(other, me, Accusation(proof)), "forged evidence")


def what_was_set_aside_is_checked_when_it_matters() -> None:
    """A statement that came too late to count, and then another one: evidence if the first was signed, else not."""
    for genuine in (True, False):
        bench = Bench()
        sign = bench.sign if genuine else bench.wrong
        ledger, late = Ledger(bench.context), N - 1
        for i in range(late):
            ledger.record(Kind.ECHO, i, 0, DIGEST, bench.sign(i, Kind.ECHO, 0, DIGEST))
        assert ledger.set_aside(Kind.ECHO, late, 0, DIGEST, sign(late, Kind.ECHO, 0, DIGEST))
        second = (Kind.ECHO, late, 0, OTHER, bench.sign(late, Kind.ECHO, 0, OTHER))
        found = ledger.examine(*second)
        assert found is (Finding.CONFLICT if genuine else Finding.NEW), "a late ECHO"
        assert bool(ledger.record(*second)) == genuine, "evidence of a late ECHO"
        bench.open()
        bench.run()
        bench.do(0, bench.replicas[0].submit_report(EPOCH, ATTEMPT, DIGEST, bench.now_ms))
        for i in (1, 2):
            bench.do(0, bench.tell(i, 0, report_of_bench(bench, i, bench.sign, DIGEST)))
        assert bench.tell(late, 0, report_of_bench(bench, late, sign, DIGEST)) == []
        effects = bench.tell(late, 0, report_of_bench(bench, late, bench.sign, OTHER))
        accused = any(isinstance(effect, Misbehaviour) for effect in effects)
        assert accused == genuine, "evidence of a late REPORT_SIG"
