"""An append-only log of frames in files, which survives a crash at any byte.

Frame: ``"MJL1" | kind u8 | 3 zero bytes | durable u64 | length u32 | crc32 u32 | payload``, big-endian; `durable` is how
many bytes of the file were known to be on disk when the frame was written, and the CRC covers all but itself.

Law: `append` promises nothing, `sync` makes everything appended before it durable. On opening, an incomplete tail is cut
off: those frames were never promised. A broken frame in front of a frame that calls it durable is damage, and so is any
broken frame in a file that was closed; then nothing is repaired and the service does not start. After an error of the
disk nothing is written any more (fail-stop).
"""

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meridian.errors import Overloaded, StorageFailure
from meridian.node.durable_file import sync_directory

FRAME_BYTES_MAX: Final = 1 << 30
FILE_BYTES: Final = 256 << 20
"""A file that is longer than this after a sync is closed and another begun."""

_HEADER: Final = struct.Struct(">4sB3xQII")
_MAGIC: Final = b"MJL1"
_FULL_RETRY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class FrameRef:
    """Where a frame is."""

    file: int
    offset: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it was read."""

    ref: FrameRef
    kind: int
    payload: bytes


class JobLog:
    """The open log of one directory; one thread writes, others may read.

    Args:
        directory: Made when absent; locked for this process.
        bytes_max: Bound of all files together.
        file_bytes: When a file is closed.

    Raises:
        StorageFailure: If the directory is in use, or cannot be opened.
    """

    def __init__(self, directory: Path, bytes_max: int, file_bytes: int = FILE_BYTES) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._file_bytes = file_bytes
        self._readers: dict[int, int] = {}
        self._failure: str | None = None
        self._size = self._durable = 0
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StorageFailure(f"{directory}: another process uses this log") from None
        except OSError as error:
            raise StorageFailure(f"{directory}: {error.strerror or error}") from error
        self._numbers = sorted(int(path.stem[5:]) for path in directory.glob("jobs-*.log"))
        self._closed_bytes = 0

    def recover(self) -> Iterator[Frame]:
        """Return every frame, oldest first, and prepare the log for appending; to be run through once, first.

        Raises:
            StorageFailure: If the log is damaged.
        """
        try:
            for number in self._numbers:
                last = number == self._numbers[-1]
                yield from self._scan(number, last=last)
                if not last:
                    self._closed_bytes += self._path(number).stat().st_size
            if not self._numbers:
                self._begin(0)
        except OSError as error:
            raise self._failed(error) from error

    def _scan(self, number: int, *, last: bool) -> Iterator[Frame]:
        reader = self._reader(number)
        size, at = os.fstat(reader).st_size, 0
        while at < size:
            header = self._read_header(reader, at, size)
            payload = b"" if header is None else self._read_payload(reader, at, *header)
            if header is None or payload is None:
                if not last or self._proves_damage(reader, at, size):
                    raise StorageFailure(
                        f"{self._path(number)}: damaged at byte {at}; restore it from a copy"
                    )
                os.truncate(self._path(number), at)
                break
            yield Frame(FrameRef(number, at), header[0], payload)
            at += _HEADER.size + len(payload)
        if last:
            self._writer = os.open(self._path(number), os.O_WRONLY | os.O_APPEND)
            os.fsync(self._writer)
            self._size = self._durable = at

    @staticmethod
    def _read_header(reader: int, at: int, size: int) -> tuple[int, int, int, int] | None:
        """Return kind, durable, length and CRC of the frame at an offset, if it can be one."""
        data = os.pread(reader, _HEADER.size, at)
        if len(data) < _HEADER.size:
            return None
        magic, kind, durable, length, crc = _HEADER.unpack(data)
        fits = magic == _MAGIC and length <= FRAME_BYTES_MAX and at + _HEADER.size + length <= size
        return (kind, durable, length, crc) if fits and not any(data[5:8]) else None

    @staticmethod
    def _read_payload(
        reader: int, at: int, kind: int, durable: int, length: int, crc: int
    ) -> bytes | None:
        payload = os.pread(reader, length, at + _HEADER.size)
        good = len(payload) == length and _checksum(kind, durable, payload) == crc
        return payload if good else None

    def _proves_damage(self, reader: int, broken_at: int, size: int) -> bool:
        """Tell whether a later frame says that the broken one was durable, which is more than a torn write."""
        rest = os.pread(reader, size - broken_at, broken_at)
        found = rest.find(_MAGIC, 1)
        while found >= 0:
            at = broken_at + found
            header = self._read_header(reader, at, size)
            if (
                header is not None
                and header[1] > broken_at
                and self._read_payload(reader, at, *header) is not None
            ):
                return True
            found = rest.find(_MAGIC, found + 1)
        return False

    @property
    def files(self) -> tuple[int, ...]:
        """The numbers of the files, oldest first; the last one is written to."""
        return tuple(self._numbers)

    @property
    def begins_file(self) -> bool:
        """Whether nothing stands in the current file yet."""
        return self._size == 0

    def append(self, kind: int, payload: bytes) -> FrameRef:
        """Write a frame; it is promised only after `sync`.

        Raises:
            Overloaded: If the log has reached its bound.
            StorageFailure: If the disk refuses; the log is closed for writing.
        """
        self._check()
        length = _HEADER.size + len(payload)
        if self._closed_bytes + self._size + length > self._bytes_max:
            raise Overloaded(_FULL_RETRY_S, f"the job log has reached {self._bytes_max} bytes")
        if len(payload) > FRAME_BYTES_MAX:
            raise AssertionError("a frame is bounded by the body of a request")
        crc = _checksum(kind, self._durable, payload)
        header = _HEADER.pack(_MAGIC, kind, self._durable, len(payload), crc)
        ref = FrameRef(self._numbers[-1], self._size)
        try:
            view = memoryview(header + payload)
            while view:
                view = view[os.write(self._writer, view) :]
        except OSError as error:
            raise self._failed(error) from error
        self._size += length
        return ref

    def sync(self) -> None:
        """Make everything appended durable; may close the file and begin another.

        Raises:
            StorageFailure: If the disk refuses; nothing of it may be promised.
        """
        self._check()
        try:
            if self._durable < self._size:
                os.fdatasync(self._writer)
                self._durable = self._size
            if self._size >= self._file_bytes:
                os.close(self._writer)
                self._closed_bytes += self._size
                self._begin(self._numbers[-1] + 1)
        except OSError as error:
            raise self._failed(error) from error

    def read(self, ref: FrameRef) -> Frame:
        """Return a frame that was appended or recovered.

        Raises:
            StorageFailure: If it is no longer what was written.
        """
        try:
            reader = self._reader(ref.file)
            header = self._read_header(reader, ref.offset, os.fstat(reader).st_size)
            payload = None if header is None else self._read_payload(reader, ref.offset, *header)
        except OSError as error:
            raise StorageFailure(f"{self._path(ref.file)}: {error.strerror or error}") from error
        if header is None or payload is None:
            raise StorageFailure(f"{self._path(ref.file)}: damaged at byte {ref.offset}")
        return Frame(ref, header[0], payload)

    def drop(self, number: int) -> None:
        """Delete a file that is not written to any more."""
        assert number in self._numbers[:-1], "only closed files are dropped"
        self._numbers.remove(number)
        reader = self._readers.pop(number, None)
        path = self._path(number)
        try:
            self._closed_bytes -= path.stat().st_size
            path.unlink()
            sync_directory(self._directory)
        except OSError as error:
            raise self._failed(error) from error
        finally:
            if reader is not None:
                os.close(reader)

    def close(self) -> None:
        """Close the files; what was not synced is not promised."""
        for reader in self._readers.values():
            os.close(reader)
        self._readers.clear()
        if self._failure is None:
            self._failure = "closed"
            if self._numbers and hasattr(self, "_writer"):
                os.close(self._writer)
        os.close(self._lock)

    def _begin(self, number: int) -> None:
        self._writer = os.open(
            self._path(number), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600
        )
        sync_directory(self._directory)
        self._numbers.append(number)
        self._size = self._durable = 0

    def _path(self, number: int) -> Path:
        return self._directory / f"jobs-{number:08d}.log"

    def _reader(self, number: int) -> int:
        if number not in self._readers:
            self._readers[number] = os.open(self._path(number), os.O_RDONLY)
        return self._readers[number]

    def _check(self) -> None:
        if self._failure is not None:
            raise StorageFailure(f"{self._directory}: {self._failure}")

    def _failed(self, error: OSError) -> StorageFailure:
        self._failure = str(error.strerror or error)
        return StorageFailure(f"{self._directory}: {self._failure}")


def _checksum(kind: int, durable: int, payload: bytes) -> int:
    head = struct.pack(">BQI", kind, durable, len(payload))
    return zlib.crc32(payload, zlib.crc32(head))
