"""`meridian aggregate` and `meridian attack-sim`: the averages on anybody's table, and what liars can do to them."""

import gzip
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from meridian.cli.progress import ProgressDisplay, counting
from meridian.errors import InvalidInput
from meridian.evaluate.aggregate import AGGREGATES, aggregate_named

OUTSIDE: Final = 1
WIDTH: Final = 118
"""Columns where the output is no terminal."""

AGGREGATE_EPILOG: Final = """\b
Examples:
  meridian aggregate scores.csv --method trimmed:1 --scale 2
  meridian aggregate matrix.csv --method wmedian --json

\b
The file: CSV (.gz too). The header names the items; each line is a rater, whose name stands in the first column.
An empty cell is missing, which is never a zero. With n raters at most f = (n - 1) // 3 of them may lie:
  wmedian    lower (weighted) median; needs more than 2f voices
  median     lower median; needs 2f + 1 voices
  trimmed    mean without the f lowest and the f highest; trimmed:k drops k on each side
  mean       of those who spoke; one liar can carry it away
An item about which too few spoke has the value null.
"""

ATTACK_EPILOG: Final = """\b
Examples:
  meridian attack-sim                                 10,000 trials of each attack, in half a minute
  meridian attack-sim --trials 100000 --evaluators 7
  meridian attack-sim --strategy collusion --liars 1 --json

\b
Exit codes: 0 every value of wmedian lay between two honest ones, 1 one did not (the seed repeats it).
"""


@click.command(epilog=AGGREGATE_EPILOG)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--method",
    default="wmedian",
    show_default=True,
    help=f"{', '.join(AGGREGATES)} or trimmed:k.",
)
@click.option("--scale", type=int, help="Decimals of the result.  [default: as many as needed]")
@click.option("--json", "as_json", is_flag=True, help='Print {"item": "value"}.')
def aggregate(file: Path, method: str, scale: int | None, *, as_json: bool) -> None:
    """Average a table of decimals, exactly: the same rules by which evaluators are averaged."""
    from meridian.evaluate.decimal_table import DecimalTable

    aggregate_named(method)  # a wrong name is found before a long file is read
    table = DecimalTable.parse(_text_of(file).splitlines(keepends=True))
    values = table.aggregate(method, scale)
    if as_json:
        click.echo(json.dumps(values))
        return
    shown = Table(title=f"{method} of {len(table.raters)} raters", title_justify="left")
    shown.add_column("item")
    shown.add_column(method, justify="right")
    for item, value in values.items():
        shown.add_row(item, "too few spoke" if value is None else value)
    Console(highlight=False).print(shown)


def _text_of(file: Path) -> str:
    data = file.read_bytes()
    try:
        return (gzip.decompress(data) if file.suffix == ".gz" else data).decode("utf-8-sig")
    except (OSError, EOFError) as error:
        raise InvalidInput(str(file), f"is not gzip: {error}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(str(file), f"is not UTF-8 at byte {error.start}") from error


@click.command(name="attack-sim", epilog=ATTACK_EPILOG)
@click.option(
    "--trials",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    help="Trials of each attack.",
)
@click.option(
    "--evaluators",
    type=click.IntRange(1, 127),
    multiple=True,
    default=(4, 7, 13, 31),
    show_default=True,
    help="Size of the committee (repeatable); f of n lie.",
)
@click.option("--liars", type=click.IntRange(0), help="How many lie.  [default: f]")
@click.option("--strategy", "names", multiple=True, help="Only this attack (repeatable).")
@click.option(
    "--worlds",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="Histories of the sleeper attack for each size; 0 leaves it out.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the draws.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def attack_sim(
    trials: int,
    evaluators: tuple[int, ...],
    liars: int | None,
    names: tuple[str, ...],
    worlds: int,
    seed: int,
    *,
    as_json: bool,
) -> None:
    """Draw what f lying evaluators of n can do to each average, and who gains (Monte Carlo)."""
    from meridian.cli.average_tables import print_cells, print_slept
    from meridian.sim.attack.sleeper import run_sleepers
    from meridian.sim.attack.strategies import STRATEGIES
    from meridian.sim.attack.trials import run_trials

    known = {strategy.name: strategy for strategy in STRATEGIES}
    for name in names:
        if name not in known:
            raise InvalidInput("--strategy", f"{name!r} is not one of {', '.join(known)}")
    chosen = [known[name] for name in names] or list(STRATEGIES)
    cells, slept = [], []
    with ProgressDisplay(quiet=as_json) as display:
        for n in evaluators:
            step = f"{n} evaluators"
            cells += run_trials(n, trials, seed, chosen, liars, counting(display, step, trials))
            if worlds and not names and liars is None:
                step += ", sleepers"
                slept.append(run_sleepers(n, worlds, seed, counting(display, step, worlds)))
    if as_json:
        document: dict[str, Any] = {
            "seed": seed,
            "cells": [asdict(cell) for cell in cells],
            "sleepers": [asdict(one) for one in slept],
        }
        click.echo(json.dumps(document))
    else:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=WIDTH)
        print_cells(console, cells, chosen)
        print_slept(console, slept)
    if any(cell.outside for cell in cells if cell.method == "wmedian"):
        click.echo(f"wmedian left the honest range; repeat with --seed {seed}", err=True)
        raise click.exceptions.Exit(OUTSIDE)
