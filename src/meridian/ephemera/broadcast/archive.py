"""What was delivered before, as the pure core reads it: storage in production, a dictionary in a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from meridian.ephemera.broadcast.slot import DeliveryCertificate, Slot


class Archive(Protocol):
    """Deliveries that the driver has made durable; answers reflect every effect that was carried out."""

    def frontiers(self, epoch: int) -> Mapping[tuple[int, int], int]:
        """(channel, sender) -> the last delivered number of the member set `epoch`; absent: none."""
        ...

    def delivery(self, epoch: int, slot: Slot) -> tuple[bytes, DeliveryCertificate] | None:
        """Payload and certificate of a delivered slot."""
        ...

    def contains_message(self, epoch: int, creator: int, message_hash: bytes) -> bool:
        """Whether a delivered block of `creator` (index in member set `epoch`) holds the message."""
        ...

    def store_clock(self) -> int:
        """The highest clock of all delivered writes to the key-value store; 0 if there is none."""
        ...
