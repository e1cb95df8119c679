"""Run fraud layers over the jobs of an epoch: one code for each job, 0 where no layer flags it.

Every layer looks at all jobs; the first that flags a job, in the order of the parameters, decides it. So what a layer
finds does not depend on the others, and their groups can be made together: one pass over the jobs for all groups of
whole nodes, one for each other grouping, and one for the verdicts. Jobs are never kept, groups are.

Law: the codes depend on the jobs, the layers and their parameters only; not on the order of rows, the number of threads
or how the jobs are cut into batches.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.evaluate.engine import ROW, engine, quoted, refuse_floats, row_codes
from meridian.evaluate.groups import GroupTable, Plan, Verdict, code_of, left_join
from meridian.evaluate.jobs import NODE, Jobs, mentioned, reader
from meridian.evaluate.layer import Layer

CHUNK_ROWS: Final = 500_000
"""Jobs of whole nodes that are grouped at once; a node with more makes a larger chunk."""

_IMPOSSIBLE: Final = 255
"""A verdict that is no reason of its layer; there are never so many reasons."""


@dataclass(frozen=True, slots=True)
class ActiveLayer:
    """A layer with the values of all its parameters."""

    layer: Layer
    values: Mapping[str, int | bool | str]
    salt: bytes | None = field(default=None, repr=False)
    """Of a sealed layer's private bundle; None: the layer is public."""


def flag_reasons(layers: Sequence[ActiveLayer]) -> tuple[str, ...]:
    """Return the reason of each code from 1 on: ``layer: reason``."""
    return tuple(f"{use.layer.name}: {reason}" for use in layers for reason in use.layer.reasons)


def check_columns(layers: Sequence[ActiveLayer], columns: pa.Schema) -> None:
    """Check that jobs with these columns can be looked at.

    Raises:
        InvalidInput: If a layer needs a field that they do not have, or that has another type.
    """
    tests = {"integer": pa.types.is_integer, "boolean": pa.types.is_boolean, "text": _is_text}
    for use in layers:
        for column in use.layer.columns.values():
            at = f"layers.{use.layer.name}"
            if column.field not in columns.names:
                if column.required:
                    raise InvalidInput(at, f"the jobs have no field {column.field!r}")
            elif not tests[column.type](columns.field(column.field).type):
                raise InvalidInput(at, f"the field {column.field!r} is not {column.type}")


def _is_text(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner))


def flag(jobs: Jobs, layers: Sequence[ActiveLayer], threads: int = 1) -> npt.NDArray[np.uint8]:
    """Return the code of each job: 0, or one of `flag_reasons` from 1 on.

    Raises:
        InvalidInput: If a layer needs a field that the jobs do not have, a sum overflows, or a verdict is no reason.
    """
    refuse_floats(jobs)
    check_columns(layers, jobs.schema)
    plan = Plan(set(jobs.column_names))
    verdicts = [plan.add(use.layer, use.values) for use in layers]
    with engine(threads) as connection:
        _make_groups(connection, jobs, plan)
        found = [_found(connection, plan, at, verdict) for at, verdict in enumerate(verdicts)]
        query = _verdict_query(layers, found)
        columns = mentioned(jobs.column_names, query)
        codes = row_codes(connection, jobs, columns, query, plan.bound(query))
    if (codes == _IMPOSSIBLE).any():
        raise InvalidInput("layers", "a verdict is not one of its layer's reasons")
    return codes


@dataclass(frozen=True, slots=True)
class _Found:
    """A verdict as it is found for each job."""

    sql: str
    joins: list[str]


def _found(connection: duckdb.DuckDBPyConnection, plan: Plan, at: int, verdict: Verdict) -> _Found:
    """Decide a verdict that needs only groups for all groups at once: few are flagged, and mostly none."""
    if verdict.of_groups:
        query = verdict.of_no_group()
        if connection.execute(query, plan.bound(query)).fetchall() == [(0,)]:
            name, query = f"f{at}", verdict.by_key()
            connection.execute(f"CREATE TEMP TABLE {name} AS {query}", plan.bound(query))
            if connection.execute(f"SELECT count(*) FROM {name}").fetchall() == [(0,)]:  # noqa: S608
                return _Found("0", [])
            return _Found(f"{name}.v", [left_join(name, verdict.keys)])
    return _Found(verdict.sql, verdict.joins)


