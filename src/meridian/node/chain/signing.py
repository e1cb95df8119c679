"""EIP-1559 transactions: their fields, their signature, and the address of a contract that they create."""

from dataclasses import dataclass
from typing import Any

import rlp
from eth_account.typed_transactions.typed_transaction import TypedTransaction

from meridian.primitives.eip712 import keccak
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

_PARITY = 1 << 255


@dataclass(frozen=True, slots=True)
class Fees:
    """What a transaction offers per gas: at most `max_fee_wei`, of that at most `tip_wei` beyond the base fee."""

    max_fee_wei: int
    tip_wei: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call to send: `to` None creates a contract from `data`; `value_atto` goes with it."""

    to: Address | None
    data: bytes
    value_atto: int = 0


def sign_transaction(
    key: PrivateKey, call: Call, *, chain_id: int, nonce: int, gas: int, fees: Fees
) -> tuple[bytes, bytes]:
    """Return hash and raw bytes of a signed type 2 transaction; the same arguments give the same bytes."""
    fields: dict[str, Any] = {
        "type": 2,
        "chainId": chain_id,
        "nonce": nonce,
        "gas": gas,
        "maxFeePerGas": fees.max_fee_wei,
        "maxPriorityFeePerGas": fees.tip_wei,
        "value": call.value_atto,
        "data": call.data,
        "accessList": [],
    }
    if call.to is not None:
        fields["to"] = bytes(call.to)
    signature = key.sign(bytes(TypedTransaction.from_dict(fields).hash()))
    packed = int.from_bytes(signature[32:], "big")
    signed = {
        "v": packed >> 255,
        "r": int.from_bytes(signature[:32], "big"),
        "s": packed & ~_PARITY,
    }
    raw = bytes(TypedTransaction.from_dict(fields | signed).encode())
    return keccak(raw), raw


@dataclass(frozen=True, slots=True)
class Signed:
    """What a raw transaction of `sign_transaction` says."""

    call: Call
    nonce: int
    gas: int
    fees: Fees


def read_signed(raw: bytes) -> Signed:
    """Return what stands in the raw bytes of a transaction that `sign_transaction` made."""
    fields = rlp.decode(raw[1:])
    _, nonce, tip, limit, gas, to, value = fields[:7]
    return Signed(
        Call(Address(to) if to else None, fields[7], int.from_bytes(value, "big")),
        nonce=int.from_bytes(nonce, "big"),
        gas=int.from_bytes(gas, "big"),
        fees=Fees(int.from_bytes(limit, "big"), int.from_bytes(tip, "big")),
    )


def create_address(sender: Address, nonce: int) -> Address:
    """Return the address of the contract that `sender` creates with its transaction number `nonce`."""
    return Address(keccak(rlp.encode([bytes(sender), nonce]))[12:])
