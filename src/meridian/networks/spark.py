"""The `spark` network: checks of Filecoin retrievals by the stations of SPARK.

A node is a station, and its payee the participant that the station's first record names; ``f410f…`` and ``0x…`` in any
letter case are one account. Three kinds of NDJSON lines are read:

- raw measurements as spark-publish wrote them (``participant_address``, ``station_id``, ``finished_at``, ...), which are
  mapped; what cannot be placed in time or attributed is passed on, so that the ingest can refuse it with a reason;
- records in the seed's data model;
- rounds: ``{"randomness": ..., "round_details": {...}}`` with the details as SPARK's API gave them. A round starts at the
  Filecoin epoch ``startEpoch`` of 30 s; the first one is the network's genesis, and each falls into an epoch of its own.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from meridian.errors import InvalidInput
from meridian.evaluate.functions.spark import RANDOMNESS, ROUND_DETAILS, round_details
from meridian.evaluate.spark.job_columns import (
    BYTE_LENGTH,
    CAR_CHECKSUM,
    CAR_TOO_LARGE,
    CID,
    END,
    FIRST_BYTE,
    HEAD_STATUS,
    INDEXER_RESULT,
    INET_GROUP,
    MINER,
    PARTICIPANT,
    PROTOCOL,
    PROVIDER,
    PROVIDER_ADDRESS,
    START,
    STATUS,
    TIMEOUT,
)
from meridian.evaluate.spark.preprocess import is_address, parsed_instant, participant_address
from meridian.evaluate.spark.rounds import REQUIRED_COMMITTEE_SIZE
from meridian.evaluate.spark.scores import BURNER, scores
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.measure.times import format_time, parse_time
from meridian.networks.definition import BATCH_RECORDS, JobSource, NetworkDefinition
from meridian.networks.files import lines_of
from meridian.networks.lines import TimeTexts, batches_of, record_template
from meridian.primitives import dagcbor
from meridian.primitives.ids import Address, parse_address
from meridian.primitives.sumtree import LaneKind

EPOCH_SECONDS: Final = 1_200
"""A round of SPARK: 20 minutes."""
FILECOIN_GENESIS_S: Final = 1_598_306_400
"""2020-08-24 22:00:00 UTC."""
FILECOIN_EPOCH_S: Final = 30
FIRST_EPOCH: Final = 1
BYTES_MAX: Final = 1 << 40
UNPLACED_MAX: Final = BATCH_RECORDS - 1
"""Lines without a place in time; fewer than a batch, so that each batch ends with a record that has one."""

SCHEMA: Final = NetworkSchema(
    id=4,
    name="spark",
    evaluation_fields=(
        Field.string(PARTICIPANT, 64),
        Field.string(INET_GROUP, 64),
        Field.string(CID, 128, nullable=True),
        Field.string(MINER, 64, nullable=True),
        Field.string(INDEXER_RESULT, 64, required=False, nullable=True),
        Field.string(PROVIDER, 96, required=False, nullable=True),
        Field.string(PROVIDER_ADDRESS, 256, required=False, nullable=True),
        Field.string(PROTOCOL, 16, required=False, nullable=True),
        Field.integer(STATUS, required=False, nullable=True),
        Field.integer(HEAD_STATUS, required=False, nullable=True),
        Field.boolean(TIMEOUT, required=False, nullable=True),
        Field.boolean(CAR_TOO_LARGE, required=False, nullable=True),
        Field.integer(BYTE_LENGTH, maximum=BYTES_MAX, required=False, nullable=True),
        Field.string(CAR_CHECKSUM, 128, required=False, nullable=True),
        Field.integer(START, required=False, nullable=True),
        Field.integer(FIRST_BYTE, required=False, nullable=True),
        Field.integer(END, required=False, nullable=True),
    ),
    additional_fields=(
        Field.string("spark_version", 32, required=False, nullable=True),
        Field.string("zinnia_version", 32, required=False, nullable=True),
    ),
    lanes=Lanes(LaneKind.PAIR_U64, (BYTE_LENGTH,)),
)


def participant_scores(weights: Mapping[str, int]) -> dict[str, int]:
    """Return each participant's part of 10^15, from the sum of its stations' weights; all addresses in lower case."""
    return scores(weights, BURNER.lower())


DEFINITION: Final = NetworkDefinition(
    name="spark",
    schema=SCHEMA,
    function="spark",
    function_parameters={"committee_size": REQUIRED_COMMITTEE_SIZE},
    description="SPARK: checks of retrievals, paid by what SPARK's fraud rules reward",
    scores=participant_scores,
)

_RAW_NAMES: Final = {
    STATUS: "status_code",
    START: "start_at",
    FIRST_BYTE: "first_byte_at",
    END: "end_at",
}
"""Field -> key of a raw record, where they differ."""

_TEMPLATE: Final = record_template(SCHEMA)
_KEYS: Final = tuple(_RAW_NAMES.get(item.name, item.name) for item in SCHEMA.fields)
_TIME_NAMES: Final = (START, FIRST_BYTE, END)
_TIMES: Final = slice(_KEYS.index("start_at"), _KEYS.index("end_at") + 1)
_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class _Placed:
    """A record with its place in time."""

    ended_us: int
    station: str
    participant: Any
    line: str


@dataclass(slots=True)
class _Contents:
    """What the lines held."""

    placed: list[_Placed] = field(default_factory=list)
    unplaced: list[str] = field(default_factory=list)
    rounds: list[tuple[int, dict[str, bytes]]] = field(default_factory=list)
    """Start in Unix seconds, and the inputs."""


def _json(value: Any) -> str:
    return _ENCODER.encode(value).decode()


def _time_field(name: str, value: Any) -> int | None:
    if name == END and not isinstance(value, str):
        return None
    instant = parsed_instant(value)
    if instant is None:
        return 0 if name == END else None
    return max(instant, 0)


def _from_raw(record: dict[str, Any], time_text: TimeTexts) -> _Placed | None:
    """Map a raw measurement; None where it has no id, no station or no time."""
    job, station = record.get("id"), record.get("station_id")
    finished_ms = parsed_instant(record.get("finished_at"))
    if isinstance(job, int) and not isinstance(job, bool):
        job = str(job)
    if not isinstance(job, str) or not isinstance(station, str):
        return None
    if not job or not station or finished_ms is None or finished_ms < 0:
        return None
    values = [record.get(key) for key in _KEYS]
    values[_TIMES] = [_time_field(*pair) for pair in zip(_TIME_NAMES, values[_TIMES], strict=True)]
    started_ms = parsed_instant(record.get("start_at"))
    if started_ms is None or not 0 <= started_ms <= finished_ms:
        started_ms = finished_ms
    line = _TEMPLATE % (
        _json(job),
        _json(station),
        time_text(started_ms * 1_000),
        time_text(finished_ms * 1_000),
        *map(_json, values),
    )
    return _Placed(finished_ms * 1_000, station, record.get("participant_address"), line)


def _from_record(record: dict[str, Any], text: str) -> _Placed | None:
    """Place a record in the seed's data model; None where it has no station or no time."""
    station, ended = record.get("peer_id"), record.get("ended_at")
    fields = record.get("evaluation_fields")
    if not isinstance(station, str) or not isinstance(ended, str) or not isinstance(fields, list):
        return None
    named = [item for item in fields if isinstance(item, dict) and item.get("name") == PARTICIPANT]
    participant = named[0].get("value") if named else None
    try:
        return _Placed(parse_time(ended), station, participant, text.strip())
    except InvalidInput:
        return None


