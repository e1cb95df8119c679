"""The embedded chain in process: blocks, time, calls, estimates, logs, forks, durability."""

from pathlib import Path

import pytest
from chain_world import CHAIN_ID, COIN, Artefact, Clock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meridian.errors import InvalidInput, StorageFailure
from meridian.node.chain.contract import Contract
from meridian.node.chain.embedded import EmbeddedChain, read_alloc
from meridian.node.chain.rpc import RpcError
from meridian.node.chain.sender import Sender
from meridian.node.chain.signing import Call, Fees, create_address, sign_transaction
from meridian.primitives.ids import Address, address_text
from meridian.primitives.keys import PrivateKey

FEES = Fees(10 * 10**9, 10**8)
SINK = Address(b"\x77" * 20)


def transfer(key, nonce, value=1, *, gas=21_000, fees=FEES, data=b"", chain_id=CHAIN_ID):
    tx_hash, raw = sign_transaction(
        key, Call(SINK, data, value), chain_id=chain_id, nonce=nonce, gas=gas, fees=fees
    )
    return "0x" + tx_hash.hex(), "0x" + raw.hex()


def send(chain, raw):
    return chain.call("eth_sendRawTransaction", raw)


def number(chain):
    return int(chain.call("eth_blockNumber"), 16)


@pytest.fixture
def sender(chain: EmbeddedChain, keys: list[PrivateKey], tmp_path: Path) -> Sender:
    return Sender(chain, keys[0], tmp_path / "journal.sqlite")


@pytest.fixture
def deployed(chain, sender, probe) -> Contract:
    return Contract(chain, sender.deploy(probe, sender.address, purpose="deploy"), probe)


def test_a_transaction_stands_in_a_block_with_its_receipt(chain, keys):
    tx_hash, raw = transfer(keys[0], 0, 5)
    assert send(chain, raw) == tx_hash
    receipt = chain.call("eth_getTransactionReceipt", tx_hash)
    assert (receipt["status"], receipt["gasUsed"]) == ("0x1", "0x5208")
    block = chain.call("eth_getBlockByNumber", "latest", True)
    assert block["transactions"][0]["hash"] == tx_hash
    assert block["hash"] == receipt["blockHash"]
    assert chain.call("eth_getBlockByHash", block["hash"])["transactions"] == [tx_hash]
    assert chain.call("eth_getBalance", address_text(SINK)) == "0x5"
    assert chain.call("eth_getBalance", address_text(SINK), "0x0") == "0x0"


def test_block_times_follow_the_clock_and_grow_strictly(chain, keys, clock):
    start = int(clock.now_s)
    times = []
    for nonce in range(3):
        send(chain, transfer(keys[0], nonce)[1])
        times.append(chain.timestamp_s)
    clock.now_s += 100.7
    send(chain, transfer(keys[0], 3)[1])
    assert times == [start, start + 1, start + 2]
    assert chain.timestamp_s == start + 100


def test_views_see_time_move_while_the_chain_is_idle(chain, deployed, clock):
    head = number(chain)
    clock.now_s += 50
    assert deployed.read("now") == (int(clock.now_s), head + 1)
    clock.now_s += 50
    assert deployed.read("now") == (int(clock.now_s), head + 1)
    assert deployed.read("now", block=head) == (chain.timestamp_s, head)


def test_blockhash_gives_the_ancestors(chain, deployed):
    for _ in range(3):
        chain.mine(empty=True)
    wanted = chain.call("eth_getBlockByNumber", "0x2")["hash"]
    assert "0x" + deployed.read("ancestor", 2).hex() == wanted


def test_revert_reasons_reach_call_and_estimate(chain, deployed):
    call = {"to": address_text(deployed.address), "data": "0x" + deployed.encode("add", 13).hex()}
    for method in ("eth_call", "eth_estimateGas"):
        with pytest.raises(RpcError, match="execution reverted: probe: unlucky") as caught:
            chain.call(method, call)
        assert caught.value.code == 3
        assert caught.value.data.startswith("0x08c379a0")
    silent = {"to": call["to"], "data": "0x" + deployed.encode("plain_refusal").hex()}
    with pytest.raises(RpcError, match="execution reverted"):
        chain.call("eth_call", silent)


