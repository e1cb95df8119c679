"""`meridian chain`: a chain to work on, the contracts on it, and what stands there."""

import json
from pathlib import Path
from typing import Any

import click

from meridian.cli.chain_claim_commands import claim, claim_signed, delegate
from meridian.cli.chain_dispute_commands import dispute
from meridian.cli.chain_key_commands import key
from meridian.cli.chain_member_commands import leave, stake, withdraw
from meridian.cli.chain_money_commands import fund
from meridian.cli.chain_open_command import open_
from meridian.cli.chain_referee_commands import referee
from meridian.cli.chain_relay_commands import register, self_commit
from meridian.cli.chain_session import (
    ACCOUNT,
    COINS,
    Action,
    Sending,
    Session,
    data_dir_option,
    json_option,
    open_chain,
    rpc_option,
    sending_options,
)
from meridian.cli.config_option import config_option
from meridian.primitives.ids import Address


@click.group()
def chain() -> None:
    """Work with the contracts on any EVM chain: embedded, anvil, Ethereum-like or Filecoin.

    Whatever sends shows what it takes and asks first (--yes: not), sends once (the same command again sends nothing),
    and waits for the block. Amounts are exact decimals of whole coins; accounts are 0x…, f410f… or f0….
    """


for command in (
    key, stake, open_, register, leave, withdraw, fund, claim, claim_signed, delegate, self_commit, dispute, referee,
):  # fmt: skip
    chain.add_command(command)


@chain.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where the chain is kept; the same place goes on with it.",
)
@click.option("--port", default=8545, show_default=True, help="Loopback port; 0 = any free one.")
@click.option("--chain-id", default=31337, show_default=True, help="EIP-155 chain id.")
@click.option(
    "--fund",
    "funded",
    type=ACCOUNT,
    multiple=True,
    help="Account that has coins from the start of a new chain (repeatable).",
)
@click.option(
    "--coins", type=COINS, default="1000000", show_default=True, help="How many each of them has."
)
@click.option("--block-ms", default=50, show_default=True, help="How long a block gathers.")
def up(
    data_dir: Path, port: int, chain_id: int, funded: tuple[Address, ...], coins: int, block_ms: int
) -> None:
    """Run a chain of your own in the foreground (Ctrl-C stops it; the same command goes on with it)."""
    from meridian.node.audit_sources import CHAIN_FILE
    from meridian.node.chain.embedded import main
    from meridian.primitives.ids import address_text

    database = data_dir / CHAIN_FILE
    database.parent.mkdir(parents=True, exist_ok=True)
    alloc = ",".join(f"{address_text(one)}={coins}" for one in dict.fromkeys(funded))
    arguments = ["--db", str(database), "--port", str(port), "--chain-id", str(chain_id)]
    raise SystemExit(main([*arguments, "--alloc", alloc, "--block-ms", str(block_ms)]))


@chain.command()
@click.argument("account", type=ACCOUNT)
@json_option
def address(account: Address, *, as_json: bool) -> None:
    """Print the forms of an account: 0x… and Filecoin's f410f… or f0…."""
    from meridian.primitives.fil_address import CALIBRATION, fil_text
    from meridian.primitives.ids import address_text

    shown = {
        "address": address_text(account),
        "filecoin": fil_text(account),
        "filecoin_test": fil_text(account, CALIBRATION),
    }
    click.echo(json.dumps(shown) if as_json else "\n".join(shown.values()))


@chain.command()
@data_dir_option
@rpc_option
@click.option(
    "--epochs",
    type=click.IntRange(min=1, max=1000),
    default=10,
    show_default=True,
    help="How many, the newest.",
)
@json_option
def status(data_dir: Path, rpc_url: str | None, epochs: int, *, as_json: bool) -> None:
    """Show contracts, epochs, stakes and funds as they stand on the chain now."""
    from meridian.cli.chain_tables import print_status
    from meridian.node.chain_status import read_status

    with open_chain(data_dir, rpc_url) as (rpc, deployment):
        document = read_status(rpc, deployment, epochs)
    if as_json:
        click.echo(json.dumps(document))
    else:
        print_status(document)


