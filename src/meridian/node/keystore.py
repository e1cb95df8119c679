"""Secret keys as files of their own: hex text, readable by the owner only, made once and never overwritten."""

import os
import re
import secrets
import tempfile
from pathlib import Path

from meridian.errors import InvalidInput, StorageFailure
from meridian.node.durable_file import sync_directory
from meridian.primitives.keys import PrivateKey

_HEX = re.compile(r"[0-9a-fA-F]{64}")


def load_or_create_secret(path: Path) -> bytes:
    """Return the 32 secret bytes in a file; a missing file is made with fresh ones.

    Raises:
        InvalidInput: If the file holds anything else than 64 hex digits, or others may read it.
        StorageFailure: If it cannot be read or written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.path.lexists(path):
            create_private_file(path, secrets.token_hex(32).encode() + b"\n")
        return read_secret(path)
    except OSError as error:
        raise StorageFailure(f"{path}: {error.strerror}") from error


def create_private_file(path: Path, data: bytes) -> bool:
    """Make a file that only its owner may read, whole and durable; one that is there already is left as it is.

    Returns:
        Whether the file was made.

    Raises:
        OSError: If it cannot be written.
    """
    descriptor, temporary = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # unlike a rename, this never replaces a key
        except FileExistsError:
            return False
    finally:
        Path(temporary).unlink()
    sync_directory(path.parent)
    return True


def read_secret(path: Path) -> bytes:
    """Return the 32 secret bytes of an existing file.

    Raises:
        InvalidInput: If the file holds anything else than 64 hex digits, or others may read it.
        OSError: If it cannot be read.
    """
    if path.stat().st_mode & 0o077:
        raise InvalidInput(str(path), "others may read this secret key; run `chmod 600` on it")
    try:
        text = path.read_bytes().decode("ascii").strip().removeprefix("0x")
    except UnicodeDecodeError as error:
        raise InvalidInput(str(path), "it does not hold 64 hex digits") from error
    if not _HEX.fullmatch(text):  # the message must not show what may be a secret
        raise InvalidInput(str(path), "it does not hold 64 hex digits")
    return bytes.fromhex(text)


def load_or_create_key(path: Path) -> PrivateKey:
    """Return the secp256k1 key in a file; a missing file is made with a fresh one."""
    return PrivateKey(load_or_create_secret(path))
