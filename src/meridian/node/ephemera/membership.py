"""Where the member set comes from: providers behind one interface, and what is kept when they fail.

Members come from exactly one source, the file or the contracts; hints only change where a member is
dialled. A source that fails changes nothing: the last known set stays, also over a restart.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from meridian.errors import InvalidInput, MeridianError, RemoteFault
from meridian.node.ephemera import hints_url
from meridian.node.ephemera.address_hints import AddressHint, decode_hints, newest
from meridian.node.ephemera.member_set import MemberSet
from meridian.node.ephemera.members_file import read_members, write_members
from meridian.node.links import Peer
from meridian.primitives.ids import Address, address_text

LAST_KNOWN_FILE: Final = "members-last-known.toml"
ASK_TIMEOUT_S: Final = 15.0
"""Longest time for one source."""

log = logging.getLogger(__name__)

Endpoint = tuple[str, int]
"""Host and port."""


class MembersSource(Protocol):
    """Says who is a member."""

    network: str
    """Name of the network, once `fetch` has returned."""

    async def fetch(self) -> MemberSet:
        """Return the present member set; raises MeridianError."""
        ...


class HintsSource(Protocol):
    """Says where members are reached."""

    async def fetch(self, members: MemberSet) -> Mapping[Address, Endpoint]:
        """Return what is known of some of the members; raises MeridianError."""
        ...

    def known(self) -> Sequence[AddressHint]:
        """Return the signed hints that were found, to be passed on."""
        ...


class FileMembers:
    """The members file; read again each time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.network = ""

    async def fetch(self) -> MemberSet:
        """See `MembersSource`."""
        found = await asyncio.to_thread(read_members, self._path)
        self.network = found.network
        return found.member_set()


class FileHints:
    """Host and port of members from a members file; whatever else it says does not count."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def fetch(self, members: MemberSet) -> Mapping[Address, Endpoint]:
        """See `HintsSource`."""
        found = await asyncio.to_thread(read_members, self._path)
        peers = [entry.peer() for entry in found.members]
        return {p.address: (p.host, p.port) for p in peers if p.address in members}

    def known(self) -> Sequence[AddressHint]:
        """See `HintsSource`: a file's are not signed."""
        return ()


class UrlHints:
    """Signed hints from a URL; the newest of each member counts, and a name is pinned to the address that was checked."""

    def __init__(self, url: str, *, allow_private: bool) -> None:
        """Prepare; raises InvalidInput if the URL may not be fetched."""
        hints_url.check_url(url, allow_private=allow_private)
        self._url = url
        self._allow_private = allow_private
        self._known: dict[Address, AddressHint] = {}

    async def fetch(self, members: MemberSet) -> Mapping[Address, Endpoint]:
        """See `HintsSource`."""
        body = await hints_url.fetch(self._url, allow_private=self._allow_private)
        fresh = decode_hints(body, members.realm)
        addresses = frozenset(peer.address for peer in members.members)
        self._known = newest(self._known, fresh, addresses)
        found: dict[Address, Endpoint] = {}
        for hint in self._known.values():
            try:
                host = await hints_url.resolve_public(
                    hint.host, hint.port, allow_private=self._allow_private
                )
            except (RemoteFault, OSError) as error:
                log.info("hint of %s left aside: %s", address_text(hint.member), error)
                continue
            found[hint.member] = (host, hint.port)
        return found

    def known(self) -> Sequence[AddressHint]:
        """See `HintsSource`."""
        return tuple(self._known.values())


class Membership:
    """The present member set, from its source and the hints."""

    def __init__(self, source: MembersSource, hints: Sequence[HintsSource], data_dir: Path) -> None:
        self._source = source
        self._hints = hints
        self._last_known = data_dir / LAST_KNOWN_FILE
        self._present: MemberSet | None = None
        self._endpoints: dict[Address, Endpoint] = {}
        self.counters: Counter[str] = Counter(refreshes=0, failures=0)
        self.problem: str | None = None
        """Why the last attempt did not bring everything; None if it did."""

    async def first(self) -> MemberSet:
        """Return the member set to start with: the last known one if the source fails or says an older one.

        Raises:
            MeridianError: If the source fails and none was ever known.
        """
        known = await self._read_last_known()
        try:
            found = await self._fetch()
        except (MeridianError, TimeoutError) as error:
            if known is None:
                raise
            self._note_failure(error)
            return known
        if known is not None and known.number > found.number:
            self._note_failure(
                InvalidInput("number", f"{found.number} is older than {known.number}")
            )
            return known
        return found

    async def _read_last_known(self) -> MemberSet | None:
        if not self._last_known.exists():
            return None
        found = await asyncio.to_thread(read_members, self._last_known)
        self._source.network = found.network
        return found.member_set()

    async def refresh(self) -> MemberSet | None:
        """Ask again; return the set if it is not the accepted one. Never raises because of a source."""
        try:
            present = await self._fetch()
        except Exception as error:  # noqa: BLE001 - a source's fault never ends production
            self._note_failure(error)
            return None
        return None if present == self._present else present

    async def accept(self, present: MemberSet) -> None:
        """Keep a set that the node works with, also over a restart; raises StorageFailure."""
        self._present = present
        await asyncio.to_thread(
            write_members,
            self._last_known,
            number=present.number,
            network=self._source.network,
            realm=present.realm,
            members=[("", peer) for peer in present.members],
        )

    def reject(self, error: InvalidInput) -> None:
        """Note that a set cannot be worked with; the one before stays."""
        self._note_failure(error)

    def hints(self) -> list[AddressHint]:
        """Return the signed hints that we know, to be passed on."""
        return [hint for source in self._hints for hint in source.known()]

    async def _fetch(self) -> MemberSet:
        self.counters["refreshes"] += 1
        self.problem = None
        async with asyncio.timeout(ASK_TIMEOUT_S):
            found = await self._source.fetch()
        if self._present is not None and found.number < self._present.number:
            raise InvalidInput("number", f"{found.number} is older than {self._present.number}")
        self._endpoints = {a: e for a, e in self._endpoints.items() if a in found}
        for hints in self._hints:
            try:
                async with asyncio.timeout(ASK_TIMEOUT_S):
                    self._endpoints |= await hints.fetch(found)
            except (MeridianError, TimeoutError, OSError) as error:
                self._note_failure(error)
        return MemberSet.of(
            found.number, found.realm, [self._redirected(peer) for peer in found.members]
        )

    def _redirected(self, peer: Peer) -> Peer:
        host, port = self._endpoints.get(peer.address, (peer.host, peer.port))
        return Peer(peer.address, peer.link_key, host, port)

    def _note_failure(self, error: BaseException) -> None:
        self.counters["failures"] += 1
        self.problem = str(error) or type(error).__name__
        log.warning("membership: %s", self.problem)
