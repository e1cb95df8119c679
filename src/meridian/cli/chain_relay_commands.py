"""`meridian chain register | self-commit`: what nodes and evaluators without coins sign, and others send.

Both have a `sign`, which writes a file and needs no chain, and a `send` for whoever has gas (and the stake).
"""

import contextlib
from pathlib import Path
from typing import Any

import click

from meridian.cli.chain_session import (
    ACCOUNT,
    COINS,
    Action,
    Sending,
    Session,
    chain_view,
    data_dir_option,
    open_chain,
    open_session,
    sending_options,
)
from meridian.cli.chain_signing import (
    Signing,
    Trace,
    deadline_of,
    deadline_option,
    file_argument,
    is_unsent,
    nonce_option,
    require_time,
    shown_time,
    signing_options,
)
from meridian.contracts.statements import RegisterEvaluator, RegisterNode, SelfCommit
from meridian.errors import InvalidInput
from meridian.measure.epoch import Calendar
from meridian.measure.own_jobs import OwnJobs
from meridian.node.chain.contract import Contract
from meridian.node.chain.signing import Call
from meridian.node.deployment_file import Deployment
from meridian.node.signed_file import SignedFile, read_signed
from meridian.primitives.amounts import format_fil
from meridian.primitives.ids import ZERO_ADDRESS, Address, node_key, parse_digest

node_option = click.option("--node", "node_id", required=True, metavar="ID", help="The node's id.")


@click.group()
def register() -> None:
    """Registrations of members without coins: they sign, somebody else sends with gas and stake."""


@register.group("sign")
def sign_registration() -> None:
    """Sign that one wants to be a member; writes a file, sends nothing."""


@sign_registration.command("node")
@node_option
@click.option("--payee", type=ACCOUNT, help="Who is paid for the node.  [default: its operator]")
@nonce_option
@deadline_option
@signing_options
def sign_node(
    node_id: str,
    payee: Address | None,
    nonce: int | None,
    deadline_s: int | None,
    signing: Signing,
) -> None:
    """Sign, as its operator, that a node joins. Its stake goes back to the operator, whoever paid it."""
    from meridian.primitives.fil_address import account_text

    key, deadline = signing.key(), deadline_of(deadline_s)
    paid = key.address if payee is None else payee
    number = signing.nonce(nonce, "Registry", key.address)
    deployment = signing.deployment
    name = node_key(node_id)
    says = RegisterNode(deployment.network_id, name, key.address, paid, number, deadline)
    facts = {
        "node": node_id,
        "payee": account_text(paid, deployment.chain_id),
        "nonce": str(number),
        "deadline": shown_time(deadline),
    }
    signing.write(says, key, facts, node_id)


@sign_registration.command("evaluator")
@click.option(
    "--link-key",
    required=True,
    metavar="HEX",
    help="Ed25519 public key of its links, 64 hex digits.",
)
@click.option("--endpoint", required=True, metavar="HOST:PORT", help="Where its peers reach it.")
@nonce_option
@deadline_option
@signing_options
def sign_evaluator(
    link_key: str, endpoint: str, nonce: int | None, deadline_s: int | None, signing: Signing
) -> None:
    """Sign that one becomes an evaluator. The stake goes back to the evaluator, whoever paid it."""
    from meridian.contracts.calldata import ENDPOINT_BYTES_MAX

    link = parse_digest(link_key, "--link-key")
    if len(endpoint.encode()) > ENDPOINT_BYTES_MAX:
        raise InvalidInput("--endpoint", f"longer than {ENDPOINT_BYTES_MAX} bytes")
    key, deadline = signing.key(), deadline_of(deadline_s)
    number = signing.nonce(nonce, "Registry", key.address)
    network = signing.deployment.network_id
    says = RegisterEvaluator(network, key.address, link, endpoint, number, deadline)
    facts = {"endpoint": endpoint, "nonce": str(number), "deadline": shown_time(deadline)}
    signing.write(says, key, facts, None)


