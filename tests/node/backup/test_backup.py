"""Backups of running processes, and what restoring one must never allow."""

import contextlib
import hashlib
import io
import itertools
import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from meridian.ephemera.effects import Record
from meridian.errors import InvalidInput, StorageFailure
from meridian.node.backup.archive import create, read
from meridian.node.backup.copying import copy_database
from meridian.node.backup.manifest import Entry, Kind, Manifest, Risk
from meridian.node.backup.restoring import RECEIPTS_SKIPPED, restore
from meridian.node.backup.snapshot import Passphrase
from meridian.node.chain.store import ChainStore
from meridian.node.evaluator.safety import observe_through, open_safety_log, set_up
from meridian.node.keystore import load_or_create_secret
from meridian.node.measure.fsck import check as fsck
from meridian.node.observe_mark import OBSERVE_FILE
from meridian.node.safety_log import SafetyLog
from meridian.node.witness.memory import Memory
from meridian.primitives.ids import Address
from node.measure.measure_world import CALENDAR, Process, lines, make_config, record

NETWORK, MEMBER = bytes(32), Address(b"\x11" * 20)


def meridian(*arguments: object) -> dict[str, Any]:
    """Run a command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "meridian.cli.main", *map(str, arguments), "--json"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def body(number: int) -> bytes:
    """Return a batch of 50 jobs of epoch 6."""
    start = 100_000 + 50 * number
    return lines(record(at, second=3700) for at in range(start, start + 50))


def test_a_measure_service_killed_under_load_goes_on_from_a_backup_taken_while_it_ran(
    tmp_path: Path,
) -> None:
    config = make_config(tmp_path)
    process = Process(tmp_path, config)
    client = process.client()
    client.set_clock(CALENDAR.end_us(6))
    client.submit(lines(record(at) for at in range(50)))
    client.seal(5)
    client.wait_committed(5)
    acknowledged: list[Any] = []
    stopping = threading.Event()

    def load() -> None:
        with contextlib.suppress(Exception):  # the service is killed under it
            for number in itertools.count():
                if stopping.is_set():
                    return
                acknowledged.append(client.submit(body(number)))

    client = process.client(patience_s=0.1)
    loader = threading.Thread(target=load)
    loader.start()
    while len(acknowledged) < 5:
        stopping.wait(0.01)
    before = len(acknowledged)
    made = meridian("backup", "create", config.data_dir, tmp_path / "one.tar.zst")
    assert len(acknowledged) > before, "it was under load"
    process.kill()
    stopping.set()
    loader.join()
    assert made["kinds"]["job-log"] == 1
    meridian("backup", "check", tmp_path / "one.tar.zst")

    config.data_dir.rename(tmp_path / "lost")
    told = meridian("backup", "restore", tmp_path / "one.tar.zst", config.data_dir)
    assert any("acknowledged after" in note for note in told["notes"])
    assert list(fsck(config.data_dir, lambda _: None)) == []
    process = Process(tmp_path, config)
    client = process.client()
    again = [client.submit(body(number)) for number in range(before)]
    assert again == acknowledged[:before], "known: the same answers, with the same receipts"
    fresh = [client.submit(body(number)) for number in range(before, len(acknowledged) + 1)]
    given_out = {one.receipt.receipt.sequence for one in acknowledged}
    for answer in fresh:
        number = answer.receipt.receipt.sequence
        assert number >= RECEIPTS_SKIPPED or answer in acknowledged, (number, max(given_out))
    assert fresh[-1].receipt.receipt.sequence >= RECEIPTS_SKIPPED
    client.seal(6)
    client.wait_committed(6)
    assert process.stop() == 0
    assert list(fsck(config.data_dir, lambda _: None)) == []


def test_an_evaluator_restored_from_before_an_epoch_does_not_sign_it_again(tmp_path: Path) -> None:
    home = tmp_path / "one"
    set_up(home, NETWORK, MEMBER)
    create(home, tmp_path / "one.tar")
    safety = open_safety_log(home, NETWORK, MEMBER)
    assert observe_through(home, safety, [5]) == -1, "it signs in epoch 5"
    safety.write([Record(5, "vote", b"", b"for")])
    safety.close()
    shutil.rmtree(home)
    manifest, decision = restore(tmp_path / "one.tar", home)
    assert [one.kind for one in manifest.files] == [Kind.SAFETY]
    assert [one.path for one in manifest.left_out] == [OBSERVE_FILE]
    assert "take no part" in decision.notes[0]
    for committed in ([5], [5, 6], [5, 6, 7]):
        safety = open_safety_log(home, NETWORK, MEMBER)
        assert observe_through(home, safety, committed) == 5, "not in 5, and in 6 and 7 again"
        safety.close()


def test_a_database_that_another_process_holds_is_copied_with_all_that_was_durable(
    tmp_path: Path,
) -> None:
    """The safety log is locked for its process alone; the copy may not need that lock, nor take it away."""
    script = (
        "import sys, pathlib; from meridian.node.safety_log import SafetyLog;"
        "from meridian.ephemera.effects import Record; from meridian.primitives.ids import Address\n"
        "log = SafetyLog(pathlib.Path(sys.argv[1]), network=bytes(32), member=Address(b'\\x11' * 20))\n"
        "number = 0\n"
        "while True:\n"
        "    log.write([Record(number, 'echo', b'', bytes(20_000))]); print(number, flush=True); number += 1\n"
    )
    path = tmp_path / "safety.sqlite"
    writer = subprocess.Popen(
        [sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    reader = threading.Thread(target=lambda: numbers.extend(map(int, writer.stdout or ())))
    numbers: list[int] = []
    reader.start()
    while len(numbers) < 3:
        reader.join(0.01)
    for copied in range(8):  # the log is begun anew every few hundred pages
        known = numbers[-1]
        copy_database(path, tmp_path / f"{copied}.sqlite")
        with contextlib.closing(
            SafetyLog(tmp_path / f"{copied}.sqlite", network=NETWORK, member=MEMBER)
        ) as log:
            epochs = log.epochs()
        assert epochs == tuple(range(len(epochs)))
        assert len(epochs) > known
    assert writer.poll() is None
    writer.kill()
    writer.wait()
    reader.join()
    writer.stdout.close()


def test_a_database_without_a_write_ahead_log_is_copied_too(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "one.sqlite")) as one:
        one.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (7);")
    assert copy_database(tmp_path / "one.sqlite", tmp_path / "two.sqlite") is False
    with contextlib.closing(sqlite3.connect(tmp_path / "two.sqlite")) as two:
        assert two.execute("SELECT x FROM t").fetchall() == [(7,)]
    (tmp_path / "one.sqlite").write_bytes((tmp_path / "one.sqlite").read_bytes()[:5000])
    with pytest.raises(StorageFailure, match=r"one\.sqlite"):
        copy_database(tmp_path / "one.sqlite", tmp_path / "three.sqlite")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with some of everything."""
    home = tmp_path / "home"
    (home / "public" / "empty").mkdir(parents=True)
    (home / "public" / "a").write_bytes(b"some content that stands in the archive" * 30)
    (home / "public" / "a").chmod(0o640)
    (home / "events.jsonl").write_bytes(b'{"a": 1}\n{"b"')
    load_or_create_secret(home / "own.key")
    (home / "own.key.signed").write_text(f"log\n3\n{'A' * 43}=\n")
    (home / "x.lock").touch()
    return home


