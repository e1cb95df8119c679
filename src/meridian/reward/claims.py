"""Cumulative claims: for every node all that it ever earned, under one root that a contract can check.

A report carries the root of the whole state, so one claim collects all past epochs, at any time, and a payout that runs
twice pays once. The tree is a sum tree (`primitives.sumtree`): the contract reads the total from the root itself and
refuses a report whose total grows by more than the epoch's budget.

    leaf hash   = SHA-256(0x06 | node key 32 | payee 20 | cumulative u128), count 1, lane = cumulative
    reward root = SHA-256(0x13 | size u64 | root node 56)

The law: cumulative amounts never fall.

One leaf may bind what else a report leaves to the next one (`meridian.reward.memory`): its key is the digest of that
artefact, its payee `MEMORY_PAYEE` and its amount 0, so that nothing can ever be collected with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple, Self

import numpy as np

from meridian.errors import InvalidInput, NotFound
from meridian.primitives import dagcbor
from meridian.primitives.cid import digest_of
from meridian.primitives.hashing import (
    CLAIM_LEAF,
    CLAIM_NODE,
    REWARD_ROOT,
    ByteMatrix,
    sha256_rows,
    tag_rows,
    tagged,
)
from meridian.primitives.ids import Address, NodeKey
from meridian.primitives.sumtree import HASH_BYTES, LaneKind, SumTree, annotation, fold, leaf_node

CLAIMS_MAX: Final = 1 << 24
MEMORY_PAYEE: Final = Address(b"meridian/memory/1".ljust(20, b"\0"))
_ROW_BYTES: Final = 32 + 20 + 16
_AMOUNT_END: Final = 1 << 128


class Claim(NamedTuple):
    """What one node may have collected in all."""

    payee: Address
    cumulative: int
    """Atto, over all epochs."""


_MEMORY: Final = Claim(MEMORY_PAYEE, 0)


def _row(node_key: bytes, claim: Claim) -> bytes:
    return node_key + claim.payee + claim.cumulative.to_bytes(16, "big")


def _reward_root(size: int, root_node: bytes) -> bytes:
    return tagged(REWARD_ROOT, size.to_bytes(8, "big"), root_node)


@dataclass(frozen=True, slots=True)
class ClaimProof:
    """All that a contract, or anybody, needs to check one claim against a reward root."""

    node_key: NodeKey
    payee: Address
    cumulative: int
    index: int
    size: int
    path: tuple[bytes, ...]
    """Sibling nodes of 56 bytes, from the leaf up."""


def verify_claim(proof: ClaimProof, reward_root: bytes, total: int) -> bool:
    """Tell whether a claim stands under a report's reward root and total. Never raises for a bad proof."""
    if (
        len(proof.node_key) != 32
        or len(proof.payee) != 20
        or not 0 <= proof.cumulative < _AMOUNT_END
    ):
        return False
    digest = tagged(CLAIM_LEAF, _row(proof.node_key, Claim(proof.payee, proof.cumulative)))
    leaf = leaf_node(digest, 1, LaneKind.U128.join([proof.cumulative]))
    try:
        root = fold(leaf, proof.index, proof.size, proof.path, CLAIM_NODE, LaneKind.U128)
        same_root = _reward_root(proof.size, root) == reward_root
    except (InvalidInput, OverflowError):
        return False
    return same_root and annotation(root, LaneKind.U128) == (proof.size, (total,))


