"""What an evaluator must not have forgotten: its safety logs, one for each term, each with the mark of `observe_mark`.

The log of term 0 lies in the evaluator's own directory, that of a later term in a directory beside it. A member that
has none for a term has never signed in it, as long as its first log is whole: that one was made when the member was
set up, so where it is gone or copied the disk was lost, and the others with it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from meridian.ephemera.term import term_network
from meridian.node import observe_mark
from meridian.node.safety_log import SafetyLog
from meridian.primitives.ids import Address

SAFETY_LOG: Final = "safety.sqlite"


def log_directory(data_dir: Path, term: int) -> Path:
    """Return the directory that holds log and mark of a term."""
    return data_dir if term == 0 else data_dir / "terms" / str(term)


def open_safety_log(data_dir: Path, network: bytes, member: Address, term: int = 0) -> SafetyLog:
    """Open the safety log of a term, or make an empty one where it was lost.

    Raises:
        StorageFailure: If the log cannot be opened, or is another member's.
    """
    directory, own = log_directory(data_dir, term), term_network(network, term)
    if not directory.exists() and observe_mark.is_whole(data_dir / SAFETY_LOG):
        set_up(directory, own, member)
    directory.mkdir(parents=True, exist_ok=True)
    observe_mark.drop_stale_mark(directory / SAFETY_LOG)
    return SafetyLog(directory / SAFETY_LOG, network=own, member=member)


def observe_through(data_dir: Path, safety: SafetyLog, committed: Iterable[int]) -> int:
    """Return the last epoch in which we must sign nothing; see `observe_mark.observe_through`."""
    return observe_mark.observe_through(data_dir / SAFETY_LOG, committed, created=safety.created)


def mark_first_log(
    data_dir: Path, network: bytes, member: Address, committed: Iterable[int]
) -> None:
    """Mark the log of term 0, made anew where it was lost: terms to come are new to us again.

    Call it in a later term, after `observe_through` of that term's own log, which needs to know of the loss.
    """
    first = open_safety_log(data_dir, network, member)
    try:
        observe_through(data_dir, first, committed)
    finally:
        first.close()


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
