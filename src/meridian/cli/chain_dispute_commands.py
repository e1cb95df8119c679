"""`meridian chain dispute`: accusations to the contracts that judge.

An accusation is a file (`node.accusation_file`); `meridian watch` writes such files, and anybody may send one. The same
accusation is one wish: sent once, whoever repeats the command.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import click

from meridian.cli.chain_session import (
    ACCOUNT,
    Action,
    Sending,
    Session,
    chain_view,
    data_dir_option,
    open_session,
    sending_options,
)
from meridian.cli.chain_signing import shown_time
from meridian.disputes.accusation import Commitment as Accused
from meridian.errors import InvalidInput, NotFound
from meridian.node.chain.signing import Call
from meridian.node.chain_view import Commitment
from meridian.node.challenges import Challenge
from meridian.node.deployment_file import Deployment
from meridian.primitives.ids import Address, parse_digest


@click.group()
def dispute() -> None:
    """Accuse before the contracts that judge: with a proof, a challenge, or a case for the referees."""


@dispute.command()
@data_dir_option
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The accusation, as the watcher writes it.",
)
@sending_options
def send(data_dir: Path, path: Path, sending: Sending) -> None:
    """Send an accusation. With --dry-run the endpoint tells whether the contract would accept it."""
    from meridian.node.accusation_file import read_accusation

    with open_session(data_dir, sending) as (session, deployment):
        file, _ = read_accusation(path, session.rpc)
        if file.network != deployment.network:
            raise InvalidInput("network", f"{file.network!r} is not {deployment.network!r}")
        place = _place(deployment, file.contract)
        value = _bond(session, deployment) if file.takes_bond else 0
        digest = hashlib.sha256(file.calldata).hexdigest()
        session.perform(
            Action(
                purpose=f"dispute/{place.hex()}/{digest}",
                call=Call(place, file.calldata, value),
                title=f"Accuse: {file.reason}",
                facts={
                    "proof": f"{file.contract}.{file.function}",
                    "epoch": str(file.epoch),
                    "guilty": ", ".join(session.account(one) for one in file.guilty),
                },
            )
        )


challenge_option = click.option(
    "--challenge",
    "prefix",
    required=True,
    metavar="HEX",
    help="The challenge's id, or its first 8 digits or more; `chain status --json` lists them.",
)


@dispute.command()
@data_dir_option
@click.option("--epoch", type=click.IntRange(min=0), required=True, help="The epoch's number.")
@click.option(
    "--aggregator", type=ACCOUNT, help="Whose commitment.  [default: the only one that stands]"
)
@click.option(
    "--node-index", type=click.IntRange(min=0), required=True, help="Which node, from 0 on."
)
@click.option(
    "--job-index",
    type=click.IntRange(min=0),
    help="Which of its jobs; the node's row must be published then.  [default: the node's row]",
)
@sending_options
def challenge(
    data_dir: Path,
    epoch: int,
    aggregator: Address | None,
    node_index: int,
    job_index: int | None,
    sending: Sending,
) -> None:
    """Demand that an aggregator shows a row of its commitment. Locks the bond."""
    from meridian.disputes.commitment_faults import challenge_job, challenge_node
    from meridian.node.accusation_file import file_of
    from meridian.node.watch.published import accused_of, published_nodes

    with open_session(data_dir, sending) as (session, deployment):
        commitment = _standing(session, deployment, epoch, aggregator)
        accused = accused_of(commitment)
        if job_index is None:
            accusation = challenge_node(accused, node_index)
        else:
            nodes = published_nodes(commitment, *_publication(data_dir))
            if node_index >= nodes.size:
                raise NotFound(f"there is no node {node_index} among {nodes.size}")
            accusation = challenge_job(accused, nodes, node_index, job_index)
        data = file_of(session.rpc, deployment.network, accusation).calldata
        place = _place(deployment, "Disputes")
        row = f"node {node_index}" + ("" if job_index is None else f", job {job_index}")
        session.perform(
            Action(
                # As `dispute send` of the same challenge: however it is said, it is one wish.
                purpose=f"dispute/{place.hex()}/{hashlib.sha256(data).hexdigest()}",
                call=Call(place, data, _bond(session, deployment)),
                title=f"Challenge an aggregator to show a row of epoch {epoch}",
                facts={
                    "aggregator": session.account(commitment.aggregator),
                    "row": row,
                    "challenge": _challenge_id(accused, node_index, job_index),
                },
            )
        )


@dispute.command()
@data_dir_option
@challenge_option
@sending_options
def answer(data_dir: Path, prefix: str, sending: Sending) -> None:
    """Show the row that a challenge asks for, from what is published; the bond is the aggregator's. Anyone may."""
    from meridian.disputes.answers import answer_words
    from meridian.node.watch.published import published_epoch

    with open_session(data_dir, sending) as (session, deployment):
        found = _open_challenge(session, deployment, prefix)
        if found is None:
            return
        published = published_epoch(found.commitment, *_publication(data_dir))
        node, job, rows = found.node_index, found.job_index, published.job_rows
        arguments = answer_words(
            published.commitment,
            published.lanes,
            published.node_rows,
            node,
            rows[node] if job is not None and node < len(rows) else None,
            job or 0,
        )
        _end(session, deployment, found, ("answer", arguments), f"Show the row of {found.row}")


