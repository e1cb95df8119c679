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


@dataclass(frozen=True, slots=True)
class Known:
    """What jobs elsewhere say, for flagging some of the nodes (`meridian.evaluate.shared_groups`)."""

    tables: Mapping[str, pa.Table]
    """Groups over all jobs that are joined to single jobs."""
    decided: Mapping[int, pa.Table | None]
    """Place of a layer that was decided for all its groups -> the keys that it flags; None: it flags nothing."""


def flag(
    jobs: Jobs, layers: Sequence[ActiveLayer], threads: int = 1, known: Known | None = None
) -> npt.NDArray[np.uint8]:
    """Return the code of each job: 0, or one of `flag_reasons` from 1 on.

    Args:
        jobs: All jobs; or those of some nodes, with the numbers that the nodes have among all.
        layers: In the order in which they decide.
        threads: May change the speed and nothing else.
        known: What all jobs say, where these are not all.

    Raises:
        InvalidInput: If a layer needs a field that the jobs do not have, a sum overflows, or a verdict is no reason.
    """
    refuse_floats(jobs)
    check_columns(layers, jobs.schema)
    plan, verdicts = planned(layers, jobs)
    with engine(threads) as connection:
        if known is None:
            make_groups(connection, jobs, plan, plan.kept)
        else:
            undecided = [one for at, one in enumerate(verdicts) if at not in known.decided]
            make_groups(connection, jobs, plan, _of_whole_nodes(plan, undecided))
            for name, table in known.tables.items():
                put_table(connection, name, table)
        found = [
            _given(connection, at, verdict, known.decided[at])
            if known is not None and at in known.decided
            else _found(connection, plan, at, verdict)
            for at, verdict in enumerate(verdicts)
        ]
        query = _verdict_query(layers, found)
        columns = mentioned(jobs.column_names, query)
        codes = row_codes(connection, jobs, columns, query, plan.bound(query))
    if (codes == _IMPOSSIBLE).any():
        raise InvalidInput("layers", "a verdict is not one of its layer's reasons")
    return codes


def planned(layers: Sequence[ActiveLayer], jobs: Jobs) -> tuple[Plan, list[Verdict]]:
    """Return the groups of all layers, and the verdict of each."""
    plan = Plan(set(jobs.column_names))
    return plan, [plan.add(use.layer, use.values) for use in layers]


def _of_whole_nodes(plan: Plan, verdicts: Sequence[Verdict]) -> list[GroupTable]:
    """Return the groups of whole nodes that verdicts need."""
    names = {table.name for verdict in verdicts for table in verdict.tables}
    return [table for table in plan.kept if table.per_node and table.name in names]


@dataclass(frozen=True, slots=True)
class _Found:
    """A verdict as it is found for each job."""

    sql: str
    joins: list[str]


def _found(connection: duckdb.DuckDBPyConnection, plan: Plan, at: int, verdict: Verdict) -> _Found:
    """Decide a verdict that needs only groups for all groups at once: few are flagged, and mostly none."""
    if verdict.of_groups and is_decidable(connection, plan, verdict):
        query = verdict.by_key()
        connection.execute(f"CREATE TEMP TABLE f{at} AS {query}", plan.bound(query))
        return _of_keys(connection, at, verdict)
    return _Found(verdict.sql, verdict.joins)


def is_decidable(connection: duckdb.DuckDBPyConnection, plan: Plan, verdict: Verdict) -> bool:
    """Tell whether a verdict `of_groups` flags no job that is in no group, so that the flagged groups are all."""
    query = verdict.of_no_group()
    return connection.execute(query, plan.bound(query)).fetchall() == [(0,)]


def _given(
    connection: duckdb.DuckDBPyConnection, at: int, verdict: Verdict, keys: pa.Table | None
) -> _Found:
    """Take a verdict that was decided for all groups already."""
    if keys is None:
        return _Found("0", [])
    put_table(connection, f"f{at}", keys)
    return _of_keys(connection, at, verdict)


def _of_keys(connection: duckdb.DuckDBPyConnection, at: int, verdict: Verdict) -> _Found:
    if connection.execute(f"SELECT count(*) FROM f{at}").fetchall() == [(0,)]:  # noqa: S608
        return _Found("0", [])
    return _Found(f"f{at}.v", [left_join(f"f{at}", verdict.keys)])


def put_table(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    """Make a table of the engine from one that came out of an engine elsewhere."""
    columns = [
        # A wide integer comes out as a decimal without a fraction.
        f"CAST({field.name} AS HUGEINT) AS {field.name}"
        if pa.types.is_decimal(field.type)
        else field.name
        for field in table.schema
    ]
    connection.register("arrived", table)
    query = f"SELECT {', '.join(columns)} FROM arrived"  # noqa: S608 - names of our own
    connection.execute(f"CREATE TEMP TABLE {name} AS {query}")
    connection.unregister("arrived")


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


def make_groups(
    connection: duckdb.DuckDBPyConnection, jobs: Jobs, plan: Plan, wanted: Sequence[GroupTable]
) -> None:
    """Make groups as tables of the engine, parents first."""
    by_node = [table for table in wanted if table.per_node]
    if by_node:
        columns = mentioned(jobs.column_names, " ".join(plan.query(table) for table in by_node))
        for at, chunk in enumerate(whole_nodes(jobs, columns)):
            connection.register("jobs", chunk)
            for table in by_node:
                make_group(connection, plan, table, new=at == 0)
    for table in wanted:
        if not table.per_node:
            if table.parent is None:
                columns = mentioned(jobs.column_names, plan.query(table))
                connection.register("jobs", reader(jobs, columns, {}))
            make_group(connection, plan, table)


def make_group(
    connection: duckdb.DuckDBPyConnection, plan: Plan, table: GroupTable, *, new: bool = True
) -> None:
    """Make a group of what it is made of, or add to it."""
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
