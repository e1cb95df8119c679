"""Commitments: one for each epoch and aggregator, in order, after the epoch's end, for good."""

import pytest
from contract_world import EPOCH_S, FIRST, GENESIS_S, World, account, refuses

from meridian.primitives.hashing import EPOCH_DIGEST, sha256, tagged
from meridian.primitives.ids import ZERO_ADDRESS, address_text

ROOT, MANIFEST, ANNOTATION = sha256(b"root"), sha256(b"manifest"), bytes(range(24))


@pytest.fixture
def world() -> World:
    return World(aggregators=2)


def commit(world, epoch, aggregator=0, root=ROOT):
    sender = world.aggregators[aggregator]
    arguments = (epoch, root, 7, ANNOTATION, MANIFEST)
    return world.commitments.send("commit", *arguments, sender=sender)


def test_the_digest_runs_over_all_commitments_of_the_epoch(world):
    world.now_s = GENESIS_S + EPOCH_S
    expected = bytes(32)
    for place, aggregator in enumerate(world.aggregators):
        (event,) = commit(world, FIRST, place).events
        content = (ROOT, (7).to_bytes(8, "big"), ANNOTATION, MANIFEST)
        expected = tagged(EPOCH_DIGEST, expected, aggregator, *content)
        assert event.args == {
            "epoch": FIRST,
            "aggregator": address_text(aggregator),
            "root": ROOT,
            "n_nodes": 7,
            "annotation": ANNOTATION,
            "manifest": MANIFEST,
            "digest": expected,
        }
        assert world.commitments.read("epoch_digest", FIRST) == expected
    assert world.commitments.read("epoch_digest", FIRST + 1) == bytes(32)


def test_an_aggregator_commits_to_every_epoch_once_in_order_after_its_end(world):
    world.now_s = GENESIS_S + EPOCH_S - 1
    assert refuses(commit, world, FIRST) == "commitments: early"
    assert refuses(commit, world, FIRST + 1) == "commitments: order"
    assert refuses(commit, world, FIRST - 1) == "commitments: order"
    world.now_s += 1
    assert refuses(commit, world, FIRST, root=bytes(32)) == "commitments: root"
    commit(world, FIRST)
    assert refuses(commit, world, FIRST) == "commitments: order"
    assert refuses(commit, world, FIRST + 1) == "commitments: early"
    world.now_s += 10 * EPOCH_S
    commit(world, FIRST + 1)
    commit(world, FIRST, 1)
    turns = [world.commitments.read("next_epoch", a) for a in world.aggregators]
    assert turns == [FIRST + 2, FIRST + 1]


def test_only_listed_aggregators_commit(world):
    arguments = (FIRST, ROOT, 7, ANNOTATION, MANIFEST)
    assert refuses(world.commitments.send, "commit", *arguments) == "commitments: aggregator"
    stranger = account("stranger")
    assert refuses(world.commitments.read, "next_epoch", stranger) == "commitments: aggregator"
    listed = tuple(address_text(a) for a in world.aggregators)
    assert world.commitments.read("aggregators") == listed


def test_lists_that_are_empty_or_name_one_twice_or_nobody_are_refused(world):
    one = account("one")
    for listed in ([], [one, one], [one, ZERO_ADDRESS]):
        arguments = (world.registry.address, listed)
        assert refuses(world.deploy, "Commitments", *arguments) == "commitments: aggregators"
