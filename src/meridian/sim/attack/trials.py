"""Each method against each strategy, on the same drawn committees."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from meridian.errors import InvalidInput
from meridian.evaluate.aggregate import Aggregated, Values, mean, median, trimmed, wmedian
from meridian.primitives.quorum import faults_max
from meridian.sim.attack.draws import F64, Drawn, draw_trials, rows_of
from meridian.sim.attack.strategies import STRATEGIES, Strategy, honest_range

BATCH: Final = 2_000
"""Trials drawn at once, with one committee: how noisy each of its members is."""

Method = Callable[[Sequence[Values], Drawn], Aggregated]

METHODS: Final[dict[str, Method]] = {
    "mean": lambda rows, drawn: mean(rows, drawn.n),
    "median": lambda rows, drawn: median(rows, drawn.n),
    "trimmed": lambda rows, drawn: trimmed(rows, drawn.n),
    "wmedian": lambda rows, drawn: wmedian(rows, drawn.n, _in_row_order(rows, drawn)),
}


def _in_row_order(rows: Sequence[Values], drawn: Drawn) -> tuple[int, ...]:
    assert len(rows) == drawn.n
    return drawn.weights


@dataclass(frozen=True, slots=True)
class Cell:
    """What one strategy did to one method."""

    n: int
    liars: int
    method: str
    strategy: str
    trials: int
    outside: int
    """Trials whose value lies outside the range of what honest evaluators said."""
    deferred: int
    """Trials without a value: the share is held back, not lost."""
    error: float
    """Mean distance from the truth, as a part of it, over trials with a value."""
    gain: float
    """The same with its sign: what the node gains."""


@dataclass(slots=True)
class _Sums:
    trials: int = 0
    outside: int = 0
    deferred: int = 0
    error: float = 0.0
    gain: float = 0.0

    def add(self, drawn: Drawn, result: Aggregated) -> None:
        low, high = honest_range(drawn)
        there = np.array([value is not None for value in result])
        values = np.array([value or 0 for value in result], dtype=np.int64)
        off: F64 = (values[there] - drawn.truth[there]) / drawn.truth[there]
        self.trials += len(result)
        self.deferred += int((~there).sum())
        self.outside += int((there & ((values < low) | (values > high))).sum())
        self.error += float(np.abs(off).sum())
        self.gain += float(off.sum())

    def cell(self, n: int, liars: int, method: str, strategy: str) -> Cell:
        spoken = max(1, self.trials - self.deferred)
        return Cell(
            n, liars, method, strategy, self.trials, self.outside, self.deferred,
            self.error / spoken, self.gain / spoken,
        )  # fmt: skip


def run_trials(
    n: int,
    trials: int,
    seed: int,
    strategies: Sequence[Strategy] = STRATEGIES,
    liars: int | None = None,
    done: Callable[[int], None] = lambda _: None,
) -> list[Cell]:
    """Play every strategy against every method, on the same draws.

    Args:
        n: Evaluators.
        trials: Values of single nodes; every `BATCH` of them has a committee of its own.
        seed: The same seed gives the same figures with the same version of numpy.
        strategies: Those to play.
        liars: How many evaluators lie; f by default, and no more.
        done: Is told how many trials are through.

    Raises:
        InvalidInput: If more than f evaluators are to lie.
    """
    count = faults_max(n) if liars is None else liars
    if not 0 <= count <= faults_max(n):
        raise InvalidInput("liars", f"{count} of {n}; at most {faults_max(n)} are tolerated")
    sums = {(strategy.name, method): _Sums() for strategy in strategies for method in METHODS}
    through = 0
    for number, size in enumerate(_batches(trials)):
        drawn = draw_trials(np.random.default_rng([seed, n, number]), n, size, count)
        for strategy in strategies:
            rows = rows_of(np.concatenate([drawn.honest, strategy.says(drawn)]))
            for name, method in METHODS.items():
                sums[strategy.name, name].add(drawn, method(rows, drawn))
        through += size
        done(through)
    return [found.cell(n, count, method, strategy) for (strategy, method), found in sums.items()]


def _batches(trials: int) -> Iterator[int]:
    while trials > 0:
        yield min(BATCH, trials)
        trials -= BATCH
