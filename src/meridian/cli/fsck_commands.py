"""`meridian fsck`: check a measure service's directory."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from meridian.cli.epoch_range import EPOCHS
from meridian.node.measure.fsck import check, leftovers


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--epochs", type=EPOCHS, metavar="A..B", help="Check these epochs alone, and not the logs."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def fsck(directory: Path, epochs: range | None, as_json: bool) -> int:
    """Check the data directory of a stopped measure service, or a publication.

    Derives the root of every epoch again from its segments, reads the job log, and compares the epoch log with its
    checkpoint. One segment is in memory at a time. Changes nothing. Ends with 1 if something is wrong.
    """
    found = list(check(directory, lambda text: click.echo(f"checking {text}", err=True), epochs))
    left = [str(path.relative_to(directory)) for path in leftovers(directory)]
    if as_json:
        document = {"problems": [asdict(one) for one in found], "leftovers": left}
        click.echo(json.dumps(document))
    else:
        for name in left:
            click.echo(f"{name}: left over by a write that was cut off; nobody reads it")
        for one in found:
            click.echo(f"{one.file}: {one.reason}")
        click.echo(f"{len(found)} problems" if found else "clean")
    return 1 if found else 0
