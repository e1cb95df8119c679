"""`meridian serve`: one server process in the foreground, from its configuration file."""

from pathlib import Path

import click

from meridian.cli.memory_size import MEMORY


@click.group()
def serve() -> None:
    """Run one server process in the foreground (Ctrl-C stops it cleanly)."""


@serve.command()
@click.option(
    "--config", "path", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True
)
@click.option("--memory", type=MEMORY, help="What a seal may use; default: as configured (2GiB).")
def measure(path: Path, memory: int | None) -> None:
    """Run a measure service: HTTP ingest, receipts, seals and commitments."""
    from meridian.node.measure.service import main

    more = [] if memory is None else ["--memory-mib", str(memory)]
    raise SystemExit(main(["--config", str(path), *more]))


@serve.command()
@click.option(
    "--config", "path", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True
)
def evaluator(path: Path) -> None:
    """Run an evaluator: checks commitments, evaluates, agrees, attests, transmits."""
    from meridian.node.evaluator.process import main

    raise SystemExit(main(["--config", str(path)]))


@serve.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def chain(arguments: tuple[str, ...]) -> None:
    """Run the embedded chain; `meridian serve chain -- --help` lists its options."""
    from meridian.node.chain.embedded import main

    raise SystemExit(main(list(arguments)))
