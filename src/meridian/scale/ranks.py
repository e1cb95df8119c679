"""Exact quantiles over all jobs from counts that shards add up: for functions that score nodes against each other.

The value of a rank is found by narrowing: each round counts, in every shard, how many values fall into each of 2^16
equal ranges of what is left, and goes on with the range that holds the rank. Values below 2^63 need four rounds at
most. Counts are integers and ranges are ours, so the value is the one that sorting all jobs gives.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from meridian.evaluate.engine import engine, refuse_floats
from meridian.evaluate.function import Parameters
from meridian.evaluate.functions import saturn
from meridian.evaluate.jobs import Jobs, mentioned, reader
from meridian.evaluate.judging import MILLION, column_or_null

BUCKET_BITS: Final = 16
"""Ranges of a round, as a power of two: what a shard sends back is bounded by them."""

_LIMITS: Final = {
    "ttfb_quantile_ppm": "ttfb_limit_ms",
    "duration_quantile_ppm": "duration_limit_ns",
}
"""As in `saturn`: the quantile's parameter -> the limit that it lowers."""
_VALUES: Final = {"ttfb_quantile_ppm": "ttfb_ms", "duration_quantile_ppm": "duration_ns"}
"""The quantile's parameter -> what it is one of."""
_ERROR: Final = "error_status_min"


@dataclass(frozen=True, slots=True)
class Search:
    """What is known of one quantile."""

    name: str
    """The parameter that asks for it."""
    ppm: int
    rank: int = 0
    """Number of the value among those from `low` on, counted from 1; 0: nothing was counted yet."""
    low: int = 0
    high: int = (1 << 63) - 1
    """The value lies in low..high."""

    @property
    def width(self) -> int:
        """How many values a range of the next round has."""
        bits = (self.high - self.low).bit_length()
        return 1 << max(0, bits - BUCKET_BITS)

    @property
    def value(self) -> int | None:
        """The value, once it is known."""
        return self.low if self.low == self.high else None


Counts = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Numbers of ranges, and how many values are in each."""

Ask = Callable[[tuple[Search, ...]], Sequence[tuple[Counts, ...]]]
"""What is searched -> for each shard, the counts of each search."""


def wanted_ranks(parameters: Parameters) -> tuple[Search, ...]:
    """Return the quantiles that parameters of `saturn` ask for.

    Raises:
        InvalidInput: If they are not parameters of `saturn`.
    """
    numbers = _numbers(parameters)
    return tuple(Search(name, numbers[name]) for name in _LIMITS if numbers[name])


def _numbers(parameters: Parameters) -> Mapping[str, int]:
    """Return limits and quantiles, defaults among them, as `saturn` itself reads them."""
    numbers, _, _ = cast(tuple[Mapping[str, int], bool, object], saturn.FUNCTION.check(parameters))
    return numbers


def count_ranges(
    jobs: Jobs, parameters: Parameters, searches: Sequence[Search], threads: int = 1
) -> tuple[Counts, ...]:
    """Count a shard's values in each range of each search.

    Args:
        jobs: The shard's; those that a layer flagged left out.
        parameters: Those of `saturn`.
        searches: What is searched.
        threads: May change the speed and nothing else.

    Raises:
        InvalidInput: If a column is a float.
    """
    refuse_floats(jobs)
    bound = {_ERROR: _numbers(parameters)[_ERROR]}
    found = []
    with engine(threads) as connection:
        for search in searches:
            query = _query(jobs, search)
            connection.register("jobs", reader(jobs, mentioned(jobs.column_names, query), {}))
            values: Mapping[str, Any] = bound | {
                "low": search.low,
                "high": search.high,
                "width": search.width,
            }
            table = connection.sql(query, params=dict(values)).to_arrow_table()
            found.append((table.column(0).to_numpy(), table.column(1).to_numpy()))
    return tuple(found)


def _query(jobs: Jobs, search: Search) -> str:
    """Return the SQL of the counts: of requests that were served, with a measured TTFB, as `saturn` says."""
    served = (
        "ttfb_ms >= 0 AND duration_ns >= 0 AND NOT coalesce(status >= $error_status_min, false)"
    )
    value = _VALUES[search.name]
    # The SQL is text of this module and quoted field names; values are always bound.
    return (
        f"SELECT ({value} - CAST($low AS BIGINT)) // CAST($width AS BIGINT) AS place, "  # noqa: S608
        f"count(*) AS n FROM (SELECT {column_or_null(jobs, 'ttfb_ms', 'BIGINT')} AS ttfb_ms, "
        f"{column_or_null(jobs, 'request_duration_sec', 'BIGINT')} AS duration_ns, "
        f"{column_or_null(jobs, 'status code', 'BIGINT')} AS status FROM jobs) "
        f"WHERE {served} AND {value} BETWEEN $low AND $high GROUP BY place"
    )


def lowered(parameters: Parameters, ask: Ask) -> Parameters:
    """Return parameters with fixed limits that say the same as those with quantiles.

    Args:
        parameters: Those of `saturn`, checked.
        ask: Asks every shard.
    """
    found: dict[str, int | None] = {}
    open_searches = wanted_ranks(parameters)
    while open_searches:
        answers = ask(open_searches)
        narrowed = []
        for at, search in enumerate(open_searches):
            nearer = narrow(search, [answer[at] for answer in answers])
            if nearer is None or nearer.value is not None:
                found[search.name] = None if nearer is None else nearer.value
            else:
                narrowed.append(nearer)
        open_searches = tuple(narrowed)
    numbers, fixed = _numbers(parameters), {**parameters}
    for name, value in found.items():
        fixed[name] = 0
        if value is not None:  # a request at the quantile is still fast
            fixed[_LIMITS[name]] = min(numbers[_LIMITS[name]], value + 1)
    return fixed


def narrow(search: Search, counts: Sequence[Counts]) -> Search | None:
    """Return the search within the range that holds the rank; None where there is no value at all."""
    places = np.concatenate([place for place, _ in counts])
    numbers = np.concatenate([number for _, number in counts])
    known, where = np.unique(places, return_inverse=True)
    totals = np.zeros(len(known), dtype=np.int64)
    np.add.at(totals, where, numbers)
    count = int(totals.sum())
    if not count:
        return None
    rank = search.rank or max(1, -(-search.ppm * count // MILLION))
    upto = np.cumsum(totals)
    at = int(np.searchsorted(upto, rank))
    low = search.low + int(known[at]) * search.width
    before = int(upto[at - 1]) if at else 0
    return replace(
        search, rank=rank - before, low=low, high=min(search.high, low + search.width - 1)
    )
