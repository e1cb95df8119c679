"""Made-up Saturn traffic of any size: the same bytes from the same seed on every machine.

All draws come from SplitMix64 (Steele, Lea, Flood 2014) over integers, one stream for each purpose, so nothing depends
on a library's generator, on floats or on the order of draws. The traffic has what an evaluation must cope with: nodes
of different size and speed, errors, requests whose TTFB nobody measured, nodes that are offline for an epoch, nodes
that request from themselves, and nodes that report impossible speeds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from meridian.errors import InvalidInput
from meridian.evaluate.functions.saturn import HEALTH_CHECKS
from meridian.networks.definition import JobSource
from meridian.networks.lines import (
    TimeTexts,
    batches_of,
    json_decimal,
    json_integer,
    json_text,
    record_template,
)
from meridian.networks.saturn import DEFINITION, DURATION_SCALE, SCHEMA
from meridian.primitives import dagcbor
from meridian.primitives.cid import cid_text, digest_of

GENESIS_S: Final = 1_682_899_200
"""2023-05-01 00:00:00 UTC, the day of the design document's examples."""
EPOCH_SECONDS: Final = 3_600
FIRST_EPOCH: Final = 1
CHECKS_PER_EPOCH: Final = 60
"""One health check each minute."""
CONTENTS: Final = 1_000
CLIENTS: Final = 20_000

