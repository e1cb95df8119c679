"""What is signed in the model `offchain-store`: who a node is, where its jobs are, and what the evaluators found.

EIP-712 structs in the domain of the contract `Locations`, which checks them. The locations of an epoch form a chain of
hashes in the order in which the contract took them, so 32 bytes fix the whole input:

    chain = SHA-256(chain before, zeros at first | node key 32 | object 32 | count u64)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from meridian.contracts.calldata import Words, signature_words
from meridian.errors import InvalidInput
from meridian.primitives import dagcbor
from meridian.primitives.cid import digest_of
from meridian.primitives.eip712 import Domain, StructType, digest
from meridian.primitives.hashing import DIGEST_BYTES, sha256
from meridian.primitives.ids import Address, NodeKey
from meridian.primitives.keys import PrivateKey

STORE_NODE: Final = StructType(
    "StoreNode",
    (
        ("network", "bytes32"),
        ("nodeKey", "bytes32"),
        ("operator", "address"),
        ("payee", "address"),
    ),
)
LOCATION: Final = StructType(
    "Location",
    (
        ("network", "bytes32"),
        ("epoch", "uint64"),
        ("nodeKey", "bytes32"),
        ("object", "bytes32"),
        ("count", "uint64"),
    ),
)
STORE_RESULT: Final = StructType(
    "StoreResult",
    (
        ("network", "bytes32"),
        ("epoch", "uint64"),
        ("locations", "bytes32"),
        ("outcome", "bytes32"),
        ("functionDigest", "bytes32"),
        ("parametersDigest", "bytes32"),
        ("rewardRoot", "bytes32"),
        ("total", "uint128"),
    ),
)

UNAVAILABLE: Final = "unavailable"
"""Why a node does not count whose object no evaluator of a quorum could get."""

EXCLUDED_TEXT_MAX: Final = 400
_WEIGHT_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Located:
    """One location as the contract took it."""

    node_key: NodeKey
    object: bytes
    """Digest of the node's jobs."""
    count: int
    """How many jobs the node says there are."""


def locations_chain(located: Iterable[Located]) -> bytes:
    """Return the end of the chain over an epoch's locations, in their order on chain."""
    chain = bytes(DIGEST_BYTES)
    for one in located:
        chain = sha256(chain, one.node_key, one.object, one.count.to_bytes(8, "big"))
    return chain


def registration(
    domain: Domain, network: bytes, key: PrivateKey, node_key: NodeKey, payee: Address
) -> tuple[bytes, Address, Address, int, int]:
    """Return one entry of ``register_many``: an operator's signed consent."""
    signed = digest(domain, STORE_NODE.hash(network, node_key, key.address, payee))
    return node_key, key.address, payee, *signature_words(key.sign(signed))


def location(
    domain: Domain, network: bytes, key: PrivateKey, epoch: int, told: Located
) -> tuple[bytes, bytes, int, int, int]:
    """Return one entry of ``locate_many``: an operator's signed location."""
    struct = LOCATION.hash(network, epoch, told.node_key, told.object, told.count)
    words = signature_words(key.sign(digest(domain, struct)))
    return told.node_key, told.object, told.count, *words


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What a quorum signs about an epoch."""

    epoch: int
    locations: bytes
    outcome: bytes
    """Digest of the `OutcomeArtefact`."""
    function_digest: bytes
    parameters_digest: bytes
    reward_root: bytes
    total: int

    @property
    def arguments(self) -> tuple[int, bytes, bytes, bytes, bytes, bytes, int]:
        """The contract's struct."""
        return (
            self.epoch,
            self.locations,
            self.outcome,
            self.function_digest,
            self.parameters_digest,
            self.reward_root,
            self.total,
        )

    def digest(self, domain: Domain, network: bytes) -> bytes:
        """Return the 32 bytes that evaluators sign, which are also the contract's name for the result."""
        return digest(domain, STORE_RESULT.hash(network, *self.arguments))


def result_words(signatures: dict[Address, bytes], evaluators: Iterable[Address]) -> list[Words]:
    """Return signatures in the order of the evaluators, as the contract asks."""
    return [signature_words(signatures[one]) for one in evaluators if one in signatures]


@dataclass(frozen=True, slots=True)
class OutcomeArtefact:
    """What stands in the store beside the jobs: each node's weight, and whose jobs do not count and why."""

    epoch: int
    weights: dict[NodeKey, int]
    excluded: dict[NodeKey, str]

    def encode(self) -> bytes:
        """Return the artefact (DAG-CBOR); one outcome has one encoding."""
        weights = b"".join(
            key + weight.to_bytes(_WEIGHT_BYTES, "big")
            for key, weight in sorted(self.weights.items())
        )
        excluded = [[key, reason] for key, reason in sorted(self.excluded.items())]
        return dagcbor.encode(
            {"v": 1, "epoch": self.epoch, "weights": weights, "excluded": excluded}
        )

    @property
    def digest(self) -> bytes:
        """The content address of the artefact."""
        return digest_of(self.encode())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the artefact.

        Raises:
            InvalidInput: If it is not exactly what `encode` writes.
        """
        value = dagcbor.decode(data)
        form = InvalidInput("outcome", "is not an outcome of version 1")
        if not isinstance(value, dict) or set(value) != {"v", "epoch", "weights", "excluded"}:
            raise form
        rows, listed = value["weights"], value["excluded"]
        width = DIGEST_BYTES + _WEIGHT_BYTES
        if not isinstance(rows, bytes) or len(rows) % width or not isinstance(listed, list):
            raise form
        weights = {
            NodeKey(rows[at : at + DIGEST_BYTES]): int.from_bytes(
                rows[at + DIGEST_BYTES : at + width], "big"
            )
            for at in range(0, len(rows), width)
        }
        excluded: dict[NodeKey, str] = {}
        for one in listed:
            match one:
                case [bytes(key), str(reason)] if len(key) == DIGEST_BYTES:
                    excluded[NodeKey(key)] = reason
                case _:
                    raise form
        if not isinstance(value["epoch"], int):
            raise form
        found = cls(value["epoch"], weights, excluded)
        if found.encode() != data:
            raise form
        return found
