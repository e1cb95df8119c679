"""Signed transactions, byte for byte those of eth-account."""

from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes
from hypothesis import given
from hypothesis import strategies as st

from meridian.node.chain.signing import Call, Fees, Signed, read_signed, sign_transaction
from meridian.primitives.eip712 import keccak
from meridian.primitives.ids import Address, address_text
from meridian.primitives.keys import PrivateKey

KEY = PrivateKey(b"\x07" * 32)
WORDS = st.integers(0, 2**64 - 1)
CALLS = st.builds(
    Call,
    st.none() | st.builds(Address, st.binary(min_size=20, max_size=20)),
    st.binary(max_size=80),
    st.integers(0, 2**128),
)


@given(CALLS, WORDS, WORDS, WORDS, st.builds(Fees, WORDS, WORDS))
def test_hash_and_bytes_are_those_of_eth_account(call, chain_id, nonce, gas, fees):
    hashed, raw = sign_transaction(KEY, call, chain_id=chain_id, nonce=nonce, gas=gas, fees=fees)
    said = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    fields = {
        "type": 2,
        "chainId": chain_id,
        "nonce": nonce,
        "gas": gas,
        "maxFeePerGas": fees.max_fee_wei,
        "maxPriorityFeePerGas": fees.tip_wei,
        "value": call.value_atto,
        "data": call.data,
        "accessList": [],
        **({} if call.to is None else {"to": bytes(call.to)}),
    }
    signature = {name: said[name] for name in ("v", "r", "s")}
    assert raw == TypedTransaction.from_dict(fields | signature).encode()
    assert hashed == keccak(raw)
    assert Account.recover_transaction(raw).lower() == address_text(KEY.address)
    assert read_signed(raw) == Signed(call, nonce, gas, fees)
