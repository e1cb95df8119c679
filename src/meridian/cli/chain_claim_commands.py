"""`meridian chain claim | claim-signed | delegate`: what nodes have earned, to their payees or where these want it.

A payee without coins signs (`claim-signed sign`) and whoever has gas sends (`claim-signed send`), for a fee out of the
claim. A payee that keeps its key away lets a delegate send its claims, also to other accounts (`claim --to`).
"""

from dataclasses import dataclass
from pathlib import Path

import click

from meridian.audit.proofs import ProvenClaim
from meridian.cli.chain_session import (
    ACCOUNT,
    COINS,
    Action,
    Sending,
    Session,
    chain_view,
    data_dir_option,
    json_option,
    open_chain,
    open_session,
    rpc_option,
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
    shown_time,
    signing_options,
)
from meridian.contracts.calldata import Claim
from meridian.node.chain.signing import Call
from meridian.node.chain_view import ChainView
from meridian.primitives.amounts import format_fil
from meridian.primitives.ids import ZERO_ADDRESS, Address

node_option = click.option("--node", "node_id", required=True, metavar="ID", help="The node's id.")
epoch_option = click.option(
    "--epoch",
    type=click.IntRange(min=0),
    help="Claim under this epoch's report.  [default: the newest that is unlocked]",
)


@dataclass(frozen=True, slots=True)
class _Due:
    """A node's proven claim, and what it would pay now."""

    file: ProvenClaim
    atto: int
    facts: dict[str, str]

    @property
    def claim(self) -> Claim:
        """The proof as Rewards takes it."""
        proof = self.file.proof
        return Claim(
            epoch=self.file.epoch,
            node_key=proof.node_key,
            payee=proof.payee,
            cumulative_atto=proof.cumulative,
            index=proof.index,
            size=proof.size,
            path=proof.path,
        )


def _due(
    session: Session, view: ChainView, data_dir: Path, node_id: str, epoch: int | None
) -> _Due | None:
    """Return what a node can draw, from the published claims; None, and says so, if it has drawn everything.

    Raises:
        NotFound: If no report is unlocked, or the node never earned anything.
    """
    from meridian.audit.proof_building import claim_proof
    from meridian.errors import NotFound
    from meridian.node.audit_sources import source_on
    from meridian.node.network_file import NetworkFile

    if epoch is None:
        unlocked = (one.epoch for one in reversed(view.reported()) if view.is_unlocked(one.epoch))
        epoch = next(unlocked, None)
        if epoch is None:
            raise NotFound("no report is unlocked yet")
    source = source_on(data_dir, NetworkFile.load(data_dir), session.rpc)
    file = claim_proof(source, epoch, node_id)
    atto = file.proof.cumulative - view.rewards.read("claimed", file.proof.node_key)
    payee = session.account(file.proof.payee)
    facts = {"node": file.node_id, "epoch": str(epoch), "payee": payee}
    if atto > 0:
        return _Due(file, atto, facts)
    session.say_done(f"node {file.node_id} has drawn everything up to epoch {epoch}", facts)
    return None


@click.command()
@data_dir_option
@node_option
@epoch_option
@click.option(
    "--to",
    "recipient",
    type=ACCOUNT,
    help="Pay this account instead of the payee; the sender must be the payee or its delegate.",
)
@sending_options
def claim(
    data_dir: Path, node_id: str, epoch: int | None, recipient: Address | None, sending: Sending
) -> None:
    """Draw what a node has earned so far, from the published claims; anyone may send it, its payee gets it."""
    with open_session(data_dir, sending) as (session, deployment):
        view = chain_view(session, deployment)
        due = _due(session, view, data_dir, node_id, epoch)
        if due is None:
            return
        one, rewards = due.claim, view.rewards
        wish = f"{rewards.address.hex()}/{one.epoch}/{one.node_key.hex()}/{one.cumulative_atto}"
        title = f"Claim {format_fil(due.atto)} for node {due.file.node_id}"
        facts = {**due.facts, "amount": format_fil(due.atto)}
        if recipient is None:
            data = rewards.encode("claim", *one.arguments)
            session.perform(Action(f"claim/{wish}", Call(rewards.address, data), title, facts))
            return
        data = rewards.encode("claim_to", one.arguments, recipient)
        session.perform(
            Action(
                purpose=f"claim-to/{recipient.hex()}/{wish}",
                call=Call(rewards.address, data),
                title=f"{title}, to {session.account(recipient)}",
                facts={**facts, "recipient": session.account(recipient)},
            )
        )


