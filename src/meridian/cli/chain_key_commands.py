"""`meridian chain key`: keys under a passphrase, in the format of every wallet (keystore version 3)."""

import json
from pathlib import Path

import click

from meridian.cli.chain_session import json_option, passphrase_option, read_passphrase

path_argument = click.argument("path", type=click.Path(path_type=Path, dir_okay=False))


@click.group()
def key() -> None:
    """Make, import and inspect the keys that send: encrypted JSON, as wallets use it."""


@key.command()
@path_argument
@passphrase_option
@json_option
def new(path: Path, passphrase_file: Path | None, *, as_json: bool) -> None:
    """Make a fresh key in the new file PATH and print its account."""
    import secrets

    from meridian.node.encrypted_key import create_encrypted_key
    from meridian.primitives.keys import PrivateKey

    fresh = PrivateKey(secrets.token_bytes(32))
    create_encrypted_key(path, fresh, read_passphrase(passphrase_file, new=True))
    _show(path, fresh.address, as_json=as_json)


@key.command("import")
@path_argument
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The key to import: a file of 64 hex digits, which only you may read.",
)
@passphrase_option
@json_option
def import_key(path: Path, source: Path, passphrase_file: Path | None, *, as_json: bool) -> None:
    """Put an existing key under a passphrase, in the new file PATH."""
    from meridian.errors import InvalidInput
    from meridian.node.encrypted_key import create_encrypted_key, open_key

    def encrypted() -> str:
        raise InvalidInput("--from", f"{source} is encrypted already; use it as it is")

    old = open_key(source, encrypted)
    create_encrypted_key(path, old, read_passphrase(passphrase_file, new=True))
    _show(path, old.address, as_json=as_json)


@key.command()
@path_argument
@passphrase_option
@click.option("--open", "opening", is_flag=True, help="Prove it: open the key with its passphrase.")
@json_option
def inspect(path: Path, passphrase_file: Path | None, *, opening: bool, as_json: bool) -> None:
    """Print the account of a key; without --open the one that the file states, which may be wrong."""
    from meridian.errors import InvalidInput
    from meridian.node.encrypted_key import open_key, stated_address

    if opening or passphrase_file is not None:
        address = open_key(path, lambda: read_passphrase(passphrase_file)).address
    else:
        found = stated_address(path)
        if found is None:
            raise InvalidInput(str(path), "does not state its account; use --open")
        address = found
    _show(path, address, as_json=as_json)


def _show(path: Path, address: bytes, *, as_json: bool) -> None:
    from meridian.primitives.fil_address import fil_text
    from meridian.primitives.ids import Address, address_text

    account = Address(address)
    shown = {"file": str(path), "address": address_text(account), "filecoin": fil_text(account)}
    if as_json:
        click.echo(json.dumps(shown))
    else:
        click.echo(f"{shown['address']}\n{shown['filecoin']}")
