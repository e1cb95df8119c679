"""The exact set of jobs that were accepted, by epoch: what keeps a job from being promised twice.

Law: a job is accepted once per node, whatever batch or epoch it comes with. A signed promise convicts its aggregator if
another row stands under its key, so a duplicate must be refused before the receipt is signed, and exactly.

A small epoch is a Python set (about 110 bytes a job). From `SMALL` jobs on it is a compiled table of 16-byte hashes,
about 27 bytes a job, split into 256 parts that grow one at a time and not all at once: a part of an epoch of 100 million jobs
takes some milliseconds to grow, so no batch waits long for it.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import Overloaded
from meridian.measure.order import KEYS_KEPT, node_indices
from meridian.primitives.hashing import DIGEST_BYTES, ByteMatrix, bulk, sha256
from meridian.primitives.ids import node_key

HASH_BYTES: Final = 16
SMALL: Final = 50_000
"""An epoch of fewer jobs is a Python set; one of more too, until the kernels are loaded (`hashing.bulk`)."""

Hashes = npt.NDArray[np.uint64]
"""The hashes of jobs: shape (n, 2)."""
Marks = npt.NDArray[np.bool_]

_PARTS: Final = 256
_FIRST_SLOTS: Final = 1_024
_GROWTH: Final = 1.25
_FULL_RETRY_S: Final = 30.0


class SeenJobs:
    """The jobs of all epochs that are remembered, as 16-byte keyed hashes.

    The key is the service's own secret, so nobody can choose a node id whose jobs collide with another node's; inside
    one node a collision takes 2^64 work and harms only that node.

    Args:
        secret: 32 secret bytes.
        limit: Most jobs that are remembered at a time.
    """

    def __init__(self, secret: bytes, limit: int) -> None:
        self._limit = limit
        self._mask = functools.lru_cache(KEYS_KEPT)(
            lambda node_id: sha256(secret, node_key(node_id))[:HASH_BYTES]
        )
        self._by_epoch: dict[int, _SmallEpoch | _LargeEpoch] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_epoch.values()))

    def hashes(self, node_ids: pa.ChunkedArray, keys: ByteMatrix) -> Hashes:
        """Return the hash of each job: the first half of its key, masked with a secret of its node.

        Args:
            node_ids: The node of each job.
            keys: The job keys, shape (n, 32).
        """
        ids, at = node_indices(node_ids)
        return self.hashes_of(ids, at, keys)

    def hashes_of(
        self, names: Sequence[str], node_of: npt.NDArray[np.int64], keys: ByteMatrix
    ) -> Hashes:
        """Return the same where the nodes are numbered already.

        Args:
            names: The nodes; each is remembered.
            node_of: The position of each job's node among them.
            keys: The job keys, shape (n, 32).
        """
        masks = np.frombuffer(b"".join([self._mask(name) for name in names]), dtype=np.uint64)
        words = np.ascontiguousarray(keys).view(np.uint64).reshape(-1, DIGEST_BYTES // 8)
        mixed: Hashes = words[:, :2] ^ masks.reshape(-1, 2)[node_of]
        return np.ascontiguousarray(mixed)

    def repeated(self, hashes: Hashes) -> Marks:
        """Mark the jobs that were accepted before, or stand earlier in the same list; nothing is remembered."""
        marks = np.zeros(len(hashes), dtype=np.bool_)
        if len(hashes):
            _mark_repeated(hashes, marks)
            for epoch in self._by_epoch.values():
                epoch.mark_known(hashes, marks)
        return marks

    def require_room(self, count: int) -> None:
        """Refuse what would pass the limit.

        Raises:
            Overloaded: Until epochs are sealed and forgotten.
        """
        if len(self) + count > self._limit:
            raise Overloaded(_FULL_RETRY_S, f"more than {self._limit} jobs wait for their seal")

    def add(self, epochs: npt.NDArray[np.int64], hashes: Hashes) -> None:
        """Remember accepted jobs; one that is remembered already changes nothing."""
        for number in np.unique(epochs).tolist():
            inside = epochs == number
            chosen = hashes if inside.all() else hashes[inside]
            epoch = self._by_epoch.setdefault(number, _SmallEpoch())
            epoch.add(np.ascontiguousarray(chosen))
            if isinstance(epoch, _SmallEpoch) and len(epoch) >= SMALL and bulk(len(epoch)):
                self._by_epoch[number] = large = _LargeEpoch()
                large.add(epoch.hashes())

    def forget_before(self, epoch: int) -> None:
        """Forget the jobs of all epochs before `epoch`."""
        for old in [known for known in self._by_epoch if known < epoch]:
            del self._by_epoch[old]

    def remove(self, hashes: Hashes) -> None:
        """Forget single jobs, of whatever epoch: they were claimed, and never promised."""
        for epoch in self._by_epoch.values():
            epoch.remove(hashes)

    def epochs(self) -> Iterable[int]:
        """Return the epochs that are remembered."""
        return self._by_epoch.keys()

    @property
    def table_bytes(self) -> int:
        """Bytes of the tables of large epochs."""
        return sum(
            epoch.bytes for epoch in self._by_epoch.values() if isinstance(epoch, _LargeEpoch)
        )


def items_of(hashes: Hashes) -> list[bytes]:
    """Return each hash as bytes."""
    found: list[bytes] = np.ascontiguousarray(hashes).view(f"V{HASH_BYTES}").ravel().tolist()
    return found


def _mark_repeated(hashes: Hashes, marks: Marks) -> None:
    if bulk(len(hashes)) is not None:
        _table().mark_repeated(hashes, marks)
        return
    items = items_of(hashes)
    if len(set(items)) == len(items):
        return
    earlier: set[bytes] = set()
    for at, item in enumerate(items):
        marks[at] = item in earlier
        earlier.add(item)


class _SmallEpoch:
    """A Python set."""

    def __init__(self) -> None:
        self._items: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._items)

    def mark_known(self, hashes: Hashes, marks: Marks) -> None:
        items = items_of(hashes)
        if not self._items.isdisjoint(items):
            marks |= np.fromiter(map(self._items.__contains__, items), np.bool_, len(items))

    def add(self, hashes: Hashes) -> None:
        self._items.update(items_of(hashes))

    def remove(self, hashes: Hashes) -> None:
        self._items.difference_update(items_of(hashes))

    def hashes(self) -> Hashes:
        return np.frombuffer(b"".join(self._items), dtype=np.uint64).reshape(-1, 2)


class _LargeEpoch:
    """256 tables in numpy arrays; each grows when it is 60 to 75 % full.

    Hashes fill all tables evenly, so with one bound they would all grow within the same few batches; every table has
    another, and so their growth is spread over the time in which the epoch grows by a quarter.
    """

    def __init__(self) -> None:
        self._slots = [np.zeros((_FIRST_SLOTS, 2), dtype=np.uint64) for _ in range(_PARTS)]
        self._addresses = np.zeros(_PARTS, dtype=np.uint64)
        self._capacities = np.zeros(_PARTS, dtype=np.int64)
        self._counts = np.zeros(_PARTS, dtype=np.int64)
        self._limits = np.zeros(_PARTS, dtype=np.int64)
        for part in range(_PARTS):
            self._place(part, self._slots[part])

    def __len__(self) -> int:
        return int(self._counts.sum())

    @property
    def bytes(self) -> int:
        """Bytes of all tables."""
        return 2 * 8 * int(self._capacities.sum())

    def _place(self, part: int, slots: Hashes) -> None:
        self._slots[part] = slots
        self._addresses[part] = slots.ctypes.data
        self._capacities[part] = len(slots)
        self._limits[part] = len(slots) * (0.6 + 0.15 * part / _PARTS)

    def mark_known(self, hashes: Hashes, marks: Marks) -> None:
        _table().mark_known(hashes, self._addresses, self._capacities, marks)

    def add(self, hashes: Hashes) -> None:
        table, row = _table(), 0
        while row < len(hashes):
            row = table.insert(
                hashes, row, self._addresses, self._capacities, self._counts, self._limits
            )
            if row < len(hashes):
                self._grow(int(hashes[row, 0] >> np.uint64(56)))

    def remove(self, hashes: Hashes) -> None:
        """Write anew the tables that have one of these, without them: this is rare, and a table has no gaps."""
        gone = _LargeEpoch()
        gone.add(np.ascontiguousarray(hashes))
        for part in np.unique(hashes[:, 0] >> np.uint64(56)).tolist():
            old = self._slots[part]
            marks = np.zeros(len(old), dtype=np.bool_)
            gone.mark_known(old, marks)
            if marks.any():
                new = np.zeros_like(old)
                _table().move(np.ascontiguousarray(old[~marks]), new)
                self._place(part, new)
                self._counts[part] -= int(marks.sum())

    def _grow(self, part: int) -> None:
        old = self._slots[part]
        new = np.zeros((int(len(old) * _GROWTH), 2), dtype=np.uint64)
        _table().move(old, new)
        self._place(part, new)


@functools.cache
def _table() -> Any:
    """Return the compiled functions, imported when the first large epoch needs them."""
    from meridian.primitives.kernels import key_table  # noqa: PLC0415

    return key_table
