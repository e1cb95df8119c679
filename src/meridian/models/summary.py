"""The summary model: nodes keep their jobs, and a contract knows of each a root, a number and a weight.

Law: a node's share of an epoch's money is its weight over the sum of the weights that stand, rounded down; what rounding
leaves stays in the contract. The words here are those of ``contracts/summary_rounds.vy``. Which jobs stand behind a root
is `summary_tree`, which of them a challenge asks for `summary_sampling`.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from meridian.contracts.calldata import signature_words
from meridian.errors import InvalidInput
from meridian.primitives.eip712 import Domain, StructType, digest, keccak
from meridian.primitives.ids import NodeKey
from meridian.primitives.keys import PrivateKey
from meridian.primitives.sumtree import HASH_BYTES

SUMMARY: Final = StructType(
    "Summary",
    (
        ("network", "bytes32"),
        ("epoch", "uint64"),
        ("nodeKey", "bytes32"),
        ("root", "bytes32"),
        ("jobs", "uint64"),
        ("weight", "uint128"),
    ),
)
PER_CALL: Final = 64
"""How many registrations, summaries or claims one transaction takes."""
JOBS_MAX: Final = 1 << 32
VOIDED: Final = (1).to_bytes(32, "big")
"""The record of a summary that fell to a challenge."""
PAID: Final = (2).to_bytes(32, "big")
"""The record of a summary whose share is paid."""


class Words(NamedTuple):
    """A summary as the contract takes it."""

    root: bytes
    jobs: int
    weight: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a node says of its jobs of an epoch."""

    root: bytes
    """Commits to the jobs, 32 bytes; the hash of the root node of the job tree."""
    jobs: int
    weight: int
    """The sum of what its jobs weigh."""

    def __post_init__(self) -> None:
        if len(self.root) != HASH_BYTES:
            raise InvalidInput("root", f"{len(self.root)} bytes where {HASH_BYTES} are needed")
        if not 0 <= self.jobs <= JOBS_MAX:
            raise InvalidInput("jobs", f"{self.jobs} is not in 0..2^32")
        if not 0 <= self.weight < 1 << 128:
            raise InvalidInput("weight", f"{self.weight} is not in 0..2^128-1")

    @property
    def words(self) -> Words:
        """The fields as the contract takes them."""
        return Words(self.root, self.jobs, self.weight)

    @property
    def record(self) -> bytes:
        """What the contract keeps of it, 32 bytes."""
        return keccak(self.root + self.jobs.to_bytes(32, "big") + self.weight.to_bytes(32, "big"))

    def digest(self, domain: Domain, network: bytes, epoch: int, node_key: NodeKey) -> bytes:
        """Return the 32 bytes that the node's operator signs for a relay.

        Args:
            domain: The contract's.
            network: The network's id.
            epoch: The epoch.
            node_key: The node.
        """
        return digest(domain, SUMMARY.hash(network, epoch, node_key, *self.words))


@dataclass(frozen=True, slots=True)
class SignedSummary:
    """One entry of ``commit_many``."""

    node_key: NodeKey
    summary: Summary
    signature: bytes

    @classmethod
    def sign(
        cls, key: PrivateKey, domain: Domain, network: bytes, epoch: int,
        node_key: NodeKey, summary: Summary,
    ) -> "SignedSummary":  # fmt: skip
        """Sign a summary as its node's operator; the arguments are those of `Summary.digest`."""
        signature = key.sign(summary.digest(domain, network, epoch, node_key))
        return cls(node_key, summary, signature)

    @property
    def words(self) -> tuple[NodeKey, Words, int, int]:
        """node_key, summary, r, vs."""
        return self.node_key, self.summary.words, *signature_words(self.signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the contract is deployed with."""

    network: bytes
    genesis_s: int
    epoch_seconds: int
    first_epoch: int
    commit_seconds: int
    """How long an epoch takes summaries after its first one, unless all nodes have committed before."""
    challenge_seconds: int
    """How long nodes may be challenged after that."""
    answer_seconds: int
    exit_seconds: int
    """From leaving to the stake; not less than the three together."""
    stake_min_atto: int
    bond_atto: int
    samples: int
    """Points that a challenge asks for: `summary_sampling.samples_for`."""
    value_max: int
    """The most that one job may weigh."""

    @property
    def arguments(self) -> tuple[bytes, int, int, int, list[int], int, int, int, int]:
        """The constructor's."""
        windows = [
            self.commit_seconds,
            self.challenge_seconds,
            self.answer_seconds,
            self.exit_seconds,
        ]
        return (
            self.network,
            self.genesis_s,
            self.epoch_seconds,
            self.first_epoch,
            windows,
            self.stake_min_atto,
            self.bond_atto,
            self.samples,
            self.value_max,
        )
