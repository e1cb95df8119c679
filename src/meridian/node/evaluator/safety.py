"""What an evaluator must not have forgotten: its safety log, and a mark that says whether it is whole.

A member that forgot what it signed could sign the opposite. So both are made once, when the evaluator is set up, and an
evaluator that finds either missing signs nothing about the epochs in which it may have signed before. The mark names the
very file that the log is (`file_identity`), so a directory that was restored from a backup is a lost disk too. What no
file can show (a snapshot of the whole disk, an old log written over the same file), the operator must tell by deleting
the mark.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from meridian.errors import StorageFailure
from meridian.node.durable_file import file_identity, sync_directory, write_durably
from meridian.node.safety_log import SafetyLog
from meridian.primitives.ids import Address

SAFETY_LOG: Final = "safety.sqlite"
OBSERVE_FILE: Final = "observe-through"

log = logging.getLogger(__name__)


def open_safety_log(data_dir: Path, network: bytes, member: Address) -> SafetyLog:
    """Open the safety log, or make an empty one where it was lost.

    The mark of a lost log goes first: a start that ends between here and `observe_through` (the chain is away, say)
    must not leave a new log beside an old mark, which would look as if nothing had been lost.

    Raises:
        StorageFailure: If the log cannot be opened, or is another member's.
    """
    path = data_dir / SAFETY_LOG
    if not path.exists():
        try:
            (data_dir / OBSERVE_FILE).unlink(missing_ok=True)
            sync_directory(data_dir)
        except OSError as error:
            raise StorageFailure(f"{data_dir}: {error.strerror}") from error
    return SafetyLog(path, network=network, member=member)


def observe_through(data_dir: Path, safety: SafetyLog, committed: Iterable[int]) -> int:
    """Return the last epoch in which we must sign nothing, because we may have forgotten what we signed; -1 for none.

    Safety log and this mark are made once, when the evaluator is set up (`set_up`). Where either had to be made now, or
    the log is a copy, what we signed may be lost: whatever is committed already is only observed, also after further
    restarts.

    Raises:
        StorageFailure: If the mark cannot be read or written.
    """
    identity = file_identity(data_dir / SAFETY_LOG)
    last, marked = _read_mark(data_dir)
    if safety.created or marked != identity:
        last = max(committed, default=-1)
        log.warning("what we signed before may be lost: observing through epoch %d", last)
        _write_mark(data_dir, last, identity)
    return last


def _read_mark(data_dir: Path) -> tuple[int, str | None]:
    """Return the last epoch to observe and the log that the mark was made for; None if there is no mark."""
    path = data_dir / OBSERVE_FILE
    if not path.exists():
        return -1, None
    try:
        last, _, identity = path.read_text("ascii").strip().partition(" ")
        return int(last), identity
    except (OSError, ValueError) as error:
        raise StorageFailure(f"{path}: {error}") from error


def _write_mark(data_dir: Path, last: int, identity: str) -> None:
    write_durably(data_dir / OBSERVE_FILE, f"{last} {identity}\n".encode())


def set_up(data_dir: Path, network: bytes, member: Address) -> None:
    """Make the directory of an evaluator that has never signed anything; does nothing where there is one."""
    if data_dir.exists():
        return
    data_dir.mkdir(parents=True)
    SafetyLog(data_dir / SAFETY_LOG, network=network, member=member).close()
    _write_mark(data_dir, -1, file_identity(data_dir / SAFETY_LOG))
