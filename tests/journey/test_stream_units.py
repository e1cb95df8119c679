"""Jobs in: the order in which batches are sent and epochs are sealed."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from meridian.errors import RemoteFault
from meridian.journey.stream import Ingested, stream
from meridian.measure.explain import Rejection
from meridian.networks.definition import JobSource
from meridian.networks.saturn import DEFINITION
from meridian.node.measure.client import Answer

GENESIS_S = 1_682_899_200  # 2023-05-01 00:00:00 UTC
HOUR_S = 3_600
US = 1_000_000


def batch(*seconds: int, end: str = "\n") -> bytes:
    """Records that ended so many seconds after genesis."""
    lines = []
    for second in seconds:
        hours, rest = divmod(second, HOUR_S)
        at = f"2023-05-01 {hours:02d}:{rest // 60:02d}:{rest % 60:02d}+00"
        lines.append(json.dumps({"job_id": str(second), "ended_at": at, "started_at": None}))
    return ("\n".join(lines) + end).encode()


def source_of(batches: Iterable[bytes], epochs: int = 3, **more: Any) -> JobSource:
    made = list(batches)
    return JobSource(
        definition=DEFINITION,
        genesis_s=GENESIS_S,
        epoch_seconds=HOUR_S,
        first_epoch=7,
        n_epochs=epochs,
        nodes={},
        jobs=sum(one.count(b"ended_at") for one in made),
        batches=lambda: iter(made),
        **more,
    )


@dataclass
class Service:
    """A measure service in memory: keeps what it was told, in order."""

    said: list[tuple[Any, ...]] = field(default_factory=list)
    states: dict[int, str] = field(default_factory=dict)
    answers: dict[bytes, Answer] = field(default_factory=dict)

    def epoch(self, epoch: int) -> dict[str, Any]:
        return {"state": self.states.get(epoch, "open")}

    def put_input(self, epoch: int, name: str, data: bytes) -> bytes:
        self.said.append(("input", epoch, name, data))
        return bytes(32)

    def set_clock(self, now_us: int) -> int:
        self.said.append(("clock", now_us // US - GENESIS_S))
        return now_us

    def submit(self, body: bytes, seed: bytes | None = None) -> Answer:
        self.said.append(("batch", body))
        number = body.count(b"ended_at")
        return self.answers.get(body, Answer(bytes(32), bytes(32), number, 0, (), None))

    def seal(self, epoch: int) -> dict[str, Any]:
        self.said.append(("seal", epoch))
        self.states[epoch] = "sealed"
        return {}


@dataclass
class Watched:
    total: Ingested
    sealed: list[int]
    progress: list[tuple[int, int]]


def run(source: JobSource, service: Service) -> Watched:
    kept: list[Answer] = []
    sealed: list[int] = []
    progress: list[tuple[int, int]] = []
    total = stream(source, service, kept.append, sealed.append, lambda *step: progress.append(step))
    assert len(kept) == sum(said[0] == "batch" for said in service.said)
    return Watched(total, sealed, progress)


def test_an_epoch_is_sealed_once_its_time_is_over_and_after_the_batch_that_shows_it() -> None:
    first, second, third = batch(10, 3_599), batch(3_599, 3_600), batch(7_199)
    service = Service()
    watched = run(source_of([first, second, third]), service)
    assert service.said == [
        ("clock", 3_599),
        ("batch", first),
        ("clock", 3_600),
        ("batch", second),
        ("seal", 7),
        ("clock", 7_199),
        ("batch", third),
        ("clock", 3 * HOUR_S),
        ("seal", 8),
        ("seal", 9),
    ]
    assert watched.sealed == [7, 8, 9]


def test_one_batch_may_end_several_epochs_and_empty_ones_are_sealed_too() -> None:
    service = Service()
    watched = run(source_of([batch(1), batch(2 * HOUR_S + 1)], epochs=4), service)
    assert watched.sealed == [7, 8, 9, 10]
    last_batch = max(at for at, said in enumerate(service.said) if said[0] == "batch")
    assert [said for said in service.said[last_batch + 1 :] if said[0] == "seal"] == [
        ("seal", epoch) for epoch in (7, 8, 9, 10)
    ]


def test_the_clock_is_set_before_the_batch_and_its_last_record_counts() -> None:
    service = Service()
    run(source_of([batch(5, 50, end="\n\n"), batch(60, end="")]), service)
    clocks = [said[1] for said in service.said if said[0] == "clock"]
    assert clocks == [50, 60, 3 * HOUR_S]


def test_every_record_is_counted_whether_or_not_a_batch_ends_with_a_line_end() -> None:
    watched = run(source_of([batch(1, 2), batch(3, end="")]), Service())
    assert (watched.total.sent, watched.total.accepted) == (3, 3)
    assert watched.progress == [(2, 3), (3, 3)]


def test_refusals_are_counted_by_their_reason() -> None:
    body = batch(1, 2, 3, 4)
    refused = [("duplicate", 0), ("duplicate", 1), ("too_late", 2)]
    rejected = tuple(
        Rejection(index=at, line=at, job_id="", field="", reason=reason, message="")
        for reason, at in refused
    )
    service = Service(answers={body: Answer(bytes(32), bytes(32), 1, 2, rejected, None)})
    total = run(source_of([body]), service).total
    assert total == Ingested(4, 1, 2, {"duplicate": 2, "too_late": 1})


def test_inputs_are_put_into_open_epochs_only_and_before_any_batch() -> None:
    inputs = {7: {"checks": b"a"}, 8: {"checks": b"b", "round": b"c"}}
    service = Service(states={7: "sealed"})
    run(source_of([batch(1)], inputs=inputs), service)
    assert service.said[:2] == [("input", 8, "checks", b"b"), ("input", 8, "round", b"c")]
    assert ("input", 7, "checks", b"a") not in service.said


def test_streaming_the_same_again_says_the_same() -> None:
    source, service = source_of([batch(1), batch(3_700)]), Service()
    first = run(source, service)
    said = list(service.said)
    service.said.clear()
    again = run(source, service)
    assert (service.said, again) == (said, first)


def test_a_source_without_jobs_seals_its_epochs() -> None:
    watched = run(source_of([]), Service())
    assert (watched.sealed, watched.total) == ([7, 8, 9], Ingested())


def test_a_failing_seal_ends_the_stream_and_is_not_told_as_sealed() -> None:
    class Failing(Service):
        def seal(self, epoch: int) -> dict[str, Any]:
            raise RemoteFault("away")

    kept: list[Answer] = []
    sealed: list[int] = []
    with pytest.raises(RemoteFault):
        stream(
            source_of([batch(3_700)]),
            Failing(),
            kept.append,
            sealed.append,
            lambda _done, _all: None,
        )
    assert sealed == []
