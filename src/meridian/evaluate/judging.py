"""SQL over the jobs of an epoch: one verdict code for each job, exact integer totals for each node.

DuckDB runs in memory, without files, network or extensions, over the Arrow table. Only integers, booleans and text go
in; sums are HUGEINT, and a sum that overflows is an error of the engine, not a wrong number. Nothing depends on the
order of rows or on threads: codes come back with the row they belong to, groups with their node.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.evaluate.function import OK, REASONS_MAX, Evaluation

THREADS_MAX: Final = 256

_ROW: Final = "#row"  # no field of a schema is called so

_SETTINGS: Final = (  # in this order: what comes later forbids what comes before
    "SET temp_directory = ''",
    "SET enable_external_access = false",
    "SET python_enable_replacements = false",
    "SET lock_configuration = true",
)


def quoted(column: str) -> str:
    """Return a column's name as an SQL identifier; field names hold blanks (``status code``)."""
    return '"' + column.replace('"', '""') + '"'


def column_or_null(jobs: pa.Table, column: str, sql_type: str) -> str:
    """Return the SQL of a column, or of NULL where the network's schema does not have it."""
    return f"CAST({quoted(column) if column in jobs.column_names else 'NULL'} AS {sql_type})"


def judge(
    jobs: pa.Table,
    columns: Mapping[str, str],
    verdict: str,
    totals: Sequence[str],
    values: Mapping[str, Any],
    threads: int,
) -> tuple[bytes, dict[int, tuple[int, ...]]]:
    """Give every job its verdict code, then sum up by node.

    Args:
        jobs: The table, with the integer column ``node``.
        columns: Name -> SQL over the columns of `jobs`; what `verdict` and `totals` may use, besides ``node``.
        verdict: SQL that yields the code of a job.
        totals: SQL aggregates over the columns and ``code``; each yields an integer.
        values: Values for the ``$name`` places of `columns` and `verdict`; each must be used.
        threads: Threads of the engine.

    Returns:
        The codes in table order, and node -> totals for the nodes that have jobs.

    Raises:
        InvalidInput: If a column is missing or a float, or if a sum overflows.
    """
    for field in jobs.schema:
        if pa.types.is_floating(field.type):
            raise InvalidInput(field.name, "a column of floats cannot be evaluated")
    if not 1 <= threads <= THREADS_MAX:
        raise InvalidInput("threads", f"{threads} is not in 1..{THREADS_MAX}")
    numbered = jobs.append_column(_ROW, pa.array(np.arange(jobs.num_rows, dtype=np.int64)))
    named = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": threads,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )
    try:
        for setting in _SETTINGS:
            connection.execute(setting)
        connection.register("jobs", numbered)
        # The SQL is text of the function's own code and quoted field names; values are always bound.
        connection.execute(
            f"CREATE TEMP TABLE judged AS SELECT *, CAST({verdict} AS UTINYINT) AS code "  # noqa: S608
            f"FROM (SELECT {quoted(_ROW)} AS row, node, {named} FROM jobs)",
            dict(values),
        )
        codes = connection.execute("SELECT row, code FROM judged").fetchnumpy()
        grouped = f"SELECT node, {', '.join(totals)} FROM judged GROUP BY node"  # noqa: S608
        sums = connection.execute(grouped).fetchall()
    except (duckdb.DataError, duckdb.ProgrammingError) as error:  # others are faults of the machine
        raise InvalidInput("jobs", str(error).splitlines()[0]) from error
    finally:
        connection.close()
    return _in_table_order(codes["row"], codes["code"]), {node: tuple(rest) for node, *rest in sums}


def _in_table_order(rows: npt.NDArray[np.int64], codes: npt.NDArray[np.uint8]) -> bytes:
    ordered = np.empty(len(rows), dtype=np.uint8)
    ordered[rows] = codes
    return ordered.tobytes()


def evaluation(
    weights: Sequence[int | None], verdicts: bytes, reasons: tuple[str, ...], own: Mapping[str, int]
) -> Evaluation:
    """Put an evaluation together, with its summary: ``jobs``, ``nodes``, the function's `own` totals, and each reason's count."""
    assert reasons[OK] == "ok"
    assert len(reasons) <= REASONS_MAX
    counts = np.bincount(np.frombuffer(verdicts, dtype=np.uint8), minlength=len(reasons))
    assert len(counts) == len(reasons), "a verdict without a reason"
    summary = {"jobs": len(verdicts), "nodes": sum(weight is not None for weight in weights), **own}
    summary |= {reason: int(count) for reason, count in zip(reasons, counts, strict=True)}
    return Evaluation(tuple(weights), verdicts, reasons, summary)
