"""The contract's rules: what it takes for an epoch, and how it says no.

The law: the first submission that passes every rule settles its epoch, for good. The order of the rules tells a stranger
nothing but that it is one: form, sender, signatures, then whether the epoch has ended and is open.
"""

import enum
from dataclasses import dataclass
from itertools import pairwise

from meridian.ephemera.messages.message import Realm
from meridian.errors import InvalidInput
from meridian.evaluate.aggregate import AGGREGATES
from meridian.nym.rewards import NO_BLOCK, Submission, submission_digest
from meridian.primitives import quorum
from meridian.primitives.ids import Address, address_text
from meridian.primitives.keys import signed_by


class Mode(enum.StrEnum):
    """How an epoch is settled; fixed when the contract is made."""

    STANDALONE = "standalone"
    """One Nym-Api computes and submits."""
    RACE = "race"
    """Everyone averages its own finalised block, and the first one wins."""
    QUORUM = "quorum"
    """All decide one block, and one report carries the signatures of a quorum."""


class Unauthorised(InvalidInput):
    """The sender is a stranger, or a signature is not what it should be."""


class TooEarly(InvalidInput):
    """The epoch has not ended."""


class AlreadySettled(InvalidInput):
    """The epoch has its result."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the contract was made with."""

    realm: Realm
    mode: Mode
    members: tuple[Address, ...]
    """The known Nym-Apis, strictly ascending."""
    mixnodes: int

    @property
    def quorum(self) -> int:
        """Signatures that a report needs in `quorum`."""
        return quorum.quorum(len(self.members))


def check_submission(terms: Terms, submission: Submission) -> None:
    """Check form, sender and signatures.

    Raises:
        InvalidInput: If it is malformed.
        Unauthorised: If it comes from a stranger, or is not signed as the mode asks for.
    """
    report = submission.report
    report.check(terms.mixnodes)
    if report.aggregate not in AGGREGATES:
        raise InvalidInput("aggregate", f"{report.aggregate!r} is no rule")
    if (report.block_hash == NO_BLOCK) != (terms.mode is Mode.STANDALONE):
        what = "zeros" if terms.mode is Mode.STANDALONE else "the hash of a block"
        raise InvalidInput("block_hash", f"must be {what} in mode {terms.mode}")
    signers = [member for member, _ in submission.attestations]
    if any(a >= b for a, b in pairwise(signers)):
        raise InvalidInput("attestations", "must be strictly ascending by member")
    if submission.sender not in terms.members:
        raise Unauthorised("sender", f"{address_text(submission.sender)} is not a known Nym-Api")
    digest = submission_digest(terms.realm, report, submission.sender)
    if not signed_by(digest, submission.signature, submission.sender):
        raise Unauthorised("signature", "is not the sender's for this network, epoch and report")
    if terms.mode is Mode.QUORUM:
        _check_attestations(terms, submission)
    elif submission.attestations:
        raise InvalidInput("attestations", f"there are none in mode {terms.mode}")


def _check_attestations(terms: Terms, submission: Submission) -> None:
    digest = submission.report.digest(terms.realm)
    for member, signature in submission.attestations:
        if member not in terms.members:
            raise Unauthorised("attestations", f"{address_text(member)} is not a known Nym-Api")
        if not signed_by(digest, signature, member):
            raise Unauthorised("attestations", f"{address_text(member)} did not sign this report")
    if len(submission.attestations) < terms.quorum:
        raise Unauthorised(
            "attestations", f"{len(submission.attestations)} of {terms.quorum} needed"
        )


def check_epoch(epoch: int, current: int, *, settled: bool) -> None:
    """Check that an epoch may be settled now.

    Args:
        epoch: The epoch in the signed body.
        current: The epoch that the clock is in; below 0 before the first.
        settled: Whether it has a result.

    Raises:
        TooEarly: If it has not ended.
        AlreadySettled: If another submission was faster.
    """
    if epoch >= current:
        raise TooEarly("epoch", f"{epoch} has not ended; the current epoch is {max(current, 0)}")
    if settled:
        raise AlreadySettled("epoch", f"{epoch} has an accepted result already")
