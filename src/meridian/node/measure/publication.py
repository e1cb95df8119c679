"""A publication: a directory of artefacts under their content addresses, epoch indices, and the epoch log.

    objects/<cid>              every artefact, written once
    epochs/<6 digits>.json     what is known of an epoch: its manifest and its state
    log/checkpoint             signed checkpoint of the epoch log (C2SP note); only where one is kept
    log/entries/<8 digits>     its entries, one file each

Law: an artefact is durable before anything names it, and an entry before a checkpoint covers it. Any static file server
can serve the directory.
"""

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from meridian.errors import NotFound, StorageFailure
from meridian.measure.epoch_log import (
    Checkpoint,
    Verifier,
    checkpoint_of,
    open_checkpoint,
    verifier_of,
)
from meridian.node.durable_file import read_whole, sync_directory, write_durably
from meridian.primitives.cid import cid_text, digest_of

OBJECT_BYTES_MAX: Final = 2 << 30
ENTRIES_MAX: Final = 1_000_000


class Publication:
    """One publication directory; made when absent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("objects", "epochs"):
            (root / name).mkdir(parents=True, exist_ok=True)
        self._entries: list[bytes] | None = None

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

    def append_log(self, index: int, entry: bytes, origin: str, seed: bytes) -> Checkpoint:
        """Put an entry at a place of the epoch log and sign the log up to it; doing it again changes nothing.

        Raises:
            StorageFailure: If another entry stands there, or the signed checkpoint is not that of the entries:
                a log that was signed is never rewritten.
        """
        directory = self.root / "log"
        if self._entries is None:
            self._entries = list(read_log_entries(directory))
        entries = self._entries
        if index < len(entries):
            if entries[index] != entry:
                raise StorageFailure(f"{directory}: entry {index} is already another one")
        elif index == len(entries):
            if not entries:
                self._make_log()
            write_durably(directory / "entries" / f"{index:08d}", entry)
            entries.append(entry)
        else:
            raise StorageFailure(f"{directory}: entry {len(entries)} is missing")
        checkpoint = checkpoint_of(origin, entries)
        self._require_growth(entries, verifier_of(origin, seed))
        write_durably(directory / "checkpoint", checkpoint.sign(seed))
        return checkpoint

    def _make_log(self) -> None:
        try:
            (self.root / "log/entries").mkdir(parents=True, exist_ok=True)
            sync_directory(self.root / "log")
            sync_directory(self.root)
        except OSError as error:
            raise StorageFailure(f"{self.root}: {error.strerror or error}") from error

    def _require_growth(self, entries: list[bytes], verifier: Verifier) -> None:
        path = self.root / "log" / "checkpoint"
        if not path.exists():
            return
        signed = open_checkpoint(read_whole(path), verifier)
        if signed.size > len(entries) or signed != checkpoint_of(
            signed.origin, entries[: signed.size]
        ):
            raise StorageFailure(f"{path}: it is signed over other entries")


def read_log_entries(directory: Path) -> tuple[bytes, ...]:
    """Return the entries of the epoch log in `directory` (a publication's ``log``), in order without gaps."""
    entries = []
    for index in range(ENTRIES_MAX):
        path = directory / "entries" / f"{index:08d}"
        if not path.is_file():
            break
        entries.append(read_whole(path))
    return tuple(entries)
