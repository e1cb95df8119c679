"""Scores: each participant's part of 10^15, and what rounding leaves to the burner.

A view for people and for comparison with the original; money comes from weights.
"""

from collections.abc import Mapping
from typing import Final

MAX_SCORE: Final = 10**15
BURNER: Final = "0x000000000000000000000000000000000000dEaD"


def scores(rewarded: Mapping[str, int], burner: str = BURNER) -> dict[str, int]:
    """Return floor(count * 10^15 / sum) for each participant; a remainder is added to the burner's.

    Args:
        rewarded: Participant -> number of rewarded measurements, at least 1.
        burner: Its name among the participants.
    """
    total = sum(rewarded.values())
    shares = {name: count * MAX_SCORE // total for name, count in rewarded.items()}
    if rest := MAX_SCORE - sum(shares.values()):
        shares[burner] = shares.get(burner, 0) + rest
    return shares
