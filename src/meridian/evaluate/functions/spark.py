"""`spark`: a node's weight is the number of its measurements that SPARK's fraud rules reward.

A node is a station; its payee is the participant. The verdicts are those of spark-evaluate, and a record that the
original drops unseen has a reason of its own. Two input artefacts: ``round-details``, a map with ``maxTasksPerNode`` and
``retrievalTasks`` (``cid`` and ``minerId`` of each; other keys are not looked at), and ``randomness``, the text of the
beacon's value. Parameter: ``committee_size``.

Where the original depends on the order in which measurements came (those of one subnet and one millisecond), the order
is by node key and job key here.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from meridian.errors import InvalidInput
from meridian.evaluate.function import (
    EpochInput,
    Evaluation,
    EvaluationFunction,
    Parameters,
    bundle_of,
    integer_parameter,
    refuse_unknown,
)
from meridian.evaluate.judging import evaluation
from meridian.evaluate.spark.committees import NOBODY
from meridian.evaluate.spark.job_columns import JobColumns
from meridian.evaluate.spark.preprocess import DROPPED
from meridian.evaluate.spark.rounds import REQUIRED_COMMITTEE_SIZE, RoundDetails, evaluate_round
from meridian.evaluate.spark.tasking import Task, Tasking
from meridian.evaluate.spark.verdicts import LABELS, REFUSED, REWARDED
from meridian.primitives import dagcbor

NAME: Final = "spark"
VERSION: Final = 1
ROUND_DETAILS: Final = "round-details"
RANDOMNESS: Final = "randomness"
TASKS_MAX: Final = 100_000

REASONS: Final = ("ok", *LABELS[REWARDED + 1 : REFUSED], *DROPPED)

_TOTALS: Final = ("committees", "committees that agree")

_MODULES: Final = (
    *("committees", "inet_groups", "javascript", "job_columns", "preprocess", "rounds", "tasking"),
    "verdicts",
)


def _check(parameters: Parameters) -> int:
    refuse_unknown(parameters, frozenset({"committee_size"}))
    return integer_parameter(parameters, "committee_size", REQUIRED_COMMITTEE_SIZE, 1)


def round_details(inputs: Mapping[str, bytes], committee_size: int) -> RoundDetails:
    """Read the two input artefacts.

    Raises:
        InvalidInput: If one is missing or malformed.
    """
    for name in (ROUND_DETAILS, RANDOMNESS):
        if name not in inputs:
            raise InvalidInput(name, "the epoch has no such input")
    details, randomness = (dagcbor.decode(inputs[name]) for name in (ROUND_DETAILS, RANDOMNESS))
    if not isinstance(randomness, str):
        raise InvalidInput(RANDOMNESS, "is not a text")
    if not isinstance(details, dict):
        raise InvalidInput(ROUND_DETAILS, "is not a map")
    per_node, listed = details.get("maxTasksPerNode"), details.get("retrievalTasks")
    if type(per_node) is not int:
        raise InvalidInput(ROUND_DETAILS, "maxTasksPerNode is missing or not an integer")
    if not isinstance(listed, list) or len(listed) > TASKS_MAX:
        raise InvalidInput(ROUND_DETAILS, f"retrievalTasks is not a list of at most {TASKS_MAX}")
    return RoundDetails(tuple(map(_task, listed)), randomness, per_node, committee_size)


def _task(item: Any) -> Task:
    if isinstance(item, dict):
        cid, miner_id = item.get("cid"), item.get("minerId")
        if isinstance(cid, str) and isinstance(miner_id, str):
            return cid, miner_id
    raise InvalidInput(ROUND_DETAILS, f"the task {item!r:.80} has no cid and minerId")


def evaluate(epoch: EpochInput, parameters: Parameters, *, threads: int = 1) -> Evaluation:  # noqa: ARG001 - one is enough
    """Judge the measurements of a round and count each station's rewarded ones.

    Raises:
        InvalidInput: If the parameters or inputs are malformed, or a field is missing.
    """
    committee_size, nodes = _check(parameters), len(epoch.node_ids)
    if not epoch.jobs.num_rows:  # nothing happened: there need not have been a round
        return evaluation([None] * nodes, b"", REASONS, dict.fromkeys(_TOTALS, 0))
    details = round_details(epoch.inputs, committee_size)
    tasking = Tasking(details.tasks, details.randomness, details.tasks_per_node)
    jobs = JobColumns(epoch.jobs, epoch.node_ids, tasking)
    verdicts = evaluate_round(details, tasking, jobs.columns, jobs.votes, jobs.ranks)
    codes = np.where(jobs.dropped > 0, jobs.dropped + np.uint8(REFUSED - 1), verdicts.codes)
    has_jobs = np.bincount(jobs.columns.station, minlength=nodes) > 0
    counts = np.bincount(jobs.columns.station[codes == REWARDED], minlength=nodes)
    weights = [
        int(count) if has else None for count, has in zip(counts, has_jobs.tolist(), strict=True)
    ]
    committees = verdicts.committees
    agreeing = int(np.sum(committees.retrieval_member != NOBODY))
    own = dict(zip(_TOTALS, (len(committees.task), agreeing), strict=True))
    return evaluation(weights, codes.astype(np.uint8).tobytes(), REASONS, own)


FUNCTION: Final = EvaluationFunction(
    NAME,
    VERSION,
    bundle_of(NAME, VERSION, *(f"spark/{module}.py" for module in _MODULES)),
    evaluate,
    _check,
)
