"""What every statement of one epoch is about: domain, network, epoch and the registered members.

A `Context` is fixed when the epoch opens. Its digest stands in every protocol signature, so that a statement
made for another chain, contract, network, epoch or member set verifies nowhere else. n is the number of
registered members, never of connected ones.
"""

from __future__ import annotations

import enum
import functools
import itertools
from dataclasses import dataclass, field
from typing import TypeVar

from meridian.ephemera.limits import MEMBERS_MAX
from meridian.errors import InvalidInput
from meridian.primitives import eip712, hashing, keys, quorum
from meridian.primitives.codec import Writer
from meridian.primitives.eip712 import Domain, StructType
from meridian.primitives.ids import Address

PROTOCOL_VERSION = 1
"""Version of frames, statements and the context digest; another version is refused."""

CACHE_MAX = 8192
"""Statements, and signers of signatures, that a context remembers."""

EPOCH_MAX = (1 << 63) - 1
VIEW_MAX = (1 << 32) - 2

NO_DIGEST = bytes(32)
"""Stands where a statement has no content (WISH)."""


K = TypeVar("K")
V = TypeVar("V")


class Kind(enum.IntEnum):
    """Message kinds. 32..47 are kept for Bracha broadcast."""

    ROW = 1
    HAVE = 2
    PROPOSE = 3
    ECHO = 4
    VOTE = 5
    WISH = 6
    VIEW_CHANGE = 7
    DECIDED = 8
    REPORT_SIG = 9
    FETCH = 10
    FETCH_REPLY = 11
    EVIDENCE = 12
    ASK = 13
    REVEAL = 14


PROTOCOL = StructType(
    "Protocol",
    (("context", "bytes32"), ("kind", "uint8"), ("view", "uint32"), ("digest", "bytes32")),
)
"""The EIP-712 struct behind every protocol signature; `context` is `Context.digest`."""


@dataclass(frozen=True, slots=True)
class Context:
    """One epoch of one network: who may speak, and where their signatures count."""

    domain: Domain
    """Verifying contract: Evaluations."""
    network: bytes
    """32 bytes."""
    epoch: int
    members: tuple[Address, ...]
    """Registered evaluators of the epoch, strictly ascending; 1..128."""
    digest: bytes = field(init=False, repr=False, compare=False)
    """SHA256(MEMBERS | version u16 | network | epoch u64 | n u32 | members)."""
    leaders: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """The order in which members lead: a permutation keyed by the digest."""
    _indices: dict[Address, int] = field(init=False, repr=False, compare=False)
    _statements: dict[tuple[int, int, bytes], bytes] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    # One signature is met up to four times (message, block, certificate, evidence): recover it once.
    _signers: dict[tuple[bytes, bytes], Address | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not 0 <= self.epoch <= EPOCH_MAX:
            raise InvalidInput("epoch", f"must be 0..{EPOCH_MAX}")
        if not 1 <= len(self.members) <= MEMBERS_MAX:
            raise InvalidInput("members", f"must be 1..{MEMBERS_MAX}")
        if any(a >= b for a, b in itertools.pairwise(self.members)):
            raise InvalidInput("members", "must be strictly ascending")
        out = Writer().u16(PROTOCOL_VERSION).fixed(self.network, 32).u64(self.epoch)
        out.u32(len(self.members))
        for member in self.members:
            out.fixed(member, 20)
        digest = hashing.tagged(hashing.MEMBERS, out.bytes())
        order = sorted(
            range(len(self.members)),
            key=lambda index: hashing.tagged(hashing.MEMBERS, digest, index.to_bytes(2, "big")),
        )
        indices = {member: index for index, member in enumerate(self.members)}
        object.__setattr__(self, "_indices", indices)
        object.__setattr__(self, "digest", digest)
        object.__setattr__(self, "leaders", tuple(order))

    @property
    def n(self) -> int:
        """Registered members."""
        return len(self.members)

    @property
    def f(self) -> int:
        """Byzantine members that are tolerated."""
        return quorum.faults_max(self.n)

    @property
    def quorum(self) -> int:
        """Members behind an echo, vote, wish or report certificate."""
        return quorum.quorum(self.n)

    @property
    def amplify(self) -> int:
        """At least one of so many members (f + 1) is correct."""
        return quorum.amplify(self.n)

    @property
    def rows_min(self) -> int:
        """Rows, and HAVEs, that a block must hold (n - f); more may never come."""
        return self.n - self.f

    def leader(self, view: int) -> int:
        """Index of the member that may propose in `view`."""
        return self.leaders[view % self.n]

    def index_of(self, address: Address) -> int | None:
        """Index of a member, or None for a stranger."""
        return self._indices.get(address)

    def statement(self, kind: Kind, view: int, digest: bytes) -> bytes:
        """The 32 bytes that a member signs to say `kind` about `digest` in `view`."""
        key = (int(kind), view, digest)
        made = self._statements.get(key)
        if made is None:
            made = eip712.digest(self.domain, PROTOCOL.hash(self.digest, *key))
            _remember(self._statements, key, made)
        return made

    def signed(self, member: int, kind: Kind, view: int, digest: bytes, signature: bytes) -> bool:
        """Whether `signature` is that of `members[member]` under the statement."""
        return self.signed_digest(member, self.statement(kind, view, digest), signature)

    def signed_digest(self, member: int, digest: bytes, signature: bytes) -> bool:
        """Whether `signature` (64 bytes, EIP-2098) over these 32 bytes is that of `members[member]`."""
        key = (digest, signature)
        if key not in self._signers:
            _remember(self._signers, key, _recover(digest, signature))
        return self._signers[key] == self.members[member]


def signed_by(address: Address, digest: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes, EIP-2098) over `digest` is that of `address`."""
    return _signer(digest, signature) == address


@functools.lru_cache(maxsize=CACHE_MAX)
def _signer(digest: bytes, signature: bytes) -> Address | None:
    return _recover(digest, signature)


def _recover(digest: bytes, signature: bytes) -> Address | None:
    try:
        return keys.recover(digest, signature)
    except InvalidInput:
        return None


def _remember(cache: dict[K, V], key: K, value: V) -> None:
    """Add to a bounded cache: when it is full, the oldest quarter goes."""
    if len(cache) >= CACHE_MAX:
        for old in list(itertools.islice(cache, CACHE_MAX // 4)):
            del cache[old]
    cache[key] = value
