"""Which epoch a payment counts for: the oldest report's amount is drawn first."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from meridian.journey.outcome import PublishedEpoch, paid_by_epoch
from meridian.node.chain_view import AcceptedReport, Commitment, PaidClaim
from meridian.primitives.ids import Address, NodeKey
from meridian.reward.claims import ClaimsState
from meridian.reward.outcome import Outcome

HASH, ADDRESS = bytes(32), Address(bytes(20))


def key(number: int) -> NodeKey:
    return NodeKey(bytes([number]) * 32)


def epoch_of(epoch: int, block: int, amounts: Mapping[int, int], total: int = 0) -> PublishedEpoch:
    """An epoch whose report was accepted in a block and gave amounts to nodes."""
    keys = tuple(key(number) for number in sorted(amounts))
    values = tuple(amounts[number] for number in sorted(amounts))
    outcome = Outcome(
        keys, values, values, (0,) * len(keys), HASH, ClaimsState.empty(), sum(values), ()
    )
    return PublishedEpoch(
        commitment=Commitment(epoch, ADDRESS, HASH, len(keys), bytes(24), HASH, HASH, HASH, block),
        report=AcceptedReport(epoch, HASH, ADDRESS, HASH, total, 0, HASH, HASH, block),
        outcome=outcome,
        jobs=0,
        signers=(),
        node_ids={},
        seed_result=b"",
        summary={},
        reasons=("ok",),
    )


def drawn(number: int, cumulative: int, amount: int = 1) -> PaidClaim:
    return PaidClaim(key(number), ADDRESS, 0, amount, cumulative, HASH)


ONE = epoch_of(1, 10, {1: 100, 2: 50}, 150)
TWO = epoch_of(2, 20, {1: 10, 3: 5}, 165)


def test_nothing_claimed_is_nothing_paid() -> None:
    assert paid_by_epoch([ONE, TWO], []) == {1: 0, 2: 0}
    assert paid_by_epoch([], [drawn(1, 5)]) == {}


def test_one_claim_under_the_newest_report_pays_both_epochs() -> None:
    assert paid_by_epoch([ONE, TWO], [drawn(1, 110)]) == {1: 100, 2: 10}


def test_the_oldest_report_is_drawn_first() -> None:
    assert paid_by_epoch([ONE, TWO], [drawn(1, 100), drawn(3, 5)]) == {1: 100, 2: 5}


def test_of_several_claims_of_a_node_the_greatest_counts_in_any_order() -> None:
    claims = [drawn(1, 110), drawn(1, 100)]
    assert paid_by_epoch([TWO, ONE], claims) == paid_by_epoch([ONE, TWO], claims[::-1])
    assert paid_by_epoch([ONE, TWO], claims) == {1: 100, 2: 10}


def test_oldest_means_accepted_first_and_not_the_smaller_epoch() -> None:
    late = epoch_of(1, 30, {1: 100}, 265)
    first = epoch_of(2, 20, {1: 10}, 165)
    assert paid_by_epoch([late, first], [drawn(1, 60)]) == {2: 10, 1: 50}


def test_of_two_reports_in_one_block_the_smaller_total_came_first() -> None:
    second, first = epoch_of(1, 20, {1: 100}, 200), epoch_of(2, 20, {1: 100}, 100)
    assert paid_by_epoch([second, first], [drawn(1, 130)]) == {2: 100, 1: 30}


amounts = st.dictionaries(st.integers(0, 5), st.integers(0, 100), max_size=6)


@given(st.lists(amounts, max_size=6), st.data())
def test_what_is_paid_adds_up_and_no_epoch_pays_more_than_it_gave(
    epochs: list[dict[int, int]], data: st.DataObject
) -> None:
    published = [epoch_of(at, at, given_amounts) for at, given_amounts in enumerate(epochs)]
    owed = {
        number: sum(one.get(number, 0) for one in epochs)
        for number in {number for one in epochs for number in one}
    }
    taken = {number: data.draw(st.integers(0, most)) for number, most in owed.items()}
    paid = paid_by_epoch(published, [drawn(number, amount) for number, amount in taken.items()])
    assert sum(paid.values()) == sum(taken.values())
    for item in published:
        assert 0 <= paid[item.report.epoch] <= item.outcome.allocated
