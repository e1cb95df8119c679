"""`saturn`: S = b^0.5 * s^2 * u^2, the design formula of the Saturn payouts, in exact fixed point.

- b: bytes of the jobs that were served (not fraudulent, no error status).
- s: share of the requests whose TTFB and duration are both below their limits. An error is a miss. A served job
  without a measured TTFB stands outside both counts; an error without one is still a miss (a parameter).
- u: share of passed health checks, from the input artefact ``health-checks``; 1/1 where the node is not in it.

The limits are fixed ones, or exact quantiles of the epoch's own measured requests, or whichever of both is smaller: a
node can be scored against the others.

The weight is ``isqrt(b * 10^36) * ok^2 * up^2 // (requests^2 * checks^2)``: b^0.5 with 18 decimals, and one floor at the
end. A node whose speed was never measured has weight 0: it has jobs, so it does not abstain.

Fraud is the business of layers (`meridian.evaluate.layers`): what they flag never comes here. A job with impossible
numbers counts for nothing, and so do all jobs of a flagged operator, who is excluded entirely. Every job gets exactly one
reason, the first that applies. Source of the formula: protocol/cel-retrieval, saturn-aliens (2022); the limits of the
live system were never published, so they are parameters.
"""

from collections.abc import Mapping
from math import isqrt
from typing import Final

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
from meridian.evaluate.jobs import Jobs
from meridian.evaluate.judging import MILLION, column_or_null, evaluation, exact_quantiles, judge
from meridian.primitives import dagcbor
from meridian.primitives.ids import address_text

NAME: Final = "saturn"
VERSION: Final = 2
HEALTH_CHECKS: Final = "health-checks"
FLAGGED_MAX: Final = 100_000
CHECKS_MAX: Final = (1 << 32) - 1

REASONS: Final = (
    "ok",
    "no_ttfb",  # served, but nobody measured when the first byte came: bytes count, speed does not
    "slow_ttfb",
    "slow_duration",
    "error",
    "impossible",
    "flagged",
)

_VERDICT: Final = """CASE
    WHEN node IN (SELECT unnest(CAST($flagged AS BIGINT[]))) THEN 6
    WHEN bytes IS NULL OR duration_ns IS NULL OR bytes < 0 OR duration_ns < 0 OR ttfb_ms < 0 THEN 5
    WHEN status >= $error_status_min THEN 4
    WHEN ttfb_ms IS NULL THEN 1
    WHEN ttfb_ms >= $ttfb_limit_ms THEN 2
    WHEN duration_ns >= $duration_limit_ns THEN 3
    ELSE 0 END"""

_TOTALS: Final = (
    "coalesce(sum(bytes) FILTER (WHERE code <= 3), 0)",
    "count(*) FILTER (WHERE code = 0)",
    "count(*) FILTER (WHERE code IN (0, 2, 3) OR (code = 4 AND (null_is_miss OR ttfb_ms IS NOT NULL)))",
)

_DEFAULTS: Final = {
    "ttfb_limit_ms": 5_000,
    "duration_limit_ns": 10_000_000_000,
    "error_status_min": 400,
}
_QUANTILES: Final = {
    "ttfb_quantile_ppm": "ttfb_limit_ms",
    "duration_quantile_ppm": "duration_limit_ns",
}
"""Parts per million, 0 for none -> the limit that becomes one above that quantile where this is smaller."""
_NULL_IS_MISS: Final = "null_ttfb_error_is_miss"
_FLAGGED: Final = "flagged"


def weight_of(served_bytes: int, ok: int, requests: int, up: int, checks: int) -> int:
    """Return the weight of one node, in fixed point with 18 decimals of b^0.5; 0 where `requests` is 0."""
    if requests == 0:
        return 0
    return isqrt(served_bytes * 10**36) * ok**2 * up**2 // (requests**2 * checks**2)


def _flagged(parameters: Parameters) -> frozenset[str]:
    flagged = parameters.get(_FLAGGED, [])
    if not isinstance(flagged, list) or not all(isinstance(name, str) for name in flagged):
        raise InvalidInput(_FLAGGED, "is not a list of node ids and payee addresses")
    if len(flagged) > FLAGGED_MAX:
        raise InvalidInput(_FLAGGED, f"holds more than {FLAGGED_MAX} names")
    return frozenset(flagged)


