"""A disk that fails on demand, for one child process: `disk_faults.c`, compiled here and loaded before everything else."""

import contextlib
import errno
import mmap
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("disk_faults.c")
_CONTROL: Final = struct.Struct("=IIII")
SYNC_US: Final = 4_000
"""What a sync takes at least, as on a real disk: meanwhile the next frames are written, which a loss of power takes."""
WRITES: Final = 1
SYNCS: Final = 2


def compiler() -> str | None:
    """Return the C compiler of this machine, None if it has none."""
    return shutil.which("cc") or shutil.which("gcc")


class BrokenDisk:
    """The switch of the faults of one directory.

    Args:
        work: Where the library, the control file and the list of syncs go.
        root: The directory whose disk it is.
    """

    def __init__(self, work: Path, root: Path) -> None:
        found = compiler()
        assert found is not None, "the caller has asked"
        self._library = work / "disk_faults.so"
        subprocess.run(
            [found, "-O2", "-shared", "-fPIC", "-o", self._library, SOURCE, "-ldl"], check=True
        )
        self._control, self._syncs = work / "disk.control", work / "disk.syncs"
        self._control.write_bytes(bytes(_CONTROL.size))
        with self._control.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _CONTROL.size)
        self._root = root.resolve()

    @property
    def environment(self) -> dict[str, str]:
        """What the child process must be started with."""
        return os.environ | {
            "LD_PRELOAD": str(self._library),
            "MERIDIAN_DISK_FAULTS": str(self._control),
            "MERIDIAN_DISK_ROOT": str(self._root),
            "MERIDIAN_DISK_SYNCS": str(self._syncs),
            "MERIDIAN_DISK_SLOW_US": str(SYNC_US),
        }

    def fail(self, which: int, after: int, error: int = errno.EIO) -> None:
        """Let writes or syncs fail once `after` more of them have succeeded, and for ever from then on."""
        self._shared[:] = _CONTROL.pack(which, error, after, 0)

    def mend(self) -> None:
        """Let everything succeed again."""
        self._shared[:] = bytes(_CONTROL.size)

    @property
    def failures(self) -> int:
        """How many calls have failed since `fail`."""
        found: int = _CONTROL.unpack(self._shared[:])[3]
        return found

    def durable_bytes(self, path: Path) -> int:
        """Return how many bytes of a file a loss of power would leave for sure: as of its last sync."""
        name, found = str(path.resolve()), 0
        if self._syncs.exists():
            for line in self._syncs.read_text().splitlines():
                where, _, size = line.rpartition("\t")
                if where == name:
                    found = int(size)
        return min(found, path.stat().st_size)


@contextlib.contextmanager
def small_disk(where: Path, size_bytes: int) -> Iterator[Path | None]:
    """Mount a tmpfs of that size; yields None where this process may not mount."""
    where.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", where],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        yield None
        return
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", where], check=False)
