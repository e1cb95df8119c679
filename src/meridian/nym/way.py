"""The one place where the ways to settle an epoch differ, as the reward distributor sees it."""

from typing import Protocol

from meridian.audit.evidence import Link
from meridian.nym.rewards import Submission
from meridian.nym.rows import Row


class Way(Protocol):
    """How a Nym-Api takes part."""

    async def start(self) -> None:
        """Open links and logs; others may connect from now on."""
        ...

    async def resume(self, current: int) -> None:
        """Take up what was decided before; `current` is the contract's epoch."""
        ...

    async def watch(self) -> None:
        """Wait as long as the way works; raises what ended it."""
        ...

    async def contribute(self, epoch: int, row: Row | None) -> None:
        """Do our part for an ended epoch until the contract has taken a result from somebody; is cancelled then.

        `row` is None for an epoch in which we did not run: then we only follow the others.
        """
        ...

    async def check(self, accepted: Submission) -> list[Link]:
        """Check that an accepted result follows from what we hold, waiting for what we lack."""
        ...

    async def close(self) -> None:
        """Release everything."""
        ...
