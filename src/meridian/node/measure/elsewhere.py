"""What the intake of a server asks the network's other servers, where there are some (`measure.claims`)."""

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from meridian.errors import RemoteFault
from meridian.measure.order import Integers
from meridian.measure.screening import Screened
from meridian.measure.seen_jobs import Hashes, Marks


class EpochClosed(Exception):
    """The coordinator has closed an epoch that is open here: what was placed must be placed anew.

    Args:
        open_epoch: The first that is open.
    """

    def __init__(self, open_epoch: int) -> None:
        super().__init__(f"epochs below {open_epoch} are closed")
        self.open_epoch = open_epoch


class HeldElsewhere(RemoteFault):
    """Another server has promised this batch; it has the answer.

    Args:
        batch: Its name.
        server: The server's number.
    """

    def __init__(self, batch: bytes, server: int) -> None:
        super().__init__(f"server {server} has promised this batch and does not answer now")
        self.batch, self.server = batch, server


class Elsewhere(Protocol):
    """The network's other servers."""

    def screen(
        self,
        names: Sequence[bytes],
        batch_of: Integers,
        epochs: Integers,
        hashes: Hashes,
        jobs: pa.Table,
        repeated: Marks,
    ) -> Screened:
        """Say which jobs are theirs; those that are not are ours from then on (`measure.screening`).

        Raises:
            EpochClosed: If the group must be placed anew.
            RemoteFault: If nothing can be promised now.
            Overloaded: As well.
        """
