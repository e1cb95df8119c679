"""How many points of a summary are asked for, and which.

A summary's weight is a line from 0; each job owns a piece of it as long as its value. A challenge asks which jobs own some
points of that line, so what is missing or invented is met in proportion to its weight, not to its number of jobs.

Law: the line is cut into as many equal parts as there are points, and one point is drawn in each. If a fraction x of the
weight cannot be shown, spread over the parts as x_1..x_k with the mean x, the chance of not meeting it is the product of
1 - x_i, which is never above (1 - x)^k: drawing in parts finds at least what independent draws find. The points ascend.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final, TypeVar

from meridian.errors import InvalidInput
from meridian.primitives.eip712 import keccak

N = TypeVar("N", bound=bytes)

SAMPLES_MAX: Final = 48
"""The most that the contract takes."""
DENOMINATOR_MAX: Final = 10**6
"""Fractions are no finer than this."""


def samples_for(fraction: Fraction, probability: Fraction) -> int:
    """Return the least number of points with which missing weight is found with a probability.

    That is the least k with 1 - (1 - fraction)^k >= probability, exactly: ceil(ln(1 - p) / ln(1 - x)).

    Args:
        fraction: Of a node's weight that cannot be shown, in (0, 1].
        probability: With which one challenge finds it, in (0, 1).

    Raises:
        InvalidInput: If an argument is out of range, or more than `SAMPLES_MAX` points were needed.
    """
    if not 0 < fraction <= 1 or fraction.denominator > DENOMINATOR_MAX:
        raise InvalidInput("fraction", f"{fraction} is not in (0, 1], in parts of 10^6 at most")
    if not 0 < probability < 1 or probability.denominator > DENOMINATOR_MAX:
        raise InvalidInput("probability", f"{probability} is not in (0, 1), in parts of 10^6")
    escape = Fraction(1)
    for k in range(1, SAMPLES_MAX + 1):
        escape *= 1 - fraction
        if escape <= 1 - probability:
            return k
    raise InvalidInput("probability", f"more than {SAMPLES_MAX} points would be needed")


def detection(fraction: Fraction, samples: int) -> Fraction:
    """Return the least probability with which so many points meet a fraction of the weight."""
    return 1 - (1 - fraction) ** samples


def points(seed: bytes, weight: int, samples: int) -> list[int]:
    """Return the points that a challenge asks for, ascending: ``_point`` of ``contracts/summary_rounds.vy``.

    Args:
        seed: Of the challenge, 32 bytes.
        weight: The summary's.
        samples: How many.
    """
    found = []
    for number in range(samples):
        low = weight * number // samples
        width = max(weight * (number + 1) // samples - low, 1)
        drawn = int.from_bytes(keccak(seed + number.to_bytes(32, "big")), "big")
        found.append(low + drawn % width)
    return found


def challenge_id(epoch: int, node_key: bytes, challenger: bytes) -> bytes:
    """Return the name of a challenge on the chain, 32 bytes."""
    return keccak(epoch.to_bytes(32, "big") + node_key + bytes(12) + challenger)


def seed_of(block_hash: bytes, challenge: bytes) -> bytes:
    """Return the seed of a challenge from the hash of its block."""
    return keccak(block_hash + challenge)


def chosen(seed: bytes, nodes: Sequence[N], count: int) -> list[N]:
    """Return `count` of the nodes, as a public seed picks them: those whose hashes with it are the lowest.

    Args:
        seed: Bytes that nobody knew when the nodes committed, such as a later block's hash.
        nodes: Node keys, each once.
        count: How many; all, if there are no more.
    """
    return sorted(nodes, key=lambda node: keccak(seed + node))[:count]
