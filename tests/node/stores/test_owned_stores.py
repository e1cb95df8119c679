"""Stores that belong to a key: who may write, what is signed, forks, and what a database or server cannot do unseen."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from meridian.errors import InvalidInput, NotFound, RemoteFault, StorageFailure
from meridian.node.stores.announce import AnnounceStore, advertisements, chain_path
from meridian.node.stores.chain_directory import ChainDirectory
from meridian.node.stores.config import StoreConfig
from meridian.node.stores.kubo import BLOCK_BYTES_MAX, KuboStore
from meridian.node.stores.signed_chain import (
    STREAM_ENTRY,
    ChainName,
    Entry,
    Fork,
    pull,
    read_entry,
    sign_entry,
)
from meridian.node.stores.sql import SqlStore, Statement, TableName, sign_statement
from meridian.node.stores.sql_database import PostgresDatabase, SqliteDatabase
from meridian.node.stores.store import ObjectStore
from meridian.node.stores.stream import StreamStore
from meridian.primitives import dagcbor
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.keys import PrivateKey
from node.postgres_server import postgres_server
from node.stores.chain_servers import chain_server

OWNER, OTHER = PrivateKey(bytes(31) + b"\x07"), PrivateKey(bytes(31) + b"\x08")
NAME = ChainName(STREAM_ENTRY, OWNER.address, "jobs")
TABLE = TableName(OWNER.address, "jobs")


def chain(*objects: bytes, after: Entry | None = None) -> list[Entry]:
    found = [] if after is None else [after]
    for one in objects:
        found.append(sign_entry(NAME, OWNER, found[-1] if found else None, digest_of(one)))
    return found if after is None else found[1:]


def fetcher(*entries: Entry):
    known = {one.digest: one.encode() for one in entries}

    def fetch(digest: bytes) -> bytes:
        if digest not in known:
            raise NotFound("entry")
        return known[digest]

    return fetch


# --- signed chains ---------------------------------------------------------------------------------


def test_a_reader_pulls_what_is_new_and_refuses_forks() -> None:
    one, two, three = chain(b"1", b"2", b"3")
    fetch = fetcher(one, two, three)
    assert pull(NAME, three, None, fetch) == [one, two, three]
    assert pull(NAME, three, one, fetch) == [two, three]
    assert pull(NAME, three, three, fetch) == []
    assert pull(NAME, one, three, fetch) == []  # an older head of the same chain
    [other] = chain(b"other", after=one)
    [further] = chain(b"further", after=other)
    everything = fetcher(one, two, three, other, further)
    for head, seen in ((further, two), (other, two), (other, three), (three, other)):
        with pytest.raises(Fork, match="signed two entries") as fork:
            pull(NAME, head, seen, everything)
        assert fork.value.first.sequence == fork.value.second.sequence
        assert fork.value.first != fork.value.second
    with pytest.raises(NotFound):
        pull(NAME, three, None, fetcher(one))


def test_entries_that_lie_are_refused() -> None:
    [one, two] = chain(b"1", b"2")
    assert read_entry(NAME, two.encode()) == two
    lies = [
        replace(two, sequence=5),
        replace(two, object=bytes(32)),
        replace(two, previous=bytes(32)),
        replace(two, previous=b""),
        replace(two, owner=OTHER.address),
        replace(two, chain=bytes(32)),
        replace(two, signature=bytes(64)),
        replace(two, signature=one.signature),
        replace(one, previous=two.digest),
        replace(one, sequence=-1),
    ]
    for lie in lies:
        with pytest.raises(InvalidInput):
            read_entry(NAME, lie.encode())
    for bad in (b"", b"\xa0", dagcbor.encode([1]), two.encode() + b"\x00", bytes(513)):
        with pytest.raises(InvalidInput):
            read_entry(NAME, bad)
    # A signature for a stream is none for advertisements of the same name.
    with pytest.raises(InvalidInput, match="signature"):
        read_entry(advertisements(OWNER.address, "jobs"), two.encode())


# --- the stream ------------------------------------------------------------------------------------


def test_a_stream_is_its_owners_and_goes_on_after_a_crash(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="owner"):
        StreamStore(tmp_path, NAME, OTHER)
    with closing(StreamStore(tmp_path, NAME, OWNER)) as stream:
        first = stream.put(b"first")
        seen = stream.head
        second = stream.put(b"second")
        assert stream.put(b"first") == first
        assert [one.object for one in stream.follow(None)] == [first, second]
        assert [one.object for one in stream.follow(seen)] == [second]
        with pytest.raises(StorageFailure, match="another process"):
            StreamStore(tmp_path, NAME, OWNER)
        newest = stream.head
    assert newest is not None
    # The head was written, its file of `entries` not yet: that is all that a crash leaves.
    (tmp_path / "entries" / cid_text(newest.digest)).unlink()
    with closing(StreamStore(tmp_path, NAME, OWNER)) as stream:
        assert stream.head == newest
        third = stream.put(b"third")
        assert [one.sequence for one in stream.follow(None)] == [0, 1, 2]
    with closing(StreamStore(tmp_path, NAME, None)) as reader:
        assert set(reader.digests()) == {first, second, third}
        with pytest.raises(InvalidInput, match="owner"):
            reader.put(b"fourth")


def test_a_stream_that_was_changed_does_not_open(tmp_path: Path) -> None:
    with closing(StreamStore(tmp_path / "a", NAME, OWNER)) as stream:
        for data in (b"1", b"2", b"3"):
            stream.put(data)
        entries = stream.follow(None)
    path = tmp_path / "a/entries" / cid_text(entries[1].digest)
    for wrong in (entries[0].encode(), None):
        path.write_bytes(wrong) if wrong else path.unlink()
        with pytest.raises(StorageFailure):
            StreamStore(tmp_path / "a", NAME, None)
    (tmp_path / "a/head").write_bytes(b"nonsense")
    with pytest.raises(StorageFailure):
        StreamStore(tmp_path / "a", NAME, None)


def test_an_owner_who_goes_on_from_an_old_copy_forks_and_a_reader_sees_it(tmp_path: Path) -> None:
    with closing(StreamStore(tmp_path / "a", NAME, OWNER)) as stream:
        stream.put(b"1")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    heads = []
    for folder, data in (("a", b"2"), ("b", b"two")):
        with closing(StreamStore(tmp_path / folder, NAME, OWNER)) as stream:
            stream.put(data)
            heads.append(stream.head)
            if folder == "b":
                with pytest.raises(Fork):
                    stream.follow(heads[0])


# --- the table -------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Iterator[SqlStore]:
    with closing(SqlStore(SqliteDatabase(tmp_path / "t.sqlite"), TABLE, OWNER)) as one:
        yield one


def test_anybody_carries_what_the_owner_signed_and_nobody_else_writes(
    table: SqlStore, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="owner"):
        SqlStore(SqliteDatabase(tmp_path / "t.sqlite"), TABLE, OTHER)
    with closing(SqlStore(SqliteDatabase(tmp_path / "t.sqlite"), TABLE, None)) as public:
        digest = table.put(b"data")
        assert public.get(digest) == b"data"
        for forbidden in (lambda: public.put(b"x"), lambda: public.delete(digest)):
            with pytest.raises(InvalidInput, match="only 0x"):
                forbidden()
        more = digest_of(b"more")
        for bad in (
            sign_statement(TABLE, OTHER, 1, "put", more),
            sign_statement(TABLE, OWNER, 0, "put", more),
            sign_statement(TABLE, OWNER, 2, "put", more),
            sign_statement(TableName(OWNER.address, "another"), OWNER, 1, "put", more),
            sign_statement(TABLE, OTHER, 1, "delete", digest),
        ):
            with pytest.raises(InvalidInput):
                public.submit(bad, b"more")
        good = sign_statement(TABLE, OWNER, 1, "put", more)
        with pytest.raises(InvalidInput, match="data"):
            public.submit(good, b"less")
        public.submit(good, b"more")
        assert table.get(more) == b"more"
        public.submit(sign_statement(TABLE, OWNER, 2, "delete", digest))
        assert not table.has(digest)
        assert list(public.digests()) == [more]


def test_a_database_that_lies_is_seen(table: SqlStore, tmp_path: Path) -> None:
    first, second = table.put(b"first"), table.put(b"second")
    forged = Statement(2, "put", digest_of(b"forged"), OTHER.sign(bytes(32)))
    lies = {
        "its row is gone": ("DELETE FROM meridian_objects WHERE object = ?", (first,)),
        "statement 0 is missing": ("DELETE FROM meridian_statements WHERE sequence = ?", (0,)),
        "not signed by": (
            "INSERT INTO meridian_statements VALUES (?, ?, ?, ?, ?)",
            (TABLE.id, forged.sequence, forged.kind, forged.object, forged.signature),
        ),
    }
    for expected, (sql, values) in lies.items():
        copy = tmp_path / "copy.sqlite"
        with (
            closing(sqlite3.connect(tmp_path / "t.sqlite")) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            with target:
                target.execute(sql, values)
        reader = SqlStore(SqliteDatabase(copy), TABLE, None)
        with closing(reader), pytest.raises(StorageFailure, match=expected):
            reader.statements()
            reader.get(first)
        copy.unlink()
    assert list(table.digests()) == [first, second]


def test_a_lost_connection_is_made_again_and_two_processes_may_write() -> None:
    import psycopg

    with postgres_server() as url:
        with closing(SqlStore(PostgresDatabase(url), TABLE, OWNER)) as store:
            digest = store.put(b"data")
            with psycopg.connect(url, autocommit=True) as administrator:
                administrator.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
            with pytest.raises(RemoteFault, match="PostgreSQL"):
                store.get(digest)
            assert store.get(digest) == b"data"
            with closing(SqlStore(PostgresDatabase(url), TABLE, OWNER)) as second:
                for at in range(4):
                    (store, second)[at % 2].put(b"%d" % at)
            assert [one.sequence for one in store.statements()] == list(range(5))
        with pytest.raises(RemoteFault, match="PostgreSQL"):
            PostgresDatabase("host=/nowhere dbname=nothing")


def test_without_the_driver_postgres_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(InvalidInput, match=r"pip install 'meridian-ie\[postgres\]'"):
        PostgresDatabase("dbname=meridian")


# --- announcements ---------------------------------------------------------------------------------


def publisher_store(root: Path, key: PrivateKey, consumer: str) -> AnnounceStore:
    name = advertisements(key.address, "jobs")
    directory = root / chain_path(name)
    directory.mkdir(parents=True, exist_ok=True)
    return AnnounceStore(consumer, name, ChainDirectory(directory, name, key))


def test_a_consumer_catches_up_listens_to_the_listed_only_and_refuses_forks(tmp_path: Path) -> None:
    root = tmp_path / "p/chains"
    with chain_server(tmp_path / "p") as publisher:
        with closing(publisher_store(root, OWNER, "http://127.0.0.1:9")) as store:
            for data in (b"1", b"2"):  # the consumer is away: the chain grows all the same
                with pytest.raises(RemoteFault):
                    store.put(data)
        with chain_server(tmp_path / "c", {OWNER.address: publisher}) as consumer:
            stranger = publisher_store(root, OTHER, consumer)
            with closing(stranger), pytest.raises(RemoteFault, match="422"):
                stranger.put(b"x")
            with closing(publisher_store(root, OWNER, consumer)) as store:
                store.put(b"2")
                assert sorted(store.digests()) == sorted(map(digest_of, (b"1", b"2")))
                with pytest.raises(InvalidInput, match="append-only"):
                    store.delete(digest_of(b"1"))
            shutil.copytree(root, tmp_path / "old")
            name = advertisements(OWNER.address, "jobs")
            reader: ObjectStore = AnnounceStore(consumer, name, None)
            assert reader.get(digest_of(b"1")) == b"1"
            with pytest.raises(InvalidInput, match="publisher"):
                reader.put(b"y")
            with closing(publisher_store(root, OWNER, consumer)) as store:
                store.put(b"3")
            shutil.rmtree(root)
            shutil.copytree(tmp_path / "old", root)
            forked = publisher_store(root, OWNER, consumer)
            with closing(forked), pytest.raises(RemoteFault, match=r"409.*signed two entries 2"):
                forked.put(b"three")
            assert digest_of(b"3") in set(reader.digests())


# --- configuration ---------------------------------------------------------------------------------


def test_the_configuration_opens_every_kind(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(OWNER.secret.hex())
    key.chmod(0o600)
    for config in (
        StoreConfig(kind="stream", directory=tmp_path / "s", key_file=key),
        StoreConfig(kind="sql", file=tmp_path / "t.sqlite", key_file=key),
        StoreConfig(kind="car", file=tmp_path / "o.car"),
    ):
        store = config.open()
        assert store is not None
        with closing(store):
            assert store.get(store.put(b"data")) == b"data"
    for kind, reason in (
        ("kubo", "`endpoint`"),
        ("sql", "`key_file`"),
        ("stream", "`directory`, `key_file`"),
        ("announce", "`directory`, `key_file`, `endpoint`"),
    ):
        with pytest.raises(InvalidInput, match=reason):
            StoreConfig(kind=kind)
    with pytest.raises(InvalidInput, match="either"):
        StoreConfig(kind="sql", key_file=key)


# --- the IPFS node ---------------------------------------------------------------------------------


def test_blocks_that_do_not_travel_are_refused_unless_allowed() -> None:
    longest, longer = bytes(BLOCK_BYTES_MAX), bytes(BLOCK_BYTES_MAX + 1)
    nowhere = "http://127.0.0.1:9"
    with pytest.raises(InvalidInput, match="2097152"):
        KuboStore(nowhere).put(longer)
    for store, data in ((KuboStore(nowhere), longest), (KuboStore(nowhere, big=True), longer)):
        with pytest.raises(RemoteFault):
            store.put(data)
    with pytest.raises(InvalidInput):
        KuboStore("ipfs://node")
