"""What a sender keeps of its batches: which were acknowledged, their receipts, and what is needed to prove an omission.

A directory holds ``receipts.sqlite`` and ``seed.key``, the secret from which the seed of every batch follows. So a
batch that is sent again after a crash, from the same bytes, is the same batch, and gets the same receipt.

Law: an answer is durable here before anybody is told of it (WAL, ``synchronous=FULL``). The jobs of a batch are kept
until `drop_jobs`; they take at most `bytes_max`, beyond which nothing more is kept, because a receipt without its jobs
proves nothing. Several processes may read and write at once.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa

from meridian.errors import InvalidInput, NotFound, StorageFailure
from meridian.measure.explain import Rejection
from meridian.measure.receipt import SignedReceipt
from meridian.node.durable_file import sync_directory, write_durably
from meridian.node.keystore import load_or_create_secret
from meridian.primitives.hashing import sha256

FILE_NAME: Final = "receipts.sqlite"
BYTES_MAX: Final = 64 << 30
"""Most bytes of jobs that are kept where nothing else is said."""
BUSY_S: Final = 30.0
_APPLICATION_ID: Final = 0x4D525250  # "MRRP"
_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE batch (
    id INTEGER PRIMARY KEY,
    batch BLOB NOT NULL UNIQUE,
    seed BLOB NOT NULL,
    source TEXT NOT NULL,
    first INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    accepted INTEGER NOT NULL,
    duplicates INTEGER NOT NULL,
    rejected BLOB NOT NULL,
    receipt BLOB,
    first_epoch INTEGER,
    deadline INTEGER,
    verdict INTEGER NOT NULL,
    found BLOB NOT NULL DEFAULT X''
) STRICT;
CREATE INDEX open_batches ON batch (verdict, deadline);
CREATE TABLE jobs (id INTEGER PRIMARY KEY REFERENCES batch (id), form INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE kept (bytes INTEGER NOT NULL) STRICT;
INSERT INTO kept VALUES (0);
"""
_COLUMNS: Final = (
    "id, batch, seed, source, first, content_type, accepted, duplicates, rejected, receipt,"
    " first_epoch, deadline, verdict, found"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM batch"  # noqa: S608 - constants


class Verdict(IntEnum):
    """What became of a batch's promise."""

    NOTHING = 0
    """Nothing was accepted: nothing is promised."""
    PENDING = 1
    """The deadline's epoch is not committed yet, or nobody has looked."""
    COUNTED = 2
    """Every job was found under a committed root."""
    MISSING = 3
    """At least one job stands in no epoch up to the deadline."""


class Form(IntEnum):
    """How the jobs of a batch are kept."""

    PROMISED = 0
    """`promised.PROMISED_COLUMNS`, under the receipt's root."""
    BODY = 1
    """The batch's own bytes: there was no schema with which to check the receipt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBatch:
    """One batch and its answer."""

    batch: bytes
    """Its name (`batch_signature.batch_name`)."""
    seed: bytes
    source: str
    """The file that it came from."""
    first: int
    """Line, or number, of its first record there."""
    content_type: str
    accepted: int
    duplicates: int
    rejected: tuple[Rejection, ...] = ()
    receipt: SignedReceipt | None = None
    first_epoch: int | None = None
    """The first epoch in which a job of it may stand; None: unknown."""
    verdict: Verdict = Verdict.PENDING
    found: dict[int, int] | None = None
    """Epoch -> jobs that were found in it."""
    number: int = 0
    """In the store."""

    @property
    def deadline(self) -> int | None:
        """The last epoch in which a job of it may stand; None where nothing is promised."""
        return None if self.receipt is None else self.receipt.receipt.deadline_epoch


class ReceiptStore:
    """The open store; calls may come from any thread.

    Args:
        directory: Made when absent, if `create`.
        create: Whether a new store may be made.
        bytes_max: Most bytes of jobs that are kept.

    Raises:
        NotFound: If there is no store, and none may be made.
        StorageFailure: If it cannot be opened.
    """

    def __init__(self, directory: Path, *, create: bool = True, bytes_max: int = BYTES_MAX) -> None:
        self.directory, self._bytes_max = directory, bytes_max
        self._path = directory / FILE_NAME
        self._lock = threading.Lock()
        if not create and not self._path.is_file():
            raise NotFound(f"{directory}: no receipts here; `meridian submit` keeps them")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._open()
        except (sqlite3.Error, OSError) as error:
            raise StorageFailure(f"{self._path}: {error}") from error
        self._secret = load_or_create_secret(directory / "seed.key")

    def _open(self) -> None:
        run = self._connection.execute
        (mode,) = run("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise StorageFailure(f"{self._path}: the file system offers journal mode {mode}")
        run("PRAGMA synchronous=FULL")
        run("BEGIN IMMEDIATE")
        (application,) = run("PRAGMA application_id").fetchone()
        (version,) = run("PRAGMA user_version").fetchone()
        if (application, version) == (0, 0):
            for statement in _SCHEMA.split(";\n"):
                run(statement)
            run(f"PRAGMA application_id={_APPLICATION_ID}")
            run(f"PRAGMA user_version={_VERSION}")
        run("COMMIT")
        if (application, version) == (0, 0):
            sync_directory(self.directory)
        elif (application, version) != (_APPLICATION_ID, _VERSION):
            raise StorageFailure(
                f"{self._path}: this is no store of receipts of version {_VERSION}"
            )

    def close(self) -> None:
        """Close the store; everything written is durable already."""
        with self._lock:
            self._connection.close()

    def seed_of(self, body: bytes) -> bytes:
        """Return the seed of a batch with this body: always the same, and unknown to others until it is sent."""
        return sha256(self._secret, sha256(body))

    # -- writing ----------------------------------------------------------------------------------

    def keep(self, kept: KeptBatch, form: Form, jobs: bytes) -> None:
        """Keep a batch, its answer and its jobs, durably; one that is kept already stays as it is.

        Args:
            kept: The batch; its `number` and `found` are the store's own.
            form: Of the jobs.
            jobs: The jobs; empty where nothing is promised.

        Raises:
            StorageFailure: If the disk refuses, or there is no room for more jobs.
        """
        receipt = None if kept.receipt is None else msgspec.json.encode(kept.receipt.document())
        rejected = msgspec.json.encode([_rejection_words(one) for one in kept.rejected])
        data = _packed(jobs) if form is Form.BODY else jobs
        values = (
            kept.batch, kept.seed, kept.source, kept.first, kept.content_type, kept.accepted,
            kept.duplicates, _packed(rejected), receipt,
            kept.first_epoch, kept.deadline, kept.verdict,
        )  # fmt: skip

        def work(run: Any) -> None:
            if run("SELECT 1 FROM batch WHERE batch = ?", (kept.batch,)).fetchone():
                return
            (held,) = run("SELECT bytes FROM kept").fetchone()
            if held + len(data) > self._bytes_max:
                raise StorageFailure(
                    f"{self._path}: {held} bytes of jobs wait for their check, which is the most;"
                    " `meridian receipt check` lets go of those that are counted"
                )
            names = _COLUMNS.removeprefix("id, ").removesuffix(", found")
            marks = ", ".join("?" * len(values))
            number = run(f"INSERT INTO batch ({names}) VALUES ({marks})", values).lastrowid  # noqa: S608 - constants
            if jobs:
                run("INSERT INTO jobs VALUES (?, ?, ?)", (number, form, data))
                run("UPDATE kept SET bytes = bytes + ?", (len(data),))

        self._write(work)

    def keep_broken(self, name: bytes, document: dict[str, Any]) -> Path:
        """Keep a receipt that does not hold, as a file for people; return its path."""
        path = self.directory / f"broken-{name.hex()}.json"
        write_durably(path, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
        return path

    def complete(self, number: int, first_epoch: int, jobs: bytes) -> None:
        """Keep the promised jobs of a batch (`Form.PROMISED`) in the place of its body."""

        def work(run: Any) -> None:
            (held,) = run("SELECT length(data) FROM jobs WHERE id = ?", (number,)).fetchone()
            run("UPDATE jobs SET form = ?, data = ? WHERE id = ?", (Form.PROMISED, jobs, number))
            run("UPDATE batch SET first_epoch = ? WHERE id = ?", (first_epoch, number))
            run("UPDATE kept SET bytes = bytes + ?", (len(jobs) - held,))

        self._write(work)

    def settle(self, number: int, verdict: Verdict, found: dict[int, int]) -> None:
        """Note what became of a batch's promise, and in which epochs its jobs were found."""
        words = msgspec.json.encode({str(epoch): count for epoch, count in found.items()})
        self._write(
            lambda run: run(
                "UPDATE batch SET verdict = ?, found = ? WHERE id = ?", (verdict, words, number)
            )
        )

    def drop_jobs(self, before: int) -> int:
        """Let go of the jobs of batches that were counted and whose deadline is before an epoch; return how many batches."""

        def work(run: Any) -> int:
            values = (Verdict.COUNTED, before)
            total, batches = run(
                "SELECT coalesce(sum(length(data)), 0), count(*) FROM jobs"
                " WHERE id IN (SELECT id FROM batch WHERE verdict = ? AND deadline < ?)",
                values,
            ).fetchone()
            run(
                "DELETE FROM jobs"
                " WHERE id IN (SELECT id FROM batch WHERE verdict = ? AND deadline < ?)",
                values,
            )
            run("UPDATE kept SET bytes = bytes - ?", (total,))
            return int(batches)

        return int(self._write(work))

    # -- reading ----------------------------------------------------------------------------------

    def batch(self, name: bytes) -> KeptBatch | None:
        """Return a batch by its name, None if it is not kept."""
        rows = self._read(f"{_SELECT} WHERE batch = ?", name)
        return _kept(rows[0]) if rows else None

    def batches(
        self, verdicts: Sequence[Verdict] = tuple(Verdict), after: int = 0
    ) -> Iterator[KeptBatch]:
        """Yield the batches with one of some verdicts and a number above `after`, oldest first."""
        marks = ", ".join("?" * len(verdicts))
        while rows := self._read(
            f"{_SELECT} WHERE verdict IN ({marks}) AND id > ? ORDER BY id LIMIT 1000",
            *verdicts,
            after,
        ):
            yield from map(_kept, rows)
            after = rows[-1][0]

    def matching(self, prefix: str) -> list[KeptBatch]:
        """Return the batches whose name begins with some hex digits, at most 10."""
        rows = self._read(
            f"{_SELECT} WHERE hex(batch) LIKE ? LIMIT 10",
            prefix.upper().replace("%", "").replace("_", "") + "%",
        )
        return [_kept(row) for row in rows]

    def jobs(self, number: int) -> tuple[Form, bytes] | None:
        """Return the jobs of a batch and their form; None if they were let go."""
        rows = self._read("SELECT form, data FROM jobs WHERE id = ?", number)
        if not rows:
            return None
        form, data = Form(rows[0][0]), bytes(rows[0][1])
        return form, _unpacked(data) if form is Form.BODY else data

    def kept_bytes(self) -> int:
        """Return how many bytes of jobs are kept."""
        return int(self._read("SELECT bytes FROM kept")[0][0])

    # -- inside -----------------------------------------------------------------------------------

    def _write(self, work: Any) -> Any:
        with self._lock:
            run = self._connection.execute
            try:
                run("BEGIN IMMEDIATE")
                try:
                    result = work(run)
                except BaseException:
                    run("ROLLBACK")
                    raise
                run("COMMIT")
            except (sqlite3.Error, OverflowError) as error:
                raise StorageFailure(f"{self._path}: {error}") from error
            return result

    def _read(self, sql: str, *values: object) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise StorageFailure(f"{self._path}: {error}") from error


def _kept(row: tuple[Any, ...]) -> KeptBatch:
    try:
        rejected = _unpacked(row[8])
        found = msgspec.json.decode(row[13], type=dict[int, int]) if row[13] else None
        receipt = row[9]
        return KeptBatch(
            number=row[0],
            batch=row[1],
            seed=row[2],
            source=row[3],
            first=row[4],
            content_type=row[5],
            accepted=row[6],
            duplicates=row[7],
            rejected=tuple(Rejection(*words) for words in msgspec.json.decode(rejected)),
            receipt=None if receipt is None else SignedReceipt.read(msgspec.json.decode(receipt)),
            first_epoch=row[10],
            verdict=Verdict(row[12]),
            found=found,
        )
    except (msgspec.DecodeError, InvalidInput, ValueError, TypeError, pa.ArrowException) as error:
        raise StorageFailure(f"receipt {row[0]} in the store is damaged: {error}") from error


def _packed(data: bytes) -> bytes:
    """Return bytes compressed, behind their length."""
    return len(data).to_bytes(8, "big") + bytes(pa.compress(data, "zstd", asbytes=True))


def _unpacked(data: bytes) -> bytes:
    try:
        size = int.from_bytes(data[:8], "big")
        return bytes(pa.decompress(data[8:], size, "zstd", asbytes=True))
    except (pa.ArrowException, OSError, OverflowError) as error:
        raise StorageFailure(f"the store of receipts is damaged: {error}") from error


def _rejection_words(one: Rejection) -> tuple[Any, ...]:
    return (one.index, one.job_id, one.field, one.reason, one.message, one.line)
