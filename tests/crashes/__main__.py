"""`python -m tests.crashes`: kill a measure service at random moments under load, and look for what was lost."""

import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import click
from tests.crashes.broken_disk import compiler
from tests.crashes.rig import run


@click.command()
@click.option("--moments", type=int, default=200, help="How often the service ends.")
@click.option("--seed", type=int, default=1, help="Order of the faults.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Work here and keep all.")
def command(moments: int, seed: int, folder: Path | None) -> int:
    """End a measure service at random moments under load; 0 if nothing was lost, doubled or promised in vain."""
    if compiler() is None:
        click.echo("error: a C compiler is needed, for the disk that fails", err=True)
        return 2
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crashes-") as temporary:
        found = run(folder or Path(temporary), moments, seed)
    document = asdict(found) | {"seed": seed, "seconds": round(time.monotonic() - started)}
    click.echo(json.dumps(document, indent=1))
    if found.faults:
        click.echo(f"{len(found.faults)} faults; replay: --seed {seed}", err=True)
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(command.main(standalone_mode=False))
