"""Committees: who is chosen under a rule, who stands by, and what a verdict changes."""

import pytest
from contract_world import (
    CHALLENGE_S,
    DISPUTE_TERMS,
    EVALUATOR_STAKE,
    EXIT_DELAY_S,
    FIRST,
    FUNCTION,
    PARAMETERS,
    World,
    account,
    key,
    refuses,
)
from test_rewards_contract import calls_back

from meridian.contracts.deployment import Terms
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import ZERO_ADDRESS, address_text

ROOT = sha256(b"reward root")
MEMBERS = sorted((key(f"member {i}") for i in range(8)), key=lambda member: member.address)


def world_of(stakes, **terms) -> World:
    world = World(disputes=DISPUTE_TERMS, terms=Terms(**terms))
    world.members = MEMBERS[: len(stakes)]
    for member, stake in zip(world.members, stakes, strict=True):
        world.join(member, EVALUATOR_STAKE + stake)
    return world


def committee(world, epoch=FIRST):
    """The places in `MEMBERS` of the epoch's members."""
    order = {address_text(member.address): place for place, member in enumerate(MEMBERS)}
    return [order[member] for member in world.registry.read("committee", epoch)]


def slash(world, place, sender=None):
    return world.registry.send(
        "slash_evaluator", MEMBERS[place].address, sender=sender or world.judge
    )


@pytest.mark.parametrize(
    ("stakes", "terms", "chosen"),
    [
        ([0] * 5, {}, [0, 1, 2, 3, 4]),
        ([0, 9, 3, 9, 1], {}, [0, 1, 2, 3, 4]),
        ([0, 9, 3, 9, 1], {"committee_size": 5}, [0, 1, 2, 3, 4]),
        ([0, 9, 3, 9, 1], {"committee_size": 3}, [1, 2, 3]),
        ([0, 9, 3, 9, 1], {"committee_size": 1}, [1]),
        ([7] * 5, {"committee_size": 3}, [0, 1, 2]),
        ([7, 7, 8, 7, 7], {"committee_size": 3}, [0, 1, 2]),
        ([1, 2, 3, 4, 5], {"committee_stake_min_atto": EVALUATOR_STAKE + 3}, [2, 3, 4]),
        (
            [1, 2, 3, 4, 5],
            {"committee_stake_min_atto": EVALUATOR_STAKE + 2, "committee_size": 2},
            [3, 4],
        ),
        ([1, 2, 3], {"committee_stake_min_atto": EVALUATOR_STAKE + 3, "committee_size": 2}, [2]),
    ],
)
def test_the_highest_stakes_are_chosen_and_of_equal_ones_the_lower_addresses(stakes, terms, chosen):
    world = world_of(stakes, **terms)
    (event,) = world.open(FIRST).events
    assert committee(world) == chosen
    assert event.args["n"] == len(chosen)
    assert len(world.registry.read("active_evaluators")) == len(stakes)
    assert world.registry.read("standing", FIRST) == len(chosen)
    assert world.registry.read("standing", FIRST + 1) == 0


def test_an_epoch_waits_while_nobody_has_the_stake():
    world = world_of([1, 2], committee_stake_min_atto=EVALUATOR_STAKE + 3)
    assert refuses(world.open, FIRST) == "registry: no evaluators"
    world.join(MEMBERS[2], EVALUATOR_STAKE + 3)
    world.open(FIRST)
    assert committee(world) == [2]


def test_one_call_opens_epochs_of_several_rules():
    world = world_of([1, 5, 3, 2], committee_size=2)
    for first, terms in (
        (FIRST + 2, Terms(committee_size=3)),
        (FIRST + 4, Terms(committee_stake_min_atto=EVALUATOR_STAKE + 5)),
        (FIRST + 5, Terms()),
    ):
        arguments = (first, FUNCTION, PARAMETERS, terms.arguments)
        world.evaluations.send("set_schedule", *arguments, sender=world.owner)
    events = world.open(FIRST + 6).events
    expected = [[1, 2], [1, 2], [1, 2, 3], [1, 2, 3], [1], [0, 1, 2, 3], [0, 1, 2, 3]]
    assert [committee(world, FIRST + i) for i in range(7)] == expected
    assert [event.args["set_id"] for event in events] == [1, 1, 2, 2, 3, 4, 4]
    world.open(FIRST + 7)
    assert world.registry.read("epoch_set", FIRST + 7) == 4
    assert world.evaluations.read("committee_rule", FIRST) == (2, 0)
    assert world.evaluations.read("committee_rule", FIRST + 4) == (0, EVALUATOR_STAKE + 5)


