"""The SQL engine: DuckDB in memory, without files, network or extensions, and without a say in its own settings.

Only integers, booleans and text go in and come out. A sum or product that overflows is an error of the engine, not a
wrong number. Nothing depends on threads: what comes back carries the number of its row, or the group that it is of.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.evaluate.jobs import Jobs, reader

ENGINE: Final = f"duckdb {duckdb.__version__}"
"""Name and version: part of what a function's or a layer's digest stands for."""

THREADS_MAX: Final = 256
RESULT_ROWS: Final = 1_000_000
"""Rows that come back at once."""

ROW: Final = "#row"  # no field of a schema is called so

_SETTINGS: Final = (  # in this order: what comes later forbids what comes before
    "SET temp_directory = ''",
    # A join keeps the few groups in memory and lets the many jobs pass, whatever the optimizer believes of a stream.
    "SET disabled_optimizers = 'join_order,build_side_probe_side'",
    "SET enable_external_access = false",
    "SET python_enable_replacements = false",
    "SET lock_configuration = true",
)


def quoted(column: str) -> str:
    """Return a column's name as an SQL identifier; field names hold blanks (``status code``)."""
    return '"' + column.replace('"', '""') + '"'


@cache
def _database(threads: int) -> duckdb.DuckDBPyConnection:
    """Return an empty, locked database: to open one takes longer than most epochs."""
    database = duckdb.connect(
        ":memory:",
        config={
            "threads": threads,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )
    for setting in _SETTINGS:
        database.execute(setting)
    return database


@contextmanager
def engine(threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the engine for a block: its tables are temporary, and nobody else's.

    SQL that others wrote must have passed `meridian.evaluate.expressions.parse`.

    Raises:
        InvalidInput: If the number of threads is impossible, or the SQL or a sum fails within the block.
    """
    if not 1 <= threads <= THREADS_MAX:
        raise InvalidInput("threads", f"{threads} is not in 1..{THREADS_MAX}")
    connection = _database(threads).cursor()
    try:
        yield connection
    except (duckdb.DataError, duckdb.ProgrammingError) as error:  # others are faults of the machine
        raise InvalidInput("jobs", str(error).splitlines()[0]) from error
    finally:
        connection.close()


def refuse_floats(jobs: Jobs) -> None:
    """Refuse jobs with a column of floats.

    Raises:
        InvalidInput: Naming the column.
    """
    for field in jobs.schema:
        if pa.types.is_floating(field.type):
            raise InvalidInput(field.name, "a column of floats cannot be evaluated")


def row_codes(
    connection: duckdb.DuckDBPyConnection,
    jobs: Jobs,
    columns: list[str],
    query: str,
    values: Mapping[str, Any],
) -> npt.NDArray[np.uint8]:
    """Give every row a code.

    Args:
        connection: An open engine.
        jobs: The jobs.
        columns: What the query reads of them, besides the row's number.
        query: Yields a row's number and its code, from ``jobs``.
        values: Bound to the query's ``$name`` places.

    Returns:
        The codes in the order of the rows.
    """
    numbers = np.arange(jobs.num_rows, dtype=np.int64)
    codes = np.empty(jobs.num_rows, dtype=np.uint8)
    connection.register("jobs", reader(jobs, columns, {ROW: numbers}))
    found = 0
    for batch in connection.sql(query, params=dict(values)).to_arrow_reader(RESULT_ROWS):
        codes[batch.column(0).to_numpy()] = batch.column(1).to_numpy()
        found += batch.num_rows
    connection.unregister("jobs")
    assert found == jobs.num_rows, "a row without a code"
    return codes
