"""Registry: joining needs the key's consent and a stake; an epoch's members are fixed when it opens."""

from dataclasses import replace

import pytest
from contract_world import (
    EPOCH_S,
    EVALUATOR_STAKE,
    EXIT_DELAY_S,
    FIRST,
    GENESIS_S,
    NETWORK,
    NODE_STAKE,
    Refused,
    World,
    account,
    key,
    refuses,
)

from meridian.contracts.calldata import NODES_PER_CALL
from meridian.primitives.eip712 import Domain
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import ZERO_ADDRESS, address_text, network_id, node_key

OPERATOR = key("operator")
PAYEE = account("payee")


@pytest.fixture
def world() -> World:
    return World()


def register(world: World, *entries, value=None, sender=None):
    value = NODE_STAKE * len(entries) if value is None else value
    arguments = [entry.arguments for entry in entries]
    return world.registry.send("register_nodes", arguments, value=value, sender=sender)


def test_a_relayed_registration_shares_the_stake_and_belongs_to_the_operator(world):
    first = world.node_registration(OPERATOR, "a", PAYEE)
    second = world.node_registration(OPERATOR, "b", PAYEE, nonce=1)
    outcome = register(world, first, second, value=50)
    assert [event.name for event in outcome.events] == ["NodeRegistered"] * 2
    assert outcome.events[1].args == {
        "node_key": node_key("b"),
        "operator": address_text(OPERATOR.address),
        "payee": address_text(PAYEE),
        "stake": 25,
    }
    expected = (address_text(OPERATOR.address), address_text(PAYEE), 25, 0)
    assert world.registry.read("node", node_key("a")) == expected
    assert world.registry.read("nonces", OPERATOR.address) == 2


def test_a_full_batch_of_registrations_fits(world):
    entries = [
        world.node_registration(OPERATOR, f"n{i}", PAYEE, nonce=i) for i in range(NODES_PER_CALL)
    ]
    assert len(register(world, *entries).events) == NODES_PER_CALL
    more = world.node_registration(OPERATOR, "more", PAYEE)
    with pytest.raises(Refused):
        register(world, *entries, more)


@pytest.mark.parametrize(
    ("value", "n"), [(NODE_STAKE - 1, 1), (2 * NODE_STAKE + 1, 2), (1 << 96, 1)]
)
def test_a_stake_too_small_indivisible_or_too_great_is_refused(world, value, n):
    entries = [world.node_registration(OPERATOR, f"n{i}", PAYEE, nonce=i) for i in range(n)]
    world.give(world.someone, 1 << 100)
    assert refuses(register, world, *entries, value=value) == "registry: stake"


def test_other_bad_registrations_are_refused(world):
    good = world.node_registration(OPERATOR, "a", PAYEE)
    assert refuses(register, world) == "registry: nothing"
    late = world.node_registration(OPERATOR, "a", PAYEE, deadline_s=GENESIS_S - 1)
    assert refuses(register, world, late) == "registry: deadline"
    nobody = world.node_registration(OPERATOR, "a", ZERO_ADDRESS)
    assert refuses(register, world, nobody) == "registry: payee"
    register(world, good)
    assert refuses(register, world, good) == "registry: node exists"
    again = world.node_registration(OPERATOR, "b", PAYEE, nonce=0)
    assert refuses(register, world, again) == "registry: signature"


def forged(world):
    good = world.node_registration(OPERATOR, "a", PAYEE)
    r, vs = good.signature[:32], int.from_bytes(good.signature[32:], "big")
    other_chain = Domain(world.registry.domain.chain_id + 1, world.registry.address)
    other_contract = Domain(world.registry.domain.chain_id, world.rewards.address)
    build = world.node_registration
    stranger = key("stranger").sign(good.statement.digest(world.registry.domain))
    return {
        "upper half of s": replace(good, signature=r + b"\x7f" + b"\xff" * 31),
        "other parity": replace(good, signature=r + (vs ^ (1 << 255)).to_bytes(32, "big")),
        "zeros": replace(good, signature=bytes(64)),
        "another signer": replace(good, signature=stranger),
        "another chain": build(OPERATOR, "a", PAYEE, domain=other_chain),
        "another contract": build(OPERATOR, "a", PAYEE, domain=other_contract),
        "another network": build(OPERATOR, "a", PAYEE, network=network_id("other")),
        "a later nonce": build(OPERATOR, "a", PAYEE, nonce=1),
        "another payee": replace(good, statement=replace(good.statement, payee=account("thief"))),
        "another node": replace(good, statement=replace(good.statement, node_key=node_key("b"))),
        "no operator": replace(
            good, statement=replace(good.statement, operator=ZERO_ADDRESS), signature=bytes(64)
        ),
    }


