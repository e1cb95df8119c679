"""After the commitment: which promised jobs are counted, in which epoch, and which are missing.

Law: a batch is judged when every epoch from its first job's own to its deadline is committed. A job is counted if its
row stands under a committed root of one of them, as the receipt promised; the aggregator that signed the receipt is
looked at first, and the others only in epochs that it did not commit to. What is published but does not lead to its
root leaves a batch pending: that is a case for the watcher, not for a verdict about jobs.

Memory is bounded by `jobs_max` jobs at a time; where an epoch has more, it is read in several passes over its nodes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import InvalidInput, NotFound, RemoteFault, StorageFailure
from meridian.measure.epoch import LATE_FLAG, Calendar
from meridian.measure.order import cached_node_key
from meridian.measure.promise_search import CommittedEpoch, Mark
from meridian.measure.promised import BrokenReceipt, read_promised, rows_of
from meridian.measure.schema import NetworkSchema
from meridian.node.chain_view import Commitment
from meridian.node.measure.sent_records import rebuilt_jobs
from meridian.node.receipt_store import Form, KeptBatch, ReceiptStore, Verdict
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.ids import Address

JOBS_MAX: Final = 2_000_000
"""Promised jobs that are held at a time: about 600 bytes for each."""
_NOT_FOUND: Final = -1
_UNKNOWN: Final = -2

Fetch = Callable[[bytes], bytes]
Commitments = Mapping[int, Sequence[Commitment]]
"""Epoch -> what stands committed."""


@dataclass(frozen=True, slots=True)
class MissingJob:
    """A promised job that stands in no epoch of its receipt."""

    batch: KeptBatch
    node_id: str
    job_id: str
    index: int
    """Position in the batch, from 0."""


@dataclass(slots=True)
class CheckResult:
    """What a check found."""

    batches: int = 0
    counted: dict[int, int] = field(default_factory=dict)
    """Epoch -> jobs that were found in it."""
    missing: int = 0
    first_missing: list[MissingJob] = field(default_factory=list)
    pending: int = 0
    """Jobs of batches that cannot be judged yet."""
    pending_epochs: set[int] = field(default_factory=set)
    """Epochs that are not committed and that some batch waits for."""
    problems: dict[int, str] = field(default_factory=dict)
    """Epoch -> why it could not be read."""
    broken: dict[bytes, str] = field(default_factory=dict)
    """Batch -> why its receipt promises nothing."""


@dataclass(slots=True)
class _Judged:
    """A batch at work: for each job the epoch in which it was found, as an offset from the first."""

    batch: KeptBatch
    first: int
    deadline: int
    found: npt.NDArray[np.int8]


class ReceiptCheck:
    """Checks the batches of a store.

    Args:
        store: What is kept.
        schema: The network's.
        calendar: The network's.
        commitments: What stands on chain.
        fetch: The published artefacts; raises `NotFound` or `RemoteFault` for what cannot be had.
        missing_max: Missing jobs that are listed.
        jobs_max: Promised jobs that are held at a time.
        progress: Called with (epochs done, epochs).
    """

    def __init__(
        self,
        store: ReceiptStore,
        *,
        schema: NetworkSchema,
        calendar: Calendar,
        commitments: Commitments,
        fetch: Fetch,
        missing_max: int = 1000,
        jobs_max: int = JOBS_MAX,
        progress: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> None:
        self._store, self._schema, self._calendar = store, schema, calendar
        self._commitments, self._fetch = commitments, fetch
        self._missing_max, self._jobs_max, self._progress = missing_max, jobs_max, progress
        self._opened: tuple[bytes, CommittedEpoch] | None = None
        self.result = CheckResult()

    def run(self, *, again: bool = False) -> CheckResult:
        """Judge the batches whose deadline is committed, and note the verdicts in the store.

        Args:
            again: Also those that were judged before, where their jobs are still kept.
        """
        verdicts = [Verdict.PENDING, Verdict.MISSING] + ([Verdict.COUNTED] if again else [])
        judged = list(self._due(verdicts))
        epochs = sorted({epoch for one in judged for epoch in range(one.first, one.deadline + 1)})
        for done, epoch in enumerate(epochs):
            self._progress(done, len(epochs))
            here = [one for one in judged if one.first <= epoch <= one.deadline]
            by_aggregator: dict[Address, list[_Judged]] = {}
            for one in here:
                assert one.batch.receipt is not None
                aggregator = one.batch.receipt.receipt.aggregator
                by_aggregator.setdefault(aggregator, []).append(one)
            for aggregator, batches in by_aggregator.items():
                self._look(epoch, aggregator, batches)
        self._progress(len(epochs), len(epochs))
        for one in judged:
            self._settle(one)
        return self.result

    def _due(self, verdicts: Sequence[Verdict]) -> Iterator[_Judged]:
        for kept in self._store.batches(verdicts):
            batch = self._completed(kept)
            if batch is None or batch.deadline is None or batch.first_epoch is None:
                continue
            first, deadline = batch.first_epoch, batch.deadline
            waits = [one for one in range(first, deadline + 1) if not self._commitments.get(one)]
            if waits:
                self.result.pending += batch.accepted
                self.result.pending_epochs.update(waits)
                continue
            none = np.full(batch.accepted, _NOT_FOUND, dtype=np.int8)
            yield _Judged(batch, first, deadline, none)

    def _completed(self, batch: KeptBatch) -> KeptBatch | None:
        """Return a batch with its rows, which are built now where no schema was at hand when it was sent."""
        if batch.first_epoch is not None:
            return batch
        kept = self._store.jobs(batch.number)
        if kept is None:
            return None
        try:
            first, promised = rebuilt_jobs(kept[1], batch, self._schema, self._calendar)
        except (BrokenReceipt, InvalidInput) as error:
            self.result.broken[batch.batch] = str(error)
            return None
        self._store.complete(batch.number, first, promised)
        return replace(batch, first_epoch=first)

    # -- one epoch --------------------------------------------------------------------------------

    def _look(self, epoch: int, aggregator: Address, batches: Sequence[_Judged]) -> None:
        """Look for the jobs of some batches of one aggregator in one epoch."""
        jobs = sum(one.batch.accepted for one in batches)
        passes = -(-jobs // self._jobs_max)
        for commitment in self._of(epoch, aggregator):
            for number in range(passes):
                taken = self._gather(epoch, batches, number, passes)
                if taken is None:
                    continue
                node_ids, rows, owners, places = taken
                try:
                    marks = self._committed(commitment).marks(node_ids, rows)
                except (InvalidInput, NotFound, RemoteFault) as error:
                    self.result.problems[epoch] = str(error)
                    marks = np.full(len(rows), Mark.UNKNOWN, dtype=np.int8)
                for at, one in enumerate(batches):
                    mine = owners == at
                    here, said = places[mine], marks[mine]
                    one.found[here[said == Mark.STANDS]] = epoch - one.first
                    one.found[here[said == Mark.UNKNOWN]] = _UNKNOWN

    def _of(self, epoch: int, aggregator: Address) -> list[Commitment]:
        standing = self._commitments[epoch]
        return [one for one in standing if one.aggregator == aggregator] or list(standing)

    def _committed(self, commitment: Commitment) -> CommittedEpoch:
        if self._opened is None or self._opened[0] != commitment.manifest:
            opened = CommittedEpoch(
                self._schema, commitment.epoch, commitment.root, commitment.manifest, self._fetch
            )
            self._opened = commitment.manifest, opened
        return self._opened[1]

    def _gather(
        self, epoch: int, batches: Sequence[_Judged], number: int, passes: int
    ) -> tuple[pa.ChunkedArray, ByteMatrix, npt.NDArray[np.int32], npt.NDArray[np.int32]] | None:
        """Return the jobs that may stand in an epoch and were not found: node, row, batch, place in the batch."""
        ids, rows, owners, places = [], [], [], []
        for at, one in enumerate(batches):
            table = self._jobs(one.batch)
            all_rows = rows_of(table)
            ended = np.ascontiguousarray(all_rows[:, 44:52]).view(">u8").ravel().astype(np.int64)
            own = self._calendar.epochs_of(ended)
            late = (all_rows[:, 3] & LATE_FLAG) != 0
            may = (one.found == _NOT_FOUND) & ((own < epoch) | ((own == epoch) & ~late))
            if passes > 1:
                may &= _pass_of(table, passes) == number
            chosen = np.flatnonzero(may)
            if len(chosen):
                column = table.column("node_id").take(pa.array(chosen)).cast(pa.string())
                ids += column.chunks
                rows.append(all_rows[chosen])
                owners.append(np.full(len(chosen), at, dtype=np.int32))
                places.append(chosen.astype(np.int32))
        if not rows:
            return None
        return (
            pa.chunked_array(ids, pa.string()),
            np.concatenate(rows),
            np.concatenate(owners),
            np.concatenate(places),
        )

    def _jobs(self, batch: KeptBatch) -> pa.Table:
        kept = self._store.jobs(batch.number)
        if kept is None or kept[0] is not Form.PROMISED:
            raise StorageFailure(f"the jobs of batch {batch.batch.hex()} are not kept any more")
        return read_promised(kept[1])

    # -- verdicts ---------------------------------------------------------------------------------

    def _settle(self, one: _Judged) -> None:
        result, batch = self.result, one.batch
        if (one.found == _UNKNOWN).any():
            result.pending += batch.accepted
            return
        offsets, counts = np.unique(one.found, return_counts=True)
        found = {
            one.first + int(offset): int(count)
            for offset, count in zip(offsets, counts, strict=True)
            if offset >= 0
        }
        for epoch, count in found.items():
            result.counted[epoch] = result.counted.get(epoch, 0) + count
        gone = np.flatnonzero(one.found == _NOT_FOUND)
        result.batches += 1
        result.missing += len(gone)
        room = self._missing_max - len(result.first_missing)
        if len(gone) and room > 0:
            chosen = self._jobs(batch).take(pa.array(gone[:room]))
            result.first_missing += [
                MissingJob(batch, row["node_id"], row["job_id"], row["index"])
                for row in chosen.select(["node_id", "job_id", "index"]).to_pylist()
            ]
        verdict = Verdict.MISSING if len(gone) else Verdict.COUNTED
        self._store.settle(batch.number, verdict, found)


def _pass_of(table: pa.Table, passes: int) -> npt.NDArray[np.int64]:
    """Return in which pass each job is looked at: all jobs of a node in the same."""
    column = table.column("node_id").combine_chunks()
    names = column.dictionary.to_pylist()
    numbers = np.array(
        [int.from_bytes(cached_node_key(name)[:8], "big") % passes for name in names]
    )
    found: npt.NDArray[np.int64] = numbers[column.indices.to_numpy(zero_copy_only=False)]
    return found
