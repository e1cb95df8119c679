"""What the contract must not forget: its genesis, and for every settled epoch the result and who won."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from meridian.errors import InvalidInput, NotFound
from meridian.measure.epoch import Calendar
from meridian.nym.acceptance import Terms, check_epoch
from meridian.nym.database import Database, ReadOnlyDatabase
from meridian.nym.network import NymNetwork
from meridian.nym.rewards import Report, Submission
from meridian.primitives.ids import Address

APPLICATION: Final = 0x4D4E5943  # "MNYC"
LEAD_S: Final = 2
"""A new contract's first epoch begins after so many whole seconds."""
EPOCHS_LISTED_MAX: Final = 1000

_SCHEMA: Final = """
CREATE TABLE contract (network TEXT NOT NULL, mode TEXT NOT NULL, genesis_s INTEGER NOT NULL,
    epoch_seconds INTEGER NOT NULL) STRICT;
CREATE TABLE accepted (epoch INTEGER PRIMARY KEY, winner BLOB NOT NULL, block_hash BLOB NOT NULL,
    aggregate TEXT NOT NULL, signature BLOB NOT NULL, accepted_ms INTEGER NOT NULL) STRICT;
CREATE TABLE reward (epoch INTEGER NOT NULL, mix_id INTEGER NOT NULL, performance INTEGER,
    PRIMARY KEY (epoch, mix_id)) STRICT, WITHOUT ROWID;
CREATE TABLE attestation (epoch INTEGER NOT NULL, member BLOB NOT NULL, signature BLOB NOT NULL,
    PRIMARY KEY (epoch, member)) STRICT, WITHOUT ROWID;
"""


class Accepted:
    """An accepted submission, and when it came (Unix milliseconds)."""

    __slots__ = ("accepted_ms", "submission")

    def __init__(self, submission: Submission, accepted_ms: int) -> None:
        self.submission = submission
        self.accepted_ms = accepted_ms


class ContractStore:
    """The contract's open database.

    Args:
        path: Its file.
        network: What it was made for.
        now_s: The clock, for a new contract's genesis.

    Raises:
        InvalidInput: If the database belongs to a contract of another mode, length of epochs or network.
    """

    def __init__(
        self, path: Path, network: NymNetwork, now_s: Callable[[], float] = time.time
    ) -> None:
        self._database = Database(path, APPLICATION, _SCHEMA)
        self._terms: Terms = network.terms
        ours = (network.network, network.mode.value, network.epoch_seconds)
        with self._database.writing() as connection:
            found = connection.execute(
                "SELECT network, mode, epoch_seconds, genesis_s FROM contract"
            ).fetchone()
            if found is None:
                found = (*ours, int(now_s()) + 1 + LEAD_S)
                connection.execute(
                    "INSERT INTO contract (network, mode, epoch_seconds, genesis_s) VALUES (?, ?, ?, ?)",
                    found,
                )
        if found[:3] != ours:
            self._database.close()
            raise InvalidInput("contract", f"it was made as {found[:3]}, not as {ours}")
        self.calendar = Calendar(found[3], network.epoch_seconds)

    def epoch_at(self, now_ms: int) -> int:
        """Return the epoch of an instant; below 0 before the first."""
        return self.calendar.epoch_of(now_ms * 1000)

    def settle(self, submission: Submission, now_ms: int) -> None:
        """Store a submission that `check_submission` has passed, if its epoch has ended and is open: all of it or nothing.

        Raises:
            TooEarly: If the epoch has not ended.
            AlreadySettled: If it has a result.
            StorageFailure: If the disk refused.
        """
        report = submission.report
        epoch = report.epoch
        with self._database.writing() as connection:
            known = connection.execute("SELECT 1 FROM accepted WHERE epoch = ?", (epoch,))
            check_epoch(epoch, self.epoch_at(now_ms), settled=known.fetchone() is not None)
            connection.execute(
                "INSERT INTO accepted VALUES (?, ?, ?, ?, ?, ?)",
                (
                    epoch,
                    submission.sender,
                    report.block_hash,
                    report.aggregate,
                    submission.signature,
                    now_ms,
                ),
            )
            connection.executemany(
                "INSERT INTO reward VALUES (?, ?, ?)",
                [(epoch, mixnode, value) for mixnode, value in enumerate(report.rewards)],
            )
            connection.executemany(
                "INSERT INTO attestation VALUES (?, ?, ?)",
                [(epoch, member, signature) for member, signature in submission.attestations],
            )

    def accepted(self, epoch: int) -> Accepted:
        """Return an epoch's result; raises NotFound if it has none."""
        return read_accepted(self._database, epoch)

    def settled(self, first: int = 0) -> list[int]:
        """Return settled epochs from `first` on, ascending, at most `EPOCHS_LISTED_MAX`."""
        return settled_epochs(self._database, first)

    def close(self) -> None:
        """Release the database."""
        self._database.close()


def read_accepted(database: Database | ReadOnlyDatabase, epoch: int) -> Accepted:
    """Return an epoch's result from a contract's database; raises NotFound if it has none."""
    found = database.rows(
        "SELECT winner, block_hash, aggregate, signature, accepted_ms FROM accepted WHERE epoch = ?",
        epoch,
    )
    if not found:
        raise NotFound(f"epoch {epoch} has no accepted result")
    winner, block_hash, aggregate, signature, accepted_ms = found[0]
    rewards = database.rows("SELECT performance FROM reward WHERE epoch = ? ORDER BY mix_id", epoch)
    attestations = database.rows(
        "SELECT member, signature FROM attestation WHERE epoch = ? ORDER BY member", epoch
    )
    report = Report(epoch, block_hash, aggregate, tuple(value for (value,) in rewards))
    pairs: Any = tuple(attestations)
    return Accepted(Submission(report, Address(winner), signature, pairs), accepted_ms)


def settled_epochs(database: Database | ReadOnlyDatabase, first: int = 0) -> list[int]:
    """Return settled epochs from `first` on, ascending, at most `EPOCHS_LISTED_MAX`."""
    rows = database.rows(
        "SELECT epoch FROM accepted WHERE epoch >= ? ORDER BY epoch LIMIT ?",
        first,
        EPOCHS_LISTED_MAX,
    )
    return [epoch for (epoch,) in rows]


def genesis(database: ReadOnlyDatabase) -> int | None:
    """Return the genesis of a contract's database (Unix seconds), None if it never began."""
    rows = database.rows("SELECT genesis_s FROM contract")
    return None if not rows else int(rows[0][0])
