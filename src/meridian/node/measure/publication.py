"""A publication: a directory of artefacts under their content addresses, epoch indices, and the epoch log.

    objects/<cid>              every artefact, written once
    epochs/<6 digits>.json     what is known of an epoch: its manifest and its state
    log/                       the epoch log, only where one is kept (`published_log`)

Law: an artefact is durable before anything names it. Any static file server can serve the directory.
Where a further store is configured, all of this is put there too, and first; a bucket then is a publication of its own.
"""

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from meridian.errors import NotFound, StorageFailure
from meridian.node.durable_file import read_whole, write_durably
from meridian.node.stores.local import LocalStore
from meridian.node.stores.s3 import S3Store
from meridian.node.stores.store import ObjectStore

NEWEST_INDICES: Final = 100
"""Indices that are put into a bucket again at the start: they may have changed while it was not configured."""


class Publication:
    """One publication directory; made when absent.

    Args:
        root: The directory.
        further: Where artefacts, and if it is a bucket all else, are put besides.
    """

    def __init__(self, root: Path, further: ObjectStore | None = None) -> None:
        self.root = root
        self._objects, self._further = LocalStore(root / "objects"), further
        (root / "epochs").mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> bytes:
        """Publish an artefact and return its digest; an artefact that is there already stays.

        Raises:
            StorageFailure: If the disk refuses.
            RemoteFault: If the further store is away; to be tried again.
        """
        if self._further is not None:
            self._further.put(data)
        return self._objects.put(data)

    def path(self, digest: bytes) -> Path:
        """Return where an artefact lies, or would lie."""
        return self._objects.path(digest)

    def get(self, digest: bytes) -> bytes:
        """Return an artefact's bytes, checked.

        Raises:
            NotFound: If it is not here.
            StorageFailure: If the file is damaged.
        """
        return self._objects.get(digest)

    def mirror(self, name: str, data: bytes) -> None:
        """Write a file of the publication into the further store, if that is a bucket.

        Raises:
            RemoteFault: If it is away; to be tried again.
        """
        if isinstance(self._further, S3Store):
            self._further.put_file(name, data)

    def fill(self) -> None:
        """Put into the further store what was published before it was configured.

        Raises:
            RemoteFault: If it is away.
        """
        if self._further is None:
            return
        there = set(self._further.digests())
        for digest in set(self._objects.digests()) - there:
            self._further.put(self._objects.get(digest))
        if isinstance(self._further, S3Store):
            self._fill_files(set(self._further.names()))

    def _fill_files(self, there: set[str]) -> None:
        indices = sorted((self.root / "epochs").glob("*.json"))
        tiles = sorted(path for path in (self.root / "log/tile").rglob("*") if path.is_file())
        newest = {self.root / "log/checkpoint", *indices[-NEWEST_INDICES:]}
        for path in (*indices, *tiles, self.root / "log/checkpoint"):  # the checkpoint last
            name = path.relative_to(self.root).as_posix()
            if path.is_file() and (name not in there or path in newest):
                self.mirror(name, read_whole(path))

    def write_index(self, epoch: int, document: dict[str, Any]) -> None:
        """Write an epoch's index, whole."""
        text = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
        self.mirror(f"epochs/{epoch:06d}.json", text)
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
