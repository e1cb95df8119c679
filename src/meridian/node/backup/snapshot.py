"""A copy of a whole directory as of one moment, beside the process that writes to it.

The order is what makes the copies fit together, because it is the reverse of the order in which they are written: the
publication and all plain files (again until none changed meanwhile), files that grow, journals and databases, an embedded
chain, and the job log last, from which everything before it follows.
"""

import contextlib
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from meridian.errors import InvalidInput, StorageFailure
from meridian.measure.epoch_log import Checkpoint
from meridian.node.backup.copying import HeldLog, copy_database, copy_growing, is_database
from meridian.node.backup.manifest import Kind, LeftOut, check_path
from meridian.node.encrypted_key import create_encrypted_key
from meridian.node.ephemera.home import STORAGE_FILE
from meridian.node.evaluator.safety import SAFETY_LOG
from meridian.node.keystore import read_secret
from meridian.node.observe_mark import OBSERVE_FILE
from meridian.node.witness.service import MEMORY_NAME
from meridian.primitives.keys import PrivateKey

_TRIES: Final = 300
_PAUSE_S: Final = 0.1
_SMALL_BYTES: Final = 8192
_SECRET: Final = re.compile(rb"(0x)?[0-9a-fA-F]{64}\s*")
_SEALED: Final = "sealed"

Signature = tuple[int, int, int]
"""Inode, bytes, time of change: a plain file with the same one was not written to."""


@dataclass(frozen=True, slots=True)
class Passphrase:
    """How keys are put under a passphrase."""

    text: str
    rounds: int | None = None
    """scrypt's n; None: the keystore's own."""


@dataclass(slots=True)
class Copy:
    """What was copied into a directory of ours."""

    kinds: dict[str, Kind] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    directories: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def omissions(self) -> tuple[LeftOut, ...]:
        """Return what was left out, by path."""
        return tuple(LeftOut(path=p, reason=r) for p, r in sorted(self.left_out.items()))


def copy_directory(source: Path, target: Path, passphrase: Passphrase | None) -> Copy:
    """Copy a directory of a running or stopped process.

    Args:
        source: What is copied; nothing in it is changed.
        target: An empty directory.
        passphrase: For its keys; without one they are left out.

    Raises:
        InvalidInput: If a key is readable by others, or a name cannot be kept.
        StorageFailure: If a part is damaged, or changes all the time.
    """
    copy = Copy()
    with contextlib.ExitStack() as stack:
        logs = [HeldLog(path) for path in _job_logs(source)]
        for log in logs:
            stack.callback(log.close)
        late: dict[str, Path] = {}
        _copy_plain(source, target, copy, late, passphrase)
        _copy_late(target, copy, late)
        for log in logs:
            folder = log.directory.relative_to(source).as_posix()
            (target / folder).mkdir(parents=True, exist_ok=True)
            for name in log.copy(target / folder):
                path = name if folder == "." else f"{folder}/{name}"
                copy.kinds[path], copy.modes[path] = Kind.JOB_LOG, 0o600
    return copy


def _job_logs(source: Path) -> list[Path]:
    return sorted({path.parent for path in source.rglob("jobs-*.log")})


def _walk(source: Path, copy: Copy) -> Iterator[tuple[str, Path, Signature]]:
    """Yield the files that are worth a copy, and note the directories."""
    copy.directories.clear()
    for folder, names, files in _folders(source):
        relative = folder.relative_to(source).as_posix()
        for name in sorted(names):
            path = _joined(relative, name)
            check_path(path)
            if (folder / name).is_symlink():
                raise InvalidInput(path, "is a symbolic link; back up what it leads to by itself")
            if name == _SEALED and any((folder / "log").glob("jobs-*.log")):
                copy.left_out[path] = "made again from the segments when it is needed"
                names.remove(name)
                continue
            with contextlib.suppress(FileNotFoundError):
                copy.directories[path] = stat.S_IMODE((folder / name).stat().st_mode) & 0o777
        for name in sorted(files):
            if _is_transient(name):
                continue
            path = _joined(relative, name)
            check_path(path)
            with contextlib.suppress(FileNotFoundError):
                found = (folder / name).lstat()
                if stat.S_ISLNK(found.st_mode):
                    raise InvalidInput(
                        path, "is a symbolic link; back up what it leads to by itself"
                    )
                if stat.S_ISREG(found.st_mode):
                    copy.modes[path] = stat.S_IMODE(found.st_mode) & 0o777
                    yield path, folder / name, (found.st_ino, found.st_size, found.st_mtime_ns)


