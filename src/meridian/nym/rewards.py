"""What the contract takes for an epoch, and who has signed it.

The **report** is the EIP-712 digest of network, epoch, block, averaging rule and result: in `quorum` q members sign it.
Whoever sends it signs a **submission** that binds the report to its own address, so the winner is who sent it and not
who copied it. Both signatures are valid for one contract on one chain only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from meridian.ephemera.messages.message import Realm
from meridian.errors import InvalidInput
from meridian.nym.rows import VALUE_MAX, Values
from meridian.primitives import eip712
from meridian.primitives.codec import Writer
from meridian.primitives.eip712 import StructType
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address
from meridian.primitives.keys import PrivateKey

REPORT: Final = StructType(
    "NymReport",
    (
        ("network", "bytes32"),
        ("epoch", "uint64"),
        ("blockHash", "bytes32"),
        ("aggregate", "bytes32"),
        ("rewards", "bytes32"),
    ),
)
"""`aggregate` is the SHA-256 of the rule's name, `rewards` that of the result's canonical bytes."""

SUBMISSION: Final = StructType(
    "NymSubmission",
    (("network", "bytes32"), ("epoch", "uint64"), ("sender", "address"), ("report", "bytes32")),
)

NO_BLOCK: Final = bytes(32)
"""`block_hash` where one Nym-Api computes alone."""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an epoch."""

    epoch: int
    block_hash: bytes
    """The block that it follows from; zeros in `standalone`."""
    aggregate: str
    """Name of the rule that averaged the columns."""
    rewards: Values
    """One value for each mixnode; None: nobody, or too few, measured it."""

    def digest(self, realm: Realm) -> bytes:
        """Return what members sign, which is also the report's name."""
        out = Writer().u32(len(self.rewards))
        for value in self.rewards:
            out.u8(value is not None).u32(value or 0)
        struct = REPORT.hash(
            realm.network,
            self.epoch,
            self.block_hash,
            sha256(self.aggregate.encode()),
            sha256(out.bytes()),
        )
        return eip712.digest(realm.domain, struct)

    def check(self, mixnodes: int) -> None:
        """Raise InvalidInput unless it has one value in range, or None, for every mixnode."""
        if len(self.rewards) != mixnodes:
            raise InvalidInput("rewards", f"{len(self.rewards)} values for {mixnodes} mixnodes")
        for value in self.rewards:
            if value is not None and not 0 <= value <= VALUE_MAX:
                raise InvalidInput("rewards.performance", f"{value} is not in 0..{VALUE_MAX}")


Attestations = tuple[tuple[Address, bytes], ...]
"""(member, signature of the report), strictly ascending by member."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A report as it was sent."""

    report: Report
    sender: Address
    signature: bytes
    """64 bytes (EIP-2098) over `submission_digest`."""
    attestations: Attestations = ()


def submission_digest(realm: Realm, report: Report, sender: Address) -> bytes:
    """Return what the sender signs."""
    digest = report.digest(realm)
    return eip712.digest(realm.domain, SUBMISSION.hash(realm.network, report.epoch, sender, digest))


def sign_submission(
    realm: Realm,
    report: Report,
    key: PrivateKey,
    attestations: Sequence[tuple[Address, bytes]] = (),
) -> Submission:
    """Make a submission of the key's account."""
    signature = key.sign(submission_digest(realm, report, key.address))
    return Submission(report, key.address, signature, tuple(sorted(attestations)))
