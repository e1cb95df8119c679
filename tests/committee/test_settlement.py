"""From decided blocks to reports, in whatever order the chain accepts them."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
from committee_world import (
    BUDGET,
    DOMAIN,
    MEMBERS,
    block_hash,
    body_of,
    decide,
    header_of,
    proposal_of,
    rows_of,
    terms_of,
)
from hypothesis import given
from hypothesis import strategies as st

from meridian.committee.settlement import (
    EpochTerms,
    Mismatch,
    Settled,
    Settlement,
    contradiction,
)
from meridian.errors import InvalidInput
from meridian.primitives.ids import node_key
from meridian.reward.ledger import Ledger
from meridian.reward.outcome import MemberRow, Outcome, compute_outcome
from meridian.reward.report import NO_REPORT

WEIGHTS = {
    1: {"alpha": 3, "beta": 1},
    2: {"alpha": 1, "gamma": 1},
    3: {"beta": 5, "gamma": 0},
    4: {"alpha": 1},
}


def member_with(*epochs: int) -> Settlement:
    settlement = Settlement(DOMAIN)
    for epoch in epochs:
        decide(settlement, epoch, WEIGHTS[epoch])
    return settlement


def accept(settlement: Settlement, epoch: int) -> Settled:
    proposal = proposal_of(settlement, epoch)
    result = settlement.accept(epoch, proposal.digest, proposal.previous)
    assert isinstance(result, Settled)
    return result


def test_nothing_is_proposed_before_both_terms_and_block_are_known() -> None:
    settlement = Settlement(DOMAIN)
    settlement.prepare(terms_of(1, list(WEIGHTS[1])))
    assert settlement.open_proposals() == []
    other = Settlement(DOMAIN)
    other.decided(1, block_hash(1), rows_of(1, WEIGHTS[1]))
    assert other.open_proposals() == []
    settlement.decided(1, block_hash(1), rows_of(1, WEIGHTS[1]))
    assert [one.epoch for one in settlement.open_proposals()] == [1]


def test_every_member_proposes_the_same_digest_whatever_it_heard_first() -> None:
    one, other = member_with(1, 2), member_with(2, 1)
    assert [p.digest for p in one.open_proposals()] == [p.digest for p in other.open_proposals()]
    assert [p.epoch for p in other.open_proposals()] == [1, 2]


def test_the_report_binds_block_terms_and_predecessor() -> None:
    proposal = proposal_of(member_with(1), 1)
    report = proposal.report
    assert (report.epoch, report.previous, report.block_hash) == (1, NO_REPORT, block_hash(1))
    assert report.commitment == header_of(1).commitment
    assert report.total == BUDGET
    assert proposal.digest == report.digest(DOMAIN)
    for change in ("block", "budget"):
        other = Settlement(DOMAIN)
        budget = BUDGET + 1 if change == "budget" else BUDGET
        other.prepare(terms_of(1, list(WEIGHTS[1]), budget))
        other.decided(1, block_hash(9 if change == "block" else 1), rows_of(1, WEIGHTS[1]))
        assert proposal_of(other, 1).digest != proposal.digest


def test_an_accepted_report_moves_the_head_and_the_others_are_proposed_on_top_of_it() -> None:
    settlement = member_with(1, 2)
    before = proposal_of(settlement, 2)
    settled = accept(settlement, 1)
    assert settlement.head == settled.proposal.digest
    assert settled.before == Ledger.empty()
    after = proposal_of(settlement, 2)
    assert (before.previous, after.previous) == (NO_REPORT, settled.proposal.digest)
    assert before.digest != after.digest
    assert after.report.total == 2 * BUDGET
    alpha = after.outcome.claims.claims[node_key("alpha")]
    assert alpha.cumulative == 750 + 500
    assert [one.epoch for one in settlement.open_proposals()] == [2]


@given(st.permutations([1, 2, 3, 4]))
def test_epochs_are_accepted_in_any_order_and_promise_the_same(order: list[int]) -> None:
    """Late and out of order: digests differ by their predecessors, the final claims do not."""
    settlement = member_with(*order)
    for epoch in order:
        settled = accept(settlement, epoch)
    in_order = member_with(1, 2, 3, 4)
    for epoch in (1, 2, 3, 4):
        expected = accept(in_order, epoch)
    assert settled.proposal.outcome.claims == expected.proposal.outcome.claims
    assert settlement.open_proposals() == []


def test_a_report_is_awaited_until_its_block_is_known() -> None:
    ahead, behind = member_with(1), Settlement(DOMAIN)
    proposal = proposal_of(ahead, 1)
    assert behind.accept(1, proposal.digest, NO_REPORT) is None
    behind.prepare(terms_of(1, list(WEIGHTS[1])))
    assert behind.accept(1, proposal.digest, NO_REPORT) is None
    assert behind.head == NO_REPORT
    behind.decided(1, block_hash(1), rows_of(1, WEIGHTS[1]))
    assert isinstance(behind.accept(1, proposal.digest, NO_REPORT), Settled)


def test_reports_are_given_in_the_order_of_their_chain() -> None:
    ahead, behind = member_with(1, 2), member_with(1, 2)
    first, second = accept(ahead, 1), accept(ahead, 2)
    with pytest.raises(InvalidInput, match="previous"):
        behind.accept(2, second.proposal.digest, second.proposal.previous)
    assert behind.head == NO_REPORT
    behind.accept(1, first.proposal.digest, NO_REPORT)
    assert isinstance(behind.accept(2, second.proposal.digest, first.proposal.digest), Settled)


def test_an_epoch_is_settled_once() -> None:
    settlement = member_with(1, 2)
    settled = accept(settlement, 1)
    with pytest.raises(InvalidInput, match="previous"):
        settlement.accept(1, settled.proposal.digest, NO_REPORT)
    with pytest.raises(InvalidInput, match="already"):
        settlement.accept(1, b"\x01" * 32, settlement.head)


def test_a_report_that_does_not_follow_from_our_block_is_named_and_changes_nothing() -> None:
    settlement = member_with(1, 2)
    ours = proposal_of(settlement, 1)
    for _ in range(2):
        result = settlement.accept(1, b"\x66" * 32, NO_REPORT)
        assert result == Mismatch(1, b"\x66" * 32, ours.digest)
    assert settlement.head == NO_REPORT
    assert [one.epoch for one in settlement.open_proposals()] == [1, 2]


def test_first_word_counts_for_terms_and_block() -> None:
    settlement = member_with(1)
    digest = proposal_of(settlement, 1).digest
    settlement.prepare(terms_of(1, ["alpha"], BUDGET + 5))
    settlement.decided(1, block_hash(7), rows_of(1, {"alpha": 9}))
    assert proposal_of(settlement, 1).digest == digest


def test_memory_does_not_grow_with_settled_epochs() -> None:
    """Bodies, terms, proposals and earlier claims of settled epochs are let go, also when they are told again."""
    settlement = Settlement(DOMAIN)
    for epoch in range(1, 41):
        decide(settlement, epoch, {"alpha": epoch, f"node-{epoch}": 1})
        accept(settlement, epoch)
        decide(settlement, epoch, {"alpha": epoch, f"node-{epoch}": 1})
    kept = {name: value for name, value in vars(settlement).items() if isinstance(value, dict)}
    assert len(kept) == 3
    assert all(not value for value in kept.values()), kept
    assert len(settlement._ledger.claims.claims) == 41


def test_a_row_of_another_evaluation_in_the_block_abstains() -> None:
    settlement = Settlement(DOMAIN)
    settlement.prepare(terms_of(1, ["alpha", "beta"]))
    good = rows_of(1, WEIGHTS[1], members=3)
    foreign = body_of(header_of(1, function=b"\x99" * 32), {"alpha": 10**6, "beta": 0})
    settlement.decided(1, block_hash(1), (*good, (MEMBERS[3], foreign)))
    outcome = proposal_of(settlement, 1).outcome
    assert outcome.refused == ((MEMBERS[3], "function: is not the one of this epoch"),)
    assert sorted(outcome.amounts) == [250, 750]


def test_settlements_of_two_contracts_never_sign_the_same() -> None:
    one, other = member_with(1), Settlement(replace(DOMAIN, chain_id=1))
    decide(other, 1, WEIGHTS[1])
    digests = {proposal_of(one, 1).digest, proposal_of(other, 1).digest}
    assert len(digests) == 2
    assert all(len(digest) == 32 for digest in itertools.chain(digests, [one.head]))


def test_a_member_whose_row_is_law_signs_nothing_else() -> None:
    """Where the contracts recompute weights, three liars of four decide, and the fourth keeps its stake."""
    terms = replace(terms_of(5, ["a", "b"]), rule=1)
    honest = rows_of(5, {"a": 3, "b": 1}, 4)[3]
    lies = rows_of(5, {"a": 1, "b": 3}, 3)
    decided = _outcome(terms, [*lies, honest])
    assert decided.amounts != _outcome(terms, [honest]).amounts
    reason = contradiction(terms, decided, honest)
    assert reason is not None
    assert "2 rewards are not what the commitment gives" in reason
    assert contradiction(replace(terms, rule=0), decided, honest) is None
    assert contradiction(terms, _outcome(terms, [honest]), honest) is None


def test_a_deferred_node_is_no_lie() -> None:
    terms = replace(terms_of(5, ["a", "b"]), rule=1)
    honest = rows_of(5, {"a": 3, "b": 1}, 4)[3]
    silent = rows_of(5, {"a": 3, "b": None}, 3)
    decided = _outcome(terms, [*silent, honest])
    assert 0 in decided.amounts
    assert contradiction(terms, decided, honest) is None


def _outcome(terms: EpochTerms, rows: Sequence[MemberRow]) -> Outcome:
    return compute_outcome(
        rows,
        members=terms.members,
        parameters=terms.parameters,
        budget=terms.budget_atto,
        previous=Ledger.empty(),
        expected=terms.header,
        payees=terms.payees,
    )
