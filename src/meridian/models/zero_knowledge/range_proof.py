"""A committed value lies in 0..2^bits-1: each bit of it is committed to, and shown to be 0 or 1.

Grows with the number of bits (161 bytes each), as the oldest of these proofs do; Bulletproofs are about ten times
shorter (decision 50). Sources: Cramer, Damgard, Schoenmakers 1994 (either of two); Brands 1997, Boudot 2000 (bits).
"""

from dataclasses import dataclass
from typing import Final

from meridian.errors import InvalidInput
from meridian.models.zero_knowledge.group import (
    ORDER,
    POINT_BYTES,
    SCALAR_BYTES,
    G,
    H,
    Scalars,
    add,
    challenge,
    commit,
    minus,
    read_point,
    read_scalar,
    times,
)

BITS_MAX: Final = 64
_MINUS_G: Final = minus(G)


@dataclass(frozen=True, slots=True)
class Bit:
    """One bit: its commitment, and the answers of which one was not free."""

    commitment: bytes
    zero_challenge: int
    one_challenge: int
    zero_answer: int
    one_answer: int


@dataclass(frozen=True, slots=True)
class RangeProof:
    """The proof; the lowest bit first."""

    bits: tuple[Bit, ...]

    @property
    def size(self) -> int:
        """Bytes on the wire."""
        return len(self.bits) * (POINT_BYTES + 4 * SCALAR_BYTES)


def prove(context: bytes, value: int, blinding: int, bits: int, seed: bytes) -> RangeProof:
    """Prove that the commitment to a value under a blinding holds one of so many bits.

    Raises:
        InvalidInput: If it does not.
    """
    if not 0 < bits <= BITS_MAX:
        raise InvalidInput("bits", f"{bits} is not in 1..{BITS_MAX}")
    if not 0 <= value < 1 << bits:
        raise InvalidInput("value", f"is not in 0..2^{bits}-1, which is to be proven")
    statement = _statement(context, commit(value, blinding), bits)
    secrets = Scalars(seed, statement + blinding.to_bytes(32, "big"))
    # The bits' blindings add up, by weight, to the blinding of the whole.
    blindings = [secrets.next() for _ in range(bits - 1)]
    rest = blinding - sum(one << (k + 1) for k, one in enumerate(blindings))
    blindings.insert(0, rest % ORDER)
    chosen = [value >> k & 1 for k in range(bits)]
    points = [commit(bit, one) for bit, one in zip(chosen, blindings, strict=True)]
    nonces, others, fakes = ([secrets.next() for _ in range(bits)] for _ in range(3))
    said: list[bytes] = []
    for bit, point, nonce, other, fake in zip(chosen, points, nonces, others, fakes, strict=True):
        true = times(H, nonce)
        false = add([times(H, fake), times(_opening_to(point, 1 - bit), -other)])
        said += [point, *((true, false) if bit == 0 else (false, true))]
    e = challenge(statement, said)
    parts = []
    for bit, point, one, nonce, other, fake in zip(
        chosen, points, blindings, nonces, others, fakes, strict=True
    ):
        mine = (e - other) % ORDER
        answer = (nonce + mine * one) % ORDER
        pairs = ((mine, answer), (other, fake))
        (e0, z0), (e1, z1) = pairs if bit == 0 else pairs[::-1]
        parts.append(Bit(point, e0, e1, z0, z1))
    return RangeProof(tuple(parts))


def verify(context: bytes, commitment: bytes, bits: int, proof: RangeProof) -> None:
    """Check that a commitment holds a value of so many bits.

    Raises:
        InvalidInput: If the proof does not hold; `field` names what fails: ``bits``, ``sum`` or ``bit``.
    """
    if len(proof.bits) != bits or not 0 < bits <= BITS_MAX:
        raise InvalidInput("bits", f"{len(proof.bits)} are proven, {bits} are asked for")
    points = [read_point(one.commitment, "bits") for one in proof.bits]
    whole = add([times(point, 1 << k) for k, point in enumerate(points)])
    if whole != read_point(commitment, "commitment"):
        raise InvalidInput("sum", "the bits do not add up to the commitment")
    said: list[bytes] = []
    for one, point in zip(proof.bits, points, strict=True):
        for scalar in (one.zero_challenge, one.one_challenge, one.zero_answer, one.one_answer):
            read_scalar(scalar, "bit")
        said += [
            point,
            _first_move(_opening_to(point, 0), one.zero_challenge, one.zero_answer),
            _first_move(_opening_to(point, 1), one.one_challenge, one.one_answer),
        ]
    e = challenge(_statement(context, commitment, bits), said)
    if any((one.zero_challenge + one.one_challenge - e) % ORDER for one in proof.bits):
        raise InvalidInput("bit", "one is neither 0 nor 1")


def _first_move(target: bytes, question: int, answer: int) -> bytes:
    """Return what must have been said first, if this answers that question about the logarithm to base H."""
    return add([times(H, answer), times(target, -question)])


def _opening_to(point: bytes, bit: int) -> bytes:
    """Return what is a multiple of H exactly if the commitment opens to the bit."""
    return add([point, _MINUS_G]) if bit else point


def _statement(context: bytes, commitment: bytes, bits: int) -> bytes:
    return b"range" + context + commitment + bytes([bits])
