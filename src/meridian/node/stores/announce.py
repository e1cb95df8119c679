"""A publisher's chain of signed advertisements, in the manner of Pando: announced to a consumer, which pulls the chain.

Putting an object appends an advertisement to the publisher's own chain (`chain_directory`) and announces its head to a
consumer over HTTP. The consumer pulls the publisher's chain back to the head that it has seen, with the objects, checks
all of it, and keeps a copy (`announce_server`); when `put` returns it has done so. Reading asks the consumer, and believes
nothing: objects must hash to their names, and advertisements must be signed and linked.

Limits, beside those of `chain_directory`: nothing is ever deleted. The publisher's files must be served to the consumer
(`announce_server` does that too) for as long as it has not pulled them. A consumer that is away fails the put; the same
put again announces again. Pando's other parts (a registry of providers with scores, IPLD queries, a gateway of its own)
are not here: the consumer takes the chains that its operator lists.

Source: https://github.com/kenlabs/pando, https://github.com/ipni/specs/blob/main/IPNI.md.
"""

import http.client
import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Final

from meridian.errors import InvalidInput, NotFound, RemoteFault, StorageFailure
from meridian.node.stores.chain_directory import ChainDirectory
from meridian.node.stores.signed_chain import (
    ADVERTISEMENT,
    ENTRY_BYTES_MAX,
    ChainName,
    Entry,
    pull,
    read_entry,
)
from meridian.node.stores.store import OBJECT_BYTES_MAX, checked, refuse_delete
from meridian.primitives.cid import cid_text
from meridian.primitives.ids import Address

TIMEOUT_S: Final = 60.0
_TEXT_BYTES_MAX: Final = 1 << 12


def advertisements(owner: Address, name: str) -> ChainName:
    """Return which chain of entries a publisher's advertisements are."""
    return ChainName(ADVERTISEMENT, owner, name)


def chain_path(name: ChainName) -> str:
    """Return under which path a server has a chain, and in which directory it keeps it."""
    return f"{name.owner.hex()}-{name.id.hex()}"


class AnnounceStore:
    """An `ObjectStore` of one publisher at a consumer.

    Args:
        consumer: The consumer's URL, http or https.
        name: Of `advertisements`.
        publisher: The publisher's own chain, which is closed with the store; None: only reads.
        bytes_max: The longest object.

    Raises:
        InvalidInput: If the URL is neither http nor https.
    """

    append_only: Final = True

    def __init__(
        self,
        consumer: str,
        name: ChainName,
        publisher: ChainDirectory | None,
        bytes_max: int = OBJECT_BYTES_MAX,
    ) -> None:
        self._remote = ChainUrl(consumer, name, bytes_max)
        self._consumer, self._publisher = consumer.rstrip("/"), publisher
        self._mutex = threading.Lock()
        self._seen: Entry | None = None
        self._known: dict[bytes, None] = {}

    def put(self, data: bytes) -> bytes:
        """Advertise an object; returns when the consumer has it. One that it has already is not advertised again."""
        if self._publisher is None:
            raise InvalidInput("key", "only the publisher advertises in this chain")
        digest, entry = self._publisher.append(data)
        with self._mutex:
            if self._seen is None or self._seen.sequence < entry.sequence:
                self._announce(entry)
                self._look()
        return digest

    def get(self, digest: bytes) -> bytes:
        """Return an object that is advertised, as the consumer has it, checked."""
        if not self._advertised(digest):
            raise NotFound(f"{self._consumer}: no {cid_text(digest)}")
        return self._remote.object(digest)

    def has(self, digest: bytes) -> bool:
        """Tell whether the object is advertised and the consumer has it."""
        return self._advertised(digest) and self._remote.has_object(digest)

    def digests(self) -> Iterator[bytes]:
        """Yield what is advertised, oldest first."""
        with self._mutex:
            self._look()
            known = list(self._known)
        yield from known

    def delete(self, digest: bytes) -> None:
        """Refused: `InvalidInput`."""
        del digest
        refuse_delete("a chain of advertisements")

    def close(self) -> None:
        """Close the publisher's chain."""
        if self._publisher is not None:
            self._publisher.close()

    def _advertised(self, digest: bytes) -> bool:
        with self._mutex:
            if digest not in self._known:
                self._look()
            return digest in self._known

    def _look(self) -> None:
        """Read what the consumer has got since the last look; a chain that does not descend from it is a `Fork`."""
        head = self._remote.head()
        if head is None:
            if self._seen is not None:
                raise RemoteFault(f"{self._consumer}: it has forgotten a chain that it had")
            return
        for entry in pull(self._remote.name, head, self._seen, self._remote.entry_bytes):
            self._known.setdefault(entry.object, None)
            self._seen = entry

    def _announce(self, entry: Entry) -> None:
        name = self._remote.name
        body = json.dumps({"owner": "0x" + name.owner.hex(), "name": name.name}).encode()
        headers = {"Content-Type": "application/json"}
        answer = _answer(
            urllib.request.Request(f"{self._consumer}/announce", body, headers, method="POST"),  # noqa: S310
            _TEXT_BYTES_MAX,
        )
        try:
            sequence = int(json.loads(answer)["sequence"])
        except (ValueError, KeyError, TypeError) as error:
            raise RemoteFault(f"{self._consumer}: its answer makes no sense") from error
        if sequence < entry.sequence:
            raise RemoteFault(f"{self._consumer}: it has pulled only up to entry {sequence}")


