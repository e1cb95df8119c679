"""Voids and abandonment: what a verdict takes back, and where the money of an epoch without a report goes."""

from dataclasses import replace

import pytest
from contract_world import (
    CHALLENGE_S,
    DISPUTE_TERMS,
    EPOCH_S,
    FIRST,
    FUNCTION,
    GENESIS_S,
    NETWORK,
    PARAMETERS,
    ClaimTree,
    World,
    account,
    key,
    refuses,
)

from meridian.contracts.calldata import ascending_words
from meridian.contracts.deployment import Terms
from meridian.contracts.statements import Unavailable
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import network_id

EACH = 1000
REPORT_S = 5 * EPOCH_S


def make_world(members: int = 4, **changes) -> World:
    world = World(disputes=DISPUTE_TERMS, report_seconds=REPORT_S, **changes)
    world.join_members(members)
    world.fund(FIRST, 50, EACH)
    return world


@pytest.fixture
def world() -> World:
    return make_world()


def tree_of(amount: int) -> ClaimTree:
    return ClaimTree({"n": (account("payee"), amount), "m": (account("other"), 1)})


def report(world, epoch, amount):
    tree = tree_of(amount)
    world.submit(world.report(epoch, tree.root, tree.total))
    return tree


def void(world, epoch, sender=None):
    return world.evaluations.send("void", epoch, sender=sender or world.judge)


def chain(world):
    read = world.evaluations.read
    return read("last_epoch"), read("last_total"), read("report_count"), read("last_report")


def test_a_void_takes_back_the_report_and_all_accepted_after_it(world):
    """The epochs are reported out of order: what counts is the chain, not the numbers."""
    world.ready(FIRST)
    for epoch in range(FIRST + 1, FIRST + 5):
        world.ready(epoch)
    order = (FIRST + 2, FIRST, FIRST + 4, FIRST + 1)
    trees, before = {}, {}
    for place, epoch in enumerate(order):
        before[epoch] = chain(world)
        trees[epoch] = report(world, epoch, 100 * (place + 1))
    hashes = {epoch: world.evaluations.read("report_hash", epoch) for epoch in order}
    previous = [world.evaluations.read("previous_epoch", epoch) for epoch in order]
    assert previous == [FIRST + 2, FIRST + 2, FIRST, FIRST + 4]
    events = void(world, FIRST).events
    assert [(event.name, event.args["epoch"]) for event in events] == [
        ("ReportVoided", epoch) for epoch in (FIRST + 1, FIRST + 4, FIRST)
    ]
    assert [event.args["report_hash"] for event in events] == [
        hashes[epoch] for epoch in (FIRST + 1, FIRST + 4, FIRST)
    ]
    assert chain(world) == before[FIRST]
    read = world.evaluations.read
    assert (read("term"), read("voiding")) == (1, False)
    for epoch in (FIRST, FIRST + 4, FIRST + 1):
        assert read("report_hash", epoch) == bytes(32)
        assert read("unlock_at", epoch) == 0
        assert world.rewards.read("allotment", epoch) == (bytes(32), 0, 0, 0)
    world.now_s += CHALLENGE_S
    for epoch in (FIRST, FIRST + 4, FIRST + 1):
        assert refuses(world.claim, trees[epoch].claim(epoch, "n")) == "rewards: unreported"
    world.claim(trees[FIRST + 2].claim(FIRST + 2, "n"))
    # All can be reported again, each within its own budget.
    stale = world.report(FIRST, trees[FIRST].root, trees[FIRST].total)
    assert refuses(world.submit, replace(stale, previous=hashes[FIRST + 1])) == (
        "evaluations: previous"
    )
    over = tree_of(100 + EACH)
    assert over.total == trees[FIRST + 2].total + EACH
    greedy = world.report(FIRST, over.root, over.total + 1)
    assert refuses(world.submit, greedy) == "rewards: budget"
    for place, epoch in enumerate((FIRST + 4, FIRST, FIRST + 1, FIRST + 3)):
        tree = report(world, epoch, 1000 * (place + 1))
    assert read("report_count") == 5
    world.now_s += CHALLENGE_S
    world.claim(tree.claim(FIRST + 3, "n"))
    assert world.balance(account("payee")) == 4000


