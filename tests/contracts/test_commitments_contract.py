"""Commitments: one for each epoch and aggregator, in order, after the epoch's end; only a verdict takes its effect."""

from dataclasses import replace

import pytest
from contract_world import (
    EPOCH_S,
    EXIT_DELAY_S,
    FAR_S,
    FIRST,
    GENESIS_S,
    NETWORK,
    NODE_STAKE,
    ClaimTree,
    Contract,
    World,
    account,
    key,
    refuses,
)

from meridian.contracts.calldata import signature_words
from meridian.contracts.statements import SelfCommit
from meridian.measure.commitment import committed_root
from meridian.measure.epoch_digest import (
    NO_DIGEST,
    commitment_record,
    fold_commitment,
    fold_self,
    fold_void,
)
from meridian.primitives.hashing import EMPTY_TREE, sha256
from meridian.primitives.ids import ZERO_ADDRESS, address_text, node_key

TREE, MANIFEST, ANNOTATION = sha256(b"tree"), sha256(b"manifest"), bytes(range(24))
DISPUTES = account("disputes")
OPERATOR = key("operator")
SEALING_S = 90
STAKE = 5


@pytest.fixture
def world() -> World:
    return World(aggregators=2)


@pytest.fixture
def judged() -> World:
    """A network with three aggregators whose commitments this test, as Disputes, may void."""
    return deploy(World(aggregators=3))


def deploy(world: World, *, stake_min: int = 0, sealing_s: int = SEALING_S) -> World:
    """Put another Commitments beside the world's, with an account that acts as Disputes."""
    listed = list(world.aggregators)
    arguments = (world.registry.address, DISPUTES, listed, stake_min, sealing_s)
    world.put("commitments", "Commitments", *arguments)
    world.give(DISPUTES)
    return world


def commit(world, epoch, aggregator=0, tree=TREE, n=7, annotation=ANNOTATION):
    arguments = (epoch, tree, n, annotation, MANIFEST)
    return world.commitments.send("commit", *arguments, sender=world.aggregators[aggregator])


def substitute(world, epoch, voided, by, tree=TREE):
    arguments = (epoch, world.aggregators[voided], tree, 7, ANNOTATION, MANIFEST)
    return world.commitments.send("replace", *arguments, sender=world.aggregators[by])


def content(epoch, tree=TREE):
    return committed_root(epoch, 7, tree + ANNOTATION), 7, ANNOTATION, MANIFEST


def void(world, epoch, aggregator, tree=TREE, sender=DISPUTES):
    arguments = (epoch, world.aggregators[aggregator], *content(epoch, tree))
    return world.commitments.send("void", *arguments, sender=sender)


def ended(world, epoch=FIRST):
    world.now_s = GENESIS_S + (epoch - FIRST + 1) * EPOCH_S


def test_the_digest_runs_over_all_commitments_of_the_epoch(world):
    ended(world)
    expected = NO_DIGEST
    for place, aggregator in enumerate(world.aggregators):
        (event,) = commit(world, FIRST, place).events
        expected = fold_commitment(expected, aggregator, *content(FIRST))
        assert event.args == {
            "epoch": FIRST,
            "aggregator": address_text(aggregator),
            "root": content(FIRST)[0],
            "n_nodes": 7,
            "annotation": ANNOTATION,
            "manifest": MANIFEST,
            "digest": expected,
        }
        assert world.commitments.read("epoch_digest", FIRST) == expected
        record = world.commitments.read("record", FIRST, aggregator)
        assert record == commitment_record(*content(FIRST))
        assert world.commitments.read("standing", FIRST) == place + 1
    assert world.commitments.read("epoch_digest", FIRST + 1) == NO_DIGEST
    assert world.commitments.read("standing", FIRST + 1) == 0


def test_a_commitment_is_known_by_all_that_it_says(world):
    ended(world)
    commit(world, FIRST)
    good = (FIRST, world.aggregators[0], *content(FIRST))
    assert world.commitments.read("is_commitment", *good)
    others = (FIRST + 1, world.aggregators[1], sha256(b"?"), 8, bytes(24), sha256(b"?"))
    for place, other in enumerate(others):
        changed = (*good[:place], other, *good[place + 1 :])
        assert not world.commitments.read("is_commitment", *changed)


