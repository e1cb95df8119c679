"""Filecoin's text forms of an EVM account: ``f410f…``, and ``f0…`` for an actor that has only a number.

Sources: FIP-0048 (f4 addresses), FIP-0055 (the Ethereum address manager is namespace 10; the EVM sees an actor that
has no such address as 0xff, eleven zero bytes and the number in 8 bytes). ``t`` in front is the same on test networks.
Other kinds (f1, f2, f3) name keys and actors whose EVM account cannot be computed from the text.
"""

import base64
import hashlib
import re
from typing import Final

from meridian.errors import InvalidInput
from meridian.primitives.ids import Address, address_text, parse_address

MAINNET: Final = 314
"""Chain id of Filecoin's main network."""
CALIBRATION: Final = 314_159
"""Chain id of Filecoin's public test network."""
CHAIN_IDS: Final = frozenset({MAINNET, CALIBRATION})

_PROTOCOL: Final = b"\x04\x0a"
"""The f4 protocol byte and namespace 10, which its checksum covers too."""
_CHECKSUM_BYTES: Final = 4
_MASK: Final = b"\xff" + bytes(11)

_DELEGATED = re.compile(r"[ft]410f([a-z2-7]{39})")
_NUMBERED = re.compile(r"[ft]0(0|[1-9][0-9]{0,19})")


def fil_text(address: Address, chain_id: int = MAINNET) -> str:
    """Return Filecoin's text of an account: ``f0…`` for a masked number, else ``f410f…``.

    Args:
        address: The 20 bytes that contracts see.
        chain_id: ``f`` on the main network, ``t`` everywhere else, as lotus prints them.
    """
    first = "f" if chain_id == MAINNET else "t"
    if address.startswith(_MASK):
        return f"{first}0{int.from_bytes(address[len(_MASK) :], 'big')}"
    digits = base64.b32encode(address + _checksum(address)).decode().rstrip("=").lower()
    return f"{first}410f{digits}"


def parse_account(text: str, field: str = "address") -> Address:
    """Read an account in any of its forms: ``0x…``, ``f410f…`` or ``f0…`` (``t`` for ``f`` too).

    Raises:
        InvalidInput: If it is none of these, or its checksum is wrong.
    """
    if text.startswith("0x"):
        return parse_address(text, field)
    numbered = _NUMBERED.fullmatch(text)
    if numbered:
        number = int(numbered[1])
        if number >= 1 << 64:
            raise InvalidInput(field, f"{text!r} is no actor: its number is beyond 64 bits")
        return Address(_MASK + number.to_bytes(8, "big"))
    delegated = _DELEGATED.fullmatch(text)
    if not delegated:
        raise InvalidInput(field, f"{text!r} is none of 0x…, f410f… and f0…")
    payload = base64.b32decode(delegated[1].upper() + "=")
    account = Address(payload[:-_CHECKSUM_BYTES])
    # b32decode drops the spare bits of the last digit: only the text that we would write is the address.
    if fil_text(account)[1:] != text[1:]:
        if account.startswith(_MASK) and _checksum(account) == payload[-_CHECKSUM_BYTES:]:
            raise InvalidInput(field, f"{text!r} is a masked number; write {fil_text(account)}")
        raise InvalidInput(field, f"{text!r} has a wrong checksum")
    return account


def account_text(address: Address, chain_id: int) -> str:
    """Return an account for people: ``0x…``, and on a Filecoin network its other form behind it."""
    plain = address_text(address)
    return f"{plain} ({fil_text(address, chain_id)})" if chain_id in CHAIN_IDS else plain


def _checksum(address: Address) -> bytes:
    return hashlib.blake2b(_PROTOCOL + address, digest_size=_CHECKSUM_BYTES).digest()
