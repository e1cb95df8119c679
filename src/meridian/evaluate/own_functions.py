"""From a bundle to a function that can be run: SQL here, Python wherever the caller says (a sandbox outside the core)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.bundle import Bundle
from meridian.evaluate.engine import ENGINE, quoted
from meridian.evaluate.expressions import Expression, parse
from meridian.evaluate.function import (
    REASONS_MAX,
    WEIGHT_END,
    EpochInput,
    Evaluate,
    Evaluation,
    EvaluationFunction,
    Parameters,
)
from meridian.evaluate.jobs import Jobs
from meridian.evaluate.judging import evaluation, judge
from meridian.evaluate.python_subset import check_source
from meridian.primitives import dagcbor

SQL_ENGINE: Final = ENGINE
PYTHON_ENGINE: Final = "python-subset 1"
"""The subset of Python that the sandbox runs; every Python from 3.11 on gives the same integers."""

TOTALS_MAX: Final = 32
NO_VERDICT: Final = REASONS_MAX - 1
"""What NULL becomes: a code that no function of a network's own may have a reason for."""

Request = dict[str, Any]
RunPython = Callable[[str, Request], Any]
"""Source and request -> what its ``evaluate`` returned; raises `InvalidInput` if it failed."""


def function_of(bundle: Bundle, run_python: RunPython | None) -> EvaluationFunction:
    """Return the function that a bundle is.

    Args:
        bundle: The bundle.
        run_python: The sandbox; None where functions in Python cannot be run.

    Raises:
        InvalidInput: If its code is not acceptable.
        NotFound: If it is for an engine that this installation does not have.
    """
    engine = SQL_ENGINE if bundle.kind == "sql" else PYTHON_ENGINE
    if bundle.engine != engine:
        raise NotFound(f"function {bundle.name!r} needs {bundle.engine!r}, this is {engine!r}")
    if bundle.kind == "sql":
        evaluate = _sql_evaluate(bundle, _expressions(bundle))
    else:
        if not isinstance(bundle.code["source"], str):
            raise InvalidInput("source", "is not text")
        check_source(bundle.code["source"])
        if run_python is None:
            raise NotFound(f"function {bundle.name!r} is in Python, which cannot be run here")
        evaluate = _python_evaluate(bundle, run_python)
    return EvaluationFunction(bundle.name, bundle.version, bundle.encode(), evaluate, bundle.check)


def _expressions(bundle: Bundle) -> dict[str, str]:
    """Return the checked SQL of a bundle by the key where it stands, parameters as typed places.

    Raises:
        InvalidInput: Naming the key.
    """
    verdict, weight, totals = (bundle.code[name] for name in ("verdict", "weight", "totals"))
    if not isinstance(totals, dict) or len(totals) > TOTALS_MAX:
        raise InvalidInput("totals", f"is not a map of at most {TOTALS_MAX}")
    if bundle.inputs:
        raise InvalidInput("inputs", "a function in SQL reads jobs and parameters only")
    for name in totals:
        if name in {"jobs", "nodes", *bundle.reasons}:
            raise InvalidInput(f"totals.{name}", "is counted anyway")
    texts = {"verdict": verdict, "weight": weight}
    texts |= {f"totals.{name}": sql for name, sql in totals.items()}
    return {field: _expression(bundle, field, sql) for field, sql in texts.items()}


def _expression(bundle: Bundle, field: str, sql: Any) -> str:
    if not isinstance(sql, str):
        raise InvalidInput(field, "is not text")
    try:
        parsed: Expression = parse(sql)
    except InvalidInput as error:
        raise InvalidInput(field, error.reason) from error
    if parsed.aggregates == (field == "verdict"):
        what = "sums up jobs" if parsed.aggregates else "does not sum up a node's jobs"
        raise InvalidInput(field, f"{what}: {sql!r}")
    columns = {*bundle.columns} | (set() if field == "verdict" else {"code"})
    for name in parsed.names:
        if name[0] not in columns or len(name) > 1:
            raise InvalidInput(field, f"{'.'.join(name)!r} is no column")
    for place in parsed.parameters:
        if place.name[0] not in bundle.parameters:
            raise InvalidInput(field, f"${place.name[0]} is no parameter")
    return parsed.rewritten(
        ".".join, lambda name: f"CAST(${name} AS {bundle.parameters[name].sql_type})"
    )


