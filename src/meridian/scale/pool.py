"""Pools: where tasks run (`meridian.scale.tasks`). A worker that dies costs time only: what it had is done again elsewhere."""

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
from typing import Final, Self

import pyarrow as pa

from meridian.errors import RemoteFault
from meridian.scale.dask_pool import DaskPool
from meridian.scale.settings import EngineKind, EngineSettings
from meridian.scale.spark_pool import SparkPool
from meridian.scale.tasks import AHEAD, InlinePool, Items, Outcomes, Pool, R, T, say_nothing

__all__ = ["InlinePool", "Pool", "ProcessPool", "open_pool"]

FRUITLESS_MAX: Final = 3
"""How often workers may die, one after the other, without any task finished in between."""


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
        self, call: Callable[[T], R], items: Items[T], done: Callable[[int], None] = say_nothing
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
        items: Items[T],
        places: Sequence[int],
        outcomes: Outcomes[R],
    ) -> None:
        """Run the items at some places; what is finished when a worker dies stays in the outcomes."""
        executor, waiting = self._started(), list(reversed(places))
        running: dict[Future[R], int] = {}
        lost: BrokenProcessPool | None = None
        while running or waiting:
            try:
                while waiting and lost is None and len(running) < self.workers + AHEAD:
                    place = waiting.pop()
                    running[executor.submit(call, items[place])] = place
            except BrokenProcessPool as error:
                lost = error
            if lost is not None:
                waiting = []
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                place, raised = running.pop(future), future.exception()
                if isinstance(raised, BrokenProcessPool):
                    lost = raised
                elif raised is None:
                    outcomes.add(place, future.result())
                else:
                    outcomes.fail(place, raised)
                    waiting = []  # those that run already may hold an earlier failure
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
    if settings.kind is EngineKind.DASK:
        assert settings.certificates_dir is not None, "the settings are checked"
        return DaskPool(settings.scheduler, settings.certificates_dir)
    if settings.kind is EngineKind.SPARK:
        return SparkPool(settings.scheduler)
    return _inline()


@contextmanager
def _inline() -> Iterator[Pool]:
    yield InlinePool()
