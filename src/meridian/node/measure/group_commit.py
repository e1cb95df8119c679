"""The thread that makes durable what was written, and only then lets it be answered (group commit).

While one group is on its way to the disk the next is admitted; whatever was written until a sync begins is answered by
that sync. All answers of a sync go into an event loop in one call.

Law: an answer that was handed over after its bytes were written is given after they are durable. After a failed sync
nothing is given but the failure.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from meridian.errors import MeridianError, StorageFailure


class Waiting(Protocol):
    """What waits in an event loop without a task: it is called in that loop, once, as a future would be."""

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop."""

    def done(self) -> bool:
        """Whether nothing is waited for any more."""

    def set_result(self, result: Any, /) -> None:
        """Take the value."""

    def set_exception(self, exception: BaseException, /) -> None:
        """Take the error."""


Reply = asyncio.Future[Any] | Future[Any] | Waiting
"""Who waits: in an event loop, or in a thread."""

Answer = tuple[Reply, Any]
"""A reply, and what it gets: a value, or the error that it raises."""

_log = logging.getLogger(__name__)


class GroupCommit:
    """The thread.

    Args:
        sync: Makes everything durable that was written before the call; raises `StorageFailure`.
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._written: queue.SimpleQueue[Sequence[Answer] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="group commit", daemon=True)
        self.failure: BaseException | None = None
        """Why the thread stopped, if it did by itself."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Answer what was handed over, and end the thread."""
        if self._thread.is_alive():
            self._written.put(None)
            self._thread.join()

    def answer(self, answers: Sequence[Answer]) -> None:
        """Give these answers when everything that has been written until now is durable.

        Raises:
            StorageFailure: If a sync has failed; that is then the answer.
        """
        self._written.put(answers)
        if self.failure is not None:
            self._refuse_rest()
            raise StorageFailure("a sync has failed")

    def refuse(self, replies: Iterable[Reply]) -> None:
        """Tell those who wait that nothing is promised any more; who has an answer keeps it."""
        failure = StorageFailure("the service has stopped admitting")
        _give([(reply, failure) for reply in replies])

    def _run(self) -> None:
        answers: list[Answer] = []
        try:
            going_on = True
            while going_on:
                handed = [self._written.get(), *self._rest()]
                going_on = None not in handed
                answers = [answer for part in handed if part is not None for answer in part]
                self._sync()
                _give(answers)
        except BaseException as error:  # noqa: BLE001 - whatever it is, nothing more can be promised.
            self.failure = error
            _log.critical("nothing can be made durable any more", exc_info=error)
            self.refuse(reply for reply, _ in answers)
            self._refuse_rest()

    def _refuse_rest(self) -> None:
        self.refuse(reply for part in self._rest() if part is not None for reply, _ in part)

    def _rest(self) -> list[Sequence[Answer] | None]:
        rest = []
        while True:
            try:
                rest.append(self._written.get_nowait())
            except queue.Empty:
                return rest


def _give(answers: Sequence[Answer]) -> None:
    in_loops: dict[asyncio.AbstractEventLoop, list[Answer]] = {}
    for reply, result in answers:
        if isinstance(reply, Future):
            _resolve(reply, result)
        else:
            in_loops.setdefault(reply.get_loop(), []).append((reply, result))
    for loop, own in in_loops.items():
        try:
            loop.call_soon_threadsafe(_resolve_all, own)
        except RuntimeError:  # the loop is closed: nobody waits any more
            _log.info("%d answers came after the end", len(own))


def _resolve_all(answers: Sequence[Answer]) -> None:
    for reply, result in answers:
        _resolve(reply, result)


def _resolve(reply: Reply, result: Any) -> None:
    if reply.done():
        return  # the sender has gone; what it sent stands
    if isinstance(result, MeridianError):
        reply.set_exception(result)
    else:
        reply.set_result(result)
