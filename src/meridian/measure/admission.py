"""Which records of waiting batches are accepted, and into which epoch.

Law: a job is unique by (node, job id) over all epochs that are remembered, however often and in whatever batch it comes;
the first accepted one stands. Whatever is refused has its reason; whatever is accepted has its epoch and its flags.
Batches that wait together are admitted in one pass over columns, with the same outcome as one after the other.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from meridian.errors import MeridianError
from meridian.measure.batch_decode import Many
from meridian.measure.columns import column_values, one_chunk
from meridian.measure.epoch import Placement, PlacementRules, place
from meridian.measure.explain import Rejection
from meridian.measure.order import Integers
from meridian.measure.record import Decoded, with_lines
from meridian.measure.row import job_keys
from meridian.measure.schema import NetworkSchema
from meridian.measure.screening import Screen
from meridian.measure.seen_jobs import Hashes, SeenJobs
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.sumtree import LaneKind

FLOAT_EXACT: Final = 1 << 53
"""Sums of whole numbers below it are exact in a double."""
LANE_MAX: Final = (1 << 64) - 1
"""The most that a u64 lane can hold."""


class KnownNodes(Protocol):
    """The registered nodes; each has a place, a number from 0 that it keeps."""

    def places(self, node_ids: pa.StringArray) -> Integers:
        """Return the place of each job's node, -1 where it is not registered."""

    @property
    def keys(self) -> ByteMatrix:
        """The node keys by place, shape (n, 32)."""


class LaneSums:
    """What the jobs of each open epoch add up to, lane by lane.

    A sum in a tree must not overflow, or the epoch could never be committed; so the job that would do it is refused. How
    much room one job may take is the schema's business (`Field.maximum`); a u128 lane has room for any number of jobs.
    """

    def __init__(self, schema: NetworkSchema) -> None:
        bounded = schema.lanes.kind is LaneKind.PAIR_U64
        self._fields = schema.lanes.fields if bounded else ()
        self._sums: dict[tuple[int, str], int] = {}

    def overflowing(self, epochs: Integers, jobs: pa.Table) -> dict[str, list[int]]:
        """Return, field by field, the positions of jobs for which there is no room; the others fit together."""
        refused: dict[str, list[int]] = {}
        for name in self._fields:
            values = lane_values(jobs, name)
            for epoch, total in _epoch_sums(epochs, values).items():
                room = LANE_MAX - self._sums.get((epoch, name), 0)
                if total <= room:
                    continue
                for at in np.flatnonzero(epochs == epoch).tolist():
                    room -= int(values[at])
                    if room < 0:
                        room += int(values[at])
                        refused.setdefault(name, []).append(at)
        return refused

    def add(self, epochs: Integers, jobs: pa.Table) -> None:
        """Count accepted jobs."""
        for name in self._fields:
            values = lane_values(jobs, name)
            for epoch, more in _epoch_sums(epochs, values).items():
                self._sums[epoch, name] = self._sums.get((epoch, name), 0) + more

    def total(self, epoch: int, name: str) -> int:
        """Return what the accepted jobs of an open epoch add up to in a bounded lane."""
        return self._sums.get((epoch, name), 0)

    def forget_before(self, epoch: int) -> None:
        """Forget the sums of all epochs before `epoch`."""
        self._sums = {key: total for key, total in self._sums.items() if key[0] >= epoch}


def lane_values(jobs: pa.Table, name: str) -> Integers:
    """Return what each job adds to a lane."""
    column = one_chunk(jobs.column(name))
    return np.asarray(pc.fill_null(column, 0) if column.null_count else column)


def _epoch_sums(epochs: Integers, values: Integers) -> dict[int, int]:
    """Return the exact sum of each epoch's values, which are not negative."""
    if len(values) == 0:
        return {}
    low, high = int(epochs.min()), int(epochs.max())
    if low == high:
        return {low: _exact_sum(values)}
    if high - low < len(values) and int(values.max()) * len(values) < FLOAT_EXACT:
        totals = np.bincount(epochs - low, weights=values)
        return {low + at: int(totals[at]) for at in np.flatnonzero(totals).tolist()}
    return {epoch: _exact_sum(values[epochs == epoch]) for epoch in np.unique(epochs).tolist()}


