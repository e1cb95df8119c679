"""The members' own pay: exact, equal, and never more than the budget."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address
from meridian.reward.members import (
    MILLION,
    NO_PAY,
    BudgetParts,
    PayTerms,
    member_pay,
    pay_key,
    split_budget,
)

ACCOUNTS = [Address(bytes([n]) * 20) for n in range(1, 6)]


def test_a_budget_is_split_by_floors_and_the_rest_is_the_nodes():
    assert split_budget(1000, NO_PAY) == BudgetParts(1000, 0, 0)
    assert split_budget(1003, PayTerms(50_000, 10_000)) == BudgetParts(943, 50, 10)
    assert split_budget(7, PayTerms(MILLION, 0)) == BudgetParts(0, 7, 0)


def test_shares_of_more_than_everything_are_refused():
    for shares in ((MILLION, 1), (-1, 0), (0, MILLION + 1)):
        with pytest.raises(InvalidInput, match="terms"):
            PayTerms(*shares)


def test_all_of_a_pool_get_the_same_floor_and_who_is_in_both_gets_both():
    evaluators, aggregators = ACCOUNTS[:3], dict.fromkeys(ACCOUNTS[2:4], 0)
    pay = dict(member_pay(BudgetParts(0, 100, 41), evaluators, aggregators))
    assert list(pay.values()) == [33, 33, 53, 20]
    assert list(pay) == ACCOUNTS[:4]


def test_a_pool_without_members_pays_nobody():
    assert member_pay(BudgetParts(900, 50, 50), [], {}) == ()


def test_aggregators_are_paid_by_the_jobs_that_count_and_that_they_contributed_first():
    jobs = dict(zip(ACCOUNTS, (30, 0, 10), strict=False))
    assert member_pay(BudgetParts(0, 0, 1001), [], jobs) == (
        (ACCOUNTS[0], 750),
        (ACCOUNTS[2], 250),
    )
    assert member_pay(BudgetParts(0, 0, 1001), [], {ACCOUNTS[1]: 7}) == ((ACCOUNTS[1], 1001),)


def test_the_key_of_a_member_is_that_of_the_specification():
    assert pay_key(ACCOUNTS[0]) == sha256(b"meridian/member/1:" + ACCOUNTS[0])


@settings(max_examples=200, deadline=None)
@given(
    budget=st.integers(0, 2**96 - 1),
    shares=st.tuples(st.integers(0, MILLION), st.integers(0, MILLION)).filter(
        lambda pair: sum(pair) <= MILLION
    ),
    evaluators=st.sets(st.sampled_from(ACCOUNTS)),
    aggregators=st.dictionaries(st.sampled_from(ACCOUNTS), st.integers(0, 1000)),
)
def test_nothing_is_made_and_at_most_one_unit_a_member_is_dust(
    budget, shares, evaluators, aggregators
):
    parts = split_budget(budget, PayTerms(*shares))
    assert parts.nodes + parts.evaluators + parts.aggregators == budget
    assert min(parts.nodes, parts.evaluators, parts.aggregators) >= 0
    paid = sum(amount for _, amount in member_pay(parts, evaluators, aggregators))
    due = (parts.evaluators if evaluators else 0) + (parts.aggregators if aggregators else 0)
    assert due - max(0, len(evaluators) - 1) - max(0, len(aggregators) - 1) <= paid <= due
