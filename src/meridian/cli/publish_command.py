"""`meridian publish`: a network's public files in a bucket, from where anybody verifies."""

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import click

from meridian.cli.chain_session import json_option


@click.command()
@click.option(
    "--data-dir",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    help="A network's directory: network.json and the publications.",
)
@click.option(
    "--store",
    "settings",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True),
    help="A file that describes the bucket, as [store] does (kind s3).",
)
@json_option
def publish(data_dir: Path, settings: Path, *, as_json: bool) -> None:
    """Put everything public of a network into an S3 bucket: artefacts, indices, the epoch log, network.json.

    What is there stays, so the command can be run again after each epoch. Where the public reads the bucket over HTTP,
    anybody then checks an epoch with `meridian verify --from URL --epoch N`, the URL being that of network.json without its name.
    """
    from meridian.cli.progress import ProgressDisplay
    from meridian.errors import InvalidInput
    from meridian.node import config_file
    from meridian.node.mirror import mirror
    from meridian.node.stores.config import StoreConfig
    from meridian.node.stores.s3 import S3Store

    store = config_file.load(settings, StoreConfig).open()
    if not isinstance(store, S3Store):
        raise InvalidInput("--store", f"{settings} describes no bucket: its kind is not s3")
    with closing(store), ProgressDisplay(quiet=as_json) as display:
        found = mirror(data_dir, store, lambda done, of: display.progress("files put", done, of))
    if as_json:
        click.echo(json.dumps(asdict(found) | {"url": store.url}))
        return
    click.echo(f"{found.put} of {found.files} files put, {found.put_bytes:,} bytes")
    click.echo(f"where the public reads it: meridian verify --from {store.url} --epoch N")