def test_an_aggregator_commits_to_every_epoch_once_in_order_after_its_end(world):
    ended(world)
    world.now_s -= 1
    assert refuses(commit, world, FIRST) == "commitments: early"
    assert refuses(commit, world, FIRST + 1) == "commitments: order"
    assert refuses(commit, world, FIRST - 1) == "commitments: order"
    world.now_s += 1
    commit(world, FIRST)
    assert refuses(commit, world, FIRST) == "commitments: order"
    assert refuses(commit, world, FIRST + 1) == "commitments: early"
    world.now_s += 10 * EPOCH_S
    commit(world, FIRST + 1)
    commit(world, FIRST, 1)
    turns = [world.commitments.read("next_epoch", a) for a in world.aggregators]
    assert turns == [FIRST + 2, FIRST + 1]


def test_an_epoch_without_nodes_has_the_empty_tree_and_no_sums(world):
    ended(world)
    empty = (EMPTY_TREE, bytes(24))
    for tree, annotation in ((TREE, empty[1]), (empty[0], ANNOTATION)):
        reason = refuses(commit, world, FIRST, tree=tree, n=0, annotation=annotation)
        assert reason == "commitments: empty"
    (event,) = commit(world, FIRST, tree=empty[0], n=0, annotation=empty[1]).events
    assert event.args["root"] == committed_root(FIRST, 0, b"".join(empty))


def test_only_listed_aggregators_commit(world):
    arguments = (FIRST, TREE, 7, ANNOTATION, MANIFEST)
    for call in (("commit", *arguments), ("join",), ("leave",), ("skip",)):
        assert refuses(world.commitments.send, *call) == "commitments: aggregator"
    assert refuses(substitute_by_stranger, world) == "commitments: aggregator"
    stranger = account("stranger")
    assert refuses(world.commitments.read, "next_epoch", stranger) == "commitments: aggregator"
    assert world.commitments.read("aggregator", stranger) == (False, 0, 0, False)
    listed = tuple(address_text(a) for a in world.aggregators)
    assert world.commitments.read("aggregators") == listed


def substitute_by_stranger(world):
    arguments = (FIRST, world.aggregators[0], TREE, 7, ANNOTATION, MANIFEST)
    return world.commitments.send("replace", *arguments)


def test_bad_deployments_are_refused(world):
    one = account("one")
    for listed in ([], [one, one], [one, ZERO_ADDRESS]):
        arguments = (world.registry.address, ZERO_ADDRESS, listed, 0, 0)
        assert refuses(world.deploy, "Commitments", *arguments) == "commitments: aggregators"
    arguments = (world.registry.address, ZERO_ADDRESS, [one], 0, 2**32 + 1)
    assert refuses(world.deploy, "Commitments", *arguments) == "commitments: delay"


# ---- stakes


def test_an_aggregator_with_stake_joins_leaves_and_gets_it_back_after_the_delay():
    world = deploy(World(), stake_min=STAKE)
    (holder,) = world.aggregators

    def send(*call, value=0):
        return world.commitments.send(*call, sender=holder, value=value)

    assert refuses(commit, world, FIRST) == "commitments: aggregator"
    assert refuses(send, "join", value=STAKE - 1) == "commitments: stake"
    assert refuses(send, "join", value=1 << 96) == "commitments: stake"
    world.now_s = GENESIS_S + 3 * EPOCH_S
    (event,) = send("join", value=STAKE).events
    assert event.args["first"] == FIRST + 3
    assert refuses(send, "join", value=STAKE) == "commitments: joined"
    assert world.commitments.read("aggregator", holder) == (True, STAKE, 0, False)
    assert refuses(send, "withdraw") == "commitments: locked"
    world.now_s += EPOCH_S
    send("leave")
    assert refuses(send, "leave") == "commitments: left"
    world.now_s += 2 * EPOCH_S
    commit(world, FIRST + 3)
    commit(world, FIRST + 4)  # running when it left
    assert refuses(commit, world, FIRST + 5) == "commitments: left"
    assert refuses(substitute, world, FIRST, 0, 0) == "commitments: left"
    assert refuses(send, "withdraw") == "commitments: locked"
    world.now_s += EXIT_DELAY_S
    before = world.balance(holder)
    send("withdraw")
    assert world.balance(holder) - before == STAKE
    assert refuses(send, "withdraw") == "commitments: locked"
    assert refuses(commit, world, FIRST + 5) == "commitments: aggregator"
    send("join", value=STAKE)


def test_a_stake_that_its_owner_refuses_stays():
    world = World()
    world.aggregators = [world.contract_that_refuses()]
    deploy(world, stake_min=STAKE)
    (holder,) = world.aggregators
    world.give(holder)
    world.commitments.send("join", sender=holder, value=STAKE)
    world.commitments.send("leave", sender=holder)
    world.now_s += EXIT_DELAY_S
    refused = refuses(world.commitments.send, "withdraw", sender=holder)
    assert refused == "commitments: payment"
    assert world.balance(world.commitments.address) == STAKE