@click.group("claim-signed")
def claim_signed() -> None:
    """Claims of payees without gas: they sign, somebody else sends and keeps a fee."""


@claim_signed.command("sign")
@node_option
@click.option(
    "--fee", type=COINS, default="0", show_default=True, help="Whole coins for whoever sends it."
)
@nonce_option
@deadline_option
@signing_options
def sign_claim(
    node_id: str, fee: int, nonce: int | None, deadline_s: int | None, signing: Signing
) -> None:
    """Sign, as a node's payee, that anybody may send its claim; writes a file, sends nothing.

    What is claimed is not signed: whoever sends it proves what is due then. The file is good for one claim.
    """
    from meridian.contracts.statements import RelayedClaim
    from meridian.errors import InvalidInput
    from meridian.primitives.ids import node_key

    if fee >= 1 << 128:
        raise InvalidInput("--fee", "does not fit in 128 bits")
    key = signing.key()
    number = signing.nonce(nonce, "Rewards", key.address)
    deadline = deadline_of(deadline_s)
    network = signing.deployment.network_id
    says = RelayedClaim(network, node_key(node_id), key.address, fee, number, deadline)
    facts = {
        "node": node_id,
        "fee": format_fil(fee),
        "nonce": str(number),
        "deadline": shown_time(deadline),
    }
    signing.write(says, key, facts, node_id)


@claim_signed.command("send")
@file_argument
@data_dir_option
@epoch_option
@sending_options
def send_claim(file: Path, data_dir: Path, epoch: int | None, sending: Sending) -> None:
    """Send the claim of a payee who signed FILE: the payee gets what is due, less the fee, which the sender gets."""
    from meridian.contracts.statements import RelayedClaim
    from meridian.errors import InvalidInput
    from meridian.node.signed_file import read_signed

    signed = read_signed(file, RelayedClaim)
    says = signed.statement
    if signed.node is None:
        raise InvalidInput(str(file), "node: is needed to find the claim")
    with open_session(data_dir, sending) as (session, deployment):
        signed.check_place(deployment)
        view = chain_view(session, deployment)
        rewards = view.rewards
        where = {"node_key": says.node_key}
        trace = Trace(rewards, "FeePaid", where, deployment.deploy_block)
        if not is_unsent(session, signed, trace, f"the signed claim of node {signed.node}"):
            return
        due = _due(session, view, data_dir, signed.node, epoch)
        if due is None:
            return
        if due.file.proof.payee != says.payee:
            raise InvalidInput(
                str(file), f"is signed by {session.account(says.payee)}, not by the node's payee"
            )
        fee = min(says.fee_max_atto, due.atto)
        arguments = (due.claim.arguments, says.fee_max_atto, says.deadline_s, *signed.words)
        session.perform(
            Action(
                purpose=f"claim-signed/{rewards.address.hex()}/{signed.digest.hex()}",
                call=Call(rewards.address, rewards.encode("claim_relayed", *arguments)),
                title=f"Claim {format_fil(due.atto)} for node {signed.node}, as its payee signed",
                facts={
                    **due.facts,
                    "amount": format_fil(due.atto),
                    "relayer_gets": format_fil(fee),
                    "payee_gets": format_fil(due.atto - fee),
                },
            )
        )


@click.group()
def delegate() -> None:
    """Who may send a payee's claims to accounts of its choice (`claim --to`), besides the payee."""


