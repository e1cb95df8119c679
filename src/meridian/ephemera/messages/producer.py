"""When a member makes a block of its own, and of which messages.

At every interval, unless an own block is still under way: the messages of the mempool that stand in no own block yet, the
oldest first, as many as fit. The application then says whether the block is ready. A producer that restarts goes on with
the SEND that it persisted; it never makes two blocks of one height.
"""

from __future__ import annotations

from meridian.ephemera.context import Context
from meridian.ephemera.messages.block import HEADER_BYTES, MessageBlock, make_block
from meridian.ephemera.messages.block_channel import BlockChannel
from meridian.ephemera.messages.hooks import Accept, Hooks, RejectAndRemove
from meridian.ephemera.messages.mempool import Mempool
from meridian.ephemera.messages.message import SignedMessage
from meridian.ephemera.messages.settings import BlockSettings

BLOB_BYTES = 4
"""Length in front of every message."""


class Producer:
    """Makes the own blocks of one member set."""

    def __init__(
        self,
        context: Context,
        own: int,
        settings: BlockSettings,
        hooks: Hooks,
        mempool: Mempool,
        channel: BlockChannel,
        now_ms: int,
    ) -> None:
        self._context = context
        self._own = own
        self._settings = settings
        self._hooks = hooks
        self._mempool = mempool
        self._channel = channel
        self.due_ms = now_ms + settings.interval_ms
        self.refusal = ""
        """Why the application did not want the last block; empty if it did."""

    def try_block(self, height: int, now_ms: int, wall_ms: int) -> MessageBlock | None:
        """Make the own block of a height if the interval is over and the application accepts it.

        Args:
            height: One more than that of the last delivered own block.
            now_ms: The clock of deadlines.
            wall_ms: Unix time, for the block's header.
        """
        if now_ms < self.due_ms:
            return None
        self.due_ms = now_ms + self._settings.interval_ms
        previous, last_ms = self._channel.head(self._own)
        block = make_block(
            self._context,
            self._own,
            height,
            previous,
            max(wall_ms, last_ms + 1),
            self._choose(),
        )
        verdict = self._hooks.check_block(block, own=True)
        self.refusal = "" if isinstance(verdict, Accept) else verdict.reason
        if isinstance(verdict, RejectAndRemove):
            hashes = block.message_hashes(self._channel.realm)
            self._mempool.remove(hashes if verdict.messages is None else verdict.messages)
        return block if isinstance(verdict, Accept) else None

    def _choose(self) -> list[SignedMessage]:
        chosen: list[SignedMessage] = []
        size = HEADER_BYTES
        for waiting in self._mempool.oldest():
            if len(chosen) >= self._settings.block_messages_max:
                break
            more = waiting.size_bytes + BLOB_BYTES
            if size + more > self._settings.block_bytes_max:
                continue
            if self._channel.delivered_message(self._own, waiting.hash):
                continue
            chosen.append(waiting.message)
            size += more
        return chosen
