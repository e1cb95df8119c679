"""The reward distributor: for every epoch that has ended, our row goes its way, and what is accepted gets checked.

It follows the contract's epochs, asks the contract for them again and again, and owes a row to every epoch in which it
ran, however late; an epoch in which it did not run it only checks. What it found is kept, so nothing is done twice.
"""

import asyncio
import contextlib
import logging
from typing import Final

from meridian.audit.evidence import State
from meridian.errors import InvalidInput, NotFound, RemoteFault
from meridian.node.process import event_line
from meridian.nym.api_store import ApiStore, Finding
from meridian.nym.collector import Collector
from meridian.nym.contract_client import ContractClient, ContractClock
from meridian.nym.evidence import verdict
from meridian.nym.rewards import Submission
from meridian.nym.rows import Row, decode_row
from meridian.nym.way import Way
from meridian.primitives.ids import address_text

RESYNC_S: Final = 1.0
"""The contract's epoch is asked for at least so often."""
POLL_S: Final = 0.15
AT_ONCE_MAX: Final = 16
"""Epochs that are settled at the same time."""
TURN_S: Final = 20.0
"""How long an epoch may keep its place while others wait: one that cannot be settled must not hold them up."""
LISTED_AGAIN: Final = 100
"""Epochs may be settled out of order: so many before the last are listed again."""
_SLEEP_MIN_S: Final = 0.01

log = logging.getLogger(__name__)


class Distributor:
    """Distributes for one Nym-Api."""

    def __init__(
        self,
        mixnodes: int,
        store: ApiStore,
        client: ContractClient,
        clock: ContractClock,
        collector: Collector,
        way: Way,
    ) -> None:
        self._mixnodes = mixnodes
        self._store = store
        self._client = client
        self._clock = clock
        self._collector = collector
        self._way = way
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._begun_s: dict[int, float] = {}
        """When an epoch was last given a place, by the loop's clock."""
        self._settled: set[int] = set()

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Distribute until cancelled."""
        while True:
            with contextlib.suppress(RemoteFault):
                await self._clock.sync()
                await self._list_settled()
            current = self._clock.epoch()
            if current >= 0:
                await asyncio.to_thread(self._store.see, current)
            due = await asyncio.to_thread(self._due, current)
            self._make_room(len(due))
            for epoch in due[: AT_ONCE_MAX - len(self._tasks)]:
                self._begun_s[epoch] = asyncio.get_running_loop().time()
                self._tasks[epoch] = group.create_task(self._settle(epoch), name=f"epoch {epoch}")
            end_ms = self._clock.calendar.end_us(max(current, -1)) // 1000
            left_s = (end_ms - self._clock.now_ms()) / 1000
            await asyncio.sleep(min(RESYNC_S, max(_SLEEP_MIN_S, left_s)))

    async def _list_settled(self) -> None:
        first = max(0, max(self._settled, default=0) - LISTED_AGAIN)
        self._settled.update(await self._client.settled(first))

    def _due(self, current: int) -> list[int]:
        """Return ended epochs without a place: first those that never had one, oldest first, then who waits longest."""
        self._tasks = {epoch: task for epoch, task in self._tasks.items() if not task.done()}
        open_epochs = (self._settled | set(self._store.unsettled())) - self._store.found()
        kept = open_epochs | self._tasks.keys()  # a task may be done but for its last word
        self._begun_s = {epoch: at for epoch, at in self._begun_s.items() if epoch in kept}
        due = (epoch for epoch in open_epochs if epoch < current and epoch not in self._tasks)
        return sorted(due, key=lambda epoch: (self._begun_s.get(epoch, 0.0), epoch))

    def _make_room(self, waiting: int) -> None:
        """Take the places of epochs whose turn is over, as many as are needed; they come again."""
        lacking = waiting - (AT_ONCE_MAX - len(self._tasks))
        over_s = asyncio.get_running_loop().time() - TURN_S
        for epoch in sorted(self._tasks, key=self._begun_s.__getitem__)[: max(0, lacking)]:
            if self._begun_s[epoch] <= over_s:
                self._tasks.pop(epoch).cancel()

    async def _settle(self, epoch: int) -> None:
        """Work one epoch until its result is accepted and checked."""
        row = await self._row(epoch)
        work = asyncio.create_task(self._way.contribute(epoch, row), name=f"work of {epoch}")
        try:
            accepted = await self._accepted(epoch, work)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        links = await self._way.check(accepted)
        holds, detail = verdict(links)
        finding = Finding(epoch, accepted.sender, holds, detail)
        await asyncio.to_thread(self._store.keep_finding, finding)
        if not holds:
            log.error("epoch %d: the accepted result does not hold: %s", epoch, detail)
        event_line(
            "finding",
            epoch=epoch,
            winner=address_text(accepted.sender),
            holds=holds,
            detail=detail,
            checked=[link.name for link in links if link.state is State.HOLDS],
        )

    async def _row(self, epoch: int) -> Row | None:
        """Return our row of an ended epoch, the same one for ever; None if we did not run in it."""
        if not self._store.has_seen(epoch):
            return None
        calendar = self._clock.calendar
        start_ms, end_ms = calendar.start_us(epoch) // 1000, calendar.end_us(epoch) // 1000
        await self._collector.catch_up(end_ms)
        row = await asyncio.to_thread(self._store.average, epoch, start_ms, end_ms)
        kept = await asyncio.to_thread(self._store.keep_row, row.encode(), epoch)
        event_line("averaged", epoch=epoch, mixnodes=len(row.values))
        return decode_row(kept, epoch=epoch, mixnodes=self._mixnodes)

    async def _accepted(self, epoch: int, work: asyncio.Task[None]) -> Submission:
        """Wait for what the contract accepts; an error of our own work ends the process."""
        while True:
            if work.done():
                work.result()
            try:
                return await self._client.rewards(epoch)
            except NotFound:
                pass
            except (RemoteFault, InvalidInput) as fault:
                log.warning("epoch %d: %s", epoch, fault)
            await asyncio.sleep(POLL_S)
