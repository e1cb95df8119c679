"""DECIDED: told a moment after the decision, and only to those of whom nothing shows that they know it.

Whoever has voted for the block is about to decide too, and most others are only a moment behind. What a member
still lacks after a loss, it asks for (ASK).
"""

from __future__ import annotations

from meridian.ephemera.block import Certificate
from meridian.ephemera.context import Kind
from meridian.ephemera.message import Decision, Message, ReportSignature, Vote
from meridian.ephemera.seat import Seat


class Announcement:
    """Who has still to be told of the decision."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._certificate: Certificate | None = None
        self._untold: set[int] = set()
        self.due_ms: int | None = None
        """When `tick` has something to do."""

    def begin(self, certificate: Certificate) -> None:
        """We have decided."""
        votes = self._seat.ledger.said(Kind.VOTE, certificate.view)
        voted = {m for m, (digest, _) in votes.items() if digest == certificate.block_hash}
        self._certificate = certificate
        self._untold = set(range(self._seat.context.n)) - voted - {self._seat.own}

    def schedule(self, now_ms: int) -> None:
        """Let the moment begin, if somebody is to be told."""
        if self._untold and self.due_ms is None:
            self.due_ms = now_ms + self._seat.timing.resend_ms // 4

    def hear(self, sender: int, message: Message) -> None:
        """Whoever says this needs no DECIDED. No signature counts here: the link names the sender."""
        if self._certificate is None or not self._untold:
            return
        match message:
            case Vote(member, _, block_hash):
                knows = member == sender and block_hash == self._certificate.block_hash
            case ReportSignature() | Decision():
                knows = True
            case _:
                knows = False
        if knows:
            self._untold.discard(sender)

    def tick(self, now_ms: int) -> None:
        """Tell those that are left, when it is due."""
        if self.due_ms is None or now_ms < self.due_ms:
            return
        assert self._certificate is not None
        for member in sorted(self._untold):
            self._seat.send(member, Decision(self._certificate))
        self._untold, self.due_ms = set(), None
