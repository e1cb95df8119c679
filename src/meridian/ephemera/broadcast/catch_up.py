"""Whom to ask for what others delivered and we did not.

Every member tells one other at intervals, in turn, how far it is (FRONTIER); who is further answers with certificates, and
tells its own frontier in turn. Law: a claim may be a lie, so it chooses whom to ask and nothing else, and a liar cannot keep us from
asking the others: we ask who helped last, and whose turn it is. Bounds: the latest claims of every member.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from meridian.ephemera.broadcast.channel import Pace
from meridian.ephemera.broadcast.frame import Frontier
from meridian.ephemera.broadcast.seat import BroadcastSeat

Chain = tuple[int, int]
"""(channel, sender)."""


class CatchUp:
    """What one member knows of the others' frontiers."""

    def __init__(self, seat: BroadcastSeat, pace: Pace, frontiers: Mapping[Chain, int]) -> None:
        """Prepare; `frontiers` are our own, read whenever they are needed."""
        self._seat = seat
        self._pace = pace
        self._frontiers = frontiers
        self._claims: dict[int, dict[Chain, int]] = {}
        self._asked_at: dict[int, int] = {}
        """member -> our deliveries when it was asked last."""
        self._turn = 0
        self._clock_turn = 0
        self.helper: int | None = None
        """Who gave us the last certificate that was news."""
        self.due_ms = 0
        """When the next member is told how far we are."""

    def hear(self, member: int, claims: Mapping[Chain, int]) -> None:
        """Note what a member says that it has delivered."""
        self._claims[member] = dict(claims)

    def ask(self, waiting: Collection[Chain], now_ms: int) -> None:
        """Ask who is ahead for more, in chains of which nothing that was proved is left to deliver.

        Without progress since the last question to a member, only the clock asks it again.
        """
        ahead = [member for member in tuple(self._claims) if self._is_ahead(member, waiting)]
        turns = sorted(ahead, key=lambda member: (member <= self._turn, member))
        chosen = [member for member in (self.helper, *turns[:1]) if member in ahead]
        self._turn = turns[0] if turns else self._turn
        for member in chosen:
            assert member is not None
            if self._asked_at.get(member) != self._progress():
                self._tell(member, now_ms)

    def tick(self, now_ms: int) -> None:
        """Tell the next member how far we are, if it is time."""
        others = self._seat.others
        if others and now_ms >= self.due_ms:
            self._clock_turn = (self._clock_turn + 1) % len(others)
            self._tell(others[self._clock_turn], now_ms)

    def _is_ahead(self, member: int, waiting: Collection[Chain]) -> bool:
        """Whether a member claims more of a chain that waits for nothing; forgets claims that we reached."""
        claims = self._claims[member]
        if any(n > self._frontiers.get(c, 0) for c, n in claims.items() if c not in waiting):
            return True
        self._claims[member] = {c: n for c, n in claims.items() if n > self._frontiers.get(c, 0)}
        return False

    def _progress(self) -> int:
        """Grows with every delivery."""
        return sum(self._frontiers.values())

    def _tell(self, member: int, now_ms: int) -> None:
        self.due_ms = now_ms + self._pace.sync_ms
        self._asked_at[member] = self._progress()
        entries = tuple((*chain, number) for chain, number in sorted(self._frontiers.items()))
        self._seat.send(member, Frontier(entries))
