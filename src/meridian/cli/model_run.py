"""`meridian run --model`: the same jobs by another model, and which options it takes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table

from meridian.cli.progress import ProgressDisplay
from meridian.errors import InvalidInput
from meridian.journey.models.model import COMMITMENTS, COMMON_OPTIONS, Costs, Model, ModelOptions
from meridian.journey.models.registry import DEFAULT, MODELS, model_named
from meridian.networks.definition import JobSource

BROKEN: Final = 1
OWN_OPTIONS: Final = ("batch", "store", "relay", "commitment")
"""Options that only models besides the default one have."""
INPUT_OPTIONS: Final = frozenset(
    {"network", "paths", "more", "epoch_seconds", "own", "function_parameters", "own_layers", "as_json", "model"}
)  # fmt: skip
"""What every model is given: the jobs, the network, and how to print."""


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option that chooses a model, and those that belong to one of them."""
    options = [
        click.option(
            "--model",
            default=DEFAULT,
            show_default=True,
            metavar="NAME",
            help=f"How jobs become payments: {', '.join(MODELS)}.",
        ),
        click.option(
            "--batch/--no-batch",
            default=True,
            help="Model naive: many jobs in one transaction.  [default: batch]",
        ),
        click.option(
            "--store",
            default="local",
            show_default=True,
            metavar="DRIVER",
            help="Model offchain-store: where nodes put their jobs.",
        ),
        click.option(
            "--relay/--no-relay",
            default=True,
            help="Model summary: one party sends the nodes' signed summaries.  [default: relay]",
        ),
        click.option(
            "--commitment",
            type=click.Choice(COMMITMENTS),
            default=COMMITMENTS[0],
            show_default=True,
            help="Model summary: how nodes commit to their jobs.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def chosen_model(context: click.Context, name: str) -> Model | None:
    """Return the model that a command asks for; None is the default one, which has a command of its own.

    Raises:
        NotFound: If there is no such model.
        InvalidInput: If an option was given that it does not take.
    """
    model = model_named(name)
    takes = INPUT_OPTIONS | COMMON_OPTIONS | model.takes
    for parameter in context.command.params:
        known = parameter.name not in OWN_OPTIONS if name == DEFAULT else parameter.name in takes
        given = context.get_parameter_source(parameter.name or "")
        if not known and given is ParameterSource.COMMANDLINE:
            raise InvalidInput(parameter.opts[0], f"the model {name} has no such option")
    return None if name == DEFAULT else model


def run_model(
    model: Model, source: JobSource, data_dir: Path, values: Mapping[str, Any], *, as_json: bool
) -> None:
    """Run a model that is not the default one, and print what it did; exits with 1 if an epoch does not verify."""
    taken = {name: values[name] for name in (COMMON_OPTIONS | model.takes) & values.keys()}
    options = ModelOptions(data_dir=data_dir, **taken)
    with ProgressDisplay() as display:
        done = model.run(source, options, display)
    if as_json:
        costs = msgspec.to_builtins(done.costs)
        click.echo(json.dumps({**done.result, "model": model.name, "costs": costs}))
    else:
        _print(model, data_dir, done.result["epochs"], done.costs)
    for epoch, link in done.broken.items():
        click.echo(f"epoch {epoch}: broken: {link}", err=True)
    if done.broken:
        raise click.exceptions.Exit(BROKEN)


def _print(model: Model, data_dir: Path, epochs: list[dict[str, Any]], costs: Costs) -> None:
    from meridian.cli.tables import WIDTH, coins

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    table = _table(f"Epochs of the model {model.name} (amounts in whole coins)", ["epoch"])
    for name in ("jobs", "nodes", "budget", "allocated", "paid"):
        table.add_column(name, justify="right")
    for epoch in epochs:
        amounts = [coins(epoch[f"{name}_atto"]) for name in ("total", "allocated", "paid")]
        table.add_row(str(epoch["epoch"]), f"{epoch['jobs']:,}", f"{epoch['nodes']:,}", *amounts)
    console.print(table)
    console.print(steps_table(costs))
    if epochs:
        click.echo(
            f"Check an epoch: meridian verify --data-dir {data_dir} --epoch {epochs[-1]['epoch']}"
        )


def steps_table(costs: Costs) -> Table:
    """Return the table of what the transactions of a run cost."""
    table = _table("On chain", ["step", "when", "chain"])
    for name in ("transactions", "gas", "call data"):
        table.add_column(name, justify="right")
    for one in costs.steps:
        table.add_row(
            one.name, one.phase.value, one.chain,
            f"{one.transactions:,}", f"{one.gas:,}", f"{one.calldata_bytes:,}",
        )  # fmt: skip
    return table


def _table(title: str, left: list[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in left:
        table.add_column(name)
    return table
