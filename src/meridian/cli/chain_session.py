"""What every `meridian chain` command that sends has in common: where, as whom, for how much, and only once.

Each thing that a person can ask for has a *purpose*, made from what is asked. The sender's journal keeps one transaction
for each, so the same command again shows what became of the first instead of paying a second time.
"""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from meridian.errors import InvalidInput, Reverted
from meridian.node.audit_sources import reachable_chain
from meridian.node.chain.fees import Quote, quote
from meridian.node.chain.finality import finality
from meridian.node.chain.journal import journal_name
from meridian.node.chain.receipts import TxReceipt
from meridian.node.chain.rpc import ChainClient, Rpc
from meridian.node.chain.sender import Sender
from meridian.node.chain.signing import Call
from meridian.node.chain_view import ChainView
from meridian.node.deployment_file import Deployment
from meridian.node.encrypted_key import open_key
from meridian.primitives.amounts import format_fil, parse_fil
from meridian.primitives.fil_address import account_text, parse_account
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey


class AccountType(click.ParamType[Address]):
    """An account: 0x…, f410f… or f0…."""

    name = "account"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Address:
        """Return the account's 20 bytes; raises click's usage error for anything else."""
        if isinstance(value, bytes):
            return Address(value)
        try:
            return parse_account(value, "account")
        except InvalidInput as error:
            self.fail(error.reason, param, ctx)


class CoinsType(click.ParamType[int]):
    """An exact decimal amount of whole coins."""

    name = "coins"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return atto; raises click's usage error for anything else."""
        if isinstance(value, int):
            return value
        try:
            return parse_fil(value)
        except InvalidInput as error:
            self.fail(error.reason, param, ctx)


ACCOUNT: Final = AccountType()
COINS: Final = CoinsType()

json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object instead of text."
)
rpc_option = click.option(
    "--rpc-url",
    metavar="URL",
    help="The chain's JSON-RPC endpoint.  [default: the data directory's]",
)
passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="First line = passphrase of an encrypted key.  [default: ask]",
)
data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The directory with network.json or deployment.json.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How to send, from the options that all sending commands have."""

    key_file: Path
    passphrase_file: Path | None
    rpc_url: str | None
    journal_dir: Path | None
    confirmations: int | None
    timeout_s: float | None
    dry_run: bool
    yes: bool
    as_json: bool


def sending_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `Sending`; the command gets them as one argument `sending`."""
    options = [
        click.option(
            "--key",
            "key_file",
            type=click.Path(path_type=Path, dir_okay=False),
            required=True,
            help="The sender's key: an encrypted JSON file, or 64 hex digits that only you may read.",
        ),
        passphrase_option,
        rpc_option,
        click.option(
            "--journal-dir",
            type=click.Path(path_type=Path, file_okay=False),
            help="Where it is kept what was sent, so that nothing is sent twice.  [default: the data"
            " directory's `senders`, else ~/.local/state/meridian/senders]",
        ),
        click.option(
            "--confirmations",
            type=click.IntRange(min=0, max=10_000),
            help="Blocks on top before it counts as done.  [default: 0 on a local chain, else 3]",
        ),
        click.option(
            "--timeout-s",
            type=click.FloatRange(min=0.0, min_open=True, max=86_400.0),
            help="Longest wait for the block.  [default: 120, on Filecoin 600]",
        ),
        click.option("--dry-run", is_flag=True, help="Show what would be sent, and stop."),
        click.option("--yes", is_flag=True, help="Send without asking."),
        json_option,
    ]

    @functools.wraps(command)
    def wrapped(**values: Any) -> Any:
        names = Sending.__dataclass_fields__
        sending = Sending(**{name: values.pop(name) for name in names})
        return command(sending=sending, **values)

    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def read_passphrase(path: Path | None, *, new: bool = False) -> str:
    """Return a passphrase from a file's first line, or ask for it (twice for a new one)."""
    if path is not None:
        text = path.read_text("utf-8").split("\n", 1)[0].removesuffix("\r")
        if not text:
            raise InvalidInput("--passphrase-file", f"{path} begins with an empty line")
        return text
    return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True))


def open_signing_key(sending: Sending) -> PrivateKey:
    """Return the sender's key, asking for its passphrase if need be."""
    return open_key(sending.key_file, lambda: read_passphrase(sending.passphrase_file))


@contextlib.contextmanager
def open_chain(data_dir: Path, rpc_url: str | None = None) -> Iterator[tuple[Rpc, Deployment]]:
    """Open a data directory's chain, which must be the one that its contracts are on.

    Raises:
        InvalidInput: If the endpoint serves another chain.
    """
    deployment = Deployment.load(data_dir)
    if rpc_url is not None:
        with contextlib.closing(Rpc(rpc_url)) as rpc:
            _check_chain(rpc, deployment)
            yield rpc, deployment
        return
    with reachable_chain(data_dir, deployment.rpc_url, deployment.chain_id) as rpc:
        _check_chain(rpc, deployment)
        yield rpc, deployment


