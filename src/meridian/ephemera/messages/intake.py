"""The one door of the mempool: what a message must be to wait for a block, wherever it comes from.

Checks come in the order duplicate, sender, room, signature, application: what costs little comes first.
"""

from __future__ import annotations

from meridian.ephemera.messages.hooks import Hooks
from meridian.ephemera.messages.mempool import Mempool
from meridian.ephemera.messages.message import Realm, SignedMessage
from meridian.errors import InvalidInput
from meridian.primitives.ids import Address


class Intake:
    """Checks messages and puts them into the mempool."""

    def __init__(self, realm: Realm, hooks: Hooks, mempool: Mempool) -> None:
        self._realm = realm
        self._hooks = hooks
        self.mempool = mempool

    def admit(
        self, message_hash: bytes, message: SignedMessage, senders: frozenset[Address], now_ms: int
    ) -> None:
        """Take a message that stands in no own block.

        Raises:
            InvalidInput: `duplicate`: it waits already; `sender`: it is of a stranger; `data`: it is too long;
                `signature`: it is not the sender's; `message`: the application refuses it, for its reason.
            Overloaded: The mempool, or the sender's share of it, is full.
        """
        if message_hash in self.mempool:
            raise InvalidInput("duplicate", "the message waits for a block already")
        if message.sender not in senders:
            raise InvalidInput("sender", "is neither a member nor a registered client")
        self.mempool.check_room(message)
        message.verify(self._realm)
        reason = self._hooks.check_tx(message)
        if reason is not None:
            raise InvalidInput("message", reason)
        self.mempool.add(message_hash, message, now_ms)