def test_only_disputes_slashes_and_the_slashed_never_comes_back():
    world = deploy(World(aggregators=2), stake_min=STAKE)
    holder, other = world.aggregators
    for one in (holder, other):
        world.commitments.send("join", sender=one, value=STAKE)
    assert refuses(world.commitments.send, "slash", holder) == "commitments: sender"
    stranger = account("stranger")
    refused = refuses(world.commitments.send, "slash", stranger, sender=DISPUTES)
    assert refused == "commitments: aggregator"
    world.commitments.send("leave", sender=holder)  # still slashable
    before = world.balance(DISPUTES)
    outcome = world.commitments.send("slash", holder, sender=DISPUTES)
    assert (outcome.value, world.balance(DISPUTES) - before) == (STAKE, STAKE)
    again = world.commitments.send("slash", holder, sender=DISPUTES)
    assert (again.value, again.events) == (0, ())
    world.now_s += 2 * EXIT_DELAY_S
    assert refuses(commit, world, FIRST) == "commitments: aggregator"
    send = world.commitments.send
    assert refuses(send, "join", sender=holder, value=STAKE) == "commitments: slashed"
    assert refuses(send, "withdraw", sender=holder) == "commitments: locked"
    assert world.commitments.read("aggregator", holder) == (False, 0, 0, True)
    assert world.balance(world.commitments.address) == STAKE  # the other's


# ---- voids and replacements


def test_a_void_changes_the_digest_and_leaves_the_others(judged):
    ended(judged)
    for place in (0, 1):
        commit(judged, FIRST, place)
    before = judged.commitments.read("epoch_digest", FIRST)
    assert refuses(void, judged, FIRST, 0, sender=judged.someone) == "commitments: sender"
    assert refuses(void, judged, FIRST, 2) == "commitments: record"
    assert refuses(void, judged, FIRST, 0, sha256(b"?")) == "commitments: record"
    (event,) = void(judged, FIRST, 0).events
    root = content(FIRST)[0]
    expected = fold_void(before, judged.aggregators[0], root)
    assert event.args == {
        "epoch": FIRST,
        "aggregator": address_text(judged.aggregators[0]),
        "root": root,
        "digest": expected,
    }
    assert judged.commitments.read("epoch_digest", FIRST) == expected
    assert judged.commitments.read("standing_digest", FIRST) == expected
    assert judged.commitments.read("standing", FIRST) == 1
    said = (FIRST, judged.aggregators[0], *content(FIRST))
    assert not judged.commitments.read("is_commitment", *said)
    assert refuses(void, judged, FIRST, 0) == "commitments: record"


def test_an_epoch_in_which_nothing_stands_has_no_digest_until_somebody_commits(judged):
    ended(judged)
    commit(judged, FIRST)
    folded = judged.commitments.read("epoch_digest", FIRST)
    (event,) = void(judged, FIRST, 0).events
    folded = fold_void(folded, judged.aggregators[0], content(FIRST)[0])
    assert event.args["digest"] == folded
    assert judged.commitments.read("standing_digest", FIRST) == NO_DIGEST
    assert judged.commitments.read("epoch_digest", FIRST) == folded
    commit(judged, FIRST, 1)
    folded = fold_commitment(folded, judged.aggregators[1], *content(FIRST))
    assert judged.commitments.read("epoch_digest", FIRST) == folded


def test_a_voided_commitment_is_replaced_once_before_the_report(judged):
    reporting = Contract(judged, "Commitments", judged.addresses.commitments)
    judged.join_members(4)
    judged.open(FIRST)
    ended(judged)
    commit(judged, FIRST)
    assert refuses(substitute, judged, FIRST, 0, 1) == "commitments: not void"
    void(judged, FIRST, 0)
    assert refuses(substitute, judged, FIRST, 0, 0) == "commitments: committed"
    outcome = substitute(judged, FIRST, 0, 1)
    committed, replaced = outcome.events
    assert committed.args["aggregator"] == address_text(judged.aggregators[1])
    assert replaced.args["voided"] == address_text(judged.aggregators[0])
    assert refuses(substitute, judged, FIRST, 0, 2) == "commitments: not void"
    assert judged.commitments.read("standing", FIRST) == 1
    # The one who replaced has no second commitment of the epoch; its own turn goes on behind it.
    assert refuses(commit, judged, FIRST, 1) == "commitments: committed"
    judged.commitments.send("skip", sender=judged.aggregators[1])
    assert judged.commitments.read("next_epoch", judged.aggregators[1]) == FIRST + 1
    refused = refuses(judged.commitments.send, "skip", sender=judged.aggregators[1])
    assert refused == "commitments: order"
    # The replacement can be voided too; once a report stands, nobody replaces it any more.
    void(judged, FIRST, 1)
    judged.commitments, beside = reporting, judged.commitments
    judged.commit(FIRST)
    judged.submit(judged.report(FIRST, ClaimTree({}).root, 0))
    judged.commitments = beside
    assert refuses(substitute, judged, FIRST, 1, 2) == "commitments: reported"


