"""Money and shares as exact integers, and their decimal texts.

One coin (FIL, ether) is 10^18 atto (attoFIL, wei). Shares are decimals of 18 places that sum to exactly one; they are
for reading: money is always split from the integer weights.
"""

import re
from collections.abc import Sequence
from typing import Final

from meridian.errors import InvalidInput

ATTO: Final = 10**18

_DECIMAL = re.compile(r"(\d{1,30})(?:\.(\d{1,18}))?")


def parse_fil(text: str, field: str = "amount") -> int:
    """Read an amount of whole coins, exactly.

    Args:
        text: Decimal digits with at most 18 places, such as ``2000`` or ``0.1``.

    Returns:
        Atto.
    """
    match = _DECIMAL.fullmatch(text.strip())
    if not match:
        raise InvalidInput(field, f"{text!r} is not a decimal amount with at most 18 places")
    return int(match[1]) * ATTO + int((match[2] or "").ljust(18, "0"))


def format_fil(atto: int) -> str:
    """Return an amount in whole coins as the shortest exact decimal."""
    whole, rest = divmod(abs(atto), ATTO)
    digits = f"{rest:018d}".rstrip("0")
    return ("-" if atto < 0 else "") + str(whole) + (f".{digits}" if digits else "")


def largest_remainder(weights: Sequence[int], total: int) -> list[int]:
    """Split `total` in proportion to the weights so that the parts sum to exactly `total`.

    Each part is the floor of its exact share; the units left over go to the largest remainders, and where these are
    equal to the earlier position, so callers sort by id first.

    Returns:
        One part for each weight; all zero where no weight is positive.
    """
    if any(weight < 0 for weight in weights):
        raise InvalidInput("weights", "a weight is negative")
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    left = total - sum(parts)
    order = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in order[:left]:
        parts[i] += 1
    return parts


def proportions(weights: Sequence[int]) -> list[str]:
    """Return the shares of the weights as decimals of 18 places that sum to exactly 1."""
    return [f"{part // ATTO}.{part % ATTO:018d}" for part in largest_remainder(weights, ATTO)]
