"""The follower against branches that change under it: what it says always equals what the chain says."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.errors import RemoteFault
from meridian.node.chain import follower as follower_module
from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.follower import ANCHORS_MAX, Follower
from meridian.node.chain.rpc import RpcError
from meridian.node.chain.sender import Sender
from meridian.primitives.ids import Address, address_text

WHO = Address(b"\x42" * 20)


class Branches:
    """A chain of named blocks that can be cut and grown anew; some heights have none; answers span-limited."""

    def __init__(self, span_max=10**9):
        self.blocks: dict[int, str] = {0: "0xg"}
        self.events: dict[int, list[str]] = {}
        self.made = 0
        self.span_max = span_max
        self.between = None
        self.calls = 0

    @property
    def head(self):
        return max(self.blocks)

    def grow(self, events, nulls=0):
        number = self.head + 1 + nulls
        self.made += 1
        self.blocks[number] = f"0xb{self.made}"
        self.events[number] = [f"{self.made}.{index}" for index in range(events)]

    def cut(self, depth):
        for number in sorted(self.blocks)[max(1, len(self.blocks) - depth) :]:
            del self.blocks[number]
            self.events.pop(number, None)

    def truth(self, through):
        return [
            one
            for number in sorted(self.events)
            if number <= through
            for one in self.events[number]
        ]

    def batch(self, calls):
        raise AssertionError

    def call(self, method, *params):
        self.calls += 1
        if method == "eth_getBlockByNumber":
            number = self.head if params[0] == "latest" else int(params[0], 16)
            if number not in self.blocks:
                raise RpcError(12, f"requested epoch was a null round ({number})")
            return {"number": hex(number), "hash": self.blocks[number]}
        assert method == "eth_getLogs"
        first, last = int(params[0]["fromBlock"], 16), int(params[0]["toBlock"], 16)
        if last - first >= self.span_max:
            raise RpcError(-32000, "block range is too wide")
        found = [
            {
                "blockNumber": hex(number),
                "blockHash": self.blocks[number],
                "logIndex": hex(index),
                "data": one,
            }
            for number in sorted(self.events)
            if first <= number <= last
            for index, one in enumerate(self.events[number])
        ]
        if self.between is not None:
            change, self.between = self.between, None
            change()
        return found


class Reader:
    """Somebody who keeps what a follower says, by height."""

    def __init__(self, follower):
        self.follower = follower
        self.known: list[tuple[int, str]] = []

    def step(self):
        update = self.follower.follow()
        if update.rolled_back_to is not None:
            self.known = [one for one in self.known if one[0] <= update.rolled_back_to]
        self.known += [(int(log["blockNumber"], 16), log["data"]) for log in update.logs]
        assert update.through == self.follower.through
        return update

    def catch_up(self):
        for _ in range(50):
            if self.step().is_current:
                return
        raise AssertionError

    @property
    def says(self):
        return [one for _, one in self.known]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("grow"), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("cut"), st.integers(1, 6), st.just(0)),
        st.tuples(st.just("read"), st.just(0), st.just(0)),
        st.tuples(st.just("race"), st.integers(1, 3), st.integers(0, 2)),
        st.tuples(st.just("resume"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, confirmations=st.integers(0, 3), span_max=st.sampled_from([1, 3, 1000]))
def test_what_it_says_is_what_the_chain_says(steps, confirmations, span_max):
    chain = Branches(span_max)
    reader = Reader(Follower(chain, [WHO], 0, confirmations=confirmations))

    def race(depth, events):
        chain.cut(depth)
        chain.grow(events)

    for what, one, two in steps:
        match what:
            case "grow":
                chain.grow(one, two)
            case "cut":
                chain.cut(one)
                chain.grow(two)
            case "race":
                chain.between = lambda one=one, two=two: race(one, two)
                reader.step()
                chain.between = None
            case "read":
                reader.step()
            case "resume":  # another process goes on with what was kept
                kept = copy.deepcopy(reader.follower.anchors)
                reader.follower = Follower(
                    chain, [WHO], 0, confirmations=confirmations, anchors=kept
                )
        if what == "read":
            through = reader.follower.through
            assert reader.says == chain.truth(through)
    chain.grow(1)
    reader.catch_up()
    assert reader.says == chain.truth(reader.follower.through)
    assert chain.head - reader.follower.through <= confirmations + 4 * (confirmations + 1)


def test_a_deep_reorganisation_starts_anew_where_nothing_holds():
    chain = Branches()
    for _ in range(5):
        chain.grow(1)
    reader = Reader(Follower(chain, [WHO], 1))
    reader.catch_up()
    assert len(reader.says) == 5
    chain.cut(99)
    chain.grow(2)
    update = reader.step()
    assert update.rolled_back_to == 0
    assert reader.says == chain.truth(chain.head)


def test_anchors_are_bounded_and_far_back_ones_stay():
    chain = Branches()
    reader = Reader(Follower(chain, [WHO], 0))
    for _ in range(5 * ANCHORS_MAX):
        chain.grow(1)
        reader.step()
    assert len(reader.follower.anchors) <= ANCHORS_MAX
    chain.cut(3 * ANCHORS_MAX)
    chain.grow(1)
    before = chain.calls
    update = reader.step()
    assert update.rolled_back_to is not None
    assert update.rolled_back_to > 0  # not from the beginning
    assert reader.says == chain.truth(chain.head)
    assert chain.calls - before < 2 * ANCHORS_MAX


def test_logs_of_two_branches_are_refused(monkeypatch):
    chain = Branches()
    chain.grow(2)
    chain.grow(1)
    real = chain.call

    def lying(method, *params):
        answer = real(method, *params)
        if method == "eth_getLogs":
            answer[-1]["blockHash"] = "0xother"
        return answer

    monkeypatch.setattr(chain, "call", lying)
    follower = Follower(chain, [WHO], 0)
    with pytest.raises(RemoteFault, match="two branches"):
        follower.follow()
    assert follower.anchors == ()


def test_a_long_past_is_read_in_steps(monkeypatch):
    monkeypatch.setattr(follower_module, "SPAN_BLOCKS_MAX", 4)
    chain = Branches()
    for _ in range(30):
        chain.grow(1)
    reader = Reader(Follower(chain, [WHO], 0))
    assert reader.step().is_current is False
    reader.catch_up()
    assert reader.says == chain.truth(chain.head)


def test_a_desert_without_blocks_is_crossed():
    chain = Branches(span_max=3_000)
    chain.grow(1)
    chain.grow(2, nulls=11_111)
    chain.grow(1)
    reader = Reader(Follower(chain, [WHO], 0, confirmations=1))
    reader.catch_up()
    assert len(reader.says) == 3


def test_it_follows_the_embedded_chain(chain: EmbeddedChain, keys, probe, tmp_path):
    sender = Sender(chain, keys[0], tmp_path / "journal.sqlite")
    address = sender.deploy(probe, WHO, purpose="deploy")
    from meridian.node.chain.contract import Contract

    contract = Contract(chain, address, probe)
    follower = Follower(chain, [address], 0, confirmations=1)
    for amount in (1, 2, 3):
        sender.transact(address, contract.encode("add", amount), purpose=f"add {amount}")
    update = follower.follow()
    assert [one.args["amount"] for one in contract.decode("Added", update.logs)] == [1, 2]
    chain.mine(empty=True)
    [log] = follower.follow().logs
    assert contract.decode("Added", [log])[0].args["amount"] == 3
    assert log["address"] == address_text(address)
    assert follower.follow().logs == ()
