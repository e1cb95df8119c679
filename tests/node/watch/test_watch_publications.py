"""Whatever stands in a publication, a watcher finds what is right in another, and goes on."""

import dataclasses
import json
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from watch_world import (
    COIN,
    MEMBERS,
    NODES,
    VICTIM,
    WATCHER,
    Heard,
    WatchWorld,
    shares,
    write_outcome_index,
)

from meridian.errors import InvalidInput
from meridian.node import publications
from meridian.node.evaluator.publish import publish_evidence
from meridian.node.measure.publication import Publication
from meridian.node.publications import DirectoryPlace, UrlPlace, place_of
from meridian.primitives.hashing import sha256


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A directory, and the URL at which it is served."""
    root = tmp_path / "served"
    root.mkdir()
    handler = partial(Quiet, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield root, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(5)


def look(world: WatchWorld, *places: str) -> Heard:
    heard = Heard()
    watcher = world.watcher(heard, publications=places)
    watcher.round()
    watcher.round()
    watcher.close()
    return heard


def slashed(world: WatchWorld) -> int:
    return sum(world.view.registry.read("evaluator", member.address)[0] == 0 for member in MEMBERS)


def lie() -> dict[str, int]:
    """Claims of the first epoch with ten coins of one node at another."""
    right = shares()
    return right | {VICTIM: right[VICTIM] + 10 * COIN, NODES[0]: right[NODES[0]] - 10 * COIN}


def test_everything_is_found_behind_a_url(world: WatchWorld, served: tuple[Path, str]) -> None:
    root, url = served
    world.commit(1)
    for name in ("measure", "evaluator"):
        (world.data / name).rename(root / name)
    network = world.network
    dataclasses.replace(network, publications=(f"{url}/measure/public/",)).save(world.data)
    world.measured = Publication(root / "measure/public")
    world.evaluated = Publication(root / "evaluator/public")
    world.report(1, lie())
    heard = look(world, f"{url}/evaluator/public")
    assert [one["faults"] for one in heard.of("commitment")] == [[]]
    assert [(one["kind"], one["result"]) for one in heard.of("accusation")] == [
        ("wrong_reward", "proven")
    ]
    assert slashed(world) == 3


def test_a_liars_copies_hide_nothing(world: WatchWorld, tmp_path: Path) -> None:
    """Under the right hash: an outcome that nobody has, one that is nonsense, and one of another report."""
    world.commit(1)
    accepted = world.report(1, lie())
    places = [Publication(tmp_path / name) for name in ("missing", "nonsense", "other")]
    names = [sha256(b"nobody has this"), places[1].put(b"nonsense")]
    for place, outcome in zip(places, names, strict=False):
        write_outcome_index(place, 1, accepted.report_hash, outcome)
    right = world.network.publications
    [index] = (world.evaluated.root / "epochs").glob("*.outcome.json")
    record = json.loads(index.read_bytes())
    (places[2].root / "epochs" / index.name).write_bytes(
        json.dumps(record | {"report_hash": "00" * 32}).encode()
    )
    liars = tuple(str(place.root) for place in places)
    dataclasses.replace(world.network, publications=(*liars, *right)).save(world.data)
    assert look(world).results() == ["proven"]
    assert slashed(world) == 3


def test_claims_that_nobody_publishes_hold_nothing_else_up(world: WatchWorld) -> None:
    world.commit(1)
    accepted = world.report(1, shares(), publish=False)
    write_outcome_index(world.evaluated, 1, accepted.report_hash, sha256(b"nobody has this"))
    world.commit(2, lie="withholds-data")
    heard = Heard()
    watcher = world.watcher(heard)
    watcher.round()
    world.wait(600)
    watcher.round()
    watcher.close()
    assert heard.results("resolved") == ["proven"]
    assert ["claims" in one["reason"] for one in heard.of("unpublished")] == [False, True]


def test_an_epoch_that_is_not_open_ends_no_watcher(world: WatchWorld) -> None:
    world.commit(1)
    world.report(1, lie())
    publish_evidence(world.evaluated.root, 77, 0, b"evidence of an epoch to come")
    assert look(world).results() == ["proven"]
    world.clock.now_s += 2
    world.commit(2, opened=False)  # and evaluators are slashed, so that members are looked at
    assert [one["epoch"] for one in look(world).of("commitment")] == [1, 2]


def test_a_second_renewal_is_another_wish(world: WatchWorld) -> None:
    world.commit(1)
    world.commit(2)
    world.report(1, lie())
    heard = look(world)
    assert [one["epoch"] for one in heard.of("renewed")] == [1, 2]
    sent = world.sent_by(WATCHER)
    watcher = world.watcher(heard)
    again = watcher.court.call("Evaluations", "renew", (2,), again="/99")
    watcher.close()
    assert again.detail == "evaluations: standing", "the chain was asked, not the journal"
    assert world.sent_by(WATCHER) == sent


# -- one publication alone


def test_files_are_read_up_to_their_bound(served: tuple[Path, str]) -> None:
    root, url = served
    (root / "objects").mkdir()
    (root / "objects" / "one").write_bytes(b"12345")
    for place in (DirectoryPlace(root), UrlPlace(url), UrlPlace(url + "/")):
        assert place.read("objects/one", 5) == b"12345"
        assert place.read("objects/one", 4) is None
        assert place.read("objects/two", 5) is None


def test_evidence_is_listed_and_names_lead_nowhere_else(served: tuple[Path, str]) -> None:
    root, url = served
    assert UrlPlace(url).evidence() == DirectoryPlace(root).evidence() == []
    for epoch in (3, 1):
        publish_evidence(root, epoch, 0, b"evidence")
    names = DirectoryPlace(root).evidence()
    assert [name[:6] for name in names] == ["000001", "000003"]
    assert UrlPlace(url).evidence() == names
    (root / "evidence.json").write_text('["../network.json", "a/b.json", "c", "d.json"]')
    assert UrlPlace(url).evidence() == ["d.json"]
    for nonsense in ('{"a": 1}', "[1]", "\xff", "[" * 100_000):
        (root / "evidence.json").write_text(nonsense, "latin-1")
        assert UrlPlace(url).evidence() == []


def test_a_slow_place_is_given_up_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publications, "TIMEOUT_S", 0.2)
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                asked.set()
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
                for _ in range(50):
                    try:
                        connection.sendall(b".")
                    except OSError:
                        return
                    threading.Event().wait(0.05)

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        place = UrlPlace(f"http://127.0.0.1:{server.getsockname()[1]}")
        assert place.read("objects/one", 10_000) is None
        assert asked.is_set()
        assert place.read("objects/one", 10_000) is None, "at once: nobody accepts any more"
        thread.join(5)


@pytest.mark.parametrize(
    "url", ["ftp://h", "http://", "http://h:99999", "file:///etc", "http://h/?a"]
)
def test_what_is_no_place_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="publication"):
        place_of(url, tmp_path)
