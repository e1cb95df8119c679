"""An epoch evaluated shard by shard: map to integers and codes, reduce by adding and joining.

Law: the evaluation and its verdict leaves are those of `evaluate_layered` on all jobs, whatever the shards, the pool
and its workers. A function that must see all jobs at once is not cut, and says why (`meridian.scale.treatment`).

Rounds, each a map over the shards and left out where nobody asks for it: what layers must know of all jobs; what the
layers flag; counts for quantiles over all jobs, four rounds at most; and the evaluation itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.bundle import Bundle
from meridian.evaluate.flagging import ActiveLayer, Known, flag
from meridian.evaluate.function import (
    Evaluation,
    EvaluationFunction,
    Parameters,
    SealedVerdicts,
)
from meridian.evaluate.jobs import Jobs, keep_rows
from meridian.evaluate.layered import evaluate_with_reasons
from meridian.evaluate.own_functions import function_of
from meridian.evaluate.registry import function_with_digest
from meridian.evaluate.shared_groups import (
    Parts,
    group_parts,
    needs_all_jobs,
    share,
    what_does_not_add_up,
)
from meridian.evaluate.verdicts import counted_root, evaluation_leaves, verdict_root
from meridian.primitives.cid import digest_of
from meridian.scale.ranks import Counts, Search, count_ranges, lowered
from meridian.scale.shards import ShardJobs
from meridian.scale.tasks import Items, Pool
from meridian.scale.treatment import Needs, Treatment, treatment_of

R = TypeVar("R")

Told = Callable[[str, int, int], None]
"""Told a round's name, how many shards are finished, and of how many."""


def say_nothing(_round: str, _finished: int, _shards: int) -> None:
    """Report no progress."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What shards are evaluated with, in a form that travels."""

    bundle: bytes
    """The function's."""
    parameters: Parameters
    layers: tuple[ActiveLayer, ...] = ()

    def function(self) -> EvaluationFunction:
        """Return the function.

        Raises:
            NotFound: If this version does not hold it: workers must run the version of who sends.
        """
        try:
            return function_with_digest(digest_of(self.bundle))
        except NotFound:
            pass
        try:
            return function_of(Bundle.decode(self.bundle), None)
        except InvalidInput as error:
            raise NotFound(f"this version does not hold the function: {error}") from error


@dataclass(frozen=True, slots=True)
class Work:
    """One shard in one round."""

    jobs: ShardJobs
    flags: bytes | None = None
    """What the layers say of each job, where a round before found out."""


@dataclass(frozen=True, slots=True)
class ShardEvaluation:
    """What comes back of a shard."""

    evaluation: Evaluation
    leaves: tuple[bytes, ...]
    """The verdict leaf of each of its nodes."""


@dataclass(frozen=True, slots=True)
class WholeEvaluation:
    """An evaluation of all shards."""

    evaluation: Evaluation
    leaves: tuple[bytes, ...]

    @property
    def verdict_root(self) -> bytes:
        """The root over the leaves, which a row carries."""
        root, sealed = verdict_root(self.leaves), self.evaluation.sealed
        return root if sealed is None else counted_root(root, sealed.counts)


# -- what runs in a worker ------------------------------------------------------------------------


def tell_groups(layers: Sequence[ActiveLayer], work: Work) -> Parts:
    """Return what a shard says of groups that concern other shards."""
    return group_parts(work.jobs.numbered_jobs(), layers)


def tell_flags(layers: Sequence[ActiveLayer], known: Known | None, work: Work) -> bytes:
    """Return what the layers say of each of a shard's jobs."""
    return _flags(layers, known, work).tobytes()


def tell_counts(
    parameters: Parameters, searches: tuple[Search, ...], work: Work
) -> tuple[Counts, ...]:
    """Count a shard's values for quantiles over all jobs."""
    jobs: Jobs = work.jobs.input().jobs
    if work.flags is not None:
        jobs = keep_rows(jobs, np.frombuffer(work.flags, dtype=np.uint8) == 0)
    return count_ranges(jobs, parameters, searches)


