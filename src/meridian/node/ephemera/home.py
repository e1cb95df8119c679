"""A node's own directory: its storage, and the mark that says whether the storage is whole."""

from pathlib import Path
from typing import Final

from meridian.errors import StorageFailure
from meridian.node import observe_mark
from meridian.node.ephemera.sqlite_storage import SqliteStorage
from meridian.primitives.ids import Address

STORAGE_FILE: Final = "ephemera.sqlite"


class Home:
    """The open directory of one member.

    Make it with `set_up` once. A directory that was not made so, or lost its storage, is that of a member that may
    have forgotten what it signed: it observes the present member set and takes part again in the next.
    """

    def __init__(self, data_dir: Path, *, network: bytes, member: Address) -> None:
        """Open a directory.

        Raises:
            StorageFailure: If the storage cannot be opened, or is another member's.
        """
        self._database = data_dir / STORAGE_FILE
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageFailure(f"{data_dir}: {error.strerror}") from error
        observe_mark.drop_stale_mark(self._database)
        self.storage = SqliteStorage(self._database, network=network, member=member)

    @staticmethod
    def set_up(data_dir: Path, *, network: bytes, member: Address) -> None:
        """Make the directory of a member that has never signed anything; does nothing where there is a storage.

        Raises:
            StorageFailure: If the directory cannot be written.
        """
        database = data_dir / STORAGE_FILE
        if database.exists():
            return
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageFailure(f"{data_dir}: {error.strerror}") from error
        SqliteStorage(database, network=network, member=member).close()
        observe_mark.set_first_mark(database)

    def observe_through(self, present: int) -> int:
        """Return the last member set in which we must sign nothing, given the `present` one; -1 for none."""
        begun = {present, *self.storage.member_sets()}
        return observe_mark.observe_through(self._database, begun, created=self.storage.created)
