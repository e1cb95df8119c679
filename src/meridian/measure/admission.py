"""Which records of a batch are accepted, and into which epoch.

Law: a job is unique by (node, job id) over all epochs that are remembered, however often and in whatever batch it comes;
the first accepted one stands. Whatever is refused has its reason; whatever is accepted has its epoch and its flags.
"""

import functools
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from meridian.errors import Overloaded
from meridian.measure.columns import column_values
from meridian.measure.epoch import Placement, PlacementRules, place
from meridian.measure.explain import Rejection
from meridian.measure.order import KEYS_KEPT, node_indices
from meridian.measure.record import Decoded, with_lines
from meridian.measure.row import job_keys
from meridian.measure.schema import NetworkSchema
from meridian.primitives.hashing import ByteMatrix, sha256
from meridian.primitives.ids import node_key
from meridian.primitives.sumtree import LaneKind

HASH_BYTES: Final = 16

LANE_MAX: Final = (1 << 64) - 1
"""The most that a u64 lane can hold."""

_FULL_RETRY_S: Final = 30.0


class SeenJobs:
    """The exact set of jobs that were accepted, by epoch, as 16-byte keyed hashes.

    About 100 bytes of memory for each job; `limit` bounds their number. The key is the service's own secret, so nobody
    can choose a node id whose jobs collide with another node's; inside one node a collision takes 2^64 work and harms
    only that node.

    Args:
        secret: 32 secret bytes.
        limit: Most jobs that are remembered at a time.
    """

    def __init__(self, secret: bytes, limit: int) -> None:
        self._limit = limit
        self._mask = functools.lru_cache(KEYS_KEPT)(
            lambda node_id: sha256(secret, node_key(node_id))[:HASH_BYTES]
        )
        self._by_epoch: dict[int, set[bytes]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_epoch.values()))

    def hashes(self, node_ids: pa.ChunkedArray, keys: ByteMatrix) -> list[bytes]:
        """Return the hash of each job: the first half of its key, masked with a secret of its node."""
        ids, at = node_indices(node_ids)
        if not ids:
            return []
        masks = b"".join([self._mask(name) for name in ids])
        mask_rows = np.frombuffer(masks, dtype=np.uint8).reshape(len(ids), HASH_BYTES)
        mixed = np.ascontiguousarray(keys[:, :HASH_BYTES] ^ mask_rows[at])
        hashes: list[bytes] = mixed.view(f"V{HASH_BYTES}").ravel().tolist()
        return hashes

    def repeated(self, hashes: Sequence[bytes]) -> list[int]:
        """Return the positions of jobs that were accepted before, or stand earlier in the same list."""
        unique = set(hashes)
        known = [seen for seen in self._by_epoch.values() if not seen.isdisjoint(unique)]
        if not known and len(unique) == len(hashes):
            return []
        earlier: set[bytes] = set()
        positions = []
        for at, item in enumerate(hashes):
            if item in earlier or any(item in seen for seen in known):
                positions.append(at)
            earlier.add(item)
        return positions

    def require_room(self, count: int) -> None:
        """Refuse what would pass the limit.

        Raises:
            Overloaded: Until epochs are sealed and forgotten.
        """
        if len(self) + count > self._limit:
            raise Overloaded(_FULL_RETRY_S, f"more than {self._limit} jobs wait for their seal")

    def add(self, epochs: npt.NDArray[np.int64], hashes: Sequence[bytes]) -> None:
        """Remember accepted jobs."""
        for epoch in np.unique(epochs).tolist():
            seen = self._by_epoch.setdefault(epoch, set())
            seen.update(hashes[at] for at in np.flatnonzero(epochs == epoch).tolist())

    def forget_before(self, epoch: int) -> None:
        """Forget the jobs of all epochs before `epoch`."""
        for old in [known for known in self._by_epoch if known < epoch]:
            del self._by_epoch[old]

    def epochs(self) -> Iterable[int]:
        """Return the epochs that are remembered."""
        return self._by_epoch.keys()


class LaneSums:
    """What the jobs of each open epoch add up to, lane by lane.

    A sum in a tree must not overflow, or the epoch could never be committed; so the job that would do it is refused. How
    much room one job may take is the schema's business (`Field.maximum`); a u128 lane has room for any number of jobs.
    """

    def __init__(self, schema: NetworkSchema) -> None:
        bounded = schema.lanes.kind is LaneKind.PAIR_U64
        self._fields = schema.lanes.fields if bounded else ()
        self._sums: dict[tuple[int, str], int] = {}

    def overflowing(self, epochs: npt.NDArray[np.int64], jobs: pa.Table) -> list[tuple[int, str]]:
        """Return (position, field) of jobs for which there is no room; the others fit together."""
        refused: list[tuple[int, str]] = []
        for name in self._fields:
            values = _lane_values(jobs, name)
            for epoch in np.unique(epochs).tolist():
                inside = np.flatnonzero(epochs == epoch)
                room = LANE_MAX - self._sums.get((epoch, name), 0)
                if _exact_sum(values[inside]) <= room:
                    continue
                for at in inside.tolist():
                    room -= int(values[at])
                    if room < 0:
                        room += int(values[at])
                        refused.append((at, name))
        return refused

    def add(self, epochs: npt.NDArray[np.int64], jobs: pa.Table) -> None:
        """Count accepted jobs."""
        for name in self._fields:
            values = _lane_values(jobs, name)
            for epoch in np.unique(epochs).tolist():
                more = _exact_sum(values[epochs == epoch])
                self._sums[epoch, name] = self._sums.get((epoch, name), 0) + more

    def forget_before(self, epoch: int) -> None:
        """Forget the sums of all epochs before `epoch`."""
        self._sums = {key: total for key, total in self._sums.items() if key[0] >= epoch}


