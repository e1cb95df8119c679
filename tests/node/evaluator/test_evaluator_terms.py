"""Terms: what was signed in one says nothing in another, and no log of one is lost unnoticed."""

import shutil
from pathlib import Path

import pytest

from meridian.ephemera.term import term_network
from meridian.errors import InvalidInput
from meridian.node.evaluator.safety import (
    SAFETY_LOG,
    log_directory,
    mark_first_log,
    observe_through,
    open_safety_log,
    set_up,
)
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address

NETWORK = b"\x01" * 32
MEMBER = Address(b"\x11" * 20)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    set_up(tmp_path / "one", NETWORK, MEMBER)
    return tmp_path / "one"


def start(home: Path, term: int, *committed: int) -> int:
    """Start an evaluator in a term; return the last epoch in which it signs nothing."""
    safety = open_safety_log(home, NETWORK, MEMBER, term)
    try:
        last = observe_through(log_directory(home, term), safety, committed)
        if term:
            mark_first_log(home, NETWORK, MEMBER, committed)
    finally:
        safety.close()
    return last


def test_every_term_has_a_network_of_its_own_and_the_first_has_the_networks() -> None:
    names = [term_network(NETWORK, term) for term in range(4)]
    assert names[0] == NETWORK
    assert len(set(names)) == 4
    assert names[1] == sha256(b"\x21", NETWORK, bytes(7) + b"\x01")
    for term in (-1, 1 << 64):
        with pytest.raises(InvalidInput, match="term"):
            term_network(NETWORK, term)


def test_a_new_term_is_new_to_a_member_whose_first_log_is_whole(home: Path) -> None:
    assert start(home, 0, 5) == -1
    assert start(home, 1, 5, 6) == -1
    assert start(home, 1, 5, 6) == -1, "again after a crash"
    assert start(home, 2, 5, 6) == -1


def test_a_member_that_was_away_for_some_terms_signs_in_the_next(home: Path) -> None:
    assert start(home, 0, 5) == -1
    assert start(home, 7, 5, 6) == -1


def test_a_lost_disk_is_noticed_in_a_later_term_and_does_not_last_beyond_it(home: Path) -> None:
    start(home, 1, 5)
    shutil.rmtree(home)
    home.mkdir()
    assert start(home, 1, 5, 6) == 6
    assert start(home, 1, 5, 6, 7) == 6
    assert start(home, 2, 5, 6, 7) == -1, "nobody signed in a term before it began"


def test_a_backup_is_noticed_in_a_term_that_began_after_it(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "backup")
    start(home, 1, 5)
    shutil.rmtree(home)
    shutil.copytree(tmp_path / "backup", home)
    assert start(home, 1, 5, 6) == 6


def test_a_lost_log_of_a_term_is_noticed(home: Path) -> None:
    start(home, 1, 5)
    (log_directory(home, 1) / SAFETY_LOG).unlink()
    assert start(home, 1, 5, 6) == 6