def _check_chain(rpc: ChainClient, deployment: Deployment) -> None:
    found = int(rpc.call("eth_chainId"), 16)
    if found != deployment.chain_id:
        raise InvalidInput(
            "--rpc-url",
            f"serves chain {found}, the contracts are on chain {deployment.chain_id}",
        )


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to send."""

    purpose: str
    """The same for the same wish: it is what is never done twice."""
    call: Call
    title: str
    """For people."""
    facts: dict[str, str]
    """What it is about, by name."""


class Session:
    """An open chain, and an account to send from.

    Args:
        rpc: The endpoint.
        sending: The command's options.
        journal_dir: Where the sender's journal is, unless the options say otherwise.
    """

    def __init__(self, rpc: Rpc, sending: Sending, journal_dir: Path | None) -> None:
        self.rpc = rpc
        self.key = open_signing_key(sending)
        self._sending = sending
        self.chain_id = int(rpc.call("eth_chainId"), 16)
        done = finality(self.chain_id, sending.confirmations, sending.timeout_s)
        self._timeout_s = done.wait_s
        folder = sending.journal_dir or journal_dir or _state_home()
        name = journal_name(rpc, self.chain_id, self.key.address)
        self.sender = Sender(rpc, self.key, folder / name, confirmations=done.confirmations)

    def close(self) -> None:
        """Close the journal."""
        self.sender.close()

    def account(self, address: Address) -> str:
        """Return an account for people, with its Filecoin form on such a network."""
        return account_text(address, self.chain_id)

    def perform(self, action: Action) -> TxReceipt | None:
        """Show what an action takes, ask, send it once, wait, and show what became of it.

        Returns:
            The receipt; None after a dry run.
        """
        known = self.sender.under_way(action.purpose)
        if known is not None:
            receipt = self.sender.wait(known.tx_hash, self._timeout_s)
            self._finish(action, receipt, repeated=True)
            return receipt
        [answer] = quote(self.rpc, self.sender.address, [action.call])
        if isinstance(answer, Reverted):
            raise answer
        if self._sending.dry_run:
            self._show_dry(action, answer)
            return None
        if not self._sending.yes:
            for line in self._lines(action, answer):
                click.echo(line, err=True)
            click.confirm("Send this transaction?", abort=True, err=True)
        call = action.call
        receipt = self.sender.transact(
            call.to, call.data, call.value_atto, purpose=action.purpose, timeout_s=self._timeout_s
        )
        self._finish(action, receipt, repeated=False)
        return receipt

    def say_done(self, title: str, facts: dict[str, str]) -> None:
        """Say that there is nothing to send: the chain already is as it was asked for."""
        if self._sending.as_json:
            click.echo(json.dumps({"sent": False, "done": title, **facts}))
        else:
            click.echo(f"Nothing to do: {title}")

    def _finish(self, action: Action, receipt: TxReceipt, *, repeated: bool) -> None:
        if not receipt.status:
            raise Reverted(receipt.reason)
        if self._sending.as_json:
            document = {
                "sent": not repeated,
                "done": action.title,
                **action.facts,
                "tx_hash": "0x" + receipt.tx_hash.hex(),
                "block": receipt.block,
                "gas_used": receipt.gas_used,
                "fee_atto": str(receipt.gas_used * receipt.price_wei),
            }
            click.echo(json.dumps(document))
            return
        before = "Sent before, not again: " if repeated else "Done: "
        fee = format_fil(receipt.gas_used * receipt.price_wei)
        facts = {
            **action.facts,
            "transaction": f"0x{receipt.tx_hash.hex()}, block {receipt.block}",
            "gas": f"{receipt.gas_used:,} used, {fee} coins",
        }
        click.echo("\n".join([f"{before}{action.title}", *_aligned(facts)]))

    def _show_dry(self, action: Action, answer: Quote) -> None:
        if not self._sending.as_json:
            for line in self._lines(action, answer):
                click.echo(line)
            click.echo("Dry run: nothing was signed or sent.")
            return
        call = action.call
        document = {
            "dry_run": True,
            "would": action.title,
            **action.facts,
            "from": self.account(self.sender.address),
            "to": None if call.to is None else self.account(call.to),
            "value_atto": str(call.value_atto),
            "data": "0x" + call.data.hex(),
            "gas_estimate": answer.gas_estimate,
            "gas_limit": answer.gas_limit,
            "max_fee_wei": str(answer.fees.max_fee_wei),
            "tip_wei": str(answer.fees.tip_wei),
            "cost_max_atto": str(answer.cost_max_atto),
        }
        click.echo(json.dumps(document))

    def _lines(self, action: Action, answer: Quote) -> list[str]:
        call = action.call
        place = "a new contract" if call.to is None else self.account(call.to)
        facts = {
            **action.facts,
            "from": self.account(self.sender.address),
            "to": place,
            "value": f"{format_fil(call.value_atto)} coins",
            "gas": f"{answer.gas_estimate:,} estimated, limit {answer.gas_limit:,}",
            "fee": f"about {format_fil(answer.cost_atto)} coins",
            "at most": f"{format_fil(answer.cost_max_atto)} coins in all",
        }
        return [action.title, *_aligned(facts)]


@contextlib.contextmanager
def open_session(data_dir: Path, sending: Sending) -> Iterator[tuple[Session, Deployment]]:
    """Open a data directory's chain to send to it."""
    with open_chain(data_dir, sending.rpc_url) as (rpc, deployment):
        session = Session(rpc, sending, data_dir / "senders")
        with contextlib.closing(session):
            yield session, deployment


def _aligned(facts: dict[str, str]) -> list[str]:
    width = max(map(len, facts))
    return [f"  {name.replace('_', ' '):<{width}}  {text}" for name, text in facts.items()]


def chain_view(session: Session, deployment: Deployment) -> ChainView:
    """Return the reads of the network's contracts."""
    return ChainView(session.rpc, deployment.contracts, deployment.deploy_block)


def _state_home() -> Path:
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "meridian" / "senders"
