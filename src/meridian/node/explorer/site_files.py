"""The files of a site: each is replaced whole, and one that would not change is not touched.

Nothing is synced: everything here can be made again.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from meridian.errors import NotFound, StorageFailure
from meridian.node.durable_file import read_whole

FILE_BYTES_MAX = 1 << 30


class SiteFiles:
    """A directory.

    Args:
        root: It is made when something is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, None if there is none."""
        try:
            return read_whole(self.root / name, FILE_BYTES_MAX)
        except NotFound:
            return None

    def json(self, name: str) -> Any:
        """Return a JSON file's value, None if there is none or it is none."""
        data = self.read(name)
        try:
            return None if data is None else msgspec.json.decode(data)
        except msgspec.DecodeError:
            return None

    def write(self, name: str, data: bytes) -> bool:
        """Write a file; return whether that changed it.

        Raises:
            StorageFailure: If the disk refuses.
        """
        path = self.root / name
        try:
            if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
                return False
            temporary = path.with_name(f".{path.name}.tmp")
            try:
                temporary.write_bytes(data)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_bytes(data)
            os.replace(temporary, path)  # noqa: PTH105 - Path.replace cannot tell more
        except OSError as error:
            raise StorageFailure(f"{path}: {error.strerror or error}") from error
        return True

    def write_json(self, name: str, value: Any) -> bool:
        """Write a value as JSON; return whether that changed the file."""
        return self.write(name, msgspec.json.encode(value) + b"\n")

    def names(self, folder: str) -> set[str]:
        """Return the names of the files in a directory; none where there is no directory."""
        try:
            return {path.name for path in (self.root / folder).iterdir() if path.is_file()}
        except FileNotFoundError:
            return set()

    def folders(self, folder: str) -> set[str]:
        """Return the names of the directories in a directory; none where there is no directory."""
        try:
            return {path.name for path in (self.root / folder).iterdir() if path.is_dir()}
        except FileNotFoundError:
            return set()

    def remove(self, folder: str, unwanted: Callable[[str], bool]) -> None:
        """Delete files of a directory by their names, and the directory where it is empty then."""
        for name in self.names(folder):
            if unwanted(name):
                (self.root / folder / name).unlink(missing_ok=True)
        path = self.root / folder
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
