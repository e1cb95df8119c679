"""The table ``[servers]`` of a measure service: one of several that take jobs for the same network."""

import secrets
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from meridian.errors import InvalidInput
from meridian.measure.claims import SERVERS_MAX
from meridian.node.control.control import ControlStore
from meridian.node.control.postgres_control import open_postgres
from meridian.node.control.sqlite_control import open_sqlite
from meridian.node.durable_file import read_whole, write_durably


class ServersConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several servers. All share aggregator key, secret file, tokens, schema and rules; each has its own directory."""

    number: int
    """0 coordinates: it seals, commits and publishes. The others are 1 to 4095; a number stays with its data directory."""
    url: str
    """Where the other servers reach this one, such as ``http://10.0.0.2:7300``."""
    token_file: Path
    """Bearer token that servers show one another; the same file everywhere."""
    control_file: Path | None = None
    """SQLite file of the control state, for servers of one machine."""
    control_url: str = ""
    """PostgreSQL database of the control state, for servers of several machines (``postgresql://user@host/database``);
    its password stands in the file that ``PGPASSFILE`` names."""

    gone: tuple[int, ...] = ()
    """Of the coordinator: numbers of servers whose directory is lost. Epochs no longer wait for what they acknowledged,
    and their senders can prove that it was left out: the aggregator can be slashed for it."""

    def __post_init__(self) -> None:
        if not 0 <= self.number < SERVERS_MAX:
            raise InvalidInput("number", f"0 to {SERVERS_MAX - 1}")
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise InvalidInput("url", f"{self.url!r} is not an http or https URL")
        if (self.control_file is None) == (not self.control_url):
            raise InvalidInput("control_file", "either control_file or control_url is needed")

    @property
    def coordinates(self) -> bool:
        """Whether this server seals."""
        return self.number == 0

    def open_control(self, network: str) -> ControlStore:
        """Open the control state of a network, given by its id in hex; raises as `ControlStore` does."""
        if self.control_file is not None:
            return open_sqlite(self.control_file, network)
        return open_postgres(self.control_url, network)


def identity_of(data_dir: Path) -> str:
    """Return who a data directory is: random, made once.

    Raises:
        StorageFailure: If the disk refuses.
    """
    path = data_dir / "server"
    if not path.exists():
        write_durably(path, secrets.token_hex(16).encode())
    return read_whole(path).decode()
