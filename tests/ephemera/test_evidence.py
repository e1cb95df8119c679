"""Evidence proves itself offline, and nobody can be framed."""

import pytest
from cluster import EPOCH, Cluster, Voice, context

from meridian.ephemera import evidence
from meridian.ephemera.context import Kind
from meridian.ephemera.effects import Broadcast, Misbehaviour, Persist
from meridian.ephemera.evidence import Guilt, denies, verify_evidence
from meridian.ephemera.ledger import Finding, Ledger
from meridian.ephemera.message import Accusation, lock_digest
from meridian.errors import InvalidInput

VOICE = Voice(4)
A, B = b"\x0a" * 32, b"\x0b" * 32


def pair(kind: Kind, view: int, member: int = 1):
    return [(digest, VOICE.sign(member, kind, view, digest)) for digest in (A, B)]


def doubles():
    for kind in sorted(evidence.DOUBLE_KINDS):
        view = 0 if kind in {Kind.ROW, Kind.HAVE} else 3
        yield kind, evidence.double(VOICE.context, 1, kind, view, *pair(kind, view))


def amnesia(lock=None, view=4, vote_view=2):
    return evidence.amnesia(
        VOICE.context,
        1,
        (vote_view, A, VOICE.sign(1, Kind.VOTE, vote_view, A)),
        (view, lock, VOICE.sign(1, Kind.VIEW_CHANGE, view, lock_digest(lock))),
    )


def report():
    first, second = VOICE.report(1, A, A), VOICE.report(1, A, B)
    return evidence.double_report(
        VOICE.context, 1, A, (first.digest, first.signature), (second.digest, second.signature)
    )


PROOFS = [*(proof for _, proof in doubles()), amnesia(), report()]


def test_each_form_names_who_did_what():
    for kind, proof in doubles():
        assert verify_evidence(VOICE.context, proof) == Guilt(1, f"double_{kind.name.lower()}")
    assert verify_evidence(VOICE.context, report()) == Guilt(1, "double_report_sig")
    assert verify_evidence(VOICE.context, amnesia()) == Guilt(1, "amnesia")


@pytest.mark.parametrize("proof", PROOFS)
def test_any_changed_byte_proves_nothing(proof):
    for at in range(len(proof)):
        changed = proof[:at] + bytes((proof[at] ^ 1,)) + proof[at + 1 :]
        with pytest.raises(InvalidInput):
            verify_evidence(VOICE.context, changed)
    for cut in (proof[:-1], proof + b"\x00", b""):
        with pytest.raises(InvalidInput):
            verify_evidence(VOICE.context, cut)


def test_evidence_holds_only_in_its_context():
    for other in (context(4, EPOCH + 1), context(5)):
        with pytest.raises(InvalidInput):
            verify_evidence(other, PROOFS[0])


def test_saying_the_same_twice_is_no_offence():
    first = pair(Kind.ECHO, 0)[0]
    proof = evidence.double(VOICE.context, 1, Kind.ECHO, 0, first, first)
    with pytest.raises(InvalidInput):
        verify_evidence(VOICE.context, proof)


def test_wishes_and_reports_of_different_attempts_are_no_offence():
    """WISH may grow, and every attempt has its own report."""
    proof = evidence.double(VOICE.context, 1, Kind.WISH, 0, *pair(Kind.WISH, 0))
    with pytest.raises(InvalidInput):
        verify_evidence(VOICE.context, proof)
    first, second = VOICE.report(1, A, A), VOICE.report(1, B, B)
    proof = evidence.double_report(VOICE.context, 1, A, (A, first.signature), (B, second.signature))
    with pytest.raises(InvalidInput):
        verify_evidence(VOICE.context, proof)


@pytest.mark.parametrize(
    ("view", "lock", "guilty"),
    [
        (3, None, True),
        (3, (1, A), True),
        (3, (2, B), True),
        (3, (2, A), False),
        (4, (3, B), False),
        (2, None, False),
        (1, None, False),
    ],
)
def test_amnesia_is_a_vote_in_view_2_that_a_later_view_change_denies(view, lock, guilty):
    """Locks of the vote's view or later, and view changes not after it, are honest."""
    assert denies(2, A, view, lock) is guilty
    proof = amnesia(lock, view)
    if guilty:
        assert verify_evidence(VOICE.context, proof).kind == "amnesia"
    else:
        with pytest.raises(InvalidInput):
            verify_evidence(VOICE.context, proof)


