"""`meridian chain stake | leave | withdraw`: becoming a node, an evaluator or an aggregator, and ending it.

A purpose names the registration by its signer's nonce in Registry, which counts registrations: the same command again
is the same registration, and one after leaving is another.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from meridian.cli.chain_session import (
    ACCOUNT,
    COINS,
    Action,
    Sending,
    Session,
    chain_view,
    data_dir_option,
    open_session,
    read_passphrase,
    sending_options,
)
from meridian.node.chain.signing import Call
from meridian.node.chain_view import ChainView
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

_NEVER = (1 << 64) - 1

node_option = click.option("--node", "node_id", required=True, metavar="ID", help="The node's id.")
member_key_option = click.option(
    "--member-key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Key of the account that becomes a member, if the sender only relays and pays.  [default: --key]",
)
amount_option = click.option(
    "--amount", type=COINS, help="Stake in whole coins.  [default: the least that is taken]"
)


@dataclass(frozen=True, slots=True)
class _Place:
    """An open session with the reads of its contracts."""

    session: Session
    view: ChainView
    network_id: bytes
    from_block: int
    sending: Sending

    def send(
        self, purpose: str, call: tuple[Address, bytes, int], title: str, facts: dict[str, str]
    ) -> None:
        """Perform one action on a contract of this network."""
        to, data, value = call
        unique = f"{purpose}@{to.hex()}"
        self.session.perform(Action(unique, Call(to, data, value), title, facts))


@contextlib.contextmanager
def _open(data_dir: Path, sending: Sending) -> Iterator[_Place]:
    with open_session(data_dir, sending) as (session, deployment):
        view = chain_view(session, deployment)
        yield _Place(session, view, deployment.network_id, deployment.deploy_block, sending)


@click.group()
def stake() -> None:
    """Join a network with a stake: as a node, an evaluator or an aggregator."""


@stake.command("node")
@data_dir_option
@node_option
@click.option("--payee", type=ACCOUNT, help="Who is paid for the node.  [default: its operator]")
@member_key_option
@amount_option
@sending_options
def stake_node(
    data_dir: Path,
    node_id: str,
    payee: Address | None,
    member_key: Path | None,
    amount: int | None,
    sending: Sending,
) -> None:
    """Register a node: its operator signs, the sender pays stake and gas."""
    from meridian.contracts.calldata import NodeRegistration
    from meridian.contracts.statements import RegisterNode
    from meridian.primitives.amounts import format_fil
    from meridian.primitives.eip712 import Domain
    from meridian.primitives.ids import ZERO_ADDRESS, node_key

    with _open(data_dir, sending) as place:
        registry, session = place.view.registry, place.session
        key = _member_key(place, member_key)
        name = node_key(node_id)
        operator, _, _, _ = registry.read("node", name)
        if operator == key.address:
            session.say_done(f"node {node_id} is registered", {"node": node_id})
            return
        if operator != ZERO_ADDRESS:
            from meridian.errors import InvalidInput

            raise InvalidInput("--node", f"{node_id} is registered by {session.account(operator)}")
        value = registry.read("node_stake_min") if amount is None else amount
        nonce = registry.read("nonces", key.address)
        paid = key.address if payee is None else payee
        statement = RegisterNode(place.network_id, name, key.address, paid, nonce, _NEVER)
        domain = Domain(chain_id=session.chain_id, contract=registry.address)
        signed = NodeRegistration(statement, key.sign(statement.digest(domain)))
        data = registry.encode("register_nodes", [signed.arguments])
        place.send(
            f"stake-node/{name.hex()}/{key.address.hex()}/{nonce}",
            (registry.address, data, value),
            f"Register node {node_id} with a stake of {format_fil(value)}",
            {
                "node": node_id,
                "operator": session.account(key.address),
                "payee": session.account(paid),
            },
        )


@stake.command("evaluator")
@data_dir_option
@click.option(
    "--link-key",
    required=True,
    metavar="HEX",
    help="Ed25519 public key of its links, 64 hex digits.",
)
@click.option("--endpoint", required=True, metavar="HOST:PORT", help="Where its peers reach it.")
@member_key_option
@amount_option
@sending_options
def stake_evaluator(
    data_dir: Path,
    link_key: str,
    endpoint: str,
    member_key: Path | None,
    amount: int | None,
    sending: Sending,
) -> None:
    """Register an evaluator: it signs, the sender pays stake and gas."""
    from meridian.contracts.calldata import EvaluatorRegistration
    from meridian.contracts.statements import RegisterEvaluator
    from meridian.primitives.amounts import format_fil
    from meridian.primitives.eip712 import Domain
    from meridian.primitives.ids import parse_digest

    link = parse_digest(link_key, "--link-key")
    with _open(data_dir, sending) as place:
        registry, session = place.view.registry, place.session
        key = _member_key(place, member_key)
        shown = session.account(key.address)
        if registry.read("evaluator", key.address)[0]:
            session.say_done(f"{shown} is registered as an evaluator", {"evaluator": shown})
            return
        value = registry.read("evaluator_stake_min") if amount is None else amount
        nonce = registry.read("nonces", key.address)
        statement = RegisterEvaluator(place.network_id, key.address, link, endpoint, nonce, _NEVER)
        domain = Domain(chain_id=session.chain_id, contract=registry.address)
        signed = EvaluatorRegistration(statement, key.sign(statement.digest(domain)))
        data = registry.encode("register_evaluator", *signed.arguments)
        place.send(
            f"stake-evaluator/{key.address.hex()}/{nonce}",
            (registry.address, data, value),
            f"Register an evaluator with a stake of {format_fil(value)}",
            {"evaluator": shown, "endpoint": endpoint},
        )


@stake.command("aggregator")
@data_dir_option
@amount_option
@sending_options
def stake_aggregator(data_dir: Path, amount: int | None, sending: Sending) -> None:
    """Become an aggregator, from the running epoch on. The contracts list who may."""
    from meridian.primitives.amounts import format_fil

    with _open(data_dir, sending) as place:
        commitments, session = place.view.commitments, place.session
        account = session.key.address
        shown = session.account(account)
        if commitments.read("aggregator", account)[0]:
            session.say_done(f"{shown} is an aggregator", {"aggregator": shown})
            return
        value = commitments.read("aggregator_stake_min") if amount is None else amount
        place.send(
            f"stake-aggregator/{_times_joined(place)}",
            (commitments.address, commitments.encode("join"), value),
            f"Become an aggregator with a stake of {format_fil(value)}",
            {"aggregator": shown},
        )


@click.group()
def leave() -> None:
    """Leave a network; the stake can be withdrawn after the exit delay."""


@leave.command("node")
@data_dir_option
@node_option
@sending_options
def leave_node(data_dir: Path, node_id: str, sending: Sending) -> None:
    """Take a node out. The sender must be its operator."""
    from meridian.primitives.ids import node_key

    with _open(data_dir, sending) as place:
        registry = place.view.registry
        name = node_key(node_id)
        operator, _, _, exit_at = registry.read("node", name)
        if exit_at:
            place.session.say_done(
                f"node {node_id} has left; its stake is free at {exit_at}", {"node": node_id}
            )
            return
        data = registry.encode("leave_node", name)
        purpose = f"leave-node/{name.hex()}/{registry.read('nonces', operator)}"
        place.send(
            purpose, (registry.address, data, 0), f"Take node {node_id} out", {"node": node_id}
        )


@leave.command("evaluator")
@data_dir_option
@sending_options
def leave_evaluator(data_dir: Path, sending: Sending) -> None:
    """Leave as an evaluator: no part in epochs that are not open yet."""
    with _open(data_dir, sending) as place:
        registry, session = place.view.registry, place.session
        account = session.key.address
        shown = session.account(account)
        _, _, exit_at = registry.read("evaluator", account)
        if exit_at:
            session.say_done(
                f"{shown} has left; its stake is free at {exit_at}", {"evaluator": shown}
            )
            return
        purpose = f"leave-evaluator/{registry.read('nonces', account)}"
        data = registry.encode("leave_evaluator")
        place.send(purpose, (registry.address, data, 0), "Leave as an evaluator", {})


@leave.command("aggregator")
@data_dir_option
@sending_options
def leave_aggregator(data_dir: Path, sending: Sending) -> None:
    """Leave as an aggregator: no part in epochs that have not started."""
    with _open(data_dir, sending) as place:
        commitments, session = place.view.commitments, place.session
        shown = session.account(session.key.address)
        _, _, exit_at, _ = commitments.read("aggregator", session.key.address)
        if exit_at:
            session.say_done(
                f"{shown} has left; its stake is free at {exit_at}", {"aggregator": shown}
            )
            return
        purpose = f"leave-aggregator/{_times_joined(place)}"
        data = commitments.encode("leave")
        place.send(purpose, (commitments.address, data, 0), "Leave as an aggregator", {})


@click.group()
def withdraw() -> None:
    """Take a stake back after leaving and the exit delay."""


@withdraw.command("node")
@data_dir_option
@node_option
@sending_options
def withdraw_node(data_dir: Path, node_id: str, sending: Sending) -> None:
    """Pay a left node's stake to its operator; anyone may send it."""
    from meridian.primitives.amounts import format_fil
    from meridian.primitives.ids import ZERO_ADDRESS, node_key

    with _open(data_dir, sending) as place:
        registry = place.view.registry
        name = node_key(node_id)
        operator, _, value, exit_at = registry.read("node", name)
        if operator == ZERO_ADDRESS:
            place.session.say_done(f"node {node_id} has no stake there", {"node": node_id})
            return
        place.send(
            f"withdraw-node/{name.hex()}/{exit_at}",
            (registry.address, registry.encode("withdraw_node", name), 0),
            f"Pay the stake of node {node_id}, {format_fil(value)}, to its operator",
            {"node": node_id, "operator": place.session.account(operator)},
        )


