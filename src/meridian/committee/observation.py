"""One member's own view of an epoch: the row that it contributes, and the trace behind it."""

from collections.abc import Sequence
from dataclasses import dataclass

from meridian.evaluate.flagging import ActiveLayer
from meridian.evaluate.function import EpochInput, Evaluation, EvaluationFunction
from meridian.evaluate.layered import evaluate_layered
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.row import Row, RowHeader
from meridian.evaluate.verdict_document import verdict_document
from meridian.primitives import dagcbor


@dataclass(frozen=True, slots=True)
class Observation:
    """What one evaluator computed, alone, from the published artefacts."""

    row: Row
    body: bytes
    """The row's canonical bytes."""
    evaluation: Evaluation
    document: bytes = b""
    """The verdicts artefact (`meridian.evaluate.verdict_document`); empty where there are no jobs to judge."""


def observe(
    header: RowHeader,
    epoch: EpochInput,
    function: EvaluationFunction,
    parameters: EvaluationParameters,
    layers: Sequence[ActiveLayer] = (),
    threads: int = 1,
) -> Observation:
    """Evaluate an epoch.

    Args:
        header: What is evaluated.
        epoch: Its jobs, nodes and inputs.
        function: The function of the schedule.
        parameters: Those of the schedule.
        layers: The fraud layers that the parameters name.
        threads: May change the speed and nothing else.

    Raises:
        InvalidInput: If the function or a layer refuses the parameters or an input.
    """
    evaluation = evaluate_layered(function, epoch, parameters.function, layers, threads=threads)
    row = Row.of(header, epoch, evaluation)
    document = dagcbor.encode(verdict_document(epoch, evaluation))
    return Observation(row, row.encode(), evaluation, document)
