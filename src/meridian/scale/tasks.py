"""Tasks: a pure call that can be pickled, with one item. A task may run twice, with one result.

Law: whatever the pool, `map` returns what ``[call(item) for item in items]`` returns, or raises what that raises.
"""

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

AHEAD: Final = 2
"""Tasks that are handed out before the one of a worker is finished: their items are in memory."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")


class Items(Protocol[T_co]):
    """What tasks are made of: a list, or what makes an item when it is asked for."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, place: int, /) -> T_co:
        """Return one; asked again, an equal one."""
        ...


def say_nothing(_finished: int) -> None:
    """Report no progress."""


class Pool(Protocol):
    """Runs tasks."""

    @property
    def workers(self) -> int:
        """How many tasks run at once."""
        ...

    def map(
        self, call: Callable[[T], R], items: Items[T], done: Callable[[int], None] = say_nothing
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
        self, call: Callable[[T], R], items: Items[T], done: Callable[[int], None] = say_nothing
    ) -> list[R]:
        """Call with every item; see `Pool`."""
        results = []
        for place in range(len(items)):
            results.append(call(items[place]))
            done(place + 1)
        return results


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