def test_a_standby_member_moves_up_when_a_member_leaves():
    world = world_of([9, 8, 7, 6], committee_size=3)
    world.open(FIRST)
    world.registry.send("leave_evaluator", sender=MEMBERS[0].address)
    world.open(FIRST + 1)
    assert committee(world) == [0, 1, 2]
    assert committee(world, FIRST + 1) == [1, 2, 3]


def test_only_disputes_slashes_and_only_evaluations_renews():
    world = world_of([0])
    world.open(FIRST)
    assert refuses(slash, world, 0, account("stranger")) == "registry: sender"
    assert refuses(world.registry.send, "renew", FIRST) == "registry: sender"
    sender = world.addresses.evaluations
    refused = refuses(world.registry.send, "renew", FIRST + 1, sender=sender)
    assert refused == "registry: not open"
    for member in MEMBERS[:1]:
        world.registry.send("leave_evaluator", sender=member.address)
    assert refuses(world.registry.send, "renew", FIRST, sender=sender) == "registry: no evaluators"


def test_a_verdict_takes_the_whole_stake_and_bars_the_account():
    world = world_of([5, 6, 7])
    outcome = slash(world, 1)
    (event,) = outcome.events
    assert (event.name, event.args["amount"]) == ("Slashed", EVALUATOR_STAKE + 6)
    assert outcome.value == EVALUATOR_STAKE + 6
    assert world.balance(world.judge) == EVALUATOR_STAKE + 6
    assert world.balance(world.registry.address) == 2 * EVALUATOR_STAKE + 12
    assert world.registry.read("evaluator", MEMBERS[1].address)[0] == 0
    assert world.registry.read("is_slashed", MEMBERS[1].address)
    assert not world.registry.read("is_slashed", MEMBERS[0].address)
    assert refuses(world.join, MEMBERS[1]) == "registry: slashed"
    send, address = world.registry.send, MEMBERS[1].address
    assert refuses(send, "leave_evaluator", sender=address) == "registry: no evaluator"
    world.now_s += EXIT_DELAY_S
    assert refuses(send, "withdraw_evaluator", sender=address) == "registry: locked"
    again = slash(world, 1)
    assert (again.value, again.events) == (0, ())
    world.open(FIRST)
    assert committee(world) == [0, 2]
    # The others' places in the list are still right: each can leave.
    for place in (0, 2):
        send("leave_evaluator", sender=MEMBERS[place].address)


def test_who_is_leaving_can_be_slashed_until_the_stake_is_withdrawn():
    world = world_of([1, 2, 3])
    send = world.registry.send
    for place in (0, 1):
        send("leave_evaluator", sender=MEMBERS[place].address)
    assert slash(world, 0).value == EVALUATOR_STAKE + 1
    world.now_s += EXIT_DELAY_S
    refused = refuses(send, "withdraw_evaluator", sender=MEMBERS[0].address)
    assert refused == "registry: locked"
    send("withdraw_evaluator", sender=MEMBERS[1].address)
    # Too late for the money, but not for the ban; nobody else loses anything.
    assert slash(world, 1).value == 0
    assert refuses(world.join, MEMBERS[1]) == "registry: slashed"
    assert slash(world, 5).value == 0
    assert refuses(world.join, MEMBERS[5]) == "registry: slashed"
    assert world.balance(world.registry.address) == EVALUATOR_STAKE + 3
    assert world.registry.read("active_evaluators") == (address_text(MEMBERS[2].address),)


def test_a_judge_that_refuses_money_takes_no_stake():
    world = world_of([1])
    world.env.set_code(address_text(world.judge), bytes.fromhex("5f5ffd"))
    assert refuses(slash, world, 0) == "registry: payment"
    assert world.registry.read("evaluator", MEMBERS[0].address)[0] == EVALUATOR_STAKE + 1


def test_without_disputes_nobody_slashes():
    world = World()
    world.join(MEMBERS[0])
    for sender in (world.someone, world.owner, account("deployer")):
        assert refuses(slash, world, 0, sender) == "registry: sender"
    assert world.registry.read("disputes") == address_text(ZERO_ADDRESS)


