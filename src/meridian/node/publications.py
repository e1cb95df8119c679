"""Publications as others read them: a directory, or the same files behind a URL.

Any static file server can serve a publication (`node.measure.publication` says what lies where). Nothing that comes from
one is believed; so a place that is away, slow, or full of nonsense is as good as one that publishes nothing, and is
passed over. Reads are bounded in bytes and in time.
"""

import contextlib
import http.client
import time
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

import msgspec

from meridian.errors import InvalidInput, RemoteFault

EVIDENCE: Final = "evidence"
"""The folder of evidence against members."""
EVIDENCE_INDEX: Final = "evidence.json"
"""The names of the files in that folder, as a JSON list: a URL cannot be listed."""
EVIDENCE_MAX: Final = 4_096
"""Files of evidence that are read of one publication."""
INDEX_BYTES_MAX: Final = 1 << 20
TIMEOUT_S: Final = 10.0
"""For connecting, and for each piece that arrives."""
RATE_MIN: Final = 64 << 10
"""Bytes a second below which an answer that takes longer than its timeout is given up."""
AWAY_S: Final = 30.0
"""A place that did not answer is left alone for so long: one that is away must not hold the others up."""
_PIECE: Final = 1 << 20


class Place(Protocol):
    """One publication."""

    @property
    def name(self) -> str:
        """Path or URL."""

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """Return a file's bytes; None if it is not there (now), or longer than `bytes_max`."""

    def evidence(self) -> list[str]:
        """Return the names of the files in the folder of evidence."""


def place_of(text: str, root: Path) -> Place:
    """Return the publication that a text names: an http or https URL, or a directory relative to `root`.

    Raises:
        InvalidInput: If it is a URL of another kind.
    """
    return UrlPlace(text) if "://" in text else DirectoryPlace(root / text)


class DirectoryPlace:
    """A publication in a directory.

    Args:
        root: The directory; it may come later.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def name(self) -> str:
        """The path."""
        return str(self._root)

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """Return a file's bytes; None if it is not there, or longer than `bytes_max`."""
        try:
            with (self._root / name).open("rb") as file:
                data = file.read(bytes_max + 1)
        except OSError:
            return None
        return data if len(data) <= bytes_max else None

    def evidence(self) -> list[str]:
        """Return the names of the files in the folder of evidence."""
        found = (path.name for path in (self._root / EVIDENCE).glob("*.json"))
        return sorted(found)[:EVIDENCE_MAX]


class UrlPlace:
    """A publication behind a URL.

    Args:
        url: Where its directory is served; redirects are not followed.

    Raises:
        InvalidInput: If it is no http or https URL.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise InvalidInput("publication", f"{url!r}: {error}") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise InvalidInput("publication", f"{url!r} is not an http or https URL of a directory")
        self._url, self._host, self._port = url, parts.hostname, port
        self._kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._path = parts.path.rstrip("/")
        self._away_until_s = 0.0

    @property
    def name(self) -> str:
        """The URL."""
        return self._url

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """Return a file's bytes; None if it is not there or cannot be had now, or is longer than `bytes_max`."""
        if time.monotonic() < self._away_until_s:
            return None
        connection = self._kind(self._host, self._port, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            try:
                connection.request("GET", f"{self._path}/{quote(name)}")
                answer = connection.getresponse()
                if answer.status != http.client.OK:
                    return None
                return read_bounded(answer, bytes_max, TIMEOUT_S)
            except (OSError, http.client.HTTPException, RemoteFault):
                self._away_until_s = time.monotonic() + AWAY_S
                return None

    def evidence(self) -> list[str]:
        """Return the names that the index of evidence lists."""
        data = self.read(EVIDENCE_INDEX, INDEX_BYTES_MAX)
        try:
            names = msgspec.json.decode(data or b"[]", type=list[str])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return []
        return [name for name in names[:EVIDENCE_MAX] if _is_plain(name)]


def _is_plain(name: str) -> bool:
    return "/" not in name and "\\" not in name and name.endswith(".json") and len(name) < 256


def read_bounded(
    answer: http.client.HTTPResponse, bytes_max: int, timeout_s: float
) -> bytes | None:
    """Return the body of an answer; None if it is longer than `bytes_max`.

    Args:
        answer: With its head read.
        bytes_max: The most that is taken.
        timeout_s: How long it may take, and longer only as far as it brings `RATE_MIN`.

    Raises:
        RemoteFault: If it arrives too slowly, or not all of it does.
        OSError: As the connection fails.
        HTTPException: The same.
    """
    began_s, size = time.monotonic(), 0
    pieces: list[bytes] = []
    if answer.length is not None and answer.length > bytes_max:
        return None
    while piece := answer.read1(_PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > bytes_max:
            return None
        if time.monotonic() - began_s > timeout_s + size / RATE_MIN:
            raise RemoteFault(f"{size} bytes took longer than {timeout_s:g} s")
    # A body that breaks off is no forgery, and no file.
    if answer.length:
        raise RemoteFault(f"{answer.length} bytes did not arrive")
    return b"".join(pieces)
