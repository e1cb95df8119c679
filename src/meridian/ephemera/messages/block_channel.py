"""The channel of blocks: every member's own chain, checked against what was delivered of it.

Law: a block extends the last delivered block of its creator, is later than it, and repeats no message of the chain. So one
correct delivery after the other gives the same chain on every correct member.
"""

from __future__ import annotations

from collections.abc import Callable

from meridian.ephemera.broadcast.archive import Archive
from meridian.ephemera.broadcast.slot import DeliveryCertificate, Slot
from meridian.ephemera.context import Context
from meridian.ephemera.messages.block import (
    BLOCK_BYTES_MAX,
    BLOCK_CHANNEL,
    HEADER_BYTES,
    MessageBlock,
    MessageBlockHeader,
)
from meridian.ephemera.messages.hooks import Accept, Hooks, RejectAndRemove
from meridian.ephemera.messages.message import Realm
from meridian.errors import InvalidInput
from meridian.primitives.ids import Address

DECODED_MAX = 16
"""Decoded blocks kept between the steps of a slot."""

Remove = Callable[[frozenset[bytes]], None]


class BlockChannel:
    """The chains of all members of one set."""

    number = BLOCK_CHANNEL
    sends_ahead_max = 2

    def __init__(
        self,
        context: Context,
        own: int,
        hooks: Hooks,
        archive: Archive,
        senders: frozenset[Address],
        remove: Remove,
        *,
        producer: bool,
    ) -> None:
        """Prepare the channel.

        Args:
            context: The member set.
            own: Our own index.
            hooks: The application.
            archive: Blocks that were delivered before.
            senders: Accounts whose messages a block may hold.
            remove: Called with hashes of messages that must leave the mempool.
            producer: Whether we make blocks: our messages then wait for our own block, else for anybody's.
        """
        self._context = context
        self._own = own
        self._hooks = hooks
        self._archive = archive
        self._senders = senders
        self._remove = remove
        self._producer = producer
        self.realm = Realm(context.domain, context.network)
        self._heads: dict[int, tuple[bytes, int]] = {}
        self._fresh: dict[int, set[bytes]] = {}
        self._decoded: dict[bytes, MessageBlock] = {}
        for (channel, creator), height in archive.frontiers(context.epoch).items():
            delivered = archive.delivery(context.epoch, Slot(channel, creator, height))
            if channel == self.number and delivered is not None:
                header = MessageBlockHeader.decode(delivered[0][:HEADER_BYTES])
                self._heads[creator] = (header.hash, header.created_ms)

    def begin(self) -> None:
        """A new input begins: what was delivered before it is in the archive."""
        self._fresh.clear()

    def head(self, creator: int) -> tuple[bytes, int]:
        """(hash, time) of a creator's last delivered block; the context digest and 0 before the first."""
        return self._heads.get(creator, (self._context.digest, 0))

    def delivered_message(self, creator: int, message_hash: bytes) -> bool:
        """Whether a delivered block of the creator holds the message."""
        return message_hash in self._fresh.get(creator, ()) or self._archive.contains_message(
            self._context.epoch, creator, message_hash
        )

    def digest(self, slot: Slot, payload: bytes) -> bytes:
        """The block hash, which covers the messages through the root."""
        if len(payload) > BLOCK_BYTES_MAX:
            raise InvalidInput("block", f"must be at most {BLOCK_BYTES_MAX} bytes")
        header = MessageBlockHeader.decode(payload[:HEADER_BYTES])
        if header.slot != slot:
            raise InvalidInput("block", "stands in another slot than its header says")
        return header.hash

    def verify(self, slot: Slot, payload: bytes) -> None:
        """Header, messages and signatures hold together."""
        del slot  # `digest` has compared it with the header
        block = MessageBlock.decode(payload)
        block.verify(self._context)
        self._keep(block)

    def accepts(self, slot: Slot, payload: bytes) -> bool:
        """It extends the creator's chain, repeats nothing, all senders are known, and the application accepts it."""
        block = self.block(payload)
        previous, created_ms = self.head(slot.sender)
        if block.header.previous != previous or block.header.created_ms <= created_ms:
            return False
        hashes = block.message_hashes(self.realm)
        if any(self.delivered_message(slot.sender, message) for message in hashes):
            return False
        if slot.sender == self._own:
            return True  # the application was asked when it was made
        if any(message.sender not in self._senders for message in block.messages):
            return False  # not in `verify`: clients are a setting, and what a quorum accepted is final here too
        verdict = self._hooks.check_block(block, own=False)
        if isinstance(verdict, RejectAndRemove):
            self._remove(frozenset(hashes) if verdict.messages is None else verdict.messages)
        return isinstance(verdict, Accept)

    def deliver(self, slot: Slot, payload: bytes, certificate: DeliveryCertificate) -> None:
        """Move the creator's head; messages that have found their block need not wait any more."""
        del certificate
        block = self.block(payload)
        self._decoded.pop(block.hash, None)
        self._heads[slot.sender] = (block.hash, block.header.created_ms)
        hashes = frozenset(block.message_hashes(self.realm))
        self._fresh.setdefault(slot.sender, set()).update(hashes)
        if slot.sender == self._own or not self._producer:
            self._remove(hashes)

    def block(self, payload: bytes) -> MessageBlock:
        """The decoded block of a verified payload."""
        known = self._decoded.get(MessageBlockHeader.decode(payload[:HEADER_BYTES]).hash)
        return known or self._keep(MessageBlock.decode(payload))

    def _keep(self, block: MessageBlock) -> MessageBlock:
        while len(self._decoded) >= DECODED_MAX:
            del self._decoded[next(iter(self._decoded))]
        self._decoded[block.hash] = block
        return block
