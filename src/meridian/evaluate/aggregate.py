"""From the rows of many evaluators to one weight for each node; at most f of the n evaluators may say anything.

The law: None in a row is an abstention and never a zero; a result of None means that the node is *deferred*, because
too few evaluators spoke about it. Integers only; the order of the rows does not matter.

Why `wmedian` stays honest: let W be the sum of the f largest reliability weights of the whole committee, present or
not, and P the weight present for a node. If P > 2W, liars hold less than P/2, so the lower weighted median lies between
two honest values. Where the rule fails, a plain median of at least 2f + 1 values has the same property; else defer.
Reliability weights are capped to 2:1, for an uncapped weight is what a patient attacker saves up.

`trimmed` drops the f lowest and the f highest values: among what is left every value lies between two honest ones.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from meridian.errors import InvalidInput
from meridian.evaluate.matrix import WEIGHT_END, SortedMatrix, sorted_matrix
from meridian.primitives.quorum import deliver, faults_max

Values = Sequence[int | None]
"""One evaluator's row: a weight for each node, None where it abstains."""

Aggregated = list[int | None]
"""One weight for each node, None where the node is deferred."""

Quotient = tuple[int, int]
"""An exact value: numerator, and a denominator of at least 1."""

Aggregate = Callable[[Sequence[Values], int], Aggregated]
"""Rows and the committee's size -> one weight for each node."""

TRIM_MAX: Final = 1_000

_TRIMMED: Final = re.compile(r"trimmed:(0|[1-9]\d{0,3})")


def capped(weights: Sequence[int]) -> list[int]:
    """Raise low reliability weights so that none is less than half of the greatest."""
    if not weights or min(weights) < 1 or max(weights) >= WEIGHT_END:
        raise InvalidInput("weights", f"reliability weights are integers in 1..{WEIGHT_END - 1}")
    least = (max(weights) + 1) // 2
    return [max(weight, least) for weight in weights]


def lower_median(values: Sequence[int]) -> int | None:
    """Return the median, for even counts the lower middle value; None of none."""
    return sorted(values)[(len(values) - 1) // 2] if values else None


def _matrix(rows: Sequence[Values], n: int) -> SortedMatrix:
    if len(rows) > n:
        raise InvalidInput("rows", f"{len(rows)} rows of a committee of {n}")
    return sorted_matrix(rows)


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
    matrix = _matrix(rows, n)
    if not rows:
        return []
    reached = np.cumsum(matrix.weights(members[: len(rows)]), axis=1)
    present = reached[:, -1]
    half = (2 * reached >= present[:, None]).argmax(axis=1)
    weighted = present > 2 * liars_weight
    positions = np.where(weighted, half, np.maximum(matrix.counts - 1, 0) // 2)
    enough = weighted | (matrix.counts >= deliver(n))
    return _where(enough.tolist(), matrix.at(positions))


def median(rows: Sequence[Values], n: int) -> Aggregated:
    """Return the plain lower median of each node about which at least 2f + 1 evaluators spoke."""
    matrix = _matrix(rows, n)
    if not rows:
        return []
    values = matrix.at(np.maximum(matrix.counts - 1, 0) // 2)
    return _where((matrix.counts >= deliver(n)).tolist(), values)


def trimmed_exactly(rows: Sequence[Values], n: int, k: int) -> list[Quotient | None]:
    """Return the exact mean of each node's values without the k lowest and the k highest.

    A node about which no more than 2k evaluators spoke is deferred.

    Raises:
        InvalidInput: If `k` or the rows are not acceptable.
    """
    if not 0 <= k <= TRIM_MAX:
        raise InvalidInput("trimmed", f"{k} is not in 0..{TRIM_MAX}")
    matrix = _matrix(rows, n)
    if not rows:
        return []
    kept = (matrix.counts - 2 * k).tolist()
    sums = matrix.sums(np.full_like(matrix.counts, k), matrix.counts - k)
    return [(total, left) if left > 0 else None for total, left in zip(sums, kept, strict=True)]


def trimmed(rows: Sequence[Values], n: int, k: int | None = None) -> Aggregated:
    """Return the floor of the mean without the k lowest and the k highest values, f by default.

    Only k >= f bounds what f liars can do.
    """
    return _floors(trimmed_exactly(rows, n, faults_max(n) if k is None else k))


def mean(rows: Sequence[Values], n: int) -> Aggregated:
    """Return the floor of the exact mean of those who spoke: the seed's simple mean, which one liar can carry away."""
    return _floors(trimmed_exactly(rows, n, 0))


def _floors(quotients: Sequence[Quotient | None]) -> Aggregated:
    return [None if value is None else value[0] // value[1] for value in quotients]


def _where(enough: Sequence[bool], values: Sequence[int]) -> Aggregated:
    return [value if spoken else None for spoken, value in zip(enough, values, strict=True)]


AGGREGATES: Final[dict[str, Aggregate]] = {
    "wmedian": wmedian,
    "trimmed": trimmed,
    "median": median,
    "mean": mean,
}
"""By the names that the parameters artefact uses; ``trimmed:k`` is one too."""


def trim_of(method: str) -> int | None:
    """Return the k of ``trimmed:k``, None for every other text."""
    match = _TRIMMED.fullmatch(method)
    return int(match[1]) if match and int(match[1]) <= TRIM_MAX else None


def aggregate_named(method: str) -> Aggregate:
    """Return a method by its name: one of `AGGREGATES`, or ``trimmed:k``.

    Raises:
        InvalidInput: If there is no such method.
    """
    if method in AGGREGATES:
        return AGGREGATES[method]
    k = trim_of(method)
    if k is None:
        known = ", ".join((*AGGREGATES, "trimmed:k"))
        raise InvalidInput("aggregate", f"{method!r} is not one of {known}")
    return lambda rows, n: trimmed(rows, n, k)


def exactly(rows: Sequence[Values], n: int, method: str) -> list[Quotient | None]:
    """Return each node's exact value by a method, before any rounding.

    Raises:
        InvalidInput: If there is no such method, or the rows are not acceptable.
    """
    aggregate, k = aggregate_named(method), trim_of(method)
    if method == "mean":
        k = 0
    elif method == "trimmed":
        k = faults_max(n)
    if k is not None:
        return trimmed_exactly(rows, n, k)
    return [None if value is None else (value, 1) for value in aggregate(rows, n)]
