"""The job tree behind a summary, what a node shows of it, and the check of what is shown.

Rows and tree are those of `measure` (100-byte rows sorted by job key, private fields under a salted commitment), but for
one thing: a row's lanes hold what the job weighs, as one u128, instead of the schema's sums. So the sum of the tree is the
summary's weight.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from meridian.disputes.ways import Gap, RowTree, job_row_tree, sides_of
from meridian.errors import InvalidInput
from meridian.measure.epoch import Calendar
from meridian.measure.row import JobRow, job_leaf
from meridian.models.summary import Summary
from meridian.models.summary_sampling import points
from meridian.primitives.hashing import JOB_NODE, ByteMatrix
from meridian.primitives.sumtree import HASH_BYTES, LaneKind, annotation, fold

LANES: Final = LaneKind.U128
_LANE_BYTES: Final = slice(52, 68)


def weighed(rows: ByteMatrix, values: npt.NDArray[np.uint64]) -> ByteMatrix:
    """Return job rows whose lanes hold values.

    Args:
        rows: The rows of `measure.row`, shape (n, 100).
        values: What each job weighs.
    """
    out = rows.copy()
    out[:, _LANE_BYTES] = 0
    out[:, 60:68] = values.astype(">u8").view(np.uint8).reshape(-1, 8)
    return out


def value_of(row: bytes) -> int:
    """Return what a job's row weighs."""
    return int.from_bytes(row[_LANE_BYTES], "big")


class NodeJobs:
    """A node's jobs of one epoch as it commits to them.

    Args:
        rows: Weighed rows, shape (n, 100), ascending by job key.
    """

    def __init__(self, rows: ByteMatrix) -> None:
        self._tree: RowTree = job_row_tree(rows, LANES)
        self._ends = list(accumulate(value_of(row) for row in self._tree.rows))

    @property
    def summary(self) -> Summary:
        """What the node commits to."""
        jobs, (weight,) = annotation(self._tree.tree.root, LANES)
        return Summary(self._tree.tree.root[:HASH_BYTES], jobs, weight)

    def show(self, index: int) -> Gap:
        """Return a row with its way to the root, and the row behind it."""
        if index + 1 == self._tree.size:
            return self._tree.alone(index)
        return self._tree.neighbours(index)

    def answer(self, seed: bytes, samples: int) -> list[Gap]:
        """Return what a challenge asks for.

        Raises:
            InvalidInput: If the jobs weigh nothing.
        """
        if not self._ends or not self._ends[-1]:
            raise InvalidInput("jobs", "there are none that weigh anything")
        asked = points(seed, self._ends[-1], samples)
        return [self.show(bisect_right(self._ends, point)) for point in asked]


def check_answer(
    summary: Summary,
    shown: Sequence[Gap],
    asked: Sequence[int],
    calendar: Calendar,
    epoch: int,
    value_max: int,
) -> None:
    """Check an answer as the contract does.

    Args:
        summary: What the node has committed to.
        shown: The answer.
        asked: The points of the challenge.
        calendar: The network's epochs.
        epoch: The epoch.
        value_max: The most that one job may weigh.

    Raises:
        InvalidInput: With what is wrong: ``samples``, ``row``, ``order``, ``root``, ``value``, ``point`` or ``times``.
    """
    owned = [Owned(gap.index, gap.left, _check_tree(summary, gap)) for gap in shown]
    check_owned(owned, asked, calendar, epoch, value_max)


class Owned(NamedTuple):
    """A row that owns a piece of a summary's weight."""

    at: int
    row: bytes
    before: int
    """What all rows before it weigh: where its piece begins."""


def check_owned(
    owned: Sequence[Owned], asked: Sequence[int], calendar: Calendar, epoch: int, value_max: int
) -> None:
    """Check that rows own the points that were asked for, can be what they say, and ascend; as `check_answer`."""
    if len(owned) != len(asked):
        raise InvalidInput("samples", f"{len(owned)} rows where {len(asked)} are asked for")
    for (at, row, before), point in zip(owned, asked, strict=True):
        check_row(row, calendar, epoch, value_max)
        if not before <= point < before + value_of(row):
            raise InvalidInput("point", f"{point} is not in the row at {at}")
    for first, second in pairwise(owned):
        if first.at != second.at and _key(first.row) >= _key(second.row):
            raise InvalidInput("order", f"the rows at {first.at} and {second.at}")


def check_row(row: bytes, calendar: Calendar, epoch: int, value_max: int) -> None:
    """Check what a shown row says by itself.

    Raises:
        InvalidInput: If it weighs more than `value_max` (``value``), or its job did not end in the epoch, or before it began
            (``times``).
    """
    value = value_of(row)
    if value > value_max:
        raise InvalidInput("value", f"a job weighs {value}, more than {value_max}")
    job = JobRow.decode(row)
    if job.started_us > job.ended_us:
        raise InvalidInput("times", "a job ends before it starts")
    if calendar.epoch_of(job.ended_us) != epoch:
        raise InvalidInput("times", f"a job did not end in epoch {epoch}")


def _check_tree(summary: Summary, gap: Gap) -> int:
    """Check that neighbouring rows stand in the tree, in order; returns what all rows before them weigh."""
    if gap.right:
        if _key(gap.left) >= _key(gap.right):
            raise InvalidInput("order", f"the rows at {gap.index} and behind it")
        _check_right(summary, gap)
    elif gap.index + 1 != summary.jobs:
        raise InvalidInput("row", "the last row alone has none behind it")
    root = fold(job_leaf(gap.left), gap.index, summary.jobs, gap.path, JOB_NODE, LANES)
    if (root[:HASH_BYTES], *annotation(root, LANES)) != (
        summary.root,
        summary.jobs,
        (summary.weight,),
    ):
        raise InvalidInput("root", f"the row at {gap.index} does not lead to it")
    sides = sides_of(gap.index, summary.jobs)
    return sum(annotation(node, LANES)[1][0] for at, node in enumerate(gap.path) if sides >> at & 1)


def _check_right(summary: Summary, gap: Gap) -> None:
    """Check that the row behind is the first leaf below the path's node where the two ways part."""
    right = gap.index + 1
    level = (right & -right).bit_length() - 1
    leaves = min(right & -right, summary.jobs - right)
    if leaves < 1 or level >= len(gap.path):
        raise InvalidInput("path", "it is shorter than the tree is deep")
    if fold(job_leaf(gap.right), 0, leaves, gap.lower, JOB_NODE, LANES) != gap.path[level]:
        raise InvalidInput("row", f"the row behind {gap.index} does not stand there")


def _key(row: bytes) -> bytes:
    return row[4:36]
