"""What an evaluator must not have forgotten: its safety log, with the mark of `observe_mark` beside it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from meridian.node import observe_mark
from meridian.node.safety_log import SafetyLog
from meridian.primitives.ids import Address

SAFETY_LOG: Final = "safety.sqlite"


def open_safety_log(data_dir: Path, network: bytes, member: Address) -> SafetyLog:
    """Open the safety log, or make an empty one where it was lost.

    Raises:
        StorageFailure: If the log cannot be opened, or is another member's.
    """
    observe_mark.drop_stale_mark(data_dir / SAFETY_LOG)
    return SafetyLog(data_dir / SAFETY_LOG, network=network, member=member)


def observe_through(data_dir: Path, safety: SafetyLog, committed: Iterable[int]) -> int:
    """Return the last epoch in which we must sign nothing; see `observe_mark.observe_through`."""
    return observe_mark.observe_through(data_dir / SAFETY_LOG, committed, created=safety.created)


def forget_through(data_dir: Path, epoch: int) -> None:
    """Sign nothing more up to this epoch, whose records are about to be deleted; see `observe_mark.raise_mark`."""
    observe_mark.raise_mark(data_dir / SAFETY_LOG, epoch)


def set_up(data_dir: Path, network: bytes, member: Address) -> None:
    """Make the directory of an evaluator that has never signed anything; does nothing where there is one."""
    if data_dir.exists():
        return
    data_dir.mkdir(parents=True)
    SafetyLog(data_dir / SAFETY_LOG, network=network, member=member).close()
    observe_mark.set_first_mark(data_dir / SAFETY_LOG)
