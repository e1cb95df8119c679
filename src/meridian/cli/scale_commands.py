"""`meridian scale`, `scheduler` and `worker`: more machines than one."""

from pathlib import Path

import click

_CONFIG = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Its configuration file (TOML).",
)


@click.group()
def scale() -> None:
    """Workers on several machines: their certificates."""


@scale.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), required=True,
              help="Where the files go; made when absent, and must not hold any of them.")  # fmt: skip
@click.option("--days", type=click.IntRange(1, 3_650), default=365, show_default=True,
              help="How long the certificates are valid.")  # fmt: skip
def keys(directory: Path, days: int) -> None:
    """Make the certificates of a scheduler, its workers and its clients, under an authority of their own.

    Copy ca.pem and ROLE.pem with ROLE-key.pem to each scheduler, worker and client. The authority's key is not kept: to
    shut somebody out, make all of them again.
    """
    from datetime import UTC, datetime

    from meridian.errors import InvalidInput
    from meridian.node.durable_file import write_durably
    from meridian.scale.certificates import make_certificates

    files = make_certificates(datetime.now(UTC), days)
    there = [name for name in files if (directory / name).exists()]
    if there:
        raise InvalidInput("--dir", f"{directory} has {there[0]} already")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, data in files.items():
        write_durably(directory / name, data, 0o600 if name.endswith("-key.pem") else 0o644)
    print(f"{len(files)} files in {directory}, valid for {days} days")


@click.command()
@_CONFIG
def scheduler(path: Path) -> None:
    """Run the scheduler of a pool of workers (Ctrl-C stops it)."""
    from meridian.node.workers.process import run_scheduler

    raise SystemExit(run_scheduler(path))


@click.command()
@_CONFIG
def worker(path: Path) -> None:
    """Run a worker: one process, one task at a time (Ctrl-C stops it)."""
    from meridian.node.workers.process import run_worker

    raise SystemExit(run_worker(path))
