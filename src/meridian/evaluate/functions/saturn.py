"""`saturn`: S = b^0.5 * s^2 * u^2, the design formula of the Saturn payouts, in exact fixed point.

- b: bytes of the jobs that were served (not fraudulent, no error status).
- s: share of the requests whose TTFB and duration are both below their limits. An error is a miss. A served job
  without a measured TTFB stands outside both counts; an error without one is still a miss (a parameter).
- u: share of passed health checks, from the input artefact ``health-checks``; 1/1 where the node is not in it.

The weight is ``isqrt(b * 10^36) * ok^2 * up^2 // (requests^2 * checks^2)``: b^0.5 with 18 decimals, and one floor at the
end. A node whose speed was never measured has weight 0: it has jobs, so it does not abstain.

Public fraud rules, cheapest first; a fraudulent job counts for nothing, and so do all jobs of a flagged operator, who is
excluded entirely. Every job gets exactly one reason, the first that applies. Source of formula and rules:
protocol/cel-retrieval, saturn-aliens (2022); the limits of the live system were never published, so they are parameters.
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
from meridian.evaluate.judging import column_or_null, evaluation, judge
from meridian.primitives import dagcbor
from meridian.primitives.ids import address_text

NAME: Final = "saturn"
VERSION: Final = 1
HEALTH_CHECKS: Final = "health-checks"
FLAGGED_MAX: Final = 100_000
CHECKS_MAX: Final = (1 << 32) - 1

REASONS: Final = (
    "ok",
    "no_ttfb",  # served, but nobody measured when the first byte came: bytes count, speed does not
    "slow_ttfb",
    "slow_duration",
    "error",
    "self_request",
    "too_fast",
    "impossible",
    "flagged",
)

# Durations come as nanoseconds (decimal seconds with nine places), so bytes per second are bytes * 10^9 / duration.
_VERDICT: Final = """CASE
    WHEN node IN (SELECT unnest(CAST($flagged AS BIGINT[]))) THEN 8
    WHEN bytes IS NULL OR duration_ns IS NULL OR bytes < 0 OR duration_ns < 0 OR ttfb_ms < 0 THEN 7
    WHEN client = node_id THEN 5
    WHEN bytes * 1000000000 > duration_ns * CAST($bytes_per_s_max AS HUGEINT) THEN 6
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
    "bytes_per_s_max": 1_250_000_000,  # the 10 Gbit/s link that a Saturn L1 node had to have
    "error_status_min": 400,
}
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
    refuse_unknown(parameters, frozenset({*_DEFAULTS, _NULL_IS_MISS, _FLAGGED}))
    limits = {
        name: integer_parameter(parameters, name, default) for name, default in _DEFAULTS.items()
    }
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
        "node_id": "node_id",
        "bytes": column_or_null(jobs, "num_bytes_sent", "HUGEINT"),
        "duration_ns": column_or_null(jobs, "request_duration_sec", "HUGEINT"),
        "ttfb_ms": column_or_null(jobs, "ttfb_ms", "BIGINT"),
        "status": column_or_null(jobs, "status code", "BIGINT"),
        "client": column_or_null(jobs, "client_id", "VARCHAR"),
        "null_is_miss": "CAST($null_is_miss AS BOOLEAN)",
    }
    values = {**limits, "null_is_miss": null_is_miss, "flagged": flagged_nodes}
    codes, sums = judge(jobs, columns, _VERDICT, _TOTALS, values, threads)
    weights: list[int | None] = [None] * len(epoch.node_ids)
    for node, (served_bytes, ok, requests) in sums.items():
        up, checks = uptime.get(epoch.node_ids[node], (1, 1))
        weights[node] = weight_of(served_bytes, ok, requests, up, checks)
    return evaluation(weights, codes, REASONS, {"bytes": sum(total for total, *_ in sums.values())})


FUNCTION: Final = EvaluationFunction(NAME, VERSION, bundle_of(NAME, VERSION), evaluate, _check)
