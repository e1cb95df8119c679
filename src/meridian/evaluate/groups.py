"""The groups of several layers as one plan: equal groups are made once, and only what somebody needs is made.

A group by node, of jobs or of another group by node, is *per node*: it can be made from the jobs of whole nodes, some
nodes at a time. Per-node groups that only other per-node groups need are never kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from meridian.evaluate.engine import quoted
from meridian.evaluate.expressions import parse
from meridian.evaluate.jobs import NODE
from meridian.evaluate.layer import JOBS, KINDS, NODE_COLUMNS, Group, Layer


@dataclass(slots=True)
class GroupTable:
    """One grouping, whichever layers asked for it."""

    name: str
    parent: "GroupTable | None"
    """None: made of jobs."""
    by: tuple[str, ...]
    """SQL over the parent."""
    where: str
    keys: tuple[str, ...]
    """SQL over the jobs, for joining."""
    per_node: bool
    values: dict[str, str] = field(default_factory=dict)
    """SQL of an aggregate -> the column of the value."""
    children: list["GroupTable"] = field(default_factory=list)
    joined: bool = False
    """Whether a verdict needs it."""

    @property
    def is_kept(self) -> bool:
        """Whether it is made as a table; else it stands within the queries of its children."""
        return self.joined or any(not child.per_node for child in self.children)

    def join(self, keys: Sequence[str]) -> str:
        """Return the SQL that puts it beside rows with these keys; a row of no group gets nulls."""
        return left_join(self.name, keys if self.keys else ())


def left_join(table: str, keys: Sequence[str]) -> str:
    """Return the SQL that joins a table by its keys ``k0``, ``k1``, ..."""
    pairs = [f"{key} = {table}.k{at}" for at, key in enumerate(keys)]
    return f"LEFT JOIN {table} ON {' AND '.join(pairs) or 'true'}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A layer's verdict as SQL over ``j`` and groups."""

    sql: str
    tables: tuple[GroupTable, ...]
    """The groups that it needs."""
    of_groups: bool
    """Whether it needs nothing else of a job than its groups, all by the same keys."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its groups, where they are the same."""
        return next((table.keys for table in self.tables if table.keys), ())

    @property
    def joins(self) -> list[str]:
        """The SQL that puts its groups beside the jobs ``j``."""
        return [table.join(table.keys) for table in self.tables]

    def by_key(self) -> str:
        """Return the SQL of the keys of flagged groups, with the code ``v``, for a verdict `of_groups`."""
        keyed = [table for table in self.tables if table.keys]
        names = [f"k{at}" for at in range(len(self.keys))]
        columns = ", ".join(names)
        every = " UNION ".join(f"SELECT {columns} FROM {table.name}" for table in keyed)  # noqa: S608
        joins = " ".join(table.join([f"u.{name}" for name in names]) for table in self.tables)
        wanted = ", ".join(f"u.{name}" for name in names)
        return (
            f"SELECT * FROM (SELECT {wanted}, {code_of(self.sql)} AS v FROM ({every}) AS u {joins}) "  # noqa: S608
            "WHERE v > 0"
        )

    def of_no_group(self) -> str:
        """Return the SQL of the code of a job that is in no group."""
        joins = " ".join(
            f"LEFT JOIN {table.name} ON {'false' if table.keys else 'true'}"
            for table in self.tables
        )
        return f"SELECT {code_of(self.sql)} FROM (SELECT 1) {joins}"  # noqa: S608


def code_of(verdict: str) -> str:
    """Return the SQL of the code that a verdict is: 0 where it is null."""
    return f"coalesce(CAST({verdict} AS UTINYINT), 0)"


_Key = tuple[str, tuple[str, ...], str]


