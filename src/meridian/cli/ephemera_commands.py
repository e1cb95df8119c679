"""`meridian ephemera`: make, run and use nodes of the broadcast system; `ephemera_verify_commands` checks offline.

Exit codes are those of `meridian --help`: 1 a block does not verify, 2 bad input, 3 not found, 4 the node cannot be
reached, 6 try again later.
"""

import asyncio
import json
import shlex
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TextIO

import click

from meridian.cli.ephemera_verify_commands import verify_block, verify_evidence

PAGE: Final = 50

json_option = click.option(
    "--json", "as_json", is_flag=True, help="JSON on standard output instead of text."
)
url_option = click.option(
    "--url", required=True, help="The node's API, such as http://127.0.0.1:7000."
)
port_type = click.IntRange(1, 65_535)


@click.group()
def ephemera() -> None:
    """Blocks of signed messages and a replicated store that survive faulty members.

    Every member makes blocks of the messages that it got; reliable broadcast (Bracha) finalises them at all members, with
    a certificate that anyone can check. Quick start: `init-local-cluster`, then one `run-node` for each node.
    """


ephemera.add_command(verify_block)
ephemera.add_command(verify_evidence)


def _dump(value: object) -> None:
    click.echo(json.dumps(value))


def _show(values: dict[str, object]) -> None:
    width = max(len(name) for name in values)
    for name, value in values.items():
        click.echo(f"{name:<{width}}  {value}")


def _directory(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--dir",
        "directory",
        type=click.Path(path_type=Path, file_okay=False),
        required=True,
        help="Where it is made.",
    )(command)


@ephemera.command("init-config")
@_directory
@click.option("--network", required=True, help="Name of the network.")
@click.option("--name", default="default", show_default=True, help="Name of the node.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=port_type, default=3000, show_default=True, help="Port of the links.")
@click.option(
    "--api-port", type=port_type, default=7000, show_default=True, help="Port of the API."
)
@click.option(
    "--producer/--no-producer", default=True, show_default=True, help="Whether it makes blocks."
)
@click.option(
    "--interval-ms",
    type=click.IntRange(10),
    default=30_000,
    show_default=True,
    help="How often an own block is tried.",
)
@json_option
def init_config(directory: Path, network: str, *, as_json: bool, **given: Any) -> None:
    """Make a node: commented ephemera.toml, keys (0600), empty storage. Prints its public keys.

    Give address and link key to whoever writes the members file, put that file where [membership] file says, and start
    `run-node`. A node whose storage was made any other way only observes until the member set changes.
    """
    from meridian.node.ephemera import setup
    from meridian.node.ephemera.config import CONFIG_FILE

    values: dict[str, object] = {
        "node.name": given["name"],
        "links.host": given["host"],
        "links.port": given["port"],
        "api.host": given["host"],
        "api.port": given["api_port"],
        "blocks.producer": given["producer"],
        "blocks.interval_ms": given["interval_ms"],
    }
    keys = setup.init_config(directory, network, values)
    shown = {"config": str(directory / CONFIG_FILE)} | keys.document()
    _dump(shown) if as_json else _show(dict(shown))


@ephemera.command("init-local-cluster")
@click.option(
    "-n", "--nodes", type=click.IntRange(1, 128), default=4, show_default=True, help="Nodes."
)
@_directory
@click.option(
    "--port",
    type=port_type,
    default=3000,
    show_default=True,
    help="Port of the first node's links.",
)
@click.option(
    "--api-port",
    type=port_type,
    default=7000,
    show_default=True,
    help="Port of the first node's API.",
)
@click.option(
    "--interval-ms",
    type=click.IntRange(10),
    default=1_000,
    show_default=True,
    help="How often every node tries a block.",
)
@click.option(
    "--host-pattern",
    metavar="PATTERN",
    help="Each node on a host of its own, such as node-{}; all on the same ports.",
)
@json_option
def init_local_cluster(
    nodes: int,
    directory: Path,
    port: int,
    api_port: int,
    interval_ms: int,
    host_pattern: str | None,
    *,
    as_json: bool,
) -> None:
    """Make N nodes on this machine with one members file. Prints the line that starts each."""
    from meridian.node.ephemera import setup

    made = setup.init_local_cluster(
        directory,
        nodes,
        host_pattern=host_pattern,
        first_port=port,
        first_api_port=api_port,
        interval_ms=interval_ms,
    )
    lines = [
        {
            "name": node.name,
            "api_url": node.api_url,
            "address": node.keys.document()["address"],
            "key_file": str(node.config.parent / "node.key"),
            "start": f"meridian ephemera run-node --config {shlex.quote(str(node.config))}",
        }
        for node in made
    ]
    if as_json:
        _dump({"members": str(directory / setup.MEMBERS_FILE), "nodes": lines})
        return
    for line in lines:
        click.echo(line["start"])


@ephemera.command("run-node")
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="ephemera.toml, or its directory.",
)
def run_node(config: Path) -> None:
    """Run a node in the foreground; Ctrl-C or SIGTERM stops it cleanly, and the same command goes on."""
    from meridian.node.ephemera.service import main

    raise click.exceptions.Exit(main(config))


