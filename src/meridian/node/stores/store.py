"""What every store of artefacts does, whatever it is made of.

Law: what `put` returned is durable, and `get` returns nothing that does not hash to its name. Putting and deleting again
changes nothing. Objects are bounded, because they pass through memory. An append-only store refuses to delete.
"""

from collections.abc import Iterator
from typing import Final, NoReturn, Protocol

from meridian.errors import InvalidInput, StorageFailure
from meridian.primitives.cid import cid_text, digest_of

OBJECT_BYTES_MAX: Final = 2 << 30


class ObjectStore(Protocol):
    """A store of bytes under their SHA-256.

    All methods raise `StorageFailure` where our own disk refuses, and `RemoteFault` where another process does.
    """

    @property
    def append_only(self) -> bool:
        """Whether `delete` is refused for all objects."""

    def put(self, data: bytes) -> bytes:
        """Keep an object and return its digest; raises `InvalidInput` if it is too long."""

    def get(self, digest: bytes) -> bytes:
        """Return an object; raises `NotFound` if it is not there, `StorageFailure` if it is damaged."""

    def has(self, digest: bytes) -> bool:
        """Tell whether an object is there, without reading it."""

    def digests(self) -> Iterator[bytes]:
        """Yield the digests of all objects, in no order."""

    def delete(self, digest: bytes) -> None:
        """Forget an object; one that is not there is forgotten already. `InvalidInput` if the store is append-only."""

    def close(self) -> None:
        """Let go of files and connections."""


def bounded(data: bytes, bytes_max: int) -> bytes:
    """Return the digest of an object that may be kept.

    Raises:
        InvalidInput: If it is longer than `bytes_max`.
    """
    if len(data) > bytes_max:
        raise InvalidInput("object", f"{len(data)} bytes, and at most {bytes_max} are kept")
    return digest_of(data)


def checked(data: bytes, digest: bytes, where: object) -> bytes:
    """Return an object's bytes if they are what their name says.

    Raises:
        StorageFailure: If they are not; `where` is named.
    """
    if digest_of(data) != digest:
        raise StorageFailure(f"{where}: {cid_text(digest)} is damaged")
    return data


def refuse_delete(what: str) -> NoReturn:
    """Refuse to delete from an append-only store; `what` it is.

    Raises:
        InvalidInput: Always.
    """
    raise InvalidInput("delete", f"{what} is append-only: what was put stays")
