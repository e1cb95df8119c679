"""How many points a challenge needs, and whether a node that keeps only a part of its jobs is really found as often."""

import math
from bisect import bisect_right
from fractions import Fraction
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.errors import InvalidInput
from meridian.models.summary import Summary
from meridian.models.summary_sampling import (
    SAMPLES_MAX,
    challenge_id,
    chosen,
    detection,
    points,
    samples_for,
)
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import node_key

FRACTIONS = st.fractions(Fraction(1, 1000), 1, max_denominator=1000)
SEEDS = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize(
    ("fraction", "probability", "samples"),
    [
        ("1/2", "9/10", 4),
        ("1/2", "99/100", 7),
        ("1/4", "9/10", 9),
        ("1/4", "95/100", 11),
        ("1/4", "99/100", 17),
        ("1/10", "9/10", 22),
        ("1/10", "95/100", 29),
        ("1/10", "99/100", 44),
        ("1", "999999/1000000", 1),
    ],
)
def test_the_number_of_points_is_the_textbooks(fraction, probability, samples):
    x, p = Fraction(fraction), Fraction(probability)
    assert samples_for(x, p) == samples
    if x < 1:
        assert samples == math.ceil(math.log(1 - p) / math.log(1 - x))


@given(fraction=FRACTIONS, probability=st.fractions(Fraction(1, 100), Fraction(99, 100)))
def test_it_is_the_least_that_is_enough(fraction, probability):
    if probability.denominator > 10**6:
        return
    try:
        samples = samples_for(fraction, probability)
    except InvalidInput:
        assert detection(fraction, SAMPLES_MAX) < probability
        return
    assert detection(fraction, samples) >= probability > detection(fraction, samples - 1)


@pytest.mark.parametrize(("fraction", "probability"), [("0", "1/2"), ("5/4", "1/2"), ("1/2", "1")])
def test_what_cannot_be_asked_for_is_refused(fraction, probability):
    with pytest.raises(InvalidInput):
        samples_for(Fraction(fraction), Fraction(probability))
    with pytest.raises(InvalidInput, match="more than 48 points"):
        samples_for(Fraction(1, 1000), Fraction(99, 100))


@given(seed=SEEDS, weight=st.integers(1, 1 << 80), samples=st.integers(1, SAMPLES_MAX))
def test_there_is_one_point_in_each_part(seed, weight, samples):
    found = points(seed, weight, samples)
    assert len(found) == samples
    assert all(0 <= point < weight for point in found)
    assert all(a <= b for a, b in pairwise(found))
    if weight >= samples:
        parts = [weight * number // samples for number in range(samples + 1)]
        for point, (low, high) in zip(found, pairwise(parts), strict=True):
            assert low <= point < high
    else:  # fewer weights than points: every one of them is asked for
        assert set(found) == set(range(weight))


def caught(kept, values, samples, challenges):
    """How many of some challenges ask for a job that a node has not kept."""
    ends = list(accumulate(values))
    count = 0
    for number in range(challenges):
        seed = sha256(b"challenge", number.to_bytes(4, "big"))
        asked = points(seed, ends[-1], samples)
        count += any(bisect_right(ends, point) not in kept for point in asked)
    return count


@pytest.mark.parametrize(
    ("share", "samples"), [(Fraction(1, 2), 4), (Fraction(3, 4), 11), (Fraction(9, 10), 22)]
)
def test_a_node_that_keeps_a_part_is_found_as_often_as_the_formula_says(share, samples):
    """Jobs are dropped evenly, where the formula is exact; 1,500 challenges, within four deviations."""
    jobs, challenges = 600, 1500
    kept = {at for at in range(jobs) if (at + 1) * share // 1 > at * share // 1}
    assert len(kept) == jobs * share
    found = caught(kept, [1] * jobs, samples, challenges)
    expected = float(detection(1 - share, samples))
    deviation = math.sqrt(expected * (1 - expected) / challenges)
    assert abs(found / challenges - expected) < 4 * deviation


def test_what_is_dropped_in_one_piece_is_found_more_often():
    jobs, challenges, samples = 600, 800, 11
    found = caught(set(range(450)), [1] * jobs, samples, challenges)
    assert found / challenges > detection(Fraction(1, 4), samples)
    assert found == challenges  # whole parts are missing


def test_one_invented_job_is_found_by_its_weight_not_by_its_number():
    values = [1] * 500 + [500]
    found = caught(set(range(500)), values, 4, 500)
    assert found == 500


def test_a_public_seed_chooses_nodes_evenly():
    nodes = [node_key(f"n{at}") for at in range(10)]
    met = dict.fromkeys(nodes, 0)
    for number in range(1000):
        picked = chosen(sha256(number.to_bytes(4, "big")), nodes, 3)
        assert len(set(picked)) == 3
        for node in picked:
            met[node] += 1
    assert all(240 < count < 360 for count in met.values())
    assert set(chosen(bytes(32), nodes, 99)) == set(nodes)


def test_names_of_challenges_differ():
    names = {
        challenge_id(epoch, node, account)
        for epoch in (1, 2)
        for node in (bytes(32), b"\1" * 32)
        for account in (bytes(20), b"\1" * 20)
    }
    assert len(names) == 8


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ((bytes(31), 1, 1), "root"),
        ((bytes(32), -1, 1), "jobs"),
        ((bytes(32), 2**32 + 1, 1), "jobs"),
        ((bytes(32), 1, -1), "weight"),
        ((bytes(32), 1, 2**128), "weight"),
    ],
)
def test_no_summary_says_what_the_contract_would_refuse(values, field):
    with pytest.raises(InvalidInput, match=field):
        Summary(*values)
