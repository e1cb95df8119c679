"""SQL over the jobs of an epoch: one verdict code for each job, exact integer totals for each node.

Two passes over the jobs: the first gives the codes, the second groups by node. Each reads only the columns that it
mentions, batch after batch, so that the epoch need not fit in memory.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from meridian.evaluate.engine import ROW, engine, quoted, refuse_floats, row_codes
from meridian.evaluate.function import OK, REASONS_MAX, Evaluation
from meridian.evaluate.jobs import NODE, Jobs, mentioned, reader

MILLION: Final = 1_000_000
"""Parts per million of all."""


def column_or_null(jobs: Jobs, column: str, sql_type: str) -> str:
    """Return the SQL of a column, or of NULL where the network's schema does not have it."""
    return f"CAST({quoted(column) if column in jobs.column_names else 'NULL'} AS {sql_type})"


def judge(
    jobs: Jobs,
    columns: Mapping[str, str],
    verdict: str,
    totals: Sequence[str],
    values: Mapping[str, Any],
    threads: int,
) -> tuple[bytes, dict[int, tuple[int, ...]]]:
    """Give every job its verdict code, then sum up by node.

    Args:
        jobs: The jobs, with the integer column ``node``.
        columns: Name -> SQL over the columns of `jobs`; what `verdict` and `totals` may use, besides ``node``.
        verdict: SQL that yields the code of a job.
        totals: SQL aggregates over the columns and ``code``; each yields an integer.
        values: Values for the ``$name`` places of `columns`, `verdict` and `totals`.
        threads: Threads of the engine.

    Returns:
        The codes in row order, and node -> totals for the nodes that have jobs.

    Raises:
        InvalidInput: If a column is missing or a float, or if a sum overflows.
    """
    refuse_floats(jobs)
    with engine(threads) as connection:
        # The SQL is text of the function's own code and quoted field names; values are always bound.
        named = _named(columns, verdict)
        query = (
            f"SELECT {quoted(ROW)}, CAST({verdict} AS UTINYINT) AS code "  # noqa: S608
            f"FROM (SELECT {quoted(ROW)}, {NODE}{named} FROM jobs)"
        )
        codes = row_codes(connection, jobs, _fields(jobs, query), query, _bound(values, query))
        wanted = ", ".join(totals)
        named = _named(columns, wanted)
        query = f"SELECT node, {wanted} FROM (SELECT {NODE}, code{named} FROM jobs) GROUP BY node"  # noqa: S608
        connection.register("jobs", reader(jobs, _fields(jobs, query), {"code": codes}))
        sums = connection.execute(query, _bound(values, query)).fetchall()
    return codes.tobytes(), {node: tuple(rest) for node, *rest in sums}


def exact_quantiles(
    jobs: Jobs,
    columns: Mapping[str, str],
    wanted: Mapping[str, tuple[str, int]],
    values: Mapping[str, Any],
    threads: int,
) -> dict[str, int | None]:
    """Return quantiles over all jobs: of n values in ascending order, the one with number ceil(ppm * n / 10^6).

    Args:
        jobs: The jobs.
        columns: As of `judge`.
        wanted: Name -> SQL of an integer, null for a job that has none, and the quantile in parts per million.
        values: As of `judge`.
        threads: Threads of the engine.

    Returns:
        Name -> the quantile, None where no job has a value.

    Raises:
        InvalidInput: If a column is missing or a float.
    """
    if not wanted:
        return {}
    refuse_floats(jobs)
    with engine(threads) as connection:

        def one_row(selected: Iterable[str]) -> tuple[Any, ...]:
            text = ", ".join(selected)
            query = f"SELECT {text} FROM (SELECT {NODE}{_named(columns, text)} FROM jobs)"  # noqa: S608
            connection.register("jobs", reader(jobs, _fields(jobs, query), {}))
            return connection.execute(query, _bound(values, query)).fetchall()[0]

        counts = one_row(f"count({sql})" for sql, _ in wanted.values())
        parts = []
        for (sql, ppm), count in zip(wanted.values(), counts, strict=True):
            rank = max(1, -(-ppm * count // MILLION))
            # The middle of what rounds to this rank: no rounding of the engine can change it.
            parts.append(f"quantile_disc({sql}, {(2 * rank - 1) / (2 * max(count, 1))!r})")
        return dict(zip(wanted, one_row(parts), strict=True))


def _named(columns: Mapping[str, str], sql: str) -> str:
    """Return the select list of the named columns that a text mentions."""
    return "".join(f", {columns[name]} AS {name}" for name in mentioned(columns, sql))


def _fields(jobs: Jobs, query: str) -> list[str]:
    return mentioned(jobs.column_names, query)


def _bound(values: Mapping[str, Any], query: str) -> dict[str, Any]:
    used = set(re.findall(r"\$(\w+)", query))
    return {name: value for name, value in values.items() if name in used}


def evaluation(
    weights: Iterable[int | None], verdicts: bytes, reasons: tuple[str, ...], own: Mapping[str, int]
) -> Evaluation:
    """Put an evaluation together, with its summary: ``jobs``, ``nodes``, the function's `own` totals, and each reason's count."""
    assert reasons[OK] == "ok"
    assert len(reasons) <= REASONS_MAX
    found = tuple(weights)
    counts = np.bincount(np.frombuffer(verdicts, dtype=np.uint8), minlength=len(reasons))
    assert len(counts) == len(reasons), "a verdict without a reason"
    summary = {"jobs": len(verdicts), "nodes": sum(weight is not None for weight in found), **own}
    summary |= {reason: int(count) for reason, count in zip(reasons, counts, strict=True)}
    return Evaluation(found, verdicts, reasons, summary)
