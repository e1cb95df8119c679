"""`meridian chain referee`: the pinned committee that rules on what arithmetic cannot settle.

Each referee signs its ruling where its key is (`rule`); anybody brings a quorum of such files in one transaction
(`decide`). Two different rulings of one referee in one case cost its deposit (`contradiction`).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from meridian.cli.chain_session import (
    ACCOUNT,
    COINS,
    Action,
    Sending,
    Session,
    data_dir_option,
    json_option,
    open_chain,
    open_session,
    rpc_option,
    sending_options,
)
from meridian.cli.chain_signing import Signing, signing_options
from meridian.contracts.statements import RuledCommitment, Ruling
from meridian.errors import InvalidInput, NotFound
from meridian.node.chain.contract import Contract
from meridian.node.chain.rpc import ChainClient
from meridian.node.chain.signing import Call
from meridian.node.deployment_file import Deployment
from meridian.node.signed_file import SignedFile
from meridian.primitives.amounts import format_fil
from meridian.primitives.ids import ZERO_ADDRESS, Address, parse_digest

case_option = click.option(
    "--case",
    "case_id",
    type=click.IntRange(min=1, max=(1 << 256) - 1),
    required=True,
    help="The case.",
)
files_argument = click.argument(
    "files", type=click.Path(path_type=Path, dir_okay=False), nargs=-1, required=True
)


@click.group()
def referee() -> None:
    """Be a referee: put a deposit down, sign rulings, and bring what a quorum has signed."""


@referee.command("list")
@data_dir_option
@rpc_option
@json_option
def list_referees(data_dir: Path, rpc_url: str | None, *, as_json: bool) -> None:
    """Print the referees with their deposits, the quorum, and until when deposits must stay."""
    from meridian.primitives.fil_address import account_text

    with open_chain(data_dir, rpc_url) as (rpc, deployment):
        referees = _referees(rpc, deployment)
        rows = {one: referees.read("deposits", one) for one in referees.read("referees")}
        names = ("quorum", "stake_min", "busy_until", "voting_seconds")
        quorum, least, busy_until, voting = (referees.read(name) for name in names)
    shown = {account_text(one, deployment.chain_id): atto for one, atto in rows.items()}
    if as_json:
        document = {
            "referees": [
                {"referee": one, "deposit_atto": str(atto), "counts": atto >= least}
                for one, atto in shown.items()
            ],
            "quorum": quorum,
            "stake_min_atto": str(least),
            "voting_seconds": voting,
            "busy_until_s": busy_until,
        }
        click.echo(json.dumps(document))
        return
    for one, atto in shown.items():
        click.echo(
            f"{one}  {format_fil(atto)}" + ("" if atto >= least else "  too little to count")
        )
    click.echo(f"quorum {quorum}, least deposit {format_fil(least)}, busy until {busy_until}")


@referee.command()
@data_dir_option
@click.option(
    "--amount", type=COINS, help="Whole coins.  [default: what is lacking to the least deposit]"
)
@click.option(
    "--again",
    default="",
    metavar="WORD",
    help="The same amount once more: a new word is a new deposit.",
)
@sending_options
def deposit(data_dir: Path, amount: int | None, again: str, sending: Sending) -> None:
    """Add to the sender's deposit, without which its signature does not count."""
    with open_session(data_dir, sending) as (session, deployment):
        referees = _referees(session.rpc, deployment)
        me, facts = session.key.address, {"referee": session.account(session.key.address)}
        held, least = referees.read("deposits", me), referees.read("stake_min")
        value = max(least - held, 0) if amount is None else amount
        if amount is None and not value:
            text = f"the deposit is {format_fil(held)}, and {format_fil(least)} are enough"
            session.say_done(text, facts)
            return
        # After a deposit is gone, the same amount is another wish.
        gone = _times_emptied(referees, deployment, me)
        session.perform(
            Action(
                purpose=f"referee-deposit/{referees.address.hex()}/{gone}/{value}/{again}",
                call=Call(referees.address, referees.encode("deposit"), value),
                title=f"Deposit {format_fil(value)} as a referee",
                facts=facts,
            )
        )


@referee.command()
@data_dir_option
@sending_options
def withdraw(data_dir: Path, sending: Sending) -> None:
    """Pay the sender's deposit back, when no case is open and none was lately."""
    with open_session(data_dir, sending) as (session, deployment):
        referees = _referees(session.rpc, deployment)
        me, facts = session.key.address, {"referee": session.account(session.key.address)}
        held = referees.read("deposits", me)
        if not held:
            session.say_done("there is no deposit of this account", facts)
            return
        gone = _times_emptied(referees, deployment, me)
        session.perform(
            Action(
                purpose=f"referee-withdraw/{referees.address.hex()}/{gone}",
                call=Call(referees.address, referees.encode("withdraw")),
                title=f"Take back the referee's deposit, {format_fil(held)}",
                facts=facts,
            )
        )


