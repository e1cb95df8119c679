"""The named bounds and the waiting times of a replica.

Every collection of the replica is bounded by one of these or by the number of members. Waiting times
change how fast an epoch is decided, never what is decided.
"""

from __future__ import annotations

from dataclasses import dataclass

from meridian.errors import InvalidInput

MEMBERS_MAX = 128
"""Members of one epoch; the Registry's bound."""

PIECE_BYTES_MAX = 1 << 20
"""Bytes of a body or block in one FETCH_REPLY."""

PUSHED_BODY_BYTES_MAX = 4 << 10
"""Bytes of a body that may come along with its REVEAL."""

FRAME_BYTES_MAX = PIECE_BYTES_MAX + 256
"""No frame of the protocol is longer; links refuse longer ones before they allocate."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Waiting times in milliseconds; the defaults suit one machine or one data centre."""

    row_ms: int = 300
    """After n - f commitments: how long to wait for the others before later ones are late."""
    reveal_ms: int = 100
    """Then, unless all have come: how long until the own row is revealed, so that others have closed as well."""
    have_ms: int = 300
    """After n - f revealed rows: how long to wait for others that came in time before HAVE is signed."""
    fill_ms: int = 2_000
    """After n - f revealed rows, late ones counted: how long to wait for those in time before late ones stand in."""
    grace_ms: int = 100
    """After n - f HAVEs: how long the first leader waits for the others."""
    view_ms: int = 2_000
    """Timeout of view 0; view v has `view_ms * (v + 1)`, at most `view_max_ms`."""
    view_max_ms: int = 60_000
    resend_ms: int = 400
    """The own latest messages are sent again this often until the epoch is decided."""
    fetch_ms: int = 1_000
    """A piece that did not come within this time is asked for again, then from the next member."""

    def __post_init__(self) -> None:
        for name in ("view_ms", "view_max_ms", "resend_ms", "fetch_ms"):
            if getattr(self, name) < 1:
                raise InvalidInput(name, "must be at least 1 ms")
        for name in ("row_ms", "reveal_ms", "have_ms", "fill_ms", "grace_ms"):
            if getattr(self, name) < 0:
                raise InvalidInput(name, "must not be negative")

    def view_timeout_ms(self, view: int) -> int:
        """How long to stay in `view` before wishing for the next (linear, capped)."""
        return min(self.view_ms * (view + 1), self.view_max_ms)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds per replica or per epoch."""

    body_bytes_max: int = 64 << 20
    """Bytes of one row body."""
    piece_bytes: int = PIECE_BYTES_MAX
    """Bytes per FETCH_REPLY; equal for all members of a network."""
    pushed_body_bytes: int = PUSHED_BODY_BYTES_MAX
    """The own body goes along with the own REVEAL if it is not longer; a longer one is fetched."""
    epochs_max: int = 16
    """Epochs open at once."""
    views_ahead_max: int = 8
    """Statements for views further ahead are dropped (they are resent)."""
    views_behind_max: int = 8
    """Statements for views further behind are forgotten (they decide nothing any more)."""
    blocks_max: int = 16
    """Blocks kept per epoch; the oldest that is neither locked nor current goes first."""
    fetches_max: int = 8
    """Objects fetched at the same time per epoch; the others queue."""
    attempts_max: int = 8
    """Report attempts counted per member and epoch."""
    served_bytes_per_s_max: int = 64 << 20
    """Bytes of pieces served to one member per second and epoch."""
    closed_epochs_max: int = 4096
    """Closed epochs that are answered for; the oldest are given up first."""
    closed_bytes_per_s_max: int = 32 << 20
    """What one member may make us read and send about closed epochs per second; two seconds' worth may gather."""
    closed_cache_bytes_max: int = 64 << 20
    """Bytes of blocks and bodies of closed epochs kept in memory (one object always is)."""

    def __post_init__(self) -> None:
        if not 1 <= self.piece_bytes <= PIECE_BYTES_MAX:
            raise InvalidInput("piece_bytes", f"must be 1..{PIECE_BYTES_MAX}")
        if not 0 <= self.pushed_body_bytes <= PUSHED_BODY_BYTES_MAX:
            raise InvalidInput("pushed_body_bytes", f"must be 0..{PUSHED_BODY_BYTES_MAX}")
        for name in (
            "body_bytes_max",
            "epochs_max",
            "blocks_max",
            "fetches_max",
            "attempts_max",
            "closed_epochs_max",
            "closed_bytes_per_s_max",
        ):
            if getattr(self, name) < 1:
                raise InvalidInput(name, "must be at least 1")
