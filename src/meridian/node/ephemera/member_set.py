"""A numbered set of members with the addresses of their links: what a membership provider gives."""

from collections.abc import Iterable
from dataclasses import dataclass

from meridian.ephemera.context import Context
from meridian.ephemera.messages.message import Realm
from meridian.errors import InvalidInput
from meridian.node.links import Peer
from meridian.primitives.ids import Address


@dataclass(frozen=True, slots=True)
class MemberSet:
    """Who may speak from one change of the membership to the next, and where their links listen.

    Two sets of one number have the same members for ever: only host, port and link key of a member may change.
    """

    number: int
    realm: Realm
    members: tuple[Peer, ...]
    """Ascending by address."""

    def __post_init__(self) -> None:
        self.context()  # raises InvalidInput for a wrong number, too many, or not ascending

    @staticmethod
    def of(number: int, realm: Realm, members: Iterable[Peer]) -> "MemberSet":
        """Return the set of members in any order; raises InvalidInput if one stands twice."""
        ordered = tuple(sorted(members, key=lambda peer: peer.address))
        if len({peer.address for peer in ordered}) != len(ordered):
            raise InvalidInput("members", "the same address stands twice")
        return MemberSet(number, realm, ordered)

    def context(self) -> Context:
        """Return what the statements of the set are about."""
        addresses = tuple(peer.address for peer in self.members)
        return Context(self.realm.domain, self.realm.network, self.number, addresses)

    def __contains__(self, address: Address) -> bool:
        return any(peer.address == address for peer in self.members)
