"""`--config FILE` of commands: values for their options from a role's TOML file; what stands on the command line counts."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click


def config_option(
    read: Callable[[Path], Mapping[str, Any]], role: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option; `read` gives the options' values by their parameters' names, None for what is not said."""

    def fill(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
        if path is not None:
            said = {name: value for name, value in read(path).items() if value is not None}
            context.default_map = {**(context.default_map or {}), **said}
        return path

    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False),
        is_eager=True,
        expose_value=False,
        callback=fill,
        help=f"{role}.toml, as `meridian init {role}` writes it: values for the other options.",
    )
