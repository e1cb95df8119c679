"""Objects as pinned blocks of an IPFS node, over the HTTP RPC API of Kubo (and of js-ipfs, which has the same).

An object is one raw block under CIDv1 with SHA-256: its CID is ours, and everybody who knows it finds the block in IPFS as
long as the node is reachable. What is here is what is *pinned* recursively there; other pins of raw blocks on the same
node show up as objects, so give it a node of its own. Calls: ``block/put`` with ``pin``, ``block/get``, ``pin/ls``,
``pin/rm`` and ``block/rm``.

Limits: a block above 2 MiB cannot travel between IPFS nodes, so it is refused unless `big` allows it (then it stays on
this node; Kubo calls it ``allow-big-block``; js-ipfs takes 1 MiB in one call and no more). The list of pins is read in one answer of at most
64 MiB, about 600,000 pins. The API can do everything to the node: keep it on loopback, or behind an authorization.

Source: https://docs.ipfs.tech/reference/kubo/rpc/.
"""

import base64
import http.client
import json
import secrets
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, Final

from meridian.errors import InvalidInput, NotFound, RemoteFault, StorageFailure
from meridian.node.stores.store import OBJECT_BYTES_MAX, bounded, checked
from meridian.primitives.cid import RAW, cid_text, parse_cid

BLOCK_BYTES_MAX: Final = 2 << 20
"""What Bitswap carries."""
PINS_BYTES_MAX: Final = 64 << 20
TIMEOUT_S: Final = 60.0

_ERROR_BYTES_MAX: Final = 1 << 16
_CID_BYTES: Final = 36
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_NOT_PINNED: Final = "is not pinned"
_RECURSIVE: Final = {"type": "recursive"}
# `format` and `version` are js-ipfs's names for what Kubo calls `cid-codec`; each leaves out the other's.
_RAW_BLOCK: Final = {"cid-codec": "raw", "format": "raw", "version": "1", "mhtype": "sha2-256"}


class _Refused(Exception):
    """The node answered with an error, whose text this is."""


