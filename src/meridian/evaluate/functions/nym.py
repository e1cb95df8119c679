"""`nym`: a mixnode's average uptime over the epoch, in millionths of a percent point.

A reading is 0..100, or missing. Missing is missing and never 0: it stands outside the average, and a mixnode without any
reading abstains. A reading outside 0..100 cannot be and counts for nothing. The weight is ``floor(10^6 * sum / readings)``.

The epoch is the half-open interval that the jobs belong to: a reading at its very end is the next epoch's.
Source: the simulated Nym-Api of the seed; nymtech/nym, ``mixnode_status`` (reliability 0..100). No parameters.
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

NAME: Final = "nym"
VERSION: Final = 1
REASONS: Final = ("ok", "missing", "impossible")
READING: Final = "reliability"
READING_MAX: Final = 100
SCALE: Final = 10**6

_VERDICT: Final = (
    f"CASE WHEN reading IS NULL THEN 1 WHEN reading BETWEEN 0 AND {READING_MAX} THEN 0 ELSE 2 END"
)
_TOTALS: Final = (
    "coalesce(sum(reading) FILTER (WHERE code = 0), 0)",
    "count(*) FILTER (WHERE code = 0)",
)


def _check(parameters: Parameters) -> None:
    refuse_unknown(parameters, frozenset())


def evaluate(epoch: EpochInput, parameters: Parameters, *, threads: int = 1) -> Evaluation:
    """Average each mixnode's readings.

    Raises:
        InvalidInput: If there are parameters, or the jobs have no field ``reliability``.
    """
    _check(parameters)
    if READING not in epoch.jobs.column_names:
        raise InvalidInput("jobs", f"have no field {READING!r}")
    columns = {"reading": f"CAST({READING} AS BIGINT)"}
    codes, sums = judge(epoch.jobs, columns, _VERDICT, _TOTALS, {}, threads)
    weights: list[int | None] = [None] * len(epoch.node_ids)
    for node, (total, readings) in sums.items():
        if readings:
            weights[node] = SCALE * total // readings
    return evaluation(weights, codes, REASONS, {"readings": sum(n for _, n in sums.values())})


FUNCTION: Final = EvaluationFunction(NAME, VERSION, bundle_of(NAME, VERSION), evaluate, _check)
