"""The three questions to the application: may this message wait, may this block be sent or echoed, here is a block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from meridian.ephemera.broadcast.slot import DeliveryCertificate
from meridian.ephemera.messages.block import MessageBlock
from meridian.ephemera.messages.message import SignedMessage


@dataclass(frozen=True, slots=True)
class Accept:
    """Send the own block, or echo another member's."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Not now: an own block's messages stay in the mempool and are tried again at the next interval.

    Another member's block is not echoed. The question may come again.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class RejectAndRemove:
    """As `Reject`, and messages leave the mempool for good."""

    reason: str
    messages: frozenset[bytes] | None = None
    """Hashes of the messages to remove; None: all of the block."""


BlockVerdict = Accept | Reject | RejectAndRemove


class Hooks(Protocol):
    """What the application decides. Signatures, senders and limits are checked before it is asked.

    `check_tx` and `check_block` must be quick, must not block, and for blocks of others should depend on the block
    alone: where correct members answer differently, a block may wait for ever.
    """

    def check_tx(self, message: SignedMessage) -> str | None:
        """None if the message may enter the mempool, else the reason why not."""
        ...

    def check_block(self, block: MessageBlock, *, own: bool) -> BlockVerdict:
        """Whether an own block is ready to be sent, or another member's may be echoed."""
        ...

    def deliver_block(self, block: MessageBlock, certificate: DeliveryCertificate) -> None:
        """A finalised block of any member, durable, in the order of its creator; again after a crash.

        Called by the shell, not by the core. An exception ends the process: the block comes again after the
        restart.
        """
        ...


class AcceptAll:
    """Takes every message and every block that holds one."""

    def check_tx(self, message: SignedMessage) -> str | None:
        """See `Hooks`."""
        del message
        return None

    def check_block(self, block: MessageBlock, *, own: bool) -> BlockVerdict:
        """See `Hooks`."""
        del own
        return Accept() if block.messages else Reject("the block is empty")

    def deliver_block(self, block: MessageBlock, certificate: DeliveryCertificate) -> None:
        """See `Hooks`."""
