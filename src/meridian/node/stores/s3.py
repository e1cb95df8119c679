"""Artefacts, and whole publications, in a bucket of an S3-compatible service.

Requests are few and plain (PUT, GET, HEAD, DELETE, ListObjectsV2 by path), so that they need no library: pyarrow's client
sends checksums behind the body by default, which servers that do not know them store as part of the object. The bucket is
never made here, nor its permissions changed: whether the public reads it is its owner's decision.
"""

import http.client
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from meridian.errors import InvalidInput, NotFound, RemoteFault, StorageFailure
from meridian.node.stores.sigv4 import Credentials, canonical_query, signed_headers
from meridian.node.stores.store import OBJECT_BYTES_MAX, bounded, checked
from meridian.primitives.cid import cid_text, parse_cid
from meridian.primitives.hashing import sha256

TRIES: Final = 4
PAUSE_FIRST_S: Final = 0.2
LIST_BYTES_MAX: Final = 8 << 20

_TRY_AGAIN: Final = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where in a service, and as whom."""

    endpoint: str
    """URL of the service, http or https."""
    name: str
    prefix: str
    """Before every name; empty, or ends with a slash."""
    credentials: Credentials
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes


class S3Store:
    """An `ObjectStore` in a bucket; objects are named ``<prefix>objects/<cid>``, as in a publication.

    Args:
        bucket: The bucket; it exists.
        bytes_max: The longest object.

    Raises:
        InvalidInput: If the endpoint is neither http nor https.
    """

    append_only: Final = False

    def __init__(self, bucket: Bucket, bytes_max: int = OBJECT_BYTES_MAX) -> None:
        parts = urllib.parse.urlsplit(bucket.endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InvalidInput("endpoint", f"{bucket.endpoint!r} is not an http or https URL")
        self._bucket, self._bytes_max = bucket, bytes_max
        self._base, self._host = f"{parts.scheme}://{parts.netloc}", parts.netloc
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """Where what is named below the prefix is read, if the public may read it."""
        return f"{self._base}{_path(self._bucket.name, self._bucket.prefix)}"

    def put(self, data: bytes) -> bytes:
        """Keep an object; one that is there already with the right length stays."""
        digest = bounded(data, self._bytes_max)
        if self._length(_object(digest)) != len(data):
            self.put_file(_object(digest), data)
        return digest

    def get(self, digest: bytes) -> bytes:
        """Return an object, checked."""
        answer = self._ask("GET", _object(digest), limit=self._bytes_max + 1)
        if answer.status == http.client.NOT_FOUND:
            raise NotFound(f"{self._bucket.name}: no {cid_text(digest)}")
        return checked(self._good(answer, "GET").body, digest, self._bucket.name)

    def has(self, digest: bytes) -> bool:
        """Tell whether there is an object of this name."""
        return self._length(_object(digest)) is not None

    def digests(self) -> Iterator[bytes]:
        """Yield the digests of all objects."""
        for name in self.names("objects/"):
            try:
                yield parse_cid(name.removeprefix("objects/"))[1]
            except InvalidInput:  # a stranger's
                continue

    def delete(self, digest: bytes) -> None:
        """Remove the object."""
        answer = self._ask("DELETE", _object(digest))
        if answer.status != http.client.NOT_FOUND:
            self._good(answer, "DELETE")

    def close(self) -> None:
        """Give up what is tried again."""
        self._stopping.set()

    # -- files that change, for whole publications ----------------------------------------------------

    def put_file(self, name: str, data: bytes) -> None:
        """Write a file of the publication, such as ``log/checkpoint``; when this returns it is there."""
        self._good(self._ask("PUT", name, data), "PUT")

    def names(self, start: str = "") -> Iterator[str]:
        """Yield the names below the prefix that begin with `start`."""
        query = {"list-type": "2", "prefix": self._bucket.prefix + start}
        while True:
            answer = self._good(self._ask("GET", None, query=query, limit=LIST_BYTES_MAX), "list")
            try:
                page = ET.fromstring(answer.body)  # noqa: S314 - bounded, and expat refuses expansion bombs
            except ET.ParseError as error:
                raise RemoteFault(f"{self._base}: its list is not XML: {error}") from error
            for item in page.iterfind("{*}Contents/{*}Key"):
                yield (item.text or "").removeprefix(self._bucket.prefix)
            token = page.findtext("{*}NextContinuationToken")
            if not token:
                return
            query["continuation-token"] = token

    # -- requests -------------------------------------------------------------------------------------

    def _length(self, name: str) -> int | None:
        answer = self._ask("HEAD", name)
        if answer.status == http.client.NOT_FOUND:
            return None
        return int(self._good(answer, "HEAD").body)

    def _good(self, answer: _Answer, what: str) -> _Answer:
        if answer.status // 100 != 2:
            reason = answer.body[:300].decode(errors="replace")
            raise RemoteFault(f"{self._base}/{self._bucket.name}: {what}: {answer.status} {reason}")
        return answer

    def _ask(
        self,
        method: str,
        name: str | None,
        data: bytes = b"",
        *,
        query: Mapping[str, str] | None = None,
        limit: int = 1 << 16,
    ) -> _Answer:
        """Send a request, again after a pause where the service is busy or away.

        Raises:
            RemoteFault: If it does not answer.
        """
        key = "" if name is None else self._bucket.prefix + name
        path = _path(self._bucket.name, key)
        pause_s = PAUSE_FIRST_S
        for left in reversed(range(TRIES)):
            try:
                answer = self._once(method, path, query or {}, data, limit)
                if answer.status not in _TRY_AGAIN or not left:
                    return answer
            except (OSError, http.client.HTTPException) as error:
                if not left:
                    raise RemoteFault(f"{self._base}: {error}") from error
            if self._stopping.wait(pause_s):
                break
            pause_s *= 2
        raise RemoteFault(f"{self._base}: given up")

    def _once(
        self, method: str, path: str, query: Mapping[str, str], data: bytes, limit: int
    ) -> _Answer:
        headers = signed_headers(
            self._bucket.credentials, method, self._host, path, query, sha256(data), time.time()
        )
        url = f"{self._base}{path}?{canonical_query(query)}".rstrip("?")
        body = data if method == "PUT" else None
        if body is not None:
            headers["Content-Type"] = "application/octet-stream"
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - see __init__
        try:
            with urllib.request.urlopen(request, timeout=self._bucket.timeout_s) as answer:  # noqa: S310
                if method == "HEAD":
                    return _Answer(
                        answer.status, answer.headers.get("Content-Length", "0").encode()
                    )
                found = answer.read(limit + 1)
                if len(found) > limit:
                    raise StorageFailure(f"{url}: longer than {limit} bytes")
                return _Answer(answer.status, found)
        except urllib.error.HTTPError as error:
            with error:
                return _Answer(error.code, error.read(1 << 12))


def _path(bucket: str, key: str) -> str:
    """Return where a bucket, or an object in it, lies at its service: the bucket is in the path, not in the host's name."""
    return urllib.parse.quote(f"/{bucket}/{key}".rstrip("/"), safe="/-._~")


def _object(digest: bytes) -> str:
    return f"objects/{cid_text(digest)}"
