"""What the processes of a Nym-Api have in common, with its own contract and on a chain: command line and end."""

import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

import click

from meridian.errors import MeridianError
from meridian.node.process import bound_recursion, serve_until_stopped, start_logging


class Closable(Protocol):
    """What a process closes at its end."""

    async def close(self) -> None:
        """Release everything."""
        ...


async def close_quietly(part: Closable) -> None:
    """Close a part; what it cannot finish has ended the process already, or does not matter any more."""
    with contextlib.suppress(MeridianError):
        await part.close()


def api_command(
    serve: Callable[[Path, int], Coroutine[Any, Any, None]], text: str
) -> click.Command:
    """Return the command line of one Nym-Api: ``--data-dir DIR --number N``.

    Args:
        serve: Runs Nym-Api number N of the directory until cancelled.
        text: What ``--help`` says.
    """

    @click.command(help=text)
    @click.option("--data-dir", type=click.Path(path_type=Path, exists=True), required=True)
    @click.option("--number", type=click.IntRange(min=1), required=True)
    def command(data_dir: Path, number: int) -> None:
        bound_recursion()
        start_logging(f"nym-api-{number}")
        raise SystemExit(serve_until_stopped(lambda: serve(data_dir, number)))

    return command
