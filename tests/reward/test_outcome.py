"""The outcome of an epoch: the same for everyone who holds the block, and out of reach for f members of n."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.row import Row, RowHeader
from meridian.evaluate.trace import Traces, trace_root
from meridian.primitives.eip712 import Domain, keccak
from meridian.primitives.ids import Address, NodeKey
from meridian.reward.claims import verify_claim
from meridian.reward.ledger import Ledger
from meridian.reward.members import PayTerms, pay_key, split_budget
from meridian.reward.outcome import MemberRow, Outcome, compute_outcome
from meridian.reward.report import NO_REPORT, REPORT
from meridian.reward.result import EpochFacts, epoch_result, payee_rows, results, seed_result

PARAMETERS = EvaluationParameters()
BUDGET = 2_000 * 10**18
ROOT, OTHER_ROOT = b"\x01" * 32, b"\x02" * 32
NODES = 3


def key(number: int) -> NodeKey:
    return NodeKey(number.to_bytes(32, "big"))


def address(number: int) -> Address:
    return Address(number.to_bytes(20, "big"))


PAYEES = {key(n): address(100 + n) for n in range(NODES)}


def header(parameters: EvaluationParameters = PARAMETERS, epoch: int = 3) -> RowHeader:
    return RowHeader(b"n" * 32, epoch, b"c" * 32, b"f" * 32, parameters.digest, b"i" * 32)


def body(
    weights: Sequence[int | None], root: bytes = ROOT, parameters: EvaluationParameters = PARAMETERS
) -> bytes:
    return Row(
        header(parameters), root, tuple(map(key, range(len(weights)))), tuple(weights)
    ).encode()


def rows_of(*bodies: bytes) -> list[MemberRow]:
    return [(address(index), each) for index, each in enumerate(bodies)]


def outcome_of(
    rows: list[MemberRow],
    n: int = 4,
    parameters: EvaluationParameters = PARAMETERS,
    previous: Ledger | None = None,
) -> Outcome:
    return compute_outcome(
        rows,
        members=[address(number) for number in range(n)],
        parameters=parameters,
        budget=BUDGET,
        previous=previous or Ledger.empty(),
        expected=header(parameters),
        payees=PAYEES,
    )


def test_honest_rows_split_the_whole_budget() -> None:
    outcome = outcome_of(rows_of(*[body([1, 1, 1])] * 4))
    assert outcome.weights == (1, 1, 1)
    assert outcome.allocated == BUDGET
    assert (outcome.dust, sum(outcome.held_back)) == (0, 0)
    assert outcome.total == BUDGET
    assert max(outcome.amounts) - min(outcome.amounts) <= 1
    for number in range(NODES):
        proof = outcome.claims.proof(key(number))
        assert proof.payee == PAYEES[key(number)]
        assert verify_claim(proof, outcome.reward_root, outcome.total)


def test_floor_leaves_dust_in_the_pool() -> None:
    parameters = EvaluationParameters(allocation="floor")
    outcome = outcome_of(
        rows_of(*[body([1, 1, 1], parameters=parameters)] * 4), parameters=parameters
    )
    assert outcome.dust == BUDGET % 3
    assert outcome.allocated == outcome.total == BUDGET - BUDGET % 3


def test_nobody_is_paid_when_no_weight_is_positive() -> None:
    outcome = outcome_of(rows_of(*[body([0, 0, 0])] * 4))
    assert (outcome.allocated, outcome.dust, outcome.total) == (0, BUDGET, 0)
    assert not outcome.claims.claims


@settings(max_examples=150, deadline=None)
@given(
    st.integers(4, 10),
    st.lists(st.integers(0, 10**9), min_size=NODES, max_size=NODES),
    st.lists(st.one_of(st.none(), st.integers(0, (1 << 128) - 1)), min_size=NODES, max_size=NODES),
    st.randoms(use_true_random=False),
)
def test_f_liars_beside_honest_equals_change_nothing(
    n: int, truth: list[int], lie: list[int | None], dice: random.Random
) -> None:
    f = (n - 1) // 3
    liars = [body(lie, OTHER_ROOT)] * f
    rows = rows_of(*liars, *[body(truth)] * (n - f))
    dice.shuffle(rows)
    outcome, honest = outcome_of(rows, n), outcome_of(rows_of(*[body(truth)] * n), n)
    assert outcome.reward_root == honest.reward_root
    assert outcome.verdict_root == ROOT


def test_silence_of_liars_defers_a_node_but_earns_them_nothing() -> None:
    """n = 4: one honest row is missing from the block and the liar abstains on node 0: two voices are too few."""
    rows = rows_of(body([None, 10, 10]), body([10, 10, 10]), body([10, 10, 10]))
    outcome = outcome_of(rows)
    fair = outcome_of(rows_of(*[body([10, 10, 10])] * 4))
    assert outcome.weights == (None, 10, 10)
    assert outcome.amounts[1:] == fair.amounts[1:]
    assert outcome.held_back == (fair.amounts[0], 0, 0)
    assert outcome.allocated + sum(outcome.held_back) + outcome.dust == BUDGET
    assert key(0) not in outcome.claims.claims


def test_a_node_about_which_nobody_spoke_holds_nothing_back() -> None:
    outcome = outcome_of(rows_of(*[body([None, 1, 1])] * 4))
    assert outcome.weights[0] is None
    assert outcome.allocated == BUDGET


def test_unreadable_and_foreign_rows_abstain_and_are_named() -> None:
    foreign = Row(header(epoch=4), ROOT, (key(0),), (10**9,)).encode()
    rows = rows_of(body([1, 2, 3]), foreign, b"garbage", body([1, 2, 3]), body([1, 2, 3]))
    outcome = outcome_of(rows, n=5)
    assert outcome.weights == (1, 2, 3)
    assert [member for member, _ in outcome.refused] == [address(1), address(2)]
    assert "epoch" in outcome.refused[0][1]


def test_nodes_that_were_not_committed_are_never_paid() -> None:
    greedy = body([1, 1, 1, 10**30])
    outcome = outcome_of(rows_of(*[greedy] * 4))
    assert outcome.node_keys == tuple(sorted(PAYEES))
    assert key(3) not in outcome.claims.claims
    assert outcome.allocated == BUDGET


def test_the_verdict_root_of_most_rows_is_chosen_and_ties_take_the_lowest_bytes() -> None:
    weights = [1, 1, 1]
    many = rows_of(body(weights, OTHER_ROOT), body(weights, OTHER_ROOT), body(weights, ROOT))
    assert outcome_of(many).verdict_root == OTHER_ROOT
    tie = rows_of(*[body(weights, root) for root in (OTHER_ROOT, ROOT, ROOT, OTHER_ROOT)])
    assert outcome_of(tie).verdict_root == ROOT


def test_what_cannot_be_an_epoch_is_refused() -> None:
    with pytest.raises(InvalidInput, match="rows"):
        outcome_of(rows_of(b"garbage"))
    with pytest.raises(InvalidInput, match="more than one"):
        outcome_of([(address(1), body([1, 1, 1]))] * 2)
    with pytest.raises(InvalidInput, match="parameters"):
        compute_outcome(
            rows_of(body([1, 1, 1])),
            members=[address(number) for number in range(4)],
            parameters=EvaluationParameters(aggregate="mean"),
            budget=1,
            previous=Ledger.empty(),
            expected=header(),
            payees=PAYEES,
        )


def test_claims_accumulate_over_reports() -> None:
    first = outcome_of(rows_of(*[body([1, 0, 0])] * 4))
    second = outcome_of(rows_of(*[body([1, 1, 0])] * 4), previous=first.ledger)
    assert second.total == 2 * BUDGET
    assert second.claims.proof(key(0)).cumulative == BUDGET + BUDGET // 2
    assert key(2) not in second.claims.claims


# --- report and results


def test_the_report_binds_everything_and_its_digest_is_eip712() -> None:
    outcome = outcome_of(rows_of(*[body([1, 2, 3])] * 4))
    report = outcome.report(header(), b"b" * 32, NO_REPORT)
    assert (report.reward_root, report.total) == (outcome.reward_root, BUDGET)
    assert REPORT.description == (
        "Report(bytes32 network,uint64 epoch,bytes32 commitment,bytes32 functionDigest,"
        "bytes32 parametersDigest,bytes32 inputsRoot,bytes32 blockHash,bytes32 verdictRoot,"
        "bytes32 rewardRoot,uint128 total,bytes32 previous)"
    )
    domain = Domain(chain_id=31337, contract=address(1))
    words = [
        value if isinstance(value, bytes) else value.to_bytes(32, "big") for value in report.values
    ]
    struct = keccak(keccak(REPORT.description.encode()) + b"".join(words))
    assert report.digest(domain) == keccak(b"\x19\x01" + domain.separator + struct)
    assert report.digest(Domain(chain_id=1, contract=address(1))) != report.digest(domain)


def facts() -> EpochFacts:
    return EpochFacts(
        epoch=3,
        jobs=9,
        commitment_root=b"\xab" * 32,
        report_hash=b"\xcd" * 32,
        signers=[address(2), address(1)],
        transmitter=address(2),
        paid_atto=5,
        gas={"commit": 70_000},
        node_ids={key(n): f"node-{NODES - n}" for n in range(NODES)},
    )


def test_the_result_has_the_decided_shape() -> None:
    outcome = outcome_of(rows_of(*[body([1, 0, 3])] * 4))
    entry = epoch_result(facts(), outcome)
    assert list(entry) == [
        "epoch", "jobs", "nodes", "commitment_root", "report_hash", "signers", "transmitter",
        "total_atto", "allocated_atto", "paid_atto", "gas", "payees",
    ]  # fmt: skip
    assert entry["epoch"] == 3
    assert entry["total_atto"] == entry["allocated_atto"] == str(BUDGET)
    assert entry["paid_atto"] == "5"
    assert entry["signers"] == ["0x" + "00" * 19 + "01", "0x" + "00" * 19 + "02"]
    assert entry["payees"][0] == {
        "node_id": "node-1",
        "weight": "3",
        "proportion": "0.750000000000000000",
        "amount_atto": str(BUDGET * 3 // 4),
    }
    assert results([entry]) == {"epochs": [entry]}


def test_the_seed_result_has_the_fields_of_the_design_document() -> None:
    outcome = outcome_of(rows_of(*[body([1, 1, 1])] * 4))
    report = outcome.report(header(), b"b" * 32, NO_REPORT)
    result = seed_result(report, outcome, measurement="bafy", facts=facts(), summary={"ok": 9})
    assert list(result) == ["epoch", "measurement", "trace_of_eval", "payees"]
    assert (result["epoch"], result["measurement"]) == ("3", "bafy")
    assert [set(payee) for payee in result["payees"]] == [{"node_id", "proportion"}] * NODES
    shares = [payee["proportion"] for payee in result["payees"]]
    assert sum(int(share.replace(".", "")) for share in shares) == 10**18
    assert result["trace_of_eval"]["summary"] == {"ok": "9"}


def test_a_deferred_node_is_shown_without_a_weight() -> None:
    outcome = outcome_of(rows_of(*[body([None, 1, 1])] * 4))
    row = payee_rows(outcome, facts().node_ids)[-1]
    assert row == {
        "node_id": "node-3",
        "weight": None,
        "proportion": "0.000000000000000000",
        "amount_atto": "0",
    }


def test_evaluators_and_aggregators_are_paid_from_their_shares_and_the_nodes_from_the_rest() -> (
    None
):
    rows = [*rows_of(*[body([1, 1, 1])] * 3), (address(3), b"not a row")]
    aggregator = address(9)
    outcome = compute_outcome(
        rows,
        members=[address(number) for number in range(4)],
        parameters=PARAMETERS,
        budget=BUDGET,
        previous=Ledger.empty(),
        expected=header(PARAMETERS),
        payees=PAYEES,
        pay=PayTerms(100_000, 50_000),
        aggregators={aggregator: 0},
    )
    parts = split_budget(BUDGET, PayTerms(100_000, 50_000))
    assert outcome.allocated == parts.nodes
    pay = {address(number): parts.evaluators // 3 for number in range(3)}
    assert dict(outcome.member_pay) == {**pay, aggregator: parts.aggregators}
    for account, amount in outcome.member_pay:
        proof = outcome.claims.proof(pay_key(account))
        assert (proof.payee, proof.cumulative) == (account, amount)
        assert verify_claim(proof, outcome.reward_root, outcome.total)
    assert outcome.total == outcome.allocated + outcome.paid_to_members
    assert outcome.dust == BUDGET - outcome.total == parts.evaluators % 3


def traced(work: bytes, *members: Address) -> dict[Address, bytes]:
    return {member: trace_root(member, work) for member in members}


def test_who_copied_its_row_is_named_and_gets_no_evaluators_pay() -> None:
    """The copy counts and the others get no more for it: only the work behind it is not paid."""
    work, terms = b"w" * 32, PayTerms(100_000, 50_000)
    honest, copier, other = [address(0), address(1)], address(2), address(3)
    rows = rows_of(*[body([1, 1, 1])] * 3, body([1, 1, 1], b"other verdicts".ljust(32)))
    roots = traced(work, *honest) | {copier: trace_root(honest[0], work)} | traced(bytes(32), other)

    def outcome(traces: Traces | None) -> Outcome:
        return compute_outcome(
            rows,
            members=[address(number) for number in range(4)],
            parameters=PARAMETERS,
            budget=BUDGET,
            previous=Ledger.empty(),
            expected=header(PARAMETERS),
            payees=PAYEES,
            pay=terms,
            traces=traces,
        )

    paid = outcome(Traces(roots, ROOT, work))
    share = split_budget(BUDGET, terms).evaluators // 4
    assert paid.unproved == (copier, other)
    assert dict(paid.member_pay) == dict.fromkeys(honest, share)
    assert paid.weights == (1, 1, 1)
    assert outcome(None).unproved == ()
    unknown = outcome(Traces(roots, b"our own verdicts".ljust(32), work))
    assert unknown.unproved == (), "who evaluated otherwise cannot check anybody"
    assert len(unknown.member_pay) == 4
