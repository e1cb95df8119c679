"""Made-up jobs of the comparison: the same from the same seed, all of one epoch, all acceptable."""

import json
from collections import Counter
from itertools import chain

from meridian.measure.times import parse_time
from meridian.networks import comparison
from meridian.networks.generator import Traffic


def records(source):
    return [
        json.loads(line) for line in chain.from_iterable(b.splitlines() for b in source.batches())
    ]


def test_the_same_seed_makes_the_same_jobs_and_another_makes_others():
    traffic = Traffic(seed=3, jobs=500, nodes=7)
    first = comparison.generate(traffic)
    assert [*first.batches()] == [*comparison.generate(traffic).batches()]
    other = comparison.generate(Traffic(seed=4, jobs=500, nodes=7))
    assert [*first.batches()] != [*other.batches()]
    assert not first.nodes.keys() & other.nodes.keys()


def test_jobs_are_of_one_epoch_in_the_order_of_time_and_of_known_nodes():
    source = comparison.generate(Traffic(jobs=2_000, nodes=600, epochs=3))
    jobs = records(source)
    ends = [parse_time(job["ended_at"]) for job in jobs]
    assert len(jobs) == source.jobs == 2_000
    assert ends == sorted(ends)
    start = source.genesis_s * 1_000_000
    assert start <= ends[0] < ends[-1] < start + source.epoch_seconds * 1_000_000
    assert all(parse_time(job["started_at"]) < end for job, end in zip(jobs, ends, strict=True))
    assert len({job["job_id"] for job in jobs}) == 2_000
    assert {job["peer_id"] for job in jobs} == source.nodes.keys()
    assert source.definition.reward_rule == 1, "a contract can compute the weights"


def test_with_success_one_job_of_ten_does_not_count():
    source = comparison.generate(Traffic(jobs=2_000, nodes=11), success=True)
    said = Counter(job["evaluation_fields"][0]["value"] for job in records(source))
    assert 120 < said[0] < 280
    assert source.definition.function_parameters["success"]["field"] == "success"
