"""What the evaluators say about the nodes, as columns of integers: sorted once, then every average is a few sums.

An evaluator's row becomes a column here and a node a row, for each node's values are sorted on their own. Values are
unsigned and below 2^128, kept in two halves of 64 bits; missing values sort behind all others and count for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final, Literal, cast

import numpy as np
import numpy.typing as npt

from meridian.errors import InvalidInput

VALUE_END: Final = 1 << 128
ROWS_MAX: Final = 1 << 16
"""So that sums of 32-bit limbs fit in 64 bits."""
WEIGHT_END: Final = 1 << 40
"""Reliability weights are below this, so that the sum over all rows fits in 63 bits."""

_LOW: Final = (1 << 64) - 1
_LIMB: Final = np.uint64((1 << 32) - 1)
_LIMB_BITS: Final = np.uint64(32)

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SortedMatrix:
    """The values of each node in ascending order, missing ones last; all arrays are nodes x evaluators."""

    low: U64
    high: U64 | None
    """The upper halves, None where all are 0."""
    order: I64
    """The evaluator from whom each value came."""
    counts: I64
    """How many evaluators spoke about each node."""

    def at(self, positions: I64) -> list[int]:
        """Return, for each node, the value at its position."""
        where = positions[:, None]
        low: list[int] = np.take_along_axis(self.low, where, axis=1)[:, 0].tolist()
        if self.high is None:
            return low
        high = np.take_along_axis(self.high, where, axis=1)[:, 0].tolist()
        return [(a << 64) | b for a, b in zip(high, low, strict=True)]

    def sums(self, first: I64, end: I64) -> list[int]:
        """Return, for each node, the exact sum of the values at the positions from `first` up to before `end`."""
        positions = np.arange(self.low.shape[1])
        inside = (positions >= first[:, None]) & (positions < end[:, None])
        total = _limb_sums(self.low, inside)
        if self.high is None:
            return total
        return [(a << 64) + b for a, b in zip(_limb_sums(self.high, inside), total, strict=True)]

    def weights(self, weights: Sequence[int]) -> I64:
        """Return the weight behind each value, 0 behind missing ones."""
        by_row = np.array(weights, dtype=np.int64)
        present = np.arange(self.low.shape[1]) < self.counts[:, None]
        return np.where(present, by_row[self.order], 0)


def _limb_sums(values: U64, inside: npt.NDArray[np.bool_]) -> list[int]:
    """Return the sum of each row's chosen values: of small ones at once, else of 32-bit limbs, of which 2^32 fit."""
    chosen = np.where(inside, values, np.uint64(0))
    if int(chosen.max(initial=0)) * values.shape[1] <= _LOW:
        small: list[int] = chosen.sum(axis=1, dtype=np.uint64).tolist()
        return small
    low = (chosen & _LIMB).sum(axis=1, dtype=np.uint64).tolist()
    high = (chosen >> _LIMB_BITS).sum(axis=1, dtype=np.uint64).tolist()
    return [(a << 32) + b for a, b in zip(high, low, strict=True)]


def sorted_matrix(rows: Sequence[Sequence[int | None]]) -> SortedMatrix:
    """Sort what the evaluators say about each node.

    Args:
        rows: One for each evaluator, all of one length: a value for each node, None where it abstains.

    Raises:
        InvalidInput: If the rows are too many or of different lengths, or a value is not in 0..2^128 - 1.
    """
    if len(rows) > ROWS_MAX:
        raise InvalidInput("rows", f"{len(rows)} rows; at most {ROWS_MAX} are allowed")
    if len({len(row) for row in rows}) > 1:
        raise InvalidInput("rows", "they are of different lengths")
    nodes = len(rows[0]) if rows else 0
    low = np.empty((nodes, len(rows)), dtype=np.uint64)
    high = np.zeros((nodes, len(rows)), dtype=np.uint64)
    missing = np.zeros((nodes, len(rows)), dtype=np.bool_)
    for number, row in enumerate(rows):
        values = row
        if None in row:
            absent = [node for node, value in enumerate(row) if value is None]
            missing[absent, number] = True
            values = list(row)
            for node in absent:
                values[node] = 0
        low[:, number], high[:, number] = _halves(values)
    counts = len(rows) - missing.sum(axis=1, dtype=np.int64)
    halves = [low, high] if high.any() else [low]
    order = np.lexsort(_behind(halves, missing), axis=1)
    ordered = [np.take_along_axis(half, order, axis=1) for half in halves]
    return SortedMatrix(ordered[0], ordered[1] if len(ordered) > 1 else None, order, counts)


def _behind(halves: list[U64], missing: npt.NDArray[np.bool_]) -> list[npt.NDArray[Any]]:
    """Return the keys to sort by, the last one first, so that missing values stand behind all others.

    They get the greatest upper half, which hardly any real value has: a key less to sort by takes a third less.
    """
    top = halves[-1]
    if int(top.max(initial=0)) == _LOW:
        return [*halves, missing]
    top[missing] = _LOW
    return list(halves)


def _halves(values: Sequence[int | None]) -> tuple[U64, U64 | int]:
    """Split values into lower and upper halves."""
    try:
        return np.array(values, dtype=np.uint64), 0
    except (OverflowError, TypeError, ValueError):
        pass  # beyond 64 bits, or not a value at all: looked at one by one
    try:
        if set(map(type, values)) != {int}:
            raise TypeError
        # As a map and not as an expression: three million of them take a third less.
        order: repeat[Literal["little"]] = repeat("little")
        pieces = map(int.to_bytes, cast("Sequence[int]", values), repeat(16), order)
        whole = b"".join(pieces)
    except (OverflowError, TypeError):
        wrong = next(v for v in values if type(v) is not int or not 0 <= v < VALUE_END)
        raise InvalidInput("rows", f"{wrong!r} is not an integer in 0..2^128 - 1") from None
    halves = np.frombuffer(whole, dtype="<u8").astype(np.uint64).reshape(-1, 2)
    return halves[:, 0], halves[:, 1]
