"""`meridian seal`: end an epoch at one's own measure service, and wait until it is committed."""

import contextlib
import json
from pathlib import Path

import click


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True,
              help="The network's directory, with network.json.")  # fmt: skip
@click.option(
    "--epoch", type=click.IntRange(min=0), required=True, help="The epoch, which is over."
)
@click.option("--token-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True,
              help="First line = the administrator's bearer token.")  # fmt: skip
@click.option("--wait-s", type=click.FloatRange(min=0), default=600.0, show_default=True,
              help="Longest wait for the commitment.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def seal(data_dir: Path, epoch: int, token_file: Path, wait_s: float, *, as_json: bool) -> None:
    """Seal an epoch that is over, and wait until it stands on the chain. The same again changes nothing.

    Epochs are sealed in order; jobs that come later count as late in the next one.
    """
    from meridian.node.measure.client import MeasureClient
    from meridian.node.network_file import NetworkFile

    token = token_file.read_text("utf-8").split("\n", 1)[0].strip()
    url = NetworkFile.load(data_dir).measure_url
    with contextlib.closing(MeasureClient(url, "", token)) as client:
        client.seal(epoch)
        index = client.wait_committed(epoch, wait_s)
    if as_json:
        click.echo(json.dumps(index))
    else:
        click.echo(f"epoch {epoch} is committed: manifest {index['manifest']}")
