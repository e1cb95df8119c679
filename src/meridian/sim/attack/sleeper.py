"""Sleepers: f evaluators that are honest until their reputation is full, and then all lie at once.

The honest ones make their usual errors and abstain now and then, so the sleepers stand better than most when they
begin. The gain is what their node gets with the attack over what it would have got without, in the same epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from meridian.evaluate.aggregate import median, wmedian
from meridian.evaluate.reliability import ReliabilityRule, Standing, agreement_ppm
from meridian.primitives.quorum import faults_max
from meridian.sim.attack.draws import F64, NOISE, noise_of, rows_of, said, true_values
from meridian.sim.attack.strategies import SCALE

LEARNING_EPOCHS: Final = 50
NODES: Final = 100
TARGETS: Final = 5


@dataclass(frozen=True, slots=True)
class Slept:
    """What the sleepers of one size of committee gained."""

    n: int
    worlds: int
    gain: float
    """Mean gain of the targeted nodes under `wmedian` with the learnt weights."""
    gain_unweighted: float
    """The same under the plain median, which remembers nothing."""
    outside: int
    """Targeted values outside the range of what honest evaluators said."""
    sleepers_weight: float
    """Mean weight of a sleeper when it wakes, of the greatest."""
    others_weight: float
    """The same of the honest ones."""


def run_sleepers(
    n: int, worlds: int, seed: int, done: Callable[[int], None] = lambda _: None
) -> Slept:
    """Let f of n sleepers learn and attack, in so many worlds."""
    played = []
    for world in range(worlds):
        played.append(_play(np.random.default_rng([seed, n, world, LEARNING_EPOCHS]), n))
        done(world + 1)
    gains, plain, outside, asleep, others = (list(column) for column in zip(*played, strict=True))
    return Slept(
        n,
        worlds,
        float(np.mean(gains)),
        float(np.mean(plain)),
        sum(outside),
        float(np.mean(asleep)),
        float(np.mean(others)),
    )


def _learn(dice: np.random.Generator, noise: F64) -> list[int]:
    """Return the weights of all evaluators after the epochs of learning."""
    rule, n = ReliabilityRule(), len(noise)
    standings = [Standing()] * n
    for _ in range(LEARNING_EPOCHS):
        rows = rows_of(said(dice, true_values(dice, NODES), noise))
        result = wmedian(rows, n, [standing.weight for standing in standings])
        standings = [
            standing.after(agreement_ppm(row, result, rule), rule)
            for standing, row in zip(standings, rows, strict=True)
        ]
    return [standing.weight for standing in standings]


def _play(dice: np.random.Generator, n: int) -> tuple[float, float, int, float, float]:
    """Return gain, gain under the plain median, values outside, and the mean weights of sleepers and others."""
    f = faults_max(n)
    noise = np.concatenate([noise_of(dice, n - f), np.full(f, NOISE[0])])
    weights = _learn(dice, noise)
    truth = true_values(dice, NODES)
    as_before = said(dice, truth, noise)
    attacked = as_before.copy()
    attacked[n - f :, :TARGETS] = truth[:TARGETS] * SCALE
    highest = as_before[: n - f, :TARGETS].max(axis=0)
    gains, plain, outside = [], [], 0
    before, after = rows_of(as_before), rows_of(attacked)
    weighted = (wmedian(before, n, weights), wmedian(after, n, weights))
    unweighted = (median(before, n), median(after, n))
    for node in range(TARGETS):
        if (gain := _gain(weighted[0][node], weighted[1][node])) is not None:
            gains.append(gain)
        if (gain := _gain(unweighted[0][node], unweighted[1][node])) is not None:
            plain.append(gain)
        reached = weighted[1][node]
        outside += reached is not None and reached > int(highest[node])
    greatest = max(weights)
    return (
        float(np.mean(gains)) if gains else 0.0,
        float(np.mean(plain)) if plain else 0.0,
        outside,
        float(np.mean(weights[n - f :])) / greatest,
        float(np.mean(weights[: n - f])) / greatest,
    )


def _gain(without: int | None, attacked: int | None) -> float | None:
    """Return what the attack adds; a value that is deferred either way gains nothing that could be compared."""
    return attacked / without - 1 if without and attacked is not None else None
