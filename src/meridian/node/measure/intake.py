"""The one thread that admits: it takes what the HTTP face gives it, in order, and answers when the log is durable.

Law: nothing is answered before it is durable, and everything that waits together becomes durable together (group
commit). Requests are handled one after the other, so that admission needs no locks and a seal falls between two batches.
After an error of the disk the thread stops and the process ends: it can promise nothing any more.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from meridian.errors import InvalidInput, MeridianError, Overloaded, StorageFailure
from meridian.measure.admission import Admitted, admit
from meridian.measure.columns import column_values
from meridian.measure.epoch import PlacementRules
from meridian.measure.order import node_indices, sort_order
from meridian.measure.receipt import Batch, Receipt, SignedReceipt
from meridian.measure.record import Decoded, decode_json, decode_ndjson
from meridian.measure.row import job_rows, private_commitments
from meridian.measure.schema import NetworkSchema
from meridian.node.measure.frames import (
    BatchEntry,
    GroupFrame,
    digest_column,
    log_columns,
    seed_column,
)
from meridian.node.measure.journal import Journal
from meridian.node.measure.nodes import NodeDirectory
from meridian.primitives.eip712 import Domain
from meridian.primitives.hashing import sha256
from meridian.primitives.keys import PrivateKey

GROUP_BYTES: Final = 8 << 20
"""Bodies that are handled before one sync; bounds how long the first of them waits."""

QUEUE_MAX: Final = 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregator:
    """Who admits, and by which rules."""

    network_id: bytes
    schema: NetworkSchema
    rules: PlacementRules
    key: PrivateKey
    domain: Domain
    """Of receipts: the chain and its contract `Commitments`."""
    seed_secret: bytes
    """Makes the seed of a batch whose sender chose none, the same for the same body."""
    replay: bool
    """Whether the clock is set from outside."""


@dataclass(slots=True)
class _Request:
    run: Callable[[], Any]
    answer: "Future[Any]"
    body_bytes: int = 0


class Intake:
    """The thread and its queue.

    Args:
        aggregator: Who admits.
        journal: Owned by the thread from now on, for writing.
        directory: The registered nodes.
        on_seal: Called with every epoch that is sealed, when the seal is durable.
    """

    def __init__(
        self,
        aggregator: Aggregator,
        journal: Journal,
        directory: NodeDirectory,
        on_seal: Callable[[int], None],
    ) -> None:
        self._aggregator = aggregator
        self._journal = journal
        self._directory = directory
        self._on_seal = on_seal
        self._queue: queue.Queue[_Request | None] = queue.Queue(QUEUE_MAX)
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
        self.failure: BaseException | None = None
        """Why the thread stopped, if it did by itself."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued, and end the thread."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def now_us(self) -> int:
        """Return the ingest clock."""
        return self._journal.clock_us if self._aggregator.replay else time.time_ns() // 1000

    # -- requests (any thread) --------------------------------------------------------------------

    def submit_batch(self, body: bytes, seed: bytes | None, *, ndjson: bool) -> "Future[bytes]":
        """Admit a batch; the answer is the JSON of the response."""
        return self._ask(lambda: self._admit_batch(body, seed, ndjson=ndjson), len(body))

    def seal(self, epoch: int) -> "Future[None]":
        """Seal an epoch; one that is sealed stays so."""
        return self._ask(lambda: self._seal(epoch))

    def put_input(self, epoch: int, name: str, digest: bytes) -> "Future[None]":
        """Note an auxiliary input of an epoch that is not sealed."""
        return self._ask(lambda: self._put_input(epoch, name, digest))

    def set_clock(self, now_us: int) -> "Future[int]":
        """Set the replay clock forward, never back; the answer is where it stands."""
        return self._ask(lambda: self._set_clock(now_us))

    def prune(self, settled_before: int) -> "Future[None]":
        """Delete what is settled and no longer remembered."""
        return self._ask(lambda: self._journal.prune(settled_before))

    def _ask(self, run: Callable[[], Any], body_bytes: int = 0) -> "Future[Any]":
        request = _Request(run, Future(), body_bytes)
        if self.failure is not None:
            raise StorageFailure("the service has stopped admitting")
        try:
            self._queue.put_nowait(request)
        except queue.Full:
            raise Overloaded(1.0) from None
        return request.answer

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        group: list[tuple[_Request, Any]] = []
        try:
            while (request := self._queue.get()) is not None:
                group = []
                waiting_bytes = 0
                following: _Request | None = request
                while following is not None:
                    group.append((following, self._handle(following)))
                    waiting_bytes += following.body_bytes
                    following = None if waiting_bytes >= GROUP_BYTES else self._next()
                self._journal.sync()
                for one, result in group:
                    self._resolve(one, result)
        except BaseException as error:  # noqa: BLE001 - whatever it is, nothing more can be promised.
            self.failure = error
            _log.critical("the intake has stopped", exc_info=error)
            self._refuse_all(group)

    def _next(self) -> _Request | None:
        try:
            request = self._queue.get_nowait()
        except queue.Empty:
            return None
        if request is None:  # the stop sign is for the outer loop
            self._queue.put(None)
        return request

    @staticmethod
    def _handle(request: _Request) -> Any:
        """Return what to answer after the sync: a value, or the refusal."""
        try:
            return request.run()
        except StorageFailure:
            raise
        except MeridianError as refusal:
            return refusal

    @staticmethod
    def _resolve(request: _Request, result: Any) -> None:
        if request.answer.cancelled() or not request.answer.set_running_or_notify_cancel():
            return  # the sender has gone; what it sent stands
        if isinstance(result, MeridianError):
            request.answer.set_exception(result)
        else:
            request.answer.set_result(result)

    def _refuse_all(self, group: list[tuple[_Request, Any]]) -> None:
        waiting = [request for request, _ in group]
        while True:
            try:
                request = self._queue.get_nowait()
            except queue.Empty:
                break
            if request is not None:
                waiting.append(request)
        failure = StorageFailure("the service has stopped admitting")
        for request in waiting:
            if not request.answer.done():
                self._resolve(request, failure)

    # -- what the thread does ---------------------------------------------------------------------

    def _admit_batch(self, body: bytes, seed: bytes | None, *, ndjson: bool) -> bytes:
        aggregator, journal = self._aggregator, self._journal
        if seed is None:
            seed = sha256(aggregator.seed_secret, sha256(body))
        batch = sha256(seed, body)
        known = journal.response(batch)
        if known is not None:
            return known
        decode = decode_ndjson if ndjson else decode_json
        decoded = decode(body, aggregator.schema)
        now_us = self.now_us()
        self._learn_nodes(decoded)
        admitted = admit(
            decoded,
            rules=aggregator.rules,
            open_epoch=journal.open_epoch,
            now_us=now_us,
            known_nodes=self._directory,
            seen=journal.seen,
            sums=journal.sums,
        )
        if admitted.table.num_rows == 0:  # nothing to promise: the same body may fare better later
            return _response(batch, seed, admitted, None)
        journal.seen.require_room(admitted.table.num_rows)
        return self._accept(batch, seed, admitted, now_us)

    def _learn_nodes(self, decoded: Decoded) -> None:
        names, _ = node_indices(decoded.table.column("node_id"))
        if any(name not in self._directory for name in names):
            self._directory.refresh_if_due()

    def _accept(self, batch: bytes, seed: bytes, admitted: Admitted, now_us: int) -> bytes:
        """Build the rows, sign the receipt and write the frame."""
        aggregator, journal = self._aggregator, self._journal
        schema = aggregator.schema
        table = admitted.table
        private = private_commitments(schema, table, [seed] * table.num_rows)
        rows = job_rows(schema, table, admitted.keys, private)
        order = sort_order(table.column("node_id"), admitted.keys)
        tree = Batch(schema, rows[order], table.column("node_id").take(order))
        epochs, counts = np.unique(column_values(table, "epoch"), return_counts=True)
        receipt = Receipt(
            network=aggregator.network_id,
            deadline_epoch=int(epochs[-1]),
            aggregator=aggregator.key.address,
            sequence=journal.sequence,
            batch_root=tree.root,
            received_at_us=now_us,
        )
        signed = SignedReceipt.sign(receipt, aggregator.domain, aggregator.key)
        columns = log_columns(schema)
        table = table.append_column("job_key", digest_column(admitted.keys))
        table = table.append_column("private", digest_column(private))
        count = np.array([table.num_rows])
        table = table.append_column(columns.field("batch_seed"), seed_column([seed], count))
        entry = BatchEntry(
            batch=batch,
            seed=seed,
            sequence=receipt.sequence,
            rows=table.num_rows,
            response=_response(batch, seed, admitted, signed),
            epochs=tuple(zip(epochs.tolist(), counts.tolist(), strict=True)),
            duplicates=tuple(admitted.duplicates.items()),
        )
        group = GroupFrame((entry,), table.select(columns.names).cast(columns))
        journal.append_group(group, admitted.hashes)
        return entry.response

    def _seal(self, epoch: int) -> None:
        journal, calendar = self._journal, self._aggregator.rules.calendar
        if calendar.first_epoch <= epoch < journal.open_epoch:
            return
        if epoch != journal.open_epoch:
            raise InvalidInput("epoch", f"the next epoch to be sealed is {journal.open_epoch}")
        now_us = self.now_us()
        if now_us < calendar.end_us(epoch):
            raise InvalidInput("epoch", f"epoch {epoch} has not ended")
        journal.append_seal(epoch, now_us)
        journal.sync()
        self._on_seal(epoch)

    def _put_input(self, epoch: int, name: str, digest: bytes) -> None:
        if epoch < self._journal.open_epoch:
            raise InvalidInput("epoch", f"epoch {epoch} is sealed")
        if self._journal.inputs(epoch).get(name) != digest:
            self._journal.append_input(epoch, name, digest)

    def _set_clock(self, now_us: int) -> int:
        if not self._aggregator.replay:
            raise InvalidInput("clock", "this service follows the wall clock")
        if now_us > self._journal.clock_us:
            self._journal.append_clock(now_us)
        return self._journal.clock_us


def _response(batch: bytes, seed: bytes, admitted: Admitted, signed: SignedReceipt | None) -> bytes:
    return msgspec.json.encode(
        {
            "batch": batch.hex(),
            "seed": seed.hex(),
            "accepted": admitted.table.num_rows,
            "duplicates": sum(admitted.duplicates.values()),
            "rejected": [
                {
                    "index": rejection.index,
                    "line": rejection.line,
                    "job_id": rejection.job_id,
                    "field": rejection.field,
                    "reason": rejection.reason,
                    "message": rejection.message,
                }
                for rejection in admitted.rejections
            ],
            "receipt": signed.document() if signed is not None else None,
        }
    )
