"""True values of nodes, and what honest evaluators say about them."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from meridian.evaluate.reliability import WEIGHT_MAX, WEIGHT_NEW

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

MISSING: Final = -1
"""An abstention, as a number that no value is."""
MISSING_SHARE: Final = 0.2
"""How often an honest evaluator has no value."""
NOISE: Final = (0.01, 0.03, 0.10)
"""Relative standard deviations of good, fair and poor evaluators ..."""
NOISE_SHARES: Final = (0.4, 0.4, 0.2)
"""... and how many of each there are."""

_SPREAD: Final = 1.2  # of the logarithm of the true values: a few nodes earn most
_UNIT: Final = 1e12


@dataclass(frozen=True, slots=True)
class Drawn:
    """Trials: one node each."""

    n: int
    truth: I64
    """The true value in each trial."""
    honest: I64
    """Honest evaluators x trials; `MISSING` where one abstains."""
    weights: tuple[int, ...]
    """Reliability of all n members, the honest ones first; the liars have the greatest weight there is."""

    @property
    def liars(self) -> int:
        """How many members lie."""
        return self.n - len(self.honest)


def true_values(dice: np.random.Generator, count: int) -> I64:
    """Draw true values: log-normal, as rewards are."""
    return np.asarray(np.exp(dice.normal(0.0, _SPREAD, count)) * _UNIT, dtype=np.int64)


def noise_of(dice: np.random.Generator, evaluators: int) -> F64:
    """Draw how noisy each honest evaluator is."""
    return dice.choice(NOISE, evaluators, p=NOISE_SHARES)


def said(dice: np.random.Generator, truth: I64, noise: F64) -> I64:
    """Return what evaluators of the given noise say: evaluators x nodes, with gaps."""
    shape = (len(noise), len(truth))
    values = truth * (1.0 + dice.normal(0.0, 1.0, shape) * noise[:, None])
    gaps = dice.random(shape) < MISSING_SHARE
    return np.where(gaps, MISSING, np.maximum(values, 0.0)).astype(np.int64)


def draw_trials(dice: np.random.Generator, n: int, trials: int, liars: int) -> Drawn:
    """Draw a committee of n, some of whom will lie, and so many trials of one node."""
    truth = true_values(dice, trials)
    noise = noise_of(dice, n - liars)
    weights = [WEIGHT_MAX if sd < NOISE[-1] else WEIGHT_NEW for sd in noise]
    weights += [WEIGHT_MAX] * liars
    return Drawn(n, truth, said(dice, truth, noise), tuple(weights))


def rows_of(values: I64) -> list[list[int | None]]:
    """Return evaluators x nodes as the rows that the averages take."""
    rows: list[list[int | None]] = values.tolist()
    for number, gaps in enumerate(values == MISSING):
        for position in np.flatnonzero(gaps):
            rows[number][position] = None
    return rows