@dispute.command()
@data_dir_option
@challenge_option
@sending_options
def resolve(data_dir: Path, prefix: str, sending: Sending) -> None:
    """End a challenge that nobody answered in time: the aggregator is guilty. Anyone may send it."""
    from meridian.node.watch.published import accused_of

    with open_session(data_dir, sending) as (session, deployment):
        found = _open_challenge(session, deployment, prefix)
        if found is None:
            return
        arguments = (accused_of(found.commitment).words, *found.asked)
        title = "Convict an aggregator that did not answer"
        _end(session, deployment, found, ("resolve", arguments), title)


def _end(
    session: Session,
    deployment: Deployment,
    found: Challenge,
    call: tuple[str, tuple[object, ...]],
    title: str,
) -> None:
    function, arguments = call
    place, data = _call(session, deployment, function, *arguments)
    session.perform(
        Action(
            purpose=f"{function}/{place.hex()}/{found.challenge_id.hex()}",
            call=Call(place, data),
            title=title,
            facts={
                "challenge": found.challenge_id.hex(),
                "epoch": str(found.commitment.epoch),
                "aggregator": session.account(found.commitment.aggregator),
                "row": found.row,
                "until": shown_time(found.until_s),
            },
        )
    )


def _open_challenge(session: Session, deployment: Deployment, prefix: str) -> Challenge | None:
    """Return a challenge that is open; None, and says so, for one that has ended."""
    from meridian.contracts.artefact import load
    from meridian.node.chain.contract import Contract
    from meridian.node.challenges import find_challenge, how_it_ended

    court = Contract(session.rpc, _place(deployment, "Disputes"), load("Disputes"))
    first = deployment.deploy_block
    found = find_challenge(court, chain_view(session, deployment), first, prefix)
    ended = how_it_ended(court, first, found)
    if ended is None:
        return found
    how, tx_hash = ended.name.lower(), "0x" + ended.tx_hash.hex()
    facts = {"challenge": found.challenge_id.hex(), "how": how, "tx_hash": tx_hash}
    session.say_done(f"the challenge was {how} in {tx_hash}", facts)
    return None


def _challenge_id(accused: Accused, node_index: int, job_index: int | None) -> str:
    from meridian.node.challenges import challenge_id

    return challenge_id(accused, node_index, job_index or 0, of_job=job_index is not None).hex()


