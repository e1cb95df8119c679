"""The envelope: whatever comes in, a well-formed answer goes out."""

import json

import pytest
from chain_world import CHAIN_ID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meridian.node.chain import jsonrpc
from meridian.node.chain.ledger import Ledger
from meridian.node.chain.methods import Methods
from meridian.node.chain.rules import Rules
from meridian.node.chain.signing import Call, Fees, sign_transaction
from meridian.primitives.ids import Address


@pytest.fixture
def methods(alloc, clock):
    ledger = Ledger(None, Rules(CHAIN_ID, "prague"), alloc, clock)
    yield Methods(ledger)
    ledger.close()


def ask(methods, payload):
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    answer = jsonrpc.answer(methods, body)
    return None if answer is None else json.loads(answer)


def call(method, *params, id=1):  # noqa: A002
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": list(params)}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"{", -32700),
        (b"\xff", -32700),
        (b"[" * 5000, -32700),
        (b"[]", -32600),
        (b"1", -32600),
        ({"id": 1, "method": "eth_chainId"}, -32600),
        ({"jsonrpc": "2.0", "id": {}, "method": "eth_chainId"}, -32600),
        ({"jsonrpc": "2.0", "id": True, "method": "eth_chainId"}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": 5}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": {}}, -32602),
        (call("eth_nothing"), -32601),
        (call("_head"), -32601),
        (call("eth_chainId", 1), -32602),
        (call("eth_getBalance"), -32602),
        (call("eth_getBalance", "0x12"), -32602),
        (call("eth_getBalance", "0x" + "11" * 20, "0x01"), -32602),
        (call("eth_getBalance", "0x" + "11" * 20, "soon"), -32602),
        (call("eth_getBalance", "0x" + "11" * 20, "0x64"), -32000),
        (call("eth_getBalance", "0x" + "11" * 20, []), -32602),
        (call("eth_call", {"to": "0x" + "11" * 20}, "latest", {}), -32602),
        (call("eth_call", {"too": 1}), -32602),
        (call("eth_call", {"data": "0x1"}), -32602),
        (call("eth_call", {"data": "0x11", "input": "0x22"}), -32602),
        (call("eth_getBlockByNumber", "latest", "yes"), -32602),
        (call("eth_getLogs", {"fromBlock": "0x2", "toBlock": "0x1"}), -32602),
        (call("eth_getLogs", {"topics": [[1]]}), -32602),
        (call("eth_getLogs", {"fromBlock": []}), -32602),
        (call("eth_sendRawTransaction", 5), -32602),
        (call("eth_sendRawTransaction", "0x"), -32000),
        (call("eth_feeHistory", "0x0", "latest"), -32602),
        (call("eth_getStorageAt", "0x" + "11" * 20, "0xzz"), -32602),
    ],
)
def test_faults_of_the_caller_have_their_codes(methods, payload, code):
    answer = ask(methods, payload)
    assert answer["error"]["code"] == code
    assert answer["jsonrpc"] == "2.0"


def test_batches_keep_ids_and_skip_notifications(methods):
    note = {"jsonrpc": "2.0", "method": "eth_chainId"}
    batch = [
        call("eth_chainId", id="a"),
        note,
        call("eth_none", id=7),
        5,
        call("net_version", id=None),
    ]
    answers = ask(methods, batch)
    assert [one["id"] for one in answers] == ["a", 7, None, None]
    assert answers[0]["result"] == hex(CHAIN_ID)
    assert answers[3]["result"] == str(CHAIN_ID)
    assert ask(methods, [note, note]) is None
    assert ask(methods, note) is None
    assert ask(methods, [note] * 1001)["error"]["code"] == -32600


def test_raw_transactions_of_a_batch_are_stored_in_one_step(methods, keys, monkeypatch):
    ledger = methods._ledger
    stored = []
    real = ledger.store.add_pooled
    monkeypatch.setattr(
        ledger.store, "add_pooled", lambda rows, old: stored.append(len(rows)) or real(rows, old)
    )
    raws = [
        "0x"
        + sign_transaction(
            keys[0],
            Call(Address(b"\x01" * 20), b""),
            chain_id=CHAIN_ID,
            nonce=nonce,
            gas=21_000,
            fees=Fees(10**10, 1),
        )[1].hex()
        for nonce in range(5)
    ]
    batch = [
        call("eth_sendRawTransaction", raw, id=index)
        for index, raw in enumerate([*raws, raws[0], "0x00"])
    ]
    answers = ask(methods, [*batch, call("eth_blockNumber", id=99)])
    assert ["result" in one for one in answers] == [True] * 5 + [False, False, True]
    assert answers[5]["error"]["message"] == "already known"
    assert stored == [5]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**70)
    | st.text(max_size=8)
    | st.sampled_from(["0x1", "latest"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["to", "data", "blockHash", "topics", "address", "fromBlock"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_parameters_are_an_internal_error(methods, data):
    name = data.draw(st.sampled_from(sorted(methods._table)))
    params = data.draw(st.lists(json_values, max_size=3))
    answer = ask(methods, call(name, *params))
    assert answer.get("error", {}).get("code") != -32603, answer
