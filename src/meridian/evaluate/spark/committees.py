"""Committees: all accepted measurements of one task, and what more than half of them say.

Two questions are asked: what the index said of the task's provider (that stands in the decision only), and that together
with what the retrieval gave: who is in its majority is rewarded. A committee that is too small decides nothing.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from meridian.evaluate.spark.inet_groups import Codes
from meridian.evaluate.spark.tasking import Bools, Integers
from meridian.evaluate.spark.verdicts import (
    COMMITTEE_TOO_SMALL,
    MAJORITY_NOT_FOUND,
    MINORITY_RESULT,
    REWARDED,
)

NOBODY: Final = -1


@dataclass(frozen=True, slots=True)
class Committees:
    """What the committees of a round decided, one entry for each in the order in which they were first met."""

    task: Integers
    size: Integers
    too_small: Bools
    index_member: Integers
    """A member that is in the majority on the index, `NOBODY` where there is none."""
    retrieval_member: Integers
    codes: Codes
    """The verdict on each measurement."""


def _majorities(committee: Integers, size: Integers, vote: Integers) -> tuple[Integers, Integers]:
    """Return for each committee the vote of more than half and its first member, `NOBODY` where there is none."""
    votes = int(vote.max()) + 1
    pairs, first_at, counts = np.unique(
        committee * votes + vote, return_index=True, return_counts=True
    )
    winning = counts * 2 > size[pairs // votes]
    winner = np.full(len(size), NOBODY, dtype=np.int64)
    member = np.full(len(size), NOBODY, dtype=np.int64)
    winner[pairs[winning] // votes] = pairs[winning] % votes
    member[pairs[winning] // votes] = first_at[winning]
    return winner, member


def decide(
    task: Integers, index_vote: Integers, retrieval_vote: Integers, required_size: int
) -> Committees:
    """Let the committees of a round decide.

    Args:
        task: The task of each accepted measurement.
        index_vote: Equal numbers for equal answers of the index.
        retrieval_vote: Equal numbers for equal answers altogether.
        required_size: Of a committee that may decide.
    """
    tasks, first_at, committee, size = np.unique(
        task, return_index=True, return_inverse=True, return_counts=True
    )
    if not len(tasks):
        none = np.zeros(0, dtype=np.int64)
        return Committees(none, none, none > 0, none, none, none.astype(np.uint8))
    too_small = size < required_size
    _, index_member = _majorities(committee, size, index_vote)
    winner, retrieval_member = _majorities(committee, size, retrieval_vote)
    found = winner[committee]
    codes = np.where(found == retrieval_vote, REWARDED, MINORITY_RESULT).astype(np.uint8)
    codes[found == NOBODY] = MAJORITY_NOT_FOUND
    codes[too_small[committee]] = COMMITTEE_TOO_SMALL
    met = np.argsort(first_at)
    return Committees(
        task=tasks[met],
        size=size[met],
        too_small=too_small[met],
        index_member=np.where(too_small, NOBODY, index_member)[met],
        retrieval_member=np.where(too_small, NOBODY, retrieval_member)[met],
        codes=codes,
    )
