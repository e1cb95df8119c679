"""Artefacts over HTTP: whatever goes wrong on the way is a fault that may pass, never bytes to be believed."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from meridian.errors import InvalidInput, RemoteFault
from meridian.node.evaluator import artefacts
from meridian.node.evaluator.artefacts import ArtefactClient
from meridian.node.publications import DirectoryPlace
from meridian.primitives.cid import cid_text, digest_of

DATA = b"an artefact"
DIGEST = digest_of(DATA)


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Serve one fixed answer to one request; yields the URL and what was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(65_536))
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
        thread.join(5)


def http(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_an_artefact_is_asked_for_by_its_cid() -> None:
    with answering(http("200 OK", DATA)) as (url, asked):
        assert ArtefactClient(url).fetch(DIGEST) == DATA
    assert asked[0].startswith(f"GET /v1/artefacts/{cid_text(DIGEST)} HTTP/1.1\r\n".encode())


def test_an_empty_artefact_is_an_artefact() -> None:
    with answering(http("200 OK", b"")) as (url, _):
        assert ArtefactClient(url).fetch(digest_of(b"")) == b""


def test_wrong_bytes_are_handed_on_for_the_caller_to_check() -> None:
    with answering(http("200 OK", b"other bytes")) as (url, _):
        assert ArtefactClient(url).fetch(DIGEST) == b"other bytes"


@pytest.mark.parametrize(
    "status", ["404 Not Found", "500 Oops", "503 Busy", "301 Elsewhere", "204 None"]
)
def test_any_other_status_is_a_fault_that_says_it(status: str) -> None:
    with (
        answering(http(status, b"")) as (url, _),
        pytest.raises(RemoteFault, match=status[:3]),
    ):
        ArtefactClient(url).fetch(DIGEST)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"what?\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nan arte",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nan ar",
    ],
)
def test_an_answer_that_breaks_off_is_a_fault_and_not_a_forgery(answer: bytes) -> None:
    with answering(answer) as (url, _), pytest.raises(RemoteFault):
        ArtefactClient(url).fetch(DIGEST)


def test_an_answer_beyond_the_bound_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "ARTEFACT_BYTES_MAX", len(DATA))
    with answering(http("200 OK", DATA)) as (url, _):
        assert ArtefactClient(url).fetch(DIGEST) == DATA
    with (
        answering(http("200 OK", DATA + b"!")) as (url, _),
        pytest.raises(RemoteFault, match="longer than"),
    ):
        ArtefactClient(url).fetch(DIGEST)


def test_a_service_that_is_away_or_silent_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(artefacts, "TIMEOUT_S", 0.05)
        with pytest.raises(RemoteFault, match=f"127.0.0.1:{port}"):
            ArtefactClient(f"http://127.0.0.1:{port}").fetch(DIGEST)
    with pytest.raises(RemoteFault, match=f"127.0.0.1:{port}"):
        ArtefactClient(f"http://127.0.0.1:{port}").fetch(DIGEST)


@pytest.mark.parametrize(
    "url", ["", "ftp://h", "http://", "http://h:99999", "http://h:port", "h:80"]
)
def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="measure_url"):
        ArtefactClient(url)


def test_a_directory_is_asked_where_the_service_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    path = tmp_path / "objects" / cid_text(DIGEST)
    places = [DirectoryPlace(tmp_path / "nothing there"), DirectoryPlace(tmp_path)]
    path.write_bytes(b"forged")
    with answering(http("404 Not Found", b"")) as (url, _), pytest.raises(RemoteFault, match="404"):
        ArtefactClient(url, places).fetch(DIGEST)
    path.write_bytes(DATA)
    for answer in (http("404 Not Found", b""), http("200 OK", b"forged")):
        with answering(answer) as (url, _):
            assert ArtefactClient(url, places).fetch(DIGEST) == DATA