def _exact_sum(values: Integers) -> int:
    """Return the sum of values that are not negative, without wrapping."""
    if int(values.max(initial=0)) * len(values) < LANE_MAX >> 1:
        return int(values.sum())
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


@dataclass(frozen=True, slots=True)
class Records:
    """Decoded batches that are admitted together."""

    table: pa.Table
    """The good records, batch behind batch: ``index`` and the columns of `columns.job_columns`."""
    batch_of: Integers
    """The batch of each row, ascending."""
    first: tuple[int, ...]
    """The ``index`` of the first record of each batch."""
    lines: tuple[Sequence[int] | None, ...]
    """For NDJSON: the line of each record of a batch."""
    rejections: tuple[tuple[Rejection, ...], ...]
    """The bad records of each batch."""
    signers: tuple[str | None, ...]
    """The node that signed a batch, which then may hold no other's jobs; None: a gateway's."""

    @classmethod
    def of(cls, decoded: Decoded, signer: str | None = None) -> "Records":
        """Return one batch as records."""
        batch_of = np.zeros(decoded.table.num_rows, dtype=np.int64)
        rejections = (decoded.rejections,)
        return cls(decoded.table, batch_of, (0,), (decoded.lines,), rejections, (signer,))

    @classmethod
    def of_many(cls, many: Many, signers: Sequence[str | None]) -> "Records":
        """Return the batches of bodies that were decoded together; those that were refused as a whole are left out."""
        bodies = [at for at in range(len(signers)) if at not in many.errors]
        first = tuple(many.offsets[at] for at in bodies)
        index = column_values(many.decoded.table, "index")
        all_lines, all_rejections = many.decoded.lines or (), many.decoded.rejections
        lines = [all_lines[many.offsets[at] : many.offsets[at + 1]] for at in bodies]
        return cls(
            table=many.decoded.table,
            batch_of=np.searchsorted(np.array(first, dtype=np.int64), index, "right") - 1,
            first=first,
            lines=tuple(own if own and own[0] else None for own in lines),
            rejections=tuple(many.rejections_of(at, all_rejections) for at in bodies),
            signers=tuple(signers[at] for at in bodies),
        )

    @classmethod
    def gather(cls, parts: Sequence["Records"]) -> "Records":
        """Put records one behind the other."""
        if len(parts) == 1:
            return parts[0]
        starts = np.cumsum([0, *(len(part.signers) for part in parts)])
        numbered = [part.batch_of + start for part, start in zip(parts, starts, strict=False)]
        return cls(
            table=pa.concat_tables([part.table for part in parts]).combine_chunks(),
            batch_of=np.concatenate(numbered),
            first=tuple(itertools.chain.from_iterable(part.first for part in parts)),
            lines=tuple(itertools.chain.from_iterable(part.lines for part in parts)),
            rejections=tuple(itertools.chain.from_iterable(part.rejections for part in parts)),
            signers=tuple(itertools.chain.from_iterable(part.signers for part in parts)),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one batch."""

    accepted: int
    rejections: tuple[Rejection, ...]
    """All other records, by position."""
    epochs: dict[int, int]
    """Epoch -> accepted jobs."""
    duplicates: dict[int, int]
    """Epoch -> how many records were refused because the job was accepted before."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """What became of batches that were admitted together."""

    table: pa.Table
    """The accepted jobs, batch behind batch in batch order: the columns of `Records.table`, ``epoch`` and ``flags``."""
    batch_of: Integers
    """Their batches."""
    node_of: Integers
    """The places of their nodes."""
    keys: ByteMatrix
    """Their job keys."""
    hashes: Hashes
    """Their hashes in `SeenJobs`."""
    outcomes: tuple[Outcome, ...]
    aside: Mapping[int, MeridianError]
    """Batch -> what it is answered in place of an outcome."""


def admit(
    records: Records,
    *,
    rules: PlacementRules,
    open_epoch: int,
    now_us: int,
    nodes: KnownNodes,
    seen: SeenJobs,
    sums: LaneSums,
    screen: Screen | None = None,
) -> Admitted:
    """Decide about every record of waiting batches; `seen` and `sums` are asked, not changed.

    Args:
        records: The batches.
        rules: When a job is accepted.
        open_epoch: The first epoch that is not sealed.
        now_us: The ingest clock.
        nodes: The registered nodes.
        seen: What was accepted before.
        sums: What the accepted jobs of open epochs add up to.
        screen: Asked about what would be accepted, where other servers accept jobs too.
    """
    refused = _Refused(records)
    jobs = _placed(records, refused, rules, open_epoch, now_us, nodes)
    keys = job_keys(jobs.table.column("job_id"))
    hashes = seen.hashes_at(jobs.node_of, nodes.keys, keys)
    repeated = seen.repeated(hashes)
    aside: Mapping[int, MeridianError] = {}
    gone = repeated
    if screen is not None:
        screened = screen(jobs.batch_of, jobs.epochs, hashes, jobs.table, repeated)
        gone, aside, repeated = screened.repeated, screened.aside, screened.repeated
        for name, marks in screened.full.items():
            refused.where(jobs, marks, name, "out_of_range", "the epoch's sum is full")
            gone = gone | marks
    duplicates: dict[tuple[int, int], int] = {}
    if repeated.any():
        duplicates = _count(jobs.batch_of[repeated], jobs.epochs[repeated])
        refused.where(jobs, repeated, "job_id", "duplicate", "the job was accepted before")
    if gone.any():
        jobs, keys, hashes = jobs.only(~gone), keys[~gone], hashes[~gone]
    overflowing = sums.overflowing(jobs.epochs, jobs.table)
    if overflowing:
        keep = np.ones(len(keys), dtype=np.bool_)
        for name, positions in overflowing.items():
            full = np.zeros(len(keys), dtype=np.bool_)
            full[positions] = True
            refused.where(jobs, full & keep, name, "out_of_range", "the epoch's sum is full")
            keep &= ~full
        jobs, keys, hashes = jobs.only(keep), keys[keep], hashes[keep]
    table = jobs.table.append_column("epoch", pa.array(jobs.epochs))
    accepted = _count(jobs.batch_of, jobs.epochs)
    return Admitted(
        table=table.append_column("flags", pa.array(jobs.flags)),
        batch_of=jobs.batch_of,
        node_of=jobs.node_of,
        keys=keys,
        hashes=hashes,
        outcomes=refused.outcomes(accepted, duplicates),
        aside=aside,
    )


@dataclass(frozen=True, slots=True)
class _Jobs:
    """Rows that are still in, with what is known of them."""

    table: pa.Table
    batch_of: Integers
    node_of: Integers
    """The places of their nodes, -1 for one that is not registered."""
    epochs: Integers
    flags: npt.NDArray[np.uint16]

    def only(self, keep: npt.NDArray[np.bool_]) -> "_Jobs":
        if keep.all():
            return self
        return _Jobs(
            self.table.filter(pa.array(keep)),
            self.batch_of[keep],
            self.node_of[keep],
            self.epochs[keep],
            self.flags[keep],
        )


def _placed(
    records: Records,
    refused: "_Refused",
    rules: PlacementRules,
    open_epoch: int,
    now_us: int,
    nodes: KnownNodes,
) -> _Jobs:
    """Return the jobs of nodes that may report, in their epochs."""
    node_of = nodes.places(one_chunk(records.table.column("node_id")))
    placed = place(column_values(records.table, "ended_us"), rules, open_epoch, now_us)
    jobs = _Jobs(records.table, records.batch_of, node_of, placed.epochs, placed.flags)
    good = node_of >= 0
    refused.where(jobs, ~good, "peer_id", "unknown_node", "the node is not registered")
    if any(signer is not None for signer in records.signers):
        own = _own_jobs(records, node_of, nodes)
        refused.where(jobs, good & ~own, "peer_id", "other_node", "another node signed the batch")
        good &= own
    late = good & (placed.outcomes == Placement.TOO_LATE)
    refused.where(jobs, late, "ended_at", "too_late", f"epochs before {open_epoch} are sealed")
    ahead = good & (placed.outcomes == Placement.AHEAD_OF_CLOCK)
    message = "the job ends ahead of the service's clock"
    refused.where(jobs, ahead, "ended_at", "ahead_of_clock", message)
    return jobs.only(good & (placed.outcomes == Placement.PLACED))


def _own_jobs(records: Records, node_of: Integers, nodes: KnownNodes) -> npt.NDArray[np.bool_]:
    """Tell of each row whether its batch may hold jobs of its node."""
    some = next(one for one in records.signers if one is not None)  # in place of none
    places = nodes.places(pa.array([one or some for one in records.signers], pa.string()))
    any_node = np.array([one is None for one in records.signers], dtype=np.bool_)
    of = records.batch_of
    own: npt.NDArray[np.bool_] = any_node[of] | (places[of] == node_of)
    return own


def _count(batch_of: Integers, epochs: Integers) -> dict[tuple[int, int], int]:
    """Return how many rows there are of each (batch, epoch), ascending."""
    if len(epochs) == 0:
        return {}
    first = int(epochs.min())
    width = int(epochs.max()) - first + 1
    cells = batch_of * width + (epochs - first)
    if int(cells.max()) <= len(cells):
        all_counts = np.bincount(cells)
        filled = np.flatnonzero(all_counts)
        counts = all_counts[filled]
    else:
        filled, counts = np.unique(cells, return_counts=True)
    return {
        (cell // width, first + cell % width): count
        for cell, count in zip(filled.tolist(), counts.tolist(), strict=True)
    }


class _Refused:
    """Collects the rejections of each batch."""

    def __init__(self, records: Records) -> None:
        self._lines = records.lines
        self._first = records.first
        self._by_batch = [list(rejections) for rejections in records.rejections]

    def where(
        self,
        jobs: _Jobs,
        where: npt.NDArray[np.bool_],
        field: str,
        reason: str,
        message: str,
    ) -> None:
        """Refuse the rows that a mask names."""
        if not where.any():
            return
        chosen = jobs.table.select(["index", "job_id"]).filter(pa.array(where))
        indices, job_ids = (chosen.column(name).to_pylist() for name in ("index", "job_id"))
        batches = jobs.batch_of[where].tolist()
        for batch, index, job_id in zip(batches, indices, job_ids, strict=True):
            own = index - self._first[batch]
            self._by_batch[batch].append(Rejection(own, job_id, field, reason, message))

    def outcomes(
        self, accepted: dict[tuple[int, int], int], duplicates: dict[tuple[int, int], int]
    ) -> tuple[Outcome, ...]:
        """Return what became of each batch."""
        count = len(self._by_batch)
        epochs: list[dict[int, int]] = [{} for _ in range(count)]
        again: list[dict[int, int]] = [{} for _ in range(count)]
        for counts, cells in ((epochs, accepted), (again, duplicates)):
            for (batch, epoch), number in cells.items():
                counts[batch][epoch] = number
        outcomes = []
        for batch, rejections in enumerate(self._by_batch):
            rejections.sort(key=lambda rejection: rejection.index)
            with_line = with_lines(rejections, self._lines[batch]) if rejections else ()
            outcomes.append(
                Outcome(sum(epochs[batch].values()), with_line, epochs[batch], again[batch])
            )
        return tuple(outcomes)
