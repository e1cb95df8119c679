"""Further epochs after a run, one after the other, each from open to paid: what a demo shows to whoever watches."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from meridian.journey import chain_setup
from meridian.journey.options import DEFAULT_BUDGET_ATTO, Options
from meridian.measure.epoch import Calendar
from meridian.networks.definition import JobSource
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import ChainView

FUNDED_AHEAD: Final = 10
"""Further epochs that one transaction funds."""
_POLL_S: Final = 0.25

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Living:
    """What further epochs need of the run that they follow."""

    options: Options
    calendar: Calendar
    view: ChainView
    sponsor: Sender
    relayer: Sender
    send: Callable[[JobSource, Progress], object]
    """Sends a source's jobs and seals its epochs; tells its progress after each batch."""
    settle: Callable[[int], None]
    """Waits until an epoch is decided and its window over, and draws what is due."""
    check: Callable[[], None]
    """Raises `RemoteFault` if a process has ended."""

    def run(self, following: Callable[[int], JobSource], epoch: int) -> None:
        """Run epochs from this one on, as far as the network's calendar reaches.

        Raises:
            RemoteFault: If a process ends, or an epoch is not decided.
        """
        while self.calendar.end_us(epoch) <= time.time_ns() // 1000:
            budget = self.options.budget_atto
            each = DEFAULT_BUDGET_ATTO if budget is None else budget
            if self.view.rewards.read("funded_through") < epoch:
                chain_setup.fund(self.sponsor, self.view, epoch, FUNDED_AHEAD, each)
            chain_setup.open_epochs(self.relayer, self.view, epoch)
            self.send(following(epoch), self._paced())
            self.settle(epoch)
            epoch += 1

    def _paced(self) -> Progress:
        """Return what waits so long after each batch that all of a source take `live_seconds`."""
        started = time.monotonic()

        def wait(done: int, total: int) -> None:
            until = started + self.options.live_seconds * done / total
            while (left := until - time.monotonic()) > 0:
                self.check()
                time.sleep(min(left, _POLL_S))

        return wait
