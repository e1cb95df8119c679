"""`python -m tests.crashes`: kill a measure service at random moments under load, and look for what was lost."""

import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import click
from tests.crashes.broken_disk import compiler
from tests.crashes.rig import Findings, run
from tests.crashes.seal_kills import SealFindings, run_seals


@click.command()
@click.option("--moments", type=int, default=200, help="How often the service ends.")
@click.option("--seals", type=int, help="Instead, how often it is killed while it seals.")
@click.option("--jobs", type=int, default=200_000, help="Jobs of the epoch that is sealed.")
@click.option("--seed", type=int, default=1, help="Order of the faults.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Work here and keep all.")
def command(moments: int, seals: int | None, jobs: int, seed: int, folder: Path | None) -> int:
    """End a measure service at random moments under load; 0 if nothing was lost, doubled or promised in vain."""
    if seals is None and compiler() is None:
        click.echo("error: a C compiler is needed, for the disk that fails", err=True)
        return 2
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crashes-") as temporary:
        root = folder or Path(temporary)
        found: Findings | SealFindings = (
            run(root, moments, seed) if seals is None else run_seals(root, jobs, seals, seed)
        )
    document = asdict(found) | {"seed": seed, "seconds": round(time.monotonic() - started)}
    click.echo(json.dumps(document, indent=1))
    if found.faults:
        click.echo(f"{len(found.faults)} faults; replay: --seed {seed}", err=True)
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(command.main(standalone_mode=False))
