"""The SQL that a network may write itself: expressions of integers, booleans and text, and nothing else.

What is allowed is listed; everything else is refused by name. There are no subqueries, so an expression reads its columns
and ends; no floats, no ``/`` (use ``//``), nothing volatile, and no aggregate whose result depends on the order of rows.
"""

import re
from collections.abc import Collection
from typing import Final

from meridian.errors import InvalidInput

EXPRESSION_MAX: Final = 20_000
"""Characters."""

KEYWORDS: Final = frozenset(
    [
        "and",
        "as",
        "between",
        "by",
        "case",
        "cast",
        "distinct",
        "else",
        "end",
        "false",
        "filter",
        "in",
        "is",
        "like",
        "not",
        "null",
        "or",
        "over",
        "partition",
        "then",
        "true",
        "when",
        "where",
    ]
)
TYPES: Final = frozenset(
    [
        "bigint",
        "boolean",
        "hugeint",
        "integer",
        "smallint",
        "tinyint",
        "ubigint",
        "uhugeint",
        "uinteger",
        "varchar",
    ]
)
FUNCTIONS: Final = frozenset(
    [
        "abs",
        "bit_and",
        "bit_or",
        "bit_xor",
        "bool_and",
        "bool_or",
        "coalesce",
        "contains",
        "count",
        "count_if",
        "ends_with",
        "greatest",
        "least",
        "len",
        "length",
        "list_contains",
        "lower",
        "max",
        "md5",
        "min",
        "mod",
        "nullif",
        "quantile_disc",
        "replace",
        "sha256",
        "sign",
        "starts_with",
        "strpos",
        "substr",
        "substring",
        "sum",
        "trim",
        "upper",
        "xor",
    ]
)

_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<text>'(?:[^']|'')*')
  | (?P<number>\d+(?:\.\d+)?(?![\w.]))
  | (?P<name>[A-Za-z_]\w*)
  | (?P<operator><=|>=|<>|!=|\|\||::|//|[-+*%=<>(),\[\]])
    """,
    re.VERBOSE | re.ASCII,
)


def check_expression(sql: str, columns: Collection[str], field: str) -> None:
    """Refuse an expression that holds anything but what is listed above.

    Args:
        sql: The expression.
        columns: Names that it may read, lower case.
        field: What it is, for the error.

    Raises:
        InvalidInput: Naming the first thing that is not allowed, and where it stands.
    """
    if len(sql) > EXPRESSION_MAX:
        raise InvalidInput(field, f"passes {EXPRESSION_MAX} characters")
    if not sql.strip():
        raise InvalidInput(field, "is empty")
    known = KEYWORDS | TYPES | FUNCTIONS | set(columns)
    at, depth, end = 0, 0, len(sql)
    while at < end:
        match = _TOKEN.match(sql, at)
        if match is None:
            hint = "; divide integers with //" if sql[at] == "/" else ""
            raise InvalidInput(field, f"{sql[at : at + 12]!r} at {at} is not allowed{hint}")
        word = match["name"]
        if word is not None and word.lower() not in known:
            raise InvalidInput(
                field,
                f"{word!r} at {at} is neither a column nor an allowed keyword, type or function",
            )
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth < 0:
            raise InvalidInput(field, f"a parenthesis at {at} closes nothing")
        at = match.end()
    if depth:
        raise InvalidInput(field, "a parenthesis is not closed")