class Plan:
    """The groups and parameters of the layers that were added."""

    def __init__(self, fields: set[str]) -> None:
        self._fields: Final = fields
        self._tables: Final[dict[_Key, GroupTable]] = {}
        self._values: Final[dict[tuple[type, Any], str]] = {}

    def add(self, layer: Layer, values: Mapping[str, int | bool | str]) -> Verdict:
        """Add a layer's groups, and return its verdict."""
        columns = {name: self._column(layer, name) for name in layer.job_columns}

        def parameter(name: str) -> str:
            known = self._values.setdefault(
                (type(values[name]), values[name]), f"p{len(self._values)}"
            )
            return f"CAST(${known} AS {KINDS[layer.parameters[name].type]})"

        names: dict[str, dict[str, str]] = {JOBS: columns}
        tables: dict[str, GroupTable] = {}
        for group in layer.groups:
            tables[group.name] = table = self._table(
                group, tables.get(group.of), names[group.of], columns, parameter
            )
            source = names[group.of]

            def within(ref: tuple[str, ...], source: Mapping[str, str] = source) -> str:
                return source[ref[0]]

            known = {name: f"k{at}" for at, name in enumerate(group.by)}
            for name, sql in group.values.items():
                text = parse(sql).rewritten(within, parameter)
                known[name] = table.values.setdefault(text, f"v{len(table.values)}")
            names[group.name] = known

        def reference(name: tuple[str, ...]) -> str:
            if len(name) == 1:
                return columns[name[0]]
            table = tables[name[0]]
            table.joined = True
            return f"{table.name}.{names[name[0]][name[1]]}"

        expression = parse(layer.verdict)
        sql = expression.rewritten(reference, parameter)
        used = [
            tables[name] for name in dict.fromkeys(n[0] for n in expression.names if len(n) > 1)
        ]
        needed = tuple(sorted({table.name: table for table in used}.values(), key=lambda t: t.name))
        keys = {table.keys for table in needed if table.keys}
        of_groups = len(keys) == 1 and all(len(name) > 1 for name in expression.names)
        return Verdict(sql, needed, of_groups)

    def _column(self, layer: Layer, name: str) -> str:
        if name in NODE_COLUMNS:
            return f"j.{quoted(name)}"
        column = layer.columns[name]
        if column.field in self._fields:
            return f"j.{quoted(column.field)}"
        return f"CAST(NULL AS {KINDS[column.type]})"

    def _table(
        self,
        group: Group,
        parent: GroupTable | None,
        source: Mapping[str, str],
        columns: Mapping[str, str],
        parameter: Any,
    ) -> GroupTable:
        by = tuple(source[name] for name in group.by)
        where = parse(group.where).rewritten(lambda ref: source[ref[0]], parameter)
        key = (parent.name if parent else JOBS, by, where)
        if key not in self._tables:
            table = GroupTable(
                name=f"g{len(self._tables)}",
                parent=parent,
                by=by,
                where=where,
                keys=tuple(columns[name] for name in group.by),
                per_node=NODE in group.by and (parent is None or parent.per_node),
            )
            self._tables[key] = table
            if parent:
                parent.children.append(table)
        return self._tables[key]

    @property
    def kept(self) -> list[GroupTable]:
        """The groups that are made as tables, parents first."""
        return [table for table in self._tables.values() if table.is_kept]

    def query(self, table: GroupTable, instead: Mapping[str, str] | None = None) -> str:
        """Return the SQL of a group's rows, from ``jobs`` or from a table of the plan.

        Args:
            table: The group.
            instead: Aggregates in place of its own, each with its column.
        """
        keys = [f"{sql} AS k{at}" for at, sql in enumerate(table.by)]
        aggregates = table.values if instead is None else instead
        values = [f"{sql} AS {name}" for sql, name in aggregates.items()]
        if table.parent is None:
            source = "jobs AS j"
        elif table.parent.is_kept and not table.per_node:
            source = table.parent.name
        else:
            source = f"({self.query(table.parent)})"
        wanted = [table.where, *(f"{sql} IS NOT NULL" for sql in table.by)]
        grouped = f"GROUP BY {', '.join(table.by)}" if table.by else ""
        return (
            f"SELECT {', '.join([*keys, *values])} FROM {source} "  # noqa: S608
            f"WHERE {' AND '.join(wanted)} {grouped}"
        )

    def bound(self, query: str) -> dict[str, Any]:
        """Return the values of the parameters that a query has."""
        return {name: value for (_, value), name in self._values.items() if f"${name} " in query}
