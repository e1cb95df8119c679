"""The peers of a member: who they are, and which of those that are named can be peers at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meridian.errors import InvalidInput
from meridian.node.link_identity import is_usable_link_key
from meridian.primitives.ids import Address

PEERS_MAX = 256
"""Two committees: where the members change, the old ones finish while the new ones begin."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A member as the registry and the network file describe it. No certificate: the link key is enough."""

    address: Address
    link_key: bytes
    """Ed25519 public key, 32 bytes, as registered."""
    host: str
    port: int


def other_peers(peers: Sequence[Peer], own: Address, own_link_key: bytes) -> dict[Address, Peer]:
    """Return everybody but ourselves, by address.

    What a member registered is data: with a key that can identify nobody, it just stays unreachable and is left out.

    Raises:
        InvalidInput: If there are too many, an address stands twice or is not 20 bytes, or our own entry is not ours.
    """
    if len(peers) > PEERS_MAX:
        raise InvalidInput("peers", f"{len(peers)} passes the limit of {PEERS_MAX}")
    by_address: Mapping[Address, Peer] = {peer.address: peer for peer in peers}
    if len(by_address) != len(peers):
        raise InvalidInput("peers", "the same address stands twice")
    if any(len(address) != 20 for address in by_address):
        raise InvalidInput("peers", "an address is not 20 bytes")
    if own in by_address and by_address[own].link_key != own_link_key:
        raise InvalidInput("peers", "our own entry holds another link key than ours")
    return {
        address: peer
        for address, peer in by_address.items()
        if address != own and is_usable_link_key(peer.link_key)
    }
