"""What processes tell their operators: answers, files, metrics, the id of an epoch, and what an evaluator says of itself."""

import contextlib
import http.client
import io
import json
import logging
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from meridian.errors import InvalidInput, NotFound
from meridian.node.chain_news import ChainNews
from meridian.node.evaluator.observed import STATES, Seen, observe, state_of
from meridian.node.evaluator.state import EpochState
from meridian.node.observe import point as point_module
from meridian.node.observe.observation import FILE_NAME, Announced, Observation
from meridian.node.observe.point import ObservePoint
from meridian.node.process import epoch_trace, start_logging
from meridian.primitives.ids import Address, network_id

WELL = Observation(
    ready=True,
    detail={"epoch": 5},
    metrics=[GaugeMetricFamily("meridian_test", "A value", value=7)],
)


def ask(url: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@pytest.mark.parametrize(
    ("seen", "health", "ready"),
    [
        (WELL, 200, 200),
        (replace(WELL, ready=False, problem="no chain"), 200, 503),
        (replace(WELL, failed="the disk is full"), 503, 503),
    ],
)
def test_a_point_answers_what_is_seen(tmp_path: Path, seen: Observation, health: int, ready: int) -> None:  # fmt: skip
    point = ObservePoint("tested", tmp_path, lambda: seen, "127.0.0.1", 0)
    point.start()
    try:
        announced = Announced.load(tmp_path / FILE_NAME)
        assert (announced.process, announced.url) == ("tested", point.url)
        assert ask(point.url, "/healthz")[0] == health
        status, text = ask(point.url, "/readyz?verbose")
        assert status == ready
        assert json.loads(text) == {
            "ready": ready == 200,
            "problem": seen.failed or seen.problem,
        }
        status, text = ask(point.url, "/state")
        assert (status, json.loads(text)["epoch"]) == (200, 5)
        status, text = ask(point.url, "/metrics")
        families = {family.name: family for family in text_string_to_metric_families(text)}
        assert families["meridian_test"].samples[0].value == 7
        assert families["meridian_disk_free_bytes"].samples[0].value > 0
        assert "process_resident_memory_bytes" in families
        assert ask(point.url, "/else")[0] == 404
        with pytest.raises(InvalidInput, match="observe_port"):
            ObservePoint("second", tmp_path, lambda: seen, "127.0.0.1", urlsplit(point.url).port or 0)  # fmt: skip
    finally:
        point.stop()
    with pytest.raises(ConnectionRefusedError):
        ask(point.url, "/healthz")


def test_who_asks_slowly_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(point_module, "TIMEOUT_S", 0.5)
    point = ObservePoint("tested", tmp_path, lambda: WELL, "127.0.0.1", 0)
    point.start()
    with contextlib.ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", urlsplit(point.url).port)))
            for _ in range(3)
        ]
        for one in slow:
            one.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        assert ask(point.url, "/healthz")[0] == 200
        began_s = time.monotonic()
        while time.monotonic() < began_s + 10:  # a byte now and then does not keep it open
            try:
                if not slow[0].send(b"x") or slow[0].recv(1, socket.MSG_DONTWAIT) == b"":
                    break
            except BlockingIOError:
                time.sleep(0.1)
            except OSError:
                break
        assert time.monotonic() - began_s < 8
        point.stop()


def test_more_than_can_be_answered_are_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(point_module, "CONNECTIONS_MAX", 1)
    point = ObservePoint("tested", tmp_path, lambda: WELL, "127.0.0.1", 0)
    point.start()
    try:
        with socket.create_connection(("127.0.0.1", urlsplit(point.url).port)) as first:
            first.sendall(b"GET /healthz HTTP/1.1\r\n")
            time.sleep(0.2)
            with pytest.raises((ConnectionError, http.client.HTTPException)):
                ask(point.url, "/healthz")
    finally:
        point.stop()


def test_a_file_that_says_nothing_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Announced.load(tmp_path / FILE_NAME)
    (tmp_path / FILE_NAME).write_text('{"process": "x"}')
    with pytest.raises(InvalidInput, match="url"):
        Announced.load(tmp_path / FILE_NAME)


def test_the_id_of_an_epoch_is_the_same_for_everybody_and_stands_in_every_line_about_it() -> None:
    network = network_id("saturn")
    assert epoch_trace(network, 5) == epoch_trace(network, 5) != epoch_trace(network, 6)
    assert (
        epoch_trace(bytes(32), 1) == "08e00266fff0aacc"
    )  # by hashlib, as docs/operating.md states it
    out = io.StringIO()
    start_logging("tested", stream=out, network_id=network)
    log = logging.getLogger("meridian.test")
    log.info("about one", extra={"epoch": 5})
    log.info("about none")
    start_logging("tested", stream=out)
    log.info("of no network", extra={"epoch": 5})
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line.get("trace") for line in lines] == [epoch_trace(network, 5), None, None]


def seen(**changes: Any) -> Seen:
    values: dict[str, Any] = {
        "address": Address(bytes(20)),
        "term": 0,
        "news": ChainNews(),
        "news_age_s": 1.0,
        "epochs": {},
        "links": {"peers": 3, "connected": 3},
        "driver": {"frames_waiting": 0, "frames_rejected": 0},
        "misbehaviour": 0,
        "problem": None,
    }
    return Seen(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "ready", "problem"),
    [
        ({}, True, None),
        ({"links": {"peers": 3, "connected": 2}}, True, None),
        ({"links": {"peers": 3, "connected": 1}}, False, "1 of 3 members are connected, 2 are needed"),
        ({"news_age_s": 31.0}, False, "the chain has not answered for 31 s"),
        ({"problem": "epoch 7: a segment is missing"}, True, "epoch 7: a segment is missing"),
        ({"epochs": {4: EpochState(None, barred="evaluations: late")}}, True, "epoch 4: evaluations: late"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_an_evaluator_says_whether_it_can_work_and_why_not(
    changes: dict[str, Any], ready: bool, problem: str | None
) -> None:
    found = observe(seen(**changes))
    assert (found.ready, found.problem) == (ready, problem)
    assert {family.name for family in found.metrics} >= {"meridian_evaluator_epochs"}


def test_every_state_of_an_epoch_has_a_name() -> None:
    thing: Any = object()
    states = [
        EpochState(thing),
        EpochState(thing, work=thing),
        EpochState(thing, work=thing, is_open=True),
        EpochState(thing, work=thing, is_open=True, decided=thing),
        EpochState(thing, work=thing, decided=thing, settled=thing),
        EpochState(thing, published=True),
        EpochState(thing, is_outside=True),
        EpochState(thing, work=thing, wrong="it pays too much"),
    ]
    assert tuple(map(state_of, states)) == STATES
