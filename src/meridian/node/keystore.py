"""Secret keys as files of their own: hex text, readable by the owner only, made once and never overwritten."""

import os
import secrets
from pathlib import Path

from meridian.errors import InvalidInput, StorageFailure
from meridian.primitives.ids import parse_digest
from meridian.primitives.keys import PrivateKey


def load_or_create_secret(path: Path) -> bytes:
    """Return the 32 secret bytes in a file; a missing file is made with fresh ones.

    Raises:
        InvalidInput: If the file holds anything else than 64 hex digits, or others may read it.
        StorageFailure: If it cannot be read or written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return _read(path)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageFailure(f"{path}: {error.strerror}") from error
    return _read(path)


def _read(path: Path) -> bytes:
    if path.stat().st_mode & 0o077:
        raise InvalidInput(str(path), "others may read this secret key; run `chmod 600` on it")
    return parse_digest(path.read_text().strip(), str(path))


def load_or_create_key(path: Path) -> PrivateKey:
    """Return the secp256k1 key in a file; a missing file is made with a fresh one."""
    return PrivateKey(load_or_create_secret(path))