def _configured(path: Path) -> dict[str, Any]:
    from meridian.networks.sponsor_file import SponsorConfig

    config = SponsorConfig.load(path)
    click.get_current_context().obj = config, path.parent
    return config.sending_options


@chain.command()
@config_option(_configured, "sponsor")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="In its place, what the contracts fix for good: a JSON file (docs/chain.md shows one).",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where deployment.json is written.",
)
@sending_options
@click.pass_obj
def deploy(own: Any, path: Path | None, data_dir: Path, sending: Sending) -> None:
    """Deploy a network's contracts, all from one account, and write where they are.

    The contracts know each other's addresses beforehand, so the account must send nothing else meanwhile; interrupted,
    the same command goes on where it stopped.
    """
    import contextlib

    from meridian.errors import InvalidInput
    from meridian.node.chain.rpc import Rpc
    from meridian.node.deployment_file import Deployment
    from meridian.node.deployment_parameters import parameters_document, read_parameters

    if sending.rpc_url is None:
        raise InvalidInput("--rpc-url", "is needed: there is no deployment yet that names one")
    if (own is None) == (path is None):
        raise InvalidInput("--config", "either sponsor.toml or a file with --file is needed")
    name, parameters = _of_sponsor(own, data_dir) if path is None else read_parameters(path)
    shown = json.dumps(parameters_document(name, parameters), sort_keys=True)
    with contextlib.closing(Rpc(sending.rpc_url)) as rpc:
        session = Session(rpc, sending, data_dir / "senders")
        with contextlib.closing(session):
            contracts, block = _deploy_all(session, sending, shown, parameters)
    if contracts is None:
        return
    deployment = Deployment(
        network=name,
        chain_id=session.chain_id,
        rpc_url=sending.rpc_url,
        contracts=contracts,
        deploy_block=block,
    )
    deployment.save(data_dir)
    if not sending.as_json:
        click.echo(f"The contracts of {name} are described in {data_dir / 'deployment.json'}")


def _of_sponsor(own: tuple[Any, Path], data_dir: Path) -> tuple[str, Any]:
    """Return name and parameters of a sponsor's network, and write its artefacts."""
    from meridian.networks.sponsor_file import write_artefacts

    config, base = own
    definition = config.definition(base)
    parameters = config.parameters(definition)
    write_artefacts(definition, data_dir)
    return config.network, parameters


def _deploy_all(session: Session, sending: Sending, shown: str, parameters: Any) -> tuple[Any, int]:
    """Send the creating transactions in order; returns no addresses after a dry run."""
    import hashlib

    from meridian.contracts.artefact import load
    from meridian.contracts.deployment import plan
    from meridian.errors import InvalidInput
    from meridian.node.chain.contract import creation_code
    from meridian.node.chain.signing import Call

    tag = hashlib.sha256(shown.encode()).hexdigest()[:16]
    sender = session.sender
    first = sender.under_way(f"deploy/{tag}/Registry")
    nonce = sender.next_nonce() if first is None else first.nonce
    addresses, steps = plan(parameters, sender.address, nonce)
    block = 0
    for at, step in enumerate(steps):
        receipt = session.perform(
            Action(
                purpose=f"deploy/{tag}/{step.name}",
                call=Call(None, creation_code(load(step.name), step.arguments)),
                title=f"Deploy {step.name} ({at + 1} of {len(steps)})",
                facts={"contract": step.name, "address": session.account(step.address)},
            )
        )
        if receipt is None:
            if not sending.as_json:
                left = ", ".join(one.name for one in steps[at + 1 :])
                click.echo(f"After it: {left}, which cannot be tried before.")
            return None, 0
        if receipt.contract_address != step.address:
            raise InvalidInput(
                "--key", "the account sent something else meanwhile; give one that nobody else uses"
            )
        block = block or receipt.block
    return addresses, block
