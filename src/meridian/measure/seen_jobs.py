"""The exact set of jobs that were accepted, by epoch: what keeps a job from being promised twice.

Law: a job is accepted once per node, whatever batch or epoch it comes with. A signed promise convicts its aggregator if
another row stands under its key, so a duplicate must be refused before the receipt is signed, and exactly.

A small set is a Python set for each epoch (about 110 bytes a job). From `SMALL` jobs on it is one compiled table of
16-byte hashes for all epochs, about 30 bytes a job, so that a question costs the same however many epochs are remembered.
The table is split into 256 parts, which are built anew one at a time and not all at once: a part of 100 million jobs takes
some milliseconds, so no batch waits long for it.
"""

import functools
from collections.abc import Iterable
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
"""Fewer jobs are Python sets; more too, until the kernels are loaded (`hashing.bulk`)."""

Hashes = npt.NDArray[np.uint64]
"""The hashes of jobs: shape (n, 2)."""
Marks = npt.NDArray[np.bool_]

_PARTS: Final = 256
_FIRST_SLOTS: Final = 1_024
_FULL: Final = 0.7
"""How full a part may be."""
_GROWTH: Final = (1.3, 1.7)
"""What a part that is built anew has room for, times what it holds: from the first part to the last."""
_TAGS: Final = 256
"""Tag 0 is that of an empty slot."""
_REMOVED: Final = _TAGS - 1
"""The tag of single jobs that were removed; it never lives."""
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
        self._secret = secret
        self._mask = functools.lru_cache(KEYS_KEPT)(lambda node_id: self._masked(node_key(node_id)))
        self._masks = np.zeros((0, 2), dtype=np.uint64)
        self._jobs: _Sets | _Table = _Sets()

    def __len__(self) -> int:
        return len(self._jobs)

    def _masked(self, key: bytes) -> bytes:
        return sha256(self._secret, key)[:HASH_BYTES]

    def hashes(self, node_ids: pa.ChunkedArray, keys: ByteMatrix) -> Hashes:
        """Return the hash of each job: the first half of its key, masked with a secret of its node.

        Args:
            node_ids: The node of each job.
            keys: The job keys, shape (n, 32).
        """
        ids, at = node_indices(node_ids)
        masks = np.frombuffer(b"".join([self._mask(name) for name in ids]), dtype=np.uint64)
        return _mixed(keys, masks.reshape(-1, 2)[at])

    def hashes_at(
        self, places: npt.NDArray[np.int64], node_keys: ByteMatrix, keys: ByteMatrix
    ) -> Hashes:
        """Return the same where nodes have places that they keep; their secrets are made once.

        Args:
            places: The place of each job's node in `node_keys`.
            node_keys: Those of earlier calls, and perhaps more behind them.
            keys: The job keys, shape (n, 32).
        """
        if (known := len(self._masks)) < len(node_keys):
            more = b"".join([self._masked(key.tobytes()) for key in node_keys[known:]])
            rows = np.frombuffer(more, dtype=np.uint64).reshape(-1, 2)
            self._masks = np.concatenate([self._masks, rows])
        return _mixed(keys, self._masks.take(places, axis=0))

    def repeated(self, hashes: Hashes) -> Marks:
        """Mark the jobs that were accepted before, or stand earlier in the same list; nothing is remembered."""
        marks = np.zeros(len(hashes), dtype=np.bool_)
        if len(hashes):
            self._jobs.mark_known(hashes, marks)
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
        self._jobs.add(epochs, hashes)
        if isinstance(self._jobs, _Sets) and len(self) >= SMALL and bulk(len(self)) is not None:
            table = _Table()
            for epoch, kept in self._jobs.hashes():
                table.add(np.full(len(kept), epoch, dtype=np.int64), kept)
            self._jobs = table

    def forget_before(self, epoch: int) -> None:
        """Forget the jobs of all epochs before `epoch`."""
        self._jobs.forget_before(epoch)

    def remove(self, hashes: Hashes) -> None:
        """Forget single jobs, of whatever epoch: they were claimed, and never promised."""
        if len(hashes):
            self._jobs.remove(np.ascontiguousarray(hashes))

    def epochs(self) -> Iterable[int]:
        """Return the epochs that are remembered."""
        return self._jobs.epochs()

    @property
    def table_bytes(self) -> int:
        """Bytes of the table of a large set."""
        return self._jobs.bytes if isinstance(self._jobs, _Table) else 0