@dataclass(frozen=True)
class ClaimsState:
    """The claims of all nodes after some report; immutable, the next report's state is a new one."""

    claims: Mapping[NodeKey, Claim]
    """In ascending order of keys."""

    def __post_init__(self) -> None:
        if len(self.claims) > CLAIMS_MAX:
            raise InvalidInput(
                "claims", f"{len(self.claims)} claims; at most {CLAIMS_MAX} are allowed"
            )
        for key, claim in self.claims.items():
            if len(key) != 32 or len(claim.payee) != 20 or not 0 <= claim.cumulative < _AMOUNT_END:
                raise InvalidInput("claims", f"the claim of {key.hex()} is malformed")
        if any(a >= b for a, b in pairwise(self.claims)):
            raise InvalidInput("claims", "they are not in ascending order of node keys")

    @classmethod
    def empty(cls) -> Self:
        """Return the state before the first report."""
        return cls({})

    @property
    def total(self) -> int:
        """All atto ever promised."""
        return sum(claim.cumulative for claim in self.claims.values())

    @cached_property
    def memory(self) -> bytes | None:
        """The digest of the memory that is bound, None of none."""
        return next((key for key, claim in self.claims.items() if claim == _MEMORY), None)

    def advance(
        self, amounts: Mapping[NodeKey, tuple[Address, int]], memory: bytes | None = None
    ) -> "ClaimsState":
        """Return the state after an epoch.

        Args:
            amounts: Node key -> payee and atto of this epoch. The newest payee collects all that is still due; a node
                that never earned anything gets no leaf.
            memory: The digest of the memory to bind, None of none.

        Raises:
            InvalidInput: If an amount is negative, or a sum does not fit in 128 bits.
        """
        claims = {key: claim for key, claim in self.claims.items() if claim != _MEMORY}
        for key, (payee, amount) in amounts.items():
            if amount < 0:
                raise InvalidInput("amount", f"{amount} for {key.hex()} is negative")
            before = claims[key].cumulative if key in claims else 0
            if before + amount:
                claims[key] = Claim(payee, before + amount)
        if sum(claim.cumulative for claim in claims.values()) >= _AMOUNT_END:
            raise InvalidInput("total", "the claims do not fit in 128 bits")
        if memory is not None:
            claims[NodeKey(memory)] = _MEMORY
        return ClaimsState(dict(sorted(claims.items())))

    def _rows(self) -> bytes:
        return b"".join([_row(key, claim) for key, claim in self.claims.items()])

    @cached_property
    def _tree(self) -> SumTree:
        size = len(self.claims)
        rows: ByteMatrix = np.frombuffer(self._rows(), dtype=np.uint8).reshape(size, _ROW_BYTES)
        leaves = np.zeros((size, 56), dtype=np.uint8)
        leaves[:, :HASH_BYTES] = sha256_rows(tag_rows(CLAIM_LEAF, rows))
        leaves[:, HASH_BYTES + 7] = 1  # the count, a big-endian u64
        leaves[:, HASH_BYTES + 8 :] = rows[:, -16:]
        return SumTree(leaves, CLAIM_NODE, LaneKind.U128)

    @cached_property
    def _index(self) -> dict[NodeKey, int]:
        return {key: index for index, key in enumerate(self.claims)}

    @property
    def root_node(self) -> bytes:
        """The 56-byte root of the claim tree."""
        return self._tree.root

    @property
    def reward_root(self) -> bytes:
        """The 32 bytes that stand in the report."""
        return _reward_root(len(self.claims), self._tree.root)

    def proof(self, node_key: NodeKey) -> ClaimProof:
        """Return the proof with which a node, or anybody for it, collects.

        Raises:
            NotFound: If the node never earned anything.
        """
        if node_key not in self._index:
            raise NotFound(f"node {node_key.hex()} has no claim")
        claim, index = self.claims[node_key], self._index[node_key]
        path = tuple(self._tree.path(index))
        return ClaimProof(node_key, claim.payee, claim.cumulative, index, len(self.claims), path)

    def encode(self) -> bytes:
        """Return the artefact (DAG-CBOR): rows of node key, payee and cumulative u128, ascending."""
        return dagcbor.encode({"v": 1, "rows": self._rows()})

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
        well_formed = isinstance(value, dict) and set(value) == {"v", "rows"} and value["v"] == 1
        if (
            not well_formed
            or not isinstance(value["rows"], bytes)
            or len(value["rows"]) % _ROW_BYTES
        ):
            raise InvalidInput("claims", "are not rows of version 1")
        rows = [
            value["rows"][at : at + _ROW_BYTES] for at in range(0, len(value["rows"]), _ROW_BYTES)
        ]
        claims = {
            NodeKey(row[:32]): Claim(Address(row[32:52]), int.from_bytes(row[52:], "big"))
            for row in rows
        }
        if len(claims) != len(rows):
            raise InvalidInput("claims", "a node occurs twice")
        return cls(claims)
