"""The sender: one purpose, one transaction, whatever fails in between."""

import sqlite3

import pytest
from chain_world import CHAIN_ID, COIN
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meridian.errors import InvalidInput, Overloaded, Reverted, StorageFailure
from meridian.node.chain import pool as pool_module
from meridian.node.chain import sender as sender_module
from meridian.node.chain.contract import Contract
from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.journal import SenderJournal, State
from meridian.node.chain.receipts import read_receipt
from meridian.node.chain.rpc import RpcError, RpcUnavailable
from meridian.node.chain.sender import NotMined, Sender
from meridian.node.chain.signing import Call, Fees, sign_transaction
from meridian.primitives.ids import Address, address_text

SINK = Address(b"\x77" * 20)


class Flaky:
    """A chain client whose sends can be lost on the way there, or their answers on the way back."""

    def __init__(self, chain):
        self.chain = chain
        self.plan = []  # per batch with sends: "lose" (never arrives), "deaf" (arrives, no answer), "ok"
        self.sent = []

    def call(self, method, *params):
        return self.chain.call(method, *params)

    def batch(self, calls):
        sends = [params[0] for method, params in calls if method == "eth_sendRawTransaction"]
        if not sends:
            return self.chain.batch(calls)
        fate = self.plan.pop(0) if self.plan else "ok"
        self.sent.append(sends)
        if fate == "lose":
            raise RpcUnavailable("lost on the way")
        answer = self.chain.batch(calls)
        if fate == "deaf":
            raise RpcUnavailable("lost on the way back")
        return answer


@pytest.fixture
def flaky(chain):
    return Flaky(chain)


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "journal.sqlite"


def nonce_of(chain, key):
    return int(chain.call("eth_getTransactionCount", address_text(key.address)), 16)


def sink_balance(chain):
    return int(chain.call("eth_getBalance", address_text(SINK)), 16)


def test_the_same_purpose_is_the_same_transaction(chain, keys, journal):
    sender = Sender(chain, keys[0], journal)
    first = sender.submit(SINK, b"", 1, purpose="pay")
    assert sender.submit(SINK, b"", 1, purpose="pay") == first
    sender.close()
    assert Sender(chain, keys[0], journal).submit(SINK, b"", 2, purpose="pay") == first
    assert sink_balance(chain) == 1


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    fates=st.lists(st.sampled_from(["lose", "deaf", "ok"]), max_size=12),
    restarts=st.lists(st.booleans(), min_size=12, max_size=12),
    mines=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_every_purpose_happens_once_under_any_faults(
    keys, alloc, tmp_path_factory, fates, restarts, mines
):
    """Repeating purposes until they succeed pays each exactly once, through lost messages and restarts."""
    chain = EmbeddedChain(None, CHAIN_ID, alloc, automine=False)
    flaky, path = Flaky(chain), tmp_path_factory.mktemp("sender") / "journal.sqlite"
    flaky.plan = list(fates)
    sender = Sender(flaky, keys[0], path)
    for step in range(40):
        restart, mine = restarts[step % 12], mines[step % 12]
        try:
            for amount in (1, 10, 100):
                sender.submit(SINK, b"", amount, purpose=f"pay {amount}")
        except RpcUnavailable:
            if restart:
                sender.close()
                sender = Sender(flaky, keys[0], path)
            continue
        finally:
            if mine:
                chain.mine()
        break
    chain.mine()
    assert sink_balance(chain) == 111
    assert nonce_of(chain, keys[0]) == 3
    sender.close()
    chain.close()


def test_nothing_is_sent_that_is_not_on_disk(flaky, keys, journal, monkeypatch):
    """A crash right after signing leaves the transaction in the journal; a failing disk sends nothing."""
    flaky.plan = ["lose"]
    sender = Sender(flaky, keys[0], journal)
    with pytest.raises(RpcUnavailable):
        sender.submit(SINK, b"", 1, purpose="pay")
    [(raw, state)] = sqlite3.connect(journal).execute("SELECT raw, state FROM attempts").fetchall()
    assert flaky.sent == [["0x" + raw.hex()]]
    assert state == "signed"

    def fail(*_args, **_kwargs):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sender_module, "sign_transaction", fail)
    with pytest.raises(StorageFailure, match="disk I/O error"):
        sender.submit(SINK, b"", 1, purpose="other")
    assert len(flaky.sent) == 1