def test_the_first_statement_wins_and_the_second_is_evidence_once():
    ledger = Ledger(VOICE.context)
    first, second = pair(Kind.VOTE, 0)
    assert ledger.examine(Kind.VOTE, 1, 0, *first) is Finding.NEW
    assert ledger.record(Kind.VOTE, 1, 0, *first) == []
    assert ledger.examine(Kind.VOTE, 1, 0, *second) is Finding.CONFLICT
    [(guilt, proof)] = ledger.record(Kind.VOTE, 1, 0, *second)
    assert verify_evidence(VOICE.context, proof) == guilt == Guilt(1, "double_vote")
    assert ledger.record(Kind.VOTE, 1, 0, *second) == []
    assert ledger.said(Kind.VOTE, 0) == {1: first}
    assert ledger.examine(Kind.VOTE, 1, 0, *first) is Finding.KNOWN


def test_a_second_vote_counts_nowhere():
    """Two honest votes and both votes of a liar are no quorum for the second block."""
    ledger = Ledger(VOICE.context)
    first, second = pair(Kind.VOTE, 0)
    ledger.record(Kind.VOTE, 1, 0, *first)
    for member in (2, 3):
        ledger.record(Kind.VOTE, member, 0, B, VOICE.sign(member, Kind.VOTE, 0, B))
    ledger.record(Kind.VOTE, 1, 0, *second)
    assert ledger.quorum(Kind.VOTE, 0) is None


def test_a_replica_persists_reports_and_spreads_what_it_finds_and_believes_no_false_accusation():
    cluster = Cluster(4)
    cluster.open()
    cluster.deliver()
    voice = Voice(4)
    assert not [e for e in cluster.inject(1, 0, voice.echo(1, 0, A)) if isinstance(e, Misbehaviour)]
    effects = cluster.inject(2, 0, voice.echo(1, 0, B))
    assert [type(e) for e in effects] == [Persist, Misbehaviour, Broadcast]
    found = effects[1]
    assert isinstance(found, Misbehaviour)
    assert verify_evidence(cluster.context, found.evidence) == Guilt(1, "double_echo")
    [kept, told] = cluster.inject(3, 2, Accusation(found.evidence))
    assert isinstance(kept, Persist)
    assert told == found
    assert cluster.inject(3, 2, Accusation(found.evidence)) == []
    false = bytearray(found.evidence)
    false[44] = 2  # names another member
    [rejected] = cluster.inject(3, 2, Accusation(bytes(false)))
    assert rejected.field.startswith("evidence")


def test_only_the_first_that_repeats_a_quorum_is_set_aside():
    """Unchecked, so it must count for nothing: not against a quorum, not for one, and not twice."""
    ledger, digest, late = Ledger(VOICE.context), A, 3
    for member in range(2):
        ledger.record(Kind.ECHO, member, 0, digest, VOICE.sign(member, Kind.ECHO, 0, digest))
        assert not ledger.set_aside(Kind.ECHO, late, 0, digest, bytes(64))
    ledger.record(Kind.ECHO, 2, 0, digest, VOICE.sign(2, Kind.ECHO, 0, digest))
    quorum = ledger.quorum(Kind.ECHO, 0)
    assert not ledger.set_aside(Kind.ECHO, late, 0, B, bytes(64))
    assert not ledger.set_aside(Kind.ECHO, 2, 0, digest, bytes(64)), "known"
    assert not ledger.set_aside(Kind.VOTE, late, 0, digest, bytes(64))
    assert ledger.set_aside(Kind.ECHO, late, 0, digest, bytes(64))
    assert ledger.set_aside(Kind.ECHO, late, 0, digest, bytes(64))
    assert late not in ledger.said(Kind.ECHO, 0)
    assert ledger.quorum(Kind.ECHO, 0) == quorum
    ledger.forget_before(1)
    assert not ledger.set_aside(Kind.ECHO, late, 0, digest, bytes(64))
