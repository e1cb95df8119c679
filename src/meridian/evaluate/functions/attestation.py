"""`attestation`: a node's weight is the sum of the scores of its duties (Rocket Pool pays floor(T * score / sum)).

A duty that was not done carries score 0 and gets the verdict ``missed``; a negative score cannot be and counts for
nothing. Scores of one node pass 2^64, so sums are HUGEINT. No parameters.
"""

from typing import Final

from meridian.errors import InvalidInput
from meridian.evaluate.function import (
    EpochInput,
    Evaluation,
    EvaluationFunction,
    Parameters,
    bundle_of,
    refuse_unknown,
)
from meridian.evaluate.judging import evaluation, judge

NAME: Final = "attestation"
VERSION: Final = 1
REASONS: Final = ("ok", "missed", "impossible")

_VERDICT: Final = "CASE WHEN score > 0 THEN 0 WHEN score < 0 THEN 2 ELSE 1 END"
_TOTALS: Final = ("coalesce(sum(score) FILTER (WHERE code = 0), 0)",)


def _check(parameters: Parameters) -> None:
    refuse_unknown(parameters, frozenset())


def evaluate(epoch: EpochInput, parameters: Parameters, *, threads: int = 1) -> Evaluation:
    """Sum each node's scores.

    Raises:
        InvalidInput: If there are parameters, or the jobs have no field ``score``.
    """
    _check(parameters)
    if "score" not in epoch.jobs.column_names:
        raise InvalidInput("jobs", "have no field 'score'")
    columns = {"score": "CAST(score AS BIGINT)"}
    codes, sums = judge(epoch.jobs, columns, _VERDICT, _TOTALS, {}, threads)
    weights = [sums[node][0] if node in sums else None for node in range(len(epoch.node_ids))]
    return evaluation(weights, codes, REASONS, {})


FUNCTION: Final = EvaluationFunction(NAME, VERSION, bundle_of(NAME, VERSION), evaluate, _check)
