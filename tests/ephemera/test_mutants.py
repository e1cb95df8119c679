"""The aimed tests see what chance seldom finds: each mutant makes the named test fail."""

import pytest
import test_agreement
import test_recovery
import test_views

from meridian.ephemera import agreement, block
from meridian.ephemera.agreement import Agreement
from meridian.ephemera.collection import Collection
from meridian.ephemera.ledger import Ledger
from meridian.ephemera.pacemaker import Pacemaker
from meridian.ephemera.seat import Seat


def forget(kind: str):
    persist = Seat.persist

    def mutant(seat, what, key, value):
        if what != kind:
            persist(seat, what, key, value)

    return (Seat, "persist", mutant)


def second_vote(ledger, kind, member, view, digest, signature, lock=None):
    ledger._first.setdefault((kind, view), {})[member] = (digest, signature)
    ledger._count(kind, view, digest)
    return []


def echo_without_bodies(collection, member, digest):
    return True


def vote_one_early(ledger, kind, view):
    said = ledger.said(kind, view)
    if len(said) < ledger._context.quorum - 1:
        return None
    digest = next(iter(said.values()))[0]
    return digest, tuple(sorted((m, s) for m, (d, s) in said.items() if d == digest))


def crash_at_every_boundary():
    test_recovery.test_a_crash_between_any_two_effects_never_makes_a_member_contradict_itself(
        "follower", lose_votes=False
    )


MUTANTS = {
    "ROW is not durable": (forget("row"), crash_at_every_boundary),
    "ECHO is not durable": (
        forget("echo"),
        test_recovery.test_a_member_that_echoed_does_not_echo_another_block_after_a_restart,
    ),
    "PROPOSE is not durable": (
        forget("propose"),
        test_recovery.test_a_leader_proposes_the_same_block_after_a_restart,
    ),
    "blocks are not durable": (
        forget("block"),
        test_recovery.test_a_restarted_member_serves_the_bodies_of_the_block_it_echoed,
    ),
    "bodies are not durable": (
        forget("body"),
        test_recovery.test_a_restarted_member_serves_the_bodies_of_the_block_it_echoed,
    ),
    "a second vote replaces the first": (
        (Ledger, "record", second_vote),
        lambda: test_agreement.test_a_second_different_ballot_does_not_count("vote"),
    ),
    "votes one too early": (
        (Ledger, "quorum", vote_one_early),
        lambda: (
            test_agreement.test_a_quorum_of_echoes_makes_a_vote_and_a_quorum_of_votes_a_decision(7)
        ),
    ),
    "lock check removed": (
        (agreement, "verify_justification", lambda *_: None),
        test_views.test_a_proposal_against_the_highest_lock_is_refused,
    ),
    "inclusion skipped": (
        (block, "required_members", lambda *_: set()),
        test_agreement.test_a_censoring_leader_is_refused,
    ),
    "wishes are not joined": (
        (Pacemaker, "join", lambda _: False),
        lambda: test_views.test_f_plus_1_wishes_are_joined_and_a_quorum_enters(4),
    ),
    "ECHO without bodies": (
        (Collection, "verdict", echo_without_bodies),
        test_agreement.test_no_echo_before_every_body_is_here_and_accepted,
    ),
    "an observer that forgets it": (
        (Seat, "observe", lambda _: None),
        lambda: test_recovery.test_an_own_statement_that_is_not_remembered_makes_an_observer("row"),
    ),
    "any proposer": (
        (Agreement, "on_propose", lambda self, propose: self._keep_propose(propose)),
        test_agreement.test_only_the_leader_of_the_view_proposes,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_fails_its_test(name, monkeypatch):
    (target, attribute, mutant), test = MUTANTS[name]
    test()
    monkeypatch.setattr(target, attribute, mutant)
    with pytest.raises((AssertionError, ValueError, KeyError)):
        test()
