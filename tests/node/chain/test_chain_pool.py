"""The pool against a simple model, and its bounds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meridian.node.chain import pool as module
from meridian.node.chain.pool import Pool, Pooled
from meridian.node.chain.rules import SignedTransaction, TransactionRefused
from meridian.primitives.ids import Address


def transaction(sender: int, nonce: int, fee: int = 100, size: int = 100) -> SignedTransaction:
    tag = f"{sender}/{nonce}/{fee}".encode().ljust(32, b".")
    account = Address(bytes((sender,)) * 20)
    return SignedTransaction(tag, account, nonce, 21_000, fee, fee, 0, bytes(size), None)


actions = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5), st.sampled_from([100, 105, 110, 121])),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(actions=actions, used=st.dictionaries(st.integers(0, 3), st.integers(0, 3)))
def test_the_line_up_gives_each_senders_run_of_nonces_in_order(actions, used):
    pool, model = Pool(), {}
    for sequence, (sender, nonce, fee) in enumerate(actions):
        new = transaction(sender, nonce, fee)
        try:
            old = pool.check(new, 0, 10**30)
        except TransactionRefused:
            assert (sender, nonce) in model
            assert fee * 100 < model[sender, nonce][0] * 110
            continue
        assert (old is not None) == ((sender, nonce) in model)
        pool.add(Pooled(sequence, new))
        model[sender, nonce] = (fee, new.hash)
    assert len(pool) == len(model)
    assert sorted(pool.hashes()) == sorted(entry[1] for entry in model.values())
    # Drain as a block does: each sender from the nonce its account has, until a gap.
    account = {sender: used.get(sender, 0) for sender in range(4)}
    taken, line_up = [], pool.line_up()
    for one in line_up:
        sender = one.sender[0]
        if one.nonce < account[sender]:
            line_up.take()
        elif one.nonce == account[sender]:
            account[sender] += 1
            taken.append((sender, one.nonce))
            line_up.take()
    for sender in range(4):
        nonce, wanted = used.get(sender, 0), []
        while (sender, nonce) in model:
            wanted.append((sender, nonce))
            nonce += 1
        assert [one for one in taken if one[0] == sender] == wanted
        assert pool.next_nonce(Address(bytes((sender,)) * 20), used.get(sender, 0)) == nonce


def test_arrival_decides_among_senders():
    pool = Pool()
    for sequence, (sender, nonce) in enumerate([(2, 0), (1, 0), (2, 1), (1, 1)]):
        pool.add(Pooled(sequence, transaction(sender, nonce)))
    line_up, order = pool.line_up(), []
    for one in line_up:
        order.append((one.sender[0], one.nonce))
        line_up.take()
    assert order == [(2, 0), (1, 0), (2, 1), (1, 1)]


@pytest.mark.parametrize(
    ("bound", "value", "words"),
    [
        ("POOL_TRANSACTIONS_MAX", 2, "txpool is full"),
        ("POOL_BYTES_MAX", 250, "txpool is full"),
        ("POOL_PER_SENDER_MAX", 2, "nonce too high"),
    ],
)
def test_bounds_hold_and_dropping_makes_room(monkeypatch, bound, value, words):
    monkeypatch.setattr(module, bound, value)
    pool = Pool()
    for nonce in range(2):
        new = transaction(1, nonce)
        pool.check(new, 0, 10**30)
        pool.add(Pooled(nonce, new))
    third = transaction(1, 2)
    with pytest.raises(TransactionRefused, match=words):
        pool.check(third, 0, 10**30)
    pool.drop(pool.below(third.sender, 1))
    pool.check(third, 1, 10**30)
    pool.drop(pool.hashes())
    assert len(pool) == 0
    assert pool.senders() == []
