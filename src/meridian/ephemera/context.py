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

from meridian.ephemera.limits import MEMBERS_MAX
from meridian.errors import InvalidInput
from meridian.primitives import eip712, hashing, keys, quorum
from meridian.primitives.codec import Writer
from meridian.primitives.eip712 import Domain, StructType
from meridian.primitives.ids import Address

PROTOCOL_VERSION = 1
"""Version of frames, statements and the context digest; another version is refused."""

EPOCH_MAX = (1 << 63) - 1
VIEW_MAX = (1 << 32) - 2

NO_DIGEST = bytes(32)
"""Stands where a statement has no content (WISH)."""


class Kind(enum.IntEnum):
    """Message kinds. 14..31 are kept for committed rows, 32..47 for Bracha broadcast."""

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
        try:
            return self.members.index(address)
        except ValueError:
            return None

    def statement(self, kind: Kind, view: int, digest: bytes) -> bytes:
        """The 32 bytes that a member signs to say `kind` about `digest` in `view`."""
        return _statement(self.domain, self.digest, int(kind), view, digest)

    def signed(self, member: int, kind: Kind, view: int, digest: bytes, signature: bytes) -> bool:
        """Whether `signature` is that of `members[member]` under the statement."""
        return signed_by(self.members[member], self.statement(kind, view, digest), signature)


def signed_by(address: Address, digest: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes, EIP-2098) over `digest` is that of `address`."""
    return _signer(digest, signature) == address


@functools.lru_cache(maxsize=8192)
def _statement(domain: Domain, context: bytes, kind: int, view: int, digest: bytes) -> bytes:
    return eip712.digest(domain, PROTOCOL.hash(context, kind, view, digest))


# One signature is met up to four times (message, block, certificate, evidence): recover it once.
@functools.lru_cache(maxsize=8192)
def _signer(digest: bytes, signature: bytes) -> Address | None:
    try:
        return keys.recover(digest, signature)
    except InvalidInput:
        return None
