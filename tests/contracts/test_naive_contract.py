"""The naive model does what its description says, so that its cost is the cost of something real."""

import pytest
from alone_world import REFUSES_MONEY, AloneWorld, names
from contract_world import ETHER, GENESIS_S, account, refuses

from meridian.primitives.hashing import sha256

A, B = account("participant 0"), account("participant 1")
EPOCH_S = 600


@pytest.fixture
def world():
    world = AloneWorld()
    world.now_s = GENESIS_S
    world.naive = world.contract("Naive", GENESIS_S, EPOCH_S)
    return world


def job(number, value=1):
    return (sha256(bytes([number])), 100, 200, value)


def test_jobs_are_summed_by_node_and_paid_by_share(world):
    naive = world.naive
    naive.send("fund", 0, value=ETHER)
    naive.send("submit", job(1, 10), sender=A)
    naive.send("submit_many", [job(2, 20), job(3, 10)], sender=B)
    assert refuses(naive.send, "evaluate", 0, 3) == "naive: early"
    world.now_s += EPOCH_S
    assert refuses(naive.send, "evaluate", 0, 4) == "naive: jobs"
    naive.send("evaluate", 0, 1)
    assert refuses(naive.send, "pay", 0, 1) == "naive: not evaluated"
    naive.send("evaluate", 0, 2)
    assert [naive.read("weights", 0, node) for node in (A, B)] == [10, 30]
    assert refuses(naive.send, "pay", 0, 3) == "naive: nodes"
    assert names(naive.send("pay", 0, 1)) == ["Paid"]
    assert refuses(naive.send, "fund", 0, value=1) == "naive: paid"
    assert names(naive.send("pay", 0, 1)) == ["Paid"]
    assert refuses(naive.send, "pay", 0, 1) == "naive: nodes"
    assert [world.balance(node) for node in (A, B)] == [ETHER // 4, 3 * ETHER // 4]


def test_who_refuses_a_share_may_collect_it(world):
    wallet = world.deploy_code(REFUSES_MONEY)
    world.naive.send("fund", 0, value=ETHER)
    world.naive.send("submit", job(1), sender=wallet)
    world.now_s += EPOCH_S
    world.naive.send("evaluate", 0, 1)
    assert names(world.naive.send("pay", 0, 1)) == ["Refused"]
    assert world.naive.read("owed", wallet) == ETHER
    assert refuses(world.naive.send, "collect", sender=wallet) == "naive: payment"
    assert refuses(world.naive.send, "collect", sender=A) == "naive: nothing"
    world.env.set_code("0x" + wallet.hex(), b"")
    world.naive.send("collect", sender=wallet)
    assert world.balance(wallet) == ETHER


def test_bad_calls_are_refused(world):
    assert refuses(world.contract, "Naive", GENESIS_S, 0) == "naive: epoch seconds"
    assert refuses(world.naive.send, "submit", (bytes(32), 2, 1, 1)) == "naive: times"
    push = (world.naive.send, "push")
    assert refuses(*push, [A], []) == "naive: lengths"
    assert refuses(*push, [A], [2], value=1) == "naive: value"
    assert refuses(*push, [A], [1], value=2) == "naive: value"
    assert refuses(*push, [world.deploy_code(REFUSES_MONEY)], [1], value=1) == "naive: payment"
    world.naive.send("push", [A, B], [1, 2], value=3)
    assert [world.balance(node) for node in (A, B)] == [1, 2]
