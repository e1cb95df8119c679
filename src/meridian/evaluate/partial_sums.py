"""Aggregates that add up: an expression over all jobs from the same expression's aggregates over parts of them.

Law: for rows cut into parts in any way, `combined` of the parts' `partial` values is the expression over all rows, with
the same type. Counts and sums are added, least and greatest values compared, truth values joined. A ``list`` and an
aggregate of distinct values do not add up: they must see all rows at once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from meridian.evaluate.engine import engine
from meridian.evaluate.expressions import AGGREGATES

_SAME: Final = ("sum", "min", "max", "bool_and", "bool_or")
_MERGED: Final = {
    **{name: f"{name}({{0}})" for name in _SAME},
    # The sum of counts would be a wider integer than a count is.
    "count": "CAST(sum({0}) AS BIGINT)",
    "count_star": "CAST(sum({0}) AS BIGINT)",
}
_ANY_ORDER: Final = frozenset({"min", "max", "bool_and", "bool_or"})
"""These are the same of distinct values."""


@dataclass(frozen=True, slots=True)
class PartialSums:
    """How some expressions over all rows follow from parts."""

    partial: Mapping[str, str]
    """Aggregate over a part's rows -> its column."""
    combined: Mapping[str, str]
    """Expression over the rows of all parts -> its column."""


def partial_sums(values: Mapping[str, str]) -> PartialSums | None:
    """Return how expressions add up; None where one of them does not.

    Args:
        values: Checked SQL with aggregates -> the column of its value.
    """
    partial: dict[str, str] = {}
    combined: dict[str, str] = {}
    for sql, column in values.items():
        text, made = sql.encode(), b""
        end = 0
        for start, length, name, distinct in _aggregates(sql):
            if name not in _MERGED or (distinct and name not in _ANY_ORDER):
                return None
            inner = text[start : start + length].decode()
            known = partial.setdefault(inner, f"i{len(partial)}")
            made += text[end:start] + _MERGED[name].format(known).encode()
            end = start + length
        combined[(made + text[end:]).decode()] = column
    return PartialSums(partial, combined)


def _aggregates(sql: str) -> list[tuple[int, int, str, bool]]:
    """Return start, length, name and whether of distinct values, of each aggregate in a text, in bytes and in order."""
    head = "SELECT "
    with engine(1) as connection:
        rows = connection.execute("SELECT json_serialize_sql($sql)", {"sql": head + sql})
        tree = json.loads(rows.fetchall()[0][0])
    found: list[tuple[int, int, str, bool]] = []

    def look(part: Any) -> None:
        if isinstance(part, list):
            for item in part:
                look(item)
        elif isinstance(part, dict):
            name = str(part.get("function_name", "")).lower()
            if part.get("class") == "FUNCTION" and name in AGGREGATES:
                start = part["query_location"] - len(head)
                found.append((start, part["query_location_length"], name, part["distinct"]))
                return
            for item in part.values():
                look(item)

    look(tree)
    return sorted(found)
