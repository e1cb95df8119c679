"""Small files that survive a crash whole: after `write_durably` returns, readers see all of the new bytes for ever.

The steps (as in FiloSottile/sunlight's `durable` package): write a temporary file beside the
target, fsync it, rename it over the target, fsync the directory. A crash leaves the old file or the
new one, never a mixture, and at worst a temporary file whose name starts with a dot and ends in
`.tmp`.
"""

import ctypes
import fcntl
import os
import struct
import sys
import tempfile
from pathlib import Path
from typing import IO, Final

from meridian.errors import InvalidInput, NotFound, StorageFailure

READ_MAX_BYTES = 64 * 1024 * 1024

_STATX: Final = getattr(ctypes.CDLL(None), "statx", None) if sys.platform == "linux" else None
_AT_FDCWD: Final = -100
_STATX_BTIME: Final = 0x800
_STATX_BYTES: Final = 256
_BIRTH_AT: Final = 80
"""Where `struct statx` holds the time of birth: seconds i64, nanoseconds u32 (statx(2))."""


def write_durably(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace or create the file `path` with `data`, atomically and durably; its directory must exist.

    Raises:
        StorageFailure: If the disk refused; the earlier file, if any, is untouched or already
            replaced whole.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise StorageFailure(f"{path}: {error.strerror or error}") from error


def held_lock(path: Path, taken: str) -> IO[bytes]:
    """Hold a lock file for as long as it is open, or until the process ends.

    Args:
        path: Made when absent.
        taken: What is said if another process holds it.

    Raises:
        StorageFailure: If so, or if the disk refused.
    """
    try:
        file = path.open("wb")
    except OSError as error:
        raise StorageFailure(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise StorageFailure(f"{path}: {taken}") from None
    return file


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable: without it a new file's name may be lost with the power.

    Raises:
        OSError: If the disk refused.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_whole(path: Path, max_bytes: int = READ_MAX_BYTES) -> bytes:
    """Return the bytes of a file.

    Raises:
        NotFound: If there is no such file.
        InvalidInput: If it is longer than `max_bytes`.
        StorageFailure: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise StorageFailure(f"{path}: {error.strerror or error}") from error
    if len(data) > max_bytes:
        raise InvalidInput(str(path), f"longer than {max_bytes} bytes")
    return data


def file_identity(path: Path) -> str:
    """Return a word that tells this very file from a copy of it, also from one that took its place.

    It is the inode number and, where the system tells it, the time of birth: a deleted file's number is given to the
    next one, its time is not. Writing to the file changes neither.

    Raises:
        StorageFailure: If there is no such file.
    """
    try:
        inode = path.stat().st_ino
    except OSError as error:
        raise StorageFailure(f"{path}: {error.strerror}") from error
    return f"{inode}-{_birth_ns(path)}"


def _birth_ns(path: Path) -> int:
    """Return when a file was made, in nanoseconds since 1970; 0 where nobody knows."""
    if _STATX is None:
        return 0
    found = ctypes.create_string_buffer(_STATX_BYTES)
    if _STATX(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, found) != 0:
        return 0
    (mask,) = struct.unpack_from("=I", found.raw)
    seconds, nanoseconds = struct.unpack_from("=qI", found.raw, _BIRTH_AT)
    return seconds * 1_000_000_000 + nanoseconds if mask & _STATX_BTIME else 0
