"""Pedersen commitments on secp256k1, and the challenges of proofs about them.

A commitment to a value v under a blinding r is ``v*G + r*H``: it hides v whatever one can compute, and nobody can open it in
two ways who does not know the logarithm of H, which was made of a hash. Commitments add up: the sum of some is a commitment
to the sum of their values. Sources: Pedersen 1991; libsecp256k1 (through coincurve) does the arithmetic.

Points are their 33 compressed bytes; `NOTHING` (33 zero bytes) is the point at infinity. Multiplication is not of constant
time: a prototype, not for a machine that others share.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Final

from coincurve import PublicKey

from meridian.errors import InvalidInput
from meridian.primitives.hashing import HIDDEN_LEAF, HIDDEN_NODE, HIDDEN_PROOF, sha256, tagged

ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
POINT_BYTES: Final = 33
SCALAR_BYTES: Final = 32
NOTHING: Final = bytes(POINT_BYTES)
_SEED_BYTES: Final = 32


def _second_generator() -> bytes:
    """Return the first point whose x is a hash of this text and a counter: its logarithm is unknown to all."""
    for counter in range(256):
        candidate = b"\x02" + sha256(b"Meridian hidden values" + bytes([counter]))
        try:
            return PublicKey(candidate).format()
        except ValueError:  # no point has this x
            continue
    raise AssertionError("256 hashes without a point")


G: Final = PublicKey.from_valid_secret((1).to_bytes(SCALAR_BYTES, "big")).format()
H: Final = _second_generator()
_H_KEY: Final = PublicKey(H)


def add(points: Iterable[bytes]) -> bytes:
    """Return the sum of points."""
    keys = [PublicKey(point) for point in points if point != NOTHING]
    if not keys:
        return NOTHING
    try:
        return PublicKey.combine_keys(keys).format()
    except ValueError:  # they cancel
        return NOTHING


def times(point: bytes, scalar: int) -> bytes:
    """Return a multiple of a point."""
    scalar %= ORDER
    if scalar == 0 or point == NOTHING:
        return NOTHING
    return PublicKey(point).multiply(_bytes(scalar)).format()


def minus(point: bytes) -> bytes:
    """Return the inverse of a point."""
    return point if point == NOTHING else bytes([point[0] ^ 1]) + point[1:]


def commit(value: int, blinding: int) -> bytes:
    """Return the commitment to a value; integers are taken modulo the group's order."""
    value, blinding = value % ORDER, blinding % ORDER
    parts = []
    if value:
        parts.append(PublicKey.from_valid_secret(_bytes(value)).format())
    if blinding:
        parts.append(_H_KEY.multiply(_bytes(blinding)).format())
    return add(parts)


def read_point(data: bytes, field: str) -> bytes:
    """Return bytes that are a point of the group, or `NOTHING`.

    Raises:
        InvalidInput: If they are neither; `field` is named.
    """
    if data == NOTHING:
        return data
    try:
        if len(data) != POINT_BYTES:
            raise ValueError
        return PublicKey(data).format()
    except ValueError:
        raise InvalidInput(field, "is no point of secp256k1") from None


def read_scalar(value: int, field: str) -> int:
    """Return a scalar in its one form.

    Raises:
        InvalidInput: If it is not below the group's order.
    """
    if not 0 <= value < ORDER:
        raise InvalidInput(field, "is no scalar of secp256k1")
    return value


def challenge(context: bytes, parts: Sequence[bytes]) -> int:
    """Return the verifier's question, which the prover cannot choose: a hash of all that was said before (Fiat-Shamir).

    Args:
        context: What the proof is about: network, epoch, node, statement.
        parts: Each with its length under the hash.
    """
    framed = b"".join(len(part).to_bytes(4, "big") + part for part in (context, *parts))
    return int.from_bytes(tagged(HIDDEN_PROOF, framed), "big") % ORDER


class Scalars:
    """Secret scalars from a seed: the core draws no randomness.

    Args:
        seed: 32 secret bytes. The same seed for another statement gives other scalars, since the statement is mixed in.
        statement: What is proven or committed.
    """

    def __init__(self, seed: bytes, statement: bytes) -> None:
        if len(seed) != _SEED_BYTES:
            raise InvalidInput("seed", f"{len(seed)} bytes, {_SEED_BYTES} are needed")
        self._key = hmac.digest(seed, statement, hashlib.sha256)
        self._count = 0

    def next(self) -> int:
        """Return one more, even to within 2^-256."""
        self._count += 1
        wide = hmac.digest(self._key, self._count.to_bytes(8, "big"), hashlib.sha512)
        return int.from_bytes(wide, "big") % ORDER


def root_of(commitments: Sequence[bytes]) -> bytes:
    """Return the root over a list of commitments, in the shape of RFC 9162 section 2.1.1; what a node commits to."""
    level = [tagged(HIDDEN_LEAF, commitment) for commitment in commitments]
    while len(level) > 1:
        pairs = [tagged(HIDDEN_NODE, *level[at : at + 2]) for at in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) - len(level) % 2 :]
    return level[0] if level else tagged(HIDDEN_LEAF)


def _bytes(scalar: int) -> bytes:
    return scalar.to_bytes(SCALAR_BYTES, "big")