@register.command("send")
@file_argument
@data_dir_option
@click.option(
    "--amount", type=COINS, help="Stake in whole coins.  [default: the least that is taken]"
)
@sending_options
def send_registration(file: Path, data_dir: Path, amount: int | None, sending: Sending) -> None:
    """Register the node or evaluator that FILE is signed for; the sender pays stake and gas."""
    signed: SignedFile[Any] = read_signed(file, RegisterNode, RegisterEvaluator)
    with open_session(data_dir, sending) as (session, deployment):
        signed.check_place(deployment)
        registry = chain_view(session, deployment).registry
        if isinstance(signed.statement, RegisterNode):
            _send_node(session, deployment, registry, signed, amount)
        else:
            _send_evaluator(session, deployment, registry, signed, amount)


def _send_node(
    session: Session,
    deployment: Deployment,
    registry: Contract,
    signed: SignedFile[RegisterNode],
    amount: int | None,
) -> None:
    from meridian.contracts.calldata import NodeRegistration

    says, node = signed.statement, signed.node or signed.statement.node_key.hex()
    where = {"node_key": says.node_key}
    trace = Trace(registry, "NodeRegistered", where, deployment.deploy_block)
    if not is_unsent(session, signed, trace, f"the registration of node {node}"):
        return
    operator, _, _, _ = registry.read("node", says.node_key)
    if operator != ZERO_ADDRESS:
        raise InvalidInput("node", f"{node} is registered by {session.account(operator)} already")
    entry = NodeRegistration(says, signed.signature).arguments
    _send(
        session,
        registry,
        signed,
        (registry.encode("register_nodes", [entry]), amount, "node_stake_min"),
        {
            "node": node,
            "operator": session.account(says.operator),
            "payee": session.account(says.payee),
        },
    )


def _send_evaluator(
    session: Session,
    deployment: Deployment,
    registry: Contract,
    signed: SignedFile[RegisterEvaluator],
    amount: int | None,
) -> None:
    from meridian.contracts.calldata import EvaluatorRegistration

    says = signed.statement
    who = session.account(says.evaluator)
    where = {"evaluator": says.evaluator}
    trace = Trace(registry, "EvaluatorRegistered", where, deployment.deploy_block)
    if not is_unsent(session, signed, trace, f"the registration of evaluator {who}"):
        return
    entry = EvaluatorRegistration(says, signed.signature).arguments
    _send(
        session,
        registry,
        signed,
        (registry.encode("register_evaluator", *entry), amount, "evaluator_stake_min"),
        {"evaluator": who, "endpoint": says.endpoint},
    )


def _send(
    session: Session,
    registry: Contract,
    signed: SignedFile[Any],
    call: tuple[bytes, int | None, str],
    facts: dict[str, str],
) -> None:
    data, amount, least = call
    value = registry.read(least) if amount is None else amount
    what, name = next(iter(facts.items()))
    session.perform(
        Action(
            purpose=f"register-signed/{registry.address.hex()}/{signed.digest.hex()}",
            call=Call(registry.address, data, value),
            title=f"Register {what} {name} with a stake of {format_fil(value)}, as it signed",
            facts=facts,
        )
    )


@click.group("self-commit")
def self_commit() -> None:
    """A node's commitment to its own jobs of an epoch, where the aggregator left it out."""


@self_commit.command("sign")
@node_option
@click.option(
    "--epoch", type=click.IntRange(min=0), required=True, help="The epoch, which is over."
)
@click.option(
    "--segment",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The published Parquet segment with the node's jobs and no others.",
)
@click.option(
    "--schema",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The network's schema artefact.  [default: the publication's]",
)
@click.option(
    "--root", metavar="HEX", help="Instead of --segment: the job tree's root node, 112 digits."
)
@click.option("--segment-digest", metavar="HEX", help="With --root: SHA-256 of the segment.")
@deadline_option
@signing_options
def sign_self_commit(
    node_id: str,
    epoch: int,
    segment: Path | None,
    schema: Path | None,
    root: str | None,
    segment_digest: str | None,
    deadline_s: int | None,
    signing: Signing,
) -> None:
    """Sign, as a node's operator, what its jobs of an epoch were; writes a file, sends nothing."""
    if (segment is None) == (root is None) or (root is None) != (segment_digest is None):
        raise InvalidInput("--segment", "give it, or else --root and --segment-digest")
    if segment is not None:
        own = _own_jobs(signing, segment, schema, epoch, node_id)
    else:
        own = OwnJobs(
            _root_node(root or ""), parse_digest(segment_digest or "", "--segment-digest")
        )
    key, deadline = signing.key(), deadline_of(deadline_s)
    says = SelfCommit(
        network=signing.deployment.network_id,
        epoch=epoch,
        node_key=node_key(node_id),
        tree_hash=own.tree_hash,
        annotation=own.annotation,
        segment=own.segment,
        deadline_s=deadline,
    )
    facts = {**_facts(says, node_id), "deadline": shown_time(deadline)}
    signing.write(says, key, facts, node_id)


