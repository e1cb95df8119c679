"""`meridian spark`: SPARK's own evaluation on its own files, without a network."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from meridian.evaluate.spark.round_lines import EvaluatedRound

WIDTH: Final = 140
"""Columns where the output is no terminal."""


@click.group()
def spark() -> None:
    """Evaluate SPARK rounds exactly as spark-evaluate does."""


@spark.command("evaluate-rounds")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object for each line, not a table."
)
def evaluate_rounds(file: Path, *, as_json: bool) -> None:
    """Evaluate the rounds of FILE (.gz too), one JSON object a line.

    A line holds randomness, required_committee_size, round_details and measurements. Printed for each line are its
    verdicts ([tasking, consensus or null], in the order of the measurements), the scores (participant to part of 10^15),
    and the committee_decisions ("cid::minerId" to [index majority found, indexer result, retrieval majority found,
    retrieval result]).

    A measurement without a station, an inet group or a time has the verdicts [null, null] and is named on standard
    error. At a line that is no round the command ends with code 2; what was printed before stands.
    """
    rounds = _evaluated(file)
    if not as_json:
        _print_table(rounds)
        return
    for _, evaluated in rounds:
        click.echo(json.dumps(evaluated.document(), separators=(",", ":")))


@spark.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--stations", default=60, show_default=True, help="30 or more, or nobody is paid.")
@click.option("--measurements", default=6_000, show_default=True, help="Over all rounds.")
@click.option("--rounds", default=2, show_default=True, help="Of 20 minutes each.")
@click.option("--seed", default=1, show_default=True, help="Seed of the generator.")
def generate(directory: Path, stations: int, measurements: int, rounds: int, seed: int) -> None:
    """Write made-up raw measurements and rounds to DIRECTORY, as `meridian run --network spark` reads them."""
    from meridian.networks.generator import Traffic
    from meridian.networks.spark_generator import is_round, lines

    traffic = Traffic(seed=seed, jobs=measurements, nodes=stations, epochs=rounds)
    directory.mkdir(parents=True, exist_ok=True)
    paths = directory / "rounds.ndjson", directory / "measurements.ndjson"
    with paths[0].open("wb") as told, paths[1].open("wb") as measured:
        for line in lines(traffic):
            (told if is_round(line) else measured).write(line + b"\n")
    click.echo("\n".join(map(str, paths)))


def _evaluated(file: Path) -> Iterator[tuple[int, "EvaluatedRound"]]:
    from meridian.errors import InvalidInput
    from meridian.evaluate.spark.round_lines import evaluate, read_round
    from meridian.networks.files import lines_of

    for number, line in lines_of(file):
        try:
            evaluated = evaluate(read_round(line))
        except InvalidInput as error:
            raise InvalidInput(f"{file} line {number}: {error.field}", error.reason) from None
        for place, reason in sorted(evaluated.refused.items()):
            click.echo(f"line {number}: measurements[{place}] is refused: {reason}", err=True)
        yield number, evaluated


def _print_table(rounds: Iterator[tuple[int, "EvaluatedRound"]]) -> None:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from meridian.evaluate.spark.verdicts import LABELS

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(WIDTH, console.width))
    table = Table(title="Measurements by verdict", title_justify="left", title_style="bold")
    for name in ("line", "all", *(label.replace("_", " ").lower() for label in LABELS), "paid"):
        table.add_column(name, justify="right")
    totals = np.zeros(len(LABELS), dtype=np.int64)
    lines = 0
    for number, evaluated in rounds:
        lines += 1
        codes = evaluated.verdicts.codes
        counts = np.bincount(codes, minlength=len(LABELS))
        totals += counts
        cells = (number, len(codes), *counts.tolist(), len(evaluated.scores))
        table.add_row(*(f"{cell:,}" for cell in cells))
    table.add_section()
    table.add_row(
        f"{lines:,} lines", f"{totals.sum():,}", *(f"{count:,}" for count in totals), style="bold"
    )
    console.print(table)
    console.print("paid: participants with a score, the burner of remainders among them.")
