"""Tasking: a station may do the tasks of a round that are closest to it.

A task's key is SHA-256 of ``cid LF minerId LF randomness``, a station's key SHA-256 of its id, both as 256-bit numbers;
the distance is their XOR. Nobody chooses the randomness, so nobody chooses whom a task goes to.

Distances are never sorted. A task t' is closer to a station than t where, at the highest bit in which t' and t differ,
t' agrees with the station and t does not. So for every bit there is a fixed number of tasks that overtake t if the
station's bit differs from t's, and the place of t is the sum of these numbers over the differing bits. Tasks of one key
(the same one listed twice; or ids that hold line feeds) are equally far: the earlier listed one comes first.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from meridian.evaluate.spark.javascript import utf8

Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

_WORDS: Final = 4
"""A key is four words of 64 bits, the highest first."""

Task = tuple[str, str]
"""CID and miner id."""


def task_key(task: Task, randomness: str) -> int:
    """Return a task's key under the round's randomness (the beacon's text, not its bytes)."""
    return int.from_bytes(hashlib.sha256(utf8("\n".join((*task, randomness)))).digest(), "big")


def station_key(station_id: str) -> int:
    """Return a station's key."""
    return int.from_bytes(hashlib.sha256(utf8(station_id)).digest(), "big")


def _words(digests: Sequence[bytes]) -> Words:
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64).reshape(-1, _WORDS)


class Tasking:
    """The tasks of one round and who may do them.

    Args:
        tasks: As the round lists them; one listed twice takes two places.
        randomness: Of the round.
        per_node: How many tasks a station may do; none where it is 0 or less.
    """

    def __init__(self, tasks: Sequence[Task], randomness: str, per_node: int) -> None:
        self.index: dict[Task, int] = {}
        """Task -> its number; numbers follow the order of the list."""
        first: list[int] = []
        for place, task in enumerate(tasks):
            if self.index.setdefault(task, len(first)) == len(first):
                first.append(place)
        self._per_node = per_node
        keys = [task_key(task, randomness) for task in tasks]
        order = sorted(range(len(tasks)), key=keys.__getitem__)
        position = {place: at for at, place in enumerate(order)}
        ascending = [keys[place] for place in order]
        chosen = np.array([position[place] for place in first], dtype=np.int64)
        overtaking = _overtaking(ascending)
        self._overtaking = [(bit, counts[chosen]) for bit, counts in sorted(overtaking.items())]
        ties = [at - bisect_left(ascending, key) for at, key in enumerate(ascending)]
        self._ties = np.array(ties, dtype=np.int64)[chosen]
        self._keys = _words([keys[place].to_bytes(32, "big") for place in first])

    def allowed(self, station_ids: Sequence[str], station: Integers, task: Integers) -> Bools:
        """Tell for pairs of a station and a task whether the station may do it.

        Args:
            station_ids: Number -> id.
            station: Numbers of stations.
            task: Numbers of tasks, one for each of `station`.
        """
        keys = _words([hashlib.sha256(utf8(station_id)).digest() for station_id in station_ids])
        closer = self._ties[task]
        differing: dict[int, Words] = {}
        for bit, counts in self._overtaking:
            word, shift = _WORDS - 1 - bit // 64, np.uint64(bit % 64)
            if word not in differing:
                differing[word] = keys[station, word] ^ self._keys[task, word]
            closer += ((differing[word] >> shift) & np.uint64(1)).astype(np.int64) * counts[task]
        return closer < self._per_node


def _overtaking(ascending: Sequence[int]) -> dict[int, Integers]:
    """Return, for each bit at which keys part, how many keys are on the other side; by place in `ascending`."""
    counts: dict[int, Integers] = {}
    ranges = [(0, len(ascending))]
    while ranges:
        start, end = ranges.pop()
        if end - start < 2 or ascending[start] == ascending[end - 1]:
            continue
        # Sorted keys share whatever the first and the last share, and part at the first bit in which those differ.
        bit = (ascending[start] ^ ascending[end - 1]).bit_length() - 1
        middle = bisect_left(ascending, ascending[end - 1] >> bit << bit, start, end)
        at = counts.setdefault(bit, np.zeros(len(ascending), dtype=np.int64))
        at[start:middle], at[middle:end] = end - middle, middle - start
        ranges += [(start, middle), (middle, end)]
    return counts
