"""The naive model does what its description says, so that its cost is the cost of something real."""

import pytest
from alone_world import REFUSES_MONEY, AloneWorld, names
from contract_world import ETHER, GENESIS_S, account, refuses

from meridian.primitives.hashing import sha256

A, B = account("participant 0"), account("participant 1")
EPOCH_S = 600
FIRST = 5
GRACE_S = 30
TERMS = (GENESIS_S, EPOCH_S, FIRST, GRACE_S, 50)


@pytest.fixture
def world():
    world = AloneWorld()
    world.now_s = GENESIS_S
    world.naive = world.contract("Naive", *TERMS)
    return world


def job(number, value=1, epoch=FIRST):
    start = GENESIS_S + (epoch - FIRST) * EPOCH_S
    return (sha256(bytes([number])), start, start + EPOCH_S - 1, value)


def close(world):
    world.now_s += EPOCH_S + GRACE_S
    return world.naive.send("close_epoch")


def test_jobs_are_summed_by_node_and_paid_by_share(world):
    naive = world.naive
    naive.send("fund", FIRST, value=ETHER)
    naive.send("submit", job(1, 10), sender=A)
    naive.send("submit_many", [job(2, 20), job(3, 10)], sender=B)
    assert naive.read("state_of", FIRST) == (0, 3, 0, 0, 0)
    assert refuses(naive.send, "evaluate", FIRST, 3) == "jobs: early"
    assert names(close(world)) == ["Closed"]
    assert refuses(naive.send, "evaluate", FIRST, 4) == "jobs: number"
    assert refuses(naive.send, "evaluate", FIRST, 0) == "jobs: number"
    assert refuses(naive.send, "evaluate", FIRST - 1, 1) == "jobs: early"
    naive.send("evaluate", FIRST, 1)
    assert refuses(naive.send, "pay", FIRST, 1) == "jobs: not evaluated"
    naive.send("evaluate", FIRST, 2)
    assert [naive.read("weights", FIRST, node) for node in (A, B)] == [10, 30]
    assert refuses(naive.send, "pay", FIRST, 3) == "naive: nodes"
    assert names(naive.send("pay", FIRST, 1)) == ["Paid"]
    assert refuses(naive.send, "fund", FIRST, value=1) == "naive: paid"
    assert names(naive.send("pay", FIRST, 1)) == ["Paid"]
    assert refuses(naive.send, "pay", FIRST, 1) == "naive: nodes"
    assert [world.balance(node) for node in (A, B)] == [ETHER // 4, 3 * ETHER // 4]
    assert naive.read("state_of", FIRST) == (0, 3, 3, 40, 2)


def test_an_epoch_takes_the_jobs_that_ended_in_it_until_it_is_closed(world):
    naive = world.naive
    assert refuses(naive.send, "submit", job(1, epoch=FIRST + 1)) == "jobs: epoch"
    naive.send("submit", job(1), sender=A)
    world.now_s += EPOCH_S + GRACE_S - 1
    assert refuses(naive.send, "close_epoch") == "jobs: early"
    naive.send("submit", job(2), sender=A)  # in the grace
    world.now_s += 1
    naive.send("close_epoch", sender=B)
    assert naive.read("open_epoch") == FIRST + 1
    assert refuses(naive.send, "submit", job(3), sender=A) == "jobs: epoch"
    naive.send("submit_many", [job(3, epoch=FIRST + 1)], sender=B)
    assert naive.read("state_of", FIRST) == (0, 2, 0, 0, 0)
    assert naive.read("state_of", FIRST + 1) == (2, 1, 0, 0, 0)
    assert naive.read("state_of", FIRST + 2) == (0, 0, 0, 0, 0)
    assert [word >> 96 for word in naive.read("job_range", 1, 2)] == [
        int.from_bytes(A, "big"),
        int.from_bytes(B, "big"),
    ]
    assert refuses(naive.read, "job_range", 1, 3) == "jobs: number"


def test_a_node_reports_a_job_once_and_two_nodes_may_report_the_same(world):
    naive = world.naive
    naive.send("submit", job(1), sender=A)
    assert refuses(naive.send, "submit", job(1), sender=A) == "jobs: known"
    assert refuses(naive.send, "submit_many", [job(2), job(2)], sender=A) == "jobs: known"
    naive.send("submit", job(1), sender=B)
    close(world)
    assert refuses(naive.send, "submit", job(1, epoch=FIRST + 1), sender=A) == "jobs: known"
    assert naive.read("places", B, job(1)[0]) == 2


def test_an_epoch_without_jobs_pays_nobody(world):
    close(world)
    assert refuses(world.naive.send, "evaluate", FIRST, 1) == "jobs: number"
    assert refuses(world.naive.send, "pay", FIRST, 1) == "naive: nodes"


def test_who_refuses_a_share_may_collect_it(world):
    wallet = world.deploy_code(REFUSES_MONEY)
    world.naive.send("fund", FIRST, value=ETHER)
    world.naive.send("submit", job(1), sender=wallet)
    close(world)
    world.naive.send("evaluate", FIRST, 1)
    assert names(world.naive.send("pay", FIRST, 1)) == ["Refused"]
    assert world.naive.read("owed", wallet) == ETHER
    assert refuses(world.naive.send, "collect", sender=wallet) == "naive: payment"
    assert refuses(world.naive.send, "collect", sender=A) == "naive: nothing"
    world.env.set_code("0x" + wallet.hex(), b"")
    world.naive.send("collect", sender=wallet)
    assert world.balance(wallet) == ETHER


def test_bad_calls_are_refused(world):
    assert refuses(world.contract, "Naive", GENESIS_S, 0, 0, 0, 1) == "jobs: epoch seconds"
    late, early = GENESIS_S + 2, GENESIS_S + 1
    assert refuses(world.naive.send, "submit", (bytes(32), late, early, 1)) == "jobs: times"
    assert refuses(world.naive.send, "submit", job(1, value=51)) == "jobs: value"
    push = (world.naive.send, "push")
    assert refuses(*push, [A], []) == "naive: lengths"
    assert refuses(*push, [A], [2], value=1) == "naive: value"
    assert refuses(*push, [A], [1], value=2) == "naive: value"
    assert refuses(*push, [world.deploy_code(REFUSES_MONEY)], [1], value=1) == "naive: payment"
    world.naive.send("push", [A, B], [1, 2], value=3)
    assert [world.balance(node) for node in (A, B)] == [1, 2]
