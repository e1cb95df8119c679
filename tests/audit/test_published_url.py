"""A published directory behind a web server: verified without trusting it."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from audit.audit_world import EVALUATORS, MEASURE, World, make_world
from meridian.audit.epoch import verify_epoch_evidence
from meridian.audit.evidence import State, first_broken
from meridian.errors import InvalidInput, RemoteFault
from meridian.node.published_url import PublishedUrl, RemoteSource

EPOCH = 8


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("published"))


@pytest.fixture
def world(pristine: World, tmp_path: Path) -> World:
    return pristine.copied_to(tmp_path / "run")


@contextlib.contextmanager
def served(root: Path) -> Iterator[str]:
    """Serve a directory as long as the context lasts; yields its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with served(world.root) as url:
        yield url


def source_of(world: World, url: str, folder: Path) -> RemoteSource:
    files = PublishedUrl(url, folder)
    return RemoteSource(files, (MEASURE, *EVALUATORS), world.network, world.chain)


def test_every_link_holds_from_a_web_server(world: World, url: str, tmp_path: Path) -> None:
    source = source_of(world, url, tmp_path / "mirror")
    links = verify_epoch_evidence(source, EPOCH)
    assert {link.state for link in links} == {State.HOLDS}
    assert links == verify_epoch_evidence(world.source, EPOCH)
    world.path(EVALUATORS[0], world.record(EVALUATORS[0], EPOCH).block).unlink()
    assert verify_epoch_evidence(source, EPOCH) == links  # each file was fetched once


@pytest.mark.parametrize(
    ("what", "link"), [("block", "block"), ("claims", "rewards"), ("verdicts", "evaluation")]
)
def test_a_server_that_lies_or_hides_breaks_the_link(
    world: World, url: str, tmp_path: Path, what: str, link: str
) -> None:
    path = world.path(EVALUATORS[1], getattr(world.record(EVALUATORS[1], EPOCH), what))
    path.write_bytes(b"something else")
    links = verify_epoch_evidence(source_of(world, url, tmp_path / "lies"), EPOCH)
    broken = first_broken(links)
    assert broken is not None
    assert broken.name == link
    for publication in EVALUATORS:
        world.path(publication, getattr(world.record(EVALUATORS[1], EPOCH), what)).unlink()
    hidden = first_broken(verify_epoch_evidence(source_of(world, url, tmp_path / "hides"), EPOCH))
    assert hidden is not None
    assert hidden.name == link


def test_a_server_that_is_away_is_no_evidence_against_anybody(world: World, tmp_path: Path) -> None:
    source = source_of(world, "http://127.0.0.1:9/", tmp_path / "away")
    with pytest.raises(RemoteFault, match=r"127\.0\.0\.1:9"):
        source.object(bytes(32))


def test_publications_lie_elsewhere_and_one_of_them_is_away(
    world: World, url: str, tmp_path: Path
) -> None:
    elsewhere = [f"{url}{one}" for one in EVALUATORS[1:]]
    places = (MEASURE, EVALUATORS[0], *elsewhere, "http://127.0.0.1:9/public")
    files = PublishedUrl(url, tmp_path / "mirror")
    source = RemoteSource(files, places, world.network, world.chain)
    assert verify_epoch_evidence(source, EPOCH) == verify_epoch_evidence(world.source, EPOCH)
    with pytest.raises(InvalidInput, match="--from"):
        RemoteSource(files, ("ftp://host/public",), world.network, world.chain)


def test_names_and_schemes_are_bounded(tmp_path: Path, url: str) -> None:
    for wrong in ("file:///etc", "ftp://host/x", "data", "http://"):
        with pytest.raises(InvalidInput, match="--from"):
            PublishedUrl(wrong, tmp_path)
    files = PublishedUrl(url, tmp_path / "m")
    for name in ("../secret", "a/../../b", "/etc/hostname", ""):
        with pytest.raises(InvalidInput, match="leads out"):
            files.fetch(name, 10)
    assert not files.fetch("no/such/file", 10)


def test_a_file_that_is_too_long_is_cut(world: World, url: str, tmp_path: Path) -> None:
    (world.root / "long").write_bytes(b"x" * 1000)
    assert PublishedUrl(url, tmp_path / "m").fetch("long", 10)
    assert (tmp_path / "m" / "long").stat().st_size == 11
