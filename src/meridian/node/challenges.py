"""Challenges before Disputes, as the chain tells them: which rows they ask for, and how they ended.

A challenge's id is the Keccak-256 of the commitment's fields and of what is asked for; the event that opens it tells
only some of these, so the commitment is looked up among the aggregator's of that epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from meridian.disputes.accusation import Commitment as Accused
from meridian.errors import InvalidInput, NotFound, RemoteFault
from meridian.node.chain.contract import Contract, Event
from meridian.node.chain_view import ChainView, Commitment
from meridian.node.watch.published import accused_of
from meridian.primitives.eip712 import keccak
from meridian.primitives.ids import Address

PREFIX_DIGITS_MIN = 8


@dataclass(frozen=True, slots=True)
class Challenge:
    """A demand to show a row."""

    challenge_id: bytes
    commitment: Commitment
    challenger: Address
    node_index: int
    job_index: int | None
    """None: the node's row is asked for."""
    until_s: int
    """The last second for an answer."""

    @property
    def asked(self) -> tuple[int, int, bool]:
        """node_index, job_index, of_job: as Disputes takes them."""
        return self.node_index, self.job_index or 0, self.job_index is not None

    @property
    def row(self) -> str:
        """What is asked for, for people."""
        node = f"node {self.node_index}"
        return node if self.job_index is None else f"job {self.job_index} of {node}"


def challenge_id(accused: Accused, node_index: int, job_index: int, *, of_job: bool) -> bytes:
    """Return the id of a challenge, as Disputes computes it."""
    numbers = (node_index, job_index, int(of_job))
    return keccak(
        accused.epoch.to_bytes(32, "big")
        + bytes(12)
        + accused.aggregator
        + accused.root
        + accused.n_nodes.to_bytes(32, "big")
        + accused.annotation
        + bytes(8)
        + accused.manifest
        + b"".join(one.to_bytes(32, "big") for one in numbers)
    )


def find_challenge(court: Contract, view: ChainView, from_block: int, prefix: str) -> Challenge:
    """Return the challenge whose id begins with some hex digits.

    Args:
        court: Disputes.
        view: The core contracts.
        from_block: Where the network's events begin.
        prefix: At least 8 digits, with or without ``0x``.

    Raises:
        InvalidInput: If these are not enough hex digits, or several ids begin so.
        NotFound: If no challenge does.
        RemoteFault: If the endpoint does not show the commitment that it is about.
    """
    digits = prefix.removeprefix("0x").lower()
    if len(digits) < PREFIX_DIGITS_MIN or any(one not in "0123456789abcdef" for one in digits):
        raise InvalidInput("--challenge", f"{prefix!r} is not 8 to 64 hex digits")
    found = [
        event
        for event in court.events("Opened", from_block)
        if bytes(event.args["challenge_id"]).hex().startswith(digits)
    ]
    if not found:
        raise NotFound(f"no challenge {prefix} was ever opened")
    if len(found) > 1:
        raise InvalidInput("--challenge", f"{len(found)} challenges begin with {prefix}")
    return _challenge(found[0], view.committed())


def _challenge(opened: Event, commitments: Sequence[Commitment]) -> Challenge:
    says = opened.args
    for one in commitments:
        if (one.epoch, one.aggregator) != (says["epoch"], says["aggregator"]):
            continue
        asked = says["node_index"], says["job_index"]
        if challenge_id(accused_of(one), *asked, of_job=says["of_job"]) == says["challenge_id"]:
            return Challenge(
                challenge_id=bytes(says["challenge_id"]),
                commitment=one,
                challenger=says["challenger"],
                node_index=says["node_index"],
                job_index=says["job_index"] if says["of_job"] else None,
                until_s=says["until"],
            )
    raise RemoteFault("the endpoint does not show the commitment that the challenge is about")


def how_it_ended(court: Contract, from_block: int, challenge: Challenge) -> Event | None:
    """Return the event ``Answered`` or ``Resolved`` of a challenge; None while it is open."""
    where = {"challenge_id": challenge.challenge_id}
    for name in ("Answered", "Resolved"):
        for event in court.events(name, from_block, where=where):
            return event
    return None
