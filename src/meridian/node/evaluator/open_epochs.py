"""Which epochs an evaluator has open: the oldest that are not finished, and a few that are.

The law: a bounded number is open, lowest first, because reports stand on each other in the order of the epochs; and all
members choose alike, so that none waits for epochs that the others cannot open. A finished epoch needs no machine: members
that come later are answered from the safety log. One that was closed undecided goes on from its records.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from meridian.committee.rules import CommitteeRules
from meridian.ephemera.context import Context
from meridian.node.evaluator.safety import forget_through, observe_through
from meridian.node.evaluator.state import EpochState, waiting_for
from meridian.node.process import event_line
from meridian.node.replica_driver import ReplicaDriver
from meridian.node.safety_log import SafetyLog
from meridian.primitives.ids import Address

PLACES: Final = 16
"""Epochs open at once, besides the one whose report is due."""
LINGER: Final = 4
"""Finished epochs that stay open where there is room: evidence about them is still taken."""
OPEN_MAX: Final = PLACES + 1
WORKS_MAX: Final = 2 * PLACES
"""Evaluated epochs in memory; beyond it only an epoch below them is evaluated."""
WAITING_AFTER_S: Final = 3.0
FORGET_STEP: Final = 64
"""Records are deleted for so many epochs at a time."""


def plan(epochs: Mapping[int, EpochState]) -> tuple[list[int], list[int]]:
    """Return the epochs to close, and those to open, ascending."""
    unfinished = sorted(epoch for epoch, state in epochs.items() if state.is_ready)
    wanted = set(unfinished[:PLACES])
    due = next((epoch for epoch in unfinished if epochs[epoch].decided is not None), None)
    if due is not None:  # Its report is the next that we sign.
        wanted.add(due)
    is_open = {epoch for epoch, state in epochs.items() if state.is_open}
    finished = sorted(is_open.difference(unfinished), reverse=True)
    wanted.update(finished[: max(0, min(LINGER, PLACES - len(wanted)))])
    return sorted(is_open - wanted), sorted(wanted - is_open)


def may_evaluate(epochs: Mapping[int, EpochState], epoch: int) -> bool:
    """Whether there is room for the work of one more epoch."""
    ready = [number for number, state in epochs.items() if state.is_ready]
    return len(ready) < WORKS_MAX or epoch < max(ready)


class OpenEpochs:
    """Opens and closes the epochs of one evaluator, and deletes the records of the oldest.

    Args:
        epochs: Where each epoch stands; read, and `is_open` and `opened_at_s` are written.
        driver: Of the replica.
        rules: Expect rows of open epochs only.
        safety: The safety log; it is the archive of closed epochs too.
        data_dir: Where the log and its mark are.
        retained: Published epochs whose records are kept.
        context: Makes the context of an epoch with these members.
        on_opened: Called when an epoch was opened.
        ours: Our address: the trace root beside our row is salted with it.
    """

    def __init__(
        self,
        epochs: Mapping[int, EpochState],
        driver: ReplicaDriver,
        rules: CommitteeRules,
        safety: SafetyLog,
        *,
        data_dir: Path,
        retained: int,
        context: Callable[[int, tuple[Address, ...]], Context],
        on_opened: Callable[[], None],
        ours: Address,
    ) -> None:
        self._ours = ours
        self._epochs = epochs
        self._driver = driver
        self._rules = rules
        self._safety = safety
        self._data_dir = data_dir
        self._retained = retained
        self._context = context
        self._on_opened = on_opened
        self._changed = asyncio.Event()
        self._forgotten_through = -1
        self.observe_through = -1
        """The last epoch in which we sign nothing."""

    async def remember(self, committed: Iterable[int]) -> None:
        """Find out, at the start, up to which epoch we may have forgotten what we signed.

        Raises:
            StorageFailure: If log or mark cannot be read.
        """
        self._forgotten_through = min(self._safety.epochs(), default=0) - 1
        self.observe_through = await asyncio.to_thread(
            observe_through, self._data_dir, self._safety, tuple(committed)
        )

    async def answer_for(self, published: Sequence[tuple[int, tuple[Address, ...]]]) -> None:
        """Answer members that catch up about epochs (with their members) that were closed before this start."""
        kept = [pair for pair in published[-self._retained :] if pair[0] > self._forgotten_through]
        await self._driver.answer_for([self._context(epoch, members) for epoch, members in kept])

    def look_again(self) -> None:
        """Something has changed about which epochs should be open."""
        self._changed.set()

    async def run(self) -> None:
        """Have those epochs open that `plan` wants, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            to_close, to_open = plan(self._epochs)
            for epoch in to_close:
                self._epochs[epoch].is_open = False
                await self._driver.close_epoch(epoch)
                self._rules.forget(epoch)
            for epoch in to_open:
                await self._open(epoch, self._epochs[epoch])
            await self._forget_old()

    async def watch(self, ours: Address) -> None:
        """Say, until cancelled, what undecided epochs wait for."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WAITING_AFTER_S)
            for epoch, state in sorted(self._epochs.items()):
                late = state.opened_at_s and loop.time() - state.opened_at_s > WAITING_AFTER_S
                if late and state.is_open and state.is_ready and state.decided is None:
                    waited = waiting_for(state, self._driver.status(epoch), ours)
                    event_line("waiting", epoch=epoch, **waited)

    async def _open(self, epoch: int, state: EpochState) -> None:
        """Open an epoch and contribute our row, unless we may have forgotten what we signed in it."""
        work = state.work
        if work is None:
            return  # published meanwhile
        observer = epoch <= self.observe_through
        self._rules.expect(work.terms.header)
        state.opened_at_s = state.opened_at_s or asyncio.get_running_loop().time()
        state.is_open = True
        await self._driver.open_epoch(self._context(epoch, state.members), observer=observer)
        self._on_opened()
        if not observer:
            await self._driver.submit_row(
                epoch, work.observation.body, work.observation.trace(self._ours)
            )

    async def _forget_old(self) -> None:
        """Delete the records of the oldest published epochs; what we signed there is forgotten, so first say so."""
        published = [epoch for epoch, state in self._epochs.items() if state.published]
        through = max(published, default=-1) - self._retained
        for epoch, state in self._epochs.items():
            if state.is_open or not (state.published or state.is_outside):
                through = min(through, epoch - 1)
        if through < self._forgotten_through + FORGET_STEP:
            return
        await asyncio.to_thread(forget_through, self._data_dir, through)
        self.observe_through = max(self.observe_through, through)
        await self._driver.forget_before(through + 1)
        self._forgotten_through = through
