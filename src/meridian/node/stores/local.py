"""Artefacts as files of a directory, named by their CIDs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from meridian.errors import InvalidInput, StorageFailure
from meridian.node.durable_file import read_whole, sync_directory, write_durably
from meridian.node.stores.store import OBJECT_BYTES_MAX, bounded, checked
from meridian.primitives.cid import cid_text, parse_cid


class LocalStore:
    """An `ObjectStore` in a directory, which is made when absent.

    Args:
        directory: Where the files are.
        bytes_max: The longest object.
    """

    append_only: Final = False

    def __init__(self, directory: Path, bytes_max: int = OBJECT_BYTES_MAX) -> None:
        self._directory, self._bytes_max = directory, bytes_max
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, digest: bytes) -> Path:
        """Return where an object lies, or would lie."""
        return self._directory / cid_text(digest)

    def put(self, data: bytes) -> bytes:
        """Keep an object; one that is there with the right length already stays."""
        digest = bounded(data, self._bytes_max)
        path = self.path(digest)
        if not path.exists() or path.stat().st_size != len(data):
            write_durably(path, data)
        return digest

    def get(self, digest: bytes) -> bytes:
        """Return an object, checked."""
        path = self.path(digest)
        try:
            return checked(read_whole(path, self._bytes_max), digest, path)
        except InvalidInput as error:
            raise StorageFailure(f"{path}: {error.reason}") from error

    def has(self, digest: bytes) -> bool:
        """Tell whether there is a file."""
        return self.path(digest).is_file()

    def digests(self) -> Iterator[bytes]:
        """Yield the digests of all files that are named by one."""
        for path in self._directory.iterdir():
            try:
                yield parse_cid(path.name)[1]
            except InvalidInput:  # a temporary file, or a stranger's
                continue

    def delete(self, digest: bytes) -> None:
        """Remove the file."""
        try:
            self.path(digest).unlink(missing_ok=True)
            sync_directory(self._directory)
        except OSError as error:
            raise StorageFailure(f"{self.path(digest)}: {error.strerror or error}") from error

    def close(self) -> None:
        """Nothing is open."""
