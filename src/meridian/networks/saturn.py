"""The `saturn` network: retrievals served by the L1 nodes of the Saturn CDN.

The schema is the seed's Saturn record. Two kinds of NDJSON lines are read: records in the seed's data model, and log
lines as Saturn's own pipeline wrote them (numBytesSent, requestDurationSec, ttfbMs, ...), which are mapped. What cannot
be mapped or placed in time is passed on as it is, so that the ingest can refuse it with a reason.

Durations come from the logs as floating-point numbers of seconds (1.6223260800000001); they are rounded to the
nanoseconds that were measured, half to even, and exact from there on.
"""

from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Final

import msgspec

from meridian.errors import InvalidInput
from meridian.measure.schema import INT64_MAX, Field, Lanes, NetworkSchema
from meridian.measure.times import parse_time
from meridian.networks.definition import BATCH_RECORDS, JobSource, NetworkDefinition
from meridian.networks.files import read_file
from meridian.networks.lines import (
    TimeTexts,
    batches_of,
    json_decimal,
    json_integer,
    json_text,
    record_template,
)
from meridian.primitives.sumtree import LaneKind

EPOCH_SECONDS: Final = 3_600
DURATION_SCALE: Final = 9
NODE_ID_BYTES_MAX: Final = 128
BYTES_MAX: Final = 1 << 40
"""Bytes of one request: far above any real one, and small enough that one liar cannot fill an epoch's sum."""
UNPLACED_MAX: Final = BATCH_RECORDS - 1
"""Lines without a place in time; fewer than a batch, so that each batch ends with a record that has one."""

SCHEMA: Final = NetworkSchema(
    id=1,
    name="saturn",
    evaluation_fields=(
        Field.integer("num_bytes_sent", maximum=BYTES_MAX),
        Field.decimal("request_duration_sec", DURATION_SCALE),
        Field.integer("ttfb_ms", nullable=True),
    ),
    additional_fields=(
        Field.integer("status code"),
        Field.boolean("cache_hit"),
        Field.string("client_id", 64, required=False, nullable=True),
        Field.string("client_address", 48, required=False, nullable=True),
        Field.string("cid", 96, required=False, nullable=True),
    ),
    lanes=Lanes(LaneKind.PAIR_U64, ("num_bytes_sent",)),
)

DEFINITION: Final = NetworkDefinition(
    name="saturn",
    schema=SCHEMA,
    function="saturn",
    function_parameters={
        "ttfb_limit_ms": 5_000,
        "duration_limit_ns": 10_000_000_000,
        "error_status_min": 400,
        "null_ttfb_error_is_miss": True,
        "flagged": [],
    },
    layers={
        "self-requests": {},
        "fast-requests": {},
        "high-requests": {},
        "high-bandwidth": {},
        "bot-requests": {},
        "bot-bytes": {},
        "doctored-content": {},
        "single-client-requests": {},
        "single-client-bytes": {},
    },
    reliability={"forgetting_ppm": 950_000, "tolerance_ppm": 20_000},
    economy={"settle_deferred": True},
    description="Saturn: retrievals, paid by bytes^0.5 * speed^2 * uptime^2",
)


class _LogLine(msgspec.Struct, kw_only=True):
    """A line of Saturn's own logs; other keys are left aside."""

    request_id: str = msgspec.field(name="requestId")
    node_id: str = msgspec.field(name="nodeId")
    start_time: str = msgspec.field(name="startTime")
    num_bytes_sent: int = msgspec.field(name="numBytesSent")
    duration: msgspec.Raw = msgspec.field(name="requestDurationSec")
    ttfb_ms: int | None = msgspec.field(name="ttfbMs", default=None)
    status: int = msgspec.field(name="httpStatusCode")
    cache_hit: bool = msgspec.field(name="cacheHit")
    client_id: str | None = msgspec.field(name="clientId", default=None)
    client_address: str | None = msgspec.field(name="clientAddress", default=None)
    cid: str | None = None


class _RecordHead(msgspec.Struct):
    """What is needed of a record in the seed's data model."""

    peer_id: str
    ended_at: str


