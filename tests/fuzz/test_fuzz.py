"""A slice of the fuzzing: some thousand seeded mutations for every target, and a hunt that must find what is there."""

import pytest

from fuzz.__main__ import NAMES
from fuzz.mutation import Found, hunt, mutate
from fuzz.targets import TARGETS, Broken, Target, promise

COUNTS = {"replica": 150, "block-replica": 150, "journal": 500}


def test_the_programme_knows_every_target():
    assert set(NAMES) == set(TARGETS)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_breaks_under_seeded_mutations(name):
    count = COUNTS.get(name, 3_000)
    assert hunt(TARGETS[name], seed=1, count=count) == count


@pytest.mark.parametrize("name", NAMES)
def test_the_corpus_is_genuine(name):
    """Inputs that are refused at the first byte would test nothing: some must come through."""
    seeds = TARGETS[name].seeds()
    assert len(seeds) >= 4
    assert len(set(seeds)) == len(seeds)
    assert all(len(data) <= TARGETS[name].longest for data in seeds)


def test_the_genuine_inputs_get_as_far_as_the_verifiers(monkeypatch):
    """With verifiers that let everything pass, mutations are found at once: so they do reach them."""
    from fuzz import targets

    monkeypatch.setattr(targets, "verify_certificate", lambda *_: None)
    monkeypatch.setattr(targets, "verify_block", lambda *_: None)
    with pytest.raises(Found):
        hunt(TARGETS["certificate"], seed=1, count=2_000)
    monkeypatch.setattr(targets, "verify_delivery", lambda *_: None)
    with pytest.raises(Found):
        hunt(TARGETS["broadcast"], seed=1, count=2_000)


def test_a_parser_that_breaks_is_found(monkeypatch):
    from fuzz import targets

    def careless(frame, context):
        return frame[200]

    monkeypatch.setattr(targets.frames, "decode", careless)
    with pytest.raises(Found) as found:
        hunt(TARGETS["frame"], seed=1, count=2_000)
    assert isinstance(found.value.__cause__, IndexError)


def test_a_hunt_is_the_same_for_the_same_seed():
    def run(seed):
        seen = []
        hunt(Target(seen.append, lambda: [b"genuine", b"input" * 9], 64), seed, count=200)
        return seen

    assert run(5) == run(5)
    assert run(5) != run(6)
    assert max(map(len, run(5))) <= 64
    assert {len(data) for data in run(5)} > {0, 7, 45}


def test_a_broken_promise_is_an_error():
    with pytest.raises(Broken, match="what"):
        promise(holds=False, what="what")


def test_a_mutation_of_nothing_is_something():
    import random

    assert isinstance(mutate(random.Random(1), b"", b"", 10), bytes)
