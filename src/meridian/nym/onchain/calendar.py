"""The epochs as the Registry has them, and where a system on a chain keeps what it publishes."""

import time
from pathlib import Path
from typing import Final

from meridian.measure.epoch import Calendar
from meridian.node.chain_view import ChainView

AGGREGATOR: Final = Path("aggregator")
"""The aggregator's directory; what it publishes lies in ``public`` below it."""


def calendar_of(view: ChainView) -> Calendar:
    """Return the calendar that stands on chain; raises RemoteFault if the chain cannot be read."""
    start_s = int(view.registry.read("epoch_start", 0))
    end_s = int(view.registry.read("epoch_end", 0))
    return Calendar(start_s, end_s - start_s)


class ChainClock:
    """The chain's calendar on this machine's wall clock, by which the chain's blocks are dated too."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar

    @property
    def calendar(self) -> Calendar:
        """The epochs."""
        return self._calendar

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def epoch(self) -> int:
        """Return the current epoch; below 0 before the first."""
        return self._calendar.epoch_of(self.now_ms() * 1000)


def readings_index(public: Path, epoch: int) -> Path:
    """Return the file in a Nym-Api's publication that names its readings of an epoch."""
    return public / "epochs" / f"{epoch:06d}.readings.json"
