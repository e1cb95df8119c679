"""`meridian status` and `meridian top`: one screen for the operator."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

UNWELL: Final = 1
UNREACHABLE: Final = 4

_process_dirs = click.option(
    "--process-dir",
    "elsewhere",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Directory of a process that is not below DATA_DIR; may be repeated.",
)


@click.command()
@click.argument("data_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@_process_dirs
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def status(data_dir: Path, elsewhere: tuple[Path, ...], *, as_json: bool) -> None:
    """Show on one screen how a network is: problems first, with what to do about them.

    DATA_DIR holds network.json; the processes whose directories lie below it are asked. Exits with 0 if all is well, 1 if
    something is wrong, 4 if the chain cannot be reached.
    """
    from rich.console import Console

    from meridian.cli.status_screen import screen
    from meridian.node.network_status import network_status

    document = network_status(data_dir, elsewhere)
    if as_json:
        print(json.dumps(document))
    else:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=118)
        console.print(screen(document))
    sys.exit(_code(document))


def _code(document: Mapping[str, Any]) -> int:
    if document["well"]:
        return 0
    return UNWELL if document["chain"]["reached"] else UNREACHABLE


@click.command()
@click.argument("data_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@_process_dirs
@click.option(
    "--every-s",
    type=click.FloatRange(min=0.2, max=3600),
    default=2.0,
    show_default=True,
    help="Pause between two looks.",
)
def top(data_dir: Path, elsewhere: tuple[Path, ...], every_s: float) -> None:
    """Show `meridian status` live, until q or Ctrl-C. Where the output is no terminal, it looks once."""
    from rich.console import Console
    from rich.live import Live

    from meridian.cli.status_screen import screen
    from meridian.node.network_status import network_status

    console = Console(highlight=False)
    if not console.is_terminal:
        console.print(screen(network_status(data_dir, elsewhere)))
        return
    with _keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                live.update(screen(network_status(data_dir, elsewhere), live=True), refresh=True)
                if keys(every_s) in {"q", "Q"}:
                    return
        except KeyboardInterrupt:
            return


@contextmanager
def _keys() -> Iterator[Any]:
    """Give a function that waits for a key for so many seconds; "" if none came. The terminal is as before afterwards."""
    import select
    import termios
    import time
    import tty

    def pause(wait_s: float) -> str:
        time.sleep(wait_s)
        return ""

    if not sys.stdin.isatty():
        yield pause
        return

    def wait(wait_s: float) -> str:
        ready, _, _ = select.select([sys.stdin], [], [], wait_s)
        return sys.stdin.read(1) if ready else ""

    before: Sequence[Any] = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield wait
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, list(before))
