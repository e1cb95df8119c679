"""Stuck transactions: replaced by others with the same nonce and higher fees, and still each purpose happens once."""

import itertools
import sqlite3

import pytest
from chain_world import CHAIN_ID, COIN
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meridian.node.chain import replacement as replacement_module
from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.fees import quote, raised
from meridian.node.chain.journal import SenderJournal
from meridian.node.chain.rpc import RpcError
from meridian.node.chain.sender import NotMined, Sender
from meridian.node.chain.signing import Call, Fees, read_signed, sign_transaction
from meridian.primitives.fil_address import CALIBRATION
from meridian.primitives.ids import Address, address_text

SINK = Address(b"\x77" * 20)


class Congested:
    """A chain with a market: what it asks for can be raised, and a block takes only what offers as much.

    The chain below is a real one; this only holds transactions back, as a full block does.
    """

    def __init__(self, chain):
        self.chain = chain
        self.price_wei = 0
        """What a transaction must offer to get into a block."""
        self.asked_wei = None
        """The base fee that the endpoint tells; None: the price."""
        self.blocks = 0
        self.waiting = {}

    def call(self, method, *params):
        [answer] = self.batch([(method, params)])
        if isinstance(answer, RpcError):
            raise answer
        return answer

    def batch(self, calls):
        return [self._one(method, params) for method, params in calls]

    def _one(self, method, params):
        match method:
            case "eth_blockNumber":
                self.blocks += 1  # time passes: a block every time that somebody looks
                self._admit()
                return hex(self.blocks)
            case "eth_sendRawTransaction":
                return self._send(params[0])
            case "eth_feeHistory":
                asked = self.price_wei if self.asked_wei is None else self.asked_wei
                return {"baseFeePerGas": [hex(max(asked, 10**9))] * 2}
            case "eth_maxPriorityFeePerGas":
                return hex(10**9)
            case "eth_getTransactionByHash" if params[0] in self._hashes():
                return {"hash": params[0]}
        try:
            return self.chain.call(method, *params)
        except RpcError as error:
            return error

    def _hashes(self):
        from meridian.primitives.eip712 import keccak

        return {"0x" + keccak(raw).hex() for raw in self.waiting.values()}

    def _send(self, text):
        raw = bytes.fromhex(text[2:])
        new = read_signed(raw)
        old = self.waiting.get(new.nonce)
        if old == raw:
            return RpcError(-32000, "already known")
        if old is not None:
            before = read_signed(old).fees
            if new.fees.max_fee_wei * 8 < before.max_fee_wei * 9 or (
                new.fees.tip_wei * 8 < before.tip_wei * 9
            ):
                return RpcError(-32000, "replacement transaction underpriced")
        self.waiting[new.nonce] = raw
        self._admit()
        return "0x"

    def _admit(self):
        for nonce in sorted(self.waiting):
            if read_signed(self.waiting[nonce]).fees.max_fee_wei < self.price_wei:
                break
            try:
                self.chain.call("eth_sendRawTransaction", "0x" + self.waiting.pop(nonce).hex())
            except RpcError as error:
                assert "nonce too low" in error.message  # noqa: PT017


@pytest.fixture
def market(chain):
    return Congested(chain)


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "journal.sqlite"


def sink_balance(chain):
    return int(chain.call("eth_getBalance", address_text(SINK)), 16)


def states(journal):
    rows = sqlite3.connect(journal).execute("SELECT state FROM attempts ORDER BY attempt")
    return [state for (state,) in rows]


def test_a_stuck_transaction_is_replaced_and_its_waiter_gets_the_receipt(market, keys, journal):
    sender = Sender(market, keys[0], journal, replace_after_s=0.05)
    sender.submit(SINK, b"", 1, purpose="warm up")
    market.price_wei, market.asked_wei = 10 * 10**9, 10**9
    tx_hash = sender.submit(SINK, b"", 10, purpose="pay")  # offers 3 * 10^9
    market.asked_wei = None
    receipt = sender.wait(tx_hash, 10)
    assert receipt.status == 1
    assert receipt.tx_hash != tx_hash
    assert sink_balance(market.chain) == 11
    assert states(journal) == ["mined", "superseded", "mined"]
    # The purpose is done, for this process and for the next; both names of it lead to the one receipt.
    assert sender.submit(SINK, b"", 10, purpose="pay") == receipt.tx_hash
    sender.close()
    again = Sender(market, keys[0], journal)
    assert again.submit(SINK, b"", 10, purpose="pay") == receipt.tx_hash
    assert again.wait(tx_hash, 1).tx_hash == receipt.tx_hash
    assert sink_balance(market.chain) == 11


def test_all_that_offer_too_little_are_raised_together(market, keys, journal):
    sender = Sender(market, keys[0], journal, replace_after_s=0.05)
    calls = [(f"pay {amount}", Call(SINK, b"", amount)) for amount in (1, 10, 100)]
    market.price_wei, market.asked_wei = 20 * 10**9, 10**9
    hashes = sender.submit_many(calls)
    market.asked_wei = None
    receipts = sender.wait_all(hashes, 10)
    assert [one.status for one in receipts] == [1, 1, 1]
    assert sink_balance(market.chain) == 111
    assert states(journal) == ["superseded"] * 3 + ["mined"] * 3


