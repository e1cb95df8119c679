"""Trace roots: who evaluated can give one and check everybody's; who copied a row fails a spot challenge."""

import hashlib
from dataclasses import replace

import pytest

from meridian.errors import InvalidInput
from meridian.evaluate.trace import Spot, check_spot, open_spot, trace_root, work_root
from meridian.evaluate.verdicts import verdict_leaf, verdict_path, verdict_root
from meridian.primitives.ids import Address

ALICE, BOB = Address(b"\x0a" * 20), Address(b"\x0b" * 20)
KEYS = [bytes([i]) * 32 for i in range(7)]
CODES = [bytes(i % 3 for i in range(length)) for length in (3, 1, 0, 5, 2, 8, 1)]
LEAVES = [verdict_leaf(key, codes) for key, codes in zip(KEYS, CODES, strict=True)]


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_the_trace_root_is_the_documented_one() -> None:
    a, b, c = (sha(b"\x24" + leaf) for leaf in LEAVES[:3])
    work = sha(b"\x25" + sha(b"\x25" + a + b) + c)
    assert work_root(LEAVES[:3]) == work
    assert trace_root(ALICE, work) == sha(b"\x26" + ALICE + work)
    assert work_root([]) == sha(b"")


def test_members_have_different_roots_and_none_follows_from_what_a_row_shows() -> None:
    work = work_root(LEAVES)
    assert trace_root(ALICE, work) != trace_root(BOB, work)
    assert verdict_root(LEAVES) != work, "the row shows the verdict root"


@pytest.mark.parametrize("size", range(1, 8))
def test_who_evaluated_passes_every_spot_challenge(size: int) -> None:
    leaves = LEAVES[:size]
    root = trace_root(ALICE, work_root(leaves))
    for index in range(size):
        spot = open_spot(leaves, index, CODES[index])
        assert check_spot(root, ALICE, KEYS[index], index, size, spot)
        assert not check_spot(root, BOB, KEYS[index], index, size, spot), "salted with the address"
        wrong = replace(spot, codes=spot.codes + b"\x01")
        assert not check_spot(root, ALICE, KEYS[index], index, size, wrong)
        longer = replace(spot, path=(*spot.path, bytes(32)))
        assert not check_spot(root, ALICE, KEYS[index], index, size, longer)
        assert not check_spot(root, ALICE, KEYS[index], index + 1, size, spot)


def test_a_copied_row_fails_a_spot_challenge() -> None:
    """Bob saw Alice's row and trace root before he had to commit himself, and later learns all verdicts."""
    hers = trace_root(ALICE, work_root(LEAVES))
    seen = verdict_root(LEAVES)
    for made_up in (hers, trace_root(BOB, seen), trace_root(BOB, hers), bytes(32)):
        for index, codes in enumerate(CODES):
            honest = open_spot(LEAVES, index, codes)
            of_the_row = Spot(codes, tuple(verdict_path(LEAVES, index)))
            for answer in (honest, of_the_row, Spot(codes, ())):
                assert not check_spot(made_up, BOB, KEYS[index], index, len(KEYS), answer)


def test_a_node_with_sealed_reasons_is_answered_for_with_their_root() -> None:
    sealed = [bytes([i]) * 32 for i in range(len(KEYS))]
    leaves = [sha(b"\x2c" + leaf + root) for leaf, root in zip(LEAVES, sealed, strict=True)]
    root = trace_root(ALICE, work_root(leaves))
    for index, codes in enumerate(CODES):
        spot = open_spot(leaves, index, codes, sealed[index])
        assert check_spot(root, ALICE, KEYS[index], index, len(KEYS), spot)
        for other in (b"", sealed[index - 1]):
            wrong = replace(spot, sealed=other)
            assert not check_spot(root, ALICE, KEYS[index], index, len(KEYS), wrong)


def test_there_is_no_answer_about_a_node_that_is_not_there() -> None:
    with pytest.raises(InvalidInput):
        open_spot(LEAVES, len(LEAVES), b"")
