"""Signed statements that the contracts check: registrations, transmissions, commitments of nodes.

Each is an EIP-712 struct in the domain of the contract that checks it (`Complaint`, which none checks, in that of
Commitments); field order and types are the contract's type hash. `Report` and `Receipt` are defined beside the code that makes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from meridian.primitives.eip712 import Domain, StructType, digest, keccak
from meridian.primitives.ids import Address, NodeKey

REGISTER_NODE: Final = StructType(
    "RegisterNode",
    (
        ("network", "bytes32"),
        ("nodeKey", "bytes32"),
        ("operator", "address"),
        ("payee", "address"),
        ("nonce", "uint64"),
        ("deadline", "uint64"),
    ),
)
REGISTER_EVALUATOR: Final = StructType(
    "RegisterEvaluator",
    (
        ("network", "bytes32"),
        ("evaluator", "address"),
        ("linkKey", "bytes32"),
        ("endpointHash", "bytes32"),
        ("nonce", "uint64"),
        ("deadline", "uint64"),
    ),
)
TRANSMISSION: Final = StructType(
    "Transmission",
    (("network", "bytes32"), ("epoch", "uint64"), ("reportHash", "bytes32")),
)
UNAVAILABLE: Final = StructType(
    "Unavailable",
    (("network", "bytes32"), ("epoch", "uint64"), ("commitment", "bytes32")),
)
SELF_COMMIT: Final = StructType(
    "SelfCommit",
    (
        ("network", "bytes32"),
        ("epoch", "uint64"),
        ("nodeKey", "bytes32"),
        ("treeHash", "bytes32"),
        ("annotation", "bytes24"),
        ("segment", "bytes32"),
        ("deadline", "uint64"),
    ),
)
RELAYED_CLAIM: Final = StructType(
    "RelayedClaim",
    (
        ("network", "bytes32"),
        ("nodeKey", "bytes32"),
        ("payee", "address"),
        ("feeMax", "uint128"),
        ("nonce", "uint64"),
        ("deadline", "uint64"),
    ),
)
DELEGATE: Final = StructType(
    "Delegate",
    (
        ("network", "bytes32"),
        ("payee", "address"),
        ("delegate", "address"),
        ("nonce", "uint64"),
        ("deadline", "uint64"),
    ),
)
COMPLAINT: Final = StructType(
    "Complaint",
    (
        ("network", "bytes32"),
        ("nodeKey", "bytes32"),
        ("epoch", "uint64"),
        ("text", "string"),
        ("atS", "uint64"),
    ),
)
RULING: Final = StructType(
    "Ruling",
    (
        ("network", "bytes32"),
        ("caseId", "uint256"),
        ("epoch", "uint64"),
        ("accusation", "bytes32"),
        ("guilty", "bytes32"),
        ("wrong", "bytes32"),
        ("voids", "bool"),
    ),
)
"""A referee's ruling; `guilty` and `wrong` are the Keccak-256 of the ABI encodings of the two lists."""


@dataclass(frozen=True, slots=True)
class RegisterNode:
    """An operator's consent that a node joins: checked by Registry, signed by the operator."""

    network: bytes
    node_key: NodeKey
    operator: Address
    payee: Address
    nonce: int
    """The operator's ``nonces`` on Registry, which counts its registrations of either kind."""
    deadline_s: int
    """The last second (Unix) in which the signature is good."""

    def digest(self, domain: Domain) -> bytes:
        """Return the 32 bytes that the operator signs."""
        return digest(
            domain,
            REGISTER_NODE.hash(
                self.network,
                self.node_key,
                self.operator,
                self.payee,
                self.nonce,
                self.deadline_s,
            ),
        )


@dataclass(frozen=True, slots=True)
class RegisterEvaluator:
    """An evaluator's binding of its links to its deciding key: checked by Registry, signed by that key."""

    network: bytes
    evaluator: Address
    link_key: bytes
    """The Ed25519 public key of the evaluator's links, 32 bytes."""
    endpoint: str
    """``host:port``, at most 64 bytes of UTF-8; the struct holds its Keccak-256."""
    nonce: int
    deadline_s: int

    def digest(self, domain: Domain) -> bytes:
        """Return the 32 bytes that the evaluator signs."""
        return digest(
            domain,
            REGISTER_EVALUATOR.hash(
                self.network,
                self.evaluator,
                self.link_key,
                keccak(self.endpoint.encode()),
                self.nonce,
                self.deadline_s,
            ),
        )


@dataclass(frozen=True, slots=True)
class Transmission:
    """A member's claim to be the winner of an epoch: checked by Evaluations, signed by the member."""

    network: bytes
    epoch: int
    report_hash: bytes

    def digest(self, domain: Domain) -> bytes:
        """Return the 32 bytes that the transmitting member signs."""
        return digest(domain, TRANSMISSION.hash(self.network, self.epoch, self.report_hash))


@dataclass(frozen=True, slots=True)
class Unavailable:
    """That nobody can fetch what was committed: checked by Evaluations, signed by a quorum of members."""

    network: bytes
    epoch: int
    commitment: bytes
    """The epoch's digest."""

    def digest(self, domain: Domain) -> bytes:
        """Return the 32 bytes that the member signs."""
        return digest(domain, UNAVAILABLE.hash(self.network, self.epoch, self.commitment))


