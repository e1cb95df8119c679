"""A function of one's own as files: ``function.toml``, and ``function.py`` where it is in Python.

What `meridian function init` writes and `meridian function test` reads; `Bundle` is what comes out of it.
"""

import tomllib
from pathlib import Path
from typing import Any, Final

from meridian.errors import InvalidInput, NotFound
from meridian.evaluate.bundle import KINDS, Bundle
from meridian.evaluate.own_functions import PYTHON_ENGINE, SQL_ENGINE
from meridian.networks.files import read_file
from meridian.networks.generator import Traffic, generate

MANIFEST: Final = "function.toml"
SOURCE: Final = "function.py"
JOBS: Final = "jobs.ndjson"
SAMPLE: Final = Traffic(seed=1, jobs=400, nodes=12, epochs=2)

_HEAD: Final = """\
# A function of our own: what each job is worth, in integers. docs/functions.md tells more.
name = "bytes-in-time"
version = 1            # up with every change: the contract names the code by its digest
kind = "{kind}"
reasons = ["ok", "error", "too_slow"]   # verdict codes 0, 1, 2; 0 is "ok"
inputs = []            # auxiliary inputs of the epoch that may be read, by name (functions in Python only)

[columns]              # name in the code = field of the jobs; nothing else can be read
bytes = "num_bytes_sent"
ttfb = "ttfb_ms"
status = "status code"

[parameters.slow_ms]   # set by the sponsor in the schedule; integer, boolean, text, integers or texts
kind = "integer"
default = 500
minimum = 1
"""

_SQL: Final = '''
[sql]
# One code for each job. Expressions only; integers, booleans and text; divide with //; $name is a parameter.
verdict = """CASE
    WHEN status >= 400 THEN 1
    WHEN ttfb IS NULL OR ttfb > $slow_ms THEN 2
    ELSE 0 END"""
# One integer for each node, from its jobs and their codes.
weight = "coalesce(sum(bytes) FILTER (WHERE code = 0), 0)"

[sql.totals]           # sums over the epoch that everybody should see
bytes_in_time = "coalesce(sum(bytes) FILTER (WHERE code = 0), 0)"
'''

_PYTHON: Final = '''\
"""Bytes that were served in time. Integers only: no floats, no `/`; docs/functions.md lists what may be used."""


def evaluate(nodes, jobs, parameters, inputs):
    """Return a weight for each node (None: it has no jobs) and a verdict code for each job.

    nodes: list of node ids. jobs: dict of columns, each a list with one entry for each job; "node" is the index of the
    job's node. parameters: dict. inputs: dict, None for an input that the epoch does not have.
    """
    weights = [None] * len(nodes)
    verdicts = []
    for node, size, ttfb, status in zip(jobs["node"], jobs["bytes"], jobs["ttfb"], jobs["status"]):
        if status >= 400:
            code = 1
        elif ttfb is None or ttfb > parameters["slow_ms"]:
            code = 2
        else:
            code = 0
        verdicts.append(code)
        weights[node] = (weights[node] or 0) + (size if code == 0 else 0)
    return weights, verdicts
'''


def write_folder(folder: Path, kind: str) -> list[Path]:
    """Write a function to begin with, and some jobs to try it on.

    Raises:
        InvalidInput: If there is a function already, or no such kind.
    """
    if kind not in KINDS:
        raise InvalidInput("kind", f"{kind!r} is not one of {', '.join(KINDS)}")
    files = {MANIFEST: _HEAD.format(kind=kind) + (_SQL if kind == "sql" else "")}
    files |= {SOURCE: _PYTHON} if kind == "python" else {}
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise InvalidInput(str(folder), f"holds {there[0]} already")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / JOBS).write_bytes(b"".join(generate(SAMPLE).batches()))
    return [folder / name for name in (*files, JOBS)]


def read_bundle(path: Path) -> Bundle:
    """Return the function in a folder, or the one that a bundle file is.

    Raises:
        NotFound: If there is neither.
        InvalidInput: Naming what is wrong.
    """
    if path.is_file() and path.name != MANIFEST:
        return Bundle.decode(path.read_bytes())
    manifest = path if path.is_file() else path / MANIFEST
    if not manifest.is_file():
        raise NotFound(f"{manifest}: no such file; `meridian function init` writes one")
    try:
        values: dict[str, Any] = tomllib.loads(read_file(manifest).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(str(manifest), str(error)) from error
    kind = values.get("kind")
    code = values.pop("sql", None) if kind == "sql" else {"source": _source(manifest.parent)}
    if not isinstance(code, dict):
        raise InvalidInput("sql", "is not a table of verdict, weight and totals")
    if kind == "sql":
        code.setdefault("totals", {})
    values.setdefault("inputs", [])
    values.setdefault("parameters", {})
    engine = SQL_ENGINE if kind == "sql" else PYTHON_ENGINE
    return Bundle.of({**values, "engine": engine, **code})


def _source(folder: Path) -> str:
    path = folder / SOURCE
    if not path.is_file():
        raise NotFound(f"{path}: no such file")
    # A checkout may change line ends, and must not change the function.
    return read_file(path).decode().replace("\r\n", "\n")
