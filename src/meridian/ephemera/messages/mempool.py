"""Signed messages that wait for a block, within limits.

Law: only messages that were checked enter; a message is here at most once; nobody can fill it for others
(`per_sender_max`, `per_sender_bytes_max`), and nothing stays for ever (`ttl_ms`). Which messages stand in blocks already is the caller's knowledge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from meridian.ephemera.messages.message import SignedMessage
from meridian.ephemera.messages.settings import MempoolLimits
from meridian.errors import InvalidInput, Overloaded
from meridian.primitives.ids import Address

RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message of the mempool."""

    hash: bytes
    message: SignedMessage
    size_bytes: int
    expires_ms: int


class Mempool:
    """The messages, in the order of their arrival."""

    def __init__(self, limits: MempoolLimits) -> None:
        self._limits = limits
        self._waiting: dict[bytes, Waiting] = {}
        self._per_sender: Counter[Address] = Counter()
        self._bytes_per_sender: Counter[Address] = Counter()
        self.bytes = 0
        """Encoded bytes of all messages."""

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, message_hash: bytes) -> bool:
        return message_hash in self._waiting

    def check_room(self, message: SignedMessage) -> None:
        """Raise unless one more message of this sender and size may enter.

        Raises:
            InvalidInput: The data is too long.
            Overloaded: The mempool, or the sender's share of it, is full.
        """
        limits = self._limits
        if len(message.data) > limits.data_bytes_max:
            raise InvalidInput("data", f"must be at most {limits.data_bytes_max} bytes")
        if self._per_sender[message.sender] >= limits.per_sender_max:
            raise Overloaded(RETRY_S, f"{limits.per_sender_max} messages of this sender wait")
        size = len(message.encode())
        if self._bytes_per_sender[message.sender] + size > limits.per_sender_bytes_max:
            raise Overloaded(RETRY_S, f"{limits.per_sender_bytes_max} bytes of this sender wait")
        if len(self._waiting) >= limits.messages_max or self.bytes + size > limits.bytes_max:
            raise Overloaded(RETRY_S, "the mempool is full")

    def add(self, message_hash: bytes, message: SignedMessage, now_ms: int) -> None:
        """Take a message that was checked and is not here; raises as `check_room`."""
        self.check_room(message)
        size = len(message.encode())
        expires_ms = now_ms + self._limits.ttl_ms
        self._waiting[message_hash] = Waiting(message_hash, message, size, expires_ms)
        self._per_sender[message.sender] += 1
        self._bytes_per_sender[message.sender] += size
        self.bytes += size

    def remove(self, hashes: Iterable[bytes]) -> None:
        """Drop messages; unknown ones are passed over."""
        for message_hash in hashes:
            gone = self._waiting.pop(message_hash, None)
            if gone is not None:
                self.bytes -= gone.size_bytes
                sender = gone.message.sender
                self._per_sender[sender] -= 1
                self._bytes_per_sender[sender] -= gone.size_bytes
                if not self._per_sender[sender]:
                    del self._per_sender[sender], self._bytes_per_sender[sender]

    def expire(self, now_ms: int) -> int:
        """Drop what has waited too long; return how many."""
        old = [hash_ for hash_, waiting in self._waiting.items() if waiting.expires_ms <= now_ms]
        self.remove(old)
        return len(old)

    def next_expiry_ms(self) -> int | None:
        """When `expire` has something to do; None if never."""
        # One time to live for all: the oldest goes first.
        first = next(iter(self._waiting.values()), None)
        return None if first is None else first.expires_ms

    def oldest(self) -> tuple[Waiting, ...]:
        """All messages, the oldest first."""
        return tuple(self._waiting.values())