@delegate.command("show")
@click.argument("payee", type=ACCOUNT)
@data_dir_option
@rpc_option
@json_option
def show_delegate(payee: Address, data_dir: Path, rpc_url: str | None, *, as_json: bool) -> None:
    """Print the delegate of PAYEE, and the nonce that its next signed statement needs."""
    import json

    from meridian.primitives.fil_address import account_text

    with open_chain(data_dir, rpc_url) as (rpc, deployment):
        rewards = ChainView(rpc, deployment.contracts, deployment.deploy_block).rewards
        named, nonce = rewards.read("delegates", payee), rewards.read("nonces", payee)
    shown = {
        "payee": account_text(payee, deployment.chain_id),
        "delegate": None if named == ZERO_ADDRESS else account_text(named, deployment.chain_id),
        "nonce": nonce,
    }
    if as_json:
        click.echo(json.dumps(shown))
    else:
        click.echo(f"payee     {shown['payee']}")
        click.echo(f"delegate  {shown['delegate'] or 'nobody'}")
        click.echo(f"nonce     {nonce}")


@delegate.command("set")
@click.argument("account", type=ACCOUNT)
@data_dir_option
@sending_options
def set_delegate(account: Address, data_dir: Path, sending: Sending) -> None:
    """Make ACCOUNT the sender's delegate, in place of the one before."""
    _set_delegate(account, data_dir, sending)


@delegate.command("clear")
@data_dir_option
@sending_options
def clear_delegate(data_dir: Path, sending: Sending) -> None:
    """Take the sender's delegate away."""
    _set_delegate(ZERO_ADDRESS, data_dir, sending)


def _set_delegate(account: Address, data_dir: Path, sending: Sending) -> None:
    with open_session(data_dir, sending) as (session, deployment):
        rewards = chain_view(session, deployment).rewards
        payee = session.key.address
        facts = {"payee": session.account(payee), "delegate": _delegate_text(session, account)}
        if rewards.read("delegates", payee) == account:
            session.say_done(f"the delegate is {facts['delegate']} already", facts)
            return
        # A name that was taken back may be given again: each change is a wish of its own.
        changes = rewards.events("DelegateSet", deployment.deploy_block, where={"payee": payee})
        session.perform(
            Action(
                purpose=f"delegate/{rewards.address.hex()}/{account.hex()}/{len(changes)}",
                call=Call(rewards.address, rewards.encode("set_delegate", account)),
                title=f"Make {facts['delegate']} the delegate",
                facts=facts,
            )
        )


@delegate.command("sign")
@click.argument("account", type=ACCOUNT)
@nonce_option
@deadline_option
@signing_options
def sign_delegate(
    account: Address, nonce: int | None, deadline_s: int | None, signing: Signing
) -> None:
    """Sign, as a payee, that ACCOUNT is its delegate (0x0…0: nobody); writes a file, sends nothing."""
    from meridian.contracts.statements import Delegate
    from meridian.primitives.fil_address import account_text

    key = signing.key()
    number = signing.nonce(nonce, "Rewards", key.address)
    deadline = deadline_of(deadline_s)
    deployment = signing.deployment
    says = Delegate(deployment.network_id, key.address, account, number, deadline)
    facts = {
        "delegate": account_text(account, deployment.chain_id),
        "nonce": str(number),
        "deadline": shown_time(deadline),
    }
    signing.write(says, key, facts, None)


@delegate.command("send")
@file_argument
@data_dir_option
@sending_options
def send_delegate(file: Path, data_dir: Path, sending: Sending) -> None:
    """Send the choice of a payee who signed FILE; anybody may."""
    from meridian.contracts.statements import Delegate
    from meridian.node.signed_file import read_signed

    signed = read_signed(file, Delegate)
    says = signed.statement
    with open_session(data_dir, sending) as (session, deployment):
        signed.check_place(deployment)
        rewards = chain_view(session, deployment).rewards
        title = f"Make {_delegate_text(session, says.delegate)} the delegate of {session.account(says.payee)}"
        trace = Trace(rewards, "DelegateSet", {"payee": says.payee}, deployment.deploy_block)
        if not is_unsent(session, signed, trace, title):
            return
        arguments = (says.payee, says.delegate, says.deadline_s, *signed.words)
        session.perform(
            Action(
                purpose=f"delegate-signed/{rewards.address.hex()}/{signed.digest.hex()}",
                call=Call(rewards.address, rewards.encode("set_delegate_signed", *arguments)),
                title=title,
                facts={
                    "payee": session.account(says.payee),
                    "delegate": _delegate_text(session, says.delegate),
                },
            )
        )


def _delegate_text(session: Session, account: Address) -> str:
    return "nobody" if account == ZERO_ADDRESS else session.account(account)
