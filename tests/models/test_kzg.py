"""KZG commitments to a node's jobs: what is opened is what was committed, and the chunk adds up."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from meridian.errors import InvalidInput
from meridian.models import kzg
from meridian.models.kzg import Chunk, NodeCommitment, verify_job
from meridian.node.kzg_setup import ethereum_setup

JOBS = 2 * kzg.SLOTS + 5


@pytest.fixture(scope="module")
def setup():
    return ethereum_setup()


@pytest.fixture(scope="module")
def jobs():
    chance = random.Random(8)
    return [(chance.randbytes(100), chance.randrange(kzg.VALUE_END)) for _ in range(JOBS)]


@pytest.fixture(scope="module")
def committed(jobs, setup):
    rows, values = zip(*jobs, strict=True)
    return NodeCommitment(rows, values, setup)


def refusal(*arguments) -> str:
    with pytest.raises(InvalidInput) as error:
        verify_job(*arguments)
    return error.value.field


def test_jobs_of_every_chunk_are_shown_with_number_and_total(committed, jobs, setup):
    total = sum(value for _, value in jobs)
    assert committed.annotation == (JOBS, total)
    for index in (0, kzg.SLOTS - 1, kzg.SLOTS + 77, JOBS - 1):
        opening = committed.open(index)
        verify_job(committed.root, (JOBS, total), index, *jobs[index], opening, setup)
        assert opening.size == 264 + 56 * len(opening.path) <= 264 + 56 * 2


def test_every_part_of_an_answer_counts(committed, jobs, setup):
    index = kzg.SLOTS + 3
    (row, value), opening = jobs[index], committed.open(index)
    said = committed.root, committed.annotation, index, row, value, opening, setup
    verify_job(*said)

    def changed(at, other):
        return (*said[:at], other, *said[at + 1 :])

    assert refusal(*changed(0, bytes(32))) == "root"
    assert refusal(*changed(1, (JOBS, said[1][1] + 1))) == "root"
    assert refusal(*changed(1, (JOBS + kzg.SLOTS, said[1][1]))) in {"path", "root"}
    assert refusal(*changed(2, JOBS)) == "index"
    assert refusal(*changed(2, index - 1)) == "name"
    assert refusal(*changed(2, 3)) in {"root", "path"}
    assert refusal(*changed(3, jobs[index + 1][0])) == "name"
    assert refusal(*changed(4, value ^ 1)) == "value"
    other = committed.open(index + 1)
    assert refusal(*changed(5, replace(opening, name_proof=other.name_proof))) == "name"
    assert refusal(*changed(5, replace(opening, value_proof=bytes(48)))) == "value"
    assert refusal(*changed(5, replace(opening, total_proof=other.value_proof))) == "total"
    assert refusal(*changed(5, replace(opening, path=opening.path[:-1]))) == "path"
    more = replace(opening.chunk, total=opening.chunk.total + 1)
    assert refusal(*changed(5, replace(opening, chunk=more))) == "root"
    fewer = replace(opening.chunk, jobs=kzg.SLOTS - 1)
    assert refusal(*changed(5, replace(opening, chunk=fewer))) == "path"


def test_a_total_that_the_values_do_not_have_is_seen_in_any_answer(jobs, setup):
    """Who claims more than the values add up to commits to a chunk whose mean is another one."""
    rows, values = zip(*jobs[:40], strict=True)
    honest = NodeCommitment(rows, values, setup)
    (chunk,) = honest.chunks
    claimed = Chunk(chunk.names, chunk.values, chunk.jobs, chunk.total + 1)
    opening = replace(honest.open(7), chunk=claimed)
    root = claimed.leaf[:32]
    assert refusal(root, (40, claimed.total), 7, *jobs[7], opening, setup) == "total"


def test_what_a_slot_without_a_job_hides_is_seen_only_where_it_is_opened(jobs, setup):
    """The limit that the module states: an inflation in one slot; a challenge of that slot finds it."""
    rows, values = (list(part) for part in zip(*jobs[:40], strict=True))
    inflated = NodeCommitment(rows, [*values[:-1], values[-1] + 10**15], setup)
    said = inflated.root, inflated.annotation
    verify_job(*said, 7, *jobs[7], inflated.open(7), setup)
    assert refusal(*said, 39, *jobs[39], inflated.open(39), setup) == "value"


def test_input_is_refused_by_name(setup):
    for rows, values, field in (
        ([], [], "rows"),
        ([b"row"], [], "values"),
        ([b"row"], [kzg.VALUE_END], "values"),
        ([b"row"], [-1], "values"),
    ):
        with pytest.raises(InvalidInput) as error:
            NodeCommitment(rows, values, setup)
        assert error.value.field == field
    with pytest.raises(InvalidInput):
        kzg.domain_point(kzg.SLOTS)


def test_the_domain_is_that_of_blobs(setup):
    """The points are the 4,096 different roots, neighbours in pairs of opposite sign (bit-reversed order)."""
    points = [kzg.domain_point(slot) for slot in range(kzg.SLOTS)]
    assert len(set(points)) == kzg.SLOTS
    assert all(pow(point, kzg.SLOTS, kzg.MODULUS) == 1 for point in points[:50])
    assert all(sum(pair) % kzg.MODULUS == 0 for pair in list(pairwise(points))[::2])