@referee.command()
@case_option
@click.option(
    "--guilty",
    type=ACCOUNT,
    multiple=True,
    help="A member of the epoch that is guilty (repeatable).",
)
@click.option(
    "--wrong",
    type=ACCOUNT,
    multiple=True,
    help="An aggregator whose standing commitment of the epoch is wrong (repeatable).",
)
@click.option("--voids", is_flag=True, help="The epoch's report is void.")
@click.option("--nothing", is_flag=True, help="Nobody is guilty and nothing is void: dismiss it.")
@click.option("--epoch", type=click.IntRange(min=0), help="The case's.  [default: read it]")
@click.option(
    "--accusation", metavar="HEX", help="The case's digest, 64 hex digits.  [default: read it]"
)
@signing_options
def rule(
    case_id: int,
    guilty: tuple[Address, ...],
    wrong: tuple[Address, ...],
    voids: bool,
    nothing: bool,
    epoch: int | None,
    accusation: str | None,
    signing: Signing,
) -> None:
    """Sign a ruling in a case; writes a file, sends nothing.

    With --epoch and --accusation, and without --wrong, no chain is needed.
    """
    if nothing == bool(guilty or wrong or voids):
        raise InvalidInput(
            "--nothing", "a ruling names --guilty, --wrong or --voids, or else --nothing"
        )
    digest = None if accusation is None else parse_digest(accusation, "--accusation")
    commitments: tuple[RuledCommitment, ...] = ()
    if epoch is None or digest is None or wrong:
        with open_chain(signing.data_dir, signing.rpc_url) as (rpc, deployment):
            found = _open_case(_referees(rpc, deployment), case_id)
            for name, given, stored in (
                ("epoch", epoch, found[0]),
                ("accusation", digest, found[1]),
            ):
                if given not in {None, stored}:
                    raise InvalidInput(f"--{name}", f"is not that of case {case_id}")
            epoch, digest = found
            commitments = tuple(_standing(rpc, deployment, epoch, one) for one in _distinct(wrong))
    says = Ruling(
        network=signing.deployment.network_id,
        case_id=case_id,
        epoch=epoch,
        accusation=digest,
        guilty=_distinct(guilty),
        wrong=commitments,
        voids=voids,
    )
    signing.write(says, signing.key(), ruling_facts(says), None)


@referee.command()
@files_argument
@data_dir_option
@sending_options
def decide(files: tuple[Path, ...], data_dir: Path, sending: Sending) -> None:
    """Carry out the ruling in FILES, which a quorum of the referees signed; anybody may send it."""
    from meridian.contracts.calldata import ascending_words

    signed = _rulings(files)
    says = signed[0].statement
    for path, one in zip(files, signed, strict=True):
        if one.statement != says:
            raise InvalidInput(str(path), f"is another ruling than {files[0]}")
    with open_session(data_dir, sending) as (session, deployment):
        for one in signed:
            one.check_place(deployment)
        referees = _referees(session.rpc, deployment)
        if _is_over(session, referees, deployment, says.case_id):
            return
        signatures = {one.signer: one.signature for one in signed}
        _check_votes(session, referees, signatures)
        lists = (list(says.guilty), list(says.wrong))
        arguments = (says.case_id, *lists, says.voids, ascending_words(signatures))
        session.perform(
            Action(
                purpose=f"referee-decide/{referees.address.hex()}/{signed[0].digest.hex()}",
                call=Call(referees.address, referees.encode("decide", *arguments)),
                title=f"Decide case {says.case_id} as {len(signatures)} referees signed",
                facts=ruling_facts(says),
            )
        )


@referee.command()
@case_option
@data_dir_option
@sending_options
def dismiss(case_id: int, data_dir: Path, sending: Sending) -> None:
    """End a case without a ruling when the referees' time is over; anybody may send it."""
    with open_session(data_dir, sending) as (session, deployment):
        referees = _referees(session.rpc, deployment)
        if _is_over(session, referees, deployment, case_id):
            return
        session.perform(
            Action(
                purpose=f"referee-dismiss/{referees.address.hex()}/{case_id}",
                call=Call(referees.address, referees.encode("dismiss", case_id)),
                title=f"Dismiss case {case_id}, on which the referees did not rule in time",
                facts={"case": str(case_id)},
            )
        )


@referee.command()
@files_argument
@data_dir_option
@sending_options
def contradiction(files: tuple[Path, ...], data_dir: Path, sending: Sending) -> None:
    """Show two FILES with different rulings of one referee in one case: half its deposit is the sender's."""
    if len(files) != 2:
        raise InvalidInput("FILES", f"{len(files)} where two are needed")
    one, other = sorted(_rulings(files), key=lambda signed: signed.digest)
    if one.signer != other.signer:
        raise InvalidInput("FILES", "the two rulings are of two referees")
    if one.statement.case_id != other.statement.case_id:
        raise InvalidInput("FILES", "the two rulings are in two cases")
    if one.digest == other.digest:
        raise InvalidInput("FILES", "both say the same")
    with open_session(data_dir, sending) as (session, deployment):
        for signed in (one, other):
            signed.check_place(deployment)
        referees = _referees(session.rpc, deployment)
        says, case_id = (one.statement, other.statement), one.statement.case_id
        shown = {"case_id": case_id, "referee": one.signer}
        for event in referees.events("Contradicted", deployment.deploy_block, where=shown):
            tx_hash = "0x" + event.tx_hash.hex()
            session.say_done(f"it was shown before, in {tx_hash}", {"tx_hash": tx_hash})
            return
        guilty, wrong = zip(*(ruling.list_hashes for ruling in says), strict=True)
        voids, words = [ruling.voids for ruling in says], [one.words, other.words]
        arguments = (case_id, list(guilty), list(wrong), voids, words)
        name = f"{one.digest.hex()}/{other.digest.hex()}"
        session.perform(
            Action(
                purpose=f"referee-contradiction/{referees.address.hex()}/{name}",
                call=Call(referees.address, referees.encode("contradiction", *arguments)),
                title=f"Show that a referee signed two rulings in case {case_id}",
                facts={
                    "referee": session.account(one.signer),
                    "deposit": format_fil(referees.read("deposits", one.signer)),
                },
            )
        )


