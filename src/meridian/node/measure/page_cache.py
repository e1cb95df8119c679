"""Files that are written once and read once or seldom, and leave the page cache behind the writer and the reader.

A page of the cache that no file had before costs more than what is copied into it, where the machine below has to find
it first (0.5 GB/s, and 5 where pages go round). So a log lets go what is on the disk: the next frame takes the same
pages. What is let go is only a copy; where a system knows no such thing, or refuses, nothing is lost but the time.
"""

import contextlib
import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

_FOLIO_BYTES_MAX: Final = 2 << 20
"""The largest piece in which Linux caches a file, aligned to its size; it goes only as a whole."""
_BEHIND_BYTES: Final = 2 << 20
"""A reader lets go so much at a time."""


def forget_pages(descriptor: int, start: int, end: int) -> None:
    """Let the whole pages of a part of a file go from the cache; those that are not on the disk yet stay.

    Args:
        descriptor: The open file.
        start: Where the part begins, bytes; a piece of the cache that reaches beyond it goes too.
        end: Where it ends; the page in which it ends stays, for it is written to next.
    """
    first, last = start - start % _FOLIO_BYTES_MAX, end - end % mmap.PAGESIZE
    if last > first and hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):  # advice: whoever does not take it keeps the pages
            os.posix_fadvise(descriptor, first, last - first, os.POSIX_FADV_DONTNEED)


def forget_file(path: Path) -> None:
    """Let a file that is on the disk go from the cache."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        forget_pages(file.fileno(), 0, os.fstat(file.fileno()).st_size)


class PassedFile:
    """A file that is read once, mostly forwards; a context, which closes it.

    It is read and not mapped: a failing disk is an exception then, not a signal that ends the process, and who reads
    ahead is the kernel. Direct reads would take as little processor time only where they are large, and wait longer.

    Args:
        path: The file.

    Raises:
        OSError: If the disk refuses, here and in every method.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._start: int | None = None
        self._end = 0

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
        """Close the file; what was read stays good."""
        if self._start is not None:
            forget_pages(self._descriptor, self._start, self._end)
        os.close(self._descriptor)

    @property
    def size(self) -> int:
        """How long the file is now, bytes."""
        return os.fstat(self._descriptor).st_size

    def read(self, at: int, size: int) -> memoryview:
        """Return `size` bytes, fewer at the end of the file, in memory that lives as long as something lies in it."""
        memory = np.empty(size, dtype=np.uint8).data
        filled = 0
        while filled < size:
            got = os.preadv(self._descriptor, [memory[filled:]], at + filled)
            if not got:
                break
            filled += got
        self._pass(at, at + filled)
        return memory[:filled]

    def _pass(self, start: int, end: int) -> None:
        self._start = start if self._start is None else min(start, self._start)
        self._end = end
        if end - self._start >= _BEHIND_BYTES:
            forget_pages(self._descriptor, self._start, end)
            self._start = end
