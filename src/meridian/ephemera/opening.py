"""Rows are committed before they are revealed: what a member signs, and what opens it.

A ROW signs a commitment, which says nothing of the row; a REVEAL opens it. Nobody can open one in two ways, or open
what another has committed: the address of the member is in it. The salt comes from the member's own key, so nobody
guesses it, and whoever lost its disk and computed the same row has the same commitment again.
"""

from __future__ import annotations

from dataclasses import dataclass

from meridian.primitives.hashing import ROW_COMMITMENT, tagged
from meridian.primitives.ids import Address

NO_TRACE = bytes(32)
"""The trace root of a row whose application has none to show."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What stands behind a commitment; 32 bytes each."""

    salt: bytes
    row_root: bytes
    """SHA256(ROW_BODY | body)."""
    trace_root: bytes
    """Opaque here: it binds the member's work to its row, and is its application's to judge."""


def commitment_of(member: Address, opening: Opening) -> bytes:
    """SHA256(ROW_COMMITMENT | member 20 | salt 32 | row root 32 | trace root 32): what a ROW signs."""
    return tagged(ROW_COMMITMENT, member, opening.salt, opening.row_root, opening.trace_root)
