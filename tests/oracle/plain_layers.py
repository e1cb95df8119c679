"""Saturn's published heuristics again, written for reading: which jobs each flags, and why. Plain Python, slow.

A job is a dict with the fields of Saturn's record; a missing field is None. Each function returns the reason of each job,
or None.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

Job = dict[str, Any]
Flags = list[str | None]
Thresholds = dict[str, int]

MILLION = 10**6


def nth_of(values: list[int], ppm: int) -> int:
    """The quantile by rank: of n values in ascending order the one with number ceil(ppm * n / 10^6), at least 1."""
    rank = max(1, -(-ppm * len(values) // MILLION))
    return sorted(values)[rank - 1]


def self_requests(jobs: list[Job], _: Thresholds) -> Flags:
    """The node asked itself."""
    return ["own_client" if job["client_id"] == job["node_id"] else None for job in jobs]


def fast_requests(jobs: list[Job], limits: Thresholds) -> Flags:
    """Faster than any link; bytes per second, durations in nanoseconds."""
    flags: Flags = []
    for job in jobs:
        size, duration = job["num_bytes_sent"], job["request_duration_sec"]
        if size is None or duration is None or size < 0 or duration < 0:
            flags.append(None)
            continue
        kind = "hit" if job["cache_hit"] else "miss"
        too_fast = size * 10**9 > duration * limits[f"{kind}_bytes_per_s_max"]
        flags.append(f"cache_{kind}" if too_fast else None)
    return flags


def _far_above(totals: dict[str, int], limits: Thresholds, least: str) -> set[str]:
    """Who has more than the least that matters, and more than so many times the usual."""
    if not totals:
        return set()
    usual = nth_of(list(totals.values()), limits["quantile_ppm"])
    return {
        name
        for name, total in totals.items()
        if total > max(limits[least], limits["times"] * usual)
    }


def _bytes_by(jobs: list[Job], field: str) -> dict[str, int]:
    totals: dict[str, int] = {}
    for job in jobs:
        if job[field] is not None and (job["num_bytes_sent"] or 0) > 0:
            totals[job[field]] = totals.get(job[field], 0) + job["num_bytes_sent"]
    return totals


def high_requests(jobs: list[Job], limits: Thresholds) -> Flags:
    """The node has far more requests than others."""
    guilty = _far_above(Counter(job["node_id"] for job in jobs), limits, "requests_least")
    return ["node" if job["node_id"] in guilty else None for job in jobs]


def high_bandwidth(jobs: list[Job], limits: Thresholds) -> Flags:
    """The node served far more bytes than others."""
    guilty = _far_above(_bytes_by(jobs, "node_id"), limits, "bytes_least")
    return ["node" if job["node_id"] in guilty else None for job in jobs]


def bot_requests(jobs: list[Job], limits: Thresholds) -> Flags:
    """The client asks far more often than others."""
    named = Counter(job["client_id"] for job in jobs if job["client_id"] is not None)
    guilty = _far_above(named, limits, "requests_least")
    return ["client" if job["client_id"] in guilty else None for job in jobs]


def bot_bytes(jobs: list[Job], limits: Thresholds) -> Flags:
    """The client takes far more bytes than others; clients that took none count among the usual ones."""
    totals = {job["client_id"]: 0 for job in jobs if job["client_id"] is not None}
    totals |= _bytes_by(jobs, "client_id")
    guilty = _far_above(totals, limits, "bytes_least")
    return ["client" if job["client_id"] in guilty else None for job in jobs]


def doctored_content(jobs: list[Job], limits: Thresholds) -> Flags:
    """The content is asked for more often than mean + sigmas * standard deviation, without taking a root."""
    requests = Counter(job["cid"] for job in jobs if job["cid"] is not None)
    n, total = len(requests), sum(requests.values())
    squares = sum(count * count for count in requests.values())
    guilty = {
        cid
        for cid, count in requests.items()
        if count >= limits["requests_least"]
        and count * n > total
        and (count * n - total) ** 2 > limits["sigmas"] ** 2 * (n * squares - total**2)
    }
    return ["cid" if job["cid"] in guilty else None for job in jobs]


def single_client_requests(jobs: list[Job], limits: Thresholds) -> Flags:
    """One client makes most of the node's requests."""
    totals = Counter(job["node_id"] for job in jobs)
    pairs = Counter(
        (job["node_id"], job["client_id"]) for job in jobs if job["client_id"] is not None
    )
    return _one_client(jobs, totals, pairs, limits, "requests_least")


def single_client_bytes(jobs: list[Job], limits: Thresholds) -> Flags:
    """One client takes most of the node's bytes."""
    pairs: dict[tuple[str, str], int] = {}
    for job in jobs:
        if job["client_id"] is not None and (job["num_bytes_sent"] or 0) > 0:
            pair = job["node_id"], job["client_id"]
            pairs[pair] = pairs.get(pair, 0) + job["num_bytes_sent"]
    return _one_client(jobs, _bytes_by(jobs, "node_id"), pairs, limits, "bytes_least")


def _one_client(
    jobs: list[Job],
    totals: dict[str, int],
    pairs: dict[tuple[str, str], int],
    limits: Thresholds,
    least: str,
) -> Flags:
    most: dict[str, int] = {}
    for (node, _), amount in pairs.items():
        most[node] = max(most.get(node, 0), amount)
    guilty = {
        node
        for node, total in totals.items()
        if total >= limits[least] and most.get(node, 0) * MILLION > total * limits["share_ppm"]
    }
    return ["node" if job["node_id"] in guilty else None for job in jobs]


LAYERS: dict[str, Callable[[list[Job], Thresholds], Flags]] = {
    "self-requests": self_requests,
    "fast-requests": fast_requests,
    "high-requests": high_requests,
    "high-bandwidth": high_bandwidth,
    "bot-requests": bot_requests,
    "bot-bytes": bot_bytes,
    "doctored-content": doctored_content,
    "single-client-requests": single_client_requests,
    "single-client-bytes": single_client_bytes,
}


def flagged(jobs: list[Job], layers: dict[str, Thresholds]) -> Flags:
    """The first layer that flags a job decides; every layer looks at all jobs."""
    decided: Flags = [None] * len(jobs)
    for name, limits in layers.items():
        for place, reason in enumerate(LAYERS[name](jobs, limits)):
            if decided[place] is None and reason is not None:
                decided[place] = f"{name}: {reason}"
    return decided
