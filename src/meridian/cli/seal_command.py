"""`meridian seal`: end an epoch at one's own measure service, and wait until it is committed."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meridian.cli.end_signals import ended_by_sigterm
from meridian.errors import MeridianError

if TYPE_CHECKING:
    from meridian.node.measure.client import MeasureClient
    from meridian.node.network_file import NetworkFile


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True,
              help="The network's directory, with network.json.")  # fmt: skip
@click.option(
    "--epoch",
    type=click.IntRange(min=0),
    help="The epoch, which is over.  [default: every one that is over]",
)
@click.option("--token-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True,
              help="First line = the administrator's bearer token.")  # fmt: skip
@click.option("--wait-s", type=click.FloatRange(min=0), default=600.0, show_default=True,
              help="Longest wait for the commitment.")  # fmt: skip
@click.option("--every-s", type=click.FloatRange(min=0.1, max=86_400),
              help="Go on, and look again after so many seconds (Ctrl-C or SIGTERM ends it).  [default: look once]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object per epoch instead of text.")
def seal(
    data_dir: Path,
    epoch: int | None,
    token_file: Path,
    wait_s: float,
    every_s: float | None,
    *,
    as_json: bool,
) -> None:
    """Seal an epoch that is over, and wait until it stands on the chain. The same again changes nothing.

    Epochs are sealed in order; jobs that come later count as late in the next one. Somebody must do this in each epoch:
    a service never closes one by itself, so that its operator decides how long the last jobs are waited for.
    """
    from meridian.node.network_file import NetworkFile

    if epoch is not None and every_s is not None:
        raise click.UsageError("--every-s is for every epoch that is over, not for --epoch")
    token = token_file.read_text("utf-8").split("\n", 1)[0].strip()
    network = NetworkFile.load(data_dir)
    if every_s is None:
        told = [_tell(one, as_json=as_json) for one in _sealed(network, token, epoch, wait_s)]
        if not (told or as_json):
            click.echo("no epoch is over")
        return
    with contextlib.suppress(KeyboardInterrupt), ended_by_sigterm():
        while True:
            try:
                for one in _sealed(network, token, None, wait_s):
                    _tell(one, as_json=as_json)
            except MeridianError as error:
                click.echo(f"meridian: {error}", err=True)
            time.sleep(every_s)


def _tell(index: dict[str, Any], *, as_json: bool) -> int:
    """Print what became of an epoch, and return its number."""
    if as_json:
        click.echo(json.dumps(index))
    else:
        click.echo(f"epoch {index['epoch']} is committed: manifest {index['manifest']}")
    return int(index["epoch"])


def _sealed(
    network: "NetworkFile", token: str, epoch: int | None, wait_s: float
) -> Iterator[dict[str, Any]]:
    """Yield the index of each epoch that is sealed and committed now."""
    from meridian.node.measure.client import MeasureClient

    with contextlib.closing(MeasureClient(network.measure_url, "", token)) as client:
        for one in _over(network, client) if epoch is None else (epoch,):
            client.seal(one)
            yield client.wait_committed(one, wait_s)


def _over(network: "NetworkFile", client: "MeasureClient") -> range:
    """Return the epochs that are over by the service's own clock, and open there."""
    stands = client.epochs()
    return range(stands["open_epoch"], network.calendar.epoch_of(stands["clock_us"]))
