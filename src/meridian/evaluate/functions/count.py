"""`count`: a node's weight is the number of its jobs that succeeded (the seed's function for Spark: f = sum of valid jobs).

Parameters: ``success`` = {``field``, ``allowed``}: a job succeeds when that field has one of these values; null does
not. Without ``success`` every job counts.
"""

from typing import Final

from meridian.errors import InvalidInput
from meridian.evaluate.engine import quoted
from meridian.evaluate.function import (
    EpochInput,
    Evaluation,
    EvaluationFunction,
    Parameters,
    bundle_of,
    refuse_unknown,
)
from meridian.evaluate.judging import evaluation, judge

NAME: Final = "count"
VERSION: Final = 1
REASONS: Final = ("ok", "unsuccessful")
ALLOWED_MAX: Final = 1024

_SQL_TYPES: Final = {int: "BIGINT", bool: "BOOLEAN", str: "VARCHAR"}


def _predicate(parameters: Parameters) -> tuple[str, list[int] | list[bool] | list[str]] | None:
    """Return the field and its allowed values, or None where every job counts."""
    refuse_unknown(parameters, frozenset({"success"}))
    success = parameters.get("success")
    if success is None:
        return None
    if not isinstance(success, dict) or set(success) != {"field", "allowed"}:
        raise InvalidInput("success", "is not a map of `field` and `allowed`")
    field, allowed = success["field"], success["allowed"]
    if (
        not isinstance(field, str)
        or not isinstance(allowed, list)
        or not 1 <= len(allowed) <= ALLOWED_MAX
    ):
        raise InvalidInput("success", f"needs a field's name and 1..{ALLOWED_MAX} allowed values")
    kinds = {type(value) for value in allowed}
    if len(kinds) != 1 or not kinds <= set(_SQL_TYPES):
        raise InvalidInput("success.allowed", "values are all integers, all booleans or all text")
    return field, allowed


def evaluate(epoch: EpochInput, parameters: Parameters, *, threads: int = 1) -> Evaluation:
    """Count each node's successful jobs.

    Raises:
        InvalidInput: If the parameters are wrong or name a field that the jobs do not have.
    """
    predicate = _predicate(parameters)
    if predicate is None:
        columns, verdict, values = {"value": "true"}, "0", {}
    else:
        field, allowed = predicate
        if field not in epoch.jobs.column_names:
            raise InvalidInput("success.field", f"the jobs have no field {field!r}")
        columns = {"value": quoted(field)}
        kind = _SQL_TYPES[type(allowed[0])]
        verdict = f"CASE WHEN list_contains(CAST($allowed AS {kind}[]), value) THEN 0 ELSE 1 END"
        values = {"allowed": allowed}
    codes, counts = judge(
        epoch.jobs, columns, verdict, ["count(*) FILTER (WHERE code = 0)"], values, threads
    )
    weights = [counts[node][0] if node in counts else None for node in range(len(epoch.node_ids))]
    return evaluation(weights, codes, REASONS, {})


FUNCTION: Final = EvaluationFunction(NAME, VERSION, bundle_of(NAME, VERSION), evaluate, _predicate)
