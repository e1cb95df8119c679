"""What the owner of a channel answers about its payloads, and the pace of the broadcast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from meridian.ephemera.broadcast.slot import DeliveryCertificate, Slot


@dataclass(frozen=True, slots=True)
class Pace:
    """Waiting times and the window; see `messages.settings.BlockSettings`."""

    resend_ms: int
    fetch_ms: int
    sync_ms: int
    slots_ahead_max: int


class Channel(Protocol):
    """Gives payloads a meaning; the broadcast knows only their bytes."""

    number: int
    """Stands in slots and signatures."""

    sends_ahead_max: int
    """Payloads of SENDs that are held per sender."""

    def digest(self, slot: Slot, payload: bytes) -> bytes:
        """The 32 bytes that stand for the payload in signatures; cheap. Raises InvalidInput for a bad form."""
        ...

    def verify(self, slot: Slot, payload: bytes) -> None:
        """Raise InvalidInput if no member may ever accept the payload in this slot (signatures within, ...)."""
        ...

    def accepts(self, slot: Slot, payload: bytes) -> bool:
        """Whether to echo a verified payload. Asked when all earlier numbers are delivered; may be asked again."""
        ...

    def deliver(self, slot: Slot, payload: bytes, certificate: DeliveryCertificate) -> None:
        """The payload is final. Once per slot, in the order of numbers."""
        ...