def test_the_first_report_can_be_voided_and_so_can_its_successor(world):
    world.ready(FIRST)
    empty = chain(world)
    for term in (1, 2):
        report(world, FIRST, 10 * term)
        void(world, FIRST)
        assert chain(world) == empty
        assert world.evaluations.read("term") == term
    # Nothing is left to void: only the term goes on.
    assert void(world, FIRST).events == ()
    assert void(world, FIRST + 9).events == ()
    assert world.evaluations.read("term") == 4
    report(world, FIRST, 5)
    assert chain(world)[:3] == (FIRST, 6, 1)


def test_only_disputes_voids_and_only_while_the_report_is_locked(world):
    world.ready(FIRST)
    tree = report(world, FIRST, 10)
    assert refuses(void, world, FIRST, world.owner) == "evaluations: sender"
    world.now_s = world.evaluations.read("unlock_at", FIRST)
    assert refuses(void, world, FIRST) == "evaluations: unlocked"
    world.claim(tree.claim(FIRST, "n"))
    world.ready(FIRST + 1)
    report(world, FIRST + 1, 20)
    assert refuses(void, world, FIRST) == "evaluations: unlocked"
    world.now_s = world.evaluations.read("unlock_at", FIRST + 1) - 1
    assert len(void(world, FIRST + 1).events) == 1
    assert chain(world)[0] == FIRST


def test_a_void_of_very_many_reports_takes_several_calls_and_nobody_is_paid_meanwhile():
    world = make_world(members=1)
    n = 260
    world.now_s = GENESIS_S + (n + 1) * EPOCH_S
    world.registry.send("open_epochs", FIRST + 255)
    world.registry.send("open_epochs", FIRST + n)
    for epoch in range(FIRST, FIRST + n):
        world.commit(epoch)
    tree = report(world, FIRST, 10)
    world.now_s += CHALLENGE_S
    for epoch in range(FIRST + 1, FIRST + n):
        world.submit(world.report(epoch, tree.root, tree.total))
    send, read = world.evaluations.send, world.evaluations.read
    assert refuses(send, "continue_void") == "evaluations: no void"
    outcome = void(world, FIRST + 1)
    assert len(outcome.events) == 256
    assert outcome.gas("prague") < 5_000_000  # a full call fits well into any block
    assert read("voiding")
    assert not read("unlocked", FIRST)
    assert refuses(world.claim, tree.claim(FIRST, "n")) == "rewards: voiding"
    assert refuses(void, world, FIRST + 2) == "evaluations: voiding"
    fresh = world.report(FIRST + n - 1, tree.root, tree.total)
    assert refuses(world.submit, fresh) == "evaluations: voiding"
    world.now_s += 10 * CHALLENGE_S  # however late somebody goes on
    events = send("continue_void").events
    assert [event.args["epoch"] for event in events] == [FIRST + 3, FIRST + 2, FIRST + 1]
    assert (read("voiding"), read("report_count"), read("last_epoch")) == (False, 1, FIRST)
    world.claim(tree.claim(FIRST, "n"))


def test_an_epoch_without_a_report_is_abandoned_when_its_time_is_over(world):
    send = world.evaluations.send
    assert refuses(send, "abandon", FIRST) == "evaluations: not open"
    world.ready(FIRST)
    world.now_s = GENESIS_S + EPOCH_S + REPORT_S - 1
    assert refuses(send, "abandon", FIRST) == "evaluations: early"
    world.now_s += 1
    budget = world.rewards.read("budget", FIRST + 6)
    (event,) = send("abandon", FIRST).events
    assert (event.name, event.args) == (
        "Abandoned",
        {"epoch": FIRST, "atto": EACH, "to_epoch": FIRST + 6},
    )
    assert world.rewards.read("budget", FIRST + 6) == budget + EACH
    assert world.rewards.read("budget", FIRST + 7) == EACH
    assert world.evaluations.read("is_abandoned", FIRST)
    assert world.evaluations.read("report_hash", FIRST) == bytes(32)
    assert world.evaluations.read("report", FIRST)[0] == bytes(32)
    tree = tree_of(1)
    assert refuses(world.submit, world.report(FIRST, tree.root, 2)) == "evaluations: abandoned"
    for call in ("abandon", "renew"):
        assert refuses(send, call, FIRST) == "evaluations: abandoned"
    assert refuses(send, "declare_unavailable", FIRST, []) == "evaluations: abandoned"
    assert void(world, FIRST).events == ()
    assert world.evaluations.read("is_abandoned", FIRST)
    # The money is not lost: a later epoch gives it to its nodes.
    for epoch in range(FIRST + 1, FIRST + 7):
        world.ready(epoch)
    tree = tree_of(2 * EACH - 1)
    world.submit(world.report(FIRST + 6, tree.root, 2 * EACH))