@ephemera.command("generate-keypair")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("node.key"),
    show_default=True,
    help="New file for the secp256k1 key that signs.",
)
@click.option(
    "--link-key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("link.key"),
    show_default=True,
    help="New file for the Ed25519 key of the links.",
)
@json_option
def generate_keypair(key_file: Path, link_key_file: Path, *, as_json: bool) -> None:
    """Make the two keys of a node (files of mode 0600) and print their public halves, never a secret."""
    from meridian.node.ephemera.setup import generate_keys

    shown = generate_keys(key_file, link_key_file).document()
    _dump(shown) if as_json else _show(dict(shown))


@ephemera.command("update-config")
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="ephemera.toml.",
)
@click.option("--key", required=True, help="section.key, such as api.port.")
@click.option("--value", required=True, help="TOML value, or plain text for a key that holds text.")
def update_config(config: Path, key: str, value: str) -> None:
    """Change one key of a configuration; comments stay, and a value that does not fit changes nothing."""
    from meridian.node.ephemera.config import update

    update(config, key, value)
    click.echo(f"{key} = {value}")


def _ask(question: Coroutine[Any, Any, None]) -> None:
    asyncio.run(question)


@ephemera.command()
@url_option
@click.option("--label", required=True, help="At most 64 bytes.")
@click.option("--data", help="The message, as text.")
@click.option(
    "--file",
    "data_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The message, as a file of at most 256 KiB.",
)
@click.option(
    "--round",
    "number",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="The application's own number.",
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Key that signs: of a member or of a registered client.",
)
@json_option
def submit(
    url: str,
    label: str,
    data: str | None,
    data_file: Path | None,
    number: int,
    key_file: Path,
    *,
    as_json: bool,
) -> None:
    """Sign a message and let it wait for the next blocks; prints its hash."""
    from meridian.ephemera.messages.message import DATA_BYTES_MAX, sign_message
    from meridian.node.durable_file import read_whole
    from meridian.node.ephemera.client import EphemeraClient
    from meridian.node.keystore import load_or_create_key

    if (data is None) == (data_file is None):
        raise click.UsageError("give either --data or --file")
    content = (
        data.encode() if data is not None else read_whole(Path(str(data_file)), DATA_BYTES_MAX)
    )
    key = load_or_create_key(key_file)

    async def send() -> None:
        async with EphemeraClient(url) as client:
            created_ms = time.time_ns() // 1_000_000
            message = sign_message(
                await client.realm(),
                key,
                number=number,
                created_ms=created_ms,
                label=label,
                data=content,
            )
            answer = await client.submit(message)
        shown = {"message_hash": answer.message_hash, "sender": "0x" + key.address.hex()}
        _dump(shown) if as_json else click.echo(answer.message_hash)

    _ask(send())


@ephemera.command()
@url_option
@click.option(
    "--follow", is_flag=True, help="Go on with blocks as they become final, until Ctrl-C."
)
@click.option("--creator", help="Only blocks of this member (0x...).")
@click.option(
    "--after",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Only after this sequence.",
)
@click.option("--limit", type=click.IntRange(1), help="End after so many blocks.")
@click.option(
    "-o",
    "--output",
    type=click.File("w"),
    default="-",
    help="File for what is shown; standard output without it.",
)
@json_option
def blocks(
    url: str,
    creator: str | None,
    after: int,
    limit: int | None,
    output: TextIO,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    """Show finalised blocks, each checked: hash, signatures, certificate. --json prints one whole block per line."""
    query: dict[str, str | int] = {"after": after}
    if creator is not None:
        query["creator"] = creator
    _ask(_print_blocks(url, query, limit, output, follow=follow, as_json=as_json))


async def _print_blocks(
    url: str,
    query: dict[str, str | int],
    limit: int | None,
    output: TextIO,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    import msgspec

    from meridian.node.ephemera.client import EphemeraClient
    from meridian.node.ephemera.documents import BlockDocument, read_number, verify_block_document
    from meridian.primitives.ids import address_text

    shown = 0

    def show(document: BlockDocument) -> bool:
        nonlocal shown
        found = verify_block_document(document)
        if as_json:
            click.echo(msgspec.json.encode(document).decode(), file=output)
        else:
            header = found.block.header
            click.echo(
                f"{found.sequence:>6}  {address_text(found.creator)}  height {header.height:>5}"
                f"  {header.count:>4} messages  {found.block.hash.hex()}",
                file=output,
            )
        shown += 1
        return limit is not None and shown >= limit

    async with EphemeraClient(url) as client:
        if follow:
            async for document in client.follow(**query):
                if show(document):
                    return
            return
        while True:
            page = await client.blocks(**(query | {"limit": PAGE}))
            for document in page.blocks:
                if show(document):
                    return
            if page.next is None:
                return
            query["after"] = read_number(page.next, "next")
