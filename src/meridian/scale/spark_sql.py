"""A network's SQL function by Spark's own SQL engine, over our segments: the same text, word for word but for the dialect.

What differs between the engines is either written in Spark's words or refused, never left to chance: sums are decimals
of 38 digits, integer division is ``div``, and Spark runs in ANSI mode, so that what does not fit raises, where it would
otherwise wrap. Functions on text and lists whose rules differ are not on the list.

Law: weights, codes and summary are those of the function here, or there is an error. Rows are known by segment and
place, groups by node, so it does not matter how Spark cuts the files.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np

from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.bundle import Bundle
from meridian.evaluate.function import WEIGHT_END, Evaluation, Parameters
from meridian.evaluate.judging import evaluation
from meridian.evaluate.own_functions import NO_VERDICT

_TOKEN: Final = re.compile(
    r"(?P<blank>\s+|--[^\n]*|/\*.*?\*/)|'(?P<text>(?:[^']|'')*)'|(?P<word>\$?\w+(?:\[\])?)|(?P<sign>//|<=|>=|<>|!=|.)",
    re.DOTALL,
)
_WORDS: Final = {
    "hugeint": "DECIMAL(38,0)",
    "utinyint": "SMALLINT",
    "integer": "INT",
    "varchar": "STRING",
    "bigint[]": "ARRAY<BIGINT>",
    "varchar[]": "ARRAY<STRING>",
    "boolean[]": "ARRAY<BOOLEAN>",
    "list_contains": "array_contains",
}
_CALLS: Final = frozenset(
    {"count", "sum", "min", "max", "bool_and", "bool_or", "coalesce", "nullif", "least", "greatest"}
    | {"abs", "cast", "list_contains", "filter", "in", "and", "or", "not", "when", "then", "else"}
    | {"between", "where", "case"}
)
"""What may stand before a bracket: its meaning is the same in both."""
_OTHERWISE: Final = frozenset({'"', "`", "like", "ilike", "similar", "glob"})
"""Quotes that hold text there and a name here, and patterns."""


@dataclass(frozen=True, slots=True)
class SegmentFiles:
    """An epoch's segments as Spark reads them."""

    paths: tuple[Path, ...]
    rows: tuple[int, ...]
    node_ids: tuple[str, ...]
    """The committed nodes, sorted by node key."""


def spark_words(sql: str, types: Mapping[str, str]) -> str:
    """Return a checked expression in Spark's dialect.

    Args:
        sql: The expression.
        types: Name of a parameter -> its type in the engine here.

    Raises:
        NotFound: If it uses something that means another thing there.
    """
    out: list[str] = []
    closing: list[str] = []
    tokens = list(_tokens(sql))
    for at, (kind, piece) in enumerate(tokens):
        before = tokens[at - 1][1].lower() if at else ""
        if kind == "text":
            if "'" in piece or "\\" in piece:
                raise NotFound(
                    f"text with quotes or backslashes is read otherwise by Spark: {sql!r}"
                )
            out.append(f"'{piece}'")
        elif piece.lower() in _OTHERWISE:
            raise NotFound(f"{piece} is read otherwise by Spark: {sql!r}")
        elif kind == "word":
            out.append(_word(piece, types))
        elif piece == "(":
            if before.isidentifier() and before not in _CALLS:
                raise NotFound(f"{before!r} may mean something else on Spark: {sql!r}")
            is_sum = before == "sum"
            out.append("(CAST((" if is_sum else "(")
            closing.append(") AS DECIMAL(38,0)))" if is_sum else ")")
        elif piece == ")":
            out.append(closing.pop())
        else:
            out.append("div" if piece == "//" else piece)
    return " ".join(out)


def _tokens(sql: str) -> Iterator[tuple[str, str]]:
    for found in _TOKEN.finditer(sql):
        kind = str(found.lastgroup)
        if kind != "blank":
            yield kind, found[kind]


def _word(token: str, types: Mapping[str, str]) -> str:
    if token.startswith("$"):
        kind = types[token[1:]]
        return f"CAST(:{token[1:]} AS {_WORDS.get(kind.lower(), kind)})"
    return _WORDS.get(token.lower(), token)


