"""The control state of several servers: the same tests over SQLite and over a real PostgreSQL server."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meridian.errors import InvalidInput, RemoteFault, StorageFailure
from meridian.node.control.control import ControlStore, EpochState, Progress, Taken
from meridian.node.control.postgres_control import open_postgres
from meridian.node.control.sqlite_control import open_sqlite
from meridian.node.measure import addresses
from node.postgres_server import postgres_server

Open = Callable[[str], ControlStore]
ROOT = bytes(range(32))


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the store of a network, each time anew, as another process would."""
    stores: list[ControlStore] = []
    postgres = request.getfixturevalue("postgres") if request.param == "postgres" else ""

    def open_store(network: str) -> ControlStore:
        name = f"{request.node.name}/{network}"
        found = open_postgres(postgres, name) if postgres else open_sqlite(tmp_path / "c", name)
        stores.append(found)
        return found

    yield open_store
    for store in stores:
        store.close()


def test_a_number_belongs_to_one_identity_and_each_start_has_its_generation(opened: Open) -> None:
    one, two = opened("a"), opened("a")
    assert [one.join(0, "x", "http://x"), two.join(1, "y", "http://y")] == [1, 1]
    with pytest.raises(Taken, match="two receipts one sequence"):
        two.join(0, "y", "http://y")
    assert one.join(0, "x", "http://moved") == 2
    assert [(s.number, s.identity, s.url, s.generation) for s in two.servers()] == [
        (0, "x", "http://moved", 2),
        (1, "y", "http://y", 1),
    ]


def test_of_many_who_want_a_number_one_gets_it(opened: Open) -> None:
    stores = [opened("a") for _ in range(6)]
    won: list[int] = []

    def join(own: int) -> None:
        try:
            stores[own].join(3, f"identity {own}", "http://x")
            won.append(own)
        except Taken:
            return

    threads = [threading.Thread(target=join, args=(own,)) for own in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert [one.identity for one in opened("a").servers()] == [f"identity {won[0]}"]


def test_a_state_never_goes_back_and_a_root_never_changes(opened: Open) -> None:
    store = opened("a")
    assert store.progress(5) == Progress(5, 5)
    store.advance(5, EpochState.CLOSED)
    assert store.progress(5) == Progress(6, 5)
    store.advance(5, EpochState.COMMITTED, ROOT)
    for state, root in ((EpochState.CLOSED, None), (EpochState.SEALED, ROOT)):
        store.advance(5, state, root)
    with pytest.raises(Taken, match="another root"):
        store.advance(5, EpochState.COMMITTED, ROOT[::-1])
    store.advance(6, EpochState.CLOSED)
    assert opened("a").progress(5) == Progress(7, 6)


def test_networks_do_not_meet(opened: Open) -> None:
    one, two = opened("a"), opened("b")
    one.join(0, "x", "http://x")
    one.advance(9, EpochState.COMMITTED, ROOT)
    assert two.join(0, "y", "http://y") == 1
    assert (two.progress(5), len(two.servers())) == (Progress(5, 5), 1)


def test_a_lost_connection_is_made_anew(postgres: str) -> None:
    import psycopg

    store = open_postgres(postgres, "lost")
    store.join(0, "x", "http://x")
    with psycopg.connect(postgres, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
    assert store.join(0, "x", "http://x") == 2
    store.close()


def test_addresses_stay_known_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "KNOWN_S", -1.0)
    with postgres_server() as url:
        store = open_postgres(url, "away")
        store.join(0, "x", "http://x/")
        known = addresses.Addresses(store)
        assert known.url(0) == "http://x"
    assert known.url(0) == "http://x"
    with pytest.raises(RemoteFault, match="PostgreSQL"):
        known.url(1)
    store.close()


def test_what_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="PGPASSFILE"):
        open_postgres("postgresql://me:secret@127.0.0.1/x", "a")
    with pytest.raises(InvalidInput, match="control_url"):
        open_postgres("mysql://me@127.0.0.1/x", "a")
    with pytest.raises(RemoteFault, match="PostgreSQL"):
        open_postgres("postgresql://me@127.0.0.1:1/x", "a")
    (tmp_path / "c").write_bytes(b"this is some other file, and long enough to be no database")
    with pytest.raises(StorageFailure, match="not a database"):
        open_sqlite(tmp_path / "c", "a")
    assert sqlite3.sqlite_version_info >= (3, 35)  # RETURNING
