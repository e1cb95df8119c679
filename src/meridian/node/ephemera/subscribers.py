"""Who is told of finalised blocks: bounded queues, and a slow reader learns how many blocks it lost."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, Self

from meridian.errors import Overloaded
from meridian.node.ephemera.storage import FinalisedBlock
from meridian.primitives.ids import Address

QUEUE_BLOCKS: Final = 256
"""Blocks that wait for one subscriber unless it asks for another bound."""

SUBSCRIBERS_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Lost:
    """So many blocks, the oldest that waited, were dropped because their reader was too slow; read them from storage."""

    count: int


class Subscription:
    """One reader's queue. Leave it with `Subscribers.leave`, or use it as a context manager."""

    def __init__(
        self, subscribers: "Subscribers", blocks_max: int, creator: Address | None
    ) -> None:
        self._subscribers = subscribers
        self._blocks: deque[FinalisedBlock] = deque(maxlen=blocks_max)
        self._creator = creator
        self._lost = 0
        self._wake = asyncio.Event()
        self._ended = False

    def put(self, block: FinalisedBlock) -> None:
        """Queue a block; the oldest makes room."""
        if self._creator is not None and block.creator != self._creator:
            return
        if len(self._blocks) == self._blocks.maxlen:
            self._lost += 1
        self._blocks.append(block)
        self._wake.set()

    def end(self) -> None:
        """Let `next` return None once the queue is empty."""
        self._ended = True
        self._wake.set()

    async def next(self) -> FinalisedBlock | Lost | None:
        """Wait for the next block; `Lost` comes once for every gap, None when the node stops."""
        while not (self._blocks or self._ended):
            self._wake.clear()
            await self._wake.wait()
        if self._lost:
            lost, self._lost = Lost(self._lost), 0
            return lost
        return self._blocks.popleft() if self._blocks else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._subscribers.leave(self)


class Subscribers:
    """All readers of one node."""

    def __init__(self) -> None:
        self._all: set[Subscription] = set()

    def __len__(self) -> int:
        return len(self._all)

    def subscribe(
        self, *, blocks_max: int = QUEUE_BLOCKS, creator: Address | None = None
    ) -> Subscription:
        """Return a new queue, of one creator's blocks or of all.

        Raises:
            Overloaded: If there are too many readers.
        """
        if len(self._all) >= SUBSCRIBERS_MAX:
            raise Overloaded(10.0, f"{SUBSCRIBERS_MAX} subscribers already")
        subscription = Subscription(self, blocks_max, creator)
        self._all.add(subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Forget a reader."""
        self._all.discard(subscription)

    def publish(self, block: FinalisedBlock) -> None:
        """Give a block to every reader."""
        for subscription in tuple(self._all):
            subscription.put(block)

    def end(self) -> None:
        """Tell every reader that no more will come."""
        for subscription in tuple(self._all):
            subscription.end()
