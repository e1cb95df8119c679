"""Rounds as JSON lines: the form of the reference programme's vectors.

A line is an object with ``randomness``, ``required_committee_size`` (30 where it is missing), ``round_details``
(``maxTasksPerNode`` and ``retrievalTasks``, each with ``cid`` and ``minerId``) and ``measurements``, which are already
preprocessed: their results are set, times are milliseconds, ids may be short and addresses are taken as they are. Other
keys, ``expected`` among them, are not looked at.

A measurement without a station, an inet group or a time cannot be evaluated. The original gives up the whole round for
one; here it is refused alone, its two verdicts are null, and the others are judged without it.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import msgspec
import numpy as np

from meridian.errors import InvalidInput
from meridian.evaluate.spark.committees import NOBODY
from meridian.evaluate.spark.javascript import (
    ABSENT,
    INSTANT_MAX_MS,
    compared,
    instant_ms,
    number,
    text_of,
    written,
)
from meridian.evaluate.spark.rounds import (
    NO_INSTANT,
    NOT_IN_ROUND,
    REQUIRED_COMMITTEE_SIZE,
    Columns,
    RoundDetails,
    RoundVerdicts,
    evaluate_round,
    task_name,
)
from meridian.evaluate.spark.scores import scores
from meridian.evaluate.spark.tasking import Integers, Task, Tasking
from meridian.evaluate.spark.verdicts import PAIRS, REFUSED, REWARDED

_INDEX_FIELDS: Final = ("providerId", "indexerResult", "provider_address", "protocol")
_RETRIEVAL_FIELDS: Final = ("retrievalResult", "byte_length", "carChecksum")
_INTEGER_DIGITS: Final = 16

_Measurement: Final = msgspec.defstruct(
    "_Measurement",
    [
        (name, Any, msgspec.UNSET)
        for name in (
            *("cid", "minerId", "stationId", "inet_group", "finished_at", "participantAddress"),
            *_INDEX_FIELDS,
            *_RETRIEVAL_FIELDS,
        )
    ],
    gc=False,
)
"""What is read of a measurement; `ABSENT` where it does not have the key."""


class _Line(msgspec.Struct, kw_only=True, gc=False):
    randomness: Any = msgspec.UNSET
    required_committee_size: Any = msgspec.UNSET
    round_details: Any = msgspec.UNSET
    measurements: Any = msgspec.UNSET


class _UsualLine(_Line, kw_only=True, gc=False):
    measurements: list[_Measurement]  # type: ignore[valid-type] # made above


_DECODER: Final = msgspec.json.Decoder(_UsualLine)


@dataclass(frozen=True, slots=True)
class Round:
    """A round as a line gives it."""

    details: RoundDetails
    measurements: Sequence[Any]
    """`_Measurement`s; None where the line has something else than an object."""


@dataclass(frozen=True, slots=True)
class EvaluatedRound:
    """What is said of a round."""

    verdicts: RoundVerdicts
    scores: dict[str, int]
    """Participant, as written -> its part of 10^15."""
    committee_decisions: dict[str, list[Any]]
    """``cid::minerId`` -> [index majority found, indexer result, retrieval majority found, retrieval result]."""
    refused: dict[int, str]
    """Place of a measurement that was refused -> field and reason."""

    def document(self) -> dict[str, Any]:
        """Return the result in the shape of the vectors' ``expected``."""
        return {
            "verdicts": [PAIRS[code] for code in self.verdicts.codes.tolist()],
            "scores": {name: str(score) for name, score in self.scores.items()},
            "committee_decisions": self.committee_decisions,
        }


def read_round(line: bytes) -> Round:
    """Read a line.

    Raises:
        InvalidInput: With the field's path, if it is not a round.
    """
    try:
        usual = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_unusual(line)
    return Round(_details(usual), usual.measurements)


