"""The control store in SQL, the same statements for SQLite and PostgreSQL (`sqlite_control`, `postgres_control`).

Each change is one statement, so nothing is locked between two, and a transaction that was cut off has changed nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from meridian.node.control.control import EpochState, Progress, Server, Taken

SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS meridian_servers (
        network TEXT NOT NULL, number BIGINT NOT NULL, identity TEXT NOT NULL, url TEXT NOT NULL,
        generation BIGINT NOT NULL, PRIMARY KEY (network, number))""",
    """CREATE TABLE IF NOT EXISTS meridian_epochs (
        network TEXT NOT NULL, epoch BIGINT NOT NULL, state BIGINT NOT NULL, root TEXT NOT NULL,
        PRIMARY KEY (network, epoch))""",
)

_JOIN: Final = """INSERT INTO meridian_servers AS known (network, number, identity, url, generation)
    VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (network, number) DO UPDATE SET url = excluded.url, generation =
        CASE WHEN excluded.generation > known.generation THEN excluded.generation ELSE known.generation + 1 END
    WHERE known.identity = excluded.identity RETURNING generation"""
_SERVERS: Final = """SELECT number, identity, url, generation FROM meridian_servers
    WHERE network = ? ORDER BY number"""
_ADVANCE: Final = """INSERT INTO meridian_epochs AS known (network, epoch, state, root) VALUES (?, ?, ?, ?)
    ON CONFLICT (network, epoch) DO UPDATE SET
        state = CASE WHEN excluded.state > known.state THEN excluded.state ELSE known.state END,
        root = CASE WHEN known.root = '' THEN excluded.root ELSE known.root END
    WHERE excluded.root IN ('', known.root) OR known.root = '' RETURNING state"""
_REACHED: Final = """SELECT max(epoch) FROM meridian_epochs WHERE network = ? AND state >= ?"""

Run = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
"""Runs one statement as a transaction, durable when it returns, and returns its rows."""


class SqlControl:
    """The store of one network.

    Args:
        network: The network's id, hex.
        run: The database.
        close: Closes it.
    """

    def __init__(self, network: str, run: Run, close: Callable[[], None]) -> None:
        self._network, self._run, self.close = network, run, close
        for statement in SCHEMA:
            run(statement, ())

    def join(self, number: int, identity: str, url: str, at_least: int = 1) -> int:
        """Take a number, or find it ours; see `ControlStore`."""
        found = self._run(_JOIN, (self._network, number, identity, url, at_least))
        if not found:
            raise Taken(
                f"server number {number} belongs to another data directory; take another number, or bring that directory"
                " back: two servers with one number would give two receipts one sequence"
            )
        return int(found[0][0])

    def servers(self) -> list[Server]:
        """Return all that ever joined."""
        return [Server(*row) for row in self._run(_SERVERS, (self._network,))]

    def advance(self, epoch: int, state: EpochState, root: bytes | None = None) -> None:
        """Note that an epoch is so far."""
        text = "" if root is None else root.hex()
        if not self._run(_ADVANCE, (self._network, epoch, int(state), text)):
            raise Taken(f"epoch {epoch} is known with another root")

    def progress(self, first_epoch: int) -> Progress:
        """Return where the epochs are."""
        return Progress(
            *(
                self._after(state, first_epoch)
                for state in (EpochState.CLOSED, EpochState.COMMITTED)
            )
        )

    def _after(self, state: EpochState, first_epoch: int) -> int:
        [(last,)] = self._run(_REACHED, (self._network, int(state)))
        return first_epoch if last is None else int(last) + 1
