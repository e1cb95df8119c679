"""The sums of each open epoch, so that no accepted job can make the epoch's trees overflow.

Lanes are u64 and a job's values may be as large as its schema allows; a job that would carry an epoch's sum past 2^64 is
refused when it comes, because after its receipt there would be no way to commit it.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.sumtree import LaneKind

SUM_MAX: Final = (1 << 64) - 1

_LANES: Final = slice(52, 68)
"""Where the lanes stand in a job row."""


def _values(rows: ByteMatrix) -> npt.NDArray[np.uint64]:
    """Return the two lanes of each row, shape (n, 2)."""
    return np.ascontiguousarray(rows[:, _LANES]).view(">u8").astype(np.uint64)


def _sums(values: npt.NDArray[np.uint64]) -> tuple[int, int]:
    """Return the exact sum of each lane."""
    high = (values >> np.uint64(32)).sum(axis=0, dtype=np.uint64).tolist()
    low = (values & np.uint64(0xFFFFFFFF)).sum(axis=0, dtype=np.uint64).tolist()
    return (high[0] << 32) + low[0], (high[1] << 32) + low[1]


class LaneTotals:
    """Sums of both lanes by epoch. A u128 lane cannot overflow: 2^64 jobs would be needed."""

    def __init__(self, kind: LaneKind) -> None:
        self._checked = kind is LaneKind.PAIR_U64
        self._totals: dict[int, tuple[int, int]] = {}

    def fitting(
        self, rows: ByteMatrix, epochs: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_] | None:
        """Return which jobs fit, in their order; None if all do."""
        if not self._checked:
            return None
        values = _values(rows)
        whole = _sums(values)
        highest = max(
            (max(map(sum, zip(self._of(epoch), whole, strict=True))) for epoch in set(epochs.tolist())),
            default=0,
        )  # an upper bound for every epoch, and for the batch's own tree
        return None if highest <= SUM_MAX else self._one_by_one(values, epochs)

    def _one_by_one(
        self, values: npt.NDArray[np.uint64], epochs: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        fits = np.ones(len(values), dtype=np.bool_)
        totals: dict[int, tuple[int, int]] = {}
        batch = (0, 0)
        for at, (epoch, (one, two)) in enumerate(zip(epochs.tolist(), values.tolist(), strict=True)):
            before = totals.get(epoch) or self._of(epoch)
            after = before[0] + one, before[1] + two
            grown = batch[0] + one, batch[1] + two
            if max(*after, *grown) > SUM_MAX:
                fits[at] = False
            else:
                totals[epoch], batch = after, grown
        return fits

    def _of(self, epoch: int) -> tuple[int, int]:
        return self._totals.get(epoch, (0, 0))

    def add(self, rows: ByteMatrix, epochs: npt.NDArray[np.int64]) -> None:
        """Count accepted jobs."""
        if not self._checked:
            return
        values = _values(rows)
        for epoch in np.unique(epochs).tolist():
            one, two = _sums(values[epochs == epoch])
            before = self._of(epoch)
            self._totals[epoch] = before[0] + one, before[1] + two

    def forget_before(self, epoch: int) -> None:
        """Forget the sums of sealed epochs."""
        for old in [known for known in self._totals if known < epoch]:
            del self._totals[old]
