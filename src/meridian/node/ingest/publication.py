"""A publication: a directory of content-addressed objects, and index files that say what to look for.

::

    objects/<cid>        the bytes that the CID names
    epochs/000060.json   where an epoch's artefacts begin

Law: an object is complete and durable before its name can be known; it never changes. Index files are written after
everything that they name.
"""

from pathlib import Path

from meridian.errors import NotFound, StorageFailure
from meridian.node.durable_file import read_whole, write_durably
from meridian.primitives.cid import cid_text, digest_of

OBJECT_BYTES_MAX = 2 << 30


class Publication:
    """One directory; several threads may use it.

    Args:
        root: The directory; made with its parts when absent.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            for part in ("objects", "epochs"):
                (root / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageFailure(f"{root}: {error.strerror or error}") from error

    def path(self, digest: bytes) -> Path:
        """Return where the object of a digest lies, if it is published."""
        return self.root / "objects" / cid_text(digest)

    def put(self, data: bytes) -> bytes:
        """Publish an object durably and return its digest; one that is there already is left alone.

        Raises:
            StorageFailure: If the disk refused.
        """
        digest = digest_of(data)
        path = self.path(digest)
        if not path.exists():
            write_durably(path, data)
        return digest

    def has(self, digest: bytes) -> bool:
        """Tell whether an object is published here."""
        return self.path(digest).is_file()

    def get(self, digest: bytes) -> bytes:
        """Return an object.

        Raises:
            NotFound: If it is not published here.
            StorageFailure: If it cannot be read, or its bytes are not those that the digest names.
        """
        path = self.path(digest)
        try:
            data = read_whole(path, OBJECT_BYTES_MAX)
        except NotFound:
            raise NotFound(f"object {cid_text(digest)} is not published here") from None
        if digest_of(data) != digest:
            raise StorageFailure(f"{path}: its bytes are not those that its name stands for")
        return data