def _folders(source: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    for folder, names, files in os.walk(source):
        yield Path(folder), names, files


def _joined(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def _is_transient(name: str) -> bool:
    """Whether a file means nothing without its process: locks, halves of writes, SQLite's own, and job logs."""
    return (
        name == "lock"
        or name.endswith((".lock", "-wal", "-shm", "-journal"))
        or (name.startswith(".") and name.endswith(".tmp"))
        or (name.startswith("jobs-") and name.endswith(".log"))
    )


def _copy_plain(
    source: Path, target: Path, copy: Copy, late: dict[str, Path], passphrase: Passphrase | None
) -> None:
    """Copy plain files until a look behind shows what the look before had shown; note those whose turn is later."""
    done: dict[str, Signature] = {}
    for _ in range(_TRIES):
        found = {path: (file, signature) for path, file, signature in _walk(source, copy)}
        changed = [path for path, (_, signature) in found.items() if done.get(path) != signature]
        gone = [path for path in done if path not in found]
        if not [path for path in changed if path not in late] and not gone:
            return
        for path in gone:
            del done[path]
            (target / path).unlink(missing_ok=True)
            for known in (copy.kinds, copy.modes, copy.left_out, late):
                known.pop(path, None)
        for path in copy.directories:
            (target / path).mkdir(parents=True, exist_ok=True)
        for path in changed:
            file, signature = found[path]
            with contextlib.suppress(FileNotFoundError):
                _copy_one(path, file, target / path, copy, late, passphrase)
                done[path] = signature
        time.sleep(0 if len(changed) > 1000 else _PAUSE_S / 10)
    raise StorageFailure(f"{source}: files change all the time, such as {changed[0]}")


def _copy_one(
    path: str,
    file: Path,
    target: Path,
    copy: Copy,
    late: dict[str, Path],
    passphrase: Passphrase | None,
) -> None:
    if is_database(file) or file.suffix in {".log", ".jsonl"}:
        late[path] = file
        return
    kind = _kind_of(file)
    target.unlink(missing_ok=True)
    copy.left_out.pop(path, None)
    copy.kinds.pop(path, None)
    if file.name == OBSERVE_FILE:
        copy.left_out[path] = "it speaks of the very file beside it, not of a copy"
    elif kind in {Kind.KEY, Kind.WALLET} and passphrase is None:
        copy.left_out[path] = "a key; backed up with --with-keys"
    elif kind is Kind.KEY:
        assert passphrase is not None, "decided above"
        secret = PrivateKey(read_secret(file))
        create_encrypted_key(target, secret, passphrase.text, rounds=passphrase.rounds)
        copy.kinds[path] = kind
    else:
        shutil.copyfile(file, target)
        copy.kinds[path] = kind


def _kind_of(file: Path) -> Kind:
    """Return what a plain file is, by what is in it."""
    found = file.stat()
    if file.name == MEMORY_NAME:
        return Kind.COSIGNED
    if found.st_size > _SMALL_BYTES:
        return Kind.FILE
    data = file.read_bytes()
    private = not found.st_mode & 0o077
    if _SECRET.fullmatch(data) and (private or file.suffix == ".key"):
        return Kind.KEY
    if data.lstrip().startswith(b"{"):
        with contextlib.suppress(msgspec.DecodeError):
            document = msgspec.json.decode(data)
            if isinstance(document, dict) and {"crypto", "version"} <= document.keys():
                return Kind.WALLET
    with contextlib.suppress(InvalidInput, UnicodeDecodeError):
        Checkpoint.parse(data.decode())
        return Kind.SIGNED_STATE
    return Kind.FILE


def _copy_late(target: Path, copy: Copy, late: dict[str, Path]) -> None:
    """Copy what grows, then databases, those of chains last."""
    order = sorted(
        late, key=lambda path: (path.endswith("chain.sqlite"), is_database(late[path]), path)
    )
    for path in order:
        (target / path).unlink(missing_ok=True)
        if not is_database(late[path]):
            copy_growing(late[path], target / path)
            copy.kinds[path] = Kind.GROWING
            continue
        chain = copy_database(late[path], target / path)
        safety = late[path].name in {SAFETY_LOG, STORAGE_FILE}
        copy.kinds[path] = Kind.CHAIN if chain else Kind.SAFETY if safety else Kind.DATABASE
