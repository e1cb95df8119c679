"""The store of a run of `offchain-store`, by the name of its driver: who puts what, and who reads it.

`local`, `car`, `s3` and `kubo` are one store for all. In `sql`, `stream` and `announce` everybody has a table, a stream or
a chain of advertisements of its own, under its own key. Everything lies in the directory ``store`` of the run, but for
`s3` and `kubo`, which are named by ``store.toml`` in the data directory (the keys of ``[store]`` in a measure service's
configuration); without it `kubo` is looked for where Kubo listens by default. `sql` is a SQLite file, or the PostgreSQL
database whose connection string is the one line of ``store.conninfo``.
"""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from meridian.errors import InvalidInput, NotFound, RemoteFault, StorageFailure
from meridian.journey.processes import Child, module_command
from meridian.models.offchain_object import OBJECT_BYTES_MAX
from meridian.node import config_file
from meridian.node.durable_file import write_durably
from meridian.node.stores.announce import AnnounceStore, advertisements, chain_path
from meridian.node.stores.car import CarStore
from meridian.node.stores.chain_directory import ChainDirectory
from meridian.node.stores.config import StoreConfig
from meridian.node.stores.kubo import KuboStore
from meridian.node.stores.local import LocalStore
from meridian.node.stores.sql import SqlStore, TableName
from meridian.node.stores.sql_database import Database, PostgresDatabase, SqliteDatabase
from meridian.node.stores.store import ObjectStore
from meridian.node.stores.stream import StreamStore, stream_name
from meridian.primitives.ids import Address, address_text
from meridian.primitives.keys import PrivateKey

SHARED: Final = ("local", "car", "s3", "kubo")
OWNED: Final = ("sql", "stream", "announce")
KINDS: Final = (*SHARED, *OWNED)
SETTINGS: Final = "store.toml"
CONNINFO: Final = "store.conninfo"
KUBO_ENDPOINT: Final = "http://127.0.0.1:5001"
NAME: Final = "jobs"
_SERVER: Final = "meridian.node.stores.announce_server"


class RunStore:
    """The store, for as long as the context lasts.

    Args:
        root: The run's data directory.
        kind: The driver.
        owners: Everybody who puts; the consumer of `announce` listens to them.

    Raises:
        InvalidInput: If there is no such driver, or its settings are missing or of another one.
    """

    def __init__(self, root: Path, kind: str, owners: Sequence[Address] = ()) -> None:
        if kind not in KINDS:
            raise InvalidInput("--store", f"{kind!r} is none of {', '.join(KINDS)}")
        self._root, self._kind, self._owners = root, kind, owners
        self._directory = root / "store"
        self._stack = contextlib.ExitStack()
        self._writers: dict[Address, ObjectStore] = {}
        self._readers: dict[Address, ObjectStore] = {}
        self._shared: ObjectStore | None = None
        self._database: Database | None = None
        self._consumer = ""
        self._servers: list[Child] = []

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            if self._kind in SHARED:
                self._shared = self._stack.enter_context(contextlib.closing(self._open_shared()))
            elif self._kind == "sql":
                self._database = self._open_database()
                self._stack.callback(self._database.close)
            elif self._kind == "announce":
                self._consumer = self._start_servers()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    @property
    def cpu_s(self) -> float:
        """Processor seconds of the store's own processes; known when the context has ended."""
        return sum(child.cpu_s for child in self._servers)

    def put(self, key: PrivateKey, data: bytes) -> bytes:
        """Put an object under an owner's key; return its digest.

        Raises:
            InvalidInput: If it is longer than the driver takes.
            StorageFailure: If our disk refuses.
            RemoteFault: If the store's server does.
        """
        if self._shared is not None:
            return self._shared.put(data)
        writer = self._writers.get(key.address)
        if writer is None:
            writer = self._owned(key.address, key)
            self._writers[key.address] = self._readers[key.address] = writer
            if self._kind != "sql":
                self._stack.callback(writer.close)
        return writer.put(data)

    def fetch(self, owner: Address, digest: bytes) -> bytes | None:
        """Return an object as the store has it; None if it is not to be had there, or is damaged, too long, or of a
        stream that forked: whoever made it so must not stop who reads all.
        """
        try:
            return self._reader(owner).get(digest)
        except (NotFound, StorageFailure, RemoteFault, InvalidInput):
            return None

    def withdraw(self, owner: Address, digest: bytes) -> None:
        """Take an object out again; raises `InvalidInput` where the driver is append-only."""
        self._reader(owner).delete(digest)

    # -- inside ---------------------------------------------------------------------------------------

    def _reader(self, owner: Address) -> ObjectStore:
        if self._shared is not None:
            return self._shared
        if owner not in self._readers:
            self._readers[owner] = self._owned(owner, None)
        return self._readers[owner]

    def _open_shared(self) -> ObjectStore:
        path = self._root / SETTINGS
        if path.exists():
            settings = config_file.load(path, StoreConfig)
            store = settings.open() if settings.kind == self._kind else None
            if store is None:
                raise InvalidInput("--store", f"{path} is about {settings.kind}, not {self._kind}")
            return store
        if self._kind == "local":
            return LocalStore(self._directory / "objects", OBJECT_BYTES_MAX)
        if self._kind == "car":
            return CarStore(self._directory / "objects.car", OBJECT_BYTES_MAX)
        if self._kind == "kubo":
            return KuboStore(KUBO_ENDPOINT)
        raise InvalidInput("--store", f"s3 needs {path}")

    def _open_database(self) -> Database:
        path = self._root / CONNINFO
        if path.exists():
            return PostgresDatabase(path.read_text().strip())
        return SqliteDatabase(self._directory / "tables.sqlite")

    def _owned(self, owner: Address, key: PrivateKey | None) -> ObjectStore:
        if self._database is not None:
            return SqlStore(self._database, TableName(owner, NAME), key, OBJECT_BYTES_MAX)
        if self._kind == "stream":
            directory = self._directory / "streams" / owner.hex()
            return StreamStore(directory, stream_name(owner, NAME), key, OBJECT_BYTES_MAX)
        name = advertisements(owner, NAME)
        publisher = None
        if key is not None:
            publisher = ChainDirectory(self._directory / "publisher" / chain_path(name), name, key)
        return AnnounceStore(self._consumer, name, publisher, OBJECT_BYTES_MAX)

    def _start_servers(self) -> str:
        """Start the publishers' server and the consumer; return the consumer's URL."""
        publisher = self._serve("publisher")
        path = self._directory / "publishers.json"
        listed = {address_text(one): publisher for one in self._owners}
        write_durably(path, json.dumps(listed, indent=1).encode() + b"\n")
        return self._serve("consumer", "--publishers", str(path))

    def _serve(self, name: str, *more: str) -> str:
        command = module_command(_SERVER, "--root", str(self._directory / name), *more)
        log = self._root / "logs" / f"store-{name}.log"
        child = Child(name, command, log, lambda _name, _event: None)
        self._servers.append(child)
        self._stack.callback(child.stop)
        return str(child.wait_ready()["url"])
