"""The queue of everything that will happen, on one virtual clock, and what the network does to frames."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

from meridian.ephemera.context import Kind
from meridian.sim.faults import PHASES, Plan

CALM_DELAY_MAX_MS = 4
PARTITION_STEP_MS = 10
PARTITION_END = 100
"""Parts per thousand, per step, that a partition heals."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens to one host."""

    host: int
    """Number of the host; twins are two hosts of one member."""
    what: str
    """frame, wake, crash-end, or late-row."""
    sender: int = -1
    """Member index, for frames."""
    frame: bytes = b""
    stamp: int = 0
    """Wake-ups of an older stamp are void."""


class Network:
    """Delivers, loses, repeats and delays; after `calm_ms` it only delays a little."""

    def __init__(self, plan: Plan, rng: random.Random) -> None:
        self._plan = plan
        self._rng = rng
        self._queue: list[tuple[int, int, Event]] = []
        self._count = 0
        self._partition: frozenset[int] | None = None
        self._partition_ms = 0
        self.now_ms = 0

    def at(self, due_ms: int, event: Event) -> None:
        """Schedule an event, never before now; equal times keep their order."""
        self._count += 1
        heapq.heappush(self._queue, (max(due_ms, self.now_ms), self._count, event))

    def next(self) -> Event | None:
        """Go to the next event; None if nothing will ever happen again."""
        if not self._queue:
            return None
        self.now_ms, _, event = heapq.heappop(self._queue)
        self._shift_partition()
        return event

    def post(self, sender: int, receiver: int, host: int, frame: bytes) -> None:
        """Send a frame of one member towards one host of another."""
        event = Event(host, "frame", sender, frame)
        plan, rng = self._plan, self._rng
        if self.now_ms >= plan.calm_ms:
            self.at(self.now_ms + rng.randint(1, CALM_DELAY_MAX_MS), event)
            return
        if self._cut(sender, receiver) or self._dropped(receiver, frame):
            return
        if rng.randrange(1000) < plan.loss:
            return
        copies = 1 + (rng.randrange(1000) < plan.duplication)
        for _ in range(copies):
            self.at(self.now_ms + rng.randint(1, plan.delay_max_ms), event)

    def _cut(self, sender: int, receiver: int) -> bool:
        part = self._partition
        return part is not None and (sender in part) != (receiver in part)

    def _dropped(self, receiver: int, frame: bytes) -> bool:
        if len(frame) < 16 or not self._plan.structured:
            return False
        kind = frame[1]
        if kind == Kind.DECIDED:
            return self._plan.decided_lost
        if kind not in PHASES:
            return False
        view = int.from_bytes(frame[12:16], "big")
        return (Kind(kind), view, receiver) in self._plan.drops

    def _shift_partition(self) -> None:
        plan, rng = self._plan, self._rng
        while self._partition_ms < min(self.now_ms, plan.calm_ms) and plan.partition:
            self._partition_ms += PARTITION_STEP_MS
            if self._partition is None and rng.randrange(1000) < plan.partition:
                size = rng.randint(1, plan.nodes - 1)
                self._partition = frozenset(rng.sample(range(plan.nodes), size))
            elif self._partition is not None and rng.randrange(1000) < PARTITION_END:
                self._partition = None
