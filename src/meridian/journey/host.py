"""What a run takes of its machine: a data directory for itself alone, and free ports on loopback."""

import contextlib
import fcntl
import os
import secrets
import socket
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from meridian.errors import InvalidInput, NotFound

HOST: Final = "127.0.0.1"
PORTS: Final = (15_000, 30_000)
PORT_TRIES: Final = 100


@contextlib.contextmanager
def taken_directory(root: Path) -> Iterator[None]:
    """Make a data directory if need be, and keep a second run out of it.

    Raises:
        InvalidInput: If another run works on it.
    """
    root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidInput("--data-dir", f"another run works on {root}") from None
        yield
    finally:
        os.close(descriptor)


def free_port(wanted: int, taken: Collection[int] = ()) -> int:
    """Return a port on loopback that is free: the wanted one (0: none) if it is, else any that is not `taken`.

    Others come from below the range that the kernel gives to outgoing connections, because some seconds pass until the
    process that listens there has started.
    """
    chance = secrets.SystemRandom()
    for port in (wanted, *(chance.randrange(*PORTS) for _ in range(PORT_TRIES))):
        if port and port not in taken and _is_free(port):
            return port
    raise NotFound(f"no free port on loopback in {PORT_TRIES} tries")


def kept_port(path: Path) -> int:
    """Return the port that a file remembers if it is free, else a new one, which the file then remembers."""
    try:
        wanted = int(path.read_text())
    except (FileNotFoundError, ValueError):
        wanted = 0
    port = free_port(wanted)
    path.write_text(f"{port}\n")
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