def test_standby_members_take_over_an_epoch_whose_members_were_slashed():
    world = world_of([9, 8, 7, 6, 5, 4, 3], committee_size=4)
    world.fund(FIRST, 5, 1000)
    world.ready(FIRST)
    assert world.evaluations.read("quorum", FIRST) == 3
    renew = world.evaluations.send
    assert refuses(renew, "renew", FIRST) == "evaluations: standing"
    slash(world, 0)
    # Three of four still make a quorum.
    assert refuses(renew, "renew", FIRST) == "evaluations: standing"
    slash(world, 1)
    assert world.registry.read("standing", FIRST) == 2
    opened, renewed = renew("renew", FIRST).events
    assert opened.args == {"epoch": FIRST, "set_id": 2, "n": 4}
    assert renewed.args == {"epoch": FIRST, "set_id": 2, "term": 1}
    assert committee(world) == [2, 3, 4, 5]
    assert world.evaluations.read("term") == 1
    assert refuses(renew, "renew", FIRST) == "evaluations: standing"
    report = world.report(FIRST, ROOT, 10)
    assert world.evaluations.read("quorum", FIRST) == 3
    old = refuses(world.submit, report, MEMBERS[:3], transmitter=MEMBERS[0])
    assert old == "evaluations: signer"
    world.submit(report, MEMBERS[2:5], transmitter=MEMBERS[2])
    assert refuses(renew, "renew", FIRST) == "evaluations: reported"
    assert refuses(renew, "renew", FIRST + 1) == "evaluations: not open"


def test_a_renewed_set_of_an_old_rule_is_not_taken_for_the_next_epoch():
    world = world_of([9, 8, 7, 6], committee_size=2)
    arguments = (FIRST + 1, FUNCTION, PARAMETERS, Terms(committee_size=3).arguments)
    world.evaluations.send("set_schedule", *arguments, sender=world.owner)
    world.open(FIRST + 1)
    assert [committee(world, FIRST + i) for i in range(2)] == [[0, 1], [0, 1, 2]]
    slash(world, 0)
    world.open(FIRST + 2)
    assert committee(world, FIRST + 2) == [1, 2, 3]
    world.evaluations.send("renew", FIRST)
    assert committee(world) == [1, 2]
    world.open(FIRST + 3)
    assert committee(world, FIRST + 3) == [1, 2, 3]


def test_a_voided_epoch_is_decided_by_who_stood_by():
    world = world_of([9, 8, 7, 6, 5, 4], committee_size=3)
    world.fund(FIRST, 5, 1000)
    world.ready(FIRST)
    world.submit(world.report(FIRST, sha256(b"lie"), 10), MEMBERS[:3])
    for place in range(3):
        slash(world, place)
    world.evaluations.send("void", FIRST, sender=world.judge)
    # Who was slashed has nothing more to lose; nobody waits for the next verdict.
    again = world.report(FIRST, sha256(b"lie"), 10)
    assert refuses(world.submit, again, MEMBERS[:3]) == "evaluations: renew"
    nothing = [(0, 0)] * 3
    refused = refuses(world.evaluations.send, "declare_unavailable", FIRST, nothing)
    assert refused == "evaluations: renew"
    world.evaluations.send("renew", FIRST)
    world.submit(world.report(FIRST, ROOT, 10), MEMBERS[3:6], transmitter=MEMBERS[3])
    assert world.evaluations.read("report", FIRST)[1] == ROOT
    world.now_s += CHALLENGE_S
    assert world.evaluations.read("unlocked", FIRST)


def test_one_slashed_member_does_not_stop_the_others():
    world = world_of([0] * 4)
    world.fund(FIRST, 5, 1000)
    world.ready(FIRST)
    slash(world, 3)
    assert refuses(world.evaluations.send, "note_slashing") == "evaluations: sender"
    world.submit(world.report(FIRST, ROOT, 10), MEMBERS[:3])
    # An epoch that starts later has members that all stand; nothing is asked about them.
    world.ready(FIRST + 1)
    assert committee(world, FIRST + 1) == [0, 1, 2]
    world.submit(world.report(FIRST + 1, ROOT, 10), MEMBERS[:3])


def test_a_judge_that_calls_back_gets_a_stake_once():
    world = world_of([1, 2, 3])
    again = world.registry.encode("slash_evaluator", MEMBERS[0].address)
    code = calls_back(world.registry.address, again, fails=False)
    world.env.set_code(address_text(world.judge), code)
    assert slash(world, 0).value == EVALUATOR_STAKE + 1
    assert world.balance(world.judge) == EVALUATOR_STAKE + 1
    assert world.balance(world.registry.address) == 2 * EVALUATOR_STAKE + 5


def test_an_evaluator_that_calls_back_withdraws_once():
    world = world_of([1, 2])
    member = MEMBERS[0].address
    world.registry.send("leave_evaluator", sender=member)
    world.now_s += EXIT_DELAY_S
    again = world.registry.encode("withdraw_evaluator")
    code = calls_back(world.registry.address, again, fails=False)
    world.env.set_code(address_text(member), code)
    world.registry.send("withdraw_evaluator", sender=member)
    assert world.balance(member) == EVALUATOR_STAKE + 1
    assert world.balance(world.registry.address) == EVALUATOR_STAKE + 2
