"""Promises that an aggregator did not keep: receipts without their jobs, jobs counted twice, numbers given twice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from meridian.contracts.calldata import Words, signature_words
from meridian.disputes.accusation import Accusation, Commitment
from meridian.disputes.commitment_faults import PublishedEpoch
from meridian.disputes.ways import (
    NO_GAP,
    Gap,
    RowTree,
    Spot,
    job_row_tree,
    node_row_tree,
    path_words,
    sides_of,
)
from meridian.errors import InvalidInput
from meridian.measure.epoch import Calendar
from meridian.measure.receipt import BatchProof, Receipt, SignedReceipt
from meridian.measure.row import JobRow
from meridian.primitives.ids import NodeKey

ReceiptWords = tuple[int, bytes, int, bytes, int]


@dataclass(frozen=True, slots=True)
class Promise:
    """One job of a receipt."""

    receipt: SignedReceipt
    node_key: NodeKey
    proof: BatchProof

    @property
    def words(self) -> tuple[object, ...]:
        """The fields as the contracts take them."""
        proof = self.proof
        job = Spot(proof.row, sides_of(proof.index, proof.size), proof.path)
        return (
            receipt_words(self.receipt.receipt),
            signature_words(self.receipt.signature),
            self.node_key,
            job.words,
            sides_of(proof.part_index, proof.parts),
            path_words(proof.part_path),
        )

    def epochs(self, calendar: Calendar) -> range:
        """Return the epochs in one of which the job must stand."""
        own = calendar.epoch_of(JobRow.decode(self.proof.row).ended_us)
        return range(own, self.receipt.receipt.deadline_epoch + 1)


def receipt_words(receipt: Receipt) -> ReceiptWords:
    """Return a receipt as the contracts take it: without the network, which they know."""
    return (
        receipt.deadline_epoch,
        receipt.aggregator,
        receipt.sequence,
        receipt.batch_root,
        receipt.received_at_us,
    )


class SortedEpoch:
    """A published epoch in which rows are looked up; its rows must lead to the root and be in order.

    Args:
        epoch: What was published.
    """

    def __init__(self, epoch: PublishedEpoch) -> None:
        self._epoch = epoch
        self._nodes = node_row_tree(epoch.node_rows, epoch.lanes)

    @property
    def commitment(self) -> Commitment:
        """The commitment."""
        return self._epoch.commitment

    def jobs(self, node_key: bytes) -> tuple[Gap, RowTree | None]:
        """Return what stands at a node's place, and the node's jobs if that is its row."""
        gap = self._nodes.place(node_key)
        if not gap.left or gap.left[8:40] != node_key:
            return gap, None
        rows = self._epoch.job_rows[gap.index]
        return gap, job_row_tree(rows, self._epoch.lanes)

    def node_spot(self, place: int) -> Spot:
        """Return the way of a node's row."""
        return self._nodes.spot(place)

    def node_keys(self) -> Sequence[bytes]:
        """Return the keys of all nodes."""
        return self._nodes.keys

    def holds(self, node_key: bytes, row: bytes) -> bool:
        """Whether a node has a job with exactly this row."""
        _, jobs = self.jobs(node_key)
        return jobs is not None and jobs.place(JobRow.decode(row).job_key).left == row


def omission(
    promise: Promise, epochs: Mapping[int, SortedEpoch], calendar: Calendar
) -> Accusation | None:
    """Accuse of a job that stands in none of the epochs that its receipt names.

    Args:
        promise: The job and its receipt.
        epochs: The aggregator's published epochs by number.
        calendar: The network's calendar.

    Returns:
        None if the promise is kept, or if an epoch of it is not known yet.

    Raises:
        InvalidInput: If the receipt's deadline is before the job's own epoch.
    """
    due = promise.epochs(calendar)
    if not due:
        raise InvalidInput("deadline_epoch", "it is before the job's own epoch")
    if any(epoch not in epochs for epoch in due):
        return None
    known = [epochs[epoch] for epoch in due]
    if any(epoch.holds(promise.node_key, promise.proof.row) for epoch in known):
        return None
    key = JobRow.decode(promise.proof.row).job_key
    absences = []
    for epoch in known:
        node, jobs = epoch.jobs(promise.node_key)
        job = jobs.place(key) if jobs is not None else NO_GAP
        absences.append((epoch.commitment.words, node.words, job.words))
    aggregator = promise.receipt.receipt.aggregator
    return Accusation(
        "CommitmentProofs",
        "omission",
        (promise.words, absences),
        due[-1],
        (aggregator,),
        f"job {key.hex()} of receipt {promise.receipt.receipt.sequence} stands in no epoch of {due[0]}..{due[-1]}",
    )


def duplicates(first: SortedEpoch, second: SortedEpoch, calendar: Calendar) -> Iterator[Accusation]:
    """Accuse of jobs that one aggregator counted in both of two epochs, the first the lower."""
    for node_key in sorted(set(first.node_keys()) & set(second.node_keys())):
        node_a, jobs_a = first.jobs(node_key)
        node_b, jobs_b = second.jobs(node_key)
        if jobs_a is None or jobs_b is None:
            continue
        places = {key: at for at, key in enumerate(jobs_b.keys)}
        for at, key in enumerate(jobs_a.keys):
            again = places.get(key)
            if again is None or not _same_epoch(jobs_a.rows[at], jobs_b.rows[again], calendar):
                continue
            yield Accusation(
                "CommitmentProofs",
                "duplicate",
                (
                    first.commitment.words,
                    first.node_spot(node_a.index).words,
                    jobs_a.spot(at).words,
                    second.commitment.words,
                    second.node_spot(node_b.index).words,
                    jobs_b.spot(again).words,
                ),
                second.commitment.epoch,
                (second.commitment.aggregator,),
                f"job {key.hex()} is counted in {first.commitment.epoch} and {second.commitment.epoch}",
            )


def _same_epoch(one: bytes, other: bytes, calendar: Calendar) -> bool:
    ends = [JobRow.decode(row).ended_us for row in (one, other)]
    return calendar.epoch_of(ends[0]) == calendar.epoch_of(ends[1])


def double_receipt(first: SignedReceipt, second: SignedReceipt) -> Accusation | None:
    """Accuse of two receipts of one aggregator with one number, if they are two."""
    one, other = first.receipt, second.receipt
    same = one.aggregator == other.aggregator and one.sequence == other.sequence
    if not same or one == other or not (first.holds and second.holds):
        return None
    signatures: tuple[Words, Words] = (
        signature_words(first.signature),
        signature_words(second.signature),
    )
    arguments = (receipt_words(one), signatures[0], receipt_words(other), signatures[1])
    return Accusation(
        "CommitmentProofs",
        "double_receipt",
        arguments,
        0,
        (one.aggregator,),
        f"two receipts have the number {one.sequence}",
    )