class ChainUrl:
    """A chain as a server hands it out; what it says is checked.

    Args:
        url: The server's.
        name: Which chain.
        bytes_max: The longest object.

    Raises:
        InvalidInput: If the URL is neither http nor https.
    """

    def __init__(self, url: str, name: ChainName, bytes_max: int = OBJECT_BYTES_MAX) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InvalidInput("endpoint", f"{url!r} is not an http or https URL")
        self.name = name
        self._base = f"{url.rstrip('/')}/{chain_path(name)}/"
        self._bytes_max = bytes_max

    def head(self) -> Entry | None:
        """Return the newest entry; None if there is no such chain."""
        try:
            data = self._get("head", ENTRY_BYTES_MAX)
        except NotFound:
            return None
        return read_entry(self.name, data)

    def entry_bytes(self, digest: bytes) -> bytes:
        """Return an entry's bytes, not checked; raises `NotFound`."""
        return self._get(f"entries/{cid_text(digest)}", ENTRY_BYTES_MAX)

    def object(self, digest: bytes) -> bytes:
        """Return an object, checked.

        Raises:
            NotFound: If the server does not have it.
            StorageFailure: If it is damaged, or longer than objects may be.
        """
        data = self._get(f"objects/{cid_text(digest)}", self._bytes_max)
        return checked(data, digest, self._base)

    def has_object(self, digest: bytes) -> bool:
        """Tell whether the server has an object."""
        url = f"{self._base}objects/{cid_text(digest)}"
        try:
            _answer(urllib.request.Request(url, method="HEAD"), 0)  # noqa: S310 - see __init__
        except NotFound:
            return False
        return True

    def _get(self, name: str, limit: int) -> bytes:
        return _answer(urllib.request.Request(self._base + name), limit)  # noqa: S310 - see __init__


def _answer(request: urllib.request.Request, limit: int) -> bytes:
    """Return a server's answer.

    Raises:
        NotFound: If it does not have the thing.
        StorageFailure: If the answer is longer than `limit`.
        RemoteFault: If it does not answer, or with another error.
    """
    url = request.full_url
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - http or https
            found: bytes = answer.read(limit + 1)
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(_TEXT_BYTES_MAX).decode(errors="replace")
        if error.code == http.client.NOT_FOUND:
            raise NotFound(f"{url}: not there") from error
        raise RemoteFault(f"{url}: {error.code} {text.strip()}") from error
    except (OSError, http.client.HTTPException) as error:
        raise RemoteFault(f"{url}: {error}") from error
    if len(found) > limit:
        raise StorageFailure(f"{url}: longer than {limit} bytes")
    return found
