"""Who sends the attested report first."""

import hashlib
from collections import Counter

import pytest
from committee_world import MEMBERS
from hypothesis import given
from hypothesis import strategies as st

from meridian.committee.transmission import turn
from meridian.primitives.ids import Address

addresses = st.lists(st.binary(min_size=20, max_size=20), min_size=1, max_size=40, unique=True)


@given(addresses, st.binary(min_size=32, max_size=32))
def test_the_turns_of_a_committee_are_a_permutation(members: list[bytes], block: bytes) -> None:
    committee = tuple(Address(member) for member in members)
    assert sorted(turn(committee, block, member) for member in committee) == list(
        range(len(committee))
    )


@given(addresses, st.binary(min_size=32, max_size=32), st.randoms())
def test_all_members_see_the_same_order_however_they_list_the_committee(
    members: list[bytes], block: bytes, chance
) -> None:
    committee = [Address(member) for member in members]
    turns = {member: turn(committee, block, member) for member in committee}
    chance.shuffle(committee)
    assert {member: turn(committee, block, member) for member in committee} == turns


def test_the_order_is_keyed_by_the_block_and_is_fair() -> None:
    blocks = [hashlib.sha256(bytes([i, j])).digest() for i in range(20) for j in range(20)]
    first = Counter(
        next(member for member in MEMBERS if turn(MEMBERS, block, member) == 0) for block in blocks
    )
    assert set(first) == set(MEMBERS)
    assert min(first.values()) > 60  # 100 each on average


def test_a_stranger_has_no_turn() -> None:
    with pytest.raises(ValueError, match="not in list"):
        turn(MEMBERS, bytes(32), Address(bytes(20)))