_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Draws:
    """Streams of integers from one seed, addressed by name."""

    seed: int

    def below(self, stream: str, count: int, end: int) -> Integers:
        """Return `count` integers in 0..end-1 (`end` is far below 2^64, so the bias of the remainder is nothing)."""
        start = int.from_bytes(digest_of(f"{self.seed}/{stream}".encode())[:8], "big")
        state = np.arange(1, count + 1, dtype=np.uint64) * _GAMMA + np.uint64(start)
        state = (state ^ (state >> np.uint64(30))) * _MIX_1
        state = (state ^ (state >> np.uint64(27))) * _MIX_2
        return ((state ^ (state >> np.uint64(31))) % np.uint64(end)).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What is asked of the generator."""

    seed: int = 1
    jobs: int = 200_000
    nodes: int = 300
    epochs: int = 3

    def __post_init__(self) -> None:
        for name, least, most in (("jobs", 1, 10**8), ("nodes", 1, 10**6), ("epochs", 1, 1_000)):
            if not least <= getattr(self, name) <= most:
                raise InvalidInput(name, f"{getattr(self, name)} is not in {least}..{most}")


@dataclass(frozen=True, slots=True)
class _Fleet:
    """The nodes and their habits, one entry for each."""

    ids: list[str]
    popularity: Integers
    """Cumulative; the last entry is the whole."""
    latency_ms: Integers
    ns_per_byte: Integers
    self_dealer: npt.NDArray[np.bool_]
    liar: npt.NDArray[np.bool_]
    """Reports impossible speeds."""
    offline_epoch: Integers
    """Index of the epoch in which the node is away, -1 for never."""


def _fleet(traffic: Traffic, draws: Draws) -> _Fleet:
    count = traffic.nodes
    ids = []
    for number in range(count):
        digits = digest_of(f"{traffic.seed}/node/{number}".encode()).hex()
        ids.append(f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-a{digits[15:18]}-{digits[18:30]}")
    habit = draws.below("habit", count, 100)
    away = draws.below("away", count, 100)
    alone = traffic.epochs == 1
    return _Fleet(
        ids=ids,
        popularity=np.cumsum(1 + draws.below("popularity", count, 20) ** 2),
        latency_ms=20 + draws.below("latency", count, 400),
        ns_per_byte=8 + draws.below("speed", count, 200),
        self_dealer=habit < 3,
        liar=(habit >= 3) & (habit < 5),
        offline_epoch=np.where((away < 4) & (not alone), away % traffic.epochs, -1),
    )


@dataclass(frozen=True, slots=True)
class _EpochJobs:
    """The jobs of one epoch in the order of their ends, as columns."""

    node: Integers
    ended_us: Integers
    duration_ns: Integers
    bytes_sent: Integers
    ttfb_ms: Integers
    """-1 where it was not measured."""
    status: Integers
    cache_hit: npt.NDArray[np.bool_]
    client: Integers
    """-1 where the client is the node itself."""
    content: Integers


def _epoch_jobs(
    traffic: Traffic, draws: Draws, fleet: _Fleet, epoch: int, count: int
) -> _EpochJobs:
    def below(stream: str, end: int) -> Integers:
        return draws.below(f"{epoch}/{stream}", count, end)

    here = np.where(fleet.offline_epoch == epoch, 0, np.diff(fleet.popularity, prepend=0))
    if not here.any():  # in a small fleet all may be away: then nobody is
        here = np.ones(traffic.nodes, dtype=np.int64)
    cumulative = np.cumsum(here)
    node = np.searchsorted(cumulative, below("node", int(cumulative[-1])), side="right")
    epoch_us = EPOCH_SECONDS * 1_000_000
    start_us = (GENESIS_S + epoch * EPOCH_SECONDS) * 1_000_000
    ended_us = start_us + np.sort(below("end", epoch_us))
    error = below("error", 100) < 3
    bytes_sent = np.where(error, 294, (1 << (10 + below("size", 11))) + below("rest", 1_000))
    slow = below("slow", 16) == 0
    latency_ms = fleet.latency_ms[node] + below("jitter", 100) + slow * below("stall", 12_000)
    duration_ns = (
        latency_ms * 1_000_000 + bytes_sent * fleet.ns_per_byte[node] + below("noise", 999_983)
    )
    too_fast = fleet.liar[node] & (below("lie", 4) == 0) & ~error
    bytes_sent = np.where(too_fast, bytes_sent * 4_096, bytes_sent)
    duration_ns = np.where(too_fast, 1_000 + below("blink", 1_000), duration_ns)
    measured = np.where(error, below("timed", 100) < 20, below("timed", 100) < 95)
    ttfb_ms = np.where(measured, np.minimum(latency_ms, duration_ns // 1_000_000), -1)
    own_client = fleet.self_dealer[node] & (below("self", 5) < 2)
    codes = np.array([502, 502, 502, 504, 404], dtype=np.int64)
    return _EpochJobs(
        node=node.astype(np.int64),
        ended_us=ended_us,
        duration_ns=duration_ns,
        bytes_sent=bytes_sent,
        ttfb_ms=ttfb_ms,
        status=np.where(error, codes[below("code", len(codes))], 200),
        cache_hit=below("cache", 100) < 60,
        client=np.where(own_client, -1, below("client", CLIENTS)),
        content=below("content", CONTENTS),
    )


def _epoch_lines(fleet: _Fleet, jobs: _EpochJobs, first: int, contents: list[str]) -> Iterator[str]:
    template, time_text = record_template(SCHEMA), TimeTexts()
    ids = [json_text(node_id) for node_id in fleet.ids]
    columns: list[list[Any]] = [
        column.tolist()
        for column in (
            jobs.node,
            jobs.ended_us,
            jobs.duration_ns,
            jobs.bytes_sent,
            jobs.ttfb_ms,
            jobs.status,
            jobs.cache_hit,
            jobs.client,
            jobs.content,
        )
    ]
    rows = zip(*columns, strict=True)
    for number, (
        node,
        ended_us,
        duration_ns,
        size,
        ttfb_ms,
        status,
        hit,
        client,
        content,
    ) in enumerate(rows, first):
        node_id = ids[node]
        yield template % (
            f'"request-{number}"',
            node_id,
            time_text(ended_us - duration_ns // 1_000),
            time_text(ended_us),
            size,
            json_decimal(duration_ns, DURATION_SCALE),
            json_integer(None if ttfb_ms < 0 else ttfb_ms),
            status,
            "true" if hit else "false",
            node_id if client < 0 else f'"client-{client}"',
            f'"198.51.100.{client % 254 + 1}"',
            contents[content],
        )


def _health_checks(traffic: Traffic, draws: Draws, fleet: _Fleet, epoch: int) -> bytes:
    failing = draws.below(f"{epoch}/failing", traffic.nodes, 10) == 0
    failed = np.where(failing, 1 + draws.below(f"{epoch}/failed", traffic.nodes, 20), 0)
    up = np.where(fleet.offline_epoch == epoch, 0, CHECKS_PER_EPOCH - failed).tolist()
    return dagcbor.encode(
        {node_id: [passed, CHECKS_PER_EPOCH] for node_id, passed in zip(fleet.ids, up, strict=True)}
    )


def _contents() -> list[str]:
    return [
        json_text(cid_text(digest_of(f"content/{number}".encode()))) for number in range(CONTENTS)
    ]


def following(traffic: Traffic, epoch: int, jobs: int, batch: int) -> JobSource:
    """Return a source of one epoch after those that `generate` makes, with jobs of the same nodes.

    Args:
        traffic: As given to `generate`.
        epoch: Its number.
        jobs: How many it has.
        batch: Greatest number of records in one batch.

    Raises:
        InvalidInput: If `generate` makes the epoch.
    """
    index = epoch - FIRST_EPOCH
    if index < traffic.epochs:
        raise InvalidInput("epoch", f"{epoch} does not follow those of the traffic")
    draws = Draws(traffic.seed)
    fleet = _fleet(traffic, draws)
    first = traffic.jobs + (index - traffic.epochs) * jobs
    contents = _contents()

    def lines() -> Iterator[str]:
        made = _epoch_jobs(traffic, draws, fleet, index, jobs)
        return _epoch_lines(fleet, made, first, contents)

    return JobSource(
        definition=DEFINITION,
        genesis_s=GENESIS_S + index * EPOCH_SECONDS,
        epoch_seconds=EPOCH_SECONDS,
        first_epoch=epoch,
        n_epochs=1,
        nodes=dict.fromkeys(fleet.ids),
        jobs=jobs,
        batches=lambda: batches_of(lines(), batch),
        inputs={epoch: {HEALTH_CHECKS: _health_checks(traffic, draws, fleet, index)}},
    )


def generate(traffic: Traffic) -> JobSource:
    """Return a source of made-up Saturn jobs, spread evenly over the epochs."""
    draws = Draws(traffic.seed)
    fleet = _fleet(traffic, draws)
    contents = _contents()
    shares, rest = divmod(traffic.jobs, traffic.epochs)

    def lines() -> Iterator[str]:
        first = 0
        for epoch in range(traffic.epochs):
            count = shares + (epoch < rest)
            jobs = _epoch_jobs(traffic, draws, fleet, epoch, count)
            yield from _epoch_lines(fleet, jobs, first, contents)
            first += count

    return JobSource(
        definition=DEFINITION,
        genesis_s=GENESIS_S,
        epoch_seconds=EPOCH_SECONDS,
        first_epoch=FIRST_EPOCH,
        n_epochs=traffic.epochs,
        nodes=dict.fromkeys(fleet.ids),
        jobs=traffic.jobs,
        batches=lambda: batches_of(lines()),
        inputs={
            FIRST_EPOCH + epoch: {HEALTH_CHECKS: _health_checks(traffic, draws, fleet, epoch)}
            for epoch in range(traffic.epochs)
        },
    )