@pytest.mark.parametrize("ending", ["tar", "tar.zst"])
def test_files_come_back_with_their_modes_and_nothing_is_overwritten(
    home: Path, tmp_path: Path, ending: str
) -> None:
    file = tmp_path / f"one.{ending}"
    made = create(home, file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert read(file) == made
    with pytest.raises(InvalidInput, match="exists already"):
        create(home, file)
    restore(file, tmp_path / "two")
    assert (tmp_path / "two/public/a").read_bytes() == (home / "public/a").read_bytes()
    assert (tmp_path / "two/public/a").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "two/public/empty").is_dir()
    assert (tmp_path / "two/events.jsonl").read_bytes() == b'{"a": 1}\n'
    assert not {"own.key", "own.key.signed", "x.lock"} & {
        p.name for p in (tmp_path / "two").iterdir()
    }
    with pytest.raises(InvalidInput, match="nothing is overwritten"):
        restore(file, tmp_path / "two")
    assert not list(tmp_path.glob(".*")), "nothing is left over"


def test_keys_come_only_when_asked_for_and_only_under_a_passphrase(
    home: Path, tmp_path: Path
) -> None:
    create(home, tmp_path / "one.tar", Passphrase("a b c", rounds=2))
    secret = (home / "own.key").read_bytes()
    assert secret.strip() not in (tmp_path / "one.tar").read_bytes()
    with pytest.raises(InvalidInput, match="passphrase is wrong"):
        restore(tmp_path / "one.tar", tmp_path / "two", passphrase=lambda: "b")
    restore(tmp_path / "one.tar", tmp_path / "two", passphrase=lambda: "a b c")
    assert (tmp_path / "two/own.key").read_bytes() == secret
    assert (tmp_path / "two/own.key").stat().st_mode & 0o777 == 0o600
    (home / "own.key").chmod(0o644)
    with pytest.raises(InvalidInput, match="others may read"):
        create(home, tmp_path / "three.tar", Passphrase("a b c", rounds=2))


