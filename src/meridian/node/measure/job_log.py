"""An append-only log of frames in files, which survives a crash at any byte.

Frame: ``"MJL2" | kind u8 | 3 zero bytes | durable u64 | length u32 | crc32 u32 | payload | zeros``, big-endian; `durable`
is how many bytes of the file were known to be on disk when the frame was written, zeros fill the frame to a multiple of
8 bytes, so that columns in a payload can be used where they lie, and the CRC covers all but itself and the magic.

Law: `append` promises nothing, `sync` makes everything appended before it durable. On opening, an incomplete tail is cut
off: those frames were never promised. A broken frame in front of a frame that calls it durable is damage, and so is any
broken frame in a file that was closed; then nothing is repaired and the service does not start. After an error of the
disk nothing is written any more (fail-stop).

What is durable leaves the page cache at once (`page_cache`): a seal, a replay and a batch that is sent again read the disk.
"""

import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meridian.errors import Overloaded, StorageFailure
from meridian.node.durable_file import sync_directory
from meridian.node.measure.page_cache import PassedFile, forget_pages
from meridian.primitives.checksum import crc32

ALIGNMENT: Final = 8
"""Every payload starts at a multiple of it."""
FRAME_BYTES_MAX: Final = 1 << 30
FILE_BYTES: Final = 256 << 20
"""A file that is longer is closed and another begun."""

_HEADER: Final = struct.Struct(">4sB3xQII")
HEADER_BYTES: Final = _HEADER.size
_MAGIC: Final = b"MJL2"
_FULL_RETRY_S: Final = 60.0
_VIEWS_MAX: Final = 1_024
"""The most that one `writev` takes (IOV_MAX of Linux)."""


