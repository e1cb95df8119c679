"""Base58 (Bitcoin alphabet), and the libp2p names of Ed25519 keys, which the Rust Ephemera shows its users.

Source: https://datatracker.ietf.org/doc/html/draft-msporny-base58 and the libp2p specification "Peer Ids and Keys".
"""

from typing import Final

from meridian.errors import InvalidInput

TEXT_MAX: Final = 128
"""Characters that `decode` reads; the time grows with the square."""

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}
_ED25519: Final = bytes.fromhex("08011220")
"""Protobuf of a public key: field 1 (type) = 1 (Ed25519), field 2 (data) of 32 bytes."""
_IDENTITY_MULTIHASH: Final = bytes.fromhex("0024")
"""Hash function 0 (none), 36 bytes."""


def encode(data: bytes) -> str:
    """Return the text of any bytes; a leading zero byte is a leading ``1``."""
    number = int.from_bytes(data, "big")
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_ALPHABET[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(digits))


def decode(text: str, field: str = "base58") -> bytes:
    """Return the bytes of a text.

    Raises:
        InvalidInput: If it is too long or holds any other character.
    """
    if len(text) > TEXT_MAX:
        raise InvalidInput(field, f"longer than {TEXT_MAX} characters")
    number = 0
    for character in text:
        value = _VALUES.get(character)
        if value is None:
            raise InvalidInput(field, f"{character!r} is no base58 character")
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def public_key_text(ed25519_key: bytes) -> str:
    """Return the libp2p text of a 32-byte Ed25519 public key (``4XTTM...``)."""
    return encode(_protobuf(ed25519_key))


def parse_public_key(text: str, field: str = "public_key") -> bytes:
    """Return the 32 bytes of a key that `public_key_text` wrote; raises InvalidInput."""
    data = decode(text, field)
    if len(data) != 36 or not data.startswith(_ED25519):
        raise InvalidInput(field, "is not an Ed25519 public key")
    return data[4:]


def peer_id(ed25519_key: bytes) -> str:
    """Return the libp2p peer id of a 32-byte Ed25519 public key (``12D3KooW...``)."""
    return encode(_IDENTITY_MULTIHASH + _protobuf(ed25519_key))


def _protobuf(ed25519_key: bytes) -> bytes:
    if len(ed25519_key) != 32:
        raise InvalidInput("public_key", f"{len(ed25519_key)} bytes where 32 are needed")
    return _ED25519 + ed25519_key
