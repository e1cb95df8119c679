"""One promised job: where it is counted, or the proof that its promise was broken."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from meridian.disputes.accusation import Accusation
from meridian.disputes.promises import Promise, SortedEpoch, omission
from meridian.errors import NotFound
from meridian.measure.epoch import Calendar
from meridian.measure.explain import Rejection
from meridian.measure.promised import read_promised, rows_of
from meridian.measure.receipt import Batch
from meridian.measure.schema import NetworkSchema
from meridian.node.chain_view import Commitment
from meridian.node.receipt_store import Form, KeptBatch, ReceiptStore
from meridian.node.watch.published import Fetch, published_epoch
from meridian.primitives.ids import node_key


@dataclass(frozen=True, slots=True)
class PromisedJob:
    """A job of a batch."""

    batch: KeptBatch
    node_id: str
    job_id: str
    index: int
    """Position in the batch, from 0."""
    row: bytes
    jobs: pa.Table
    """All promised jobs of the batch."""

    @property
    def number(self) -> int:
        """The record's number in its source, from 1: its line, where there are no blank ones before it."""
        return self.batch.first + self.index


def find_jobs(store: ReceiptStore, job_id: str, node_id: str | None) -> Iterator[PromisedJob]:
    """Yield the promised jobs with an id, of one node or of any."""
    for batch in store.batches():
        kept = store.jobs(batch.number)
        if batch.receipt is None or kept is None or kept[0] is not Form.PROMISED:
            continue
        jobs = read_promised(kept[1])
        found = pc.equal(jobs.column("job_id"), job_id)
        for at in np.flatnonzero(found.to_numpy(zero_copy_only=False)).tolist():
            row = jobs.slice(at, 1).to_pylist()[0]
            if node_id in (None, row["node_id"]):
                yield PromisedJob(batch, row["node_id"], job_id, row["index"], row["row"], jobs)


def find_promised(store: ReceiptStore, batch: KeptBatch, index: int) -> PromisedJob:
    """Return the promised job at a position of a batch.

    Raises:
        NotFound: If nothing is promised about it, or the jobs were let go.
    """
    kept = store.jobs(batch.number)
    if kept is not None and kept[0] is Form.PROMISED:
        jobs = read_promised(kept[1])
        found = pc.index(jobs.column("index"), pa.scalar(index, pa.int32())).as_py()
        if found >= 0:
            row = jobs.slice(found, 1).to_pylist()[0]
            return PromisedJob(batch, row["node_id"], row["job_id"], index, row["row"], jobs)
    raise NotFound(f"record {index} of batch {batch.batch.hex()} is not promised, or was let go")


def find_rejections(store: ReceiptStore, job_id: str) -> Iterator[tuple[KeptBatch, Rejection]]:
    """Yield the refusals of records with a job id."""
    for batch in store.batches():
        for one in batch.rejected:
            if one.job_id == job_id:
                yield batch, one


class JobJudge:
    """Looks one job up in the committed epochs, with the ways that a proof needs.

    Args:
        schema: The network's.
        calendar: The network's.
        commitments: Epoch -> what stands on chain.
        fetch: The published artefacts.
    """

    def __init__(
        self,
        schema: NetworkSchema,
        calendar: Calendar,
        commitments: Mapping[int, Sequence[Commitment]],
        fetch: Fetch,
    ) -> None:
        self._schema, self._calendar = schema, calendar
        self._commitments, self._fetch = commitments, fetch

    def promise(self, job: PromisedJob) -> Promise:
        """Return a job with its way to the receipt's root."""
        assert job.batch.receipt is not None, "nothing is promised"
        node_ids = job.jobs.column("node_id").cast(pa.string())
        tree = Batch(self._schema, rows_of(job.jobs), node_ids)
        proof = tree.prove(job.node_id, job.job_id)
        return Promise(job.batch.receipt, node_key(job.node_id), proof)

    def due(self, job: PromisedJob) -> range:
        """Return the epochs in one of which a job must stand."""
        assert job.batch.receipt is not None, "nothing is promised"
        own = self._calendar.epoch_of(int.from_bytes(job.row[44:52], "big"))
        return range(own, job.batch.receipt.receipt.deadline_epoch + 1)

    def epochs(self, job: PromisedJob) -> dict[int, SortedEpoch]:
        """Return the epochs that a job's promise is about, as its aggregator committed them, as far as they are.

        Raises:
            InvalidInput: If what is published is not what is committed.
            RemoteFault: If something is not published now.
        """
        assert job.batch.receipt is not None, "nothing is promised"
        aggregator = job.batch.receipt.receipt.aggregator
        found = {}
        for epoch in self.due(job):
            for commitment in self._commitments.get(epoch, ()):
                if commitment.aggregator == aggregator:
                    published = published_epoch(
                        commitment, self._schema.digest, self._fetch, node_key(job.node_id)
                    )
                    found[epoch] = SortedEpoch(published)
        return found

    def place(
        self, job: PromisedJob, epochs: Mapping[int, SortedEpoch]
    ) -> tuple[int, int, int] | None:
        """Return epoch, index from 0 and number of the node's jobs where a job's row stands; None: nowhere."""
        for epoch, one in epochs.items():
            _, jobs = one.jobs(node_key(job.node_id))
            if jobs is None:
                continue
            gap = jobs.place(job.row[4:36])
            if gap.left == job.row:
                return epoch, gap.index, jobs.size
        return None

    def omission(self, job: PromisedJob, epochs: Mapping[int, SortedEpoch]) -> Accusation | None:
        """Return the accusation that a job's promise was broken; None if it was not, or an epoch is not committed."""
        return omission(self.promise(job), epochs, self._calendar)
