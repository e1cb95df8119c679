"""The averages again, written for reading: plain Python, one node at a time, straight from the specification."""

from collections.abc import Sequence
from fractions import Fraction

Value = int | None


def liars_max(n: int) -> int:
    """f: the most members of n that may lie."""
    return (n - 1) // 3


def lower_middle(values: list[int]) -> int:
    """The median; for an even number of values the lower of the two in the middle."""
    return sorted(values)[(len(values) - 1) // 2]


def plain_median(said: Sequence[Value], n: int) -> Value:
    """Of at least 2f + 1 voices."""
    values = [value for value in said if value is not None]
    return lower_middle(values) if len(values) >= 2 * liars_max(n) + 1 else None


def plain_wmedian(said: Sequence[Value], n: int, weights: Sequence[int]) -> Value:
    """Weights of all n members, those who spoke first; at most 2:1. Else the plain median."""
    least = Fraction(max(weights), 2)
    members = [max(weight, -(-least.numerator // least.denominator)) for weight in weights]
    heaviest = sorted(members, reverse=True)[: liars_max(n)]
    voices = sorted(
        (value, weight) for value, weight in zip(said, members, strict=False) if value is not None
    )
    present = sum(weight for _, weight in voices)
    if present <= 2 * sum(heaviest):
        return plain_median(said, n)
    below = 0
    for value, weight in voices:
        below += weight
        if Fraction(below) >= Fraction(present, 2):
            return value
    raise AssertionError


def plain_trimmed(said: Sequence[Value], k: int) -> Fraction | None:
    """The exact mean without the k lowest and the k highest; more than 2k must have spoken."""
    values = sorted(value for value in said if value is not None)
    kept = values[k : len(values) - k] if len(values) > 2 * k else []
    return Fraction(sum(kept), len(kept)) if kept else None
