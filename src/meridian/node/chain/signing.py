"""EIP-1559 transactions: their fields, their signature, and the address of a contract that they create."""

from dataclasses import dataclass
from typing import Final

import rlp

from meridian.primitives.eip712 import keccak
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

_TYPE: Final = b"\x02"
_PARITY: Final = 1 << 255


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
    """Return hash and raw bytes of a signed type 2 transaction; the same arguments give the same bytes.

    Source: EIP-1559 (0x02, then the RLP list of the fields; without the three of the signature it is what is signed).
    """
    fields = [
        chain_id,
        nonce,
        fees.tip_wei,
        fees.max_fee_wei,
        gas,
        b"" if call.to is None else bytes(call.to),
        call.value_atto,
        call.data,
        [],  # the access list
    ]
    signature = key.sign(keccak(_TYPE + rlp.encode(fields)))
    packed = int.from_bytes(signature[32:], "big")
    signed = [packed >> 255, int.from_bytes(signature[:32], "big"), packed & ~_PARITY]
    raw = _TYPE + bytes(rlp.encode(fields + signed))
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