def test_without_disputes_nobody_can_void(world):
    ended(world)
    commit(world, FIRST)
    for sender in (ZERO_ADDRESS, DISPUTES, world.owner):
        world.give(sender)
        if sender != ZERO_ADDRESS:
            assert refuses(void, world, FIRST, 0, sender=sender) == "commitments: sender"


# ---- nodes that commit themselves


def self_commit(world, node="n", signer=OPERATOR, *, domain=None, **changes):
    statement = SelfCommit(NETWORK, FIRST, node_key(node), TREE, ANNOTATION, MANIFEST, FAR_S)
    signed = replace(statement, **changes)
    words = signature_words(signer.sign(signed.digest(domain or world.commitments.domain)))
    says = statement if changes.get("network") else signed
    return world.commitments.send("self_commit", *says.arguments, *words)


@pytest.fixture
def sealing(judged) -> World:
    entry = judged.node_registration(OPERATOR, "n", account("payee")).arguments
    judged.registry.send("register_nodes", [entry], value=NODE_STAKE)
    ended(judged)
    return judged


def test_a_node_commits_itself_once_in_the_sealing_window(sealing):
    sealing.now_s -= 1
    assert refuses(self_commit, sealing) == "commitments: early"
    sealing.now_s += 1 + SEALING_S * 2 // 3
    assert refuses(self_commit, sealing) == "commitments: late"
    sealing.now_s -= 1
    (event,) = self_commit(sealing).events
    folded = fold_self(NO_DIGEST, node_key("n"), TREE, ANNOTATION, MANIFEST)
    assert event.args == {
        "epoch": FIRST,
        "node_key": node_key("n"),
        "tree_hash": TREE,
        "annotation": ANNOTATION,
        "segment": MANIFEST,
        "digest": folded,
    }
    assert refuses(self_commit, sealing) == "commitments: committed"
    assert sealing.commitments.read("self_commitments", FIRST) == 1
    assert sealing.commitments.read("epoch_digest", FIRST) == folded
    assert sealing.commitments.read("standing_digest", FIRST) == NO_DIGEST
    commit(sealing, FIRST)
    folded = fold_commitment(folded, sealing.aggregators[0], *content(FIRST))
    assert sealing.commitments.read("epoch_digest", FIRST) == folded
    entry = sealing.node_registration(OPERATOR, "m", account("payee")).arguments
    sealing.registry.send("register_nodes", [entry], value=NODE_STAKE)
    self_commit(sealing, "m")
    folded = fold_self(folded, node_key("m"), TREE, ANNOTATION, MANIFEST)
    assert sealing.commitments.read("epoch_digest", FIRST) == folded
    ready = GENESIS_S + EPOCH_S + SEALING_S
    assert sealing.commitments.read("ready_at", FIRST) == ready


def test_only_what_the_nodes_operator_signed_is_committed(sealing):
    assert refuses(self_commit, sealing, "unknown") == "commitments: node"
    assert refuses(self_commit, sealing, signer=key("else")) == "commitments: signature"
    assert refuses(self_commit, sealing, network=bytes(32)[:31] + b"\1") == "commitments: signature"
    other = sealing.registry.domain
    assert refuses(self_commit, sealing, domain=other) == "commitments: signature"
    late = sealing.now_s - 1
    assert refuses(self_commit, sealing, deadline_s=late) == "commitments: deadline"
    assert refuses(self_commit, sealing, epoch=FIRST - 1) == "commitments: epoch"
    sealing.registry.send("leave_node", node_key("n"), sender=OPERATOR.address)
    assert refuses(self_commit, sealing) == "commitments: node"


def test_without_a_sealing_time_no_node_commits_itself():
    world = deploy(World(), sealing_s=0)
    ended(world)
    assert refuses(self_commit, world) == "commitments: late"
