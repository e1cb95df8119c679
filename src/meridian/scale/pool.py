"""Pools: where tasks run. A task is a pure call that can be pickled, with one item; it may run twice, with one result.

Law: whatever the pool, `map` returns what ``[call(item) for item in items]`` returns, or raises what that raises. A
worker that dies costs time only: what it had is done again elsewhere.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import connection
from types import TracebackType
from typing import Final, Generic, Protocol, Self, TypeVar

import pyarrow as pa

from meridian.errors import RemoteFault
from meridian.scale.settings import EngineKind, EngineSettings

FRUITLESS_MAX: Final = 3
"""How often workers may die, one after the other, without any task finished in between."""

T = TypeVar("T")
R = TypeVar("R")


def say_nothing(_finished: int) -> None:
    """Report no progress."""


class Pool(Protocol):
    """Runs tasks."""

    @property
    def workers(self) -> int:
        """How many tasks run at once."""
        ...

    def map(
        self, call: Callable[[T], R], items: Sequence[T], done: Callable[[int], None] = say_nothing
    ) -> list[R]:
        """Call with every item.

        Args:
            call: Pure, and can be pickled: a function of a module, or `functools.partial` of one.
            items: Can be pickled.
            done: Told how many items are finished, whenever one is.

        Returns:
            The results in the order of the items.

        Raises:
            Exception: What the call raised for the first item, in their order, for which it raised.
            RemoteFault: If workers die again and again.
        """
        ...


class InlinePool:
    """Runs tasks in this thread, one after the other."""

    workers = 1

    def map(
        self, call: Callable[[T], R], items: Sequence[T], done: Callable[[int], None] = say_nothing
    ) -> list[R]:
        """Call with every item; see `Pool`."""
        results = []
        for finished, item in enumerate(items, 1):
            results.append(call(item))
            done(finished)
        return results


class ProcessPool:
    """Runs tasks in processes of this machine; they are started when they are first needed.

    Args:
        workers: How many; 0: one for each processor.
    """

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._close()

    @property
    def pids(self) -> tuple[int, ...]:
        """The worker processes that there are now."""
        return () if self._executor is None else tuple(self._executor._processes)  # noqa: SLF001 - no public name

    def map(
        self, call: Callable[[T], R], items: Sequence[T], done: Callable[[int], None] = say_nothing
    ) -> list[R]:
        """Call with every item; see `Pool`."""
        outcomes = Outcomes[R](len(items), done)
        fruitless = 0
        while missing := outcomes.missing:
            before = outcomes.finished
            try:
                self._run(call, items, missing, outcomes)
            except BrokenProcessPool as error:
                self._close()
                fruitless = fruitless + 1 if outcomes.finished == before else 0
                if fruitless == FRUITLESS_MAX:
                    raise RemoteFault(
                        f"worker processes died {fruitless} times without finishing a task"
                    ) from error
        return outcomes.results()

    def _run(
        self,
        call: Callable[[T], R],
        items: Sequence[T],
        places: Sequence[int],
        outcomes: "Outcomes[R]",
    ) -> None:
        """Run the items at some places; what is finished when a worker dies stays in the outcomes."""
        executor = self._started()
        futures: dict[Future[R], int] = {}
        lost: BrokenProcessPool | None = None
        try:
            for place in places:
                futures[executor.submit(call, items[place])] = place
        except BrokenProcessPool as error:
            lost = error
        pending = set(futures)
        while pending:
            found, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in found:
                if future.cancelled():
                    continue
                raised = future.exception()
                if isinstance(raised, BrokenProcessPool):
                    lost = raised
                elif raised is None:
                    outcomes.add(futures[future], future.result())
                else:
                    outcomes.fail(futures[future], raised)
                    for other, place in futures.items():
                        if place > futures[future]:
                            other.cancel()
        if lost is not None:
            raise lost

    def _started(self) -> ProcessPoolExecutor:
        if self._executor is None:
            # A fork would take locks of other threads with it.
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=_begin_worker
            )
        return self._executor

    def _close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None


class Outcomes(Generic[R]):
    """What is known of the items of one `Pool.map`.

    Args:
        items: How many there are.
        done: As of `Pool.map`.
    """

    def __init__(self, items: int, done: Callable[[int], None]) -> None:
        self._items, self._done = items, done
        self._results: dict[int, R] = {}
        self._failed: tuple[int, BaseException] | None = None

    @property
    def finished(self) -> int:
        """How many items have a result."""
        return len(self._results)

    @property
    def missing(self) -> list[int]:
        """The places of items that must still be called: behind one that failed, none."""
        end = self._items if self._failed is None else self._failed[0]
        return [place for place in range(end) if place not in self._results]

    def add(self, place: int, result: R) -> None:
        """Note a result."""
        self._results[place] = result
        self._done(len(self._results))

    def fail(self, place: int, error: BaseException) -> None:
        """Note what a call raised; of several, the one of the first place counts."""
        if self._failed is None or place < self._failed[0]:
            self._failed = place, error

    def results(self) -> list[R]:
        """Return all results in order, or raise what the first failing call raised."""
        if self._failed is not None:
            raise self._failed[1]
        return [self._results[place] for place in range(self._items)]


def _begin_worker() -> None:
    """Make a worker process ready: one thread of work, and an end when its parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and ends us
    pa.set_cpu_count(1)
    parent = multiprocessing.parent_process()
    assert parent is not None, "workers are started by a process"

    def follow() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, name="parent", daemon=True).start()


def open_pool(settings: EngineSettings) -> AbstractContextManager[Pool]:
    """Open the pool that a configuration names.

    Raises:
        RemoteFault: On entering, if the scheduler cannot be reached or refuses us.
        NotFound: On entering, if the engine is not installed.
    """
    if settings.kind is EngineKind.PROCESSES:
        return ProcessPool(settings.workers)
    return _inline()


@contextmanager
def _inline() -> Iterator[Pool]:
    yield InlinePool()
