"""Inet groups: of each subnet, one measurement for each task and at most so many tasks.

Which one is chosen must be fair and repeatable, and addresses cost nothing to make up; so measurements of a group are
taken in the order of the SHA-256 of when they were finished. The original leaves those of one millisecond in the order
in which they came, which is the one place where it depends on the order of its input: so that order is given here.
"""

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

from meridian.evaluate.spark.javascript import instant_text
from meridian.evaluate.spark.tasking import Integers
from meridian.evaluate.spark.verdicts import DUP_INET_GROUP, REWARDED, TOO_MANY_TASKS

Codes = npt.NDArray[np.uint8]

_FOUR_DIGIT_YEARS_MS: Final = (-62_167_219_200_000, 253_402_300_799_999)
"""The first and the last instant whose year has four digits."""


def instant_texts(instants: Integers) -> list[bytes]:
    """Return the texts of instants, most of them in one go."""
    first, last = _FOUR_DIGIT_YEARS_MS
    usual = (instants >= first) & (instants <= last)
    times = np.where(usual, instants, 0).astype("datetime64[ms]")
    texts: list[bytes] = np.datetime_as_string(times, unit="ms").astype("S23").tolist()
    texts = [text + b"Z" for text in texts]
    for at in np.flatnonzero(~usual).tolist():
        texts[at] = instant_text(int(instants[at])).encode()
    return texts


def time_ranks(finished_ms: Integers) -> Integers:
    """Return the place of each instant in the order of the hashes of their texts; equal instants have equal places."""
    instants, inverse = np.unique(finished_ms, return_inverse=True)
    digests = b"".join(hashlib.sha256(text).digest() for text in instant_texts(instants))
    words = np.frombuffer(digests, dtype=">u8").astype(np.uint64).reshape(-1, 4)
    ranks = np.empty(len(instants), dtype=np.int64)
    ranks[np.lexsort(words.T[::-1])] = np.arange(len(instants))
    return ranks[inverse]


def chosen(
    group: Integers, task: Integers, finished_ms: Integers, rank: Integers, per_node: int
) -> Codes:
    """Return for each measurement `REWARDED` (so far), `DUP_INET_GROUP` or `TOO_MANY_TASKS`.

    Args:
        group: Numbers of inet groups.
        task: Numbers of tasks.
        finished_ms: When it was finished.
        rank: Its place among those of one group and one millisecond.
        per_node: How many tasks a group may have.
    """
    if not len(group):
        return np.zeros(0, dtype=np.uint8)
    order = np.lexsort((rank, time_ranks(finished_ms), group))
    groups = group[order]
    pairs = groups * (int(task.max()) + 1) + task[order]
    _, first_at, which = np.unique(pairs, return_index=True, return_inverse=True)
    is_first = np.zeros(len(order), dtype=np.bool_)
    is_first[first_at] = True
    # How many tasks the group has had, up to and with the first measurement of this one's task: once the group is
    # full, no further task gets in, and its measurements are too many rather than repeated.
    nth = np.cumsum(is_first, dtype=np.int64)
    starts = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
    nth -= np.repeat(nth[starts] - 1, np.diff(starts, append=len(groups)))
    full = nth[first_at][which] > per_node
    codes = np.empty(len(order), dtype=np.uint8)
    codes[order] = np.where(full, TOO_MANY_TASKS, np.where(is_first, REWARDED, DUP_INET_GROUP))
    return codes