def evaluate_on_spark(
    session: Any, bundle: Bundle, parameters: Parameters, files: SegmentFiles
) -> Evaluation:
    """Evaluate an epoch by a network's SQL function.

    Args:
        session: Of `spark_pool.open_session`: in ANSI mode.
        bundle: Of a function in SQL.
        parameters: The function's own.
        files: The epoch's segments; they must have been checked against the commitment.

    Raises:
        NotFound: If the function is not in SQL, or Spark's SQL means something else by it.
        InvalidInput: If the parameters are not the function's, or its result is no weight or no reason.
        Exception: Spark's own, among them what it raises where a sum does not fit.
    """
    if bundle.kind != "sql":
        raise NotFound(f"function {bundle.name!r} is not in SQL")
    if session.conf.get("spark.sql.ansi.enabled") != "true":
        raise InvalidInput("session", "is not in ANSI mode: integers would wrap")
    values = bundle.check(parameters)
    # The expressions were checked when the bundle was read; names are quoted, values bound.
    named = [f"`{field}` AS {name}" for name, field in bundle.columns.items()]
    source = ", ".join(["node_id", "`#file` AS file", "`#row` AS place", *named])
    where = {"#file": "_metadata.file_path", "#row": "_metadata.row_index"}
    selected = [f"{sql} AS `{name}`" for name, sql in where.items()]  # no field is called so
    read = session.read.parquet(*map(str, files.paths)).selectExpr("*", *selected)
    read.createOrReplaceTempView("segments")
    types = {name: kind.sql_type for name, kind in bundle.parameters.items()}
    verdict = spark_words(bundle.code["verdict"], types)
    judged = f"SELECT *, CAST(coalesce({verdict}, {NO_VERDICT}) AS SMALLINT) AS code FROM (SELECT {source} FROM segments)"  # noqa: S608
    names = list(bundle.code["totals"])
    wanted = [bundle.code["weight"], *(bundle.code["totals"][name] for name in names)]
    sums = ", ".join(f"{spark_words(sql, types)} AS t{at}" for at, sql in enumerate(wanted))
    # A path for each job would not fit the driver: its hash does, and the few paths tell which is which.
    query = f"SELECT DISTINCT file, xxhash64(file) FROM (SELECT {source} FROM segments)"  # noqa: S608
    listed = session.sql(query)
    names_of = {number: _name(path) for path, number in listed.collect()}
    query = f"SELECT xxhash64(file) AS file, place, code FROM ({judged})"  # noqa: S608
    codes = session.sql(query, args=values).toArrow()
    grouped = session.sql(f"SELECT node_id, {sums} FROM ({judged}) GROUP BY node_id", args=values)  # noqa: S608
    found = {row[0]: [_integer(value) for value in row[1:]] for row in grouped.collect()}
    weights = [found[name][0] if name in found else None for name in files.node_ids]
    if any(weight is not None and not 0 <= weight < WEIGHT_END for weight in weights):
        raise InvalidInput("weight", "one does not fit in 128 bits")
    own = {name: sum(row[at] for row in found.values()) for at, name in enumerate(names, 1)}
    return evaluation(
        weights, _in_order(codes, files, names_of, len(bundle.reasons)), bundle.reasons, own
    )


def _in_order(codes: Any, files: SegmentFiles, names_of: Mapping[int, str], reasons: int) -> bytes:
    """Put the codes where their jobs stand among all jobs."""
    if len(names_of) != sum(rows > 0 for rows in files.rows):
        raise InvalidInput("segments", "two files of one hash, or one that was not read")
    starts = np.cumsum([0, *files.rows])
    known: Mapping[str, int] = {path.name: int(starts[at]) for at, path in enumerate(files.paths)}
    column = codes.column("file").combine_chunks().dictionary_encode()
    first = np.array(
        [known[names_of[number]] for number in column.dictionary.to_pylist()], dtype=np.int64
    )
    at = first[column.indices.to_numpy()] + codes.column("place").to_numpy()
    ordered = np.full(int(starts[-1]), NO_VERDICT, dtype=np.uint8)
    ordered[at] = codes.column("code").to_numpy()
    if len(at) != len(ordered) or (len(ordered) and int(ordered.max()) >= reasons):
        raise InvalidInput("verdict", "of a job has no reason")
    return ordered.tobytes()


def _name(text: str) -> str:
    return text.rpartition("/")[2]


def _integer(value: Any) -> int:
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    if type(value) is not int:
        raise InvalidInput("totals", f"gave {value!r}, which is not an integer")
    return value