def _read_unusual(line: bytes) -> Round:
    """Read whatever JSON allows and the fast reader does not hold: half surrogates, huge numbers, odd measurements."""
    try:
        value = json.loads(line.decode(), parse_int=_integer, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidInput("line", f"it is not JSON: {reason}") from None
    if not isinstance(value, dict):
        raise InvalidInput("line", "it is not a JSON object")
    fields = {name: value.get(name, ABSENT) for name in _Line.__struct_fields__}
    details = _details(_Line(**fields))
    if not isinstance(fields["measurements"], list):
        raise InvalidInput("measurements", "is missing or not a list")
    names = _Measurement.__struct_fields__
    return Round(
        details,
        [
            _Measurement(**{name: item[name] for name in names if name in item})
            if isinstance(item, dict)
            else None
            for item in fields["measurements"]
        ],
    )


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= _INTEGER_DIGITS else float(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number of JSON")


def _details(line: _Line) -> RoundDetails:
    if not isinstance(line.randomness, str):
        raise InvalidInput("randomness", "is missing or not a text")
    details = line.round_details
    if not isinstance(details, dict):
        raise InvalidInput("round_details", "is missing or not an object")
    per_node = _number(details.get("maxTasksPerNode"))
    if not isinstance(per_node, int):
        raise InvalidInput("round_details.maxTasksPerNode", "is missing or not an integer")
    listed = details.get("retrievalTasks")
    if not isinstance(listed, list):
        raise InvalidInput("round_details.retrievalTasks", "is missing or not a list")
    given = line.required_committee_size
    size = REQUIRED_COMMITTEE_SIZE if given is ABSENT or given is None else _number(given)
    if size is None:
        raise InvalidInput("required_committee_size", "is not a number")
    return RoundDetails(
        tasks=tuple(_task(item, place) for place, item in enumerate(listed)),
        randomness=line.randomness,
        tasks_per_node=per_node,
        committee_size=math.ceil(size),
    )


def _task(item: Any, place: int) -> Task:
    where = f"round_details.retrievalTasks[{place}]"
    if not isinstance(item, dict):
        raise InvalidInput(where, "is not an object")
    for name in ("cid", "minerId"):
        if not isinstance(item.get(name), str):
            raise InvalidInput(f"{where}.{name}", "is missing or not a text")
    return item["cid"], item["minerId"]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> int | float | None:
    return number(value) if _is_number(value) else None


def _refusal(measurement: Any) -> str | None:
    """Return why a measurement cannot be evaluated, None where it can."""
    if measurement is None:
        return "is not an object"
    for name in ("stationId", "inet_group"):
        if not isinstance(getattr(measurement, name), str):
            return f"{name} is missing or not a text"
    if not _is_number(measurement.finished_at):
        return "finished_at is missing or not a number"
    return None


def _numbered(values: Sequence[Any], numbers: dict[Any, int]) -> Integers:
    """Return equal numbers for equal values, extending `numbers`."""
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def _finished_ms(values: Sequence[Any]) -> Integers:
    if set(map(type, values)) == {int} and max(map(abs, values)) <= INSTANT_MAX_MS:
        return np.array(values, dtype=np.int64)
    instants = [instant_ms(value) if _is_number(value) else None for value in values]
    return np.array(
        [NO_INSTANT if instant is None else instant for instant in instants], dtype=np.int64
    )


def _task_numbers(measurements: Sequence[Any], index: dict[Task, int]) -> Integers:
    try:
        numbers = [index.get((item.cid, item.minerId), NOT_IN_ROUND) for item in measurements]
    except TypeError:  # a list or an object instead of an id: equal to no task
        numbers = [
            index.get((item.cid, item.minerId), NOT_IN_ROUND)
            if isinstance(item.cid, str) and isinstance(item.minerId, str)
            else NOT_IN_ROUND
            for item in measurements
        ]
    return np.array(numbers, dtype=np.int64)


_NOTHING: Final = _Measurement()


def _columns(
    measurements: Sequence[Any], tasking: Tasking
) -> tuple[Columns, Sequence[Any], dict[int, str]]:
    """Return the columns, the measurements without what was refused, and the refusals."""
    text = {str}
    usual = (
        None not in measurements
        and set(map(type, [item.stationId for item in measurements])) <= text
        and set(map(type, [item.inet_group for item in measurements])) <= text
        and set(map(type, [item.finished_at for item in measurements])) <= {int, float}
    )
    reasons = [] if usual else list(map(_refusal, measurements))
    refused = {place: reason for place, reason in enumerate(reasons) if reason is not None}
    if refused:
        measurements = [
            _NOTHING if place in refused else item for place, item in enumerate(measurements)
        ]
    stations: dict[Any, int] = {}
    station = _numbered([item.stationId for item in measurements], stations)
    columns = Columns(
        task=_task_numbers(measurements, tasking.index),
        station=station,
        station_ids=[name if isinstance(name, str) else "" for name in stations],
        group=_numbered([item.inet_group for item in measurements], {}),
        finished_ms=_finished_ms([item.finished_at for item in measurements]),
        refused=np.isin(np.arange(len(measurements)), list(refused)),
    )
    return columns, measurements, refused


def evaluate(line: Round) -> EvaluatedRound:
    """Judge the measurements of a round, in the order of the line."""
    tasking = Tasking(line.details.tasks, line.details.randomness, line.details.tasks_per_node)
    columns, measurements, refused = _columns(line.measurements, tasking)

    def votes(rows: Integers) -> tuple[Integers, Integers]:
        members = [measurements[row] for row in rows.tolist()]
        index = _numbered([_answer(item, _INDEX_FIELDS) for item in members], {})
        rest = [_answer(item, _RETRIEVAL_FIELDS) for item in members]
        return index, _numbered(list(zip(index.tolist(), rest, strict=True)), {})

    verdicts = evaluate_round(line.details, tasking, columns, votes)
    for row in np.flatnonzero((verdicts.codes == REFUSED) & ~columns.refused).tolist():
        refused[row] = "finished_at is beyond what a date can be"
    rewarded = Counter(
        text_of(measurements[row].participantAddress)
        for row in np.flatnonzero(verdicts.codes == REWARDED).tolist()
    )
    return EvaluatedRound(
        verdicts, scores(rewarded), _decisions(verdicts, list(tasking.index), measurements), refused
    )


def _answer(measurement: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple([compared(getattr(measurement, name)) for name in names])


def _decisions(
    verdicts: RoundVerdicts, tasks: Sequence[Task], measurements: Sequence[Any]
) -> dict[str, list[Any]]:
    """Return what each committee decided, by the task's name."""
    committees, decisions = verdicts.committees, {}
    for task, too_small, index_member, retrieval_member in zip(
        committees.task.tolist(),
        committees.too_small.tolist(),
        committees.index_member.tolist(),
        committees.retrieval_member.tolist(),
        strict=True,
    ):
        why_not = "COMMITTEE_TOO_SMALL" if too_small else "MAJORITY_NOT_FOUND"
        decision: list[Any] = []
        for member, name in (
            (index_member, "indexerResult"),
            (retrieval_member, "retrievalResult"),
        ):
            found = member != NOBODY
            row = int(verdicts.accepted[member])
            said = written(getattr(measurements[row], name)) if found else why_not
            decision += [found, said]
        decisions[task_name(tasks[task])] = decision
    return decisions
