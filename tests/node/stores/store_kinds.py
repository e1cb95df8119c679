"""Every kind of store behind one face: opened, opened again as after a restart, and one of its objects damaged."""

import abc
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from meridian.node.stores.announce import AnnounceStore, advertisements, chain_path
from meridian.node.stores.car import CarStore
from meridian.node.stores.chain_directory import ChainDirectory
from meridian.node.stores.kubo import KuboStore
from meridian.node.stores.local import LocalStore
from meridian.node.stores.s3 import S3Store
from meridian.node.stores.sql import SqlStore, TableName
from meridian.node.stores.sql_database import PostgresDatabase, SqliteDatabase
from meridian.node.stores.store import ObjectStore
from meridian.node.stores.stream import StreamStore, stream_name
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.keys import PrivateKey
from node.postgres_server import postgres_server
from node.stores.chain_servers import chain_server
from node.stores.ipfs_server import ipfs_server
from node.stores.s3_server import s3_server

BYTES_MAX = 5_000
OWNER = PrivateKey(bytes(31) + b"\x07")


class Kind(abc.ABC):
    """One kind of store: `open` again gives the same objects, `fresh` an empty store."""

    heals = True
    """Whether `put` after `delete`, or alone where nothing can be deleted, makes a damaged object whole."""

    def __init__(self, root: Path) -> None:
        self._root, self._number = root, 0
        self._stores: list[ObjectStore] = []

    @property
    def place(self) -> Path:
        path = self._root / f"{self._number}"
        path.mkdir(exist_ok=True, parents=True)
        return path

    @property
    def name(self) -> str:
        return f"store {self._number} of {self._root.name}"

    def open(self) -> ObjectStore:
        self.close()
        self._stores.append(self.make())
        return self._stores[-1]

    def fresh(self) -> ObjectStore:
        self._number += 1
        return self.open()

    def close(self) -> None:
        while self._stores:
            self._stores.pop().close()

    @abc.abstractmethod
    def make(self) -> ObjectStore:
        """Open the store once more."""

    @abc.abstractmethod
    def damage(self, digest: bytes, data: bytes) -> None:
        """Put other bytes of the same length in the place of an object."""


class Local(Kind):
    def make(self) -> ObjectStore:
        return LocalStore(self.place / "objects", BYTES_MAX)

    def damage(self, digest: bytes, data: bytes) -> None:
        (self.place / "objects" / cid_text(digest)).write_bytes(data)


class Stream(Local):
    def make(self) -> ObjectStore:
        name = stream_name(OWNER.address, self.name)
        return StreamStore(self.place, name, OWNER, BYTES_MAX)


class Car(Kind):
    def make(self) -> ObjectStore:
        return CarStore(self.place / "objects.car", BYTES_MAX)

    def damage(self, digest: bytes, data: bytes) -> None:
        path = self.place / "objects.car"
        whole = path.read_bytes()
        at = whole.index(digest) + 32
        path.write_bytes(whole[:at] + data + whole[at + len(data) :])


class S3(Kind):
    @classmethod
    @contextmanager
    def served(cls, root: Path) -> Iterator["S3"]:
        with s3_server(root) as bucket:
            one = cls(root)
            one.bucket = bucket
            yield one

    def make(self) -> ObjectStore:
        return S3Store(self._mine, BYTES_MAX)

    @property
    def _mine(self):
        return replace(self.bucket, prefix=f"{self._number}/")

    def damage(self, digest: bytes, data: bytes) -> None:
        S3Store(self._mine).put_file(f"objects/{cid_text(digest)}", data)


class Kubo(Kind):
    @classmethod
    @contextmanager
    def served(cls, root: Path) -> Iterator["Kubo"]:
        with ipfs_server(root) as url:
            one = cls(root)
            one.url = url
            yield one

    def make(self) -> ObjectStore:
        return KuboStore(self.url, bytes_max=BYTES_MAX)

    def fresh(self) -> ObjectStore:
        store = self.open()
        for digest in list(store.digests()):  # a node has one set of pins
            store.delete(digest)
        return store

    def damage(self, digest: bytes, data: bytes) -> None:
        blocks = [path for path in (self._root / "ipfs/blocks").rglob("*") if path.is_file()]
        [path] = [path for path in blocks if digest_of(path.read_bytes()) == digest]
        path.write_bytes(data)


class Sqlite(Kind):
    def make(self) -> ObjectStore:
        table = TableName(OWNER.address, self.name)
        return SqlStore(SqliteDatabase(self._root / "tables.sqlite"), table, OWNER, BYTES_MAX)

    def damage(self, digest: bytes, data: bytes) -> None:
        table = TableName(OWNER.address, self.name)
        with closing(sqlite3.connect(self._root / "tables.sqlite")) as database, database:
            sql = "UPDATE meridian_objects SET data = ? WHERE table_id = ? AND object = ?"
            database.execute(sql, (data, table.id, digest))


class Postgres(Kind):
    @classmethod
    @contextmanager
    def served(cls, root: Path) -> Iterator["Postgres"]:
        with postgres_server() as url:
            one = cls(root)
            one.url = url
            yield one

    def make(self) -> ObjectStore:
        database = PostgresDatabase(self.url)
        return SqlStore(database, TableName(OWNER.address, self.name), OWNER, BYTES_MAX)

    def damage(self, digest: bytes, data: bytes) -> None:
        import psycopg

        table = TableName(OWNER.address, self.name)
        with psycopg.connect(self.url) as database:
            sql = "UPDATE meridian_objects SET data = %s WHERE table_id = %s AND object = %s"
            database.execute(sql, (data, table.id, digest))


class Announced(Kind):
    heals = False

    @classmethod
    @contextmanager
    def served(cls, root: Path) -> Iterator["Announced"]:
        with ExitStack() as stack:
            publisher = stack.enter_context(chain_server(root / "publisher"))
            one = cls(root)
            one.url = stack.enter_context(
                chain_server(root / "consumer", {OWNER.address: publisher})
            )
            yield one

    def make(self) -> ObjectStore:
        name = advertisements(OWNER.address, self.name)
        directory = self._root / "publisher/chains" / chain_path(name)
        directory.mkdir(parents=True, exist_ok=True)
        return AnnounceStore(self.url, name, ChainDirectory(directory, name, OWNER, BYTES_MAX))

    def damage(self, digest: bytes, data: bytes) -> None:
        copies = self._root / "consumer/chains"
        chain = chain_path(advertisements(OWNER.address, self.name))
        (copies / chain / "objects" / cid_text(digest)).write_bytes(data)


DIRECT = {"local": Local, "car": Car, "stream": Stream, "sqlite": Sqlite}
SERVED = {"s3": S3, "kubo": Kubo, "postgres": Postgres, "announce": Announced}
KINDS = (*DIRECT, *SERVED)


@contextmanager
def kind_of_store(name: str, root: Path) -> Iterator[Kind]:
    """Make one kind, with the servers that it needs; skips the test where there are none."""
    with ExitStack() as stack:
        if name in SERVED:
            kind = stack.enter_context(SERVED[name].served(root))
        else:
            kind = DIRECT[name](root)
        stack.callback(kind.close)
        yield kind
