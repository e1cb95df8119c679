"""Setting up on chain is done once, however often it is asked for."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from meridian.errors import InvalidInput, Reverted
from meridian.journey import chain_setup
from meridian.journey.options import Options
from meridian.node.chain.sender import Sender
from meridian.primitives.ids import Address, node_key
from node.evaluator.evaluator_world import (
    BUDGET,
    CHALLENGE_S,
    DEFINITION,
    EPOCHS,
    NODE_IDS,
    Net,
    make_net,
    set_up_members,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    net = make_net(tmp_path_factory.mktemp("made"))
    yield net
    net.endpoint.chain.close()


@pytest.fixture
def net(made: Net, tmp_path: Path) -> Iterator[Net]:
    copied = made.copied_to(tmp_path / "net")
    yield copied
    copied.endpoint.chain.close()


def height(net: Net) -> int:
    return int(net.endpoint.call("eth_blockNumber"), 16)


def deploy(net: Net, sponsor: Sender) -> object:
    options = Options(data_dir=net.root, challenge_seconds=CHALLENGE_S)
    digests = DEFINITION.evaluation_function.digest, DEFINITION.parameters.digest
    aggregator = net.accounts.aggregator.address
    return chain_setup.deploy(sponsor, net.source, options, aggregator, digests)


def test_all_of_it_again_sends_nothing(net: Net) -> None:
    before = height(net)
    sponsor, relayer = net.sender("sponsor"), net.sender("relayer")
    assert deploy(net, sponsor) == net.network.contracts
    set_up_members(net, relayer)
    chain_setup.fund(sponsor, net.view, EPOCHS[0], len(EPOCHS), BUDGET)
    chain_setup.open_epochs(relayer, net.view, EPOCHS[-2])
    sponsor.close()
    relayer.close()
    assert height(net) == before


def test_the_same_keys_come_back_and_every_account_is_another(net: Net) -> None:
    again = chain_setup.Accounts.load(net.layout, 4)
    assert again.addresses == net.accounts.addresses
    assert len(set(again.addresses)) == 7


def test_operators_are_derived_per_node_and_kept(net: Net) -> None:
    keys = {name: chain_setup.operator_key(net.layout, name).address for name in NODE_IDS}
    assert len(set(keys.values())) == len(NODE_IDS)
    nodes = net.view.nodes()
    assert {name: nodes[node_key(name)].operator for name in NODE_IDS} == keys


def test_a_payee_that_the_data_names_is_registered(net: Net) -> None:
    payee = Address(b"\x44" * 20)
    net.source = replace(net.source, nodes={**net.source.nodes, "epsilon": payee})
    relayer = net.sender("relayer")
    set_up_members(net, relayer)
    relayer.close()
    assert net.view.nodes()[node_key("epsilon")].payee == payee
    assert len(net.view.registrations()) == len(NODE_IDS) + 1


def test_many_nodes_share_transactions_and_the_progress_ends_once(net: Net) -> None:
    names = [f"node-{number:03d}" for number in range(2 * chain_setup.NODES_PER_TRANSACTION + 1)]
    net.source = replace(net.source, nodes=dict.fromkeys(names))
    steps: list[tuple[int, int]] = []
    relayer = net.sender("relayer")
    domain = net.network.domain(net.network.contracts.registry)
    for _ in range(2):
        chain_setup.register_nodes(
            relayer, net.view, domain, net.layout, net.source, lambda *step: steps.append(step)
        )
    relayer.close()
    assert set(net.view.nodes()) >= {node_key(name) for name in names}
    assert steps == [(0, 101), (50, 101), (100, 101), (100, 101), (101, 101)] + [(101, 101)] * 2


def test_a_sponsor_that_was_used_before_is_refused(net: Net, tmp_path: Path) -> None:
    sponsor = Sender(net.endpoint, net.accounts.sponsor, tmp_path / "lost-journal.sqlite")
    with pytest.raises(InvalidInput, match="fresh key"):
        deploy(net, sponsor)
    sponsor.close()


def test_epochs_without_a_budget_are_not_funded(net: Net) -> None:
    sponsor, before = net.sender("sponsor"), height(net)
    chain_setup.fund(sponsor, net.view, EPOCHS[-1] + 1, 3, 0)
    assert height(net) == before
    chain_setup.fund(sponsor, net.view, EPOCHS[-1] + 1, 2, 7)
    sponsor.close()
    budgets = [net.view.budget_atto(epoch, height(net)) for epoch in (8, 9, 10, 11)]
    assert budgets == [BUDGET, 7, 7, 0]


def test_epochs_that_have_not_begun_cannot_be_opened(net: Net) -> None:
    relayer = net.sender("relayer")
    with pytest.raises(Reverted, match="registry"):
        chain_setup.open_epochs(relayer, net.view, EPOCHS[-1] + 10)
    chain_setup.open_epochs(relayer, net.view, EPOCHS[-1])
    relayer.close()
    assert len(net.view.committee(EPOCHS[-1])) == 4