class KuboStore:
    """An `ObjectStore` on an IPFS node.

    Args:
        endpoint: Its RPC API, such as ``http://127.0.0.1:5001``.
        big: Allow blocks that cannot travel.
        authorization: The header of that name, where the node wants one.
        bytes_max: The longest object; at most 2 MiB without `big`.
        timeout_s: How long the node may take, also to find a block.

    Raises:
        InvalidInput: If the endpoint is neither http nor https.
    """

    append_only: Final = False

    def __init__(
        self,
        endpoint: str,
        *,
        big: bool = False,
        authorization: str = "",
        bytes_max: int = OBJECT_BYTES_MAX,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        parts = urllib.parse.urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InvalidInput("endpoint", f"{endpoint!r} is not an http or https URL")
        self._base = f"{endpoint.rstrip('/')}/api/v0/"
        self._big, self._authorization, self._timeout_s = big, authorization, timeout_s
        self._bytes_max = bytes_max if big else min(bytes_max, BLOCK_BYTES_MAX)

    def put(self, data: bytes) -> bytes:
        """Add and pin a block; one that is pinned already stays."""
        digest = bounded(data, self._bytes_max)
        if not self.has(digest):
            self._add(digest, data)
        return digest

    def get(self, digest: bytes) -> bytes:
        """Return a pinned block, checked."""
        if not self.has(digest):
            raise NotFound(f"{self._base}: no {cid_text(digest)}")
        try:
            data = self._ask("block/get", self._bytes_max, {"arg": cid_text(digest)})
        except _Refused as refusal:
            raise RemoteFault(f"{self._base}block/get: {refusal}") from refusal
        return checked(data, digest, self._base)

    def has(self, digest: bytes) -> bool:
        """Tell whether the block is pinned."""
        try:
            self._ask("pin/ls", _ERROR_BYTES_MAX, _RECURSIVE | {"arg": cid_text(digest)})
        except _Refused as refusal:
            if _NOT_PINNED in str(refusal):
                return False
            raise RemoteFault(f"{self._base}pin/ls: {refusal}") from refusal
        return True

    def digests(self) -> Iterator[bytes]:
        """Yield the digests of all raw blocks that are pinned."""
        try:
            answer = self._ask("pin/ls", PINS_BYTES_MAX, _RECURSIVE)
        except _Refused as refusal:
            raise RemoteFault(f"{self._base}pin/ls: {refusal}") from refusal
        keys = self._json(answer, "pin/ls").get("Keys") or {}
        for text in keys:
            digest = _raw_digest(text)
            if digest is not None:
                yield digest

    def delete(self, digest: bytes) -> None:
        """Unpin the block and remove it from this node; other nodes may keep it for ever."""
        try:
            if self.has(digest):
                self._ask("pin/rm", _ERROR_BYTES_MAX, {"arg": cid_text(digest)})
            self._ask("block/rm", _ERROR_BYTES_MAX, {"arg": cid_text(digest), "force": "true"})
        except _Refused as refusal:
            raise RemoteFault(f"{self._base}: {refusal}") from refusal

    def close(self) -> None:
        """Nothing is open."""

    # -- requests -------------------------------------------------------------------------------------

    def _add(self, digest: bytes, data: bytes) -> None:
        options = _RAW_BLOCK | {"pin": "true"}
        if self._big:
            options["allow-big-block"] = "true"
        try:
            answer = self._ask("block/put", _ERROR_BYTES_MAX, options, data)
        except _Refused as refusal:
            raise RemoteFault(f"{self._base}block/put: {refusal}") from refusal
        key = self._json(answer, "block/put").get("Key")
        if key != cid_text(digest):
            raise RemoteFault(f"{self._base}block/put: it calls {cid_text(digest)} {key!r}")

    def _json(self, answer: bytes, what: str) -> dict[str, Any]:
        try:
            value = json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise RemoteFault(f"{self._base}{what}: its answer is not JSON") from error
        if not isinstance(value, dict):
            raise RemoteFault(f"{self._base}{what}: its answer is not an object")
        return value

    def _ask(
        self, call: str, limit: int, query: Mapping[str, str], data: bytes | None = None
    ) -> bytes:
        url = f"{self._base}{call}?{urllib.parse.urlencode(query)}"
        headers = {"Authorization": self._authorization} if self._authorization else {}
        body = b""
        if data is not None:
            boundary = secrets.token_hex(16)
            headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
            body = _multipart(boundary, data)
        request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - see __init__
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:  # noqa: S310
                found: bytes = answer.read(limit + 1)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(_ERROR_BYTES_MAX).decode(errors="replace")
            if error.code != http.client.INTERNAL_SERVER_ERROR:
                raise RemoteFault(f"{self._base}{call}: {error.code} {text[:300]}") from error
            raise _Refused(text[:1000]) from error
        except (OSError, http.client.HTTPException) as error:
            raise RemoteFault(f"{self._base}{call}: {error}") from error
        if len(found) > limit:
            raise StorageFailure(f"{self._base}{call}: longer than {limit} bytes")
        return found


def _raw_digest(text: str) -> bytes | None:
    """Return the digest of a raw block's CID, in base32 as Kubo writes it or in base58 as js-ipfs does; else None."""
    try:
        if text.startswith("z"):
            number = 0
            for letter in text[1:]:
                number = number * 58 + _BASE58.index(letter)
            binary = number.to_bytes(_CID_BYTES, "big")
            text = "b" + base64.b32encode(binary).decode().lower().rstrip("=")
        codec, digest = parse_cid(text)
    except (ValueError, OverflowError, InvalidInput):  # a stranger's, of another form
        return None
    return digest if codec == RAW else None


def _multipart(boundary: str, data: bytes) -> bytes:
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="data"; filename="data"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
