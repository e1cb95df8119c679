"""The job log: append-only files of frames, durable before anything is acknowledged.

    file    "meridian-jobs-1" LF | next sequence u64, then frames
    frame   "MJL1" | length u32 | CRC32 of the payload u32 | settled u64 | payload

One thread writes; what waits for it while it syncs goes into the next write together (group commit). `settled` is the
offset up to which the file was durable when the frame was written: it tells a tail that was cut by a crash, which
nobody was promised and which is dropped, from damage to acknowledged frames, which stops the service.
"""

import os
import queue
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NamedTuple

from meridian.errors import NotFound, StorageFailure
from meridian.node.durable_file import sync_directory

FILE_BYTES: Final = 256 << 20
"""A file that is longer is followed by the next one."""
FRAME_BYTES_MAX: Final = 1 << 30

_MAGIC: Final = b"MJL1"
_FRAME_HEAD: Final = struct.Struct(">4sIIQ")
_FILE_HEAD: Final = struct.Struct(">16sQ")
_FILE_MAGIC: Final = b"meridian-jobs-1\n"


class Place(NamedTuple):
    """Where a frame's payload lies."""

    file: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    payload: bytes
    """Empty for a barrier."""
    durable: Callable[[Place], None] | None
    done: "Future[None]"


class JobLog:
    """The log of one service; one process, any threads.

    Args:
        directory: Where the files are; made when absent.
        failed: Called once, from the writing thread, when the disk refuses: nothing is acknowledged after that.
        file_bytes: Length after which a new file is begun.
    """

    def __init__(
        self,
        directory: Path,
        failed: Callable[[StorageFailure], None],
        file_bytes: int = FILE_BYTES,
    ) -> None:
        self._directory = directory
        self._failed = failed
        self._file_bytes = file_bytes
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._failure: StorageFailure | None = None
        self._sizes: dict[int, int] = {}
        self._number = 0
        self._descriptor = -1
        self._thread: threading.Thread | None = None
        self.cut_bytes = 0
        """What recovery dropped from the end."""
        self.next_sequence: Callable[[], int] = lambda: 0
        """Asked when a file is begun; its answer survives when all frames before are dropped."""

    # -- start ------------------------------------------------------------------------------------

    def recover(self) -> Iterator[tuple[Place, bytes] | int]:
        """Read all files in order: yields the next sequence that each file names, then its frames.

        Raises:
            StorageFailure: If a frame is damaged that may have been acknowledged.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            numbers = sorted(int(path.stem) for path in self._directory.glob("*.log"))
            for number in numbers:
                yield from self._recover_file(number, last=number == numbers[-1])
            self._number = max(numbers, default=0)
        except OSError as error:
            raise StorageFailure(f"{self._directory}: {error.strerror or error}") from error

    def _recover_file(self, number: int, *, last: bool) -> Iterator[tuple[Place, bytes] | int]:
        path = self._path(number)
        with path.open("rb") as file:
            head = file.read(_FILE_HEAD.size)
            if len(head) < _FILE_HEAD.size and last:
                path.unlink()  # it was being begun: nothing in it
                return
            if head[: len(_FILE_MAGIC)] != _FILE_MAGIC or len(head) < _FILE_HEAD.size:
                raise StorageFailure(f"{path}: not a job log")
            yield _FILE_HEAD.unpack(head)[1]
            at = _FILE_HEAD.size
            while (frame := _read_frame(file, at)) is not None:
                yield Place(number, at + _FRAME_HEAD.size, len(frame[0])), frame[0]
                at += _FRAME_HEAD.size + len(frame[0])
            size = os.fstat(file.fileno()).st_size
            if at < size:
                if not last or _was_settled(file, at):
                    raise StorageFailure(f"{path}: damaged at byte {at}, in what was acknowledged")
                self.cut_bytes = size - at
        if self.cut_bytes:
            with path.open("r+b") as file:
                file.truncate(at)
                os.fsync(file.fileno())
        self._sizes[number] = at

    def start(self) -> None:
        """Begin a file if the last one is full or absent, and start the writing thread; `recover` comes before.

        Raises:
            StorageFailure: If the file cannot be opened.
        """
        try:
            if self._number in self._sizes and self._sizes[self._number] < self._file_bytes:
                self._descriptor = os.open(self._path(self._number), os.O_WRONLY | os.O_APPEND)
            else:
                self._begin_file()
        except OSError as error:
            raise StorageFailure(f"{self._directory}: {error.strerror or error}") from error
        self._thread = threading.Thread(target=self._run, name="job-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and stop."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
            os.close(self._descriptor)

    # -- use --------------------------------------------------------------------------------------

    @property
    def size_bytes(self) -> int:
        """The length of all files together."""
        return sum(list(self._sizes.values()))

    @property
    def current_file(self) -> int:
        """The number of the file that is being written."""
        return self._number

    def append(self, payload: bytes, durable: Callable[[Place], None]) -> "Future[None]":
        """Queue a frame; `durable` is called from the writing thread before the future is done.

        Frames become durable in the order of the calls. The future raises `StorageFailure` if the disk refuses.
        """
        if not 0 < len(payload) <= FRAME_BYTES_MAX:
            raise StorageFailure(f"a frame of {len(payload)} bytes does not fit in the job log")
        waiting = _Waiting(payload, durable, Future())
        self._queue.put(waiting)
        return waiting.done

    def barrier(self) -> "Future[None]":
        """Return a future that is done when everything appended so far is durable and reported."""
        waiting = _Waiting(b"", None, Future())
        self._queue.put(waiting)
        return waiting.done

    def read(self, place: Place) -> bytes:
        """Return a frame's payload.

        Raises:
            NotFound: If its file was dropped.
            StorageFailure: If it cannot be read whole.
        """
        try:
            with self._path(place.file).open("rb") as file:
                frame = _read_frame(file, place.offset - _FRAME_HEAD.size)
        except FileNotFoundError:
            raise NotFound("the batch is older than the retention") from None
        except OSError as error:
            raise StorageFailure(f"{self._path(place.file)}: {error.strerror or error}") from error
        if frame is None or len(frame[0]) != place.length:
            raise StorageFailure(f"{self._path(place.file)}: damaged at byte {place.offset}")
        return frame[0]

    def drop(self, number: int) -> None:
        """Delete a file, never the current one."""
        if number != self._number and self._sizes.pop(number, None) is not None:
            self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:012d}.log"

    # -- the writing thread -----------------------------------------------------------------------

    def _run(self) -> None:
        running = True
        while running:
            group: list[_Waiting] = []
            item = self._queue.get()
            while True:
                if item is None:
                    running = False
                    break
                group.append(item)
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            if group:
                self._settle(group)

    def _settle(self, group: list[_Waiting]) -> None:
        """Write a group, sync once, then report each."""
        if self._failure is None:
            try:
                places = self._write(group)
            except OSError as error:
                self._failure = StorageFailure(f"{self._directory}: {error.strerror or error}")
                self._failed(self._failure)
        if self._failure is not None:
            for one in group:
                one.done.set_exception(self._failure)
            return
        for one, place in zip(group, places, strict=True):
            if one.durable is not None:
                one.durable(place)
            one.done.set_result(None)

    def _write(self, group: list[_Waiting]) -> list[Place]:
        if self._sizes[self._number] >= self._file_bytes:
            os.close(self._descriptor)
            self._begin_file()
        settled = at = self._sizes[self._number]
        places = []
        for one in group:
            places.append(Place(self._number, at + _FRAME_HEAD.size, len(one.payload)))
            if one.payload:
                crc = zlib.crc32(one.payload)
                _write_all(
                    self._descriptor, _FRAME_HEAD.pack(_MAGIC, len(one.payload), crc, settled)
                )
                _write_all(self._descriptor, one.payload)
                at += _FRAME_HEAD.size + len(one.payload)
        if at > settled:
            os.fdatasync(self._descriptor)
        self._sizes[self._number] = at
        return places

    def _begin_file(self) -> None:
        self._number += 1
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._descriptor = os.open(self._path(self._number), flags, 0o600)
        _write_all(self._descriptor, _FILE_HEAD.pack(_FILE_MAGIC, self.next_sequence()))
        os.fsync(self._descriptor)
        sync_directory(self._directory)
        self._sizes[self._number] = _FILE_HEAD.size


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_frame(file: IO[bytes], at: int) -> tuple[bytes, int] | None:
    """Return the payload of the frame at an offset and its `settled`, or None if there is no whole one."""
    file.seek(at)
    head = file.read(_FRAME_HEAD.size)
    if len(head) < _FRAME_HEAD.size:
        return None
    magic, length, crc, settled = _FRAME_HEAD.unpack(head)
    if magic != _MAGIC or length > FRAME_BYTES_MAX:
        return None
    payload = file.read(length)
    if len(payload) < length or zlib.crc32(payload) != crc:
        return None
    return payload, settled


def _was_settled(file: IO[bytes], at: int) -> bool:
    """Tell whether a whole frame behind `at` says that the file was durable beyond `at` before."""
    file.seek(at)
    rest = file.read()
    found = rest.find(_MAGIC, 1)
    while found >= 0:
        frame = _read_frame(file, at + found)
        if frame is not None and frame[1] > at:
            return True
        found = rest.find(_MAGIC, found + 1)
    return False