def test_forged_and_replayed_signatures_are_refused(world):
    for name, entry in forged(world).items():
        assert refuses(register, world, entry) == "registry: signature", name
    # The form of the test is right: the unchanged entry is taken.
    register(world, world.node_registration(OPERATOR, "a", PAYEE))


def test_a_node_leaves_by_its_operator_and_its_stake_returns_after_the_delay(world):
    register(world, world.node_registration(OPERATOR, "a", PAYEE))
    node = node_key("a")
    leave, withdraw = ("leave_node", node), ("withdraw_node", node)
    send = world.registry.send
    assert refuses(send, "leave_node", node_key("b")) == "registry: no node"
    assert refuses(send, *leave) == "registry: operator"
    assert refuses(send, *withdraw) == "registry: locked"
    (event,) = send(*leave, sender=OPERATOR.address).events
    assert event.args == {"node_key": node, "exit_at": GENESIS_S + EXIT_DELAY_S}
    assert refuses(send, *leave, sender=OPERATOR.address) == "registry: left"
    world.now_s += EXIT_DELAY_S - 1
    assert refuses(send, *withdraw) == "registry: locked"
    world.now_s += 1
    (event,) = send(*withdraw).events
    assert event.args == {"account": address_text(OPERATOR.address), "amount": NODE_STAKE}
    assert world.balance(OPERATOR.address) == NODE_STAKE
    assert world.balance(world.registry.address) == 0
    assert refuses(send, *withdraw) == "registry: locked"
    register(world, world.node_registration(OPERATOR, "a", PAYEE))  # the key is free again


def test_an_operator_that_refuses_money_keeps_its_stake_locked(world):
    register(world, world.node_registration(OPERATOR, "a", PAYEE))
    world.registry.send("leave_node", node_key("a"), sender=OPERATOR.address)
    world.now_s += EXIT_DELAY_S
    world.env.set_code(address_text(OPERATOR.address), bytes.fromhex("5f5ffd"))
    assert refuses(world.registry.send, "withdraw_node", node_key("a")) == "registry: payment"
    assert world.balance(world.registry.address) == NODE_STAKE


def test_an_evaluator_registers_with_its_link_key_and_endpoint(world):
    member = key("m")
    (event,) = world.join(member).events
    assert event.args == {
        "evaluator": address_text(member.address),
        "link_key": sha256(b"link"),
        "endpoint": "127.0.0.1:7000",
        "stake": EVALUATOR_STAKE,
    }
    expected = (EVALUATOR_STAKE, sha256(b"link"), 0)
    assert world.registry.read("evaluator", member.address) == expected
    assert world.registry.read("active_evaluators") == (address_text(member.address),)


def test_bad_evaluator_registrations_are_refused(world):
    member = key("m")

    def refused(stake=EVALUATOR_STAKE, **changes):
        entry = world.evaluator_registration(member, **changes)
        return refuses(world.registry.send, "register_evaluator", *entry.arguments, value=stake)

    assert refused(EVALUATOR_STAKE - 1) == "registry: stake"
    assert refused(deadline_s=GENESIS_S - 1) == "registry: deadline"
    assert refused(nonce=1) == "registry: signature"
    assert refused(network=network_id("other")) == "registry: signature"
    assert refused(domain=Domain(2, world.registry.address)) == "registry: signature"
    good = world.evaluator_registration(member)
    for at, value in ((1, sha256(b"stolen link")), (2, "10.0.0.1:1"), (4, 5), (5, 7)):
        arguments = list(good.arguments)
        arguments[at] = value
        send = world.registry.send
        reason = refuses(send, "register_evaluator", *arguments, value=EVALUATOR_STAKE)
        assert reason == "registry: signature"
    world.join(member)
    assert refused() == "registry: evaluator exists"
    world.registry.send("leave_evaluator", sender=member.address)
    assert refused() == "registry: evaluator exists"


def test_an_evaluator_withdraws_after_the_delay_and_can_come_back(world):
    member, send = key("m"), world.registry.send
    world.join(member)
    assert refuses(send, "leave_evaluator") == "registry: no evaluator"
    assert refuses(send, "withdraw_evaluator", sender=member.address) == "registry: locked"
    (event,) = send("leave_evaluator", sender=member.address).events
    assert event.args["exit_at"] == GENESIS_S + EXIT_DELAY_S
    assert refuses(send, "leave_evaluator", sender=member.address) == "registry: no evaluator"
    world.now_s += EXIT_DELAY_S - 1
    assert refuses(send, "withdraw_evaluator", sender=member.address) == "registry: locked"
    world.now_s += 1
    send("withdraw_evaluator", sender=member.address)
    assert world.balance(member.address) == EVALUATOR_STAKE
    assert refuses(send, "withdraw_evaluator", sender=member.address) == "registry: locked"
    world.join(member)