def ruling_facts(says: Ruling) -> dict[str, str]:
    """Return what a ruling says, for people."""
    nobody = "nobody" if not says.wrong else "the aggregators of what is wrong"
    return {
        "case": str(says.case_id),
        "epoch": str(says.epoch),
        "guilty": ", ".join("0x" + one.hex() for one in says.guilty) or nobody,
        "wrong": ", ".join(f"the commitment of 0x{one.aggregator.hex()}" for one in says.wrong)
        or "nothing",
        "voids_the_report": "yes" if says.voids else "no",
    }


def _referees(client: ChainClient, deployment: Deployment) -> Contract:
    """Return the contract; raises `NotFound` for a network without referees."""
    from meridian.contracts.artefact import load

    place = deployment.contracts.referees
    if place == ZERO_ADDRESS:
        raise NotFound(f"network {deployment.network} was deployed without referees")
    return Contract(client, place, load("Referees"))


def _times_emptied(referees: Contract, deployment: Deployment, account: Address) -> int:
    """Return how often an account's deposit went away, paid back or lost."""
    where = {"referee": account}
    names = ("Withdrawn", "Contradicted")
    first = deployment.deploy_block
    return sum(len(referees.events(name, first, where=where)) for name in names)


def _open_case(referees: Contract, case_id: int) -> tuple[int, bytes]:
    """Return a case's epoch and accusation; raises `NotFound` if nobody can rule on it."""
    epoch, until, accusation = referees.read("cases", case_id)
    if not until:
        raise NotFound(f"case {case_id} is not open")
    return int(epoch), bytes(accusation)


def _is_over(session: Session, referees: Contract, deployment: Deployment, case_id: int) -> bool:
    """Tell whether a case was decided or dismissed, and say so; raises `NotFound` if there never was one."""
    if referees.read("cases", case_id)[1]:
        return False
    where = {"case_id": case_id}
    for event in referees.events("Decided", deployment.deploy_block, where=where):
        tx_hash, votes = "0x" + event.tx_hash.hex(), event.args["votes"]
        how = f"decided by {votes} referees" if votes else "dismissed"
        facts = {"case": str(case_id), "votes": str(votes), "tx_hash": tx_hash}
        session.say_done(f"case {case_id} was {how} in {tx_hash}", facts)
        return True
    raise NotFound(f"there is no case {case_id}")


def _standing(
    client: ChainClient, deployment: Deployment, epoch: int, aggregator: Address
) -> RuledCommitment:
    """Return an aggregator's standing commitment of an epoch; raises `NotFound` if there is none."""
    from meridian.node.chain_view import ChainView

    view = ChainView(client, deployment.contracts, deployment.deploy_block)
    for one in reversed(view.committed()):
        if (one.epoch, one.aggregator) == (epoch, aggregator):
            found = RuledCommitment(
                epoch, aggregator, one.root, one.n_nodes, one.annotation, one.manifest
            )
            if view.commitments.read("is_commitment", *found):
                return found
    raise NotFound(f"no commitment of epoch {epoch} by 0x{aggregator.hex()} stands")


def _rulings(files: Sequence[Path]) -> list[SignedFile[Ruling]]:
    from meridian.node.signed_file import read_signed

    return [read_signed(path, Ruling) for path in files]


def _check_votes(session: Session, referees: Contract, signatures: dict[Address, Any]) -> None:
    """Require that every signer counts and that they are enough, before any gas is spent."""
    least, quorum = referees.read("stake_min"), referees.read("quorum")
    for signer in signatures:
        if not referees.read("is_referee", signer):
            raise InvalidInput("FILES", f"{session.account(signer)} is no referee")
        held = referees.read("deposits", signer)
        if held < least:
            raise InvalidInput(
                "FILES",
                f"{session.account(signer)} has a deposit of {format_fil(held)};"
                f" it counts from {format_fil(least)} on",
            )
    if len(signatures) < quorum:
        raise InvalidInput("FILES", f"{len(signatures)} referees signed, {quorum} are needed")


def _distinct(accounts: Sequence[Address]) -> tuple[Address, ...]:
    """Return accounts once each, ascending: the same ruling has the same bytes, whoever writes it down."""
    return tuple(sorted(set(accounts)))
