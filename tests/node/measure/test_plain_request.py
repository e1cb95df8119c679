"""What is read without a parser of HTTP is read as aiohttp's parser reads it; of anything else nothing is said."""

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from meridian.node.measure.bodies import SENT_BYTES_MAX
from meridian.node.measure.plain_request import HEAD_BYTES_MAX, read_head

SEED = "ab" * 32
HEAD = (
    "POST /v1/jobs HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer secret\r\n"
    f"Content-Type: application/x-ndjson\r\nMeridian-Batch-Seed: {SEED}\r\nContent-Length: 5\r\n\r\n"
)
LINES = ("POST", "GET", "/v1/jobs", "/v1/jobs?", "HTTP/1.1", "HTTP/1.0", "\r\n ", "\r\n\r\n")
NAMES = ("Host", "Content-Length", "content-length", "Content-Type", "Transfer-Encoding")
MORE = ("Authorization", "Expect", "Meridian-Batch-Seed", "Connection", "Upgrade", "Bearer secret")
VALUES = ("chunked", "close", "keep-alive", "100-continue", SEED, "0", "05", "+5", "5, 5", "5_0")
CHARACTERS = ("\r\n", "\n", "\r", " ", "\t", ":", ": ", "\x00", "\x85", "\xb2", "\x1c", "\x7f", "x")
PIECES = st.sampled_from((*LINES, *NAMES, *MORE, *VALUES, *CHARACTERS))


def of_aiohttp(loop: asyncio.AbstractEventLoop, data: bytes) -> dict[str, object] | None:
    """Return what aiohttp reads in the first message; None if it refuses it."""
    parser = HttpRequestParser(BaseProtocol(loop), loop, limit=1 << 16)
    try:
        messages, _, _ = parser.feed_data(data)
    except HttpProcessingError:
        return None
    if not messages:
        return None
    message, body = messages[0]
    if message.should_close or message.upgrade or message.chunked or message.compression:
        return None
    headers = message.headers
    return {
        "line": (message.method, message.path, tuple(message.version)),
        "authorization": headers.get("Authorization", ""),
        "content_type": headers.get("Content-Type", ""),
        "seed": headers.get("Meridian-Batch-Seed"),
        "expect": headers.get("Expect"),
        "body": b"".join(body._buffer),
    }


@st.composite
def _heads(draw: st.DrawFn) -> str:
    """Return a head with some of it replaced by what HTTP is sensitive to."""
    head = HEAD
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(head)))
        cut = draw(st.sampled_from([0, 0, 1, 2, 5]))
        head = head[:at] + "".join(draw(st.lists(PIECES, max_size=4))) + head[at + cut :]
    return head


@given(_heads(), st.binary(min_size=5, max_size=40))
@example(HEAD, b"12345")
@example(HEAD.replace("Host", "hOST"), b"12345POST ")
@example(HEAD.replace("Length: 5", "Length: 05"), b"12345")
def test_it_is_read_as_aiohttp_reads_it(head: str, body: bytes) -> None:
    data = head.encode("latin-1") + body
    mine = read_head(data)
    if mine is None:
        return
    loop = asyncio.new_event_loop()
    try:
        theirs = of_aiohttp(loop, data[: mine.body_end])
    finally:
        loop.close()
    whole = data[mine.body_at : mine.body_end]
    assert theirs == {
        "line": ("POST", "/v1/jobs", (1, 1)),
        "authorization": mine.authorization,
        "content_type": mine.content_type,
        "seed": mine.seed,
        "expect": None,
        "body": whole,
    }


def test_a_head_says_who_what_and_where() -> None:
    data = HEAD.encode() + b"12345more"
    head = read_head(data)
    assert head is not None
    assert head.authorization == "Bearer secret"
    assert (head.content_type, head.seed) == ("application/x-ndjson", SEED)
    assert data[head.body_at : head.body_end] == b"12345"
    lower = data.replace(b"Authorization", b"authorization").replace(b"Host", b"hOsT")
    assert read_head(lower) == head


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("POST", "PUT"),
        ("/v1/jobs", "/v1/jobs?a=b"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("Host: here\r\n", ""),
        ("Content-Length: 5", "Content-Length: 5\r\nContent-Length: 5"),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 5", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        ("Content-Length: 5", "Content-Length: +5"),
        ("Content-Length: 5", "Content-Length: 5\r\n 5"),
        ("Content-Length: 5", f"Content-Length: {SENT_BYTES_MAX + 1}"),
        ("Host: here", "Host: here\r\nExpect: 100-continue"),
        ("Host: here", "Host: here\r\nContent-Encoding: gzip"),
        ("Host: here", "Host: here\r\nConnection: close"),
        ("Host: here", "Host: here\r\nMeridian-Signature: 00"),
        ("Host: here", "Host: here\r\nUser-Agent: a\tb"),
        ("Host: here", "Host: here\r\nUser-Agent: \xfc"),
        ("Host: here", "Host: here\r\nUser-Agent: " + "a" * HEAD_BYTES_MAX),
        ("Host: here", "Host: here "),
        ("Host: here", "Host : here"),
        ("\r\n\r\n", "\r\n"),
        ("\r\n", "\n"),
    ],
)
def test_another_shape_is_left_alone(old: str, new: str) -> None:
    assert old in HEAD
    assert read_head(HEAD.replace(old, new).encode("latin-1") + b"12345") is None
