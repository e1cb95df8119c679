"""A durable file is old or new, never a mixture, and leaves nothing else behind."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from meridian.errors import InvalidInput, NotFound, StorageFailure
from meridian.node.durable_file import file_identity, read_whole, write_durably


def test_what_was_written_is_read_back_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_durably(path, b"a longer first version")
    write_durably(path, b"second")
    assert read_whole(path) == b"second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_the_mode_is_set_before_the_name_appears(tmp_path: Path) -> None:
    write_durably(tmp_path / "secret", b"x", mode=0o600)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    write_durably(tmp_path / "public", b"x")
    assert (tmp_path / "public").stat().st_mode & 0o777 == 0o644


def test_file_then_name_then_directory_are_synced_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    path = tmp_path / "state"

    def fsync(descriptor: int) -> None:
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        events.append(f"{'directory' if is_directory else 'file'}, named: {path.exists()}")

    monkeypatch.setattr("meridian.node.durable_file.os.fsync", fsync)
    write_durably(path, b"x")
    assert events == ["file, named: False", "directory, named: True"]


def test_a_failed_write_keeps_the_earlier_file_and_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    write_durably(path, b"earlier")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("meridian.node.durable_file.os.fsync", fail)
    with pytest.raises(StorageFailure, match="No space"):
        write_durably(path, b"later")
    assert path.read_bytes() == b"earlier"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


def test_a_missing_directory_is_a_storage_failure(tmp_path: Path) -> None:
    with pytest.raises(StorageFailure):
        write_durably(tmp_path / "absent" / "state", b"x")


def test_reading_what_is_absent_too_long_or_a_directory_names_the_reason(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_whole(tmp_path / "absent")
    (tmp_path / "long").write_bytes(bytes(11))
    with pytest.raises(InvalidInput, match="longer than 10"):
        read_whole(tmp_path / "long", max_bytes=10)
    with pytest.raises(StorageFailure):
        read_whole(tmp_path)


def test_the_identity_of_a_file_outlives_writes_and_moves_and_no_copy_has_it(
    tmp_path: Path,
) -> None:
    first = tmp_path / "first"
    first.write_bytes(b"1")
    identity = file_identity(first)
    with first.open("ab") as file:
        file.write(b"more")
    first.rename(tmp_path / "moved")
    assert file_identity(tmp_path / "moved") == identity
    shutil.copy2(tmp_path / "moved", first)
    assert file_identity(first) != identity
    # The freed inode is at hand for the file that takes the place: its number alone would not do.
    (tmp_path / "moved").unlink()
    shutil.copy2(first, tmp_path / "moved")
    assert file_identity(tmp_path / "moved") != identity
    with pytest.raises(StorageFailure):
        file_identity(tmp_path / "nobody")
