"""The mark beside a database of what a member signed: whether that database is whole.

A member that forgot what it signed could sign the opposite. So database and mark are made once, when the member is set
up, and a member that finds either missing signs nothing where it may have signed before. The mark names the very file
that the database is (`file_identity`), so a directory that was restored from a backup is a lost disk too. What no file
can show (a snapshot of the whole disk, an old database written over the same file), the operator must tell by deleting
the mark.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from meridian.errors import StorageFailure
from meridian.node.durable_file import file_identity, sync_directory, write_durably

OBSERVE_FILE: Final = "observe-through"

log = logging.getLogger(__name__)


def drop_stale_mark(database: Path) -> None:
    """Delete the mark of a database that is gone; call it before a new database is made.

    A start that ends between here and `observe_through` (the chain is away, say) must not leave a new database beside an
    old mark, which would look as if nothing had been lost.

    Raises:
        StorageFailure: If the directory cannot be written.
    """
    if database.exists():
        return
    try:
        (database.parent / OBSERVE_FILE).unlink(missing_ok=True)
        sync_directory(database.parent)
    except OSError as error:
        raise StorageFailure(f"{database.parent}: {error.strerror}") from error


def observe_through(database: Path, begun: Iterable[int], *, created: bool) -> int:
    """Return the last epoch in which we must sign nothing, because we may have forgotten what we signed; -1 for none.

    Where database or mark had to be made now, or the database is a copy, what we signed may be lost: whatever has begun
    already is only observed, also after further restarts.

    Args:
        database: The file of what we signed.
        begun: Epochs (or member sets) in which we may have signed.
        created: Whether the database was made by this start.

    Raises:
        StorageFailure: If the mark cannot be read or written.
    """
    identity = file_identity(database)
    last, marked = _read(database.parent)
    if created or marked != identity:
        last = max(begun, default=-1)
        log.warning("what we signed before may be lost: observing through epoch %d", last)
        _write(database, last)
    return last


def is_whole(database: Path) -> bool:
    """Whether the database is there, and is the very one that its mark was made for.

    Raises:
        StorageFailure: If the mark cannot be read.
    """
    return database.exists() and _read(database.parent)[1] == file_identity(database)


def set_first_mark(database: Path) -> None:
    """Mark a new database of a member that has never signed anything."""
    _write(database, -1)


def raise_mark(database: Path, through: int) -> None:
    """Sign nothing more up to an epoch: before the records of what was signed there are deleted.

    Raises:
        StorageFailure: If the mark cannot be read or written.
    """
    last, _ = _read(database.parent)
    if through > last:
        _write(database, through)


def _read(directory: Path) -> tuple[int, str | None]:
    """Return the last epoch to observe and the database that the mark was made for; None if there is no mark."""
    path = directory / OBSERVE_FILE
    if not path.exists():
        return -1, None
    try:
        last, _, identity = path.read_text("ascii").strip().partition(" ")
        return int(last), identity
    except (OSError, ValueError) as error:
        raise StorageFailure(f"{path}: {error}") from error


def _write(database: Path, last: int) -> None:
    text = f"{last} {file_identity(database)}\n"
    write_durably(database.parent / OBSERVE_FILE, text.encode())
