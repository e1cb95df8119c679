"""What the commands that sign for a relayer have in common, and the relayer's look at a file before it spends gas.

Signing needs no chain when ``--nonce`` is given. Each contract counts the statements of a signer; a statement that
carries a number that is used up was sent before, or another was sent in its place: the chain's events tell which.
"""

import functools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from meridian.cli.chain_session import (
    Session,
    data_dir_option,
    json_option,
    open_chain,
    passphrase_option,
    read_passphrase,
    rpc_option,
)
from meridian.errors import InvalidInput
from meridian.node.chain.contract import Contract
from meridian.node.deployment_file import Deployment
from meridian.node.encrypted_key import open_key
from meridian.node.signed_file import S, SignedFile, sign
from meridian.primitives.fil_address import account_text
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

VALID_S: Final = 7 * 86_400
"""How long a statement is good where nothing else is asked for."""

file_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
nonce_option = click.option(
    "--nonce",
    type=click.IntRange(min=0, max=(1 << 64) - 1),
    help="The signer's next number; with it no chain is needed.  [default: read from the chain]",
)
deadline_option = click.option(
    "--deadline",
    "deadline_s",
    type=click.IntRange(min=0, max=(1 << 64) - 1),
    metavar="UNIX_S",
    help="The last second in which it is good.  [default: a week from now]",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """How to sign, from the options that all signing commands have."""

    data_dir: Path
    key_file: Path
    passphrase_file: Path | None
    rpc_url: str | None
    out: Path
    as_json: bool

    @property
    def deployment(self) -> Deployment:
        """The network that the statement is for."""
        return Deployment.load(self.data_dir)

    def key(self) -> PrivateKey:
        """Return the signer's key, asking for its passphrase if need be."""
        return open_key(self.key_file, lambda: read_passphrase(self.passphrase_file))

    def nonce(self, given: int | None, contract: str, signer: Address) -> int:
        """Return the number that was given, or the signer's next one on a contract of the network."""
        from meridian.contracts.artefact import load

        if given is not None:
            return given
        with open_chain(self.data_dir, self.rpc_url) as (rpc, deployment):
            place = getattr(deployment.contracts, contract.lower())
            return int(Contract(rpc, place, load(contract)).read("nonces", signer))

    def write(self, statement: S, key: PrivateKey, facts: dict[str, str], node: str | None) -> None:
        """Sign, write the file, and say what was signed."""
        signed = sign(self.deployment, statement, key, node)
        signed.write(self.out)
        shown = {"signer": account_text(signed.signer, signed.chain_id), **facts}
        if self.as_json:
            click.echo(json.dumps({"file": str(self.out), **shown}))
            return
        click.echo(f"Signed: {self.out}")
        for name, text in shown.items():
            click.echo(f"  {name.replace('_', ' '):<12}  {text}")


def signing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `Signing`; the command gets them as one argument `signing`."""
    options = [
        data_dir_option,
        click.option(
            "--key",
            "key_file",
            type=click.Path(path_type=Path, dir_okay=False),
            required=True,
            help="The signer's key: an encrypted JSON file, or 64 hex digits that only you may read.",
        ),
        passphrase_option,
        rpc_option,
        click.option(
            "--out",
            type=click.Path(path_type=Path, dir_okay=False),
            required=True,
            help="The file to write, for whoever sends it.",
        ),
        json_option,
    ]

    @functools.wraps(command)
    def wrapped(**values: Any) -> Any:
        names = Signing.__dataclass_fields__
        signing = Signing(**{name: values.pop(name) for name in names})
        return command(signing=signing, **values)

    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def deadline_of(given: int | None) -> int:
    """Return the deadline that was given, or a week from now by this machine's clock."""
    return int(time.time()) + VALID_S if given is None else given


def shown_time(seconds: int) -> str:
    """Return a Unix time for people, with the number itself."""
    import datetime as dt

    try:
        moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return str(seconds)
    return f"{seconds} ({moment:%Y-%m-%d %H:%M:%SZ})"


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a contract shows that a statement was sent: an event, and what its indexed arguments must be."""

    contract: Contract
    event: str
    where: Mapping[str, Any]
    from_block: int

    def transaction_with(self, signature: bytes) -> bytes | None:
        """Return the transaction that carried a signature, None if none did."""
        for event in reversed(self.contract.events(self.event, self.from_block, where=self.where)):
            found = self.contract.rpc.call("eth_getTransactionByHash", "0x" + event.tx_hash.hex())
            if found is not None and signature.hex() in found["input"]:
                return event.tx_hash
        return None


def is_unsent(session: Session, signed: SignedFile[Any], trace: Trace, title: str) -> bool:
    """Tell whether a statement with a nonce can still be sent; where it was sent before, say so.

    Raises:
        InvalidInput: If it can never be sent, or not yet: its nonce is another's, or its deadline is over.
    """
    nonce: int = signed.statement.nonce
    following: int = trace.contract.read("nonces", signed.signer)
    who = session.account(signed.signer)
    if nonce < following:
        tx_hash = trace.transaction_with(signed.signature)
        if tx_hash is None:
            raise InvalidInput(
                "nonce",
                f"{nonce} was used by another statement of {who}; sign anew with --nonce {following}",
            )
        shown = "0x" + tx_hash.hex()
        session.say_done(f"{title}: already done in {shown}", {"tx_hash": shown})
        return False
    if nonce > following:
        raise InvalidInput(
            "nonce", f"{nonce} is not the next of {who}, which is {following}: that one comes first"
        )
    require_time(session, signed.statement.deadline_s)
    return True


def require_time(session: Session, deadline_s: int) -> None:
    """Require that a deadline has not passed on the chain; raises `InvalidInput` if it has."""
    head = session.rpc.call("eth_getBlockByNumber", "latest", False)
    now_s = int(head["timestamp"], 16)
    if deadline_s < now_s:
        raise InvalidInput(
            "deadline",
            f"{shown_time(deadline_s)} is over, the chain is at {shown_time(now_s)}; sign anew",
        )