def test_a_lost_transaction_is_sent_again_by_the_next_process(flaky, keys, journal):
    flaky.plan = ["lose", "lose"]
    sender = Sender(flaky, keys[0], journal)
    for purpose in ("one", "two"):
        with pytest.raises(RpcUnavailable):
            sender.submit(SINK, b"", 1, purpose=purpose)
    sender.close()
    again = Sender(flaky, keys[0], journal)
    third = again.submit(SINK, b"", 1, purpose="three")
    assert again.wait(third, 1).status == 1
    assert sink_balance(flaky.chain) == 3


def test_waiting_sends_a_lost_transaction_again(flaky, keys, journal, monkeypatch):
    monkeypatch.setattr(sender_module, "_RESEND_AFTER_S", 0.02)
    flaky.plan = ["deaf"]
    real = flaky.chain
    sender = Sender(flaky, keys[0], journal)
    # Accepted by a node that forgets it: the answer is a success, but nothing is there.
    flaky.batch_real, dropped = flaky.batch, []

    def forgetful(calls):
        if calls[0][0] == "eth_sendRawTransaction" and not dropped:
            dropped.append(calls)
            return ["0x" + "00" * 32]
        return real.batch(calls)

    flaky.batch = forgetful
    tx_hash = sender.submit(SINK, b"", 1, purpose="pay")
    assert sender.wait(tx_hash, 5).status == 1
    assert len(dropped) == 1


def test_a_reverted_purpose_may_be_tried_again(chain, keys, journal, probe):
    sender = Sender(chain, keys[0], journal)
    contract = Contract(chain, sender.deploy(probe, SINK, purpose="deploy"), probe)
    with pytest.raises(Reverted, match="probe: unlucky"):
        sender.submit(contract.address, contract.encode("add", 13), purpose="add")
    assert nonce_of(chain, keys[0]) == 1  # refused at the estimate: no nonce was used
    receipt = sender.transact(contract.address, contract.encode("add", 1), purpose="add")
    assert contract.decode("Added", receipt.logs)[0].args["amount"] == 1


def test_a_revert_in_the_block_has_its_reason_and_can_be_repeated(
    chain, keys, journal, probe, monkeypatch
):
    sender = Sender(chain, keys[0], journal)
    contract = Contract(chain, sender.deploy(probe, SINK, purpose="deploy"), probe)
    real = chain.batch

    def blind(calls):  # an endpoint whose estimate does not see the revert coming
        return [
            hex(100_000) if method == "eth_estimateGas" else result
            for (method, _), result in zip(calls, real(calls), strict=True)
        ]

    with monkeypatch.context() as patch:
        patch.setattr(chain, "batch", blind)
        with pytest.raises(Reverted, match="probe: unlucky"):
            sender.transact(contract.address, contract.encode("add", 13), purpose="add")
    assert nonce_of(chain, keys[0]) == 2
    assert sender.transact(contract.address, contract.encode("add", 2), purpose="add").status == 1
    assert contract.read("total") == 2


def test_the_reason_is_found_where_receipts_do_not_tell(chain, keys, journal, probe):
    sender = Sender(chain, keys[0], journal)
    contract = Contract(chain, sender.deploy(probe, SINK, purpose="deploy"), probe)
    tx_hash, raw = sign_transaction(
        keys[1],
        Call(contract.address, contract.encode("add", 13)),
        chain_id=CHAIN_ID,
        nonce=0,
        gas=90_000,
        fees=Fees(10**10, 1),
    )
    chain.call("eth_sendRawTransaction", "0x" + raw.hex())
    shown = chain.call("eth_getTransactionReceipt", "0x" + tx_hash.hex())
    del shown["revertReason"]
    assert read_receipt(chain, tx_hash, shown).reason == "probe: unlucky"


def test_a_second_user_of_the_key_costs_a_nonce_not_a_purpose(chain, keys, journal):
    sender = Sender(chain, keys[0], journal)
    sender.transact(SINK, b"", 1, purpose="one")
    _, raw = sign_transaction(
        keys[0], Call(SINK, b"", 5), chain_id=CHAIN_ID, nonce=1, gas=21_000, fees=Fees(10**10, 1)
    )
    chain.call("eth_sendRawTransaction", "0x" + raw.hex())
    sender.transact(SINK, b"", 10, purpose="two")
    assert sink_balance(chain) == 16
    assert nonce_of(chain, keys[0]) == 3