def test_the_129th_evaluator_is_refused_and_128_can_decide(world):
    world.join_members(128)
    assert refuses(world.join, key("one more")) == "registry: full"
    outcome = world.open(FIRST)
    assert outcome.events[0].args == {"epoch": FIRST, "set_id": 1, "n": 128}
    committee = world.registry.read("committee", FIRST)
    assert committee == tuple(address_text(member.address) for member in world.members)


def test_members_are_fixed_when_an_epoch_opens(world):
    world.join_members(4)
    before = tuple(address_text(member.address) for member in world.members)
    world.open(FIRST)
    world.registry.send("leave_evaluator", sender=world.members[1].address)
    newcomer = key("newcomer")
    world.join(newcomer)
    assert world.registry.read("committee", FIRST) == before
    world.open(FIRST + 1)
    after = world.registry.read("committee", FIRST + 1)
    expected = {*before, address_text(newcomer.address)} - {before[1]}
    assert after == tuple(sorted(expected))
    assert world.registry.read("committee", FIRST) == before
    assert [world.registry.read("epoch_set", epoch) for epoch in (FIRST, FIRST + 1)] == [1, 2]
    assert world.registry.read("is_member", 1, world.members[1].address)
    assert not world.registry.read("is_member", 2, world.members[1].address)
    assert world.registry.read("set_size", 2) == 4
    assert world.registry.read("set_size", 3) == 0
    assert not world.registry.read("is_member", 3, newcomer.address)


def test_a_set_id_is_new_only_when_the_members_are(world):
    world.join_members(3)
    world.open(FIRST)
    leaver = world.members[0]
    world.registry.send("leave_evaluator", sender=leaver.address)
    world.now_s += EXIT_DELAY_S
    world.registry.send("withdraw_evaluator", sender=leaver.address)
    world.join(leaver)
    world.open(FIRST + 2)
    sets = {world.registry.read("epoch_set", FIRST + i) for i in range(3)}
    assert sets == {1}


def test_epochs_open_in_order_in_their_time_and_once(world):
    send, read = world.registry.send, world.registry.read
    assert refuses(send, "open_epochs", FIRST) == "registry: no evaluators"
    world.join_members(1)
    assert refuses(send, "open_epochs", FIRST + 1) == "registry: early"
    world.now_s = GENESIS_S + 5 * EPOCH_S - 1
    assert refuses(send, "open_epochs", FIRST + 5) == "registry: early"
    assert [event.args["epoch"] for event in send("open_epochs", FIRST + 4).events] == [
        *range(FIRST, FIRST + 5)
    ]
    assert read("next_epoch") == FIRST + 5
    assert not send("open_epochs", FIRST + 3).events
    world.now_s = GENESIS_S + 1000 * EPOCH_S
    assert refuses(send, "open_epochs", FIRST + 5 + 256) == "registry: span"
    assert len(send("open_epochs", FIRST + 5 + 255).events) == 256
    assert read("epoch_set", FIRST + 261) == 0
    assert read("committee", FIRST + 261) == ()


def test_epochs_wait_while_nobody_can_decide_them(world):
    world.join_members(1)
    world.open(FIRST)
    world.registry.send("leave_evaluator", sender=world.members[0].address)
    assert refuses(world.open, FIRST + 1) == "registry: no evaluators"
    world.join(key("newcomer"))
    world.open(FIRST + 1)


def test_the_clock_is_what_was_deployed(world):
    read = world.registry.read
    assert (read("genesis"), read("epoch_seconds"), read("first_epoch")) == (
        GENESIS_S,
        EPOCH_S,
        FIRST,
    )
    assert read("network") == NETWORK
    assert read("epoch_start", FIRST) == GENESIS_S
    assert read("epoch_end", FIRST) == read("epoch_start", FIRST + 1) == GENESIS_S + EPOCH_S
    assert refuses(read, "epoch_start", FIRST - 1) == "registry: epoch"


def test_impossible_networks_cannot_be_deployed(world):
    there = world.addresses.evaluations
    good = (NETWORK, GENESIS_S, EPOCH_S, FIRST, 0, 0, EXIT_DELAY_S, there, ZERO_ADDRESS)
    for at, value, reason in (
        (0, bytes(32), "registry: network"),
        (2, 0, "registry: epoch seconds"),
        (2, 2**33, "registry: delay"),
        (6, 2**33, "registry: delay"),
        (3, 2**49, "registry: first epoch"),
        (7, ZERO_ADDRESS, "registry: wiring"),
    ):
        arguments = (*good[:at], value, *good[at + 1 :])
        assert refuses(world.deploy, "Registry", *arguments) == reason