def _round(value: dict[str, Any]) -> tuple[int, dict[str, bytes]]:
    details = value.get("round_details")
    if "measurements" in value:
        raise InvalidInput("measurements", "stand on lines of their own, as raw records")
    if not isinstance(details, dict):
        raise InvalidInput("round_details", "is not an object")
    start = details.get("startEpoch")
    if isinstance(start, str) and start.isascii() and start.isdigit() and len(start) < 16:
        start = int(start)
    if type(start) is not int or start < 0:
        raise InvalidInput("round_details.startEpoch", f"{start!r:.40} is not a Filecoin epoch")
    tasks = details.get("retrievalTasks")
    kept = {
        "startEpoch": start,
        "maxTasksPerNode": details.get("maxTasksPerNode"),
        "retrievalTasks": [
            {name: task.get(name) for name in ("cid", "minerId")} if isinstance(task, dict) else 0
            for task in (tasks if isinstance(tasks, list) else [0])
        ],
    }
    inputs = {
        ROUND_DETAILS: dagcbor.encode(kept),
        RANDOMNESS: dagcbor.encode(value.get("randomness")),
    }
    round_details(inputs, REQUIRED_COMMITTEE_SIZE)  # what the function would refuse is refused now
    return FILECOIN_GENESIS_S + start * FILECOIN_EPOCH_S, inputs


