"""The short way of a plain request answers as aiohttp does, and gives aiohttp everything else: over real connections."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from measure_world import CALENDAR, Process, lines, make_config, record

from meridian.node.keystore import load_or_create_secret
from meridian.node.measure.jobs_connection import LOOK_S

ORDINARY = "X-Unknown: 1\r\n"
"""A header that is not known on the short way."""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    root = tmp_path_factory.mktemp("connections") / "service"
    process = Process(root, make_config(root))
    process.client().set_clock(CALENDAR.end_us(5))
    yield process
    assert process.stop() == 0


def request(process: Process, body: bytes, *, more: str = "", **changed: str) -> bytes:
    token = load_or_create_secret(process.config.gateway_token_file).hex()
    headers = {
        "Host": "here",
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/x-ndjson",
        "Content-Length": str(len(body)),
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /v1/jobs HTTP/1.1\r\n{head}{more}\r\n".encode() + body


def connect(process: Process) -> socket.socket:
    host, port = process.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def answer(connection: socket.socket) -> bytes:
    """Read one answer, without its date."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += connection.recv(1) or pytest.fail(f"closed after {data!r}")
    found = re.search(rb"Content-Length: ([0-9]+)", data)
    assert found is not None
    while len(data) < end + 4 + int(found[1]):
        data += connection.recv(end + 4 + int(found[1]) - len(data))
    return re.sub(rb"Date: [^\r]*", b"Date: then", data)


def accepted(connection: socket.socket) -> int:
    head, _, body = answer(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    return int(json.loads(body)["accepted"])


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (lines([record(1)]), {}),
        (lines([record(2)]), {"Meridian_Batch_Seed": "0x" + "ab" * 32}),
        (json.dumps([record(3)]).encode(), {"Content_Type": "application/json; charset=utf-8"}),
        (b"", {}),
        (b"{" * 5000, {}),
        (lines([record(4)]), {"Meridian_Batch_Seed": "ab"}),
        (lines([record(5)]), {"Content_Type": "text/csv"}),
        (lines([record(6)]), {"Authorization": "Bearer of bad news"}),
    ],
)
def test_both_ways_answer_the_same(process: Process, body: bytes, changed: dict[str, str]) -> None:
    with closing(connect(process)) as short, closing(connect(process)) as ordinary:
        short.sendall(request(process, body, **changed))
        first = answer(short)
        ordinary.sendall(request(process, body, more=ORDINARY, **changed))
        assert answer(ordinary) == first
        short.sendall(request(process, body, **changed))  # on a connection that lives on
        assert answer(short) == first


def test_requests_come_in_pieces_and_together_and_in_turn(process: Process) -> None:
    bodies = [lines([record(at)]) for at in range(10, 20)]
    with closing(connect(process)) as connection:
        one = request(process, bodies[0])
        connection.sendall(one[:-30])  # the body is cut
        time.sleep(0.05)
        connection.sendall(one[-30:])
        assert accepted(connection) == 1
        connection.sendall(b"".join(request(process, body) for body in bodies[1:4]))
        assert [accepted(connection) for _ in range(3)] == [1, 1, 1]
        two = request(process, bodies[4]) + request(process, bodies[5], more=ORDINARY)
        connection.sendall(two + request(process, bodies[6])[:20])  # and from here it is aiohttp's
        assert [accepted(connection) for _ in range(2)] == [1, 1]
        connection.sendall(request(process, bodies[6])[20:])
        assert accepted(connection) == 1
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
        assert b'"status": "ok"' in answer(connection)


def test_a_large_body_comes_in_many_pieces_and_another_request_right_behind_it(
    process: Process,
) -> None:
    bodies = [lines([record(at) for at in range(start, start + 900)]) for start in (2000, 3000)]
    assert len(bodies[0]) > 3 * (64 << 10)
    for at, more in enumerate(("", ORDINARY)):
        large = request(process, bodies[at], more=more)
        behind = request(process, lines([record(40 + at)]))
        with closing(connect(process)) as connection:
            for start in range(0, len(large) - 5, 50_000):
                connection.sendall(large[start : min(start + 50_000, len(large) - 5)])
                time.sleep(0.002)
            connection.sendall(large[-5:] + behind + behind[:100])
            assert [accepted(connection) for _ in range(2)] == [900, 1]
            connection.sendall(behind[100:])
            assert accepted(connection) == 1  # the answer that the same batch got before


def test_a_slow_body_goes_on_the_ordinary_way(process: Process) -> None:
    with closing(connect(process)) as connection:
        slow = request(process, lines([record(30)]))
        connection.sendall(slow[:-1])
        time.sleep(2 * LOOK_S + 0.2)
        connection.sendall(slow[-1:])
        assert accepted(connection) == 1


def test_who_goes_away_leaves_no_work_behind(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("gone") / "service"
    process = Process(root, make_config(root, requests_max=1))
    try:
        process.client().set_clock(CALENDAR.end_us(5))
        for at in range(5):
            with closing(connect(process)) as connection:
                connection.sendall(request(process, lines([record(at)])))
            with closing(connect(process)) as connection:
                connection.sendall(request(process, lines([record(at)]))[:-10])
        with closing(connect(process)) as connection:
            deadline_s = time.monotonic() + 10
            taken = 0
            while taken != 1:
                assert time.monotonic() < deadline_s
                connection.sendall(request(process, lines([record(100)])))
                head, _, body = answer(connection).partition(b"\r\n\r\n")
                taken = json.loads(body).get("accepted", 0)
                assert taken or (b" 429 " in head and b"Retry-After: " in head)
    finally:
        assert process.stop() == 0
