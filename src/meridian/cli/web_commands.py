"""`meridian web`: the explorer of a network, as a directory of files and as a server."""

import contextlib
import json
from pathlib import Path
from typing import Any, Final

import click

from meridian.cli.audit_commands import json_option
from meridian.node.web.options import DEFAULT_HOST, DEFAULT_PORT

_SERVE: Final = "serve"


class _ServesByDefault(click.Group):
    """Takes a directory where a command could stand for `serve DIRECTORY`."""

    default = _SERVE

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names, else `serve` with all arguments."""
        if args and args[0] not in self.commands:
            return self.default, self.commands[self.default], args
        return super().resolve_command(ctx, args)


@click.group(cls=_ServesByDefault, context_settings={"ignore_unknown_options": True})
def web() -> None:
    """The explorer: `meridian web DATA_DIR` serves it, `meridian web build` writes it for any web server."""


@web.command(_SERVE)
@click.argument("data_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the site's files are written.  [default: web/site in DATA_DIR]",
)
@click.option("--host", default=DEFAULT_HOST, show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=DEFAULT_PORT, show_default=True, help="Port to listen on; 0: any free one."
)
def serve(**values: Any) -> None:
    """Serve the explorer of the network in DATA_DIR, and keep it up to date (Ctrl-C stops it cleanly).

    Everything on the pages comes from the chain and the published artefacts. Who answers for a node can file a
    complaint from its page; `meridian complaint` lists and answers them.
    """
    from meridian.node.process import start_logging
    from meridian.node.web.options import WebOptions
    from meridian.node.web.service import run

    def ready(url: str) -> None:
        click.echo(f"explorer: {url}  (Ctrl-C stops it)")

    start_logging("web")
    raise SystemExit(run(WebOptions(**values), ready))


@web.command()
@click.argument("data_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The site's directory; what is there already is brought up to date.",
)
@click.option(
    "--jobs-max",
    type=click.IntRange(min=0),
    default=200_000,
    show_default=True,
    help="Jobs are kept one by one of epochs with at most so many.",
)
@json_option
def build(data_dir: Path, out: Path, jobs_max: int, *, as_json: bool) -> None:
    """Write the explorer of the network in DATA_DIR as files that any web server can serve.

    Run it again after an epoch: only what is new is read. `python -m http.server -d SITE` is enough to look at it.
    """
    from meridian.node.explorer.site_builder import SiteBuilder

    with contextlib.closing(SiteBuilder(data_dir, out, jobs_max)) as builder:
        changed = builder.update()
    if as_json:
        click.echo(json.dumps({"site": str(out), "changed": changed}))
        return
    said = f"{len(changed)} epochs are new or have changed" if changed else "nothing is new"
    click.echo(f"{out}: {said}")
