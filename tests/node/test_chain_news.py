"""What processes know of their chain, when blocks are replaced: nothing of the old branch stays."""

from collections.abc import Iterator

import pytest

from meridian.node.chain.rpc import RpcError
from meridian.node.chain_news import KEPT_MAX, NewsReader
from meridian.node.chain_view import ChainView
from node.evaluator.evaluator_committee import Committee, access_of
from node.evaluator.evaluator_world import Net, make_net


class Reorganised:
    """A chain of which only a part is seen: the head can be moved back, and hidden blocks have had other hashes.

    Whoever reads up to a block, is moved back and reads on, meets another block at that height: a reorganisation as an
    endpoint shows it. Events of hidden blocks are hidden too.
    """

    def __init__(self, chain):
        self.chain = chain
        self.head = int(chain.call("eth_blockNumber"), 16)
        self.branch = {}

    def replace_from(self, number, head):
        """Show the chain up to `head`, with other blocks than before from `number` on."""
        self.branch = {n: f"{n}/{head}" for n in range(number, head + 1)}
        self.head = head

    def call(self, method, *params):
        params = list(params)
        if method == "eth_blockNumber":
            return hex(self.head)
        if method == "eth_getBlockByNumber":
            number = self.head if params[0] == "latest" else int(params[0], 16)
            if number > self.head:
                raise RpcError(12, "requested epoch was a null round")
            block = self.chain.call(method, hex(number), False)
            return block | {"hash": self.branch.get(number, block["hash"])}
        if method == "eth_getLogs":
            assert int(params[0]["toBlock"], 16) <= self.head
        return self.chain.call(method, *params)

    def batch(self, calls):
        return self.chain.batch(calls)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    """A network with epochs 5 and 6 committed and reported."""
    root = tmp_path_factory.mktemp("used")
    net = make_net(root / "net")
    committee = Committee.of(net)
    committee.decide(5)
    committee.decide(6)
    with pytest.MonkeyPatch.context() as patch:
        access = access_of(net, 1, patch, root / "transactions.sqlite")
        committee.report(5, access)
        committee.report(6, access)
        access.close()
    yield net
    net.endpoint.chain.close()


def reader_of(net: Net) -> tuple[Reorganised, NewsReader]:
    chain = Reorganised(net.endpoint)
    return chain, NewsReader(ChainView(chain, net.network.contracts), 0)


def test_a_replaced_report_is_taken_back_and_read_again(used: Net) -> None:
    chain, reader = reader_of(used)
    whole = chain.head
    [first, second] = reader.news().reports
    assert first.block < second.block
    chain.replace_from(second.block, second.block)
    chain.head = second.block - 1
    assert reader.news().reports == [first]
    assert set(reader.news().commitments) == {5, 6}
    chain.replace_from(second.block, whole)  # the other branch has it too
    assert [one.epoch for one in reader.news().reports] == [5, 6]


def test_news_grow_with_the_head_and_say_the_same_as_one_reading(used: Net) -> None:
    chain, reader = reader_of(used)
    whole = reader.news()
    top, grown = chain.head, NewsReader(ChainView(chain, used.network.contracts), 0)
    start = whole.reports[0].block - 4  # the contracts are there
    for head in range(start, top + 1):
        chain.head = head
        seen = grown.news()
        assert {one.block for one in seen.reports} <= set(range(head + 1))
    assert seen == whole
    chain.branch = {n: f"other {n}" for n in range(top + 1)}  # nothing that is kept stands
    chain.head = start + 1
    assert len(grown._kept) <= KEPT_MAX
    assert grown.news() == NewsReader(ChainView(chain, used.network.contracts), 0).news()


def test_a_head_that_is_replaced_while_it_is_read_is_read_again(used: Net) -> None:
    chain, reader = reader_of(used)
    real, moved = chain.call, []

    def moving(method, *params):
        answer = real(method, *params)
        if method == "eth_getLogs" and not moved:
            moved.append(chain.head)
            chain.replace_from(chain.head, chain.head)
        return answer

    chain.call = moving  # type: ignore[method-assign]
    assert [one.epoch for one in reader.news().reports] == [5, 6]
    assert moved
    assert reader._kept[-1][0].hash == chain.branch[chain.head]