def _verdict_query(layers: Sequence[ActiveLayer], found: Sequence[_Found]) -> str:
    inner, cases, first = [], [], 0
    for at, (use, verdict) in enumerate(zip(layers, found, strict=True)):
        inner.append(f"{code_of(verdict.sql)} AS a{at}")
        last = len(use.layer.reasons)
        cases.append(f"WHEN a{at} > {last} THEN {_IMPOSSIBLE} WHEN a{at} > 0 THEN a{at} + {first}")
        first += last
    joins = " ".join(dict.fromkeys(join for verdict in found for join in verdict.joins))
    # The SQL is made of checked expressions, quoted field names and numbers; parameters are bound.
    return (
        f"SELECT number, CAST(CASE {' '.join(cases)} ELSE 0 END AS UTINYINT) FROM ("  # noqa: S608
        f"SELECT j.{quoted(ROW)} AS number, {', '.join(inner)} FROM jobs AS j {joins})"
    )


def _make_groups(connection: duckdb.DuckDBPyConnection, jobs: Jobs, plan: Plan) -> None:
    """Make the groups that the verdicts and other groups need, as tables of the engine."""
    by_node = [table for table in plan.kept if table.per_node]
    if by_node:
        columns = mentioned(jobs.column_names, " ".join(plan.query(table) for table in by_node))
        for at, chunk in enumerate(whole_nodes(jobs, columns)):
            connection.register("jobs", chunk)
            for table in by_node:
                _execute(connection, plan, table, new=at == 0)
    for table in plan.kept:
        if not table.per_node:
            if table.parent is None:
                columns = mentioned(jobs.column_names, plan.query(table))
                connection.register("jobs", reader(jobs, columns, {}))
            _execute(connection, plan, table, new=True)


def _execute(
    connection: duckdb.DuckDBPyConnection, plan: Plan, table: GroupTable, *, new: bool
) -> None:
    query = plan.query(table)
    head = f"CREATE TEMP TABLE {table.name} AS" if new else f"INSERT INTO {table.name}"
    connection.execute(f"{head} {query}", plan.bound(query))


def whole_nodes(jobs: Jobs, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Cut the jobs into tables in which every node is whole; one table where they are not sorted by node.

    There is always at least one table.
    """
    names = list(dict.fromkeys([NODE, *columns]))
    limit = CHUNK_ROWS if _is_sorted(jobs) else jobs.num_rows
    narrow = jobs.select(names)
    schema = pa.schema([narrow.schema.field(name) for name in names])
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in _pieces(narrow):
        nodes = batch.column(0).to_numpy(zero_copy_only=False)
        cut = int(np.searchsorted(nodes, nodes[-1]))
        # The last node may go on in the next batch; those before it are whole.
        if rows + cut > limit and (cut or _last_node(waiting) != nodes[0]):
            yield pa.Table.from_batches([*waiting, batch.slice(0, cut)], schema)
            waiting, rows, batch = [], 0, batch.slice(cut)  # noqa: PLW2901 - what is left of it
        waiting.append(batch)
        rows += batch.num_rows
    yield pa.Table.from_batches(waiting, schema)


def _pieces(jobs: Jobs) -> Iterator[pa.RecordBatch]:
    """Return batches of 1..`CHUNK_ROWS` rows."""
    for batch in jobs.to_batches():
        for start in range(0, batch.num_rows, CHUNK_ROWS):
            yield batch.slice(start, CHUNK_ROWS)


def _last_node(batches: Sequence[pa.RecordBatch]) -> Any:
    return batches[-1].column(0)[-1].as_py() if batches else None


def _is_sorted(jobs: Jobs) -> bool:
    last = -1
    for batch in jobs.select([NODE]).to_batches():
        nodes = batch.column(0).to_numpy(zero_copy_only=False)
        if len(nodes) and (nodes[0] < last or bool((nodes[1:] < nodes[:-1]).any())):
            return False
        last = nodes[-1] if len(nodes) else last
    return True
