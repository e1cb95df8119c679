"""From the rows of many evaluators to one weight for each node; at most f of the n evaluators may say anything.

The law: None in a row is an abstention and never a zero; a result of None means that the node is *deferred*, because
too few evaluators spoke about it. Integers only; the order of the rows does not matter.

Why `wmedian` stays honest: let W be the sum of the f largest reliability weights of the whole committee, present or
not, and P the weight present for a node. If P > 2W, liars hold less than P/2, so the lower weighted median lies between
two honest values. Where the rule fails, a plain median of at least 2f + 1 values has the same property; else defer.
Reliability weights are capped to 2:1, for an uncapped weight is what a patient attacker saves up.
"""

from collections.abc import Callable, Sequence
from typing import Final

from meridian.errors import InvalidInput
from meridian.primitives.quorum import deliver, faults_max

Values = Sequence[int | None]
"""One evaluator's row: a weight for each node, None where it abstains."""

Aggregated = list[int | None]
"""One weight for each node, None where the node is deferred."""


def capped(weights: Sequence[int]) -> list[int]:
    """Raise low reliability weights so that none is less than half of the greatest."""
    if not weights or min(weights) < 1:
        raise InvalidInput("weights", "reliability weights are positive integers")
    least = (max(weights) + 1) // 2
    return [max(weight, least) for weight in weights]


def lower_median(values: Sequence[int]) -> int | None:
    """Return the median, for even counts the lower middle value; None of none."""
    return sorted(values)[(len(values) - 1) // 2] if values else None


def _lower_weighted_median(pairs: Sequence[tuple[int, int]]) -> int:
    """Return the smallest value at which half of the total weight is reached, from (value, weight) pairs."""
    half_up, reached = sum(weight for _, weight in pairs), 0
    for value, weight in sorted(pairs):
        reached += 2 * weight
        if reached >= half_up:
            return value
    raise AssertionError("the whole weight reaches half of itself")


def _columns(rows: Sequence[Values], n: int) -> list[tuple[int | None, ...]]:
    if len(rows) > n:
        raise InvalidInput("rows", f"{len(rows)} rows of a committee of {n}")
    if len({len(row) for row in rows}) > 1:
        raise InvalidInput("rows", "they are of different lengths")
    return list(zip(*rows, strict=True))


def wmedian(rows: Sequence[Values], n: int, weights: Sequence[int] | None = None) -> Aggregated:
    """Return the reliability-weighted lower median of each node.

    Args:
        rows: One row for each evaluator that contributed.
        n: The size of the committee, contributing or not.
        weights: Reliability of all n members, those of `rows` first and in their order; all 1 by default.

    Raises:
        InvalidInput: If rows or weights do not fit each other or the committee.
    """
    members = capped(weights if weights is not None else [1] * n)
    if len(members) != n:
        raise InvalidInput("weights", f"{len(members)} weights for a committee of {n}")
    liars_weight = sum(sorted(members)[n - faults_max(n) :])
    result: Aggregated = []
    for column in _columns(rows, n):
        pairs = [
            (value, weight)
            for value, weight in zip(column, members, strict=False)
            if value is not None
        ]
        if sum(weight for _, weight in pairs) > 2 * liars_weight:
            result.append(_lower_weighted_median(pairs))
        elif len(pairs) >= deliver(n):
            result.append(lower_median([value for value, _ in pairs]))
        else:
            result.append(None)
    return result


def median(rows: Sequence[Values], n: int) -> Aggregated:
    """Return the plain lower median of each node about which at least 2f + 1 evaluators spoke."""
    present = ([value for value in column if value is not None] for column in _columns(rows, n))
    return [lower_median(values) if len(values) >= deliver(n) else None for values in present]


def mean(rows: Sequence[Values], n: int) -> Aggregated:
    """Return the floor of the exact mean of those who spoke: the seed's simple mean, which one liar can carry away."""
    present = ([value for value in column if value is not None] for column in _columns(rows, n))
    return [sum(values) // len(values) if values else None for values in present]


AGGREGATES: Final[dict[str, Callable[[Sequence[Values], int], Aggregated]]] = {
    "wmedian": wmedian,
    "median": median,
    "mean": mean,
}
"""By the names that the parameters artefact uses."""
