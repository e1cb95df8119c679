"""Frames of a job log, read beside the process that writes it.

Each frame is read into memory of its own, which goes with the last array that lies in it, so that whoever goes through a
log of any size has only what it is looking at in memory.
"""

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa

from meridian.errors import StorageFailure
from meridian.node.measure.frames import Kind, group_jobs
from meridian.node.measure.job_log import (
    Frame,
    FrameRef,
    frame_at,
    log_file,
)
from meridian.node.measure.page_cache import PassedFile

FILES_OPEN_MAX: Final = 64


class LogReader:
    """Reads frames by their place; a context, which closes the files.

    Args:
        directory: The directory of the job log.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[int, PassedFile] = {}

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
        for file in self._files.values():
            file.close()
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
            frame = frame_at(self._open(ref.file, path), ref.offset, check=check)
        except OSError as error:
            raise StorageFailure(f"{path}: {error.strerror or error}") from error
        if frame is None:
            raise StorageFailure(f"{path}: damaged at byte {ref.offset}")
        return Frame(ref, *frame)

    def _open(self, number: int, path: Path) -> PassedFile:
        if number not in self._files:
            while len(self._files) >= FILES_OPEN_MAX:
                self._files.pop(next(iter(self._files))).close()
            self._files[number] = PassedFile(path)
        return self._files[number]


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