def test_a_damaged_backup_is_refused_with_the_name_of_what_is_damaged(
    home: Path, tmp_path: Path
) -> None:
    create(home, tmp_path / "one.tar")
    good = (tmp_path / "one.tar").read_bytes()
    for name, at in {
        "public/a": good.index(b"some content"),
        "manifest.json": good.index(b"made_at_s"),
        "events.jsonl": good.index(b"files/events.jsonl"),
    }.items():
        (tmp_path / "bad.tar").write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        for refused in (read, lambda file: restore(file, tmp_path / "two")):
            with pytest.raises(InvalidInput, match=name):
                refused(tmp_path / "bad.tar")
        assert not (tmp_path / "two").exists()
    create(home, tmp_path / "one.tar.zst")
    packed = (tmp_path / "one.tar.zst").read_bytes()
    for bad in (packed[: len(packed) // 2], b"nothing", good[: good.index(b"some content") + 9]):
        (tmp_path / "bad.tar").write_bytes(bad)
        with pytest.raises(InvalidInput, match=r"bad\.tar|public/a|manifest"):
            read(tmp_path / "bad.tar")


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "a//x", ".", "", "a\\x", "x\0", "b/x"])
def test_paths_that_would_leave_the_directory_are_refused(path: str, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    entry = Entry(path=path, kind=Kind.FILE, mode=0o644, bytes=1, sha256=digest)
    text = Manifest(made_at_s=1, directories=(), files=(entry,)).encode()
    with tarfile.open(tmp_path / "bad.tar", "w") as bad:
        for name, data in (
            ("manifest.json", text),
            ("manifest.sha256", hashlib.sha256(text).hexdigest().encode()),
            (f"files/{path}", b"x"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            bad.addfile(member, io.BytesIO(data))
    with pytest.raises(InvalidInput, match=r"no path|outside"):
        restore(tmp_path / "bad.tar", tmp_path / "inner" / "two")
    assert [one.name for one in tmp_path.iterdir()] == ["bad.tar"]


def test_a_link_in_the_directory_is_refused(home: Path, tmp_path: Path) -> None:
    (home / "public" / "out").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInput, match="public/out"):
        create(home, tmp_path / "one.tar")


def test_what_nothing_can_guard_against_must_be_accepted_by_name(
    home: Path, tmp_path: Path
) -> None:
    Memory.create(home / "cosigned.json")
    create(home, tmp_path / "one.tar")
    with pytest.raises(InvalidInput, match="second-history"):
        restore(tmp_path / "one.tar", tmp_path / "two")
    restore(tmp_path / "one.tar", tmp_path / "two", [Risk.SECOND_HISTORY])
    assert (tmp_path / "two/own.key.signed").exists()


def test_an_embedded_chain_goes_back_only_when_told_so(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    ChainStore(tmp_path / "home" / "any.sqlite").close()
    made = create(tmp_path / "home", tmp_path / "one.tar")
    assert [(one.path, one.kind) for one in made.files] == [("any.sqlite", Kind.CHAIN)]
    with pytest.raises(InvalidInput, match="rewound-chain"):
        restore(tmp_path / "one.tar", tmp_path / "two")
    words = ["backup", "restore", tmp_path / "one.tar", tmp_path / "two"]
    told = meridian(*words, "--accept-risk", "rewound-chain")
    assert told["kinds"] == {"chain": 1}
    ChainStore(tmp_path / "two" / "any.sqlite").close()
