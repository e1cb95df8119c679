"""Many batches to one service: several in flight, each receipt checked and kept before it counts as done.

Law: a batch is done when its answer is durable in the `ReceiptStore`; until then it is sent again, with the same seed
and the same bytes, by whoever starts again. So nothing is lost and nothing counts twice, whenever we are killed.
Results come in the order of the batches, and at most `in_flight` batches are held in memory.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Final

import pyarrow as pa

from meridian.errors import RemoteFault
from meridian.measure.batch_signature import batch_name
from meridian.measure.epoch import Calendar
from meridian.measure.explain import Rejection
from meridian.measure.promised import BrokenReceipt, Expected, check_statement
from meridian.measure.schema import NetworkSchema
from meridian.node.measure.client import NDJSON, Answer, MeasureClient
from meridian.node.measure.sent_records import rebuilt_jobs
from meridian.node.receipt_store import Form, KeptBatch, ReceiptStore, Verdict
from meridian.node.record_files import RecordBatch

IN_FLIGHT: Final = 4
_COMPRESSED: Final = "zstd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What receipts are checked against; what is None is not checked."""

    expected: Expected | None = None
    schema: NetworkSchema | None = None
    calendar: Calendar | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """A batch that is done."""

    source: str
    first: int
    """Line, or number, of the first record in the source."""
    position: int
    accepted: int
    duplicates: int
    rejected: tuple[Rejection, ...]
    """Without the duplicates; `line` (or else `index` + 1) counts in the source, from 1."""
    resumed: bool
    """Whether an earlier run had sent it."""

    @property
    def records(self) -> int:
        """How many records it has."""
        return self.accepted + self.duplicates + len(self.rejected)


class Submission:
    """Sends batches; for one thread.

    Args:
        clients: Makes a client, for a thread of its own.
        store: Keeps what is acknowledged.
        rules: What receipts are checked against.
        in_flight: Batches that are sent at a time.
        compress: Whether bodies travel compressed.
    """

    def __init__(
        self,
        clients: Callable[[], MeasureClient],
        store: ReceiptStore,
        rules: Rules,
        *,
        in_flight: int = IN_FLIGHT,
        compress: bool = False,
    ) -> None:
        self._store, self._rules, self._compress = store, rules, compress
        self._in_flight = in_flight
        self._all = [clients() for _ in range(in_flight)]
        self._idle: SimpleQueue[MeasureClient] = SimpleQueue()
        for client in self._all:
            self._idle.put(client)
        self._pool = ThreadPoolExecutor(in_flight, thread_name_prefix="submit")
        self._begun: set[bytes] = set()

    def close(self) -> None:
        """End what is in flight and close the connections; what was acknowledged meanwhile is kept."""
        for client in self._all:
            client.stop()
        self._pool.shutdown(cancel_futures=True)
        for client in self._all:
            client.close()

    def run(self, batches: Iterable[RecordBatch]) -> Iterator[Submitted]:
        """Send batches and yield what became of them, in order.

        Raises:
            BrokenReceipt: If a receipt does not hold; it is kept as a file beside the store.
            Refused: If the service will not take a batch.
            RemoteFault: If the service cannot be reached.
            Overloaded: If it is busy for too long.
            StorageFailure: If an answer cannot be kept.
        """
        waiting: deque[Future[Submitted]] = deque()
        for batch in batches:
            name = batch_name(self._store.seed_of(batch.body), batch.body)
            again = name in self._begun
            self._begun.add(name)
            if again:
                while waiting:  # what it repeats must be kept before it can be told
                    yield waiting.popleft().result()
            waiting.append(self._pool.submit(self._one, batch, again=again))
            while len(waiting) >= self._in_flight:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    # -- one batch (any thread of the pool) -------------------------------------------------------

    def _one(self, batch: RecordBatch, *, again: bool) -> Submitted:
        if batch.lines is not None and not batch.lines:  # nothing is left to be sent
            return Submitted(batch.source, batch.first, batch.position, 0, 0, batch.refused, False)
        seed = self._store.seed_of(batch.body)
        kept = self._store.batch(batch_name(seed, batch.body))
        if kept is None or kept.receipt is None:  # without a receipt it may fare better now
            kept = self._send(batch, seed)
            resumed = False
        else:
            resumed = not again
        refused = [_placed(one, batch) for one in kept.rejected if one.reason != "duplicate"]
        rejected = tuple(sorted((*batch.refused, *refused), key=lambda one: one.line or 0))
        accepted, duplicates = kept.accepted, kept.duplicates
        if again:  # the same records stood earlier in the sources
            accepted, duplicates = 0, duplicates + accepted
        return Submitted(
            batch.source, batch.first, batch.position, accepted, duplicates, rejected, resumed
        )

    def _send(self, batch: RecordBatch, seed: bytes) -> KeptBatch:
        compressed = pa.compress(batch.body, _COMPRESSED, asbytes=True) if self._compress else None
        client = self._idle.get()
        try:
            answer = client.submit(
                batch.body, seed, content_type=batch.content_type, compressed=compressed
            )
        finally:
            self._idle.put(client)
        if answer.batch != batch_name(seed, batch.body) or answer.seed != seed:
            raise RemoteFault("the measure service answered for another batch")
        try:
            kept, form, jobs = self._checked(batch, answer)
        except BrokenReceipt as error:
            assert answer.receipt is not None
            path = self._store.keep_broken(answer.batch, answer.receipt.document())
            raise BrokenReceipt(error.field, f"{error.reason}; kept in {path}") from error
        self._store.keep(kept, form, jobs)
        return kept

    def _checked(self, batch: RecordBatch, answer: Answer) -> tuple[KeptBatch, Form, bytes]:
        rules, signed = self._rules, answer.receipt
        kept = KeptBatch(
            batch=answer.batch,
            seed=answer.seed,
            source=batch.source,
            first=batch.first,
            content_type=batch.content_type,
            accepted=answer.accepted,
            duplicates=answer.duplicates,
            rejected=answer.rejected,
            receipt=signed,
            verdict=Verdict.NOTHING if signed is None else Verdict.PENDING,
        )
        if signed is None:
            if answer.accepted:
                raise RemoteFault(f"{answer.accepted} records were accepted without a receipt")
            return kept, Form.BODY, b""
        if rules.expected is not None:
            check_statement(signed, rules.expected)
        elif not signed.holds:
            raise BrokenReceipt("signature", "the aggregator that it names did not sign it")
        if rules.schema is None or rules.calendar is None:
            return kept, Form.BODY, batch.body
        first, promised = rebuilt_jobs(batch.body, kept, rules.schema, rules.calendar)
        return replace(kept, first_epoch=first), Form.PROMISED, promised


def _placed(one: Rejection, batch: RecordBatch) -> Rejection:
    """Return a rejection that counts in the source instead of in the batch."""
    if batch.lines is not None:
        return one.at_line(batch.lines[one.index])
    lines = batch.content_type == NDJSON and one.line is not None
    return one.at_line(batch.first + ((one.line or 1) - 1 if lines else one.index))
