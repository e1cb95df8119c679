"""From the body of a request to a durable frame and a signed receipt.

Law: a batch is answered after its frame is durable, and the same bytes with the same seed are answered with the same
answer for as long as the frame is kept. A batch in which nothing was accepted, and nothing refused as a duplicate,
promises nothing: it is not kept, and may have a better fate when it comes again (its node has registered since).

A batch is decoded beside others; its jobs are admitted, numbered and queued in one turn, so that the order of
sequence numbers is the order of the log.
"""

import dataclasses
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import Overloaded
from meridian.measure.admission import Admitted, LaneSums, SeenJobs, admit
from meridian.measure.columns import column_values
from meridian.measure.epoch import PlacementRules
from meridian.measure.order import sort_order
from meridian.measure.receipt import Batch, Receipt, SignedReceipt
from meridian.measure.record import Decoded, decode_json, decode_ndjson
from meridian.measure.row import job_rows, private_commitments
from meridian.measure.schema import NetworkSchema
from meridian.node.ingest.clock import Clock
from meridian.node.ingest.frame import (
    NO_RECEIPT,
    Frame,
    byte_rows,
    epoch_parts,
    repeated,
    write_stream,
)
from meridian.node.ingest.frame_index import FrameIndex
from meridian.node.ingest.job_log import JobLog, Place
from meridian.node.ingest.registry import NodeRegistry
from meridian.primitives.eip712 import Domain
from meridian.primitives.hashing import ByteMatrix, sha256
from meridian.primitives.keys import PrivateKey

_FULL_RETRY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Signer:
    """Who promises, and where the promise can be enforced."""

    network: bytes
    domain: Domain
    """That of the contract Commitments."""
    key: PrivateKey


@dataclass(frozen=True, slots=True)
class Limits:
    """What the intake keeps at most."""

    jobs: int
    log_bytes: int


@dataclass(frozen=True, slots=True)
class _Jobs:
    """Accepted jobs, sorted by (node key, job key)."""

    table: pa.Table
    rows: ByteMatrix
    epochs: npt.NDArray[np.int64]
    hashes: list[bytes]


