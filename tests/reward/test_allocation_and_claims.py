"""Money: exact splits, cumulative claims, and proofs that only the true claim passes."""

import dataclasses
import hashlib
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.parameters import ALLOCATIONS as ALLOCATION_NAMES
from meridian.primitives import dagcbor
from meridian.primitives.hashing import EMPTY_TREE
from meridian.primitives.ids import Address, NodeKey
from meridian.reward.allocation import ALLOCATIONS, floor, largest_remainder
from meridian.reward.claims import Claim, ClaimsState, verify_claim

weights_strategy = st.lists(
    st.one_of(st.integers(0, 5), st.integers(0, (1 << 128) - 1)), max_size=12
)
budgets = st.one_of(st.integers(0, 10), st.integers(0, 1 << 96))


@settings(deadline=None)
@given(weights_strategy, budgets)
def test_largest_remainder_pays_exactly_the_budget_and_nobody_is_off_by_one_unit(
    weights: list[int], budget: int
) -> None:
    parts = largest_remainder(weights, budget)
    whole = sum(weights)
    assert sum(parts) == (budget if whole else 0)
    for weight, part in zip(weights, parts, strict=True):
        exact = Fraction(budget * weight, whole) if whole else Fraction(0)
        assert exact - 1 < part < exact + 1


@settings(deadline=None)
@given(weights_strategy, budgets)
def test_floor_never_pays_more_than_the_exact_share(weights: list[int], budget: int) -> None:
    parts = floor(weights, budget)
    whole = sum(weights)
    assert sum(parts) <= budget
    for weight, part in zip(weights, parts, strict=True):
        assert part == (budget * weight // whole if whole else 0)


def test_equal_remainders_are_served_in_the_order_of_ids() -> None:
    assert largest_remainder([1, 1, 1], 2) == [1, 1, 0]
    assert largest_remainder([0, 1, 1, 1], 1) == [0, 1, 0, 0]
    assert largest_remainder([3, 1], 2) == [2, 0]  # 1.5 and 0.5: the earlier remainder wins


def test_impossible_splits_are_refused() -> None:
    for split in ALLOCATIONS.values():
        assert split([], 5) == []
        with pytest.raises(InvalidInput):
            split([1], -1)
        with pytest.raises(InvalidInput):
            split([1, -1], 1)
    assert tuple(ALLOCATIONS) == ALLOCATION_NAMES


# --- claims


def key(number: int) -> NodeKey:
    return NodeKey(number.to_bytes(32, "big"))


def payee(number: int) -> Address:
    return Address(number.to_bytes(20, "big"))


def state_of(size: int) -> ClaimsState:
    return ClaimsState.empty().advance({key(n): (payee(n), n * 1000) for n in range(1, size + 1)})


def test_the_reward_root_is_the_documented_one() -> None:
    def sha(*parts: bytes) -> bytes:
        return hashlib.sha256(b"".join(parts)).digest()

    state = ClaimsState.empty().advance({key(1): (payee(7), 300), key(2): (payee(8), 1 << 100)})
    leaves = [
        sha(b"\x06", key(n), payee(p), a.to_bytes(16, "big"))
        + (1).to_bytes(8, "big")
        + a.to_bytes(16, "big")
        for n, p, a in ((1, 7, 300), (2, 8, 1 << 100))
    ]
    total = 300 + (1 << 100)
    root = sha(b"\x07", *leaves) + (2).to_bytes(8, "big") + total.to_bytes(16, "big")
    assert state.root_node == root
    assert state.reward_root == sha(b"\x13", (2).to_bytes(8, "big"), root)
    assert state.total == total


def test_the_empty_state_has_the_empty_root() -> None:
    empty = ClaimsState.empty()
    assert empty.root_node == EMPTY_TREE + bytes(24)
    assert empty.reward_root == hashlib.sha256(b"\x13" + bytes(8) + EMPTY_TREE + bytes(24)).digest()
    assert empty.total == 0


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 31])
def test_every_claim_has_a_proof_and_no_other_claim_passes_with_it(size: int) -> None:
    state = state_of(size)
    for number in range(1, size + 1):
        proof = state.proof(key(number))
        assert (proof.index, proof.size, proof.cumulative) == (number - 1, size, number * 1000)
        assert verify_claim(proof, state.reward_root, state.total)
        for wrong in (
            {"cumulative": proof.cumulative + 1},
            {"payee": payee(99)},
            {"node_key": key(99)},
            {"index": size},
            {"index": -1},
            {"size": size + 1},
            {"path": (*proof.path, bytes(56))},
            {"cumulative": -1},
            {"cumulative": 1 << 128},
            {"payee": b""},
        ):
            changed = dataclasses.replace(proof, **wrong)
            assert not verify_claim(changed, state.reward_root, state.total)
        assert not verify_claim(proof, state.reward_root, state.total + 1)
        assert not verify_claim(proof, bytes(32), state.total)
    with pytest.raises(NotFound):
        state.proof(key(size + 1))


def test_claims_only_grow_and_the_newest_payee_collects() -> None:
    first = ClaimsState.empty().advance({key(2): (payee(2), 5), key(1): (payee(1), 0)})
    assert dict(first.claims) == {key(2): Claim(payee(2), 5)}
    second = first.advance({key(1): (payee(1), 7), key(2): (payee(3), 1)})
    assert list(second.claims.items()) == [
        (key(1), Claim(payee(1), 7)),
        (key(2), Claim(payee(3), 6)),
    ]
    assert first.total == 5
    assert second.total == 13
    with pytest.raises(InvalidInput, match="negative"):
        second.advance({key(1): (payee(1), -1)})
    with pytest.raises(InvalidInput, match="128"):
        second.advance({key(1): (payee(1), (1 << 128) - 13)})


amounts_strategy = st.dictionaries(
    st.integers(0, 9).map(key),
    st.tuples(st.integers(0, 3).map(payee), st.integers(0, 1 << 90)),
    max_size=8,
)


@settings(deadline=None)
@given(st.lists(amounts_strategy, max_size=4))
def test_the_artefact_is_read_as_it_was_written_and_totals_add_up(
    epochs: list[dict[NodeKey, tuple[Address, int]]],
) -> None:
    state, total = ClaimsState.empty(), 0
    for amounts in epochs:
        after = state.advance(amounts)
        total += sum(amount for _, amount in amounts.values())
        assert after.total == total
        assert all(after.claims[k].cumulative >= c.cumulative for k, c in state.claims.items())
        state = after
    again = ClaimsState.decode(state.encode())
    assert again == state
    assert again.reward_root == state.reward_root
    assert state.digest == hashlib.sha256(state.encode()).digest()


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"v": 1},
        {"v": 2, "rows": b""},
        {"v": 1, "rows": b"x"},
        {"v": 1, "rows": "text"},
        {"v": 1, "rows": 2 * (key(1) + payee(1) + bytes(16))},
        {"v": 1, "rows": key(2) + payee(1) + bytes(16) + key(1) + payee(1) + bytes(16)},
    ],
)
def test_other_artefacts_are_not_claims(value: object) -> None:
    with pytest.raises(InvalidInput):
        ClaimsState.decode(dagcbor.encode(value))


def test_claims_out_of_order_or_of_wrong_form_are_refused() -> None:
    one = Claim(payee(1), 1)
    for claims in (
        {key(2): one, key(1): one},
        {NodeKey(b"short"): one},
        {key(1): Claim(Address(b""), 1)},
        {key(1): Claim(payee(1), -1)},
    ):
        with pytest.raises(InvalidInput):
            ClaimsState(claims)
