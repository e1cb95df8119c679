"""The functions `saturn`, `nym`, `count` and `attestation` again, written for reading: reasons of jobs, weights of nodes."""

from collections.abc import Callable
from math import isqrt
from typing import Any

from tests.oracle.plain_layers import Job, nth_of

Judged = tuple[list[str], dict[str, int | None]]
"""The reason of each job, and the weight of each node that has jobs."""


def _by_node(jobs: list[Job], reasons: list[str]) -> dict[str, list[tuple[Job, str]]]:
    nodes: dict[str, list[tuple[Job, str]]] = {}
    for job, reason in zip(jobs, reasons, strict=True):
        nodes.setdefault(job["node_id"], []).append((job, reason))
    return nodes


def saturn(
    jobs: list[Job], parameters: dict[str, Any], uptime: dict[str, tuple[int, int]]
) -> Judged:
    """b^0.5 with 18 decimals, times (ok / requests)^2, times (up / checks)^2; one floor at the end."""
    ttfb_limit, duration_limit = parameters["ttfb_limit_ms"], parameters["duration_limit_ns"]
    measured = [
        job
        for job in jobs
        if job["ttfb_ms"] is not None and job["ttfb_ms"] >= 0
        and job["request_duration_sec"] >= 0 and job["status code"] < parameters["error_status_min"]
    ]  # fmt: skip
    if measured and parameters["ttfb_quantile_ppm"]:
        at = nth_of([job["ttfb_ms"] for job in measured], parameters["ttfb_quantile_ppm"])
        ttfb_limit = min(ttfb_limit, at + 1)
    if measured and parameters["duration_quantile_ppm"]:
        at = nth_of(
            [job["request_duration_sec"] for job in measured], parameters["duration_quantile_ppm"]
        )
        duration_limit = min(duration_limit, at + 1)

    def reason(job: Job) -> str:
        size, duration, ttfb = job["num_bytes_sent"], job["request_duration_sec"], job["ttfb_ms"]
        if job["node_id"] in parameters["flagged"]:
            return "flagged"
        if size < 0 or duration < 0 or (ttfb is not None and ttfb < 0):
            return "impossible"
        if job["status code"] >= parameters["error_status_min"]:
            return "error"
        if ttfb is None:
            return "no_ttfb"
        if ttfb >= ttfb_limit:
            return "slow_ttfb"
        return "slow_duration" if duration >= duration_limit else "ok"

    reasons = [reason(job) for job in jobs]
    weights: dict[str, int | None] = {}
    for node, judged in _by_node(jobs, reasons).items():
        served = ("ok", "no_ttfb", "slow_ttfb", "slow_duration")
        size = sum(job["num_bytes_sent"] for job, why in judged if why in served)
        fast = sum(why == "ok" for _, why in judged)
        requests = sum(
            why in ("ok", "slow_ttfb", "slow_duration")
            or (
                why == "error"
                and (parameters["null_ttfb_error_is_miss"] or job["ttfb_ms"] is not None)
            )
            for job, why in judged
        )
        up, checks = uptime.get(node, (1, 1))
        root = isqrt(size * 10**36)
        weights[node] = root * fast**2 * up**2 // (requests**2 * checks**2) if requests else 0
    return reasons, weights


def nym(jobs: list[Job]) -> Judged:
    """The average reading in millionths; missing is missing."""

    def reason(job: Job) -> str:
        value = job["reliability"]
        return "missing" if value is None else "ok" if 0 <= value <= 100 else "impossible"

    reasons = [reason(job) for job in jobs]
    weights: dict[str, int | None] = {}
    for node, judged in _by_node(jobs, reasons).items():
        values = [job["reliability"] for job, why in judged if why == "ok"]
        weights[node] = 10**6 * sum(values) // len(values) if values else None
    return reasons, weights


def attestation(jobs: list[Job]) -> Judged:
    """The sum of positive scores."""
    reasons = [
        "ok" if job["score"] > 0 else "missed" if job["score"] == 0 else "impossible"
        for job in jobs
    ]
    nodes = _by_node(jobs, reasons)
    return reasons, {
        node: sum(job["score"] for job, why in judged if why == "ok")
        for node, judged in nodes.items()
    }


def count(jobs: list[Job], succeeded: Callable[[Job], bool]) -> Judged:
    """The number of jobs that succeeded."""
    reasons = ["ok" if succeeded(job) else "unsuccessful" for job in jobs]
    nodes = _by_node(jobs, reasons)
    return reasons, {node: sum(why == "ok" for _, why in judged) for node, judged in nodes.items()}
