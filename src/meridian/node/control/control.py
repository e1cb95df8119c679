"""What several measure servers of one network must agree on, behind one interface: SQLite on one machine, PostgreSQL on many.

Only this is control state; jobs, receipts, epochs and transactions stay in the files of the server that they belong to.

    servers   number, identity, url, generation   a number belongs to one data directory; a start raises its generation
    epochs    epoch, state, root                  a state never goes back, a root never changes

Law: a number is never given to a second identity, because receipts are numbered by it: two servers with one number would
sign two receipts with one sequence, which is equivocation. Number 0 coordinates, so there is one coordinator.
"""

import enum
from dataclasses import dataclass
from typing import Protocol

from meridian.errors import MeridianError


class Taken(MeridianError):
    """A number belongs to another server, or an epoch has another root: nothing was changed."""

    exit_code = 2


class EpochState(enum.IntEnum):
    """How far an epoch is; it never goes back."""

    CLOSED = 1
    """No server takes jobs into it any more."""
    SEALED = 2
    """Published."""
    COMMITTED = 3
    """Committed: what was handed over for it may be deleted everywhere."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server of the network."""

    number: int
    identity: str
    """Random, of its data directory."""
    url: str
    """Where the other servers reach it."""
    generation: int
    """How often it has joined: orders what its starts have sent."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the epochs are."""

    open_epoch: int
    """Every epoch below it is closed."""
    settled_before: int
    """Every epoch below it is committed."""


class ControlStore(Protocol):
    """The store of one network; threads may share it.

    Raises in every method: `StorageFailure` if our own disk refuses, `RemoteFault` if a database cannot be reached.
    """

    def join(self, number: int, identity: str, url: str, at_least: int = 1) -> int:
        """Take a number, or find it ours, and say where we are; returns the generation of this start.

        Args:
            number: The server's number.
            identity: Its data directory's.
            url: Where the others reach it.
            at_least: The generation, if it is above the one before; the clock's seconds, so that generations go on when
                the database was lost.

        Raises:
            Taken: If the number belongs to another identity.
        """

    def servers(self) -> list[Server]:
        """Return all that ever joined, by number."""

    def advance(self, epoch: int, state: EpochState, root: bytes | None = None) -> None:
        """Note that an epoch is so far; what is known already changes nothing.

        Raises:
            Taken: If the epoch is known with another root.
        """

    def progress(self, first_epoch: int) -> Progress:
        """Return where the epochs are, of a network that begins with `first_epoch`."""

    def close(self) -> None:
        """Close it."""
