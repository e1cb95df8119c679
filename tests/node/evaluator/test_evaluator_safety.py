"""An evaluator that may have forgotten what it signed only observes; one that has not forgotten goes on."""

import shutil
from pathlib import Path

import pytest

from meridian.errors import StorageFailure
from meridian.node.evaluator.safety import (
    SAFETY_LOG,
    observe_through,
    open_safety_log,
    set_up,
)
from meridian.node.observe_mark import OBSERVE_FILE
from meridian.primitives.ids import Address

NETWORK, MEMBER = bytes(32), Address(b"\x11" * 20)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The directory of an evaluator that has never signed anything."""
    set_up(tmp_path / "one", NETWORK, MEMBER)
    return tmp_path / "one"


def start(home: Path, *committed: int) -> int:
    """Start the evaluator, look where it observes to, and end it."""
    safety = open_safety_log(home, NETWORK, MEMBER)
    try:
        return observe_through(home, safety, committed)
    finally:
        safety.close()


def lose(path: Path) -> None:
    for part in path.parent.glob(path.name + "*"):
        part.unlink()


def test_a_fresh_evaluator_takes_part_also_in_epochs_that_are_committed_already(home: Path) -> None:
    assert start(home, 5, 6) == -1
    assert start(home, 5, 6, 7) == -1


def test_one_that_lost_its_log_observes_what_is_committed_and_nothing_later(home: Path) -> None:
    lose(home / SAFETY_LOG)
    assert start(home, 5, 7, 6) == 7


def test_the_loss_is_remembered_over_restarts_and_does_not_grow(home: Path) -> None:
    lose(home / SAFETY_LOG)
    assert start(home, 5) == 5
    assert start(home, 5, 6, 7) == 5


def test_one_that_lost_everything_or_only_its_mark_observes_too(home: Path) -> None:
    lose(home / OBSERVE_FILE)
    assert start(home, 5) == 5
    lose(home / SAFETY_LOG)
    lose(home / OBSERVE_FILE)
    assert start(home, 5, 6) == 6


def test_a_loss_before_the_first_commitment_hides_nothing(home: Path) -> None:
    lose(home / SAFETY_LOG)
    assert start(home) == -1


def test_a_start_that_fails_after_the_loss_does_not_make_it_forgotten(home: Path) -> None:
    """The new log was made, then the chain did not answer: the next start must still know."""
    lose(home / SAFETY_LOG)
    open_safety_log(home, NETWORK, MEMBER).close()
    assert start(home, 5, 6) == 6


def test_one_that_is_restored_from_a_backup_observes_what_is_committed_and_nothing_later(
    home: Path, tmp_path: Path
) -> None:
    """The backup is whole, log and mark; what was signed after it is not in it."""
    assert start(home, 5) == -1
    shutil.copytree(home, tmp_path / "backup")
    assert start(home, 5, 6) == -1
    shutil.rmtree(home)
    shutil.copytree(tmp_path / "backup", home)
    assert start(home, 5, 6) == 6
    assert start(home, 5, 6, 7) == 6


def test_a_directory_that_is_moved_is_the_same(home: Path, tmp_path: Path) -> None:
    home.rename(tmp_path / "two")
    assert start(tmp_path / "two", 5) == -1


def test_a_mark_of_the_first_format_counts_as_a_lost_disk(home: Path) -> None:
    """It does not say for which log it was made."""
    (home / OBSERVE_FILE).write_bytes(b"-1\n")
    assert start(home, 5) == 5


def test_a_directory_without_set_up_counts_as_a_lost_disk(tmp_path: Path) -> None:
    assert start(tmp_path, 5) == 5


def test_a_second_set_up_changes_nothing(home: Path) -> None:
    lose(home / SAFETY_LOG)
    set_up(home, NETWORK, MEMBER)
    assert start(home, 5) == 5


def test_a_set_up_that_was_cut_short_counts_as_a_lost_disk(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    set_up(tmp_path / "one", NETWORK, MEMBER)
    assert start(tmp_path / "one", 5) == 5


@pytest.mark.parametrize("content", [b"", b"five", b"\xff"])
def test_a_damaged_mark_stops_the_evaluator(home: Path, content: bytes) -> None:
    (home / OBSERVE_FILE).write_bytes(content)
    with pytest.raises(StorageFailure, match=OBSERVE_FILE):
        start(home, 5)


def test_another_members_log_is_refused(home: Path) -> None:
    with pytest.raises(StorageFailure):
        open_safety_log(home, NETWORK, Address(b"\x22" * 20))
