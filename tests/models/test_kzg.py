"""Committed columns: what is opened is what was committed, in its slot, and nothing else."""

import random
from itertools import pairwise

import pytest

from meridian.errors import InvalidInput
from meridian.models import kzg
from meridian.models.kzg import Column, opens
from meridian.node.kzg_setup import ethereum_setup


@pytest.fixture(scope="module")
def setup():
    return ethereum_setup()


def test_every_slot_opens_to_its_value_and_to_no_other(setup):
    values = [random.Random(8).randrange(kzg.MODULUS) for _ in range(40)]
    column = Column.of(values, setup)
    for slot, value in ((0, values[0]), (39, values[39]), (40, 0), (kzg.SLOTS - 1, 0)):
        proof = column.open(slot, setup)
        assert opens(column.commitment, slot, value, proof, setup)
        assert not opens(column.commitment, slot, (value + 1) % kzg.MODULUS, proof, setup)
        assert not opens(column.commitment, slot - 1 if slot else 1, value, proof, setup)
        assert not opens(column.commitment, slot, value + kzg.MODULUS, proof, setup)
    for nonsense in (b"", bytes(48), b"\x01" * 48):
        assert not opens(column.commitment, 0, values[0], nonsense, setup)
        assert not opens(nonsense, 0, values[0], column.open(0, setup), setup)


def test_input_is_refused_by_name(setup):
    for values, field in (
        ([0] * (kzg.SLOTS + 1), "values"),
        ([kzg.MODULUS], "values"),
        ([-1], "values"),
    ):
        with pytest.raises(InvalidInput) as error:
            Column.of(values, setup)
        assert error.value.field == field
    for slot in (-1, kzg.SLOTS):
        with pytest.raises(InvalidInput):
            kzg.domain_point(slot)


def test_the_domain_is_that_of_blobs():
    """The points are the 4,096 different roots, neighbours in pairs of opposite sign (bit-reversed order)."""
    points = [kzg.domain_point(slot) for slot in range(kzg.SLOTS)]
    assert len(set(points)) == kzg.SLOTS
    assert all(pow(point, kzg.SLOTS, kzg.MODULUS) == 1 for point in points[:50])
    assert all(sum(pair) % kzg.MODULUS == 0 for pair in list(pairwise(points))[::2])