def _mixed(keys: ByteMatrix, masks: npt.NDArray[np.uint64]) -> Hashes:
    words = np.ascontiguousarray(keys).view(np.uint64).reshape(-1, DIGEST_BYTES // 8)
    mixed: Hashes = words[:, :2] ^ masks
    return np.ascontiguousarray(mixed)


def items_of(hashes: Hashes) -> list[bytes]:
    """Return each hash as bytes."""
    found: list[bytes] = np.ascontiguousarray(hashes).view(f"V{HASH_BYTES}").ravel().tolist()
    return found


class _Sets:
    """A Python set for each epoch."""

    def __init__(self) -> None:
        self._by_epoch: dict[int, set[bytes]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_epoch.values()))

    def epochs(self) -> Iterable[int]:
        return self._by_epoch.keys()

    def mark_known(self, hashes: Hashes, marks: Marks) -> None:
        items = items_of(hashes)
        if len(set(items)) != len(items):
            earlier: set[bytes] = set()
            for at, item in enumerate(items):
                marks[at] = item in earlier
                earlier.add(item)
        for known in self._by_epoch.values():
            if not known.isdisjoint(items):
                marks |= np.fromiter(map(known.__contains__, items), np.bool_, len(items))

    def add(self, epochs: npt.NDArray[np.int64], hashes: Hashes) -> None:
        for number in np.unique(epochs).tolist():
            inside = epochs == number
            chosen = hashes if inside.all() else hashes[inside]
            self._by_epoch.setdefault(number, set()).update(items_of(chosen))

    def forget_before(self, epoch: int) -> None:
        for old in [known for known in self._by_epoch if known < epoch]:
            del self._by_epoch[old]

    def remove(self, hashes: Hashes) -> None:
        for known in self._by_epoch.values():
            known.difference_update(items_of(hashes))

    def hashes(self) -> Iterable[tuple[int, Hashes]]:
        for epoch, items in self._by_epoch.items():
            yield epoch, np.frombuffer(b"".join(items), dtype=np.uint64).reshape(-1, 2)


