"""An old epoch evaluated again, under its own function or another one: what it would have paid.

What was paid follows from the decided rows and must be what the contract stores. What would have been paid is the outcome
by the network's own rule if every member whose row counted had computed the other function honestly: so one honest
evaluation, here, says it all. Layers, average, allocation, budget and terms stay those of the schedule.

What an epoch leaves to the next one, reliability, debts, collateral, growth, is taken as it really was before the epoch.
So epochs do not depend on each other, and what the other function would have changed in it is not carried on. Claims
matter for the cumulative sums only, and these are not told.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from meridian.audit.agreed import check_block, check_rows, load_records
from meridian.audit.case import Case
from meridian.audit.difference import Changed, EpochDifference, NodeDifference, Parts, ranks
from meridian.audit.epoch import MEASURED_STEPS
from meridian.audit.evaluated import (
    check_evaluation,
    check_function,
    check_inputs,
    epoch_input,
    load_parameters,
)
from meridian.audit.evidence import Broken, Finding, Step, first_broken, run_steps
from meridian.audit.objects import fetch
from meridian.audit.rewarded import (
    check_aggregation,
    check_contract,
    check_report,
    check_rewards,
    previous_ledger,
)
from meridian.audit.sealed import sealed_names
from meridian.audit.source import EvidenceSource
from meridian.errors import NotFound
from meridian.evaluate.bundle import Bundle
from meridian.evaluate.function import Evaluation, EvaluationFunction
from meridian.evaluate.layered import evaluate_layered, runnable_layers
from meridian.evaluate.own_functions import RunPython, function_of
from meridian.evaluate.registry import resolve
from meridian.evaluate.row import Row
from meridian.evaluate.sealed_layer import PrivateLayer
from meridian.primitives import dagcbor
from meridian.primitives.cid import digest_of
from meridian.reward.outcome import Outcome, compute_outcome

_OWN: Final = "own function"


@dataclass(frozen=True, slots=True)
class Question:
    """Under what epochs are evaluated again."""

    function: bytes | None = None
    """Digest; None: each epoch's own."""
    bundle: bytes | None = None
    """Its code where that is at hand; else it ships, or is published."""
    parameters: Mapping[str, Any] | None = None
    """The function's own; None: the schedule's for its own function, the defaults for another."""

    def key(self, commitment: bytes, report_hash: bytes) -> bytes:
        """Return what a result answers to: the question, the epoch's digest on chain and its report."""
        parameters = None if self.parameters is None else dict(self.parameters)
        return digest_of(dagcbor.encode([self.function, parameters, commitment, report_hash]))

    def function_from(
        self, source: EvidenceSource | None, run_python: RunPython | None
    ) -> EvaluationFunction | None:
        """Return the function; None: each epoch's own.

        Raises:
            InvalidInput: If its code is not acceptable, or the parameters do not suit it.
            NotFound: If it neither ships nor is published, or needs an engine that is not here.
        """
        if self.function is None:
            return None

        def published(digest: bytes) -> bytes:
            try:
                if source is None:
                    raise NotFound("no publications are looked at")
                return fetch(source, digest, "the function")
            except Broken as error:
                raise NotFound(f"--function: {error.detail}") from None

        if self.bundle is None:
            function = resolve(self.function, published, run_python)
        else:
            function = function_of(Bundle.decode(self.bundle), run_python)
        if self.parameters is not None:
            function.check(self.parameters)
        return function


class _Again(Case):
    """An epoch whose own function may be one that does not run here."""

    why_not: str = ""
    """Why its own function does not run here."""


def _own_function(case: _Again) -> Finding:
    case.schedule = case.source.chain.schedule(case.epoch)
    try:
        return check_function(case)
    except Broken as broken:
        detail = "; ".join((broken.detail, *broken.items))
        case.why_not = f"function {case.schedule.function.hex()} does not run here: {detail}"
        return Finding(case.why_not)


def _own_evaluation(case: _Again) -> Finding:
    """Evaluate under the own function where it runs; that others decided something else is told by `verify`."""
    case.input = epoch_input(case)
    if case.why_not or sealed_names(case):
        return Finding("not done here")
    try:
        case.function.check(case.parameters.function)
        return check_evaluation(case)
    except Broken as broken:
        return Finding(broken.detail, broken.items)


def _same(step: Step[Case]) -> Step[_Again]:
    return Step(step.name, step.needs, step.check)


_STEPS: Final[tuple[Step[_Again], ...]] = (
    *map(_same, MEASURED_STEPS),
    Step(_OWN, ("contracts",), _own_function),
    Step("parameters", ("manifest", _OWN), load_parameters),
    Step("inputs", ("manifest", _OWN), check_inputs),
    Step("outcome records", ("contracts",), load_records),
    Step("block", ("outcome records",), check_block),
    Step("rows", ("block",), check_rows),
    Step("aggregation", ("rows", "jobs", "parameters", "inputs"), check_aggregation),
    Step("evaluation", ("aggregation",), _own_evaluation),
    Step("rewards", ("evaluation",), check_rewards),
    Step("report", ("rewards",), check_report),
    Step("contract", ("rewards",), check_contract),
)
"""What must hold to know the jobs and what was paid; `verify` checks the rest."""


