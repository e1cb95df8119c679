"""What the Nym-Apis' application says about messages and blocks of the mempool (`ephemera.messages.hooks`).

A message holds one row: its label says so, its round is the row's epoch, its sender a member. A block holds rows of one
epoch, at most one of a sender, and at least n - f of them: a number of rows of distinct members, never a percentage.
"""

from collections.abc import Callable, Sequence
from typing import Final

from meridian.ephemera.broadcast.slot import DeliveryCertificate
from meridian.ephemera.messages.block import MessageBlock
from meridian.ephemera.messages.hooks import Accept, BlockVerdict, Reject, RejectAndRemove
from meridian.ephemera.messages.message import Realm, SignedMessage
from meridian.errors import InvalidInput
from meridian.nym.rows import Row, decode_row
from meridian.primitives import quorum
from meridian.primitives.ids import Address, address_text

LABEL: Final = "nym/uptime/1"
EPOCHS_KEPT: Final = 1024
"""Closed epochs that are remembered, and how far back a row may reach."""


def check_row(message: SignedMessage, members: Sequence[Address], mixnodes: int) -> Row:
    """Return the row in a message whose signature was checked.

    Raises:
        InvalidInput: If it is no row, of another epoch than the message, out of range, or of a stranger.
    """
    if message.label != LABEL:
        raise InvalidInput("label", f"must be {LABEL}")
    if message.sender not in members:
        raise InvalidInput("sender", f"{address_text(message.sender)} is not a known Nym-Api")
    return decode_row(message.data, epoch=message.round, mixnodes=mixnodes)


def check_rows(
    messages: Sequence[SignedMessage], members: Sequence[Address], mixnodes: int
) -> dict[Address, Row]:
    """Return the rows of a block by sender.

    Raises:
        InvalidInput: If a message is no row, a sender has two, epochs are mixed, or there are fewer than n - f.
    """
    rows: dict[Address, Row] = {}
    for message in messages:
        if message.sender in rows:
            raise InvalidInput("messages", f"{address_text(message.sender)} has two rows")
        rows[message.sender] = check_row(message, members, mixnodes)
    if len({row.epoch for row in rows.values()}) > 1:
        raise InvalidInput("messages", "they are of different epochs")
    least = rows_min(len(members))
    if len(rows) < least:
        raise InvalidInput("messages", f"{len(rows)} rows, at least {least} are needed")
    return rows


def rows_min(members: int) -> int:
    """Return how many rows of distinct members a block needs: n - f; more may never come."""
    return members - quorum.faults_max(members)


class RaceRules:
    """See `ephemera.messages.hooks.Hooks`.

    Args:
        realm: Where messages are valid.
        members: The known Nym-Apis.
        mixnodes: How many there are.
        grace_ms: How long an own block waits for the other rows once it has n - f.
        now_ms: A monotonic clock, for that only.
        current: The epoch that the contract is in: rows of later ones do not wait.
        on_block: Called with every finalised block and its certificate.
    """

    def __init__(
        self,
        realm: Realm,
        members: Sequence[Address],
        mixnodes: int,
        *,
        grace_ms: int,
        now_ms: Callable[[], int],
        current: Callable[[], int],
        on_block: Callable[[MessageBlock, DeliveryCertificate], None],
    ) -> None:
        self._realm = realm
        self._members = tuple(members)
        self._mixnodes = mixnodes
        self._grace_ms = grace_ms
        self._now_ms = now_ms
        self._on_block = on_block
        self._current = current
        self._first: dict[int, dict[Address, bytes]] = {}
        """Epoch -> sender -> hash of the message that counts."""
        self._closed: set[int] = set()
        self._enough_ms: dict[int, int] = {}
        """Epoch -> when n - f rows of it were there."""
        self._chosen: int | None = None
        """The epoch that an own block is being made of."""
        self._parked: dict[bytes, SignedMessage] = {}
        """Rows of other epochs, out of the mempool as long as one is chosen."""

    def close(self, epoch: int) -> None:
        """Take no more rows of an epoch: it has its result, or our own block."""
        self._closed.add(epoch)
        self._first.pop(epoch, None)
        self._enough_ms.pop(epoch, None)
        if self._chosen == epoch:
            self._chosen = None
        for old in sorted(self._closed)[: max(0, len(self._closed) - EPOCHS_KEPT)]:
            self._closed.discard(old)

    def take_parked(self) -> list[SignedMessage]:
        """Return the rows that may wait in the mempool again; none while an own block is being made."""
        if self._chosen is not None:
            return []
        parked, self._parked = self._parked, {}
        return [message for message in parked.values() if message.round not in self._closed]

    def check_tx(self, message: SignedMessage) -> str | None:
        """Return why a message may not wait, or None."""
        epoch = message.round
        try:
            check_row(message, self._members, self._mixnodes)
        except InvalidInput as error:
            return str(error)
        if epoch in self._closed or epoch < max(self._closed, default=0) - EPOCHS_KEPT:
            return f"epoch: {epoch} is closed"
        # The running one too: another's clock may be a little ahead.
        if epoch > self._current():
            return f"epoch: {epoch} has not begun"
        if epoch not in self._first and len(self._first) >= EPOCHS_KEPT:
            return "epoch: too many are open"
        own_hash = message.hash(self._realm)
        first = self._first.setdefault(epoch, {}).setdefault(message.sender, own_hash)
        return None if first == own_hash else "row: the sender has another one for this epoch"

    def check_block(self, block: MessageBlock, *, own: bool) -> BlockVerdict:
        """Say whether an own block is ready, or another member's may be echoed."""
        if own:
            return self._own_block(block)
        try:
            check_rows(block.messages, self._members, self._mixnodes)
        except InvalidInput as error:
            return Reject(str(error))
        return Accept()

    def _own_block(self, block: MessageBlock) -> BlockVerdict:
        """Choose the lowest epoch that is ready; rows of others leave the mempool until its block is made."""
        epochs: dict[int, list[SignedMessage]] = {}
        for message in block.messages:
            epochs.setdefault(message.round, []).append(message)
        ready = [epoch for epoch in sorted(epochs) if self._is_ready(epoch, len(epochs[epoch]))]
        chosen = ready[0] if ready else None
        closed = self._closed & epochs.keys()
        idle = closed if chosen is None else epochs.keys() - {chosen}
        self._chosen = chosen
        if idle:
            hashes = {m.hash(self._realm): m for epoch in idle for m in epochs[epoch]}
            self._parked |= {h: m for h, m in hashes.items() if m.round not in self._closed}
            return RejectAndRemove("rows of other epochs", frozenset(hashes))
        if chosen is None:
            return Reject(
                f"no epoch has {rows_min(len(self._members))} rows and its grace behind it"
            )
        return Accept()

    def _is_ready(self, epoch: int, rows: int) -> bool:
        """Tell whether an epoch has all rows, or n - f of them since the grace."""
        if epoch in self._closed or rows < rows_min(len(self._members)):
            return False
        since_ms = self._enough_ms.setdefault(epoch, self._now_ms())
        return rows >= len(self._members) or self._now_ms() >= since_ms + self._grace_ms

    def deliver_block(self, block: MessageBlock, certificate: DeliveryCertificate) -> None:
        """Pass a finalised block on."""
        self._on_block(block, certificate)
