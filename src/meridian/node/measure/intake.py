"""The thread that admits: it takes what waits, in order, and hands what it wrote to the thread that makes it durable.

Law: nothing is answered before it is durable (`group_commit`), and everything that waits together is admitted, written
and made durable together. Groups are admitted one after the other, so that admission needs no locks and a seal falls
between two of them. After an error of the disk nothing is admitted any more, everybody who waits is told so, and the
process ends: it can promise nothing.
"""

import contextlib
import gc
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from meridian.errors import InvalidInput, MeridianError, Overloaded, StorageFailure
from meridian.measure import record
from meridian.node.measure import node_numbers
from meridian.node.measure.elsewhere import Elsewhere, EpochClosed
from meridian.node.measure.group_commit import Answer, GroupCommit, Reply
from meridian.node.measure.grouping import (
    Aggregator,
    Group,
    Grouping,
    Submitted,
)
from meridian.node.measure.journal import Journal
from meridian.node.measure.nodes import NodeDirectory
from meridian.primitives import hashing

GROUP_BYTES: Final = 8 << 20
"""Bodies that are admitted together; bounds how long the first of them waits."""
GROUP_BATCHES: Final = 512
WAITING_MAX: Final = 8192
"""Requests that wait; the HTTP face bounds their bytes."""

PREPARE_RECORDS: Final = 1000
"""A service that has taken so many loads what is compiled; one that takes a few never pays for it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Request:
    """Something to be done between two groups."""

    run: Callable[[], Any]
    reply: Reply


@dataclass(frozen=True, slots=True)
class _Batch:
    submitted: Submitted
    reply: Reply


class Intake:
    """The thread and what waits for it.

    Args:
        aggregator: Who admits.
        journal: Owned by the thread from now on, for writing.
        directory: The registered nodes.
        on_seal: Called with every epoch that is sealed, when the seal is durable.
        elsewhere: The network's other servers, where there are some.
    """

    def __init__(
        self,
        aggregator: Aggregator,
        journal: Journal,
        directory: NodeDirectory,
        on_seal: Callable[[int], None],
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._aggregator = aggregator
        self._journal = journal
        self._grouping = Grouping(aggregator, journal, directory, elsewhere)
        self._commit = GroupCommit(journal.sync)
        self._on_seal = on_seal
        self._waiting: queue.SimpleQueue[_Request | _Batch | None] = queue.SimpleQueue()
        self._put_back: deque[_Request | _Batch | None] = deque()
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
        self._failure: BaseException | None = None
        self._unprepared = PREPARE_RECORDS

    @property
    def failure(self) -> BaseException | None:
        """Why admitting stopped, if it did by itself."""
        return self._failure or self._commit.failure

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return self._waiting.qsize()

    def start(self) -> None:
        """Start the threads."""
        self._commit.start()
        self._thread.start()

    def stop(self) -> None:
        """Finish what waits, and end the threads."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()
        self._commit.stop()
        self._refuse_waiting()

    def now_us(self) -> int:
        """Return the ingest clock."""
        return self._journal.clock_us if self._aggregator.replay else time.time_ns() // 1000

    # -- requests (any thread) --------------------------------------------------------------------

    def submit(self, submitted: Submitted, reply: Reply) -> None:
        """Admit a batch; the reply gets the JSON of the response, or why it is refused.

        Raises:
            Overloaded: If too many wait.
        """
        self._put(_Batch(submitted, reply))

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

    def between(self, run: Callable[[], Any]) -> "Future[Any]":
        """Do something between two groups; the answer is its result, when what it wrote is durable."""
        return self._ask(run)

    def follow(self, open_epoch: int) -> "Future[None]":
        """Close all epochs below one, as the coordinator has; its seal is the one that counts."""
        return self._ask(lambda: self._follow(open_epoch))

    def _ask(self, run: Callable[[], Any]) -> "Future[Any]":
        reply: Future[Any] = Future()
        self._put(_Request(run, reply))
        return reply

    def _put(self, item: _Request | _Batch) -> None:
        if self._waiting.qsize() >= WAITING_MAX:
            raise Overloaded(1.0)
        self._waiting.put(item)
        if self.failure is not None:  # looked at last: who stops refuses what waits by then
            self._refuse_waiting()

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        work: list[Reply] = []
        try:
            while (item := self._next()) is not None:
                if isinstance(item, _Request):
                    work = [item.reply]
                    answers: list[Answer] = [(item.reply, _outcome(item.run))]
                else:
                    batches = self._together(item)
                    work = [batch.reply for batch in batches]
                    answers = self._admit(batches)
                self._commit.answer(answers)
        except BaseException as error:  # noqa: BLE001 - whatever it is, nothing more can be promised.
            self._failure = error
            _log.critical("the intake has stopped", exc_info=error)
            self._commit.refuse(work)
            self._refuse_waiting()

    def _next(self) -> _Request | _Batch | None:
        return self._put_back.popleft() if self._put_back else self._waiting.get()

    def _together(self, first: _Batch) -> list[_Batch]:
        """Return the batches that wait together; what is none is put back, and so is what comes behind it."""
        batches, size = [first], len(first.submitted.body.data)
        while size < GROUP_BYTES and len(batches) < GROUP_BATCHES:
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                break
            if not isinstance(item, _Batch):
                self._put_back.append(item)
                break
            batches.append(item)
            size += len(item.submitted.body.data)
        return batches

    def _admit(self, batches: list[_Batch]) -> list[Answer]:
        """Write a group; return what to answer when it is durable."""
        gc.disable()  # a group makes many objects and no cycles; to collect among them costs a third
        try:
            waiting = [batch.submitted for batch in batches]
            group = self._group(waiting)
            results = group.answers
            if group.frame is not None:
                try:
                    self._journal.append_group(group.frame, group.hashes)
                except Overloaded as refusal:  # the log is full
                    results = group.without_promises(refusal)
        finally:
            gc.enable()
        self.prepare_after(group.records)
        replies = [batch.reply for batch in batches]
        return list(zip(replies, results, strict=True))

    def _group(self, waiting: list[Submitted]) -> Group:
        while True:
            try:
                return self._grouping.group(waiting, self.now_us(), time.time_ns() // 1000)
            except EpochClosed as closed:
                self._follow(closed.open_epoch)

    def prepare_after(self, records: int) -> None:
        """Load the compiled readers and kernels once so many records are worth it; batches are admitted without them meanwhile.

        Of the intake thread alone.
        """
        if self._unprepared > 0:
            self._unprepared -= records
            if self._unprepared <= 0:
                threading.Thread(target=_prepare, name="prepare", daemon=True).start()

    def _refuse_waiting(self) -> None:
        items = []
        with contextlib.suppress(IndexError):
            while True:
                items.append(self._put_back.popleft())
        with contextlib.suppress(queue.Empty):
            while True:
                items.append(self._waiting.get_nowait())
        self._commit.refuse([item.reply for item in items if item is not None])

    # -- what the thread does ---------------------------------------------------------------------

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

    def _follow(self, open_epoch: int) -> None:
        for epoch in range(self._journal.open_epoch, open_epoch):
            self._journal.append_seal(epoch, self.now_us())

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


def _prepare() -> None:
    hashing.prepare()
    record.prepare()
    node_numbers.prepare()
    gc.freeze()  # what is loaded stays: to look through it again and again stops every thread for 70 ms


def _outcome(run: Callable[[], Any]) -> Any:
    """Return what to answer: a value, or the refusal."""
    try:
        return run()
    except StorageFailure:
        raise
    except MeridianError as refusal:
        return refusal