def _check(parameters: Parameters) -> tuple[dict[str, int], bool, frozenset[str]]:
    """Return limits, the rule for errors without TTFB, and the flagged names."""
    refuse_unknown(parameters, frozenset({*_DEFAULTS, *_QUANTILES, _NULL_IS_MISS, _FLAGGED}))
    limits = {
        name: integer_parameter(parameters, name, default) for name, default in _DEFAULTS.items()
    }
    for name in _QUANTILES:
        limits[name] = integer_parameter(parameters, name, 0)
        if limits[name] > MILLION:
            raise InvalidInput(name, f"{limits[name]} parts per million are more than all")
    null_is_miss = parameters.get(_NULL_IS_MISS, True)
    if not isinstance(null_is_miss, bool):
        raise InvalidInput(_NULL_IS_MISS, f"{null_is_miss!r} is not a boolean")
    return limits, null_is_miss, _flagged(parameters)


def health_checks(inputs: Mapping[str, bytes]) -> dict[str, tuple[int, int]]:
    """Read the input artefact: node id -> (passed, all) health checks of the epoch.

    Raises:
        InvalidInput: If an entry is not 0 <= passed <= all with all >= 1.
    """
    if HEALTH_CHECKS not in inputs:
        return {}
    entries = dagcbor.decode(inputs[HEALTH_CHECKS])
    if not isinstance(entries, dict):
        raise InvalidInput(HEALTH_CHECKS, "is not a map of node id to [up, checks]")
    checked = {}
    for node_id, entry in entries.items():
        well_formed = isinstance(entry, list) and [type(number) for number in entry] == [int, int]
        if not well_formed or not 0 <= entry[0] <= entry[1] <= CHECKS_MAX or entry[1] < 1:
            raise InvalidInput(HEALTH_CHECKS, f"{entry!r} of node {node_id!r} is not [up, checks]")
        checked[node_id] = (entry[0], entry[1])
    return checked


def evaluate(epoch: EpochInput, parameters: Parameters, *, threads: int = 1) -> Evaluation:
    """Judge every job and weigh every node of a Saturn epoch.

    Raises:
        InvalidInput: If the parameters or the health checks are malformed.
    """
    limits, null_is_miss, flagged = _check(parameters)
    uptime = health_checks(epoch.inputs)
    names = zip(epoch.node_ids, epoch.payees, strict=True)
    flagged_nodes = [
        node
        for node, (name, payee) in enumerate(names)
        if name in flagged or address_text(payee) in flagged
    ]
    jobs = epoch.jobs
    columns = {
        "bytes": column_or_null(jobs, "num_bytes_sent", "BIGINT"),
        "duration_ns": column_or_null(jobs, "request_duration_sec", "BIGINT"),
        "ttfb_ms": column_or_null(jobs, "ttfb_ms", "BIGINT"),
        "status": column_or_null(jobs, "status code", "BIGINT"),
        "null_is_miss": "CAST($null_is_miss AS BOOLEAN)",
    }
    limits = _relative_limits(jobs, columns, limits, threads)
    values = {**limits, "null_is_miss": null_is_miss, "flagged": flagged_nodes}
    codes, sums = judge(jobs, columns, _VERDICT, _TOTALS, values, threads)
    weights: list[int | None] = [None] * len(epoch.node_ids)
    for node, (served_bytes, ok, requests) in sums.items():
        up, checks = uptime.get(epoch.node_ids[node], (1, 1))
        weights[node] = weight_of(served_bytes, ok, requests, up, checks)
    return evaluation(weights, codes, REASONS, {"bytes": sum(total for total, *_ in sums.values())})


def _relative_limits(
    jobs: Jobs, columns: Mapping[str, str], limits: Mapping[str, int], threads: int
) -> dict[str, int]:
    """Return the limits with those that a quantile of the epoch's requests lowers.

    A request at the quantile is still fast: a limit is the first value that is too slow. Only requests that were served,
    with a measured TTFB, have a speed.
    """
    served = (
        "ttfb_ms >= 0 AND duration_ns >= 0 AND NOT coalesce(status >= $error_status_min, false)"
    )
    measured = {"ttfb_quantile_ppm": "ttfb_ms", "duration_quantile_ppm": "duration_ns"}
    wanted = {
        name: (f"CASE WHEN {served} THEN {column} END", limits[name])
        for name, column in measured.items()
        if limits[name]
    }
    found = exact_quantiles(jobs, columns, wanted, limits, threads)
    lowered = dict(limits)
    for name, value in found.items():
        if value is not None:
            lowered[_QUANTILES[name]] = min(lowered[_QUANTILES[name]], value + 1)
    return lowered


FUNCTION: Final = EvaluationFunction(NAME, VERSION, bundle_of(NAME, VERSION), evaluate, _check)
