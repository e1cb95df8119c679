"""Artefacts as they are published: by the measure service over HTTP, by others in directories.

Whoever fetches checks the digest, so it does not matter who has them: an aggregator that withholds what it committed
to, or one that another has replaced, is not asked twice.
"""

import contextlib
import http.client
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from meridian.errors import InvalidInput, RemoteFault
from meridian.primitives.cid import cid_text, digest_of

TIMEOUT_S: Final = 30.0
ARTEFACT_BYTES_MAX: Final = 2 << 30


class Unpublished(RemoteFault):
    """Nobody whom we know publishes an artefact now."""


class ArtefactClient:
    """Fetches by digest.

    Args:
        url: Of the measure service.
        directories: Publications that are asked where it does not have what is wanted.

    Raises:
        InvalidInput: If the URL is none.
    """

    def __init__(self, url: str, directories: Sequence[Path] = ()) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise InvalidInput("measure_url", f"{url!r}: {error}") from error
        if parts.scheme != "http" or not parts.hostname:
            raise InvalidInput("measure_url", f"{url!r} is not an http URL")
        self._host, self._port = parts.hostname, port or 80
        self._directories = directories

    def fetch(self, digest: bytes) -> bytes:
        """Return the bytes published under a digest; those of the service are not checked.

        Raises:
            Unpublished: If the service cannot be reached, does not have them, or sends too much or not all, and no
                directory has them.
        """
        try:
            return self._from_service(digest)
        except RemoteFault as fault:
            for directory in self._directories:
                with contextlib.suppress(OSError):
                    data = (directory / "objects" / cid_text(digest)).read_bytes()
                    if digest_of(data) == digest:
                        return data
            raise Unpublished(str(fault)) from fault

    def _from_service(self, digest: bytes) -> bytes:
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
