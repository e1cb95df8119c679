"""The replicated key-value store: every write is a reliable broadcast of its own.

All correct members deliver the same writes, though not in the same order, so the value of a key is that of the write
with the highest (clock, writer's address, value): the same on all members once all writes are delivered. The clock of a
write is one more than the highest that its writer has seen (Lamport 1978), so a later write wins over an earlier one that it knew.
Law: no member can use up the clock. A write that is further than `CLOCK_AHEAD_MAX` beyond all that we have seen is not
echoed; a correct writer's is, at the latest when we have delivered what it had seen.

Payload: `version u16 | clock u64 | key blob | value blob`.
"""

from __future__ import annotations

from dataclasses import dataclass

from meridian.ephemera.broadcast.archive import Archive
from meridian.ephemera.broadcast.slot import DeliveryCertificate, Slot
from meridian.ephemera.context import PROTOCOL_VERSION
from meridian.errors import InvalidInput
from meridian.primitives import hashing
from meridian.primitives.codec import Reader, Writer
from meridian.primitives.ids import Address

STORE_CHANNEL = 2
KEY_BYTES_MAX = 256
VALUE_BYTES_MAX = 64 * 1024
CLOCK_MAX = (1 << 63) - 1
CLOCK_AHEAD_MAX = 1 << 20
"""How far one write may move the clock: 2^43 of them use it up."""


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """One write."""

    key: bytes
    """1..256 bytes."""
    value: bytes
    """At most 64 KiB; empty says that the key has no value any more."""
    clock: int

    def __post_init__(self) -> None:
        if not 1 <= len(self.key) <= KEY_BYTES_MAX:
            raise InvalidInput("key", f"must be 1..{KEY_BYTES_MAX} bytes")
        if len(self.value) > VALUE_BYTES_MAX:
            raise InvalidInput("value", f"must be at most {VALUE_BYTES_MAX} bytes")
        if not 1 <= self.clock <= CLOCK_MAX:
            raise InvalidInput("clock", f"must be 1..{CLOCK_MAX}")

    def encode(self) -> bytes:
        """Canonical bytes."""
        out = Writer().u16(PROTOCOL_VERSION).u64(self.clock)
        return out.blob(self.key).blob(self.value).bytes()

    def rank(self, writer: Address) -> tuple[int, Address, bytes]:
        """The write of a key with the highest rank gives its value; a total order, so no order of deliveries matters."""
        return self.clock, writer, self.value

    @staticmethod
    def decode(data: bytes) -> StoreEntry:
        """Read canonical bytes; raises InvalidInput."""
        reader = Reader(data)
        if reader.u16() != PROTOCOL_VERSION:
            raise InvalidInput("entry.version", f"must be {PROTOCOL_VERSION}")
        clock = reader.u64()
        entry = StoreEntry(reader.blob(KEY_BYTES_MAX), reader.blob(VALUE_BYTES_MAX), clock)
        reader.finish()
        return entry


def entry_digest(payload: bytes) -> bytes:
    """SHA256(STORE_ENTRY | payload); raises InvalidInput unless it is a write."""
    StoreEntry.decode(payload)
    return hashing.tagged(hashing.STORE_ENTRY, payload)


class StoreChannel:
    """The channel of writes; every well-formed write of a member is accepted."""

    number = STORE_CHANNEL
    sends_ahead_max = 8

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._clock = 0

    @property
    def clock(self) -> int:
        """The highest clock seen, in other member sets too."""
        return max(self._clock, self._archive.store_clock())

    def next_entry(self, key: bytes, value: bytes) -> StoreEntry:
        """An own write, later than every one seen; raises InvalidInput for bad sizes."""
        return StoreEntry(key, value, self.clock + 1)

    def see(self, entry: StoreEntry) -> None:
        """Move the clock to that of a write."""
        self._clock = max(self._clock, entry.clock)

    def digest(self, slot: Slot, payload: bytes) -> bytes:
        """See `entry_digest`."""
        del slot
        return entry_digest(payload)

    def verify(self, slot: Slot, payload: bytes) -> None:
        """Nothing beyond the form."""

    def accepts(self, slot: Slot, payload: bytes) -> bool:
        """Every write of a member whose clock is not far ahead of ours."""
        del slot
        return StoreEntry.decode(payload).clock <= self.clock + CLOCK_AHEAD_MAX

    def deliver(self, slot: Slot, payload: bytes, certificate: DeliveryCertificate) -> None:
        """Move the clock."""
        del slot, certificate
        self.see(StoreEntry.decode(payload))
