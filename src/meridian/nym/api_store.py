"""What a Nym-Api keeps: readings, its rows, what was decided, and what it found about every accepted result."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meridian.errors import NotFound
from meridian.nym.database import Database, ReadOnlyDatabase
from meridian.nym.rows import Row, average
from meridian.primitives.ids import Address

APPLICATION: Final = 0x4D4E5941  # "MNYA"

_SCHEMA: Final = """
CREATE TABLE reading (at_ms INTEGER NOT NULL, mix_id INTEGER NOT NULL, reliability INTEGER NOT NULL,
    PRIMARY KEY (at_ms, mix_id)) STRICT, WITHOUT ROWID;
CREATE TABLE seen (epoch INTEGER PRIMARY KEY) STRICT;
CREATE TABLE averaged (epoch INTEGER PRIMARY KEY, row BLOB NOT NULL) STRICT;
CREATE TABLE decision (epoch INTEGER PRIMARY KEY, block BLOB NOT NULL, certificate BLOB NOT NULL) STRICT;
CREATE TABLE body (epoch INTEGER NOT NULL, place INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (epoch, place)) STRICT, WITHOUT ROWID;
CREATE TABLE finding (epoch INTEGER PRIMARY KEY, winner BLOB NOT NULL, holds INTEGER NOT NULL,
    detail TEXT NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """The decided block of an epoch, as bytes."""

    block: bytes
    certificate: bytes
    bodies: tuple[bytes, ...]
    """One row body for each row of the block, in its order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a Nym-Api found when an epoch was settled."""

    epoch: int
    winner: Address
    holds: bool
    """Whether the accepted result follows from what this Nym-Api holds."""
    detail: str


class ApiStore:
    """A Nym-Api's open database; restarts and crashes wipe nothing."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, APPLICATION, _SCHEMA)

    def record(self, readings: Iterable[tuple[int, int, int]]) -> None:
        """Keep readings, (time in Unix milliseconds, mixnode, 0..100); the first of an instant counts."""
        with self._database.writing() as connection:
            connection.executemany("INSERT OR IGNORE INTO reading VALUES (?, ?, ?)", readings)

    def average(self, epoch: int, start_ms: int, end_ms: int) -> Row:
        """Average the readings of a half-open interval, `start_ms` in it and `end_ms` not."""
        return read_average(self._database, epoch, start_ms, end_ms)

    def readings(self, start_ms: int, end_ms: int) -> list[tuple[int, int, int]]:
        """Return the readings of a half-open interval, (time, mixnode, 0..100), ascending."""
        rows = self._database.rows(
            "SELECT at_ms, mix_id, reliability FROM reading"
            " WHERE at_ms >= ? AND at_ms < ? ORDER BY at_ms, mix_id",
            start_ms,
            end_ms,
        )
        return [(at_ms, mixnode, value) for at_ms, mixnode, value in rows]

    def see(self, epoch: int) -> None:
        """Note that we ran in an epoch: we owe it a row, an empty one if need be."""
        with self._database.writing() as connection:
            connection.execute("INSERT OR IGNORE INTO seen VALUES (?)", (epoch,))

    def unsettled(self) -> list[int]:
        """Return the epochs that we saw and have found nothing about, ascending."""
        return unsettled_epochs(self._database)

    def has_seen(self, epoch: int) -> bool:
        """Tell whether we ran in an epoch."""
        return bool(self._database.rows("SELECT 1 FROM seen WHERE epoch = ?", epoch))

    def keep_row(self, row: bytes, epoch: int) -> bytes:
        """Keep our row of an epoch and return it; the first one stands for ever."""
        with self._database.writing() as connection:
            connection.execute("INSERT OR IGNORE INTO averaged VALUES (?, ?)", (epoch, row))
        ((kept,),) = self._database.rows("SELECT row FROM averaged WHERE epoch = ?", epoch)
        return bytes(kept)

    def keep_decision(self, epoch: int, decision: StoredDecision) -> None:
        """Keep what was decided."""
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO decision VALUES (?, ?, ?)",
                (epoch, decision.block, decision.certificate),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO body VALUES (?, ?, ?)",
                [(epoch, place, body) for place, body in enumerate(decision.bodies)],
            )

    def decided(self, count: int) -> list[int]:
        """Return the last `count` decided epochs, ascending."""
        rows = self._database.rows("SELECT epoch FROM decision ORDER BY epoch DESC LIMIT ?", count)
        return sorted(epoch for (epoch,) in rows)

    def keep_finding(self, finding: Finding) -> None:
        """Keep what we found about an accepted result."""
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO finding VALUES (?, ?, ?, ?)",
                (finding.epoch, finding.winner, finding.holds, finding.detail),
            )

    def found(self) -> set[int]:
        """Return the epochs that we have found something about."""
        return {epoch for (epoch,) in self._database.rows("SELECT epoch FROM finding")}

    def close(self) -> None:
        """Release the database."""
        self._database.close()


def unsettled_epochs(database: Database | ReadOnlyDatabase) -> list[int]:
    """Return the epochs that a Nym-Api saw and has found nothing about, ascending."""
    rows = database.rows(
        "SELECT epoch FROM seen WHERE epoch NOT IN (SELECT epoch FROM finding) ORDER BY epoch"
    )
    return [epoch for (epoch,) in rows]


def seen_epochs(database: ReadOnlyDatabase) -> set[int]:
    """Return the epochs in which a Nym-Api ran."""
    return {epoch for (epoch,) in database.rows("SELECT epoch FROM seen")}


def read_findings(database: ReadOnlyDatabase) -> dict[int, Finding]:
    """Return all findings of a Nym-Api, by epoch."""
    rows = database.rows("SELECT epoch, winner, holds, detail FROM finding")
    return {
        epoch: Finding(epoch, Address(winner), bool(holds), detail)
        for epoch, winner, holds, detail in rows
    }


def read_row(database: ReadOnlyDatabase, epoch: int) -> bytes:
    """Return a Nym-Api's own row; raises NotFound if it has none."""
    found = database.rows("SELECT row FROM averaged WHERE epoch = ?", epoch)
    if not found:
        raise NotFound(f"no row of epoch {epoch}")
    return bytes(found[0][0])


def read_average(
    database: Database | ReadOnlyDatabase, epoch: int, start_ms: int, end_ms: int
) -> Row:
    """Average the readings of a half-open interval, `start_ms` in it and `end_ms` not."""
    sums = database.rows(
        "SELECT mix_id, SUM(reliability), COUNT(*) FROM reading"
        " WHERE at_ms >= ? AND at_ms < ? GROUP BY mix_id",
        start_ms,
        end_ms,
    )
    return average(epoch, ((node, total, count) for node, total, count in sums))


def read_decision(database: ReadOnlyDatabase, epoch: int) -> StoredDecision:
    """Return what a Nym-Api holds of a decision; raises NotFound if it has none."""
    found = database.rows("SELECT block, certificate FROM decision WHERE epoch = ?", epoch)
    if not found:
        raise NotFound(f"no decision of epoch {epoch}")
    bodies = database.rows("SELECT body FROM body WHERE epoch = ? ORDER BY place", epoch)
    block, certificate = found[0]
    return StoredDecision(block, certificate, tuple(body for (body,) in bodies))
