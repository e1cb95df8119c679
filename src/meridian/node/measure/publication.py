"""A publication: a directory of artefacts under their content addresses, epoch indices, and the epoch log.

    objects/<cid>              every artefact, written once
    epochs/<6 digits>.json     what is known of an epoch: its manifest and its state
    log/                       the epoch log, only where one is kept (`published_log`)

Law: an artefact is durable before anything names it. Any static file server can serve the directory.
"""

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from meridian.errors import NotFound, StorageFailure
from meridian.node.durable_file import read_whole, write_durably
from meridian.primitives.cid import cid_text, digest_of

OBJECT_BYTES_MAX: Final = 2 << 30


class Publication:
    """One publication directory; made when absent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("objects", "epochs"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> bytes:
        """Publish an artefact and return its digest; an artefact that is there already stays.

        Raises:
            StorageFailure: If the disk refuses.
        """
        digest = digest_of(data)
        path = self.path(digest)
        if not path.exists() or path.stat().st_size != len(data):
            write_durably(path, data)
        return digest

    def path(self, digest: bytes) -> Path:
        """Return where an artefact lies, or would lie."""
        return self.root / "objects" / cid_text(digest)

    def get(self, digest: bytes) -> bytes:
        """Return an artefact's bytes, checked.

        Raises:
            NotFound: If it is not here.
            StorageFailure: If the file is damaged.
        """
        data = read_whole(self.path(digest), OBJECT_BYTES_MAX)
        if digest_of(data) != digest:
            raise StorageFailure(f"{self.path(digest)}: damaged")
        return data

    def write_index(self, epoch: int, document: dict[str, Any]) -> None:
        """Write an epoch's index, whole."""
        text = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
        write_durably(self._index(epoch), text)

    def read_index(self, epoch: int) -> dict[str, Any] | None:
        """Return an epoch's index, None if there is none."""
        try:
            document: dict[str, Any] = json.loads(read_whole(self._index(epoch)))
        except NotFound:
            return None
        except ValueError as error:
            raise StorageFailure(f"{self._index(epoch)}: {error}") from error
        return document

    def indexed_epochs(self) -> list[int]:
        """Return the epochs that have an index, ascending."""
        return sorted(
            int(path.stem) for path in (self.root / "epochs").glob("*.json") if path.stem.isdigit()
        )

    def _index(self, epoch: int) -> Path:
        return self.root / "epochs" / f"{epoch:06d}.json"