def _own_jobs(
    signing: Signing, segment: Path, schema: Path | None, epoch: int, node_id: str
) -> OwnJobs:
    from meridian.measure.columns import SEGMENT_BYTES_MAX
    from meridian.measure.own_jobs import own_jobs
    from meridian.measure.schema import NetworkSchema
    from meridian.node.durable_file import read_whole
    from meridian.node.network_file import FILE_NAME, NetworkFile
    from meridian.node.published_places import PublishedPlaces

    if (signing.data_dir / FILE_NAME).exists():
        network = NetworkFile.load(signing.data_dir)
        calendar = network.calendar
    else:
        network, calendar = None, _read_calendar(signing)
    if schema is not None:
        encoded = read_whole(schema)
    elif network is not None:
        places = PublishedPlaces(network.places(signing.data_dir), network.measure_url)
        with contextlib.closing(places) as source:
            encoded = source.fetch(network.schema_digest)
    else:
        raise InvalidInput("--schema", "is needed: the data directory has no network.json")
    data = read_whole(segment, SEGMENT_BYTES_MAX)
    try:
        return own_jobs(data, NetworkSchema.decode(encoded), calendar, epoch, node_id)
    except InvalidInput as error:
        raise InvalidInput(str(segment), f"{error.field}: {error.reason}") from error


def _read_calendar(signing: Signing) -> Calendar:
    """Return the network's epochs from the chain, where no file tells them."""
    from meridian.contracts.artefact import load

    with open_chain(signing.data_dir, signing.rpc_url) as (rpc, deployment):
        registry = Contract(rpc, deployment.contracts.registry, load("Registry"))
        names = ("genesis", "epoch_seconds", "first_epoch")
        return Calendar(*(registry.read(name) for name in names))


def _root_node(text: str) -> bytes:
    from meridian.primitives.sumtree import NODE_BYTES

    try:
        root = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        root = b""
    if len(root) != NODE_BYTES:
        raise InvalidInput("--root", f"is not {2 * NODE_BYTES} hex digits")
    return root


def _facts(says: SelfCommit, node: str) -> dict[str, str]:
    return {
        "node": node,
        "epoch": str(says.epoch),
        "jobs": str(int.from_bytes(says.annotation[:8], "big")),
        "root": (says.tree_hash + says.annotation).hex(),
        "segment": says.segment.hex(),
    }


@self_commit.command("send")
@file_argument
@data_dir_option
@sending_options
def send_self_commit(file: Path, data_dir: Path, sending: Sending) -> None:
    """Commit the node whose operator signed FILE to its own jobs; anybody may send it, once for an epoch."""
    signed = read_signed(file, SelfCommit)
    says, node = signed.statement, signed.node or signed.statement.node_key.hex()
    with open_session(data_dir, sending) as (session, deployment):
        signed.check_place(deployment)
        view = chain_view(session, deployment)
        commitments = view.commitments
        title = f"Commit node {node} to its own jobs of epoch {says.epoch}"
        where = {"epoch": says.epoch, "node_key": says.node_key}
        for event in commitments.events("SelfCommitted", deployment.deploy_block, where=where):
            fields = ("tree_hash", "annotation", "segment")
            if any(bytes(event.args[name]) != getattr(says, name) for name in fields):
                raise InvalidInput(
                    str(file), f"node {node} has committed itself to other jobs of this epoch"
                )
            tx_hash = "0x" + event.tx_hash.hex()
            session.say_done(f"{title}: already done in {tx_hash}", {"tx_hash": tx_hash})
            return
        operator, _, _, _ = view.registry.read("node", says.node_key)
        if operator != signed.signer:
            raise InvalidInput(str(file), f"is not signed by the operator of node {node}")
        require_time(session, says.deadline_s)
        data = commitments.encode("self_commit", *says.arguments, *signed.words)
        session.perform(
            Action(
                purpose=f"self-commit/{commitments.address.hex()}/{signed.digest.hex()}",
                call=Call(commitments.address, data),
                title=title,
                facts=_facts(says, node),
            )
        )
