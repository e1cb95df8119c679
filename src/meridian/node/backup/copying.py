"""Copies of files that a running process writes: databases, job logs, files that grow.

Nothing here takes a lock of the process or writes into its directory. Do not call it in a process that has one of these
databases open: closing a file drops the locks that its process holds on it (fcntl(2)).
"""

import contextlib
import mmap
import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Final

from meridian.errors import StorageFailure
from meridian.node.measure.job_log import frame_bytes, proves_damage, read_frame

SQLITE_MAGIC: Final = b"SQLite format 3\0"
CHUNK_BYTES: Final = 4 << 20
_WAL_HEADER_BYTES: Final = 32
_MODE_AT: Final = 18
"""Where a database says how it is written: 2 is write-ahead (SQLite, Database File Format, 1.3.3)."""
_TRIES: Final = 200
_PAUSE_S: Final = 0.05
_CHAIN_TABLES: Final = frozenset({"state", "pool", "blocks", "transactions"})


def is_database(path: Path) -> bool:
    """Whether a file is an SQLite database."""
    with path.open("rb") as file:
        return file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC


def copy_database(source: Path, target: Path) -> bool:
    """Copy a database as of one moment, whoever writes to it; returns whether it is that of a chain.

    Our processes hold their databases locked, so SQLite's backup cannot read them where they are. In write-ahead mode the
    database and, after it, the log are copied as bytes: as long as the log was not begun anew meanwhile (its header has
    fresh salts then), every page that changed under our hands stands in the log too, as after a loss of power. SQLite
    recovers that copy, and backs it up into one file.

    Raises:
        StorageFailure: If it is damaged, or changes faster than it can be copied.
    """
    raw = target.with_name(f"{target.name}.raw")
    try:
        with source.open("rb") as file:
            ahead = file.read(_MODE_AT + 1)[_MODE_AT:] == b"\2"
        if ahead:
            _copy_ahead(source, raw)
        with (
            contextlib.closing(sqlite3.connect(raw if ahead else f"{source.absolute().as_uri()}?mode=ro", uri=not ahead, timeout=10.0)) as there,
            contextlib.closing(sqlite3.connect(target)) as here,
        ):  # fmt: skip
            there.backup(here)
            (verdict,) = here.execute("PRAGMA quick_check(1)").fetchone()
            tables = {name for (name,) in here.execute("SELECT name FROM sqlite_schema")}
    except sqlite3.Error as error:
        raise StorageFailure(f"{source}: {error}") from error
    finally:
        for rest in target.parent.glob(f"{target.name}.raw*"):
            rest.unlink()
    if verdict != "ok":
        raise StorageFailure(f"{source}: damaged: {verdict}")
    return tables >= _CHAIN_TABLES


def _copy_ahead(source: Path, raw: Path) -> None:
    log, raw_log = (Path(f"{path}-wal") for path in (source, raw))
    for _ in range(_TRIES):
        before = _generation(source, log)
        shutil.copyfile(source, raw)
        raw_log.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(log, raw_log)
        if _generation(source, log) == before:
            return
        time.sleep(_PAUSE_S)
    raise StorageFailure(f"{source}: is written too fast to be copied")


def _generation(source: Path, log: Path) -> tuple[object, ...]:
    """Return what stays the same while the write-ahead log only grows; without one, what changes with the database."""
    found = source.stat()
    try:
        with log.open("rb") as file:
            header = file.read(_WAL_HEADER_BYTES)
            born = os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        header, born = b"", 0
    if header:
        return found.st_ino, born, header
    return found.st_ino, born, found.st_size, found.st_mtime_ns


def copy_growing(source: Path, target: Path) -> None:
    """Copy a file that is only appended to, up to its last whole line if it has lines of JSON."""
    shutil.copyfile(source, target)
    if source.suffix == ".jsonl":
        data = target.read_bytes()
        os.truncate(target, data.rfind(b"\n") + 1)


class HeldLog:
    """The job log of a running service; its files are held from the start, also if they are deleted meanwhile.

    Args:
        directory: Of the log.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._files: dict[str, int] = {}
        self._hold()

    def _hold(self) -> None:
        for path in sorted(self.directory.glob("jobs-*.log")):
            if path.name not in self._files:
                with contextlib.suppress(FileNotFoundError):  # settled and deleted
                    self._files[path.name] = os.open(path, os.O_RDONLY)

    def copy(self, target: Path) -> list[str]:
        """Copy all of it up to its last whole frame now; returns the names.

        Whatever else was copied before follows from these frames: the service writes here first.

        Raises:
            StorageFailure: If it is damaged.
        """
        self._hold()
        names = sorted(self._files)
        for name in names:
            with (target / name).open("wb") as file:
                end = os.fstat(self._files[name]).st_size
                if name == names[-1] and end:
                    end = self._whole(name, end)
                at = 0
                while at < end:  # not in the kernel: the target may be another kind of file system
                    chunk = os.pread(self._files[name], min(CHUNK_BYTES, end - at), at)
                    if not chunk:
                        raise StorageFailure(f"{self.directory / name}: cut at byte {at} meanwhile")
                    file.write(chunk)
                    at += len(chunk)
        return names

    def _whole(self, name: str, size: int) -> int:
        """Return where the last whole frame of the first `size` bytes of a file ends."""
        mapped = mmap.mmap(self._files[name], size, prot=mmap.PROT_READ)
        data = memoryview(mapped)
        try:
            at = 0
            while at < size and _frame_holds(data, at, size):
                at += frame_bytes(bytes(data[at : at + 64])) or size
            if at < size and proves_damage(data, at, size):
                raise StorageFailure(f"{self.directory / name}: damaged at byte {at}")
        finally:
            data.release()
            mapped.close()
        return at

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()


def _frame_holds(data: memoryview, at: int, size: int) -> bool:
    found = read_frame(data, at, size)
    if found is not None:
        found[1].release()
    return found is not None
