"""`meridian init`: the files of a role in a network, from a few questions or flags."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from meridian.cli.chain_session import json_option
from meridian.errors import InvalidInput

EPILOG = """\b
A new network, in this order:
  meridian init aggregator --network-dir net            makes its key, prints its account
  meridian init sponsor --network-dir net               what the network is
  meridian chain deploy --config net/sponsor/sponsor.toml --yes
  meridian init aggregator --network-dir net            now its configuration, and net/network.json
  meridian init evaluator --network-dir net
  meridian init node --network-dir net
"""

_HOST, _RPC = "127.0.0.1", "http://127.0.0.1:8545"


@click.group(epilog=EPILOG)
def init() -> None:
    """Write a role's configuration, with a comment on every key, and make its keys.

    Whatever is not given by a flag is asked for on a terminal. Files that are there already are not replaced without
    --overwrite; keys never are.
    """


def _place_options(role: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    options = [
        click.option(
            "--network-dir",
            type=click.Path(path_type=Path, file_okay=False),
            required=True,
            help="The network's directory: deployment.json, network.json, artefacts.",
        ),
        click.option(
            "--dir",
            "directory",
            type=click.Path(path_type=Path, file_okay=False),
            help=f"Where the files of this role go.  [default: {role}/ in the network's directory]",
        ),
        click.option("--overwrite", is_flag=True, help="Replace a configuration that is there."),
        json_option,
    ]

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _listen_options(port: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        port_type = click.IntRange(1, 65_535)
        command = click.option("--port", type=port_type, help=f"Port to listen on.  [default: {port}]")(command)  # fmt: skip
        return click.option("--host", help=f"Address to listen on.  [default: {_HOST}]")(command)

    return add


def _ask(option: str, given: Any, question: str, default: Any = None) -> Any:
    """Return what was given, else what the person at the terminal says, else the default."""
    if given not in (None, ()):
        return given
    if sys.stdin.isatty():
        kind = type(default) if default is not None else str
        return click.prompt(question, default=default, type=kind, err=True)
    if default is None:
        raise InvalidInput(option, f"is needed ({question}); there is no terminal to ask on")
    return default


def _place(network_dir: Path, directory: Path | None, role: str, *, overwrite: bool) -> Any:
    from meridian.networks.roles import Place

    return Place(
        directory=directory or network_dir / role, network_dir=network_dir, overwrite=overwrite
    )


def _tell(prepared: Any, *, as_json: bool) -> None:
    from meridian.primitives.ids import address_text

    files = [str(path) for path in prepared.files]
    account = address_text(prepared.account)
    if as_json:
        click.echo(json.dumps({"files": files, "account": account, "next": list(prepared.next)}))
        return
    for path in files:
        click.echo(f"wrote {path}")
    click.echo(f"account {account}")
    for line in prepared.next:
        click.echo(f"next: {line}")


@init.command()
@_place_options("sponsor")
@click.option("--network", help="The network's name.")
@click.option("--rpc-url", help=f"The chain's JSON-RPC endpoint.  [default: {_RPC}]")
@click.option("--aggregator", "aggregators", multiple=True, metavar="ACCOUNT",
              help="May commit epochs (`meridian init aggregator` prints it); may be repeated.")  # fmt: skip
@click.option("--like", help="A network that ships: its records and its function.")
@click.option("--integer", "integers", multiple=True, metavar="NAME",
              help="A field of a job that is an integer of 0 or more; may be repeated.")  # fmt: skip
@click.option("--text", "texts", multiple=True, metavar="NAME",
              help="A field of a job that is a text; may be repeated.")  # fmt: skip
@click.option("--function", help="A shipped function or a bundle's file.  [default: count]")
@click.option(
    "--epoch-seconds", type=click.IntRange(1), help="Length of an epoch.  [default: 3600]"
)
@click.option("--genesis-s", type=click.IntRange(1),
              help="When the first epoch starts, Unix seconds.  [default: in ten minutes]")  # fmt: skip
@click.option("--challenge-seconds", type=click.IntRange(0),
              help="How long a report can be disputed before it pays.  [default: 86400]")  # fmt: skip
@click.option("--referee", "referees", multiple=True, metavar="ACCOUNT",
              help="Rules on what arithmetic cannot settle; with one, reports can be disputed; may be repeated.")  # fmt: skip
@click.option("--epochs", type=click.IntRange(1), help="How many epochs are funded.  [default: 1]")
@click.option("--each", help="Coins for each of them.  [default: 1000]")
def sponsor(
    network_dir: Path,
    directory: Path | None,
    *,
    overwrite: bool,
    as_json: bool,
    like: str | None,
    integers: tuple[str, ...],
    texts: tuple[str, ...],
    function: str | None,
    genesis_s: int | None,
    referees: tuple[str, ...],
    **given: Any,
) -> None:
    """What a network is: records, contracts, money. Read by `meridian chain deploy` and `meridian chain fund`."""
    from meridian.networks import roles

    aggregators = _ask("--aggregator", given["aggregators"], "Account of the aggregator")
    records: dict[str, Any] = {"integers": integers, "texts": texts, "sums": integers[:2]}
    if not integers and not texts:
        like = _ask("--like", like, "Records and function of which network that ships", "saturn")
    contracts: dict[str, Any] = {
        "aggregators": [aggregators] if isinstance(aggregators, str) else list(aggregators),
        "epoch_seconds": _ask(
            "--epoch-seconds", given["epoch_seconds"], "Seconds of an epoch", 3600
        ),
        "challenge_seconds": _ask(
            "--challenge-seconds", given["challenge_seconds"], "Seconds for disputes", 86_400
        ),
    }
    if genesis_s is not None:
        contracts["genesis_s"] = genesis_s
    if referees:
        contracts["disputes"] = {**roles.DISPUTES, "referees": list(referees)}
    answers = {
        "network": _ask("--network", given["network"], "Name of the network"),
        "rpc_url": _ask("--rpc-url", given["rpc_url"], "The chain's JSON-RPC endpoint", _RPC),
        "records": {"like": like} if like else {**records, "function": function or "count"},
        "contracts": contracts,
        "fund": {
            "epochs": _ask("--epochs", given["epochs"], "How many epochs are funded", 1),
            "each": _ask("--each", given["each"], "Coins for each epoch", "1000"),
        },
    }
    place = _place(network_dir, directory, "sponsor", overwrite=overwrite)
    _tell(roles.sponsor(place, answers), as_json=as_json)


@init.command()
@_place_options("aggregator")
@_listen_options(7390)
@click.option("--publication", "publications", multiple=True, metavar="URL|DIR",
              help="Where an evaluator publishes; may be repeated.")  # fmt: skip
def aggregator(
    network_dir: Path,
    directory: Path | None,
    host: str | None,
    port: int | None,
    publications: tuple[str, ...],
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Who takes jobs and commits epochs. Read by `meridian serve measure`.

    Before the contracts are deployed it makes the key and prints its account, for the sponsor; after that it writes the
    configuration, and the public network.json for everybody.
    """
    from meridian.networks import roles

    place = _place(network_dir, directory, "aggregator", overwrite=overwrite)
    host = _ask("--host", host, "Address to listen on", _HOST)
    port = _ask("--port", port, "Port to listen on", 7390)
    prepared = roles.aggregator(
        place, host=str(host), port=int(port or 0), publications=publications
    )
    _tell(prepared, as_json=as_json)


@init.command()
@_place_options("evaluator")
@_listen_options(7400)
def evaluator(
    network_dir: Path,
    directory: Path | None,
    host: str | None,
    port: int | None,
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Who evaluates, agrees and signs. Read by `meridian serve evaluator`.

    Before there is a network.json it makes the keys and prints the account, so that it can be given coins.
    """
    from meridian.networks import roles

    place = _place(network_dir, directory, "evaluator", overwrite=overwrite)
    host = _ask("--host", host, "Address to listen on", _HOST)
    port = _ask("--port", port, "Port to listen on", 7400)
    _tell(roles.evaluator(place, host=str(host), port=int(port or 0)), as_json=as_json)


@init.command()
@_place_options("node")
@click.option("--node", "node_id", metavar="ID", help="The node's id.")
def node(
    network_dir: Path,
    directory: Path | None,
    node_id: str | None,
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Whose jobs are paid. Read by `meridian submit` and `meridian watch`.

    Before there is a network.json it makes the key and prints the account.
    """
    from meridian.networks import roles

    place = _place(network_dir, directory, "node", overwrite=overwrite)
    _tell(roles.node(place, node_id=_ask("--node", node_id, "The node's id")), as_json=as_json)
