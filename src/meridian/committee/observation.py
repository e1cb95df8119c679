"""One member's own view of an epoch: the row that it contributes, and the trace behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meridian.ephemera.opening import NO_TRACE
from meridian.evaluate.flagging import ActiveLayer
from meridian.evaluate.function import EpochInput, Evaluation, EvaluationFunction
from meridian.evaluate.layered import evaluate_layered
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.row import Row, RowHeader
from meridian.evaluate.trace import Traces, trace_root, work_root
from meridian.evaluate.verdict_document import verdict_document
from meridian.evaluate.verdicts import evaluation_leaves
from meridian.primitives import dagcbor
from meridian.primitives.ids import Address


@dataclass(frozen=True, slots=True)
class Observation:
    """What one evaluator computed, alone, from the published artefacts."""

    row: Row
    body: bytes
    """The row's canonical bytes."""
    evaluation: Evaluation
    document: bytes = b""
    """The verdicts artefact (`meridian.evaluate.verdict_document`); empty where there are no jobs to judge."""
    work: bytes = b""
    """The work root (`meridian.evaluate.trace`); empty where there are no jobs to judge."""

    def trace(self, member: Address) -> bytes:
        """Return the trace root to which this member commits itself together with its row."""
        return trace_root(member, self.work) if self.work else NO_TRACE

    def traces(self, roots: Mapping[Address, bytes]) -> Traces | None:
        """Return what the trace roots of a decided block are checked by; None where there is nothing to prove."""
        return Traces(roots, self.row.verdict_root, self.work) if self.work else None


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
    made = evaluate_layered(function, epoch, parameters.function, layers, threads=threads)
    return observed(header, epoch, made)


def observed(header: RowHeader, epoch: EpochInput, evaluation: Evaluation) -> Observation:
    """Return what one evaluator says with an evaluation that it made.

    Args:
        header: What was evaluated.
        epoch: Its jobs, nodes and inputs.
        evaluation: Of them.
    """
    row = Row.of(header, epoch, evaluation)
    document = dagcbor.encode(verdict_document(epoch, evaluation))
    work = work_root(evaluation_leaves(epoch, evaluation))
    return Observation(row, row.encode(), evaluation, document, work)
