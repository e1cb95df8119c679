"""The metrics collector: a reading of every mixnode at every tick, into the Nym-Api's database.

Ticks stand at equal distances from the epoch's start, so the windows of two Nym-Apis are the same. A tick that was due
while the process ran is recorded, however late the process came to it; a tick that passed while it was down is missing.
"""

import asyncio
from typing import Final, Protocol

from meridian.measure.epoch import Calendar
from meridian.nym.api_store import ApiStore
from meridian.nym.mixnodes import TICKS, World

BEHIND_MAX: Final = 10 * TICKS
"""A process that was held up for longer has missed the rest."""
_SLEEP_MIN_S: Final = 0.005


class Clock(Protocol):
    """The time of the contract or chain that the epochs stand on."""

    @property
    def calendar(self) -> Calendar:
        """The epochs."""
        ...

    def now_ms(self) -> int:
        """Unix milliseconds."""
        ...


class Collector:
    """Measures for one Nym-Api.

    Args:
        number: The Nym-Api's number.
        world: What there is to measure.
        store: Where readings go.
        clock: Of the epochs.
        liar: Whether it writes down the simulation's lies instead of what it measures.
    """

    def __init__(
        self, number: int, world: World, store: ApiStore, clock: Clock, *, liar: bool
    ) -> None:
        self._number = number
        self._world = world
        self._store = store
        self._clock = clock
        self._liar = liar
        self._turn = asyncio.Lock()
        self._done_ms = 0
        """All ticks before this instant are recorded or missed."""

    def begin(self) -> None:
        """Take the ticks from now on; those before it passed while we were down."""
        self._done_ms = self._clock.now_ms()

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            now_ms = self._clock.now_ms()
            await self.catch_up(now_ms + 1)
            due_ms = next_tick_ms(self._clock.calendar, now_ms + 1)
            await asyncio.sleep(max(_SLEEP_MIN_S, (due_ms - self._clock.now_ms()) / 1000))

    async def catch_up(self, until_ms: int) -> None:
        """Record the ticks before `until_ms` that are not recorded."""
        async with self._turn:
            calendar = self._clock.calendar
            readings: list[tuple[int, int, int]] = []
            behind_max_ms = BEHIND_MAX * tick_ms(calendar)
            at_ms = next_tick_ms(calendar, max(self._done_ms, until_ms - behind_max_ms))
            while at_ms < until_ms:
                epoch = calendar.epoch_of(at_ms * 1000)
                tick = (at_ms - calendar.start_us(epoch) // 1000) // tick_ms(calendar)
                world = self._world
                found = (
                    world.lies(epoch) if self._liar else world.readings(self._number, epoch, tick)
                )
                readings += [(at_ms, mixnode, value) for mixnode, value in found]
                at_ms += tick_ms(calendar)
            if readings:
                await asyncio.to_thread(self._store.record, readings)
            self._done_ms = max(self._done_ms, until_ms)


def tick_ms(calendar: Calendar) -> int:
    """Return the distance of two ticks."""
    return calendar.epoch_seconds * 1000 // TICKS


def next_tick_ms(calendar: Calendar, at_ms: int) -> int:
    """Return the first tick that is not before an instant, nor before the first epoch."""
    step, genesis_ms = tick_ms(calendar), calendar.genesis_s * 1000
    return genesis_ms + max(0, -((genesis_ms - at_ms) // step)) * step
