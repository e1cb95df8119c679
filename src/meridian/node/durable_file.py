"""Small files that survive a crash whole: after `write_durably` returns, readers see all of the new bytes for ever.

The steps (as in FiloSottile/sunlight's `durable` package): write a temporary file beside the
target, fsync it, rename it over the target, fsync the directory. A crash leaves the old file or the
new one, never a mixture, and at worst a temporary file whose name starts with a dot and ends in
`.tmp`.
"""

import os
import tempfile
from pathlib import Path

from meridian.errors import InvalidInput, NotFound, StorageFailure

READ_MAX_BYTES = 64 * 1024 * 1024


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
