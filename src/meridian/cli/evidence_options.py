"""The options that say where evidence is read: a directory or a URL, and whose word about the chain is taken."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from meridian.cli.memory_size import MEMORY

_OPTIONS: Final = (
    click.option(
        "--data-dir",
        type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
        help="A run's directory: network.json and the publications.",
    ),
    click.option(
        "--from",
        "url",
        metavar="URL",
        help="The same, as any web server publishes it; nothing that it says is believed.",
    ),
    click.option(
        "--rpc-url",
        metavar="URL",
        help="The endpoint of the chain that you trust.  [default: the network file's]",
    ),
    click.option(
        "--private-layers",
        type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
        help="Directory with private bundles of sealed fraud layers: their weights are recomputed too.",
    ),
    click.option(
        "--memory",
        "memory_mib",
        type=MEMORY,
        default="2GiB",
        show_default=True,
        metavar="SIZE",
        help="How much memory an epoch may need, as 512MiB or 4GiB; jobs beyond it lie in temporary files meanwhile.",
    ),
)


def evidence_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options: `data_dir`, `url`, `rpc_url`, `private_layers`, `memory_mib`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def one_place(data_dir: Path | None, url: str | None) -> None:
    """Refuse to read from nowhere, or from two places."""
    if (data_dir is None) == (url is None):
        raise click.UsageError("give either --data-dir DIRECTORY or --from URL")
