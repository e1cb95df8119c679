"""Artefacts as they are published: by the measure service over HTTP, by others in publications.

Whoever fetches checks the digest, so it does not matter who has them: an aggregator that withholds what it committed
to, or one that another has replaced, is not asked twice. Bytes with another digest are as good as none.
"""

import http.client
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from meridian.errors import InvalidInput, RemoteFault
from meridian.measure.manifest import Nodes
from meridian.measure.union_epoch import FromAggregator, FromNode, payee_faults
from meridian.node.chain_view import ChainView, Commitment, OwnCommitment
from meridian.node.publications import Place, read_bounded
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.ids import Address, NodeKey

TIMEOUT_S: Final = 30.0
ARTEFACT_BYTES_MAX: Final = 2 << 30


Fetch = Callable[[bytes], bytes]
"""Digest -> the bytes that hash to it, or others."""


class Unpublished(RemoteFault):
    """Nobody whom we know publishes an artefact now."""


class OwnUnpublished(RemoteFault):
    """Nobody whom we know publishes the segment of a node that committed itself, now."""


def checked(fetch: Fetch, digest: bytes, what: str) -> bytes:
    """Return the bytes published under a digest.

    Raises:
        Unpublished: If they are others, or cannot be had.
    """
    data = fetch(digest)
    if digest_of(data) != digest:
        raise Unpublished(f"{what}: the published bytes do not hash to {digest.hex()}")
    return data


class PublishedArtefacts:
    """What stands committed for an epoch, as it is published: `meridian.measure.union_epoch.Artefacts`.

    Args:
        fetch: The published artefacts.
        view: For the payees that nodes registered up to the last of the contributions.
        contributions: All that stands.
        mirror: Takes the segments of nodes that committed themselves.
        gives_up: Whether such a segment that nobody publishes does not count; else it is waited for.
    """

    def __init__(
        self,
        fetch: Fetch,
        view: ChainView,
        contributions: Sequence[Commitment | OwnCommitment],
        mirror: Callable[[bytes], object],
        *,
        gives_up: bool,
    ) -> None:
        self._fetch, self._mirror, self._gives_up = fetch, mirror, gives_up
        self._view = view.until(max(one.block for one in contributions))
        self._registered: dict[NodeKey, list[Address]] | None = None

    def segment(self, source: FromAggregator, at: int) -> bytes:
        """Return a segment of a commitment."""
        return checked(self._fetch, source.manifest.segments[at].digest, "artefact")

    def nodes(self, source: FromAggregator) -> Nodes:
        """Return the nodes of a commitment.

        Raises:
            InvalidInput: If they are malformed, or would be paid to accounts that they did not register.
        """
        nodes = Nodes.decode(checked(self._fetch, source.manifest.nodes, "artefact"))
        faults = payee_faults(nodes, self.registered)
        if faults:
            raise InvalidInput("payee", faults[0])
        return nodes

    def own_segment(self, source: FromNode) -> bytes | None:
        """Return a node's own segment; None: it is given up."""
        try:
            data = checked(self._fetch, source.segment, "self-commitment")
        except RemoteFault as fault:
            if self._gives_up:
                return None
            raise OwnUnpublished(f"{source.name}: {fault}") from fault
        self._mirror(data)
        return data

    def payee(self, node: NodeKey) -> Address | None:
        """Return the account that a node registered last."""
        return self.registered.get(node, [None])[-1]

    @property
    def registered(self) -> dict[NodeKey, list[Address]]:
        """Node -> the accounts that it registered to be paid to, oldest first."""
        if self._registered is None:
            self._registered = {}
            for node in self._view.registrations():
                self._registered.setdefault(node.key, []).append(node.payee)
        return self._registered


class ArtefactClient:
    """Fetches by digest.

    Args:
        url: Of the measure service.
        places: Publications that are asked where it does not have what is wanted.

    Raises:
        InvalidInput: If the URL is none.
    """

    def __init__(self, url: str, places: Sequence[Place] = ()) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise InvalidInput("measure_url", f"{url!r}: {error}") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidInput("measure_url", f"{url!r} is not an http or https URL")
        self._kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._host, self._port = parts.hostname, port
        self._where = self._host if port is None else f"{self._host}:{port}"
        self._places = places

    def fetch(self, digest: bytes) -> bytes:
        """Return the bytes published under a digest; those of the service are not checked where nobody has better ones.

        Raises:
            Unpublished: If the service cannot be reached, does not have them, or sends too much or not all, and no
                publication has them.
        """
        fault: RemoteFault | None = None
        data = b""
        try:
            data = self._from_service(digest)
        except RemoteFault as error:
            fault = error
        if fault is None and digest_of(data) == digest:
            return data
        for place in self._places:
            found = place.read(f"objects/{cid_text(digest)}", ARTEFACT_BYTES_MAX)
            if found is not None and digest_of(found) == digest:
                return found
        if fault is not None:
            raise Unpublished(str(fault)) from fault
        return data

    def _from_service(self, digest: bytes) -> bytes:
        name = cid_text(digest)
        connection = self._kind(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", f"/v1/artefacts/{name}")
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise RemoteFault(f"artefact {name}: the measure service answered {answer.status}")
            data = read_bounded(answer, ARTEFACT_BYTES_MAX, TIMEOUT_S)
        except (OSError, http.client.HTTPException) as error:
            raise RemoteFault(f"measure service at {self._where}: {error}") from error
        finally:
            connection.close()
        if data is None:
            raise RemoteFault(f"artefact {name}: it is longer than {ARTEFACT_BYTES_MAX} bytes")
        return data