def test_two_processes_with_one_journal_share_its_nonces(chain, keys, journal):
    senders = [Sender(chain, keys[0], journal) for _ in range(2)]
    for turn in range(6):
        senders[turn % 2].submit(SINK, b"", 1, purpose=f"pay {turn // 2}")
    assert sink_balance(chain) == 3
    assert nonce_of(chain, keys[0]) == 3


def test_a_refusal_gives_the_nonce_back(keys, tmp_path, monkeypatch):
    chain = EmbeddedChain(None, CHAIN_ID, {keys[0].address: COIN}, automine=False)
    sender = Sender(chain, keys[0], tmp_path / "j")
    with pytest.raises(RpcError, match="insufficient funds"):
        sender.submit(SINK, b"", 2 * COIN, purpose="too much")
    # Affordable alone, so the estimate passes; refused by the pool beside what already waits.
    sender.submit(SINK, b"", COIN * 6 // 10, purpose="first")
    with pytest.raises(RpcError, match="insufficient funds"):
        sender.submit(SINK, b"", COIN * 6 // 10, purpose="second")
    sender.submit(SINK, b"", 1, purpose="third")
    chain.mine()
    assert nonce_of(chain, keys[0]) == 2
    monkeypatch.setattr(pool_module, "POOL_TRANSACTIONS_MAX", 0)
    with pytest.raises(Overloaded):
        sender.submit(SINK, b"", 1, purpose="fourth")
    monkeypatch.undo()
    sender.submit(SINK, b"", 1, purpose="fourth")
    chain.mine()
    assert nonce_of(chain, keys[0]) == 3


def test_many_at_once(chain, keys, journal, probe):
    sender = Sender(chain, keys[0], journal)
    contract = Contract(chain, sender.deploy(probe, SINK, purpose="deploy"), probe)
    calls = [
        (f"add {amount}", Call(contract.address, contract.encode("add", amount)))
        for amount in range(150)
    ]
    results = sender.submit_many(calls)
    assert isinstance(results[13], Reverted)
    hashes = [one for one in results if isinstance(one, bytes)]
    receipts = sender.wait_all(hashes, 5)
    assert [one.tx_hash for one in receipts] == hashes
    assert all(one.status for one in receipts)
    assert sender.submit_many(calls[:13]) == hashes[:13]
    assert nonce_of(chain, keys[0]) == 150
    with pytest.raises(InvalidInput, match="twice"):
        sender.submit_many([calls[0], calls[0]])


def test_waiting_ends(keys, alloc, journal):
    chain = EmbeddedChain(None, CHAIN_ID, alloc, automine=False)
    sender = Sender(chain, keys[0], journal)
    tx_hash = sender.submit(SINK, b"", 1, purpose="pay")
    with pytest.raises(NotMined):
        sender.wait(tx_hash, 0.05)
    chain.mine()
    assert sender.wait(tx_hash, 0.05).status == 1


def test_a_journal_belongs_to_one_key_and_chain(chain, keys, alloc, journal):
    Sender(chain, keys[0], journal).submit(SINK, b"", 1, purpose="pay")
    with pytest.raises(InvalidInput, match="journal"):
        Sender(chain, keys[1], journal).submit(SINK, b"", 1, purpose="pay")
    other = EmbeddedChain(None, 7, alloc)
    with pytest.raises(InvalidInput, match="journal"):
        Sender(other, keys[0], journal).submit(SINK, b"", 1, purpose="pay")


def test_a_live_nonce_is_never_signed_twice(keys, journal):
    book = SenderJournal(journal, keys[0].address, CHAIN_ID)
    [first] = book.sign(["a"], lambda _i, nonce: (bytes((nonce,)) * 32, b"raw"), 4)
    [again] = book.sign(["a"], lambda _i, _n: pytest.fail("signed twice"), 9)
    assert first == again
    assert first.nonce == 4
    book.settle(first.tx_hash, State.SUPERSEDED)
    [second] = book.sign(["a"], lambda _i, nonce: (b"\xff" * 31 + bytes((nonce,)), b"raw"), 5)
    assert (second.nonce, book.latest("a")) == (5, second)
    assert not book.refuse(book.by_hash(first.tx_hash))
    assert book.refuse(second)
    book.close()
