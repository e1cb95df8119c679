"""Flag jobs shard by shard: what a shard's jobs say of groups over all jobs, and what these say of each shard's.

A shard holds whole nodes. So groups of whole nodes are complete within it; others are made of all shards' parts: sums
add up (`partial_sums`), and groups of groups are made of the parts of all. Layers that ask only about groups are decided
once, for all of them, and what comes back are the few keys that they flag.

Law: `flag` of each shard with `share` of all shards' `group_parts` gives the codes that `flag` of all jobs gives.
"""

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from meridian.evaluate.engine import engine, refuse_floats
from meridian.evaluate.flagging import (
    ActiveLayer,
    Known,
    check_columns,
    is_decidable,
    make_group,
    make_groups,
    planned,
    put_table,
)
from meridian.evaluate.groups import GroupTable, Plan, Verdict
from meridian.evaluate.jobs import Jobs, mentioned, reader
from meridian.evaluate.partial_sums import partial_sums

Parts = Mapping[str, pa.Table]
"""Name of a group -> what one shard says of it."""


def what_does_not_add_up(layers: Sequence[ActiveLayer], jobs: Jobs) -> str | None:
    """Return why these layers must see all jobs at once, None where they need not."""
    for use in layers:
        plan, _ = planned([use], jobs)
        for table in plan.kept:
            if not table.per_node and table.parent is None and partial_sums(table.values) is None:
                return f"the layer {use.layer.name!r} lists or distinguishes jobs of all nodes"
    return None


def needs_all_jobs(layers: Sequence[ActiveLayer], jobs: Jobs) -> bool:
    """Tell whether a layer groups the jobs of different nodes."""
    return any(not table.per_node for table in planned(layers, jobs)[0].kept)


def group_parts(jobs: Jobs, layers: Sequence[ActiveLayer], threads: int = 1) -> Parts:
    """Return what a shard's jobs say of the groups that concern others.

    Args:
        jobs: Of whole nodes, with the numbers that these have among all.
        layers: Layers that add up.
        threads: May change the speed and nothing else.

    Raises:
        InvalidInput: If a layer needs a field that the jobs do not have, or a sum overflows.
    """
    refuse_floats(jobs)
    check_columns(layers, jobs.schema)
    plan, verdicts = planned(layers, jobs)
    of_nodes, of_all = _told(plan, verdicts)
    found: dict[str, pa.Table] = {}
    with engine(threads) as connection:
        make_groups(connection, jobs, plan, of_nodes)
        for table in of_nodes:
            query = f"SELECT * FROM {table.name}"  # noqa: S608 - a name of our own
            found[table.name] = connection.sql(query).to_arrow_table()
        for table in of_all:
            sums = partial_sums(table.values)
            assert sums is not None, "layers that add up"
            query = plan.query(table, sums.partial)
            columns = mentioned(jobs.column_names, query)
            connection.register("jobs", reader(jobs, columns, {}))
            found[table.name] = connection.sql(query, params=plan.bound(query)).to_arrow_table()
    return found


def share(parts: Sequence[Parts], layers: Sequence[ActiveLayer], jobs: Jobs) -> Known:
    """Return what all shards together say.

    Args:
        parts: Of every shard, each once.
        layers: The layers.
        jobs: Any jobs with the columns of the epoch; their rows are not read.
    """
    plan, verdicts = planned(layers, jobs)
    of_nodes, of_all = _told(plan, verdicts)
    with engine(1) as connection:
        for table in of_nodes:
            put_table(connection, table.name, pa.concat_tables(one[table.name] for one in parts))
        for table in plan.kept:
            if table in of_all:
                _add_up(connection, plan, table, [one[table.name] for one in parts])
            elif not table.per_node:
                make_group(connection, plan, table)
        decided: dict[int, pa.Table | None] = {}
        wanted: set[str] = set()
        for at, verdict in enumerate(verdicts):
            if all(table.per_node for table in verdict.tables):
                continue
            if verdict.of_groups and is_decidable(connection, plan, verdict):
                query = verdict.by_key()
                keys = connection.sql(query, params=plan.bound(query)).to_arrow_table()
                decided[at] = keys if keys.num_rows else None
            else:
                wanted |= {table.name for table in verdict.tables if not table.per_node}
        tables = {
            name: connection.sql(f"SELECT * FROM {name}").to_arrow_table()  # noqa: S608 - a name of our own
            for name in sorted(wanted)
        }
    return Known(tables, decided)


def _told(plan: Plan, verdicts: Sequence[Verdict]) -> tuple[list[GroupTable], list[GroupTable]]:
    """Return the groups of which a shard tells the others: those of whole nodes, and those over all jobs."""
    asked = {
        table.name
        for verdict in verdicts
        if not all(table.per_node for table in verdict.tables)
        for table in verdict.tables
    }
    of_nodes = [
        table
        for table in plan.kept
        if table.per_node
        and (table.name in asked or any(not child.per_node for child in table.children))
    ]
    return of_nodes, [table for table in plan.kept if not table.per_node and table.parent is None]


def _add_up(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    table: GroupTable,
    parts: Sequence[pa.Table],
) -> None:
    sums = partial_sums(table.values)
    assert sums is not None, "layers that add up"
    put_table(connection, "parts", pa.concat_tables(parts))
    keys = [f"k{at}" for at in range(len(table.by))]
    values = [f"{sql} AS {name}" for sql, name in sums.combined.items()]
    grouped = f"GROUP BY {', '.join(keys)}" if keys else ""
    query = f"SELECT {', '.join([*keys, *values])} FROM parts {grouped}"  # noqa: S608 - checked expressions
    connection.execute(f"CREATE TEMP TABLE {table.name} AS {query}", plan.bound(query))
    connection.execute("DROP TABLE parts")
