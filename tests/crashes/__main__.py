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
@click.option("--json", "as_json", is_flag=True, help="Everything that was counted.")
def command(
    *, moments: int, seals: int | None, jobs: int, seed: int, folder: Path | None, as_json: bool
) -> int:
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
    seconds = round(time.monotonic() - started)
    if as_json:
        click.echo(json.dumps(asdict(found) | {"seed": seed, "seconds": seconds}, indent=1))
    else:
        for fault in found.faults:
            click.echo(f"fault: {fault}")
        outcome = (
            f"{len(found.faults)} FAULTS" if found.faults else "nothing lost, doubled or damaged"
        )
        click.echo(f"{outcome}: {summary(found)}; --seed {seed}, {seconds} s")
    return 1 if found.faults else 0


def summary(found: Findings | SealFindings) -> str:
    """Return what a run has done, in one line."""
    if isinstance(found, SealFindings):
        return (
            f"{found.kills} kills, {found.inside} of them inside a seal of {found.jobs:,} jobs "
            f"({found.seal_s:.1f} s), {found.seals} sealed in the end to the same root and manifest"
        )
    ends = ", ".join(f"{count} {how}" for how, count in sorted(found.rounds.items()))
    return (
        f"{sum(found.rounds.values())} ends ({ends}), fsck after each; {found.jobs:,} jobs acknowledged in "
        f"{found.batches:,} batches ({found.resent:,} resent) over {found.epochs} epochs; "
        f"losses of power took {found.cut_bytes:,} bytes of the log"
    )


if __name__ == "__main__":
    sys.exit(command.main(standalone_mode=False))
