"""A signed chain and its objects as files of a directory.

    objects/<cid>   the objects
    entries/<cid>   all entries
    head            the newest entry

Law: the object is durable before the head names it, and the head before anybody is told. An entry is signed in memory and
first stands in `head`, so a crash never leaves two signed entries for one place; the file of `entries` that it may lack is
written when the directory is opened again. A directory that is restored from an older copy would sign a place twice:
restore its newest `head`, or begin a chain of another name.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from meridian.errors import InvalidInput, NotFound, StorageFailure
from meridian.node.durable_file import held_lock, read_whole, write_durably
from meridian.node.stores.local import LocalStore
from meridian.node.stores.signed_chain import (
    ENTRIES_MAX,
    ENTRY_BYTES_MAX,
    ChainName,
    Entry,
    pull,
    read_entry,
    sign_entry,
)
from meridian.node.stores.store import OBJECT_BYTES_MAX
from meridian.primitives.keys import PrivateKey

HEAD: Final = "head"


class ChainDirectory:
    """One chain in a directory, which is made when absent. Opening reads and checks the whole chain.

    Args:
        directory: Where it is.
        name: Which chain.
        key: The owner's, to append; None only reads.
        bytes_max: The longest object.

    Raises:
        InvalidInput: If the key is not the owner's.
        StorageFailure: If the chain is damaged or forked, or another process appends.
    """

    def __init__(
        self,
        directory: Path,
        name: ChainName,
        key: PrivateKey | None,
        bytes_max: int = OBJECT_BYTES_MAX,
    ) -> None:
        if key is not None and key.address != name.owner:
            raise InvalidInput("key", "not that of the chain's owner")
        self._directory, self._key = directory, key
        self.name = name
        self.objects = LocalStore(directory / "objects", bytes_max)
        self._entries = LocalStore(directory / "entries", ENTRY_BYTES_MAX)
        self._mutex = threading.Lock()
        self._holder = (
            None
            if key is None
            else held_lock(directory / "lock", "another process appends to this chain")
        )
        self._known: dict[bytes, Entry] = {}
        self._head: Entry | None = None
        try:
            self._take(self._read_head())
        except BaseException:
            self.close()
            raise

    @property
    def head(self) -> Entry | None:
        """The newest entry."""
        return self._head

    def entry_of(self, digest: bytes) -> Entry | None:
        """Return the entry that names an object."""
        return self._known.get(digest)

    def digests(self) -> Iterator[bytes]:
        """Yield the objects that entries name."""
        with self._mutex:
            known = list(self._known)
        yield from known

    def append(self, data: bytes) -> tuple[bytes, Entry]:
        """Keep an object, sign the entry that names it, and return its digest and that entry.

        An object that an entry names already gets no other; one that is damaged is written anew.
        """
        with self._mutex:
            digest = self.objects.put(data)
            entry = self._known.get(digest)
            if entry is None:
                return digest, self._sign(digest)
            try:
                self.objects.get(digest)
            except StorageFailure:
                self.objects.delete(digest)
                self.objects.put(data)
        return digest, entry

    def extend(self, entries: list[Entry]) -> None:
        """Take over entries that were pulled from somewhere else; their objects stand in `objects` already.

        Args:
            entries: What follows the head, oldest first, checked by `pull`.
        """
        with self._mutex:
            for entry in entries:
                if entry.previous != (b"" if self._head is None else self._head.digest):
                    raise InvalidInput("entries", f"{entry.cid} does not follow the head")
                self._entries.put(entry.encode())
                write_durably(self._directory / HEAD, entry.encode())
                self._remember([entry])

    def entry_bytes(self, digest: bytes) -> bytes:
        """Return an entry by its digest; raises `NotFound`."""
        return self._entries.get(digest)

    def close(self) -> None:
        """Let others append."""
        if self._holder is not None:
            self._holder.close()

    def _sign(self, digest: bytes) -> Entry:
        if self._key is None:
            raise InvalidInput("key", "only the owner appends to this chain")
        if self._head is not None and self._head.sequence + 1 >= ENTRIES_MAX:
            raise InvalidInput("chain", f"it has {ENTRIES_MAX} entries; begin another")
        entry = sign_entry(self.name, self._key, self._head, digest)
        write_durably(self._directory / HEAD, entry.encode())
        self._entries.put(entry.encode())
        self._remember([entry])
        return entry

    def _read_head(self) -> Entry | None:
        try:
            return read_entry(self.name, read_whole(self._directory / HEAD, ENTRY_BYTES_MAX))
        except NotFound:
            return None
        except InvalidInput as error:
            raise StorageFailure(f"{self._directory / HEAD}: {error}") from error

    def _take(self, head: Entry | None) -> None:
        if head is None:
            return
        self._entries.put(head.encode())
        try:
            self._remember(pull(self.name, head, None, self._entries.get))
        except (InvalidInput, NotFound) as error:
            raise StorageFailure(f"{self._directory}: {error}") from error

    def _remember(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._known.setdefault(entry.object, entry)
            self._head = entry
