"""One member's own view of an epoch: the row that it contributes, and the trace behind it."""

from dataclasses import dataclass

from meridian.evaluate.function import EpochInput, Evaluation, EvaluationFunction
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.row import Row, RowHeader


@dataclass(frozen=True, slots=True)
class Observation:
    """What one evaluator computed, alone, from the published artefacts."""

    row: Row
    body: bytes
    """The row's canonical bytes."""
    evaluation: Evaluation


def observe(
    header: RowHeader,
    epoch: EpochInput,
    function: EvaluationFunction,
    parameters: EvaluationParameters,
    threads: int = 1,
) -> Observation:
    """Evaluate an epoch.

    Raises:
        InvalidInput: If the function refuses the parameters or an input.
    """
    evaluation = function.evaluate(epoch, parameters.function, threads=threads)
    row = Row.of(header, epoch, evaluation)
    return Observation(row, row.encode(), evaluation)