def test_the_first_may_be_mined_after_it_was_replaced(market, keys, journal, chain):
    """The endpoint refuses or loses the replacement: the journal follows whichever the chain took."""
    sender = Sender(market, keys[0], journal, replace_after_s=0.02)
    market.price_wei, market.asked_wei = 10**12, 10**9  # far beyond what may be offered
    tx_hash = sender.submit(SINK, b"", 5, purpose="pay")
    first = market.waiting[0]
    with pytest.raises(NotMined):
        sender.wait(tx_hash, 1.0)
    assert "replaced" in states(journal)
    market.waiting.clear()
    chain.call("eth_sendRawTransaction", "0x" + first.hex())
    assert sender.wait(tx_hash, 5).tx_hash == tx_hash
    assert states(journal)[0] == "mined"
    assert set(states(journal)[1:]) == {"superseded"}
    sender.close()
    assert Sender(market, keys[0], journal).submit(SINK, b"", 5, purpose="pay") == tx_hash
    assert sink_balance(chain) == 5


def test_offers_are_bounded(market, keys, journal, monkeypatch):
    monkeypatch.setattr(replacement_module, "REPLACE_AFTER_BLOCKS", 0)
    sender = Sender(market, keys[0], journal, replace_after_s=0.0)
    market.price_wei, market.asked_wei = 10**15, 10**9
    tx_hash = sender.submit(SINK, b"", 5, purpose="pay")
    with pytest.raises(NotMined):
        sender.wait(tx_hash, 1.5)
    rows = sqlite3.connect(journal).execute("SELECT raw FROM attempts").fetchall()
    offers = [read_signed(raw).fees.max_fee_wei for (raw,) in rows]
    assert 2 < len(offers) <= 1 + replacement_module.REPLACEMENTS_MAX
    assert all(after * 8 >= before * 9 for before, after in itertools.pairwise(offers))
    assert offers[-1] <= offers[0] * replacement_module.FEE_RAISE_MAX


def test_a_chain_without_blocks_is_not_paid_more(chain, keys, journal, monkeypatch):
    monkeypatch.setattr(chain, "_automine", False)
    sender = Sender(chain, keys[0], journal, replace_after_s=0.0)
    tx_hash = sender.submit(SINK, b"", 5, purpose="pay")
    with pytest.raises(NotMined):
        sender.wait(tx_hash, 0.3)
    assert states(journal) == ["signed"]
    chain.mine()
    assert sender.wait(tx_hash, 1).status == 1


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([0, 4, 9, 30]), st.booleans(), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_every_purpose_happens_once_in_any_market(keys, alloc, tmp_path_factory, steps):
    """Prices that rise and fall, pools that forget, processes that start anew: three payments, once each."""
    chain = EmbeddedChain(None, CHAIN_ID, alloc)
    market, path = Congested(chain), tmp_path_factory.mktemp("market") / "journal.sqlite"
    sender = Sender(market, keys[0], path, replace_after_s=0.0)
    for price, forgets, restarts in [*steps, (0, False, True), (0, False, False)]:
        market.price_wei, market.asked_wei = price * 10**9, 10**9
        if forgets:
            market.waiting.clear()
        if restarts:
            sender.close()
            sender = Sender(market, keys[0], path, replace_after_s=0.0)
        hashes = [
            sender.submit(SINK, b"", amount, purpose=f"pay {amount}") for amount in (1, 10, 100)
        ]
        market.asked_wei = None
        try:
            sender.wait_all(hashes, 0.1)
        except NotMined:
            continue
    assert all(one.status for one in sender.wait_all(hashes, 5))
    assert sink_balance(chain) == 111
    assert int(chain.call("eth_getTransactionCount", address_text(keys[0].address)), 16) == 3
    sender.close()
    chain.close()


def test_a_replacement_offers_enough_for_each_kind_of_pool():
    old, asked = Fees(1000, 7), Fees(10, 1)
    assert raised(old, asked, CHAIN_ID) == Fees(1126, 8)
    assert raised(old, asked, CALIBRATION) == Fees(1251, 9)
    assert raised(Fees(0, 0), asked, CHAIN_ID) == Fees(10, 1)
    assert raised(old, Fees(5000, 50), CHAIN_ID) == Fees(5000, 50)


def test_signed_bytes_can_be_read_back(keys):
    for to in (None, SINK):
        call = Call(to, b"\x00abc", 5)
        _, raw = sign_transaction(
            keys[0], call, chain_id=CHAIN_ID, nonce=0, gas=99, fees=Fees(100, 3)
        )
        read = read_signed(raw)
        assert (read.call, read.nonce, read.gas, read.fees) == (call, 0, 99, Fees(100, 3))


def test_a_quote_names_what_leaves_the_account(chain, keys):
    [one] = quote(chain, keys[0].address, [Call(SINK, b"", COIN)])
    assert one.gas_estimate == 21_000
    assert one.gas_limit == 25_200
    assert one.cost_max_atto == COIN + 25_200 * one.fees.max_fee_wei
    assert one.cost_atto <= one.cost_max_atto - COIN


def test_confirmations_count_before_a_purpose_is_done(chain, keys, journal):
    sender = Sender(chain, keys[0], journal, confirmations=2)
    tx_hash = sender.submit(SINK, b"", 5, purpose="pay")
    with pytest.raises(NotMined):
        sender.wait(tx_hash, 0.2)
    assert states(journal) == ["signed"]  # a reorganisation could still take it away
    assert sender.submit(SINK, b"", 5, purpose="pay") == tx_hash
    chain.mine(empty=True)
    chain.mine(empty=True)
    assert sender.wait(tx_hash, 1).status == 1
    assert states(journal) == ["mined"]
    assert sink_balance(chain) == 5


def test_a_journal_of_the_first_version_still_opens(keys, journal):
    """Replacements are a new state in an old column: nothing has to be converted."""
    SenderJournal(journal, keys[0].address, CHAIN_ID).close()
    assert states(journal) == []
