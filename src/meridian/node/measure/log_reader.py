"""Frames of a job log, read beside the process that writes it.

Each frame is mapped for itself and unmapped with the last array that lies in it, so that whoever goes through a log of
any size has only what it is looking at in memory.
"""

import itertools
import mmap
import os
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa

from meridian.errors import StorageFailure
from meridian.node.measure.frames import Kind, group_jobs
from meridian.node.measure.job_log import (
    HEADER_BYTES,
    Frame,
    FrameRef,
    frame_bytes,
    log_file,
    read_frame,
)

FILES_OPEN_MAX: Final = 64


class LogReader:
    """Reads frames by their place; a context, which closes the files.

    Args:
        directory: The directory of the job log.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; frames that were read stay good."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def read(self, ref: FrameRef, *, check: bool = True) -> Frame:
        """Return a frame.

        Args:
            ref: Where it is.
            check: Whether to compute its CRC; once is enough.

        Raises:
            StorageFailure: If it is not what was written, or cannot be read.
        """
        path = log_file(self._directory, ref.file)
        try:
            descriptor = self._open(ref.file, path)
            size = frame_bytes(os.pread(descriptor, HEADER_BYTES, ref.offset))
            frame = None
            if size is not None and ref.offset + size <= os.fstat(descriptor).st_size:
                frame = read_frame(_mapped(descriptor, ref.offset, size), 0, size, check=check)
        except OSError as error:
            raise StorageFailure(f"{path}: {error.strerror or error}") from error
        if frame is None:
            raise StorageFailure(f"{path}: damaged at byte {ref.offset}")
        return Frame(ref, *frame)

    def _open(self, number: int, path: Path) -> int:
        if number not in self._files:
            while len(self._files) >= FILES_OPEN_MAX:
                os.close(self._files.pop(next(iter(self._files))))
            self._files[number] = os.open(path, os.O_RDONLY)
        return self._files[number]


def _mapped(descriptor: int, offset: int, size: int) -> memoryview:
    """Return a part of a file, mapped."""
    before = offset % mmap.ALLOCATIONGRANULARITY
    area = mmap.mmap(descriptor, before + size, prot=mmap.PROT_READ, offset=offset - before)
    return memoryview(area)[before:]


class LogFrames:
    """The groups that hold jobs of one epoch, in log order, as a sort reads them.

    Args:
        reader: The log.
        refs: Where the groups are.
    """

    def __init__(self, reader: LogReader, refs: Sequence[FrameRef]) -> None:
        self._reader, self._refs = reader, refs
        self._checked = bytearray(len(refs))

    def __len__(self) -> int:
        return len(self._refs)

    def __getitem__(self, at: int) -> pa.Table:
        """Return the jobs of a group, of all epochs, in the columns of `frames.log_columns`; checked the first time.

        Raises:
            StorageFailure: If it is not what was written.
        """
        ref = self._refs[at]
        frame = self._reader.read(ref, check=not self._checked[at])
        if frame.kind != Kind.GROUP:
            raise StorageFailure(f"the frame of the job log at {ref} is not a group")
        self._checked[at] = 1
        return group_jobs(frame.payload)


class ChainedFrames:
    """The groups of several logs, one log behind the other.

    Args:
        parts: The logs.
    """

    def __init__(self, parts: Sequence[LogFrames]) -> None:
        self._parts = parts
        self._ends = list(itertools.accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, at: int) -> pa.Table:
        """Return the jobs of a group, as `LogFrames` does."""
        part = bisect_right(self._ends, at)
        before = self._ends[part - 1] if part else 0
        return self._parts[part][at - before]