def _lane_values(jobs: pa.Table, name: str) -> npt.NDArray[np.int64]:
    return np.asarray(pc.fill_null(jobs.column(name), 0).to_numpy())


def _exact_sum(values: npt.NDArray[np.int64]) -> int:
    """Return the sum of values that are not negative, without wrapping."""
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


@dataclass(frozen=True, slots=True)
class Admitted:
    """What became of a batch."""

    count: int
    """Records in the batch."""
    table: pa.Table
    """The accepted jobs in batch order: ``index``, ``epoch``, ``flags``, and the columns of `columns.job_columns`."""
    keys: ByteMatrix
    """Their job keys."""
    hashes: Sequence[bytes]
    """Their hashes in `SeenJobs`."""
    rejections: tuple[Rejection, ...]
    """All others, by position."""
    duplicates: dict[int, int]
    """Epoch -> how many of the others are refused because the job was accepted before."""


def admit(
    decoded: Decoded,
    *,
    rules: PlacementRules,
    open_epoch: int,
    now_us: int,
    known_nodes: Container[str],
    seen: SeenJobs,
    sums: LaneSums,
) -> Admitted:
    """Decide about every record of a batch; `seen` and `sums` are asked, not changed.

    Args:
        decoded: The batch.
        rules: When a job is accepted.
        open_epoch: The first epoch that is not sealed.
        now_us: The ingest clock.
        known_nodes: The ids of registered nodes.
        seen: What was accepted before.
        sums: What the accepted jobs of open epochs add up to.
    """
    table, rejections = decoded.table, list(decoded.rejections)
    names, at = node_indices(table.column("node_id"))
    registered = np.array([name in known_nodes for name in names], dtype=np.bool_)
    good = registered[at] if names else np.zeros(0, dtype=np.bool_)
    refuse = _Refusals(table, rejections)
    refuse(~good, "peer_id", "unknown_node", "the node is not registered")

    placed = place(column_values(table, "ended_us"), rules, open_epoch, now_us)
    late = good & (placed.outcomes == Placement.TOO_LATE)
    refuse(late, "ended_at", "too_late", f"epochs before {open_epoch} are sealed")
    ahead = good & (placed.outcomes == Placement.AHEAD_OF_CLOCK)
    refuse(ahead, "ended_at", "ahead_of_clock", "the job ends ahead of the service's clock")
    good &= placed.outcomes == Placement.PLACED

    table = table.append_column("epoch", pa.array(placed.epochs))
    table = table.append_column("flags", pa.array(placed.flags))
    table = table.filter(pa.array(good))
    keys = job_keys(table.column("job_id"))
    hashes = seen.hashes(table.column("node_id"), keys)
    repeated = seen.repeated(hashes)
    duplicates: dict[int, int] = {}
    if repeated:
        again = np.zeros(table.num_rows, dtype=np.bool_)
        again[repeated] = True
        epochs, counts = np.unique(column_values(table, "epoch")[again], return_counts=True)
        duplicates = dict(zip(epochs.tolist(), counts.tolist(), strict=True))
        _Refusals(table, rejections)(again, "job_id", "duplicate", "the job was accepted before")
        keep = ~again
        table, keys = table.filter(pa.array(keep)), keys[keep]
        hashes = [hashes[position] for position in np.flatnonzero(keep).tolist()]
    overflowing = sums.overflowing(column_values(table, "epoch"), table)
    if overflowing:
        keep = np.ones(table.num_rows, dtype=np.bool_)
        for position, name in overflowing:
            if keep[position]:
                keep[position] = False
                only = np.arange(table.num_rows) == position
                _Refusals(table, rejections)(only, name, "out_of_range", "the epoch's sum is full")
        table, keys = table.filter(pa.array(keep)), keys[keep]
        hashes = [hashes[position] for position in np.flatnonzero(keep).tolist()]
    rejections.sort(key=lambda rejection: rejection.index)
    return Admitted(
        count=decoded.count,
        table=table,
        keys=keys,
        hashes=hashes,
        rejections=with_lines(rejections, decoded.lines),
        duplicates=duplicates,
    )


class _Refusals:
    """Collects refusals of rows of one table."""

    def __init__(self, table: pa.Table, rejections: list[Rejection]) -> None:
        self._table, self._rejections = table, rejections

    def __call__(self, where: npt.NDArray[np.bool_], field: str, reason: str, message: str) -> None:
        positions = np.flatnonzero(where)
        if not len(positions):
            return
        chosen = self._table.select(["index", "job_id"]).take(pa.array(positions))
        for row in chosen.to_pylist():
            self._rejections.append(Rejection(row["index"], row["job_id"], field, reason, message))
