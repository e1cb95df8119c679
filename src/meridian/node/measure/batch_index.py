"""Where the batches of the job log are: from a batch's name to the frame that holds its answer, 16 bytes a batch.

New names go into a dictionary; when it is full it becomes a run: the first 8 bytes of each name, sorted, beside where
its frame is. Runs of like size are merged, up to a size whose merging does not hold the service up. Two names may share
their first 8 bytes, so the index gives candidates, and who asks looks into the frames.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

NEW_MAX: Final = 1 << 15
RUN_MAX: Final = 1 << 21
"""Entries of a run that is not merged further: about 0.1 s to merge two halves."""
_PREFIX_BYTES: Final = 8

_Words = npt.NDArray[np.uint64]


class BatchIndex:
    """The index; who uses it from several threads locks it.

    Args:
        new_max: Names in the dictionary before they become a run.
    """

    def __init__(self, new_max: int = NEW_MAX) -> None:
        self._new_max = new_max
        self._new: dict[int, list[int]] = {}
        self._new_count = 0
        self._runs: list[tuple[_Words, _Words]] = []

    def __len__(self) -> int:
        return self._new_count + sum(len(prefixes) for prefixes, _ in self._runs)

    def add(self, batch: bytes, place: int) -> None:
        """Note where a batch is.

        Args:
            batch: Its name.
            place: A number below 2^64.
        """
        self._new.setdefault(_prefix(batch), []).append(place)
        self._new_count += 1
        if self._new_count >= self._new_max:
            self._make_run()

    def find(self, batch: bytes) -> list[int]:
        """Return where the batch may be, oldest run first."""
        prefix = _prefix(batch)
        word = np.uint64(prefix)
        found: list[int] = []
        for prefixes, places in self._runs:
            first, end = (np.searchsorted(prefixes, word, side) for side in ("left", "right"))
            found += places[first:end].tolist()
        return found + self._new.get(prefix, [])

    def forget(self, first: int, end: int) -> None:
        """Forget all batches whose place is in the range first..end-1."""
        kept: dict[int, list[int]] = {}
        for prefix, places in self._new.items():
            if left := [place for place in places if not first <= place < end]:
                kept[prefix] = left
        self._new = kept
        self._new_count = sum(map(len, kept.values()))
        runs = []
        for prefixes, run_places in self._runs:
            keep = (run_places < np.uint64(first)) | (run_places >= np.uint64(end))
            if keep.any():
                runs.append((prefixes[keep], run_places[keep]))
        self._runs = runs

    def _make_run(self) -> None:
        entries = [(prefix, place) for prefix, places in self._new.items() for place in places]
        pairs = np.array(entries, dtype=np.uint64)
        run = _sorted(pairs[:, 0], pairs[:, 1])
        self._new, self._new_count = {}, 0
        while self._runs:
            before, places = self._runs[-1]
            total = len(before) + len(run[0])
            if len(before) > 2 * len(run[0]) or total > RUN_MAX:
                break
            self._runs.pop()
            run = _sorted(np.concatenate([before, run[0]]), np.concatenate([places, run[1]]))
        self._runs.append(run)


def _prefix(batch: bytes) -> int:
    return int.from_bytes(batch[:_PREFIX_BYTES], "big")


def _sorted(prefixes: _Words, places: _Words) -> tuple[_Words, _Words]:
    order = np.argsort(prefixes, kind="stable")
    return prefixes[order], places[order]