def _read(lines: Iterable[tuple[str, bytes]]) -> _Contents:
    contents, time_text = _Contents(), TimeTexts()
    for where, text in lines:
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            _pass_on(contents, where, text.decode(errors="replace"))
            continue
        if isinstance(value, list):  # an older batch: all its measurements on one line
            for item in value:
                _take(contents, where, item, json.dumps(item), time_text)
        else:
            _take(contents, where, value, text.decode(), time_text)
    return contents


def _take(contents: _Contents, where: str, value: Any, text: str, time_text: TimeTexts) -> None:
    """Add what a line says to the contents."""
    placed = None
    if isinstance(value, dict) and "round_details" in value:
        try:
            contents.rounds.append(_round(value))
        except InvalidInput as error:
            raise InvalidInput(f"{where}: {error.field}", error.reason) from None
        return
    if isinstance(value, dict) and "peer_id" in value:
        placed = _from_record(value, text)
    elif isinstance(value, dict):
        placed = _from_raw(value, time_text)
    if placed is None:
        _pass_on(contents, where, text)
    else:
        contents.placed.append(placed)


def _pass_on(contents: _Contents, where: str, text: str) -> None:
    contents.unplaced.append(text.strip())
    if len(contents.unplaced) > UNPLACED_MAX:
        raise InvalidInput(where, f"more than {UNPLACED_MAX} lines are no measurements")


def _payee(participant: Any) -> Address | None:
    try:
        text = participant_address(participant) if isinstance(participant, str) else ""
    except InvalidInput:
        return None
    return parse_address(text) if is_address(text) else None


def source_of(
    lines: Iterable[tuple[str, bytes]], *, epoch_seconds: int = EPOCH_SECONDS
) -> JobSource:
    """Return the jobs and rounds that lines hold.

    Args:
        lines: Where each stands (for messages), and its bytes.
        epoch_seconds: Length of an epoch.

    Raises:
        InvalidInput: If there are no measurements, a round is malformed, two rounds start in one epoch, or measurements
            were finished when there was none.
    """
    if epoch_seconds < 1:
        raise InvalidInput("epoch_seconds", f"{epoch_seconds} is not a length")
    contents = _read(lines)
    if not contents.placed:
        raise InvalidInput("paths", "no line of the files is a measurement or a record")
    if not contents.rounds:
        raise InvalidInput(
            "paths",
            'no line of the files is a round: {"randomness": "…", "round_details": {"startEpoch": …}}',
        )
    placed = sorted(contents.placed, key=lambda record: record.ended_us)
    genesis_s = min(start for start, _ in contents.rounds)
    inputs: dict[int, dict[str, bytes]] = {}
    for start, given in contents.rounds:
        epoch = FIRST_EPOCH + (start - genesis_s) // epoch_seconds
        if epoch in inputs:
            raise InvalidInput("rounds", f"two start within {epoch_seconds} s: {_text(start)}")
        inputs[epoch] = given
    nodes: dict[str, Address | None] = {}
    for record in placed:
        epoch = FIRST_EPOCH + (record.ended_us // 1_000_000 - genesis_s) // epoch_seconds
        if epoch not in inputs:
            when = format_time(record.ended_us)
            raise InvalidInput("rounds", f"none holds {when}, when a measurement was finished")
        if nodes.get(record.station) is None:
            nodes[record.station] = _payee(record.participant)

    def texts() -> Iterator[str]:
        yield from contents.unplaced
        for record in placed:
            yield record.line

    return JobSource(
        definition=DEFINITION,
        genesis_s=genesis_s,
        epoch_seconds=epoch_seconds,
        first_epoch=FIRST_EPOCH,
        n_epochs=max(inputs) - FIRST_EPOCH + 1,
        nodes=dict(sorted(nodes.items())),
        jobs=len(placed) + len(contents.unplaced),
        batches=lambda: batches_of(texts()),
        inputs=inputs,
    )


def _text(instant_s: int) -> str:
    return format_time(instant_s * 1_000_000)


def load(paths: Sequence[Path], *, epoch_seconds: int = EPOCH_SECONDS) -> JobSource:
    """Load NDJSON files of measurements and of rounds, in any order.

    Raises:
        NotFound: If a file does not exist.
        InvalidInput: As `source_of`, or if a file cannot be read.
    """
    lines = ((f"{path} line {number}", text) for path in paths for number, text in lines_of(path))
    return source_of(lines, epoch_seconds=epoch_seconds)
