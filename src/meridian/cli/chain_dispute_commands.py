"""`meridian chain dispute`: accusations to the contracts that judge.

An accusation is a file (`node.accusation_file`); `meridian watch` writes such files, and anybody may send one. The same
accusation is one wish: sent once, whoever repeats the command.
"""

import hashlib
from pathlib import Path

import click

from meridian.cli.chain_session import (
    Action,
    Sending,
    Session,
    data_dir_option,
    open_session,
    sending_options,
)
from meridian.node.chain.signing import Call
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
    from meridian.errors import InvalidInput
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
    from meridian.errors import NotFound
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
