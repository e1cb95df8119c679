"""Signed things and proofs in the shape of the contracts' arguments.

The contracts take signatures as pairs of words and paths as pairs of words; in our own formats a signature is 64 bytes
and a path a list of 56-byte nodes. The `arguments` tuples here are in the order of the ABI, ready for an encoder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from meridian.contracts.statements import RegisterEvaluator, RegisterNode
from meridian.errors import InvalidInput
from meridian.primitives.ids import Address, NodeKey
from meridian.primitives.keys import SIGNATURE_BYTES
from meridian.primitives.sumtree import HASH_BYTES, NODE_BYTES

NODES_PER_CALL: Final = 64
"""How many registrations ``register_nodes`` takes at once."""
CLAIMS_PER_CALL: Final = 32
"""How many claims ``claim_many`` takes at once."""
ANNOTATION_SHIFT: Final = 64
"""An annotation's 24 bytes stand at the upper end of their word."""
PATH_MAX: Final = 40
"""The greatest number of nodes in a claim's path."""
ENDPOINT_BYTES_MAX: Final = 64

Words = tuple[int, int]
"""A signature as the contracts take it: r, and s with the parity in its top bit."""


def signature_words(signature: bytes) -> Words:
    """Split a compact signature of 64 bytes into its two words.

    Raises:
        InvalidInput: If it has another length.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise InvalidInput("signature", f"{len(signature)} bytes where 64 are needed")
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")


def ascending_words(signatures: Mapping[Address, bytes]) -> list[Words]:
    """Return the signatures of several signers in the order that Evaluations asks for."""
    return [signature_words(signatures[signer]) for signer in sorted(signatures)]


@dataclass(frozen=True, slots=True)
class NodeRegistration:
    """One entry of ``register_nodes``: a statement and its operator's signature."""

    statement: RegisterNode
    signature: bytes

    @property
    def arguments(self) -> tuple[bytes, Address, Address, int, int, int]:
        """node_key, operator, payee, deadline, r, vs."""
        says = self.statement
        return (
            says.node_key,
            says.operator,
            says.payee,
            says.deadline_s,
            *signature_words(self.signature),
        )


@dataclass(frozen=True, slots=True)
class EvaluatorRegistration:
    """The arguments of ``register_evaluator``: a statement and the evaluator's signature."""

    statement: RegisterEvaluator
    signature: bytes

    def __post_init__(self) -> None:
        if len(self.statement.endpoint.encode()) > ENDPOINT_BYTES_MAX:
            raise InvalidInput("endpoint", f"longer than {ENDPOINT_BYTES_MAX} bytes")

    @property
    def arguments(self) -> tuple[Address, bytes, str, int, int, int]:
        """evaluator, link_key, endpoint, deadline, r, vs."""
        says = self.statement
        return (
            says.evaluator,
            says.link_key,
            says.endpoint,
            says.deadline_s,
            *signature_words(self.signature),
        )


def path_words(path: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """Split the 56-byte nodes of a path into pairs of words: the hash, and annotation * 2^64.

    Raises:
        InvalidInput: If it is too long for a contract, or a node has another length.
    """
    if len(path) > PATH_MAX:
        raise InvalidInput("path", f"{len(path)} nodes where at most {PATH_MAX} are taken")
    if any(len(node) != NODE_BYTES for node in path):
        raise InvalidInput("path", f"a node does not have {NODE_BYTES} bytes")
    return [
        (node[:HASH_BYTES], int.from_bytes(node[HASH_BYTES:], "big") << ANNOTATION_SHIFT)
        for node in path
    ]


@dataclass(frozen=True, slots=True)
class Claim:
    """A node's proven amount under the report of an epoch: ``claim`` and one entry of ``claim_many``."""

    epoch: int
    node_key: NodeKey
    payee: Address
    cumulative_atto: int
    index: int
    size: int
    path: tuple[bytes, ...]
    """The sibling nodes from the leaf to the root, 56 bytes each."""

    @property
    def arguments(self) -> tuple[int, NodeKey, Address, int, int, int, list[tuple[bytes, int]]]:
        """epoch, node_key, payee, cumulative, index, size, path."""
        return (
            self.epoch,
            self.node_key,
            self.payee,
            self.cumulative_atto,
            self.index,
            self.size,
            path_words(self.path),
        )
