"""Trying a function out: its results on a source's jobs, and whether they are the same however they are computed."""

from collections.abc import Sequence
from typing import Any

from meridian.evaluate.function import EpochInput, Evaluation, EvaluationFunction
from meridian.networks.definition import JobSource
from meridian.networks.local import epoch_inputs, scrambled

DIFFERENCES_MAX = 5
"""Of one epoch; more say nothing new."""


def trial(
    source: JobSource, function: EvaluationFunction, parameters: dict[str, Any]
) -> tuple[list[tuple[EpochInput, Evaluation]], list[str]]:
    """Evaluate all epochs of a source; return inputs with results, and the reasons of refused records."""
    inputs, refused = epoch_inputs(source)
    return [(given, function.evaluate(given, parameters)) for given in inputs], refused


def differences(
    function: EvaluationFunction,
    parameters: dict[str, Any],
    given: EpochInput,
    expected: Evaluation,
    orders: int,
    threads: Sequence[int],
) -> list[str]:
    """Return how the result differs with other orders of the jobs and other numbers of threads; empty: never.

    Args:
        function: The function.
        parameters: Its parameters.
        given: The epoch, in its canonical order.
        expected: What the function gave for it.
        orders: How many other orders are tried.
        threads: The numbers of threads, taken in turn.
    """
    found: list[str] = []
    for seed in range(orders):
        count = threads[seed % len(threads)]
        moved, order = scrambled(given, seed)
        result = function.evaluate(moved, parameters, threads=count)
        verdicts = bytearray(len(order))
        for code, place in zip(result.verdicts, order, strict=True):
            verdicts[place] = code
        for what, same in (
            ("weights", result.weights == expected.weights),
            ("verdicts", bytes(verdicts) == expected.verdicts),
            ("summary", result.summary == expected.summary),
        ):
            if not same:
                found.append(f"epoch {given.epoch}: {what} in order {seed} with {count} threads")
        if len(found) >= DIFFERENCES_MAX:
            break
    return found