class _Table:
    """256 tables in numpy arrays; each is built anew, and larger if it must be, when it is `_FULL`.

    Hashes fill all tables evenly, so with one growth they would all be built anew within the same few batches; every table
    has another. An epoch's jobs stand under its tag. To forget an epoch is to take the life from its tag; its jobs leave
    when their table is built anew, one table with every batch, and then the tag may be given to another epoch.
    """

    def __init__(self) -> None:
        self._slots = [np.zeros((_FIRST_SLOTS, 2), dtype=np.uint64) for _ in range(_PARTS)]
        self._addresses = np.zeros(_PARTS, dtype=np.uint64)
        self._capacities = np.zeros(_PARTS, dtype=np.int64)
        self._filled = np.zeros(_PARTS, dtype=np.int64)
        self._limits = np.zeros(_PARTS, dtype=np.int64)
        for part in range(_PARTS):
            self._place(part, self._slots[part])
        self._live = np.zeros(_TAGS, dtype=np.uint8)
        self._counts = np.zeros(_TAGS, dtype=np.int64)
        self._tags: dict[int, int] = {}
        self._free = list(range(1, _REMOVED))
        self._dead: set[int] = set()  # forgotten since the sweep began
        self._swept: set[int] = set()  # forgotten before: free at its end
        self._next = 0  # the part that is swept next; 0: no sweep has begun

    def __len__(self) -> int:
        return int(self._counts[self._live > 0].sum())

    @property
    def bytes(self) -> int:
        return HASH_BYTES * int(self._capacities.sum())

    def epochs(self) -> Iterable[int]:
        return self._tags.keys()

    def mark_known(self, hashes: Hashes, marks: Marks) -> None:
        _kernels().mark_known(
            np.ascontiguousarray(hashes), self._addresses, self._capacities, self._live, marks
        )

    def add(self, epochs: npt.NDArray[np.int64], hashes: Hashes) -> None:
        table, row = _kernels(), 0
        tags = self._tags_of(epochs)
        hashes = np.ascontiguousarray(hashes)
        while row < len(hashes):
            row = table.insert(
                hashes,
                tags,
                row,
                self._addresses,
                self._capacities,
                self._filled,
                self._limits,
                self._live,
                self._counts,
            )
            if row < len(hashes):
                self._build(int(hashes[row, 0] >> np.uint64(56)))
        self._sweep()

    def remove(self, hashes: Hashes) -> None:
        _kernels().tag_again(
            hashes, _REMOVED, self._addresses, self._capacities, self._live, self._counts
        )

    def forget_before(self, epoch: int) -> None:
        for old in [known for known in self._tags if known < epoch]:
            tag = self._tags.pop(old)
            if tag not in self._tags.values():
                self._live[tag] = 0
                self._dead.add(tag)

    def _tags_of(self, epochs: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        if len(epochs) == 0:
            return np.zeros(0, dtype=np.uint8)
        low = int(epochs.min())
        span = int(epochs.max()) - low + 1
        if span > len(epochs):
            found, at = np.unique(epochs, return_inverse=True)
        else:
            found, at = np.arange(low, low + span), epochs - low
        there = np.bincount(at, minlength=len(found)) > 0
        tags = np.zeros(len(found), dtype=np.uint8)
        for place in np.flatnonzero(there).tolist():
            epoch = int(found[place])
            tags[place] = self._tags.get(epoch) or self._new_tag(epoch)
        chosen: npt.NDArray[np.uint8] = tags[at]
        return chosen

    def _new_tag(self, epoch: int) -> int:
        """Give an epoch its tag; if none is left, that of the latest one, whose jobs then stay as long as its own."""
        while not self._free and (
            self._swept or self._dead
        ):  # fewer batches than parts, for 255 epochs
            self._sweep()
        if self._free:
            tag = self._free.pop()
            self._live[tag], self._counts[tag] = 1, 0
        else:
            tag = self._tags[max(self._tags)]
        self._tags[epoch] = tag
        return tag

    def _sweep(self) -> None:
        """Build the next part without what was forgotten, if anything was."""
        if self._next == 0:
            self._swept, self._dead = self._dead, set()
        if self._swept:
            self._build(self._next)
            self._next = (self._next + 1) % _PARTS
            if self._next == 0:
                self._free += self._swept
                self._swept = set()

    def _build(self, part: int) -> None:
        """Build a part anew, with room for as many more as stay."""
        old = self._slots[part]
        stay = _kernels().count_live(old, self._live)
        growth = _GROWTH[0] + (_GROWTH[1] - _GROWTH[0]) * part / _PARTS
        size = max(_FIRST_SLOTS, int(stay * growth / _FULL) + 2)
        new = np.zeros((size, 2), dtype=np.uint64)
        self._filled[part] = _kernels().move(old, self._live, new)
        self._place(part, new)

    def _place(self, part: int, slots: Hashes) -> None:
        self._slots[part] = slots
        self._addresses[part] = slots.ctypes.data
        self._capacities[part] = len(slots)
        self._limits[part] = int(len(slots) * _FULL)


@functools.cache
def _kernels() -> Any:
    """Return the compiled functions, imported when the first large set needs them."""
    from meridian.primitives.kernels import key_table  # noqa: PLC0415

    return key_table