def key_of(source: EvidenceSource, epoch: int, question: Question) -> bytes | None:
    """Return what a result of this epoch answers to; None: no report of it is accepted."""
    stored = source.chain.report(epoch)
    if stored is None:
        return None
    return question.key(source.chain.epoch_digest(epoch), stored.hash)


def reevaluate(
    source: EvidenceSource,
    epoch: int,
    question: Question,
    private: Mapping[bytes, PrivateLayer] = MappingProxyType({}),
) -> EpochDifference:
    """Return an epoch as it was paid and as it would have been.

    Args:
        source: Everything that is published, and the chain.
        epoch: A reported epoch.
        question: The function.
        private: Commitment -> private bundle, of sealed fraud layers whose rules are known here.

    Raises:
        Broken: If what was paid does not follow from what is published; link and reason are named.
        InvalidInput: If the function refuses parameters or jobs.
        NotFound: If the function is not here.
        RemoteFault: If the chain cannot be read.
    """
    case = _Again(source, epoch)
    case.private = private
    broken = first_broken(run_steps(case, _STEPS))
    if broken is not None:
        raise Broken(f"{broken.name}: {broken.detail}", broken.items)
    if sealed := sealed_names(case):
        raise Broken(f"layers {', '.join(sealed)} are sealed, and their rules are not known here")
    function = question.function_from(source, source.run_python)
    is_own = function is None or function.digest == case.schedule.function
    if function is None:
        if case.why_not:
            raise Broken(case.why_not)
        function = case.function
    parameters = question.parameters
    if parameters is None:
        parameters = case.parameters.function if is_own else {}
    function.check(parameters)
    evaluation = evaluate_layered(function, case.input, parameters, runnable_layers(case.layers))
    outcome = _outcome(case, function, parameters, evaluation)
    return _difference(case, function, outcome, evaluation)


def _outcome(
    case: _Again,
    function: EvaluationFunction,
    parameters: Mapping[str, Any],
    evaluation: Evaluation,
) -> Outcome:
    """Return the outcome if every member whose row counted had sent this evaluation's row."""
    chain, other = case.source.chain, replace(case.parameters, function=dict(parameters))
    header = replace(case.header, function=function.digest, parameters=other.digest)
    body = Row.of(header, case.input, evaluation).encode()
    refused = {member for member, _ in case.outcome.refused}
    return compute_outcome(
        [(member, body) for member, _ in case.rows if member not in refused],
        members=case.context.members,
        parameters=other,
        budget=chain.budget(case.epoch),
        previous=previous_ledger(case),
        expected=header,
        payees=case.payees,
        pay=chain.pay(case.epoch),
        aggregators=case.counted,
        annotation=case.annotation,
    )


def _difference(
    case: _Again, function: EvaluationFunction, would: Outcome, evaluation: Evaluation
) -> EpochDifference:
    was = case.outcome
    rank_was, rank_would = ranks(was.amounts), ranks(would.amounts)
    nodes = [
        NodeDifference(
            case.name_of(key),
            was.amounts[at],
            would.amounts[at],
            was.weights[at],
            would.weights[at],
            rank_was[at],
            rank_would[at],
        )
        for at, key in enumerate(was.node_keys)
    ]
    return EpochDifference(
        epoch=case.epoch,
        jobs=case.jobs.num_rows,
        function_was=case.schedule.function,
        function_would=function.digest,
        report_hash=case.stored.hash,
        budget=was.budget,
        paid=_parts(was),
        would=_parts(would),
        nodes=tuple(sorted(nodes, key=lambda node: node.node_id)),
        verdicts=() if case.why_not else _changed(case.evaluation, evaluation),
        notes=_notes(case),
    )


def _parts(outcome: Outcome) -> Parts:
    members = outcome.paid_to_members
    return Parts(outcome.allocated, members, outcome.budget - outcome.allocated - members)


def _changed(was: Evaluation, would: Evaluation) -> tuple[Changed, ...]:
    """Count the jobs by the reasons of both; the jobs are the same, in the same order."""
    pairs = np.frombuffer(was.verdicts, np.uint8).astype(np.int64) * 256
    pairs += np.frombuffer(would.verdicts, np.uint8)
    counts = Counter[tuple[str, str]]()
    for pair, jobs in enumerate(np.bincount(pairs).tolist()):
        if jobs:
            counts[was.reasons[pair // 256], would.reasons[pair % 256]] += jobs
    return tuple(Changed(*reasons, jobs) for reasons, jobs in sorted(counts.items()))


def _notes(case: _Again) -> tuple[str, ...]:
    notes = []
    if case.why_not:
        notes.append(f"verdicts are not compared: {case.why_not}")
    if case.parameters.reliability or case.parameters.economy:
        notes.append(
            "reliability, debts and collateral before the epoch are those that really were"
        )
    if case.outcome.refused:
        notes.append(
            f"{len(case.outcome.refused)} rows could not be used: they count on neither side"
        )
    if case.outcome.unproved:
        notes.append(
            f"{len(case.outcome.unproved)} members were not paid as evaluators, having no work behind their rows; "
            "the other side takes all work to be honest"
        )
    if any(layer.salt is not None for layer in runnable_layers(case.layers)):
        notes.append(
            "a sealed layer decides too: jobs that reach it are `undisclosed` on both sides"
        )
    return tuple(notes)
