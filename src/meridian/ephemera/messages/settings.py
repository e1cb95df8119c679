"""The named bounds and waiting times of mempool, blocks and broadcast."""

from __future__ import annotations

from dataclasses import dataclass, field

from meridian.ephemera.limits import MEMBERS_MAX
from meridian.ephemera.messages.block import BLOCK_BYTES_MAX, MESSAGES_MAX
from meridian.ephemera.messages.message import DATA_BYTES_MAX, MESSAGE_BYTES_MAX
from meridian.errors import InvalidInput
from meridian.primitives.ids import Address


@dataclass(frozen=True, slots=True)
class MempoolLimits:
    """Bounds of the mempool."""

    messages_max: int = 10_000
    bytes_max: int = 64 << 20
    """Encoded bytes of all messages together."""
    per_sender_max: int = 256
    """Messages of one sender that wait at the same time."""
    data_bytes_max: int = DATA_BYTES_MAX
    """Bytes of data of one message."""
    ttl_ms: int = 3_600_000
    """A message that is in no own block after this time is dropped."""

    def __post_init__(self) -> None:
        for name in ("messages_max", "bytes_max", "per_sender_max", "data_bytes_max", "ttl_ms"):
            if getattr(self, name) < 1:
                raise InvalidInput(name, "must be at least 1")

    @property
    def per_sender_bytes_max(self) -> int:
        """Encoded bytes of one sender: the shares of all members fit together, and one message always fits."""
        return max(self.bytes_max // MEMBERS_MAX, MESSAGE_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class BlockSettings:
    """How a member takes part in blocks and broadcast."""

    producer: bool = True
    """Whether own blocks are made."""
    interval_ms: int = 30_000
    """How often an own block is tried, unless one is still under way."""
    block_bytes_max: int = BLOCK_BYTES_MAX
    block_messages_max: int = MESSAGES_MAX
    resend_ms: int = 400
    """Own statements of an unfinished slot are sent again after this time, then ever more seldom."""
    fetch_ms: int = 1_000
    """A payload that did not come within this time is asked for again, from the next member."""
    sync_ms: int = 2_000
    """How often one other member is told how far we are, so that it sends what we lack."""
    slots_ahead_max: int = 8
    """Unfinished slots per channel and sender; frames further ahead are refused (they are sent again)."""
    member_sets_max: int = 4
    """Member sets open at once."""
    clients: frozenset[Address] = field(default_factory=frozenset)
    """Accounts besides the members whose messages are taken."""
    mempool: MempoolLimits = field(default_factory=MempoolLimits)

    def __post_init__(self) -> None:
        waits = ("interval_ms", "resend_ms", "fetch_ms", "sync_ms")
        for name in (*waits, "slots_ahead_max", "member_sets_max"):
            if getattr(self, name) < 1:
                raise InvalidInput(name, "must be at least 1")
        if not 1 <= self.block_messages_max <= MESSAGES_MAX:
            raise InvalidInput("block_messages_max", f"must be 1..{MESSAGES_MAX}")
        if not 1 <= self.block_bytes_max <= BLOCK_BYTES_MAX:
            raise InvalidInput("block_bytes_max", f"must be 1..{BLOCK_BYTES_MAX}")
