"""Who sends the attested report first.

Members take turns in an order that nobody chooses, keyed by the decided block, so that usually one transaction is
sent, and the next member follows only when it does not arrive. Source: the transmission schedule of Chainlink OCR.
"""

from collections.abc import Sequence

from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address


def turn(members: Sequence[Address], block_hash: bytes, member: Address) -> int:
    """Return a member's place in the order of transmission for a decided block, from 0."""
    order = sorted(
        members, key=lambda address: sha256(b"meridian/transmission/1", block_hash, address)
    )
    return order.index(member)
