"""Where a job is, by its id: sorted runs of hashes in levels, as in an LSM tree. Pure.

Every epoch is a run of its own at first; eight runs of a level become one of the next, so that an entry is rewritten once
for each level and a search reads few files. A run is cut by hash. An entry is a hint: the job itself is in the epoch's
files, so that what was replaced on chain is found out there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from meridian.explorer.columns import Numbers, joined, read_columns, write_columns
from meridian.explorer.gathered import JobColumns
from meridian.primitives.hashing import ByteMatrix

FAN: Final = 8
"""Runs of a level that become one."""
SHARD_ROWS: Final = 2_048
"""Rows of one file, about."""
SHARDS_MAX: Final = 1 << 16
_NAMES: Final = ("hash", "epoch", "node", "index")


@dataclass(frozen=True, slots=True)
class Run:
    """Some epochs' jobs, sorted by hash, in files."""

    name: str
    """Of its directory."""
    level: int
    shards: int
    """A power of two; file s has the hashes whose upper bits are s."""
    rows: int


@dataclass(frozen=True, slots=True)
class Entries:
    """Rows of a run: the first 8 bytes of the job's key as a number, and where the job is."""

    columns: Mapping[str, Numbers]

    def __len__(self) -> int:
        return len(self.columns["hash"])

    def take(self, places: npt.NDArray[np.int64]) -> "Entries":
        """Return some of the rows."""
        return Entries({name: one.take(places) for name, one in self.columns.items()})


def hashes_of(keys: ByteMatrix) -> npt.NDArray[np.uint64]:
    """Return the number that a key is sorted under."""
    return np.ascontiguousarray(keys[:, :8]).view(">u8").ravel().astype(np.uint64)


def entries_of(epoch: int, jobs: JobColumns) -> Entries:
    """Return the entries of an epoch's jobs, sorted."""
    counts = np.array(jobs.counts, dtype=np.int64)
    nodes = np.repeat(np.arange(len(counts)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    hashes = hashes_of(jobs.rows[:, 4:36])
    columns = {
        "hash": Numbers(hashes),
        "epoch": Numbers.array(np.full(len(hashes), epoch)),
        "node": Numbers.array(nodes),
        "index": Numbers.array(np.arange(len(hashes)) - first),
    }
    return Entries(columns).take(np.argsort(hashes, kind="stable"))


def shards_of(rows: int) -> int:
    """Return the number of files for so many rows."""
    return min(SHARDS_MAX, 1 << max(0, (rows // SHARD_ROWS).bit_length()))


def cut(entries: Entries, first: int, behind: int, shards: int) -> dict[int, bytes]:
    """Return the files `first` to `behind` - 1 of a run, of entries that belong there and are sorted."""
    bits = np.uint64(64 - (shards.bit_length() - 1))
    hashes = entries.columns["hash"].low
    places = hashes >> bits if shards > 1 else np.zeros(len(hashes), np.uint64)
    cuts = np.searchsorted(places, np.arange(first, behind + 1, dtype=np.uint64)).tolist()
    files = {}
    for at, shard in enumerate(range(first, behind)):
        if cuts[at] < cuts[at + 1]:
            own = entries.take(np.arange(cuts[at], cuts[at + 1]))
            files[shard] = write_columns(own.columns)
    return files


def read_entries(data: bytes) -> Entries:
    """Read one file of a run."""
    table = read_columns(data)
    return Entries({name: table.numbers(name) for name in _NAMES})


def due(runs: Sequence[Run]) -> list[Run]:
    """Return the runs to be made one, oldest first; none where nothing is to be done."""
    for level in sorted({run.level for run in runs}):
        own = [run for run in runs if run.level == level]
        if len(own) >= FAN:
            return own[:FAN]
    return []


def merge(
    runs: Sequence[Run],
    read: Callable[[Run, int], bytes | None],
    write: Callable[[int, bytes], None],
) -> int:
    """Make one run of several, a part of the hashes at a time.

    Args:
        runs: The runs.
        read: Gives a file of one of them; None: it has no entries.
        write: Takes a file of the new run.

    Returns:
        The number of shards of the new run.
    """
    shards = max(shards_of(sum(run.rows for run in runs)), *(run.shards for run in runs))
    parts = min(run.shards for run in runs)
    for part in range(parts):
        found = []
        for run in runs:
            each = run.shards // parts
            for shard in range(part * each, (part + 1) * each):
                data = read(run, shard)
                if data is not None:
                    found.append(read_entries(data))
        if not found:
            continue
        together = Entries({name: joined([one.columns[name] for one in found]) for name in _NAMES})
        hashes = together.columns["hash"].low
        each = shards // parts
        ordered = together.take(np.argsort(hashes, kind="stable"))
        for shard, data in cut(ordered, part * each, (part + 1) * each, shards).items():
            write(shard, data)
    return shards
