"""When to leave a view: timeouts, wishes, and the view that a quorum wishes for.

Law: a view is entered only when a quorum wishes for it or a later one, so correct members move together; a
member joins a wish that f + 1 others have, since one of them is correct (libocr's pacemaker, bft.md
section 3). View and wish only grow. Bound: one wish per member.
"""

from __future__ import annotations

from meridian.ephemera.context import VIEW_MAX, Context
from meridian.ephemera.limits import Timing


class Pacemaker:
    """Views of one member in one epoch."""

    def __init__(self, context: Context, own: int, timing: Timing) -> None:
        self._context = context
        self._own = own
        self._timing = timing
        self._wishes: dict[int, int] = {}
        self.view = 0
        self.wish = 0
        self.deadline_ms: int | None = None

    def wish_of(self, member: int) -> int:
        """The latest wish heard from a member; 0 if none."""
        return self._wishes.get(member, 0)

    def hear(self, member: int, view: int) -> None:
        """Note another member's wish."""
        self._wishes[member] = max(view, self.wish_of(member))

    def arm(self, now_ms: int) -> None:
        """Start the timeout of the current view, unless it runs."""
        if self.deadline_ms is None:
            self.deadline_ms = now_ms + self._timing.view_timeout_ms(self.view)

    def stop(self) -> None:
        """No more timeouts."""
        self.deadline_ms = None

    def time_out(self, now_ms: int) -> bool:
        """If the timeout is due: start it again, wish for the next view; True if the wish is new."""
        if self.deadline_ms is None or self.deadline_ms > now_ms:
            return False
        self.deadline_ms = now_ms + self._timing.view_timeout_ms(self.view)
        if self.wish > self.view or self.view >= VIEW_MAX:
            return False
        self.wish = self.view + 1
        return True

    def join(self) -> bool:
        """Adopt the highest wish that f + 1 others have or exceed; True if that raised the own wish."""
        wishes = self._above(self.wish, own=False)
        if len(wishes) < self._context.amplify:
            return False
        self.wish = wishes[self._context.amplify - 1]
        return True

    def due_view(self) -> int | None:
        """The highest view that a quorum, oneself included, wishes for; None if not above the current."""
        wishes = self._above(self.view, own=True)
        if len(wishes) < self._context.quorum:
            return None
        return wishes[self._context.quorum - 1]

    def enter(self, view: int, now_ms: int) -> None:
        """Go to `view` and start its timeout."""
        self.view = view
        self.wish = max(self.wish, view)
        self.deadline_ms = now_ms + self._timing.view_timeout_ms(view)

    def _above(self, floor: int, *, own: bool) -> list[int]:
        if not self._wishes and self.wish <= floor:
            return []
        wishes = dict(self._wishes)
        wishes.pop(self._own, None)
        if own:
            wishes[self._own] = self.wish
        return sorted((view for view in wishes.values() if view > floor), reverse=True)
