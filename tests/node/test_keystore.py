"""Secret keys as files: made once, whole, private, and never shown."""

import stat
import threading
from pathlib import Path

import pytest

from meridian.errors import InvalidInput, StorageFailure
from meridian.node import keystore
from meridian.node.keystore import load_or_create_key, load_or_create_secret


def write(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def test_a_missing_key_is_made_private_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "one.key"
    secret = load_or_create_secret(path)
    assert len(secret) == 32
    assert load_or_create_secret(path) == secret
    assert load_or_create_key(path).secret == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]
    assert load_or_create_secret(tmp_path / "keys" / "two.key") != secret


@pytest.mark.parametrize("text", ["ab" * 32, "AB" * 32 + "\n", " 0x" + "ab" * 32 + " \n\n"])
def test_hex_in_any_case_with_space_around_it_is_read(tmp_path: Path, text: str) -> None:
    assert load_or_create_secret(write(tmp_path / "key", text)) == b"\xab" * 32


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o610])
def test_a_key_that_others_may_touch_is_refused_and_left_as_it_is(
    tmp_path: Path, mode: int
) -> None:
    path = write(tmp_path / "key", "ab" * 32, mode)
    with pytest.raises(InvalidInput, match="chmod 600"):
        load_or_create_secret(path)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("ab" * 32, mode)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"ab" * 31, b"ab" * 33, b"xy" * 32, b"\xff\xfe" * 16, b"ab" * 32 + b"c"]
)
def test_anything_but_64_hex_digits_is_refused_unshown_and_never_overwritten(
    tmp_path: Path, content: bytes
) -> None:
    path = write(tmp_path / "key", content)
    with pytest.raises(InvalidInput) as refusal:
        load_or_create_secret(path)
    assert refusal.value.field == str(path)
    assert "ab" * 20 not in str(refusal.value), "a secret must not reach a log"
    assert path.read_bytes() == content


@pytest.mark.parametrize("number", [0, 2**256 - 1])
def test_digits_that_are_no_key_of_the_curve_are_refused(tmp_path: Path, number: int) -> None:
    path = write(tmp_path / "key", f"{number:064x}")
    with pytest.raises(InvalidInput, match="secp256k1"):
        load_or_create_key(path)


def test_a_link_to_nowhere_is_a_failure_and_not_a_new_key(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "unmounted" / "key")
    with pytest.raises(StorageFailure):
        load_or_create_secret(tmp_path / "key")
    assert not (tmp_path / "unmounted").exists()


def test_a_directory_that_cannot_be_made_is_a_storage_failure(tmp_path: Path) -> None:
    write(tmp_path / "keys", "a file")
    with pytest.raises(StorageFailure, match="keys"):
        load_or_create_secret(tmp_path / "keys" / "key")


def test_a_crash_while_a_key_is_made_leaves_no_broken_key_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file appears whole or not at all, so the next start makes a good one."""
    path = tmp_path / "key"

    def crash(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(keystore.os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        load_or_create_secret(path)
    assert not path.exists()
    monkeypatch.undo()
    assert len(load_or_create_secret(path)) == 32


def test_of_several_makers_at_once_one_wins_and_all_use_its_key(tmp_path: Path) -> None:
    found: list[bytes] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        found.append(load_or_create_secret(tmp_path / "key"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert set(found) == {load_or_create_secret(tmp_path / "key")}
    assert list(tmp_path.iterdir()) == [tmp_path / "key"]
