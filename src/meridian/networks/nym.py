"""The `nym` network: readings of mixnodes' uptime, as Nym-Apis collect them. A mixnode is a node, a reading a job.

Two kinds of NDJSON lines are read: records in the seed's data model, and readings as a Nym-Api's database holds them,
``{"mix_id": 17, "reliability": 93, "timestamp": 1683936000}`` with an optional ``api`` (who measured) and ``id``. The
timestamp is in Unix seconds; ``reliability`` is 0..100, or null where the mixnode could not be measured.

This is the half of the first seed that a network with a measure service needs; `meridian nym` is the other one, where
every Nym-Api measures for itself.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from meridian.errors import InvalidInput
from meridian.evaluate.functions.nym import READING
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.measure.times import parse_time
from meridian.networks.definition import BATCH_RECORDS, JobSource, NetworkDefinition
from meridian.networks.files import lines_of
from meridian.networks.generator import GENESIS_S, Draws, Traffic
from meridian.networks.lines import TimeTexts, batches_of, json_integer, json_text, record_template
from meridian.primitives.sumtree import LaneKind

EPOCH_SECONDS: Final = 3_600
FIRST_EPOCH: Final = 1
SECONDS_END: Final = 1 << 40
UNPLACED_MAX: Final = BATCH_RECORDS - 1
"""Lines without a place in time; fewer than a batch, so that each batch ends with a record that has one."""
MONITORS: Final = 4
"""Nym-Apis that measure in the generator's network."""

SCHEMA: Final = NetworkSchema(
    id=5,
    name="nym",
    evaluation_fields=(Field.integer(READING, nullable=True),),
    additional_fields=(Field.string("api", 64, required=False, nullable=True),),
    lanes=Lanes(LaneKind.PAIR_U64, (READING,)),
)

DEFINITION: Final = NetworkDefinition(
    name="nym",
    schema=SCHEMA,
    function="nym",
    reliability={"forgetting_ppm": 950_000, "tolerance_ppm": 20_000},
    economy={"settle_deferred": True},
    description="Nym: mixnodes, paid by their average uptime",
)


class _Reading(msgspec.Struct, kw_only=True):
    """A row of a Nym-Api's table of readings."""

    mix_id: int
    reliability: int | None
    timestamp: int
    api: int | str | None = None
    id: int | str | None = None


class _RecordHead(msgspec.Struct):
    """What is needed of a record in the seed's data model."""

    peer_id: str
    ended_at: str


_READING: Final = msgspec.json.Decoder(_Reading)
_RECORD_HEAD: Final = msgspec.json.Decoder(_RecordHead)
_TEMPLATE: Final = record_template(SCHEMA)


def node_id(mix_id: int) -> str:
    """Return the text id of a mixnode."""
    return f"mixnode-{mix_id}"


def _line(
    job: str, mix_id: int, at_us: int, value: int | None, api: str | None, text: TimeTexts
) -> str:
    instant = text(at_us)
    return _TEMPLATE % (
        json_text(job),
        json_text(node_id(mix_id)),
        instant,
        instant,
        json_integer(value),
        json_text(api),
    )


def _placed(data: bytes, text: TimeTexts) -> tuple[int, str, str] | None:
    """Return a line's end in microseconds, its node and its record; None where it has no place in time."""
    try:
        if b'"mix_id"' not in data:
            head = _RECORD_HEAD.decode(data)
            return parse_time(head.ended_at), head.peer_id, data.decode()
        reading = _READING.decode(data)
        if not 0 <= reading.timestamp < SECONDS_END:
            return None
        api = None if reading.api is None else str(reading.api)
        job = (
            f"{api}/{reading.mix_id}/{reading.timestamp}" if reading.id is None else str(reading.id)
        )
        at_us = reading.timestamp * 1_000_000
        line = _line(job, reading.mix_id, at_us, reading.reliability, api, text)
        return at_us, node_id(reading.mix_id), line
    except (msgspec.DecodeError, InvalidInput, ValueError):
        return None


def load(paths: Sequence[Path], *, epoch_seconds: int = EPOCH_SECONDS) -> JobSource:
    """Load NDJSON files of readings; the first epoch starts at a whole multiple of its length.

    Raises:
        NotFound: If a file does not exist.
        InvalidInput: If no line is a reading, or their times span too many epochs.
    """
    if epoch_seconds < 1:
        raise InvalidInput("epoch_seconds", f"{epoch_seconds} is not a length")
    text, placed, unplaced = TimeTexts(), list[tuple[int, str, str]](), list[str]()
    for path in paths:
        for number, data in lines_of(path):
            found = _placed(data, text)
            if found is not None:
                placed.append(found)
                continue
            unplaced.append(data.decode(errors="replace").rstrip("\n"))
            if len(unplaced) > UNPLACED_MAX:
                raise InvalidInput(
                    f"{path} line {number}", f"more than {UNPLACED_MAX} lines are no readings"
                )
    if not placed:
        raise InvalidInput("paths", "no line of the files is a reading or a record")
    placed.sort(key=lambda one: one[0])
    epoch_us = epoch_seconds * 1_000_000
    first, last = placed[0][0] // epoch_us, placed[-1][0] // epoch_us
    lines = [*unplaced, *(line.rstrip("\n") for _, _, line in placed)]
    return JobSource(
        definition=DEFINITION,
        genesis_s=first * epoch_seconds,
        epoch_seconds=epoch_seconds,
        first_epoch=FIRST_EPOCH,
        n_epochs=last - first + 1,
        nodes=dict.fromkeys(sorted({node for _, node, _ in placed})),
        jobs=len(lines),
        batches=lambda: batches_of(lines),
    )


def generate(traffic: Traffic) -> JobSource:
    """Make up readings: mixnodes of different reliability, lost readings, and some that are dark for an epoch.

    The jobs are readings, spread evenly over the mixnodes and the `MONITORS` that measure them.
    """
    draws = Draws(traffic.seed)
    truth = draws.below("truth", traffic.nodes, 101).tolist()

    def lines() -> Iterator[str]:
        text = TimeTexts()
        for epoch in range(traffic.epochs):
            count = traffic.jobs // traffic.epochs + (epoch < traffic.jobs % traffic.epochs)
            dark = set((draws.below(f"{epoch}/dark", traffic.nodes, 50) == 0).nonzero()[0].tolist())
            noise = draws.below(f"{epoch}/noise", count, 17).tolist()
            lost = draws.below(f"{epoch}/lost", count, 20).tolist()
            start_us = (GENESIS_S + epoch * EPOCH_SECONDS) * 1_000_000
            for number in range(count):
                mix_id = number % traffic.nodes
                at_us = start_us + number * EPOCH_SECONDS * 1_000_000 // count
                value = min(100, max(0, truth[mix_id] + noise[number] - 8))
                missing = lost[number] == 0 or mix_id in dark
                api = str(1 + number // traffic.nodes % MONITORS)
                yield _line(
                    f"{epoch}/{number}", mix_id, at_us, None if missing else value, api, text
                )

    return JobSource(
        definition=DEFINITION,
        genesis_s=GENESIS_S,
        epoch_seconds=EPOCH_SECONDS,
        first_epoch=FIRST_EPOCH,
        n_epochs=traffic.epochs,
        nodes={node_id(mix_id): None for mix_id in range(min(traffic.nodes, traffic.jobs))},
        jobs=traffic.jobs,
        batches=lambda: batches_of(lines()),
    )
