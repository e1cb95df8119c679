"""SQL expressions of others, allowed only where their result is exact and depends on nothing but the row or group.

The engine itself parses the text; everything in its syntax tree must be on a list. So there are no floats, no
subqueries, no windows, no clock, no chance, and no aggregate whose result depends on the order of rows.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from meridian.errors import InvalidInput
from meridian.evaluate.engine import engine

SQL_BYTES_MAX: Final = 4_096

SCALARS: Final = frozenset(
    {"+", "-", "*", "//", "%", "~~", "!~~", "abs", "sign", "least", "greatest", "nullif", "if"}
    | {"length", "strlen", "lower", "upper", "contains", "starts_with", "ends_with", "list_sort"}
    | {"list_contains"}
)
"""Operators and functions from values to a value."""

AGGREGATES: Final = frozenset(
    {"count", "count_star", "sum", "min", "max", "bool_and", "bool_or", "list"}
)
"""Aggregates that do not depend on the order of rows; ``list`` only within ``list_sort``, for exact ranks."""

TYPES: Final = frozenset({"BIGINT", "HUGEINT", "BOOLEAN", "VARCHAR", "INTEGER", "UTINYINT"})

_CLASSES: Final = frozenset(
    {"CASE", "CONJUNCTION", "COMPARISON", "BETWEEN", "OPERATOR", "CONSTANT", "COLUMN_REF"}
    | {"PARAMETER", "FUNCTION", "CAST", "TYPE"}
)
_LITERALS: Final = frozenset({"INTEGER", "BOOLEAN", "STRING", "NULL_LITERAL"})
_HEAD: Final = "SELECT "
_PLAIN: Final[dict[str, Any]] = {
    "type": "SELECT_NODE",
    "modifiers": [],
    "cte_map": {"map": []},
    "where_clause": None,
    "group_expressions": [],
    "group_sets": [],
    "aggregate_handling": "STANDARD_HANDLING",
    "having": None,
    "sample": None,
    "qualify": None,
}
"""What surrounds an expression that stands alone."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A name in the text."""

    name: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression and where its names stand."""

    sql: str
    columns: tuple[_Place, ...]
    parameters: tuple[_Place, ...]
    aggregates: bool
    """Whether it sums up rows."""

    @property
    def names(self) -> set[tuple[str, ...]]:
        """The columns that it refers to, as ``(column,)`` or ``(group, value)``."""
        return {place.name for place in self.columns}

    def rewritten(
        self, column: Callable[[tuple[str, ...]], str], parameter: Callable[[str], str]
    ) -> str:
        """Return the SQL with other names.

        Args:
            column: A column's name -> SQL that stands for it.
            parameter: A parameter's name, without ``$`` -> SQL that stands for it.
        """
        spans = [(place.start, place.end, column(place.name)) for place in self.columns]
        spans += [(place.start, place.end, parameter(place.name[0])) for place in self.parameters]
        text = self.sql
        for start, end, new in sorted(spans, reverse=True):
            text = text[:start] + new + text[end:]
        return f"({text}\n)"  # a comment at its end ends there


@lru_cache(maxsize=1024)
def parse(sql: str) -> Expression:
    """Check an expression.

    Raises:
        InvalidInput: If it is no expression, or holds something that is not on the lists of this module.
    """
    if not sql.isascii() or not 1 <= len(sql) <= SQL_BYTES_MAX:
        raise InvalidInput("sql", f"is not 1..{SQL_BYTES_MAX} ASCII characters")
    with engine(1) as connection:
        rows = connection.execute("SELECT json_serialize_sql($sql)", {"sql": _HEAD + sql})
        tree = json.loads(rows.fetchall()[0][0])
    if tree["error"]:
        raise InvalidInput("sql", f"{tree.get('error_message', 'cannot be read')}: {sql!r}")
    node = tree["statements"][0]["node"]
    listed, source = node.get("select_list", []), node.get("from_table", {}).get("type")
    surroundings = {name: node.get(name) for name in _PLAIN}
    if len(tree["statements"]) != 1 or surroundings != _PLAIN or source != "EMPTY":
        raise InvalidInput("sql", f"is not one expression: {sql!r}")
    if len(listed) != 1 or listed[0]["alias"]:
        raise InvalidInput("sql", f"is not one expression without a name: {sql!r}")
    parts = list(_parts(listed[0]))
    for part in parts:
        _check(part, sql)
    functions = [part["function_name"].lower() for part in parts if part["class"] == "FUNCTION"]
    if functions.count("list") != functions.count("list_sort"):
        raise InvalidInput("sql", f"`list` and `list_sort` stand only together: {sql!r}")
    columns = [_place(p, tuple(p["column_names"])) for p in parts if p["class"] == "COLUMN_REF"]
    bound = [_place(p, (p["identifier"],)) for p in parts if p["class"] == "PARAMETER"]
    aggregates = bool(AGGREGATES & set(functions))
    return Expression(sql, tuple(columns), tuple(bound), aggregates)


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    """Return every expression of a syntax tree."""
    if isinstance(tree, list):
        for item in tree:
            yield from _parts(item)
    elif isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for item in tree.values():
            yield from _parts(item)


def _check(part: dict[str, Any], sql: str) -> None:
    kind = part["class"]
    if kind not in _CLASSES:
        raise InvalidInput("sql", f"{kind.lower()} is not allowed: {sql!r}")
    if kind == "CONSTANT" and part["literal"]["kind"] not in _LITERALS:
        raise InvalidInput("sql", f"{part['literal']['text']} is not an integer or text: {sql!r}")
    if kind == "TYPE" and (part["type_name"].upper() not in TYPES or part["children"]):
        raise InvalidInput("sql", f"type {part['type_name']} is not allowed: {sql!r}")
    if kind == "FUNCTION":
        _check_function(part, sql)


def _check_function(part: dict[str, Any], sql: str) -> None:
    name = part["function_name"].lower()
    if name not in SCALARS | AGGREGATES or part["schema"] or part["catalog"]:
        raise InvalidInput("sql", f"function {name!r} is not allowed: {sql!r}")
    if part["order_bys"]["orders"]:
        raise InvalidInput("sql", f"an order within {name!r} is not allowed: {sql!r}")
    if name == "list_sort":
        inner = [one["expression"].get("function_name", "") for one in part["arguments"]]
        if [text.lower() for text in inner] != ["list"]:
            raise InvalidInput("sql", f"`list_sort` takes one `list`: {sql!r}")


def _place(part: dict[str, Any], name: tuple[str, ...]) -> _Place:
    start = part["query_location"] - len(_HEAD)
    return _Place(name, start, start + part["query_location_length"])
