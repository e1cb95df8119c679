"""Artefacts as the measure service publishes them, over HTTP; whoever fetches checks the digest."""

import http.client
from typing import Final
from urllib.parse import urlsplit

from meridian.errors import InvalidInput, RemoteFault
from meridian.primitives.cid import cid_text

TIMEOUT_S: Final = 30.0
ARTEFACT_BYTES_MAX: Final = 2 << 30


class ArtefactClient:
    """Fetches by digest from one measure service."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise InvalidInput("measure_url", f"{url!r}: {error}") from error
        if parts.scheme != "http" or not parts.hostname:
            raise InvalidInput("measure_url", f"{url!r} is not an http URL")
        self._host, self._port = parts.hostname, port or 80

    def fetch(self, digest: bytes) -> bytes:
        """Return the bytes published under a digest, unchecked.

        Raises:
            RemoteFault: If the service cannot be reached, does not have them, or sends too much or not all.
        """
        name = cid_text(digest)
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", f"/v1/artefacts/{name}")
            answer = connection.getresponse()
            data = answer.read(ARTEFACT_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            raise RemoteFault(f"measure service at {self._host}:{self._port}: {error}") from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise RemoteFault(f"artefact {name}: the measure service answered {answer.status}")
        if len(data) > ARTEFACT_BYTES_MAX:
            raise RemoteFault(f"artefact {name}: it is longer than {ARTEFACT_BYTES_MAX} bytes")
        # A read with a limit does not notice that the connection broke off; half an artefact is no forgery.
        if answer.length:
            raise RemoteFault(f"artefact {name}: {answer.length} bytes did not arrive")
        return data
