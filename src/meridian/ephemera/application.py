"""The one question that the protocol asks the application: is this row acceptable?"""

from __future__ import annotations

from typing import Protocol

from meridian.primitives.ids import Address


class Application(Protocol):
    """Knows what a row body means; the protocol knows only its bytes."""

    def check_row(self, epoch: int, member: Address, body: bytes) -> str | None:
        """None if the body is a valid row of `member` for `epoch`, else the reason.

        Must be a pure function that gives the same answer on every correct member: a row that one
        correct member lists and another refuses would hold up the epoch.
        """
        ...