@dataclass(frozen=True, slots=True)
class FrameRef:
    """Where a frame is."""

    file: int
    offset: int

    def pack(self) -> int:
        """Return it as one number, which keeps the order of the log; offsets stay below 2^32."""
        return self.file << 32 | self.offset

    @classmethod
    def unpack(cls, packed: int) -> "FrameRef":
        """Return what `pack` packed."""
        return cls(packed >> 32, packed & 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it was read."""

    ref: FrameRef
    kind: int
    payload: memoryview
    """In memory of its own; good also when the file has been dropped."""


class JobLog:
    """The open log of one directory; one thread writes, others may sync and read.

    Args:
        directory: Made when absent; locked for this process.
        bytes_max: Bound of all files together.
        file_bytes: When a file is closed.

    Raises:
        StorageFailure: If the directory is in use, or cannot be opened.
    """

    def __init__(self, directory: Path, bytes_max: int, file_bytes: int = FILE_BYTES) -> None:
        self.directory = self._directory = directory
        self._bytes_max = bytes_max
        self._file_bytes = file_bytes
        self._failure: str | None = None
        self._syncing = threading.Lock()
        self._size = self._durable = self._forgotten = 0
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

    @property
    def length_bytes(self) -> int:
        """Length of all files."""
        return self._closed_bytes + self._size

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
        path, at = self._path(number), 0
        with PassedFile(path) as file:
            size = file.size
            while at < size:
                frame = frame_at(file, at)
                if frame is None:
                    if not last or _is_damaged(path, at, size):
                        raise StorageFailure(
                            f"{path}: damaged at byte {at}; restore it from a copy"
                        )
                    os.truncate(path, at)
                    break
                kind, payload = frame
                yield Frame(FrameRef(number, at), kind, payload)
                at += padded_bytes(len(payload))
        if last:
            self._writer = os.open(path, os.O_WRONLY | os.O_APPEND)
            os.fsync(self._writer)
            self._size = self._durable = self._forgotten = at

    @property
    def files(self) -> tuple[int, ...]:
        """The numbers of the files, oldest first; the last one is written to."""
        return tuple(self._numbers)

    @property
    def begins_file(self) -> bool:
        """Whether nothing stands in the current file yet."""
        return self._size == 0

    def append(self, kind: int, *parts: bytes | memoryview) -> FrameRef:
        """Write a frame, whose payload is the parts one behind the other; it is promised only after `sync`.

        Raises:
            Overloaded: If the log has reached its bound.
            StorageFailure: If the disk refuses; the log is closed for writing.
        """
        self._check()
        views = [memoryview(part).cast("B") for part in parts]
        payload_bytes = sum(map(len, views))
        length = padded_bytes(payload_bytes)
        if self._closed_bytes + self._size + length > self._bytes_max:
            raise Overloaded(_FULL_RETRY_S, f"the job log has reached {self._bytes_max} bytes")
        if payload_bytes > FRAME_BYTES_MAX:
            raise AssertionError("a frame is bounded by what is admitted at a time")
        views.append(memoryview(bytes(length - _HEADER.size - payload_bytes)))
        durable = (
            self._durable
        )  # read once: another thread syncs, and the CRC is over what stands in the header
        crc = _checksum(kind, durable, payload_bytes, views)
        header = _HEADER.pack(_MAGIC, kind, durable, payload_bytes, crc)
        ref = FrameRef(self._numbers[-1], self._size)
        try:
            _write_all(self._writer, [memoryview(header), *views])
        except OSError as error:
            raise self._failed(error) from error
        self._size += length
        return ref

    def sync(self) -> None:
        """Make everything durable that was appended before the call; any thread may ask.

        Raises:
            StorageFailure: If the disk refuses; nothing of it may be promised.
        """
        with self._syncing:
            self._check()
            size = self._size
            if self._durable < size:
                try:
                    os.fdatasync(self._writer)
                except OSError as error:
                    raise self._failed(error) from error
                self._durable = size
                forget_pages(self._writer, self._forgotten, size)
                self._forgotten = size

    @property
    def is_long(self) -> bool:
        """Whether the file that is written to should be closed."""
        return self._size >= self._file_bytes

    def roll(self) -> None:
        """Close the file that is written to, durable as it is then, and begin another.

        Raises:
            StorageFailure: If the disk refuses.
        """
        self.sync()
        with self._syncing:
            try:
                os.close(self._writer)
                self._closed_bytes += self._size
                self._begin(self._numbers[-1] + 1)
            except OSError as error:
                raise self._failed(error) from error

    def read(self, ref: FrameRef) -> Frame:
        """Return a frame that was appended or recovered; any thread may ask.

        Raises:
            StorageFailure: If it is no longer what was written.
        """
        path = self._path(ref.file)
        try:
            with PassedFile(path) as file:
                frame = frame_at(file, ref.offset)
        except OSError as error:
            raise StorageFailure(f"{path}: {error.strerror or error}") from error
        if frame is None:
            raise StorageFailure(f"{path}: damaged at byte {ref.offset}")
        return Frame(ref, *frame)

    def drop(self, number: int) -> None:
        """Delete a file that is not written to any more."""
        assert number in self._numbers[:-1], "only closed files are dropped"
        self._numbers.remove(number)
        path = self._path(number)
        try:
            self._closed_bytes -= path.stat().st_size
            path.unlink()
            sync_directory(self._directory)
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the files; what was not synced is not promised."""
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
        self._size = self._durable = self._forgotten = 0

    def _path(self, number: int) -> Path:
        return log_file(self._directory, number)

    def _check(self) -> None:
        if self._failure is not None:
            raise StorageFailure(f"{self._directory}: {self._failure}")

    def _failed(self, error: OSError) -> StorageFailure:
        self._failure = str(error.strerror or error)
        return StorageFailure(f"{self._directory}: {self._failure}")


def padded_bytes(payload_bytes: int) -> int:
    """Return the bytes of a frame."""
    return _HEADER.size + payload_bytes + -payload_bytes % ALIGNMENT


def log_file(directory: Path, number: int) -> Path:
    """Return where a file of a log is."""
    return directory / f"jobs-{number:08d}.log"


def frame_bytes(header: bytes | memoryview) -> int | None:
    """Return the bytes of the frame that begins with this header, if one does."""
    if len(header) < HEADER_BYTES:
        return None
    magic, _, _, length, _ = _HEADER.unpack_from(header)
    return padded_bytes(length) if magic == _MAGIC and length <= FRAME_BYTES_MAX else None


def frame_at(file: PassedFile, at: int, *, check: bool = True) -> tuple[int, memoryview] | None:
    """Return kind and payload of the frame at an offset of a file; None if there is no whole one.

    Args:
        file: The file.
        at: The offset.
        check: Whether to compute the CRC.

    Raises:
        OSError: If the disk refuses.
    """
    size = frame_bytes(file.read(at, HEADER_BYTES))
    if size is None or at + size > file.size:
        return None
    data = file.read(at, size)
    return read_frame(data, 0, len(data), check=check)


def read_frame(
    data: memoryview, at: int, size: int, *, check: bool = True
) -> tuple[int, memoryview] | None:
    """Return kind and payload of the frame at an offset of a file of `size` bytes; None if there is no whole one.

    Args:
        data: The file's bytes.
        at: The offset.
        size: How many of them count.
        check: Whether to compute the CRC.
    """
    header = read_header(data, at, size)
    if header is None:
        return None
    kind, durable, length, crc = header
    start = at + _HEADER.size
    body = data[start : at + padded_bytes(length)]
    good = not check or _checksum(kind, durable, length, [body]) == crc
    return (kind, data[start : start + length]) if good else None


def read_header(data: memoryview, at: int, size: int) -> tuple[int, int, int, int] | None:
    """Return kind, durable, length and CRC of the frame at an offset, if it can be one."""
    if at + _HEADER.size > size:
        return None
    magic, kind, durable, length, crc = _HEADER.unpack_from(data, at)
    fits = magic == _MAGIC and length <= FRAME_BYTES_MAX and at + padded_bytes(length) <= size
    return (kind, durable, length, crc) if fits and not any(data[at + 5 : at + 8]) else None


def proves_damage(data: memoryview, broken_at: int, size: int) -> bool:
    """Tell whether a later frame says that the broken one was durable, which is more than a torn write."""
    file = data.obj
    assert isinstance(file, mmap.mmap), "a file with a broken frame is not empty"
    found = file.find(_MAGIC, broken_at + 1, size)
    while found >= 0:
        header = read_header(data, found, size)
        if (
            header is not None
            and header[1] > broken_at
            and read_frame(data, found, size) is not None
        ):
            return True
        found = file.find(_MAGIC, found + 1, size)
    return False


def _is_damaged(path: Path, broken_at: int, size: int) -> bool:
    """Tell whether the broken frame of a file is more than a torn write."""
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
    return proves_damage(data, broken_at, size)


def _write_all(descriptor: int, views: list[memoryview]) -> None:
    """Write all bytes of the views, however many calls it takes."""
    while views:
        written = os.writev(descriptor, views[:_VIEWS_MAX])
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if views:
            views[0] = views[0][written:]


def _checksum(kind: int, durable: int, length: int, views: Sequence[memoryview]) -> int:
    crc = crc32(struct.pack(">BQI", kind, durable, length))
    for view in views:
        crc = crc32(view, crc)
    return crc