class Intake:
    """Accepts batches; any threads.

    Args:
        schema: The network's schema.
        rules: When a job is accepted.
        clock: The ingest clock.
        registry: Which nodes are registered.
        signer: Signs receipts.
        log: Where frames become durable; recovered, not yet started.
        limits: What is kept at most.
        secret: 32 secret bytes for the hashes of known jobs; fresh ones for each process.
    """

    def __init__(
        self,
        schema: NetworkSchema,
        rules: PlacementRules,
        clock: Clock,
        registry: NodeRegistry,
        signer: Signer,
        log: JobLog,
        limits: Limits,
        secret: bytes,
    ) -> None:
        self._schema, self._rules, self._clock = schema, rules, clock
        self._registry, self._signer, self._log, self._limits = registry, signer, log, limits
        self.index = FrameIndex()
        self._seen = SeenJobs(secret, limits.jobs)
        self._sums = LaneSums(schema)
        self._next_sequence = 0
        self._last_received_us = 0
        self._open_epoch = rules.calendar.first_epoch
        self._pending: dict[bytes, Future[bytes]] = {}
        self._turn = threading.Lock()
        self._pending_lock = threading.Lock()
        log.next_sequence = lambda: self._next_sequence

    # -- start ------------------------------------------------------------------------------------

    def restore(self, frames: Iterable[tuple[Place, bytes] | int], open_epoch: int, keep_from: int) -> None:
        """Learn what the log holds.

        Args:
            frames: What `JobLog.recover` yields.
            open_epoch: The first epoch that is not sealed.
            keep_from: Jobs of epochs before this one need not be known any more.
        """
        self._open_epoch = open_epoch
        for item in frames:
            if isinstance(item, int):
                self._next_sequence = max(self._next_sequence, item)
                continue
            place, payload = item
            frame = Frame.decode(payload)
            self.index.add(place, frame)
            self._last_received_us = max(self._last_received_us, frame.received_at_us)
            if frame.sequence != NO_RECEIPT:
                self._next_sequence = max(self._next_sequence, frame.sequence + 1)
            if any(part.jobs and part.epoch >= keep_from for part in frame.parts):
                self._restore_jobs(frame.jobs)

    def _restore_jobs(self, jobs: pa.Table) -> None:
        rows = byte_rows(jobs.column("row"))
        epochs = column_values(jobs, "epoch")
        self._seen.add(epochs, self._seen.hashes(jobs.column("node_id"), rows[:, 4:36]))
        self._sums.add(epochs, jobs)

    @property
    def last_received_us(self) -> int:
        """When the newest batch of the log was received."""
        return self._last_received_us

    # -- batches ----------------------------------------------------------------------------------

    @property
    def open_epoch(self) -> int:
        """The first epoch that takes jobs."""
        return self._open_epoch

    def submit(self, body: bytes, *, ndjson: bool, seed: bytes | None = None) -> "Future[bytes]":
        """Take a batch; the future gives the answer, a JSON object, once it is durable.

        Args:
            body: One record per line, or a JSON array of records.
            ndjson: Which of both.
            seed: The batch seed that hides the private fields; SHA-256 of the body if the submitter chose none.

        Raises:
            InvalidInput: If the body as a whole cannot be read.
            Overloaded: If the log or the set of known jobs is full.
        """
        body_hash = sha256(body)
        seed = body_hash if seed is None else seed
        batch = sha256(seed, body_hash)
        answer: Future[bytes] = Future()
        answer.set_running_or_notify_cancel()  # a submitter who goes away cancels nothing
        with self._pending_lock:
            known = self._pending.get(batch)
            if known is not None:
                return known
            place = self.index.place(batch)
            if place is None:
                self._pending[batch] = answer
        if place is not None:
            answer.set_result(Frame.decode(self._log.read(place)).answer)
            return answer
        try:
            decoded = decode_ndjson(body, self._schema) if ndjson else decode_json(body, self._schema)
            self._accept(batch, seed, decoded, answer)
        except BaseException as error:
            self._forget_pending(batch)
            answer.set_exception(error)  # for whoever sent the same batch at the same time
            raise
        return answer

    def answer(self, batch: bytes) -> bytes | None:
        """Return the answer to a batch that is kept, None if there is none."""
        place = self.index.place(batch)
        return None if place is None else Frame.decode(self._log.read(place)).answer

    def _forget_pending(self, batch: bytes) -> None:
        with self._pending_lock:
            self._pending.pop(batch, None)

    def _accept(self, batch: bytes, seed: bytes, decoded: Decoded, answer: "Future[bytes]") -> None:
        table = decoded.table
        seeds = pa.chunked_array([repeated(seed, table.num_rows)])
        private = private_commitments(self._schema, table, seeds)
        nodes = self._registry.payees(table.column("node_id").unique().to_pylist())
        with self._turn:
            if self._log.size_bytes > self._limits.log_bytes:
                raise Overloaded(_FULL_RETRY_S, "the job log is full until epochs are sealed")
            now_us = self._clock.now_us()
            admitted = admit(
                decoded,
                rules=self._rules,
                open_epoch=self._open_epoch,
                now_us=now_us,
                known_nodes=nodes,
                seen=self._seen,
                sums=self._sums,
            )
            at = np.searchsorted(column_values(table, "index"), column_values(admitted.table, "index"))
            jobs = self._jobs_of(admitted, private[at])
            self._seen.require_room(len(jobs.hashes))
            frame = self._frame(batch, seed, now_us, admitted, jobs)
            if frame.parts:
                self._seen.add(jobs.epochs, jobs.hashes)
                self._sums.add(jobs.epochs, jobs.table)
                self._next_sequence += frame.sequence != NO_RECEIPT
                self._append(frame, answer)
        if not frame.parts:
            self._forget_pending(batch)
            answer.set_result(frame.answer)

    def _jobs_of(self, admitted: Admitted, private: ByteMatrix) -> _Jobs:
        """Make the rows of the admitted jobs, and bring them in the order of the trees."""
        nodes = admitted.table.column("node_id")
        order = sort_order(nodes, admitted.keys)
        rows = job_rows(self._schema, admitted.table, admitted.keys, private)
        table = admitted.table.drop_columns(["index"]).take(pa.array(order))
        return _Jobs(
            table,
            rows[order],
            column_values(table, "epoch"),
            self._seen.hashes(table.column("node_id"), admitted.keys[order]),
        )

    def _frame(
        self, batch: bytes, seed: bytes, now_us: int, admitted: Admitted, jobs: _Jobs
    ) -> Frame:
        table, rows = jobs.table, jobs.rows
        receipt = None
        sequence = NO_RECEIPT
        if len(rows):
            sequence = self._next_sequence
            receipt = self._sign(
                Receipt(
                    network=self._signer.network,
                    deadline_epoch=int(jobs.epochs.max()),
                    aggregator=self._signer.key.address,
                    sequence=sequence,
                    batch_root=Batch(self._schema, rows, table.column("node_id")).root,
                    received_at_us=now_us,
                )
            )
        return Frame(
            sequence=sequence,
            batch=batch,
            seed=seed,
            received_at_us=now_us,
            parts=epoch_parts(jobs.epochs, admitted.duplicates),
            answer=_answer(batch, len(rows), admitted, receipt),
            stream=write_stream(table, rows),
        )

    def _sign(self, receipt: Receipt) -> dict[str, Any]:
        return SignedReceipt.sign(receipt, self._signer.domain, self._signer.key).document()

    def _append(self, frame: Frame, answer: "Future[bytes]") -> None:
        light = dataclasses.replace(frame, stream=b"")

        def durable(place: Place) -> None:
            self.index.add(place, light)
            self._forget_pending(light.batch)

        def done(written: "Future[None]") -> None:
            failure = written.exception()
            if failure is not None:
                answer.set_exception(failure)
            else:
                answer.set_result(light.answer)

        self._log.append(frame.encode(), durable).add_done_callback(done)

    # -- seals ------------------------------------------------------------------------------------

    def close_epoch(self, epoch: int) -> None:
        """Take no more jobs for an epoch, and return when all that it has are durable.

        Raises:
            StorageFailure: If they cannot be made durable.
        """
        with self._turn:
            self._open_epoch = max(self._open_epoch, epoch + 1)
            written = self._log.barrier()
        written.result()

    def forget_before(self, epoch: int) -> None:
        """Forget the jobs of epochs before `epoch`, and the receipts of batches that held no others."""
        with self._turn:
            self._seen.forget_before(epoch)
            self._sums.forget_before(epoch)
            for number in self.index.forget_before(epoch, self._log.current_file):
                self._log.drop(number)


def _answer(
    batch: bytes, accepted: int, admitted: Admitted, receipt: dict[str, Any] | None
) -> bytes:
    return msgspec.json.encode(
        {
            "batch": batch.hex(),
            "accepted": accepted,
            "duplicates": sum(admitted.duplicates.values()),
            "rejected": [
                {
                    "index": one.index,
                    "line": one.line,
                    "job_id": one.job_id,
                    "field": one.field,
                    "reason": one.reason,
                    "message": one.message,
                }
                for one in admitted.rejections
            ],
            "receipt": receipt,
        }
    )
