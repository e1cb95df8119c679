"""The epoch log (L0) as files of a publication.

::

    log/entries      every entry behind its length, u16 big-endian, as in the entry bundles of C2SP tlog-tiles
    log/checkpoint   the signed note over all of them

Law: an epoch is sealed when its entry is durable; whatever else tells of it is written afterwards and can be written
again from the entry. A checkpoint is signed only over durable entries, so two of one size never differ.
"""

import os
import struct
import threading
from pathlib import Path
from typing import Final

from meridian.errors import InvalidInput, NotFound, StorageFailure
from meridian.measure.epoch_log import (
    EpochRecord,
    Verifier,
    checkpoint_of,
    open_checkpoint,
    verifier_of,
)
from meridian.node.durable_file import read_whole, sync_directory, write_durably

ENTRIES_FILE: Final = "entries"
CHECKPOINT_FILE: Final = "checkpoint"
ENTRIES_BYTES_MAX: Final = 1 << 30

_LENGTH: Final = struct.Struct(">H")


def read_log_entries(directory: Path) -> tuple[bytes, ...]:
    """Return the entries of a published log; an entry that is not complete at the end is left out.

    Args:
        directory: The ``log`` directory of a publication.
    """
    try:
        data = read_whole(directory / ENTRIES_FILE, ENTRIES_BYTES_MAX)
    except NotFound:
        return ()
    return _split(data)[0]


def _split(data: bytes) -> tuple[tuple[bytes, ...], int]:
    """Return the complete entries and how many bytes they take."""
    entries, at = [], 0
    while at + _LENGTH.size <= len(data):
        end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
        if end > len(data):
            break
        entries.append(data[at + _LENGTH.size : end])
        at = end
    return tuple(entries), at


class PublishedLog:
    """The one writer of an epoch log.

    Args:
        directory: The ``log`` directory; made when absent.
        origin: The log's name.
        seed: The Ed25519 secret of its checkpoints.
        first_epoch: The epoch of entry 0.

    Raises:
        StorageFailure: If what is on disk contradicts the last checkpoint, or cannot be read.
    """

    def __init__(self, directory: Path, origin: str, seed: bytes, first_epoch: int) -> None:
        self._directory, self._origin, self._seed = directory, origin, seed
        self._first_epoch = first_epoch
        self._lock = threading.Lock()
        self._entries = self._recover()
        self._write_checkpoint()

    def _recover(self) -> list[bytes]:
        path = self._directory / ENTRIES_FILE
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                entries, whole = _split(read_whole(path, ENTRIES_BYTES_MAX))
                os.ftruncate(descriptor, whole)  # an entry cut by a crash: its epoch was not sealed
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_directory(self._directory)
        except OSError as error:
            raise StorageFailure(f"{path}: {error.strerror or error}") from error
        self._check(entries)
        return list(entries)

    def _check(self, entries: tuple[bytes, ...]) -> None:
        """Refuse to go on from entries that are not those that were signed."""
        try:
            for at, entry in enumerate(entries):
                if EpochRecord.decode(entry).epoch != self._first_epoch + at:
                    raise InvalidInput("entry", f"entry {at} is not that of its epoch")
            note = read_whole(self._directory / CHECKPOINT_FILE)
            signed = open_checkpoint(note, self.verifier)
            if signed != checkpoint_of(self._origin, entries[: signed.size]):
                raise InvalidInput("checkpoint", "the entries are not those that were signed")
        except NotFound:
            return
        except InvalidInput as error:
            raise StorageFailure(f"{self._directory}: {error}") from error

    @property
    def verifier(self) -> Verifier:
        """The log's name and public key."""
        return verifier_of(self._origin, self._seed)

    @property
    def next_epoch(self) -> int:
        """The first epoch that is not sealed."""
        return self._first_epoch + len(self._entries)

    def record(self, epoch: int) -> EpochRecord:
        """Return the record of a sealed epoch.

        Raises:
            NotFound: If it is not sealed.
        """
        if not self._first_epoch <= epoch < self.next_epoch:
            raise NotFound(f"epoch {epoch} is not sealed")
        return EpochRecord.decode(self._entries[epoch - self._first_epoch])

    def append(self, record: EpochRecord) -> None:
        """Seal an epoch: its record is durable when this returns.

        Raises:
            StorageFailure: If the disk refused; whether the epoch is sealed is known after a restart.
        """
        assert record.epoch == self.next_epoch, "epochs are sealed without gaps"
        entry = record.encode()
        data = _LENGTH.pack(len(entry)) + entry
        path = self._directory / ENTRIES_FILE
        try:
            with self._lock, path.open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageFailure(f"{path}: {error.strerror or error}") from error
        self._entries.append(entry)
        self._write_checkpoint()

    def _write_checkpoint(self) -> None:
        note = checkpoint_of(self._origin, self._entries).sign(self._seed)
        write_durably(self._directory / CHECKPOINT_FILE, note)
