"""What the explorer's complaints read from a real chain: who answers for a node, and what a dispute has proved."""

from dataclasses import replace
from pathlib import Path

import pytest
from watch_world import (
    AGGREGATOR,
    BOND,
    NAME,
    NODES,
    RESPONSE_S,
    SCHEMA,
    VICTIM,
    WATCHER,
    Heard,
    WatchWorld,
)

from meridian.disputes.commitment_faults import challenge_job
from meridian.disputes.ways import node_row_tree
from meridian.errors import InvalidInput
from meridian.journey.chain_setup import NODE_STAKE_ATTO, consent
from meridian.node.watch.published import published_epoch
from meridian.node.web.complaint_desk import ChainRegistrations, Clock, ComplaintDesk
from meridian.node.web.complaint_request import ComplaintRequest
from meridian.node.web.complaint_store import ComplaintStore
from meridian.node.web.proven import Verdicts
from meridian.primitives.ids import ZERO_ADDRESS, network_id, node_key
from meridian.primitives.keys import PrivateKey

OPERATOR, PAYEE, OTHER = (PrivateKey(bytes(30) + bytes([7, n])) for n in (1, 2, 3))
NODE = "complains"
BAD_SUM = 1


@pytest.fixture
def store(tmp_path: Path):
    opened = ComplaintStore(tmp_path / "complaints.sqlite")
    yield opened
    opened.close()


def register(world: WatchWorld, *nodes: str) -> None:
    domain = world.network.domain(world.network.contracts.registry)
    registry = world.view.registry
    for node, operator in zip(nodes, (OPERATOR, OTHER), strict=False):
        entry = consent(domain, network_id(NAME), operator, node, PAYEE.address)
        world.send(AGGREGATOR, registry, "register_nodes", [entry.arguments], value=NODE_STAKE_ATTO)


def test_operator_and_payee_answer_for_a_node_also_after_it_has_left(world, store):
    registrations = ChainRegistrations(world.chain, world.network)
    assert registrations.accounts(node_key(NODE)) == frozenset()
    register(world, NODE)
    both = {OPERATOR.address, PAYEE.address}
    assert registrations.accounts(node_key(NODE)) == both
    world.pay(OPERATOR.address, 10**18)
    world.send(OPERATOR, world.view.registry, "leave_node", node_key(NODE))
    assert registrations.accounts(node_key(NODE)) == both
    world.wait(10**6)
    world.send(OPERATOR, world.view.registry, "withdraw_node", node_key(NODE))
    assert registrations.accounts(node_key(NODE)) == both


def complain(world, store, *complaints):
    """File complaints: (node, epoch, who signs)."""
    now_s = world.network.calendar.start_us(2) // 1_000_000
    clock = Clock(lambda: now_s, lambda: 0.0)
    registrations = ChainRegistrations(world.chain, world.network)
    desk = ComplaintDesk(store, registrations, world.network, clock)
    for node, epoch, signer in complaints:
        request = ComplaintRequest.sign(world.network, node, epoch, "wrong", now_s, signer)
        desk.take(request.encode(), "")


def states(store):
    return {(one.node_id, one.epoch): one.state for one in store.newest()}


def test_a_verdict_proves_the_complaints_of_its_node_about_its_epoch(world, store):
    register(world, VICTIM, NODE)
    world.commit(1, lie="inflates-sum")
    complain(world, store, (VICTIM, 1, PAYEE), (VICTIM, 2, OPERATOR), (NODE, 1, PAYEE))
    with pytest.raises(InvalidInput, match="operator or payee"):
        complain(world, store, (NODE, 2, WATCHER))
    verdicts = Verdicts(world.chain, world.network)
    assert store.prove(verdicts.new()) == 0
    watcher = world.watcher(Heard())
    watcher.round()
    watcher.close()
    [verdict] = world.contract("Disputes").events("Verdict")
    assert (verdict.args["epoch"], verdict.args["kind"]) == (1, BAD_SUM)
    assert store.prove(verdicts.new()) == 1
    assert states(store) == {(VICTIM, 1): "proved", (VICTIM, 2): "open", (NODE, 1): "open"}
    assert store.prove(verdicts.new()) == 0
    assert store.prove(Verdicts(world.chain, world.network).new()) == 0


def test_a_challenge_that_nobody_answers_proves_the_complaints_of_the_node_whose_job_it_asks_for(
    world, store
):
    register(world, VICTIM, NODE)
    commitment = world.commit(1)
    complain(world, store, (VICTIM, 1, PAYEE), (NODE, 1, PAYEE))
    place = sorted(NODES, key=node_key).index(VICTIM)
    epoch = published_epoch(commitment, SCHEMA.digest, world.measured.get)
    rows = node_row_tree(epoch.node_rows, epoch.lanes)
    made = challenge_job(epoch.commitment, rows, place, 3)
    court = world.contract("Disputes")
    world.send(WATCHER, court, "challenge", *made.arguments, value=BOND)
    verdicts = Verdicts(world.chain, world.network)
    assert store.prove(verdicts.new()) == 0
    world.wait(RESPONSE_S)
    world.send(WATCHER, court, "resolve", epoch.commitment.words, place, 3, True)
    assert store.prove(verdicts.new()) == 1
    assert states(store) == {(VICTIM, 1): "proved", (NODE, 1): "open"}


def test_a_network_without_a_court_proves_nothing(world):
    contracts = replace(world.network.contracts, disputes=ZERO_ADDRESS)
    assert Verdicts(world.chain, replace(world.network, contracts=contracts)).new() == frozenset()
