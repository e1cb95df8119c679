"""The safety log remembers, belongs to one member and one process, and stops at the first error."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from meridian.ephemera.effects import Record
from meridian.errors import StorageFailure
from meridian.node.safety_log import SafetyLog
from meridian.primitives.ids import Address

NETWORK = bytes(range(32))
MEMBER = Address(b"\x11" * 20)


def open_log(path: Path, network: bytes = NETWORK, member: Address = MEMBER) -> SafetyLog:
    return SafetyLog(path / "safety.db", network=network, member=member)


def test_records_are_found_again_after_reopening_ordered_by_kind_and_key(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    assert log.created
    records = [
        Record(7, "vote", b"\x02", b"b"),
        Record(7, "echo", b"", b""),
        Record(7, "vote", b"\x01", b"a"),
        Record(9, "vote", b"\x01", b"other epoch"),
    ]
    log.write(records)
    log.close()
    again = open_log(tmp_path)
    assert not again.created
    assert again.load(7) == (records[1], records[2], records[0])
    assert again.load(9) == (records[3],)
    assert again.load(8) == ()
    assert again.epochs() == (7, 9)
    assert again.records(7, "vote") == (records[2], records[0])
    assert again.records(7, "vote", b"\x02") == (records[0],)
    assert again.records(7, "vote", b"") == again.records(8, "vote") == ()
    again.close()


def test_a_record_replaces_the_one_with_its_epoch_kind_and_key_also_inside_one_write(
    tmp_path: Path,
) -> None:
    log = open_log(tmp_path)
    log.write([Record(1, "view", b"", b"0"), Record(1, "view", b"", b"1")])
    log.write([Record(1, "view", b"", b"2")])
    assert log.load(1) == (Record(1, "view", b"", b"2"),)
    log.close()


def test_one_write_is_one_transaction(tmp_path: Path) -> None:
    """A write that fails in its second record leaves no trace of its first."""
    log = open_log(tmp_path)
    with pytest.raises(StorageFailure):
        log.write([Record(1, "vote", b"", b"x"), Record(2**70, "vote", b"", b"y")])
    log.close()
    again = open_log(tmp_path)
    assert again.epochs() == ()
    again.close()


def test_after_a_failed_write_every_call_fails(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    with pytest.raises(StorageFailure):
        log.write([Record(2**70, "vote", b"", b"y")])
    attempts: list[Callable[[], object]] = [
        lambda: log.write([Record(1, "vote", b"", b"x")]),
        lambda: log.load(1),
        log.epochs,
        lambda: log.forget_before(1),
    ]
    for attempt in attempts:
        with pytest.raises(StorageFailure, match="unusable after"):
            attempt()
    log.close()


def test_a_full_disk_is_a_storage_failure(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log._database._connection.execute("PRAGMA max_page_count=8")
    with pytest.raises(StorageFailure, match="full"):
        log.write([Record(1, "row", b"", bytes(100_000))])
    log.close()


def test_durability_is_wal_with_full_synchronisation(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    assert log._database._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert log._database._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    log.close()


@pytest.mark.parametrize("field", ["network", "member"])
def test_the_database_of_another_owner_is_refused(tmp_path: Path, field: str) -> None:
    open_log(tmp_path).close()
    with pytest.raises(StorageFailure, match="not "):
        if field == "network":
            open_log(tmp_path, network=bytes(32))
        else:
            open_log(tmp_path, member=Address(b"\x12" * 20))
    open_log(tmp_path).close()


def test_a_second_owner_is_refused_until_the_first_closes(tmp_path: Path) -> None:
    first = open_log(tmp_path)
    with pytest.raises(StorageFailure, match="locked"):
        open_log(tmp_path)
    first.close()
    open_log(tmp_path).close()


def test_another_schema_another_database_and_garbage_are_refused(tmp_path: Path) -> None:
    open_log(tmp_path).close()
    path = tmp_path / "safety.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StorageFailure, match="schema 99"):
        open_log(tmp_path)
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE something (x)")
    connection.close()
    with pytest.raises(StorageFailure, match="other database"):
        open_log(tmp_path)
    path.write_bytes(b"not a database at all, but long enough to be read as one" * 40)
    with pytest.raises(StorageFailure):
        open_log(tmp_path)
    with pytest.raises(StorageFailure):
        open_log(tmp_path / "absent")


def test_forgotten_epochs_are_gone_and_later_ones_stay(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.write([Record(epoch, "view", b"", b"") for epoch in (1, 2, 3)])
    log.forget_before(3)
    assert log.epochs() == (3,)
    log.close()


def test_what_was_written_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    """The writer dies by SIGKILL right after `write` returned; nothing was closed."""
    program = """
import os, signal, sys
from pathlib import Path
from meridian.ephemera.effects import Record
from meridian.node.safety_log import SafetyLog
log = SafetyLog(Path(sys.argv[1]), network=bytes(range(32)), member=b"\\x11" * 20)
log.write([Record(5, "echo", b"k", b"v")])
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = str(tmp_path / "safety.db")
    ended = subprocess.run([sys.executable, "-c", program, path], timeout=30, check=False)
    assert ended.returncode == -9
    log = open_log(tmp_path)
    assert log.load(5) == (Record(5, "echo", b"k", b"v"),)
    log.close()