@pytest.mark.parametrize(
    ("function", "args"),
    [
        ("add", (5,)),
        ("fill", (0, 40)),
        ("clear", (0, 40)),  # refunds: the limit must cover the gas before them
        ("deep", (1,)),
        ("deep", (30,)),  # every level keeps back a 64th
        ("survive", ()),  # a callee that fails and takes all it was given
        ("emit_many", (10,)),
    ],
)
def test_estimates_suffice_and_are_close(chain, deployed, sender, keys, function, args):
    if function == "clear":
        sender.transact(deployed.address, deployed.encode("fill", 0, 40), purpose="fill first")
    data = deployed.encode(function, *args)
    call = {"from": address_text(sender.address), "to": address_text(deployed.address)}
    gas = int(chain.call("eth_estimateGas", call | {"data": "0x" + data.hex()}), 16)
    nonce = int(chain.call("eth_getTransactionCount", call["from"]), 16)
    tx_hash, raw = sign_transaction(
        keys[0], Call(deployed.address, data), chain_id=CHAIN_ID, nonce=nonce, gas=gas, fees=FEES
    )
    send(chain, "0x" + raw.hex())
    receipt = chain.call("eth_getTransactionReceipt", "0x" + tx_hash.hex())
    used = int(receipt["gasUsed"], 16)
    assert receipt["status"] == "0x1"
    assert used <= gas
    assert gas <= max(used * 13 // 10, used + used // 4) + (30_000 if function == "deep" else 0)


def test_an_estimate_costs_two_executions(chain, deployed, monkeypatch):
    from meridian.node.chain import execution

    runs = []
    real = execution.run_call
    monkeypatch.setattr(execution, "run_call", lambda *a: runs.append(1) or real(*a))
    data = "0x" + deployed.encode("deep", 5).hex()
    chain.call("eth_estimateGas", {"to": address_text(deployed.address), "data": data})
    assert len(runs) == 2


@pytest.mark.parametrize(
    ("fork", "gas"), [("cancun", 21_000 + 16 * 1000), ("prague", 21_000 + 40 * 1000)]
)
def test_forks_charge_calldata_by_their_own_rules(keys, alloc, fork, gas):
    chain = EmbeddedChain(None, CHAIN_ID, alloc, fork=fork)
    call = {
        "from": address_text(keys[0].address),
        "to": address_text(SINK),
        "data": "0x" + "ff" * 1000,
    }
    assert int(chain.call("eth_estimateGas", call), 16) == gas
    tx_hash, raw = transfer(keys[0], 0, gas=gas, data=b"\xff" * 1000)
    send(chain, raw)
    assert int(chain.call("eth_getTransactionReceipt", tx_hash)["gasUsed"], 16) == gas
    with pytest.raises(RpcError, match="intrinsic gas too low"):
        send(chain, transfer(keys[0], 1, gas=gas - 1, data=b"\xff" * 1000)[1])


def test_an_unknown_fork_is_refused():
    with pytest.raises(InvalidInput, match="fork"):
        EmbeddedChain(None, CHAIN_ID, {}, fork="osaka")


def test_nonces_out_of_order_wait_and_are_mined_in_order(chain, keys):
    late = [transfer(keys[0], nonce)[1] for nonce in (2, 1)]
    for raw in late:
        send(chain, raw)
    assert number(chain) == 0
    assert chain.call("eth_getTransactionCount", address_text(keys[0].address), "pending") == "0x0"
    send(chain, transfer(keys[0], 0)[1])
    assert number(chain) == 1
    assert len(chain.call("eth_getBlockByNumber", "0x1")["transactions"]) == 3
    assert chain.call("eth_getTransactionCount", address_text(keys[0].address)) == "0x3"


def test_refusals_say_what_other_nodes_say(chain, keys):
    poor = PrivateKey(b"\x09" * 32)
    cases = [
        (transfer(keys[0], 0, chain_id=1)[1], "invalid chain id"),
        (transfer(keys[0], 0, gas=20_999)[1], "intrinsic gas too low"),
        (transfer(keys[0], 0, gas=60_000_001)[1], "exceeds block gas limit"),
        (transfer(poor, 0)[1], "insufficient funds"),
        (transfer(keys[0], 0, fees=Fees(6, 0))[1], "underpriced"),
        (transfer(keys[0], 4096)[1], "nonce too high"),
        ("0x02c0", "not a transaction"),
        ("0x", "not a transaction"),
        ("0x03c0", "not a transaction|not supported"),
        (transfer(keys[0], 0)[1] + "00", "not a transaction"),
        ("0x02" + "ff" * 200_000, "oversized"),
    ]
    for raw, words in cases:
        with pytest.raises(RpcError, match=words):
            send(chain, raw)
    send(chain, transfer(keys[0], 0)[1])
    with pytest.raises(RpcError, match="nonce too low"):
        send(chain, transfer(keys[0], 0)[1])
    assert number(chain) == 1


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(raw=st.binary(max_size=300), flip=st.tuples(st.integers(0, 110), st.integers(1, 255)))
def test_no_bytes_break_admission(chain, keys, raw, flip):
    """Random bytes, and a good transaction with one byte changed, are refused or are another sender's."""
    good = bytearray.fromhex(transfer(keys[0], 4000)[1][2:])
    good[flip[0] % len(good)] ^= flip[1]
    for one in (raw, b"\x02" + raw, bytes(good)):
        with pytest.raises(RpcError):
            send(chain, "0x" + one.hex())
    assert number(chain) == 0


def test_a_replacement_needs_a_tenth_more(keys, alloc, clock):
    chain = EmbeddedChain(None, CHAIN_ID, alloc, clock=clock, automine=False)
    first, raw = transfer(keys[0], 0, 1)
    send(chain, raw)
    with pytest.raises(RpcError, match="already known"):
        send(chain, raw)
    with pytest.raises(RpcError, match="replacement transaction underpriced"):
        send(chain, transfer(keys[0], 0, 2, fees=Fees(FEES.max_fee_wei + 1, FEES.tip_wei))[1])
    second, raw = transfer(keys[0], 0, 3, fees=Fees(FEES.max_fee_wei * 2, FEES.tip_wei * 2))
    send(chain, raw)
    assert chain.call("eth_getTransactionByHash", first) is None
    assert chain.call("eth_getTransactionByHash", second)["blockHash"] is None
    chain.mine()
    assert chain.call("eth_getTransactionReceipt", second)["status"] == "0x1"
    assert chain.mine() is None


def test_waiting_costs_are_summed_against_the_balance(keys, clock):
    chain = EmbeddedChain(None, CHAIN_ID, {keys[0].address: COIN}, clock=clock, automine=False)
    send(chain, transfer(keys[0], 0, COIN * 6 // 10)[1])
    with pytest.raises(RpcError, match="insufficient funds"):
        send(chain, transfer(keys[0], 1, COIN * 6 // 10)[1])


def test_a_transaction_below_the_base_fee_waits_for_it_to_fall(chain, keys):
    base = int(chain.call("eth_getBlockByNumber", "0x0")["baseFeePerGas"], 16)
    tx_hash, raw = transfer(keys[0], 0, fees=Fees(base // 2, 1))
    send(chain, raw)
    receipt = chain.call("eth_getTransactionReceipt", tx_hash)
    assert receipt is not None
    assert number(chain) > 3
    assert int(receipt["effectiveGasPrice"], 16) <= base // 2


def test_blocks_hold_no_more_gas_than_their_limit(keys, alloc, clock):
    chain = EmbeddedChain(None, CHAIN_ID, alloc, clock=clock, automine=False)
    for key in keys[:3]:
        send(chain, transfer(key, 0, gas=60_000_000)[1])
    chain.mine()
    counts = [
        len(chain.call("eth_getBlockByNumber", hex(n))["transactions"])
        for n in range(1, number(chain) + 1)
    ]
    assert counts == [1, 1, 1]


def test_logs_by_address_topic_and_range(chain, deployed, sender, keys):
    for amount in (1, 2, 3):
        sender.transact(deployed.address, deployed.encode("add", amount), purpose=f"add {amount}")
    events = deployed.events("Added")
    assert [one.args["amount"] for one in events] == [1, 2, 3]
    assert [one.args["total"] for one in events] == [1, 3, 6]
    assert events[0].args["who"] == sender.address
    assert deployed.events("Added", from_block=events[1].block, to_block=events[1].block) == [
        events[1]
    ]
    assert deployed.events("Added", where={"who": sender.address}) == events
    assert deployed.events("Added", where={"who": keys[1].address}) == []
    assert chain.call("eth_getLogs", {"fromBlock": "0x0", "address": address_text(SINK)}) == []
    block_hash = chain.call("eth_getBlockByNumber", hex(events[2].block))["hash"]
    [log] = chain.call("eth_getLogs", {"blockHash": block_hash})
    assert log["transactionHash"] == "0x" + events[2].tx_hash.hex()


def test_events_come_in_pieces_when_there_are_too_many(chain, deployed, sender, monkeypatch):
    from meridian.node.chain import methods

    monkeypatch.setattr(methods, "LOGS_MAX", 7)
    for index in range(4):
        sender.transact(deployed.address, deployed.encode("emit_many", 5), purpose=f"emit {index}")
    with pytest.raises(RpcError, match="more than 7"):
        chain.call("eth_getLogs", {"fromBlock": "0x0"})
    assert [one.args["amount"] for one in deployed.events("Added")] == [0, 1, 2, 3, 4] * 4


def test_structs_and_exact_byte_strings(deployed, keys):
    pair = (keys[1].address, b"\x01" * 24)
    assert deployed.read("echo", [pair]) == ([pair], True)
    assert deployed.read("echo", [{"account": pair[0], "tag": pair[1]}], False) == ([pair], False)
    with pytest.raises(InvalidInput, match="exactly 24 bytes"):
        deployed.read("echo", [(pair[0], b"\x01" * 23)])
    with pytest.raises(InvalidInput, match="address of 20 bytes"):
        deployed.read("echo", [(b"short", pair[1])])
    with pytest.raises(InvalidInput, match="no nothing"):
        deployed.read("nothing")
    with pytest.raises(InvalidInput, match="arguments"):
        deployed.read("owner", 1)


def test_storage_and_code(chain, deployed, keys):
    account = address_text(deployed.address)
    words = [chain.call("eth_getStorageAt", account, hex(slot)) for slot in range(4)]
    assert f"0x{keys[0].address.hex():0>64}" in words
    assert chain.call("eth_getCode", account) != "0x"
    assert chain.call("eth_getCode", address_text(SINK)) == "0x"


def test_created_address_is_the_one_foreseen(chain, keys, probe: Artefact, tmp_path):
    sender = Sender(chain, keys[3], tmp_path / "j")
    assert sender.deploy(probe, SINK, purpose="d") == create_address(keys[3].address, 0)


def test_deep_calls_stop_at_the_rules_limit_not_at_pythons(chain, deployed):
    """1,024 levels is the EVM's bound; 300 levels is what a block's gas reaches with its 64ths, and must not crash."""
    data = "0x" + deployed.encode("deep", 300).hex()
    assert chain.call("eth_call", {"to": address_text(deployed.address), "data": data}) == "0x"


def test_reopening_gives_the_same_chain(tmp_path, keys, alloc, clock):
    path = tmp_path / "chain.sqlite"
    chain = EmbeddedChain(path, CHAIN_ID, alloc, clock=clock)
    hashes = [transfer(keys[0], nonce) for nonce in range(3)]
    for _, raw in hashes:
        send(chain, raw)
    waiting, raw = transfer(keys[0], 5)
    send(chain, raw)
    block = chain.call("eth_getBlockByNumber", "latest", True)
    with pytest.raises(StorageFailure, match="another process owns it"):
        EmbeddedChain(path, CHAIN_ID, alloc, clock=clock)
    chain.close()
    again = EmbeddedChain(path, CHAIN_ID, {}, clock=clock)
    assert again.call("eth_getBlockByNumber", "latest", True) == block
    assert again.call("eth_getTransactionByHash", waiting)["blockHash"] is None
    for nonce in (3, 4):
        send(again, transfer(keys[0], nonce)[1])
    assert again.call("eth_getTransactionReceipt", waiting)["status"] == "0x1"
    again.close()
    for arguments in [
        (1, alloc, "prague"),
        (CHAIN_ID, {SINK: 1}, "prague"),
        (CHAIN_ID, alloc, "cancun"),
    ]:
        with pytest.raises(InvalidInput, match="the chain was made with"):
            EmbeddedChain(path, *arguments[:2], fork=arguments[2], clock=clock)


def test_a_block_that_cannot_be_stored_leaves_nothing(tmp_path, keys, alloc, clock, monkeypatch):
    from meridian.node.chain import store

    path = tmp_path / "chain.sqlite"
    chain = EmbeddedChain(path, CHAIN_ID, alloc, clock=clock, automine=False)
    tx_hash, raw = transfer(keys[0], 0)
    send(chain, raw)
    with monkeypatch.context() as patch:
        # The last statement of the block's transaction fails, as on a full disk.
        patch.setattr(store, "_log_row", lambda _: (1,))
        patch.setattr(store, "_transaction_row", lambda _: (1,))
        with pytest.raises(StorageFailure):
            chain.mine()
    assert number(chain) == 0
    assert chain.call("eth_getBalance", address_text(SINK)) == "0x0"
    chain.close()
    again = EmbeddedChain(path, CHAIN_ID, alloc, clock=clock, automine=False)
    assert number(again) == 0
    again.mine()
    assert again.call("eth_getTransactionReceipt", tx_hash)["status"] == "0x1"
    again.close()


def test_a_transaction_that_breaks_the_machine_does_not_stop_the_chain(
    keys, alloc, clock, monkeypatch
):
    from eth.vm.forks.prague import PragueVM

    chain = EmbeddedChain(None, CHAIN_ID, alloc, clock=clock, automine=False)
    bad, raw = transfer(keys[0], 0, 666)
    send(chain, raw)
    good, raw = transfer(keys[1], 0, 1)
    send(chain, raw)
    real = PragueVM.apply_transaction

    def apply(self, header, transaction):
        if transaction.value == 666:
            raise RuntimeError("a bug in the machine")
        return real(self, header, transaction)

    monkeypatch.setattr(PragueVM, "apply_transaction", apply)
    chain.mine()
    assert chain.call("eth_getTransactionReceipt", good)["status"] == "0x1"
    assert chain.call("eth_getTransactionByHash", bad) is None


def test_alloc_text():
    one, two = "0x" + "11" * 20, "0x" + "AB" * 20
    assert read_alloc(f"{one},{two}=5") == {
        Address(b"\x11" * 20): 10**24,
        Address(b"\xab" * 20): 5,
    }
    for wrong in ("0x12", f"{one}=x", f"{one}=-1", f"{one},{one}"):
        with pytest.raises(InvalidInput, match="alloc"):
            read_alloc(wrong)


def test_the_clock_may_be_set_back(chain, keys, clock: Clock):
    send(chain, transfer(keys[0], 0)[1])
    before = chain.timestamp_s
    clock.now_s -= 3600
    send(chain, transfer(keys[0], 1)[1])
    assert chain.timestamp_s == before + 1