def _standing(
    session: Session, deployment: Deployment, epoch: int, aggregator: Address | None
) -> Commitment:
    """Return the standing commitment of an epoch, that of an aggregator where there are several."""
    from meridian.node.chain_view import EpochCommitments

    known: dict[int, EpochCommitments] = {}
    chain_view(session, deployment).follow_commitments(known)
    standing = [
        one
        for one in known.get(epoch, EpochCommitments()).standing
        if aggregator in {None, one.aggregator}
    ]
    if not standing:
        raise NotFound(f"no such commitment of epoch {epoch} stands")
    if len(standing) > 1:
        who = ", ".join(session.account(one.aggregator) for one in standing)
        raise InvalidInput("--aggregator", f"is needed, one of {who}")
    return standing[0]


def _publication(data_dir: Path) -> tuple[bytes, Callable[[bytes], bytes]]:
    """Return the digest of the network's schema, and what fetches artefacts from its publications."""
    from meridian.node.network_file import NetworkFile
    from meridian.node.published_objects import read_published

    network = NetworkFile.load(data_dir)
    directories = network.directories(data_dir)
    return network.schema_digest, lambda digest: read_published(directories, digest)


@dispute.command()
@data_dir_option
@click.option("--epoch", type=click.IntRange(min=0), required=True, help="The epoch's number.")
@click.option(
    "--accusation", required=True, metavar="HEX", help="SHA-256 of the accusation, 64 hex digits."
)
@click.option("--uri", required=True, help="Where it can be read, at most 256 bytes.")
@sending_options
def escalate(data_dir: Path, epoch: int, accusation: str, uri: str, sending: Sending) -> None:
    """Bring before the referees what arithmetic cannot settle. Locks the bond."""
    digest = parse_digest(accusation, "--accusation")
    with open_session(data_dir, sending) as (session, deployment):
        place, data = _call(session, deployment, "escalate", epoch, digest, uri)
        session.perform(
            Action(
                purpose=f"escalate/{place.hex()}/{epoch}/{digest.hex()}",
                call=Call(place, data, _bond(session, deployment)),
                title=f"Escalate an accusation about epoch {epoch} to the referees",
                facts={"epoch": str(epoch), "accusation": digest.hex(), "uri": uri},
            )
        )


@dispute.command()
@data_dir_option
@click.option("--case", "case_id", type=click.IntRange(min=0), required=True, help="The case.")
@sending_options
def expire(data_dir: Path, case_id: int, sending: Sending) -> None:
    """Close a case about which nobody ruled in time; its bond is settled. Anyone may send it."""
    with open_session(data_dir, sending) as (session, deployment):
        place, data = _call(session, deployment, "expire", case_id)
        session.perform(
            Action(
                purpose=f"expire/{place.hex()}/{case_id}",
                call=Call(place, data),
                title=f"Close case {case_id}, which nobody ruled on",
                facts={"case": str(case_id)},
            )
        )


def _place(deployment: Deployment, contract: str) -> Address:
    """Return where a judging contract is; raises `NotFound` for a network without disputes."""
    from meridian.primitives.ids import ZERO_ADDRESS

    names = {
        "Disputes": deployment.contracts.disputes,
        "CommitmentProofs": deployment.contracts.commitment_proofs,
        "ReportProofs": deployment.contracts.report_proofs,
        "Referees": deployment.contracts.referees,
    }
    if names[contract] == ZERO_ADDRESS:
        raise NotFound(f"network {deployment.network} was deployed without disputes")
    return names[contract]


def _call(
    session: Session, deployment: Deployment, function: str, *arguments: object
) -> tuple[Address, bytes]:
    from meridian.contracts.artefact import load
    from meridian.node.chain.contract import Contract

    place = _place(deployment, "Disputes")
    return place, Contract(session.rpc, place, load("Disputes")).encode(function, *arguments)


def _bond(session: Session, deployment: Deployment) -> int:
    from meridian.contracts.artefact import load
    from meridian.node.chain.contract import Contract

    court = Contract(session.rpc, _place(deployment, "Disputes"), load("Disputes"))
    return int(court.read("bond"))