def evaluate_shard(rule: Rule, known: Known | None, work: Work) -> ShardEvaluation:
    """Evaluate a shard."""
    epoch = work.jobs.input()
    flags = _flags(rule.layers, known, work) if rule.layers else None
    made, _ = evaluate_with_reasons(
        rule.function(), epoch, rule.parameters, rule.layers, flags=flags
    )
    return ShardEvaluation(made, tuple(evaluation_leaves(epoch, made)))


def _flags(layers: Sequence[ActiveLayer], known: Known | None, work: Work) -> npt.NDArray[np.uint8]:
    if work.flags is not None:
        return np.frombuffer(work.flags, dtype=np.uint8)
    return flag(work.jobs.numbered_jobs(), layers, known=known or Known({}, {}))


# -- what runs here -------------------------------------------------------------------------------


def evaluate_sharded(
    rule: Rule,
    function: EvaluationFunction,
    shards: Items[ShardJobs],
    pool: Pool,
    told: Told = say_nothing,
) -> WholeEvaluation:
    """Evaluate an epoch.

    Args:
        rule: Function, parameters and layers, with which `must_stay_whole` finds nothing.
        function: The function of the rule.
        shards: All shards of the epoch, in order.
        pool: Where tasks run.
        told: Told how far the work is.

    Raises:
        InvalidInput: If the function or a layer refuses the parameters or the jobs, or a sum overflows.
        RemoteFault: If workers are lost again and again.
    """
    rounds = _Rounds(pool, shards, told)
    layers, known = rule.layers, None
    sample = shards[0].input().jobs
    if layers and needs_all_jobs(layers, sample):
        parts = rounds.map("groups", partial(tell_groups, layers))
        known = share(parts, layers, sample)
    if treatment_of(function, rule.parameters).needs is Needs.RANKS:
        if layers:
            rounds.flags = rounds.map("flags", partial(tell_flags, layers, known))
        ask = partial(_ask, rounds, rule.parameters)
        rule = replace(rule, parameters=lowered(rule.parameters, ask))
    return joined(rounds.map("evaluate", partial(evaluate_shard, rule, known)))


def must_stay_whole(
    function: EvaluationFunction, parameters: Parameters, layers: Sequence[ActiveLayer], jobs: Jobs
) -> str | None:
    """Return why an epoch cannot be evaluated shard by shard; None where it can."""
    treatment: Treatment = treatment_of(function, parameters)
    if treatment.needs is Needs.EPOCH:
        return f"{function.name} sees all jobs at once: {treatment.reason}"
    return what_does_not_add_up(layers, jobs)


def joined(parts: Sequence[ShardEvaluation]) -> WholeEvaluation:
    """Return the evaluation of all shards from those of each, in order."""
    made = [part.evaluation for part in parts]
    summary: dict[str, int] = {}
    for one in made:
        for name, figure in one.summary.items():
            summary[name] = summary.get(name, 0) + figure
    evaluation = Evaluation(
        weights=tuple(weight for one in made for weight in one.weights),
        verdicts=b"".join(one.verdicts for one in made),
        reasons=made[0].reasons,
        summary=summary,
        sealed=_sealed([one.sealed for one in made if one.sealed is not None]),
    )
    return WholeEvaluation(evaluation, tuple(leaf for part in parts for leaf in part.leaves))


def _sealed(parts: Sequence[SealedVerdicts]) -> SealedVerdicts | None:
    if not parts:
        return None
    counts: dict[str, int] = {}
    for part in parts:
        for name, count in part.counts:
            counts[name] = counts.get(name, 0) + count
    return SealedVerdicts(
        tuple(root for part in parts for root in part.roots), tuple(counts.items())
    )


def _ask(
    rounds: "_Rounds", parameters: Parameters, searches: tuple[Search, ...]
) -> Sequence[tuple[Counts, ...]]:
    return rounds.map("quantiles", partial(tell_counts, parameters, searches))


class _Rounds:
    """Maps over the shards, again and again."""

    def __init__(self, pool: Pool, shards: Items[ShardJobs], told: Told) -> None:
        self._pool, self._shards, self._told = pool, shards, told
        self.flags: Sequence[bytes] | None = None

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, place: int) -> Work:
        flags = None if self.flags is None else self.flags[place]
        return Work(self._shards[place], flags)

    def map(self, name: str, call: Callable[[Work], R]) -> list[R]:
        return self._pool.map(call, self, lambda done: self._told(name, done, len(self)))
