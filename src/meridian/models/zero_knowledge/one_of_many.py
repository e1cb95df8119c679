"""Masked inclusion: one of a list of commitments opens to a given value, and nobody learns which.

The proof has a size logarithmic in the length of the list; making and checking it takes one multiplication for each
commitment of the list (and for each bit of the length, when it is made). Source: Groth, Kohlweiss 2015, figure 2, with
Pedersen commitments; made non-interactive by a hash.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from meridian.errors import InvalidInput
from meridian.models.zero_knowledge.group import (
    ORDER,
    POINT_BYTES,
    SCALAR_BYTES,
    G,
    Scalars,
    add,
    challenge,
    commit,
    minus,
    read_point,
    read_scalar,
    root_of,
    times,
)

LENGTH_MAX: Final = 1 << 16
"""The longest list: about 1.5 s of a processor to check."""


@dataclass(frozen=True, slots=True)
class BitPart:
    """What is said of one bit of the hidden index."""

    bit: bytes
    mask: bytes
    product: bytes
    mix: bytes
    answer: int
    bit_answer: int
    product_answer: int


@dataclass(frozen=True, slots=True)
class MaskedInclusion:
    """The proof."""

    bits: tuple[BitPart, ...]
    answer: int

    @property
    def size(self) -> int:
        """Bytes on the wire."""
        return len(self.bits) * (4 * POINT_BYTES + 3 * SCALAR_BYTES) + SCALAR_BYTES


def prove(
    context: bytes, commitments: Sequence[bytes], index: int, value: int, blinding: int, seed: bytes
) -> MaskedInclusion:
    """Prove that one of the commitments opens to a value.

    Args:
        context: Network, epoch and node, as bytes.
        commitments: The whole list.
        index: Which of them: secret.
        value: What it opens to: public.
        blinding: Its blinding: secret.
        seed: 32 secret bytes.

    Raises:
        InvalidInput: If the list is too long, or that commitment does not open so.
    """
    shifted = _shifted(commitments, value)
    if not 0 <= index < len(commitments):
        raise InvalidInput("index", f"{index} is outside {len(commitments)} commitments")
    if commit(value, blinding) != commitments[index]:
        raise InvalidInput("blinding", "does not open the commitment to this value")
    depth = len(shifted).bit_length() - 1
    statement = _statement(context, commitments, value)
    secrets = Scalars(seed, statement + index.to_bytes(8, "big") + blinding.to_bytes(32, "big"))
    bits = [index >> j & 1 for j in range(depth)]
    r, a, s, t, mixing = ([secrets.next() for _ in range(depth)] for _ in range(5))
    mixes = _mixes(shifted, bits, a, mixing)
    said = [
        (
            commit(bits[j], r[j]),
            commit(a[j], s[j]),
            commit(bits[j] * a[j], t[j]),
            mixes[j],
        )
        for j in range(depth)
    ]
    x = challenge(statement, [point for points in said for point in points])
    parts = []
    for j, points in enumerate(said):
        answer = (bits[j] * x + a[j]) % ORDER
        parts.append(
            BitPart(
                *points, answer, (r[j] * x + s[j]) % ORDER, (r[j] * (x - answer) + t[j]) % ORDER
            )
        )
    last = blinding * pow(x, depth, ORDER)
    last -= sum(one * pow(x, k, ORDER) for k, one in enumerate(mixing))
    return MaskedInclusion(tuple(parts), last % ORDER)


def verify(
    context: bytes, commitments: Sequence[bytes], value: int, proof: MaskedInclusion
) -> None:
    """Check a proof against the whole list of commitments.

    Raises:
        InvalidInput: If it does not hold; `field` names the equation: ``bits``, ``bit``, ``product`` or ``inclusion``.
    """
    shifted = _shifted(commitments, value)
    depth = len(shifted).bit_length() - 1
    if len(proof.bits) != depth:
        raise InvalidInput("bits", f"{len(proof.bits)}, the list needs {depth}")
    said = [
        tuple(read_point(point, "bits") for point in (one.bit, one.mask, one.product, one.mix))
        for one in proof.bits
    ]
    x = challenge(
        _statement(context, commitments, value), [point for points in said for point in points]
    )
    for one, (bit, mask, product, _) in zip(proof.bits, said, strict=True):
        for scalar in (one.answer, one.bit_answer, one.product_answer):
            read_scalar(scalar, "bits")
        if add([times(bit, x), mask]) != commit(one.answer, one.bit_answer):
            raise InvalidInput("bit", "the answer is not of what was committed")
        if add([times(bit, x - one.answer), product]) != commit(0, one.product_answer):
            raise InvalidInput("product", "what was committed is neither 0 nor 1")
    weights = [1]
    for one in proof.bits:  # bit j of the index chooses the answer or its complement
        weights = [w * (x - one.answer) % ORDER for w in weights] + [
            w * one.answer % ORDER for w in weights
        ]
    sides = [times(point, w) for point, w in zip(shifted, weights, strict=True)]
    sides += [times(points[3], -pow(x, k, ORDER)) for k, points in enumerate(said)]
    if add(sides) != commit(0, read_scalar(proof.answer, "inclusion")):
        raise InvalidInput("inclusion", "no commitment of the list opens to the value")


def _mixes(
    shifted: Sequence[bytes], bits: Sequence[int], a: Sequence[int], mixing: Sequence[int]
) -> list[bytes]:
    """Return, for each power of the challenge below the highest, what the list gives for it, blinded."""
    depth = len(bits)
    polynomials: list[list[int]] = [[1]]
    for bit, mask in zip(bits, a, strict=True):
        zero, one = (-mask, 1 - bit), (mask, bit)
        polynomials = [_product(p, zero) for p in polynomials] + [
            _product(p, one) for p in polynomials
        ]
    return [
        add(
            [
                *(times(point, p[k]) for point, p in zip(shifted, polynomials, strict=True)),
                commit(0, mixing[k]),
            ]
        )
        for k in range(depth)
    ]


def _product(polynomial: Sequence[int], factor: tuple[int, int]) -> list[int]:
    """Return a polynomial, lowest coefficient first, times ``factor[0] + factor[1] x``."""
    low, high = factor
    padded = [0, *polynomial, 0]
    return [(padded[k + 1] * low + padded[k] * high) % ORDER for k in range(len(polynomial) + 1)]


def _shifted(commitments: Sequence[bytes], value: int) -> list[bytes]:
    """Return the list less the value, so that what was asked for opens to 0; padded with its last to a power of two."""
    if not 0 < len(commitments) <= LENGTH_MAX:
        raise InvalidInput("commitments", f"{len(commitments)}, 1..{LENGTH_MAX} can be proven in")
    less = minus(times(G, value))
    shifted = [add([read_point(one, "commitments"), less]) for one in commitments]
    length = 1 << (len(shifted) - 1).bit_length()
    return shifted + shifted[-1:] * (length - len(shifted))


def _statement(context: bytes, commitments: Sequence[bytes], value: int) -> bytes:
    return b"one of many" + context + root_of(commitments) + (value % ORDER).to_bytes(32, "big")