@withdraw.command("evaluator")
@data_dir_option
@sending_options
def withdraw_evaluator(data_dir: Path, sending: Sending) -> None:
    """Pay the sender's stake as an evaluator back."""
    from meridian.primitives.amounts import format_fil

    with _open(data_dir, sending) as place:
        registry, session = place.view.registry, place.session
        value, _, exit_at = registry.read("evaluator", session.key.address)
        if not value:
            session.say_done("there is no stake of this account as an evaluator", {})
            return
        place.send(
            f"withdraw-evaluator/{exit_at}",
            (registry.address, registry.encode("withdraw_evaluator"), 0),
            f"Take back the evaluator's stake, {format_fil(value)}",
            {"evaluator": session.account(session.key.address)},
        )


@withdraw.command("aggregator")
@data_dir_option
@sending_options
def withdraw_aggregator(data_dir: Path, sending: Sending) -> None:
    """Pay the sender's stake as an aggregator back."""
    from meridian.primitives.amounts import format_fil

    with _open(data_dir, sending) as place:
        commitments, session = place.view.commitments, place.session
        _, value, exit_at, _ = commitments.read("aggregator", session.key.address)
        if not value:
            session.say_done("there is no stake of this account as an aggregator", {})
            return
        place.send(
            f"withdraw-aggregator/{exit_at}",
            (commitments.address, commitments.encode("withdraw"), 0),
            f"Take back the aggregator's stake, {format_fil(value)}",
            {"aggregator": session.account(session.key.address)},
        )


def _times_joined(place: _Place) -> int:
    """Return how often the sender has become an aggregator: each time is a wish of its own."""
    mine = {"aggregator": place.session.key.address}
    return len(place.view.commitments.events("AggregatorJoined", place.from_block, where=mine))


def _member_key(place: _Place, path: Path | None) -> PrivateKey:
    from meridian.node.encrypted_key import open_key

    if path is None:
        return place.session.key
    return open_key(path, lambda: read_passphrase(place.sending.passphrase_file))