@dataclass(frozen=True, slots=True)
class SelfCommit:
    """A node's commitment to its own jobs of an epoch: checked by Commitments, signed by the node's operator."""

    network: bytes
    epoch: int
    node_key: NodeKey
    tree_hash: bytes
    """The hash of the root node of the node's job tree."""
    annotation: bytes
    """That root node's annotation, 24 bytes."""
    segment: bytes
    """SHA-256 of the published segment of the node's jobs."""
    deadline_s: int

    def digest(self, domain: Domain) -> bytes:
        """Return the 32 bytes that the operator signs."""
        return digest(domain, SELF_COMMIT.hash(self.network, *self.arguments))

    @property
    def arguments(self) -> tuple[int, NodeKey, bytes, bytes, bytes, int]:
        """epoch, node_key, tree_hash, annotation, segment, deadline: those of ``self_commit`` before the signature."""
        return (
            self.epoch,
            self.node_key,
            self.tree_hash,
            self.annotation,
            self.segment,
            self.deadline_s,
        )


@dataclass(frozen=True, slots=True)
class RelayedClaim:
    """A payee's consent that whoever sends its claim keeps a fee: checked by Rewards, signed by the payee."""

    network: bytes
    node_key: NodeKey
    payee: Address
    fee_max_atto: int
    """The sender gets this, but never more than the claim's amount."""
    nonce: int
    """The payee's ``nonces`` on Rewards."""
    deadline_s: int

    def digest(self, domain: Domain) -> bytes:
        """Return the 32 bytes that the payee signs."""
        return digest(
            domain,
            RELAYED_CLAIM.hash(
                self.network,
                self.node_key,
                self.payee,
                self.fee_max_atto,
                self.nonce,
                self.deadline_s,
            ),
        )


@dataclass(frozen=True, slots=True)
class Delegate:
    """A payee's consent that another sends its claims to accounts of its choice: checked by Rewards, signed by the payee."""

    network: bytes
    payee: Address
    delegate: Address
    """The zero address: nobody any more."""
    nonce: int
    """The payee's ``nonces`` on Rewards."""
    deadline_s: int

    def digest(self, domain: Domain) -> bytes:
        """Return the 32 bytes that the payee signs."""
        return digest(
            domain,
            DELEGATE.hash(self.network, self.payee, self.delegate, self.nonce, self.deadline_s),
        )


@dataclass(frozen=True, slots=True)
class Complaint:
    """What somebody who answers for a node says about an epoch: no contract checks it, the explorer keeps it.

    Signed by the node's registered operator or payee, in the domain of Commitments.
    """

    network: bytes
    node_key: NodeKey
    epoch: int
    text: str
    at_s: int
    """When it was signed, Unix seconds by the signer's clock."""

    def digest(self, domain: Domain) -> bytes:
        """Return the 32 bytes that the operator or the payee signs; also the complaint's id."""
        return digest(
            domain, COMPLAINT.hash(self.network, self.node_key, self.epoch, self.text, self.at_s)
        )


class RuledCommitment(NamedTuple):
    """A standing commitment that a ruling finds wrong: the fields by which the contracts know it, in their order."""

    epoch: int
    aggregator: Address
    root: bytes
    n_nodes: int
    annotation: bytes
    """Count and sums of the whole epoch, 24 bytes."""
    manifest: bytes


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a referee finds in one case: checked by Referees, signed by a quorum of referees."""

    network: bytes
    case_id: int
    epoch: int
    """The case's, as Referees stores it."""
    accusation: bytes
    """The case's digest."""
    guilty: tuple[Address, ...]
    """Members of the epoch."""
    wrong: tuple[RuledCommitment, ...]
    """Their aggregators are guilty."""
    voids: bool
    """Whether the epoch's report is void."""

    @property
    def list_hashes(self) -> tuple[bytes, bytes]:
        """The Keccak-256 of the ABI encodings of `guilty` and `wrong`: what is signed of them."""
        return (
            _list_hash([bytes(12) + account for account in self.guilty]),
            _list_hash(
                [
                    one.epoch.to_bytes(32, "big")
                    + bytes(12)
                    + one.aggregator
                    + one.root
                    + one.n_nodes.to_bytes(32, "big")
                    + one.annotation
                    + bytes(8)
                    + one.manifest
                    for one in self.wrong
                ]
            ),
        )

    def digest(self, domain: Domain) -> bytes:
        """Return the 32 bytes that the referee signs."""
        guilty, wrong = self.list_hashes
        fields = (self.case_id, self.epoch, self.accusation, guilty, wrong, int(self.voids))
        return digest(domain, RULING.hash(self.network, *fields))


def _list_hash(items: Sequence[bytes]) -> bytes:
    """Return the Keccak-256 of the ABI encoding of a list of items without dynamic parts."""
    head = (32).to_bytes(32, "big") + len(items).to_bytes(32, "big")
    return keccak(head + b"".join(items))
