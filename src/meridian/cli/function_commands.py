"""`meridian function`: evaluation functions, the shipped ones and a network's own."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from meridian.errors import InvalidInput
from meridian.evaluate.bundle import KINDS
from meridian.primitives.cid import cid_text

DIFFERS: Final = 1
THREADS: Final = (1, 2, 4)
NODES_SHOWN: Final = 10

EPILOG: Final = """\b
Examples:
  meridian function list                              the shipped functions and their digests
  meridian function init my-function                  files to begin with (SQL), and jobs to try them on
  meridian function init my-function --kind python
  meridian function test my-function                  run it, in many orders of the jobs and with many threads
  meridian function publish my-function --to run-1/measure/public -o my-function.cbor
  meridian run --network saturn --jobs LOG --data-dir DIR --function my-function.cbor
"""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
path_argument = click.argument("path", type=click.Path(path_type=Path, exists=True))


@click.group(epilog=EPILOG)
def function() -> None:
    """Evaluation functions: what makes weights of jobs. The contract names each by the digest of its code."""


@function.command(name="list")
@json_option
def list_(*, as_json: bool) -> None:
    """Show the functions that this version ships."""
    from meridian.evaluate.registry import FUNCTIONS

    rows = [
        {
            "name": one.name,
            "version": one.version,
            "digest": one.digest.hex(),
            "cid": cid_text(one.digest),
        }
        for one in FUNCTIONS.values()
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    table = Table(title="Shipped functions", title_justify="left")
    for column in ("name", "version", "cid"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(str(row["name"]), str(row["version"]), str(row["cid"]))
    Console(highlight=False).print(table)


@function.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default="sql",
    show_default=True,
    help="What it is written in.",
)
def init(folder: Path, kind: str) -> None:
    """Write a function to begin with, and generated jobs to try it on."""
    from meridian.networks.function_folder import write_folder

    for path in write_folder(folder, kind):
        click.echo(f"wrote {path}")
    click.echo(f"next: meridian function test {folder}")


@function.command()
@path_argument
@json_option
def show(path: Path, *, as_json: bool) -> None:
    """Check a function's folder or bundle, and show what it is."""
    from meridian.evaluate.own_functions import function_of
    from meridian.networks.function_folder import read_bundle
    from meridian.node.sandbox.runner import PythonSandbox

    bundle = read_bundle(path)
    function_of(bundle, PythonSandbox())
    value = {
        "name": bundle.name,
        "version": bundle.version,
        "kind": bundle.kind,
        "engine": bundle.engine,
        "digest": bundle.digest.hex(),
        "cid": cid_text(bundle.digest),
        "columns": dict(bundle.columns),
        "inputs": list(bundle.inputs),
        "reasons": list(bundle.reasons),
        "parameters": {name: rule.encode() for name, rule in bundle.parameters.items()},
    }
    if as_json:
        click.echo(json.dumps(value))
        return
    table = Table(show_header=False)
    for name, item in value.items():
        table.add_row(name, item if isinstance(item, str) else json.dumps(item))
    Console(highlight=False).print(table)


@function.command()
@path_argument
@click.option("--network", default="saturn", show_default=True, help="Whose records the jobs are.")
@click.option(
    "--jobs",
    "files",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="File with jobs (repeatable).  [default: jobs.ndjson in the folder]",
)
@click.option("--parameters", "text", default="{}", help="The function's parameters, JSON.")
@click.option(
    "--orders",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Orders of the jobs to try.",
)
@json_option
def test(
    path: Path, network: str, files: tuple[Path, ...], text: str, orders: int, *, as_json: bool
) -> None:
    """Run a function on jobs: in their own order, in others, and with 1, 2 and 4 threads; all must agree.

    Exits with 1 if any result differs.
    """
    from meridian.evaluate.own_functions import function_of
    from meridian.networks.function_folder import JOBS, read_bundle
    from meridian.networks.function_trial import differences, trial
    from meridian.networks.sources import load
    from meridian.node.sandbox.runner import PythonSandbox

    bundle, parameters = read_bundle(path), json_map(text, "--parameters")
    jobs = files or ((path if path.is_dir() else path.parent) / JOBS,)
    source = load(network, jobs)
    source.definition.with_function(
        bundle.encode(), parameters
    )  # refuses fields that are not there
    evaluated = function_of(bundle, PythonSandbox())
    epochs, refused = trial(source, evaluated, parameters)
    problems = [
        problem
        for given, result in epochs
        for problem in differences(evaluated, parameters, given, result, orders, THREADS)
    ]
    if as_json:
        document = {
            "digest": bundle.digest.hex(),
            "refused_records": len(refused),
            "epochs": [
                {
                    "epoch": given.epoch,
                    "summary": result.summary,
                    "weights": {
                        name: None if weight is None else str(weight)
                        for name, weight in zip(given.node_ids, result.weights, strict=True)
                    },
                }
                for given, result in epochs
            ],
            "differences": problems,
        }
        click.echo(json.dumps(document))
    else:
        _print_trial(epochs, refused, problems, orders)
    if problems:
        raise click.exceptions.Exit(DIFFERS)


def _print_trial(
    epochs: Sequence[tuple[Any, Any]], refused: Sequence[str], problems: Sequence[str], orders: int
) -> None:
    console = Console(highlight=False)
    for given, result in epochs:
        table = Table(title=f"Epoch {given.epoch}", title_justify="left")
        table.add_column("node", overflow="fold")
        table.add_column("weight", justify="right")
        heaviest = sorted(
            zip(given.node_ids, result.weights, strict=True), key=lambda pair: -(pair[1] or 0)
        )
        for name, weight in heaviest[:NODES_SHOWN]:
            table.add_row(name, "-" if weight is None else f"{weight:,}")
        console.print(table)
        console.print(
            "  " + ", ".join(f"{name} {count:,}" for name, count in result.summary.items())
        )
    if refused:
        console.print(f"{len(refused)} records were refused; the first: {refused[0]}", markup=False)
    for problem in problems:
        console.print(f"differs: {problem}", markup=False)
    if not problems:
        console.print(
            f"the same result in {orders} orders of the jobs and with {', '.join(map(str, THREADS))} threads"
        )


def json_map(text: str, option: str) -> dict[str, Any]:
    """Return the JSON object that an option holds."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(option, f"is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidInput(option, "is not a JSON object")
    return value


@function.command()
@path_argument
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    help="Publication directory: the bundle becomes one of its objects.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the bundle to a file.",
)
@json_option
def publish(path: Path, to: Path | None, output: Path | None, *, as_json: bool) -> None:
    """Make the bundle of a function, and publish it; prints the digest for the contract's schedule.

    The same files give the same digest everywhere.
    """
    from meridian.evaluate.own_functions import function_of
    from meridian.networks.function_folder import read_bundle
    from meridian.node.durable_file import write_durably
    from meridian.node.measure.publication import Publication
    from meridian.node.sandbox.runner import PythonSandbox

    bundle = read_bundle(path)
    function_of(bundle, PythonSandbox())
    data = bundle.encode()
    if to is None and output is None:
        raise click.UsageError("give --to DIRECTORY, --output FILE, or both")
    if to is not None:
        Publication(to).put(data)
    if output is not None:
        write_durably(output, data)
    value = {
        "name": bundle.name,
        "version": bundle.version,
        "digest": bundle.digest.hex(),
        "cid": cid_text(bundle.digest),
    }
    click.echo(
        json.dumps(value)
        if as_json
        else "\n".join(f"{name}: {item}" for name, item in value.items())
    )
