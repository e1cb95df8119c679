"""Growth pool, collateral, penalties, and money that is owed: nothing is created, nothing is lost, all is remembered."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.reliability import PPM, WEIGHT_MAX, WEIGHT_NEW, Standing
from meridian.evaluate.row import Row, RowHeader
from meridian.primitives.ids import Address, NodeKey, node_key
from meridian.reward.claims import MEMORY_PAYEE, ClaimsState, verify_claim
from meridian.reward.economy import Economy
from meridian.reward.ledger import Ledger
from meridian.reward.members import PayTerms, split_budget
from meridian.reward.memory import Account, Memory
from meridian.reward.outcome import Outcome, compute_outcome

BUDGET = 1_000_000
NODES = ("a", "b", "c")
PAYEES = {node_key(name): Address(bytes([at + 1]) * 20) for at, name in enumerate(NODES)}
MEMBERS = [Address(bytes([100 + at]) * 20) for at in range(4)]
COLLATERAL = {"collateral": {"factor": 2, "release_after": 3}}
GROWTH = {
    "growth": {
        "pool_atto": str(10**6), "first_epoch": 1, "epochs": 4,
        "linear": 10, "quadratic": 0, "measure": "jobs",
    }
}  # fmt: skip


def played(
    epoch: int,
    ledger: Ledger,
    said: list[dict[str, int | None]],
    parameters: EvaluationParameters,
    jobs: int = 0,
    pay: PayTerms = PayTerms(),  # noqa: B008 - frozen
) -> Outcome:
    """Play an epoch: what each member says of each node; members without a row abstain."""
    header = RowHeader(b"n" * 32, epoch, b"c" * 32, b"f" * 32, parameters.digest, b"i" * 32)
    keys = sorted(PAYEES)
    rows = [
        (
            member,
            Row(
                header, b"v" * 32, tuple(keys),
                tuple({node_key(name): value for name, value in row.items()}.get(k) for k in keys),
            ).encode(),
        )
        for member, row in zip(MEMBERS, said, strict=False)
    ]  # fmt: skip
    return compute_outcome(
        rows,
        members=MEMBERS,
        parameters=parameters,
        budget=BUDGET,
        previous=ledger,
        expected=header,
        payees=PAYEES,
        pay=pay,
        annotation=jobs.to_bytes(8, "big") + bytes(16),
    )


def amounts(outcome: Outcome) -> dict[str, int]:
    by_key = dict(zip(outcome.node_keys, outcome.amounts, strict=True))
    return {name: by_key[node_key(name)] for name in NODES}


def account(outcome: Outcome, name: str) -> Account:
    return outcome.ledger.memory.accounts.get(node_key(name), Account())


def economy(values: dict[str, Any], **function: Any) -> EvaluationParameters:
    return EvaluationParameters(function=function, economy=values)


def test_without_rules_nothing_is_remembered() -> None:
    outcome = played(1, Ledger.empty(), [{"a": 1, "b": 1}] * 4, EvaluationParameters())
    assert outcome.ledger.memory == Memory()
    assert outcome.claims.memory is None
    assert not outcome.judged
    assert (outcome.settled, outcome.withheld) == ((), ())


def test_growth_releases_what_was_measured_up_to_the_baseline() -> None:
    """A quarter of the pool for each 10 jobs: 5 jobs release an eighth, many no more than the baseline."""
    parameters, ledger = economy(GROWTH), Ledger.empty()
    given_atto = []
    for epoch, jobs in enumerate((5, 5, 100, 0, 0), 1):
        outcome = played(epoch, ledger, [{"a": 1}] * 4, parameters, jobs)
        given_atto.append(amounts(outcome)["a"])
        assert outcome.dust == BUDGET - given_atto[-1]
        ledger = outcome.ledger
    assert given_atto == [125_000, 125_000, 500_000, 250_000, 0]
    assert ledger.memory.measured == 110
    assert ledger.memory.released == 10**6


def test_growth_is_never_more_than_the_budget_and_the_rest_is_released_later() -> None:
    rule = {"growth": {**GROWTH["growth"], "pool_atto": str(8 * BUDGET)}}
    parameters = economy(rule)
    first = played(1, Ledger.empty(), [{"a": 1}] * 4, parameters, jobs=1000)
    assert amounts(first)["a"] == BUDGET
    second = played(2, first.ledger, [{"a": 1}] * 4, parameters)
    assert second.ledger.memory.released == 2 * BUDGET


def test_collateral_is_withheld_then_given_back_when_the_node_stays_away() -> None:
    parameters, ledger = economy(COLLATERAL), Ledger.empty()
    history = []
    for epoch in range(1, 5):
        outcome = played(epoch, ledger, [{"a": 1, "b": 1}] * 4, parameters)
        history.append((amounts(outcome)["a"], account(outcome, "a").collateral))
        ledger = outcome.ledger
    # Twice the mean share of 500,000 stands after two epochs; from then on shares are paid.
    assert history == [(0, 500_000), (0, 10**6), (500_000, 10**6), (500_000, 10**6)]
    for epoch in range(5, 8):
        outcome = played(epoch, ledger, [{"a": 0, "b": 0}] * 4, parameters)
        assert outcome.allocated == 0
        ledger = outcome.ledger
    # Three epochs without a share: all collateral is owed, and paid from budgets that nobody else gets.
    assert account(outcome, "a").owed == 10**6
    outcome = played(8, ledger, [{"a": 0, "b": 0}] * 4, parameters)
    assert amounts(outcome) == {"a": 500_000, "b": 500_000, "c": 0}
    assert sum(outcome.settled) == 10**6
    last = played(9, outcome.ledger, [{"a": 0, "b": 0}] * 4, parameters)
    assert amounts(last) == {"a": 500_000, "b": 500_000, "c": 0}
    earned = 4 * 500_000
    for name in ("a", "b"):
        assert last.claims.claims[node_key(name)].cumulative == earned
        assert (account(last, name).collateral, account(last, name).owed) == (0, 0)


def test_a_flag_takes_the_penalty_once_and_nothing_more_is_paid() -> None:
    ledger = Ledger.empty()
    for epoch in range(1, 4):
        ledger = played(epoch, ledger, [{"a": 1, "b": 1}] * 4, economy(COLLATERAL)).ledger
    flagged = economy(COLLATERAL, flagged=["a"])
    for epoch in range(4, 9):
        outcome = played(epoch, ledger, [{"a": 0, "b": 1}] * 4, flagged)
        assert amounts(outcome)["a"] == 0
        assert account(outcome, "a").collateral == 0
        assert account(outcome, "a").is_penalised
        ledger = outcome.ledger
    one = played(1, Ledger.empty(), [{"a": 1}] * 4, economy(COLLATERAL)).ledger
    by_payee = economy(COLLATERAL, flagged=["0x" + "01" * 20])
    assert account(played(2, one, [{"a": 0}] * 4, by_payee), "a").is_penalised


def test_a_deferred_share_is_owed_and_paid_when_the_node_is_committed_again() -> None:
    parameters = economy({"settle_deferred": True})
    silent = [{"a": 1, "b": 1}, {"a": 1, "b": 1}, {"a": 1, "b": None}, {"a": 1, "b": None}]
    first = played(1, Ledger.empty(), silent, parameters)
    assert amounts(first) == {"a": 500_000, "b": 0, "c": 0}
    assert sum(first.held_back) == account(first, "b").owed == 500_000
    # The next budget is used up by the others: it stays owed. Then one leaves something over.
    second = played(2, first.ledger, [{"a": 1, "b": 1}] * 4, parameters)
    assert account(second, "b").owed == 500_000
    third = played(3, second.ledger, [{"a": 0, "b": 0}] * 4, parameters)
    assert amounts(third)["b"] == 500_000
    assert third.ledger.memory == Memory()
    assert third.claims.memory is None
    assert third.dust == BUDGET


def test_reliability_is_learnt_and_moves_the_next_epoch() -> None:
    parameters = EvaluationParameters(reliability={"tolerance_ppm": 0})
    good, bad = {"a": 10, "b": 10}, {"a": 99, "b": 99}
    first = played(1, Ledger.empty(), [good, good, good, bad], parameters)
    assert [row.agreed_ppm for row in first.judged] == [PPM, PPM, PPM, 0]
    assert [row.outliers for row in first.judged] == [0, 0, 0, 2]
    assert {row.weight for row in first.judged} == {WEIGHT_NEW}
    standings = first.ledger.memory.standings
    assert [standings[member].weight for member in MEMBERS] == [WEIGHT_MAX] * 3 + [WEIGHT_NEW]
    second = played(2, first.ledger, [good, good, bad, bad], parameters)
    # 2 x 1 for good values, 1 + 1/2 for bad ones, of 3.5 > 2: the weighted median holds where the plain one is a tie.
    assert second.weights[:2] == (10, 10) or set(second.weights) == {10, None}
    absent = played(3, second.ledger, [good, good, good], parameters)
    assert absent.ledger.memory.standings[MEMBERS[3]] == second.ledger.memory.standings[MEMBERS[3]]


def test_a_row_that_cannot_be_used_costs_reliability_and_evaluators_out_of_line_are_paid_less() -> (
    None
):
    parameters = EvaluationParameters(reliability={"tolerance_ppm": 0})
    terms = PayTerms(400_000, 0)
    said = [{"a": 1, "b": 1}] * 3 + [{"a": 1, "b": 3}]
    outcome = played(1, Ledger.empty(), said, parameters, pay=terms)
    even = split_budget(BUDGET, terms).evaluators // 4
    assert dict(outcome.member_pay) == dict.fromkeys(MEMBERS[:3], even) | {
        MEMBERS[3]: even * 750_000 // PPM
    }
    header = RowHeader(b"n" * 32, 1, b"c" * 32, b"f" * 32, parameters.digest, b"i" * 32)
    body = Row(header, b"v" * 32, tuple(sorted(PAYEES)), (1, 1, 1)).encode()
    refused = compute_outcome(
        [*((member, body) for member in MEMBERS[:3]), (MEMBERS[3], b"garbage")],
        members=MEMBERS, parameters=parameters, budget=1, previous=Ledger.empty(),
        expected=header, payees=PAYEES,
    )  # fmt: skip
    assert refused.ledger.memory.standings[MEMBERS[3]] == Standing(0, PPM)


def test_the_memory_is_bound_by_the_reward_root_and_nobody_collects_with_it() -> None:
    outcome = played(
        1, Ledger.empty(), [{"a": 1}] * 4, EvaluationParameters(reliability={"tolerance_ppm": 0})
    )
    ledger = outcome.ledger
    assert ledger.claims.memory == ledger.memory.digest
    proof = ledger.claims.proof(NodeKey(ledger.memory.digest))
    assert (proof.payee, proof.cumulative) == (MEMORY_PAYEE, 0)
    assert verify_claim(proof, outcome.reward_root, outcome.total)
    assert ClaimsState.decode(ledger.claims.encode()).memory == ledger.memory.digest
    assert Memory.decode(ledger.memory.encode()) == ledger.memory
    with pytest.raises(InvalidInput, match="memory"):
        Ledger(ledger.claims, Memory())
    with pytest.raises(InvalidInput, match="memory"):
        Ledger(ClaimsState.empty(), ledger.memory)
    spoilt = bytearray(ledger.memory.encode())
    spoilt[-1] ^= 1
    assert Memory.decode(bytes(spoilt)) != ledger.memory
    for data in (b"\xa0", b"\x00", ledger.memory.encode() + b"\x00"):
        with pytest.raises(InvalidInput):
            Memory.decode(data)


shares = st.fixed_dictionaries({name: st.one_of(st.none(), st.integers(0, 9)) for name in NODES})


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.tuples(shares, st.integers(0, 30), st.booleans()), min_size=1, max_size=12),
    st.sampled_from([{}, GROWTH]),
)
def test_money_is_conserved(epochs: list[tuple[Any, int, bool]], growth: dict[str, Any]) -> None:
    """Of every budget: given, standing, owed, or left in the pool; never more than the budget in one report."""
    ledger, spent, dust = Ledger.empty(), 0, 0
    for epoch, (said, jobs, is_flagged) in enumerate(epochs, 1):
        flagged = {"flagged": ["b"]} if is_flagged else {}
        parameters = economy({**COLLATERAL, **growth}, **flagged)
        silent = dict.fromkeys(NODES)
        weights = {**said, "b": 0} if is_flagged else said
        before = ledger
        outcome = played(epoch, ledger, [weights, weights, weights, silent], parameters, jobs)
        ledger = outcome.ledger
        spent += BUDGET
        dust += outcome.dust
        assert 0 <= ledger.claims.total - before.claims.total <= BUDGET
        accounts = ledger.memory.accounts.values()
        taken = sum(a.collateral + a.owed for a in before.memory.accounts.values())
        taken += sum(outcome.withheld) + sum(outcome.held_back) - sum(outcome.settled)
        penalties = taken - sum(a.collateral + a.owed for a in accounts)
        assert penalties >= 0
        assert penalties == 0 or is_flagged
        dust += penalties
        assert min((min(a.collateral, a.owed, a.earned) for a in accounts), default=0) >= 0
    held = sum(a.collateral + a.owed for a in ledger.memory.accounts.values())
    assert spent == ledger.claims.total + held + dust


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"growht": {}}, "economy"),
        ({"collateral": {"factor": 0, "release_after": 1}}, "factor"),
        ({"collateral": {"factor": 1}}, "release_after"),
        ({"collateral": {"factor": 1, "release_after": 1, "x": 1}}, "collateral"),
        ({"settle_deferred": 1}, "settle_deferred"),
        ({"growth": {**GROWTH["growth"], "measure": "bytes"}}, "measure"),
        ({"growth": {**GROWTH["growth"], "linear": 0}}, "baseline"),
        ({"growth": {**GROWTH["growth"], "pool_atto": "1.5"}}, "pool_atto"),
    ],
)
def test_wrong_rules_name_the_parameter(values: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        Economy.of(values)


@pytest.mark.parametrize("wrong", [{"x": 1}, {"tolerance_ppm": 1.5}, {"outlier_floor": 0}])
def test_wrong_reliability_is_refused_in_the_parameters(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        EvaluationParameters(reliability=wrong)
