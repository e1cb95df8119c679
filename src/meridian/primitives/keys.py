"""secp256k1 keys: the one curve under everything that a contract may have to check.

Signatures are the 64 bytes of EIP-2098 (r, then s with the parity in its top bit) over a 32-byte digest. They are
deterministic (RFC 6979) and low-s; the other form of the same signature is refused, so a signature has one spelling.
"""

import functools
import hmac
from typing import Final

import coincurve

from meridian.errors import InvalidInput
from meridian.primitives.eip712 import keccak
from meridian.primitives.ids import Address

SIGNATURE_BYTES: Final = 64

_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_PARITY: Final = 1 << 255


class PrivateKey:
    """A secp256k1 private key of 32 bytes; its text forms never show the secret."""

    __slots__ = ("_key", "address")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < _ORDER:
            raise InvalidInput("secret", "not a secp256k1 private key of 32 bytes")
        self._key = coincurve.PrivateKey(secret)
        self.address = address_of_public_key(self._key.public_key.format(compressed=False))

    @property
    def secret(self) -> bytes:
        """The 32 secret bytes, for the keystore and the transaction signer only."""
        return bytes(self._key.secret)

    def sign(self, digest: bytes) -> bytes:
        """Return the compact 64-byte signature of a 32-byte digest."""
        if len(digest) != 32:
            raise InvalidInput("digest", f"{len(digest)} bytes where 32 are needed")
        raw = self._key.sign_recoverable(digest, hasher=None)
        return bytes(raw[:32]) + bytes((raw[32] | raw[64] << 7,)) + bytes(raw[33:64])

    def derive(self, *parts: bytes) -> bytes:
        """Return 32 secret bytes that only this key gives: HMAC-SHA256 under the secret over the parts.

        As the nonces of RFC 6979 they need no randomness and come out the same again. The first part must be a domain
        tag, so that bytes made for one purpose are never those of another.
        """
        return hmac.digest(self.secret, b"".join(parts), "sha256")

    def __repr__(self) -> str:
        return f"PrivateKey(0x{self.address.hex()})"


# A signer is met again and again; Keccak costs a tenth of a recovery.
@functools.lru_cache(maxsize=1024)
def address_of_public_key(uncompressed: bytes) -> Address:
    """Return the account of a 65-byte uncompressed public key."""
    return Address(keccak(uncompressed[1:])[12:])


def recover(digest: bytes, signature: bytes) -> Address:
    """Return the account that signed `digest`.

    Raises:
        InvalidInput: If the bytes are not a signature in the one canonical form.
    """
    if len(signature) != SIGNATURE_BYTES or len(digest) != 32:
        raise InvalidInput(
            "signature", f"{len(signature)} bytes where {SIGNATURE_BYTES} are needed"
        )
    packed = int.from_bytes(signature[32:], "big")
    s, parity = packed & ~_PARITY, packed >> 255
    if s > _ORDER // 2:
        raise InvalidInput("signature", "s is in the upper half of the order")
    raw = signature[:32] + s.to_bytes(32, "big") + bytes((parity,))
    try:
        public = coincurve.PublicKey.from_signature_and_message(raw, digest, hasher=None)
    except Exception as error:  # coincurve raises a bare Exception for a point off the curve
        raise InvalidInput("signature", "it belongs to no key") from error
    return address_of_public_key(public.format(compressed=False))


def signed_by(digest: bytes, signature: bytes, account: Address) -> bool:
    """Tell whether `account` signed `digest`; malformed signatures are simply not its."""
    try:
        return recover(digest, signature) == account
    except InvalidInput:
        return False
