"""Memory for large buffers: kept when it is freed, or filled once and used again.

A group needs some dozens of buffers of up to some megabytes, the same again for the next group. The C library gives such
memory back to the system at once, and takes it anew page by page, which costs more than what is done with it; so a
process that admits jobs keeps what it has freed.

numpy asks for huge pages for arrays of 4 MiB and more. Where memory is in pieces, the kernel then puts pages together
at every first touch: 0.4 to 0.8 GB/s where single pages give 2.7, and 4 if they are asked for before they are touched.
"""

import ctypes
import mmap
from typing import Final

import numpy as np

from meridian.measure.job_tuples import Bytes

_POPULATE_WRITE: Final = 23
"""MADV_POPULATE_WRITE of Linux 5.14, which Python does not name."""

KEPT_BYTES: Final = 256 << 20
"""So much freed memory is kept at the end of the heap; what lies between used memory is never given back."""
MAPPED_FROM_BYTES: Final = 32 << 20
"""Larger buffers are mapped for themselves, and given back when they are freed."""
_MALLOPT: Final = ((-8, 1), (-1, KEPT_BYTES), (-3, MAPPED_FROM_BYTES))
"""M_ARENA_MAX (threads share one heap), M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's ``malloc.h``."""


def keep_freed() -> bool:
    """Let this process keep the memory that it frees; call it before threads begin. False: the C library knows no such thing."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    done = [mallopt(option, value) == 1 for option, value in _MALLOPT]
    return all(done)


class FreshMemory:
    """Bytes that cost nothing until they are touched.

    Args:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        self._pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            self._pages.madvise(mmap.MADV_NOHUGEPAGE)
        self.bytes: Bytes = np.frombuffer(self._pages, dtype=np.uint8)

    def populate(self, start: int, size: int) -> None:
        """Get pages for bytes that are written soon; where the system knows no such thing, they come one by one."""
        first = start - start % mmap.PAGESIZE
        try:
            self._pages.madvise(_POPULATE_WRITE, first, start + size - first)
        except (OSError, ValueError):
            return

    def release(self, start: int, size: int) -> None:
        """Give back the pages of bytes that mean nothing any more."""
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (start + size) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > first:
            self._pages.madvise(mmap.MADV_DONTNEED, first, end - first)


def fresh_bytes(size: int) -> Bytes:
    """Return bytes on pages of their own."""
    return FreshMemory(size).bytes if size else np.zeros(0, dtype=np.uint8)
