"""The queue of everything that will happen, on one virtual clock, and what the network does to frames."""

from __future__ import annotations

import heapq
import random
from typing import NamedTuple

from meridian.ephemera.context import Kind
from meridian.sim.faults import PHASES, Plan

CALM_DELAY_MAX_MS = 4
PARTITION_STEP_MS = 10
PARTITION_END = 100
"""Parts per thousand, per step, that a partition heals."""
CLOGGED = 0.3
"""Share of the directed links that a clog closes."""

VIEW_AT, VIEW_END = 12, 16
"""Where the view stands in frames that have one (see `ephemera.frame`)."""

OF_VIEW = frozenset({*PHASES, Kind.VIEW_CHANGE})

Link = tuple[int, int]
"""(sender, receiver)."""


class Event(NamedTuple):
    """Something that happens to one host."""

    host: int
    """Number of the host; twins are two hosts of one member."""
    what: str
    """frame, wake, back, late-row, epoch, away, dead or wiped."""
    sender: int = -1
    """Participant, for frames."""
    frame: bytes = b""
    stamp: int = 0
    """Wake-ups of an older stamp are void; the number of an epoch."""


class Network:
    """Delivers, loses, repeats and delays; after `calm_ms` it only delays a little."""

    def __init__(self, plan: Plan, rng: random.Random) -> None:
        self._plan = plan
        self._rng = rng
        self._queue: list[tuple[int, int, Event]] = []
        self._count = 0
        self._closed: frozenset[Link] = frozenset()
        self._participants = plan.nodes + plan.course.epochs - 1
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
            self.at(self.now_ms + 1 + int(rng.random() * CALM_DELAY_MAX_MS), event)
            return
        if (sender, receiver) in self._closed or self._dropped(receiver, frame):
            return
        if plan.aim is not None and (frame[1], sender, receiver) in plan.aim.lost:
            return
        if plan.loss and rng.random() * 1000 < plan.loss:
            return
        copies = 2 if plan.duplication and rng.random() * 1000 < plan.duplication else 1
        for _ in range(copies):
            self.at(self.now_ms + 1 + int(rng.random() * plan.delay_max_ms), event)

    def _dropped(self, receiver: int, frame: bytes) -> bool:
        if not self._plan.structured or len(frame) < VIEW_END:
            return False
        kind = frame[1]
        if kind == Kind.DECIDED:
            return self._plan.decided_lost
        if kind not in PHASES:
            return False
        view = int.from_bytes(frame[VIEW_AT:VIEW_END], "big")
        return (Kind(kind), view, receiver) in self._plan.drops

    def _shift_partition(self) -> None:
        plan, rng = self._plan, self._rng
        while self._partition_ms < min(self.now_ms, plan.calm_ms) and plan.partition:
            self._partition_ms += PARTITION_STEP_MS
            if not self._closed and rng.randrange(1000) < plan.partition:
                self._closed = cut(rng, plan.cut, self._participants)
            elif self._closed and rng.randrange(1000) < PARTITION_END:
                self._closed = frozenset()


def view_of(frame: bytes) -> int | None:
    """The view that a frame belongs to; None if it belongs to none."""
    if len(frame) < VIEW_END or frame[1] not in OF_VIEW:
        return None
    return int.from_bytes(frame[VIEW_AT:VIEW_END], "big")


def cut(rng: random.Random, form: str, participants: int) -> frozenset[Link]:
    """The links that a partition closes.

    Args:
        rng: Chance.
        form: `split` in two sides, `one-way` (one side hears, but is not heard), `bridge` (one participant
            belongs to both sides), or `clog` (links at random, each way for itself).
        participants: Their number.
    """
    everyone = range(participants)
    links = [(a, b) for a in everyone for b in everyone if a != b]
    if form == "clog":
        return frozenset(link for link in links if rng.random() < CLOGGED)
    side = set(rng.sample(everyone, rng.randint(1, max(1, participants - 1))))
    bridge = rng.randrange(participants) if form == "bridge" else -1
    return frozenset(
        (a, b)
        for a, b in links
        if (a in side) != (b in side) and bridge not in {a, b} and (form != "one-way" or a in side)
    )
