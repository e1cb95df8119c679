"""What the explorer's complaints read from a real chain: who answers for a node, and which epochs a dispute was won about."""

from pathlib import Path

import pytest
from watch_world import AGGREGATOR, NAME, WATCHER, Heard, WatchWorld

from meridian.errors import InvalidInput
from meridian.journey.chain_setup import NODE_STAKE_ATTO, consent
from meridian.node.web.complaint_desk import ChainRegistrations, Clock, ComplaintDesk, Verdicts
from meridian.node.web.complaint_request import ComplaintRequest
from meridian.node.web.complaint_store import ComplaintStore
from meridian.primitives.ids import network_id, node_key
from meridian.primitives.keys import PrivateKey

OPERATOR, PAYEE = (PrivateKey(bytes(30) + bytes([7, n])) for n in (1, 2))
NODE = "complains"


@pytest.fixture
def store(tmp_path: Path):
    opened = ComplaintStore(tmp_path / "complaints.sqlite")
    yield opened
    opened.close()


def register(world: WatchWorld) -> None:
    domain = world.network.domain(world.network.contracts.registry)
    entry = consent(domain, network_id(NAME), OPERATOR, NODE, PAYEE.address)
    registry = world.view.registry
    world.send(AGGREGATOR, registry, "register_nodes", [entry.arguments], value=NODE_STAKE_ATTO)


def test_operator_and_payee_answer_for_a_node_also_after_it_has_left(world, store):
    registrations = ChainRegistrations(world.chain, world.network)
    assert registrations.accounts(node_key(NODE)) == frozenset()
    register(world)
    both = {OPERATOR.address, PAYEE.address}
    assert registrations.accounts(node_key(NODE)) == both
    world.pay(OPERATOR.address, 10**18)
    world.send(OPERATOR, world.view.registry, "leave_node", node_key(NODE))
    assert registrations.accounts(node_key(NODE)) == both
    world.wait(10**6)
    world.send(OPERATOR, world.view.registry, "withdraw_node", node_key(NODE))
    assert registrations.accounts(node_key(NODE)) == both


def test_a_verdict_proves_the_complaints_about_its_epoch(world, store):
    register(world)
    now_s = world.network.calendar.start_us(2) // 1_000_000
    clock = Clock(lambda: now_s, lambda: 0.0)
    desk = ComplaintDesk(
        store, ChainRegistrations(world.chain, world.network), world.network, clock
    )
    world.commit(1, lie="inflates-sum")
    for epoch, key in ((1, PAYEE), (2, OPERATOR)):
        request = ComplaintRequest.sign(world.network, NODE, epoch, "wrong", now_s, key)
        desk.take(request.encode(), "")
    stranger = ComplaintRequest.sign(world.network, NODE, 1, "mine", now_s, WATCHER)
    with pytest.raises(InvalidInput, match="operator or payee"):
        desk.take(stranger.encode(), "")
    verdicts = Verdicts(world.chain, world.network)
    assert store.prove(verdicts.new()) == 0
    watcher = world.watcher(Heard())
    watcher.round()
    watcher.close()
    assert store.prove(verdicts.new()) == 1
    assert {one.epoch: one.state for one in store.newest()} == {1: "proved", 2: "open"}
    assert store.prove(verdicts.new()) == 0