def _columns_of(bundle: Bundle, jobs: Jobs) -> None:
    for name, field in bundle.columns.items():
        if field not in jobs.column_names:
            raise InvalidInput(f"columns.{name}", f"the jobs have no field {field!r}")


def _sql_evaluate(bundle: Bundle, sql: Mapping[str, str]) -> Evaluate:
    names = list(bundle.code["totals"])
    aggregates = [sql["weight"], *(sql[f"totals.{name}"] for name in names)]
    verdict = f"coalesce({sql['verdict']}, {NO_VERDICT})"

    def evaluate(epoch: EpochInput, parameters: Parameters, *, threads: int = 1) -> Evaluation:
        values = bundle.check(parameters)
        _columns_of(bundle, epoch.jobs)
        columns = {name: quoted(field) for name, field in bundle.columns.items()}
        codes, sums = judge(epoch.jobs, columns, verdict, aggregates, values, threads)
        weights = [
            _weight(sums[node][0], name) if node in sums else None
            for node, name in enumerate(epoch.node_ids)
        ]
        own = {
            name: sum(_integer(row[at], f"totals.{name}") for row in sums.values())
            for at, name in enumerate(names, 1)
        }
        return evaluation(weights, _known(codes, bundle), bundle.reasons, own)

    return evaluate


def _python_evaluate(bundle: Bundle, run_python: RunPython) -> Evaluate:
    def evaluate(epoch: EpochInput, parameters: Parameters, *, threads: int = 1) -> Evaluation:
        del threads  # one process, one thread
        values = bundle.check(parameters)
        _columns_of(bundle, epoch.jobs)
        columns = {name: epoch.jobs.column(field) for name, field in bundle.columns.items()}
        for name, column in columns.items():
            if pa.types.is_floating(column.type):
                raise InvalidInput(f"columns.{name}", "a column of floats cannot be evaluated")
        request: Request = {
            "nodes": list(epoch.node_ids),
            "jobs": {
                "node": epoch.jobs.column("node").to_pylist(),
                **{name: column.to_pylist() for name, column in columns.items()},
            },
            "parameters": values,
            "inputs": {name: _input(epoch.inputs, name) for name in bundle.inputs},
        }
        answer = run_python(bundle.code["source"], request)
        weights, codes = _answer(answer, len(epoch.node_ids), epoch.jobs.num_rows)
        named = [
            None if weight is None else _weight(weight, name)
            for weight, name in zip(weights, epoch.node_ids, strict=True)
        ]
        return evaluation(named, _known(codes, bundle), bundle.reasons, {})

    return evaluate


def _input(inputs: Mapping[str, bytes], name: str) -> Any:
    """Return a declared input as plain values; None where the epoch has none of that name."""
    return dagcbor.decode(inputs[name]) if name in inputs else None


def _answer(answer: Any, nodes: int, jobs: int) -> tuple[Sequence[Any], bytes]:
    if not isinstance(answer, dict) or set(answer) != {"weights", "verdicts"}:
        raise InvalidInput("function", "returned something else than weights and verdicts")
    weights, verdicts = answer["weights"], answer["verdicts"]
    for name, values, count in (("weights", weights, nodes), ("verdicts", verdicts, jobs)):
        if not isinstance(values, list) or len(values) != count:
            raise InvalidInput("function", f"returned no list of {count} {name}")
    try:
        return weights, bytes(verdicts)
    except (TypeError, ValueError) as error:
        raise InvalidInput("function", "returned a verdict that is no code") from error


def _known(codes: bytes, bundle: Bundle) -> bytes:
    if codes and max(codes) >= len(bundle.reasons):
        what = "none" if max(codes) == NO_VERDICT else str(max(codes))
        raise InvalidInput("verdict", f"of a job is {what}, which has no reason")
    return codes


def _integer(value: Any, field: str) -> int:
    if type(value) is not int:
        raise InvalidInput(field, f"gave {value!r}, which is not an integer")
    return value


def _weight(value: Any, node: str) -> int:
    weight = _integer(value, "weight")
    if not 0 <= weight < WEIGHT_END:
        raise InvalidInput("weight", f"gave {weight} for {node!r}, which does not fit in 128 bits")
    return weight