_LOG_LINE: Final = msgspec.json.Decoder(_LogLine)
_RECORD_HEAD: Final = msgspec.json.Decoder(_RecordHead)
_TEMPLATE: Final = record_template(SCHEMA)

_Placed = tuple[int, str, str]
"""End in microseconds, node id, and the record's line."""


def _duration_ns(text: bytes) -> int:
    units = Decimal(text.decode()).scaleb(DURATION_SCALE).to_integral_value(ROUND_HALF_EVEN)
    return int(units)


def _from_log(text: bytes, time_text: TimeTexts) -> _Placed:
    """Map a line of Saturn's logs to a record."""
    log = _LOG_LINE.decode(text)
    duration_ns = _duration_ns(bytes(log.duration))
    if not 0 <= duration_ns <= INT64_MAX:
        raise InvalidInput("requestDurationSec", "is negative or beyond what fits")
    started_us = parse_time(log.start_time)
    ended_us = started_us + duration_ns // 1_000
    line = _TEMPLATE % (
        json_text(log.request_id),
        json_text(log.node_id),
        time_text(started_us),
        time_text(ended_us),
        json_integer(log.num_bytes_sent),
        json_decimal(duration_ns, DURATION_SCALE),
        json_integer(log.ttfb_ms),
        json_integer(log.status),
        "true" if log.cache_hit else "false",
        json_text(log.client_id),
        json_text(log.client_address),
        json_text(log.cid),
    )
    return ended_us, log.node_id, line


def _placed(text: bytes, time_text: TimeTexts) -> _Placed | None:
    """Return a line's record with its place in time, or None where it has none."""
    try:
        if b'"nodeId"' in text and b'"peer_id"' not in text:
            return _from_log(text, time_text)
        head = _RECORD_HEAD.decode(text)
        return parse_time(head.ended_at), head.peer_id, text.decode()
    except (
        msgspec.DecodeError,
        InvalidInput,
        ValueError,
        ArithmeticError,
    ):  # bad JSON, text, number or time
        return None


def load(paths: Sequence[Path], *, epoch_seconds: int = EPOCH_SECONDS) -> JobSource:
    """Load NDJSON files of Saturn logs or of records in the seed's data model.

    The first epoch starts at the whole multiple of `epoch_seconds` before the first job ends.

    Raises:
        NotFound: If a file does not exist.
        InvalidInput: If no line of the files is a job, or their times span too many epochs.
    """
    if epoch_seconds < 1:
        raise InvalidInput("epoch_seconds", f"{epoch_seconds} is not a length")
    time_text, jobs, nodes = TimeTexts(), list[tuple[int, str]](), set[str]()
    unplaced: list[str] = []
    for path in paths:
        for text in read_file(path).splitlines():
            if not text.strip():
                continue
            placed = _placed(text, time_text)
            if placed is None:
                unplaced.append(text.decode(errors="replace"))
                if len(unplaced) > UNPLACED_MAX:
                    raise InvalidInput(str(path), f"more than {UNPLACED_MAX} lines are no records")
                continue
            ended_us, node_id, line = placed
            jobs.append((ended_us, line))
            if 1 <= len(node_id.encode()) <= NODE_ID_BYTES_MAX:
                nodes.add(node_id)
    if not jobs:
        raise InvalidInput("paths", "no line of the files is a Saturn log or a record")
    jobs.sort(key=lambda job: job[0])
    epoch_us = epoch_seconds * 1_000_000
    first, last = jobs[0][0] // epoch_us, jobs[-1][0] // epoch_us

    def lines() -> Iterator[str]:
        yield from unplaced
        for _, line in jobs:
            yield line

    return JobSource(
        definition=DEFINITION,
        genesis_s=first * epoch_seconds,
        epoch_seconds=epoch_seconds,
        first_epoch=1,
        n_epochs=last - first + 1,
        nodes=dict.fromkeys(sorted(nodes)),
        jobs=len(jobs) + len(unplaced),
        batches=lambda: batches_of(lines()),
    )
