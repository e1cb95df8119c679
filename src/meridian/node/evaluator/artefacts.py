"""Artefacts as they are published: by the measure service over HTTP, by others in publications.

Whoever fetches checks the digest, so it does not matter who has them: an aggregator that withholds what it committed
to, or one that another has replaced, is not asked twice.
"""

import http.client
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from meridian.errors import InvalidInput, RemoteFault
from meridian.node.publications import Place, read_bounded
from meridian.primitives.cid import cid_text, digest_of

TIMEOUT_S: Final = 30.0
ARTEFACT_BYTES_MAX: Final = 2 << 30


class Unpublished(RemoteFault):
    """Nobody whom we know publishes an artefact now."""


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
