"""The contracts as typed values: what a process reads is what was done on the real contracts."""

from collections.abc import Iterator

import pytest

from meridian.errors import Reverted
from meridian.node.chain_view import NO_REPORT, ChainView
from meridian.primitives.ids import node_key
from node.evaluator.evaluator_committee import Committee, access_of
from node.evaluator.evaluator_world import (
    BUDGET,
    CHALLENGE_S,
    DEFINITION,
    EPOCHS,
    NODE_IDS,
    Net,
    make_net,
)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    """A network in which nothing is committed."""
    net = make_net(tmp_path_factory.mktemp("fresh"))
    yield net
    net.endpoint.chain.close()


@pytest.fixture(scope="module")
def used(fresh: Net, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    """The same network with epochs 5 and 6 committed and reported, the later one first."""
    root = tmp_path_factory.mktemp("used")
    net = fresh.copied_to(root / "net")
    committee = Committee.of(net)
    committee.decide(5)
    committee.decide(6)
    with pytest.MonkeyPatch.context() as patch:
        access = access_of(net, 1, patch, root / "transactions.sqlite")
        committee.report(6, access)
        committee.report(5, access)
        access.close()
    yield net
    net.endpoint.chain.close()


def test_a_fresh_network_has_members_nodes_and_a_schedule_and_nothing_else(fresh: Net) -> None:
    view = fresh.view
    assert (view.committed(), view.reported(), view.claims()) == ([], [], [])
    assert view.last_report() == NO_REPORT
    evaluators = sorted(key.address for key in fresh.accounts.evaluators)
    assert view.committee(5) == tuple(evaluators)
    assert view.committee(EPOCHS[-1]) == (), "not open"
    digests = (DEFINITION.evaluation_function.digest, DEFINITION.parameters.digest)
    assert view.schedule(5) == view.schedule(5000) == digests
    assert not view.is_reported(5)
    assert not view.is_unlocked(5)


def test_an_epoch_before_the_first_has_no_schedule(fresh: Net) -> None:
    with pytest.raises(Reverted, match="evaluations: epoch"):
        fresh.view.schedule(EPOCHS[0] - 1)


def test_nodes_are_found_by_key_with_operator_and_payee(fresh: Net) -> None:
    nodes = fresh.view.nodes()
    assert set(nodes) == {node_key(name) for name in NODE_IDS}
    assert {nodes[node_key(name)].payee for name in NODE_IDS} == {
        fresh.payee(name) for name in NODE_IDS
    }
    assert all(node.key == key for key, node in nodes.items())
    assert sorted(node.key for node in fresh.view.registrations()) == sorted(nodes)


def test_the_budget_is_that_of_the_block_asked_for(fresh: Net) -> None:
    head = int(fresh.endpoint.call("eth_blockNumber"), 16)
    assert fresh.view.budget_atto(5, head) == BUDGET
    assert fresh.view.budget_atto(EPOCHS[-1] + 1, head) == 0
    funded_at = next(
        block for block in range(head + 1) if has_code(fresh, block) and budget_at(fresh, block)
    )
    assert budget_at(fresh, funded_at - 1) == 0


def has_code(net: Net, block: int) -> bool:
    address = "0x" + net.network.contracts.rewards.hex()
    return net.endpoint.call("eth_getCode", address, hex(block)) != "0x"


def budget_at(net: Net, block: int) -> int:
    return net.view.budget_atto(5, block)


def test_commitments_come_in_the_order_of_their_blocks(used: Net) -> None:
    first, second = used.view.committed()
    assert (first.epoch, second.epoch) == (5, 6)
    assert first.block < second.block
    assert first.aggregator == used.accounts.aggregator.address
    assert (first.n_nodes, len(first.annotation), len(first.root)) == (len(NODE_IDS), 24, 32)
    assert used.fetch(first.manifest)
    assert used.view.committed(second.block) == [second]
    assert used.view.committed(second.block + 1) == []


def test_reports_come_in_the_order_of_their_chain_and_not_of_epochs(used: Net) -> None:
    first, second = used.view.reported()
    assert (first.epoch, second.epoch) == (6, 5)
    assert (first.previous, second.previous) == (NO_REPORT, first.report_hash)
    assert used.view.last_report() == second.report_hash
    assert second.total == 2 * first.total
    assert first.transmitter == used.accounts.evaluators[1].address
    assert used.view.reported(second.block) == [second]
    assert used.view.is_reported(5)
    assert used.view.is_reported(6)
    assert not used.view.is_reported(7)


def test_a_report_unlocks_when_its_window_is_over(used: Net) -> None:
    report = used.view.reported()[-1]
    assert not used.view.is_unlocked(5)
    used.clock.now_s = report.unlock_at + 1
    used.endpoint.chain.mine(empty=True)
    assert used.view.is_unlocked(5)
    assert report.unlock_at >= CHALLENGE_S


def test_a_view_starts_at_its_first_block(used: Net) -> None:
    last = used.view.committed()[-1]
    late = ChainView(used.endpoint, used.network.contracts, last.block)
    assert [one.epoch for one in late.committed()] == [6]
    assert [one.epoch for one in late.committed(0)] == [5, 6]
    assert late.nodes() == {}