def test_the_money_of_two_abandoned_epochs_meets_beyond_the_last_funded_one():
    world = World(report_seconds=0)
    world.join_members(1)
    world.fund(FIRST, 2, EACH)
    world.open(FIRST + 1)
    world.now_s += EPOCH_S
    for epoch in (FIRST, FIRST + 1):
        world.evaluations.send("abandon", epoch)
    assert world.rewards.read("funded_through") == FIRST + 2
    assert world.rewards.read("budget", FIRST + 2) == 2 * EACH
    # Nobody can put other terms under the money that moved.
    arguments = (FIRST + 2, FUNCTION, PARAMETERS, Terms().arguments)
    sender = world.owner
    refused = refuses(world.evaluations.send, "set_schedule", *arguments, sender=sender)
    assert refused == "evaluations: funded"
    world.evaluations.send("set_schedule", FIRST + 3, *arguments[1:], sender=sender)


def test_an_epoch_without_funds_is_abandoned_too():
    world = World(report_seconds=0)
    world.join_members(1)
    world.open(FIRST)
    world.now_s += EPOCH_S
    (event,) = world.evaluations.send("abandon", FIRST).events
    assert event.args == {"epoch": FIRST, "atto": 0, "to_epoch": FIRST + 1}
    assert world.rewards.read("funded_through") == FIRST - 1


def test_after_a_void_there_is_time_for_another_report(world):
    world.ready(FIRST)
    world.now_s = GENESIS_S + EPOCH_S + REPORT_S
    report(world, FIRST, 10)
    assert refuses(world.evaluations.send, "abandon", FIRST) == "evaluations: reported"
    void(world, FIRST)
    world.now_s += REPORT_S - 1
    assert refuses(world.evaluations.send, "abandon", FIRST) == "evaluations: early"
    world.now_s += 1
    world.evaluations.send("abandon", FIRST)


def unavailable(world, epoch, signers, *, network=NETWORK, commitment=None, domain=None):
    if commitment is None:
        commitment = world.commitments.read("epoch_digest", epoch)
    says = Unavailable(network, epoch, commitment).digest(domain or world.evaluations.domain)
    words = ascending_words({signer.address: signer.sign(says) for signer in signers})
    return world.evaluations.send("declare_unavailable", epoch, words)


def test_a_quorum_says_that_nothing_was_published():
    world = make_world(7, sealing_seconds=60)
    assert refuses(unavailable, world, FIRST, world.members) == "evaluations: not open"
    world.open(FIRST)
    assert refuses(unavailable, world, FIRST, world.members) == "evaluations: uncommitted"
    world.commit(FIRST)
    assert refuses(unavailable, world, FIRST, world.members) == "evaluations: early"
    tree = tree_of(1)
    early = world.report(FIRST, tree.root, tree.total)
    assert refuses(world.submit, early) == "evaluations: early"
    assert world.evaluations.read("ready_at", FIRST) == world.now_s + 60
    world.now_s += 60
    members = world.members
    assert refuses(unavailable, world, FIRST, members[:4]) == "evaluations: quorum"
    strangers = [*members[:4], key("stranger")]
    assert refuses(unavailable, world, FIRST, strangers) == "evaluations: signer"
    for changes in (
        {"network": network_id("other")},
        {"commitment": sha256(b"other")},
        {"domain": world.registry.domain},
    ):
        refused = refuses(unavailable, world, FIRST, members[:5], **changes)
        assert refused in {"evaluations: signer", "evaluations: order"}
    (event,) = unavailable(world, FIRST, members[:5]).events
    assert event.args == {"epoch": FIRST, "atto": EACH, "to_epoch": FIRST + 1}
    assert refuses(world.submit, early) == "evaluations: abandoned"


