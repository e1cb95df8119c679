"""A round: tasking, inet groups and committees one behind the other, over columns of integers.

Nothing here knows where the measurements came from: JSON lines and sealed jobs are both turned into these columns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from meridian.evaluate.spark import committees, inet_groups
from meridian.evaluate.spark.committees import Committees
from meridian.evaluate.spark.inet_groups import Codes
from meridian.evaluate.spark.tasking import Bools, Integers, Task, Tasking
from meridian.evaluate.spark.verdicts import (
    REFUSED,
    REWARDED,
    TASK_NOT_IN_ROUND,
    TASK_WRONG_NODE,
)

REQUIRED_COMMITTEE_SIZE: Final = 30
"""Of the live network."""

NOT_IN_ROUND: Final = -1
NO_INSTANT: Final = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class RoundDetails:
    """What a round is evaluated against."""

    tasks: tuple[Task, ...]
    randomness: str
    """The beacon's text; its characters are hashed, not its bytes."""
    tasks_per_node: int
    committee_size: int = REQUIRED_COMMITTEE_SIZE


@dataclass(frozen=True, slots=True)
class Columns:
    """The measurements of a round, one entry for each in every column."""

    task: Integers
    """Number of its task, `NOT_IN_ROUND` for others."""
    station: Integers
    """Number of its station."""
    station_ids: Sequence[str]
    """Number -> id."""
    group: Integers
    """Number of its inet group."""
    finished_ms: Integers
    """`NO_INSTANT` where the number is none that a date can be made of."""
    refused: Bools
    """Whether it cannot be evaluated at all; its other columns are not looked at."""


Votes = Callable[[Integers], tuple[Integers, Integers]]
"""Rows -> for each, numbers that are equal where the answers of the index are, and where all answers are."""


@dataclass(frozen=True, slots=True)
class RoundVerdicts:
    """What became of a round."""

    codes: Codes
    """One of `verdicts` for each measurement."""
    accepted: Integers
    """The rows that sat in committees; members of `committees` are places in this."""
    committees: Committees


def evaluate_round(
    details: RoundDetails,
    tasking: Tasking,
    columns: Columns,
    votes: Votes,
    ranks: Callable[[Integers], Integers] = lambda rows: rows,
) -> RoundVerdicts:
    """Give every measurement of a round its verdict.

    Args:
        details: The round.
        tasking: Made of `details`; the numbers of tasks are its.
        columns: The measurements.
        votes: Asked once, for the rows that sit in committees.
        ranks: Rows -> their places among those of one group and one millisecond; as they came, where not given.
    """
    codes = np.full(len(columns.task), REWARDED, dtype=np.uint8)
    codes[columns.task == NOT_IN_ROUND] = TASK_NOT_IN_ROUND
    codes[columns.refused] = REFUSED
    rows = np.flatnonzero(codes == REWARDED)
    allowed = tasking.allowed(columns.station_ids, columns.station[rows], columns.task[rows])
    codes[rows[~allowed]] = TASK_WRONG_NODE
    rows = rows[allowed]
    timed = columns.finished_ms[rows] != NO_INSTANT
    codes[rows[~timed]] = REFUSED
    rows = rows[timed]
    codes[rows] = inet_groups.chosen(
        columns.group[rows],
        _seen_as(tasking)[columns.task[rows]],
        columns.finished_ms[rows],
        ranks(rows),
        details.tasks_per_node,
    )
    rows = rows[codes[rows] == REWARDED]
    decided = committees.decide(columns.task[rows], *votes(rows), details.committee_size)
    codes[rows] = decided.codes
    return RoundVerdicts(codes, rows, decided)


def task_name(task: Task) -> str:
    """Return the text under which the original knows a task."""
    return "::".join(task)


def _seen_as(tasking: Tasking) -> Integers:
    """Return for each task the number by which an inet group knows it: that of its name."""
    numbers: dict[str, int] = {}
    return np.array(
        [numbers.setdefault(task_name(task), len(numbers)) for task in tasking.index],
        dtype=np.int64,
    )
