"""`meridian complaint`: what those who answer for nodes say about epochs, filed, listed and answered."""

import json
import time
from pathlib import Path
from typing import Any, Final

import click

from meridian.cli.chain_session import json_option, passphrase_option

TEXT_SHOWN: Final = 60
ID_SHOWN: Final = 12

_data_dir = click.argument(
    "data_dir", type=click.Path(path_type=Path, exists=True, file_okay=False)
)


@click.group()
def complaint() -> None:
    """File, list and answer complaints about epochs."""


@complaint.command()
@_data_dir
@click.option("--node", "node_id", required=True, metavar="ID", help="The node's id.")
@click.option("--epoch", type=click.IntRange(min=0), required=True, help="What it is about.")
@click.option("--text", required=True, help="What is wrong, at most 2000 bytes.")
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Key of the node's operator or payee: encrypted JSON, or 64 hex digits that only you may read.",
)
@passphrase_option
@click.option("--url", required=True, help="The explorer's, such as http://127.0.0.1:8640/.")
@json_option
def file(
    data_dir: Path,
    *,
    node_id: str,
    epoch: int,
    text: str,
    key_file: Path,
    passphrase_file: Path | None,
    url: str,
    as_json: bool,
) -> None:
    """Sign a complaint about an epoch and file it with an explorer.

    DATA_DIR holds the network's network.json. The same complaint again changes nothing.
    """
    from meridian.cli.chain_session import read_passphrase
    from meridian.node.encrypted_key import open_key
    from meridian.node.network_file import NetworkFile
    from meridian.node.web.complaint_client import file_complaint
    from meridian.node.web.complaint_request import ComplaintRequest

    network = NetworkFile.load(data_dir)
    key = open_key(key_file, lambda: read_passphrase(passphrase_file))
    request = ComplaintRequest.sign(network, node_id, epoch, text, int(time.time()), key)
    kept = file_complaint(url, request)
    _show([kept], as_json=as_json)


@complaint.command("list")
@_data_dir
@click.option("--epoch", type=click.IntRange(min=0), help="Only those about this epoch.")
@click.option(
    "--state", type=click.Choice(["open", "answered", "proved"]), help="Only those in this state."
)
@json_option
def list_(data_dir: Path, *, epoch: int | None, state: str | None, as_json: bool) -> None:
    """List the complaints that the explorer of DATA_DIR has taken in, newest first."""
    with _store(data_dir) as store:
        found = [one.document() for one in store.newest()]
    _show(
        [
            one
            for one in found
            if (epoch is None or one["epoch"] == epoch) and (state is None or one["state"] == state)
        ],
        as_json=as_json,
    )


@complaint.command()
@_data_dir
@click.argument("complaint_id")
@click.option("--text", required=True, help="The answer, shown beside the complaint.")
def answer(data_dir: Path, complaint_id: str, text: str) -> None:
    """Answer the complaint whose id begins with COMPLAINT_ID; a later answer takes the place of an earlier one."""
    with _store(data_dir) as store:
        one = store.find(complaint_id)
        store.answer(one.id, text)
    click.echo(f"answered {one.id.hex()[:ID_SHOWN]} of {one.node_id} about epoch {one.epoch}")


def _store(data_dir: Path) -> Any:
    import contextlib

    from meridian.errors import NotFound
    from meridian.node.web.complaint_store import ComplaintStore
    from meridian.node.web.options import complaints_file

    path = complaints_file(data_dir)
    if not path.is_file():
        raise NotFound(f"{path}: no complaints here; `meridian web {data_dir}` takes them in")
    return contextlib.closing(ComplaintStore(path))


def _show(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"complaints": found}))
        return
    for one in found:
        text = " ".join(one["text"].split())
        shown = text if len(text) <= TEXT_SHOWN else text[: TEXT_SHOWN - 1] + "…"
        line = f"{one['id'][:ID_SHOWN]}  epoch {one['epoch']:<6} {one['state']:<9} {one['nodeId']}  {shown}"
        click.echo(line)
        if one["answer"] is not None:
            click.echo(f"{'':{ID_SHOWN}}  answer: {' '.join(one['answer'].split())}")
    click.echo(f"{len(found)} complaint{'' if len(found) == 1 else 's'}")