def test_a_reported_epoch_is_not_unavailable(world):
    world.ready(FIRST)
    report(world, FIRST, 10)
    assert refuses(unavailable, world, FIRST, world.members) == "evaluations: reported"


def test_the_terms_of_a_version_are_stored_and_bounded(world):
    given = Terms(4, 250_000, 750_000, 128, 2**96 - 1)

    def schedule(first, terms):
        arguments = (first, FUNCTION, PARAMETERS, terms.arguments)
        return world.evaluations.send("set_schedule", *arguments, sender=world.owner)

    first = FIRST + 50
    for terms, reason in (
        (replace(given, rule=5), "evaluations: rule"),
        (replace(given, evaluators_ppm=250_001), "evaluations: shares"),
        (replace(given, aggregators_ppm=2**32 - 1), "evaluations: shares"),
        (replace(given, committee_size=129), "evaluations: committee"),
    ):
        assert refuses(schedule, first, terms) == reason
    assert refuses(schedule, 2**48, given) == "evaluations: epoch"
    (event,) = schedule(first, given).events
    assert event.args == {
        "version": 2,
        "first_epoch": first,
        "function_digest": FUNCTION,
        "parameters_digest": PARAMETERS,
        "rule": 4,
        "evaluators_ppm": 250_000,
        "aggregators_ppm": 750_000,
        "committee_size": 128,
        "committee_stake_min": 2**96 - 1,
    }
    read = world.evaluations.read
    assert read("terms", first) == given.arguments
    assert read("terms", first - 1) == Terms().arguments
    assert read("committee_rule", 2**60) == (128, 2**96 - 1)
    assert refuses(read, "terms", FIRST - 1) == "evaluations: epoch"
    assert refuses(read, "ready_at", FIRST - 1) == "evaluations: epoch"


def test_the_schedule_has_room_for_65535_versions(world):
    """The counter is set to its end: nobody waits for 65,534 transactions."""
    layout_slot = 1  # `state`, behind `hashes`
    state = world.env.get_storage("0x" + world.evaluations.address.hex(), layout_slot)
    full = (state & ~(0xFFFF << 128)) | (0xFFFF << 128)
    world.env.set_storage("0x" + world.evaluations.address.hex(), layout_slot, full)
    assert world.evaluations.read("version_count") == 0xFFFF
    arguments = (FIRST + 60, FUNCTION, PARAMETERS, Terms().arguments)
    refused = refuses(world.evaluations.send, "set_schedule", *arguments, sender=world.owner)
    assert refused == "evaluations: versions"


def test_only_standing_commitments_are_reported():
    world = make_world(aggregators=2)
    world.ready(FIRST)
    (event,) = [e.args for e in world.commit(FIRST, 1).events]
    names = ("root", "n_nodes", "annotation", "manifest")
    content = [event[name] for name in names]
    stale = world.report(FIRST, tree_of(1).root, 2)
    report(world, FIRST, 10)

    def judge(place):
        world.commitments.send(
            "void", FIRST, world.aggregators[place], *content, sender=world.judge
        )
        void(world, FIRST)

    judge(1)
    assert refuses(world.submit, stale) == "evaluations: commitment"
    report(world, FIRST, 20)
    judge(0)
    # The digest goes on, but nothing stands.
    assert world.commitments.read("epoch_digest", FIRST) != bytes(32)
    assert refuses(world.submit, world.report(FIRST, tree_of(1).root, 2)) == (
        "evaluations: uncommitted"
    )
    assert refuses(unavailable, world, FIRST, world.members) == "evaluations: uncommitted"
    # Only time ends such an epoch, if nobody replaces the commitment.
    world.now_s += REPORT_S
    world.evaluations.send("abandon", FIRST)
