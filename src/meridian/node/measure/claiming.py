"""A further server's side of claims: it asks the coordinator about each group before it signs anything.

Law: what is granted is written with the sequence that the claim named, or the next claim names the same sequence again and
makes the grant void. Only the intake thread claims, one claim at a time.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from meridian.errors import MeridianError, Overloaded, RemoteFault, StorageFailure
from meridian.measure.admission import lane_values
from meridian.measure.claims import TURN_BITS, Claim, Code, Verdict
from meridian.measure.order import Integers
from meridian.measure.schema import NetworkSchema
from meridian.measure.screening import Screened
from meridian.measure.seen_jobs import Hashes, Marks
from meridian.node.measure.connection import Refused, ServiceConnection
from meridian.node.measure.elsewhere import EpochClosed, HeldElsewhere
from meridian.node.measure.journal import Journal
from meridian.primitives import dagcbor
from meridian.primitives.sumtree import LaneKind

PATIENCE_S: Final = 2.0
"""How long a group waits for the coordinator before its senders are put off."""
TIMEOUT_S: Final = 10.0
WAIT_S: Final = 1.0
"""After which a batch may be sent again of which another server promises something in this moment."""

CLAIMS_PATH: Final = "/v1/servers/claims"


class Claiming:
    """Asks for one server.

    Args:
        journal: Its journal.
        schema: The network's schema.
        generation: Of this start (`control`).
        coordinator: Gives the coordinator's URL, which may change.
        token: What servers show one another.
    """

    def __init__(
        self,
        journal: Journal,
        schema: NetworkSchema,
        generation: int,
        coordinator: Callable[[], str],
        token: str,
    ) -> None:
        self._journal = journal
        bounded = schema.lanes.kind is LaneKind.PAIR_U64
        self._lanes = schema.lanes.fields if bounded else ()
        self._turn = generation << TURN_BITS
        self._coordinator, self._token = coordinator, token
        self._outstanding = True  # a start before this one may have claimed what it never wrote
        self._url = ""
        self._connection: ServiceConnection | None = None
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End the claim at work, and every one to come; from any thread."""
        self._stopping.set()
        connection = self._connection
        if connection is not None:
            connection.stop()

    def screen(
        self,
        names: Sequence[bytes],
        batch_of: Integers,
        epochs: Integers,
        hashes: Hashes,
        jobs: pa.Table,
        repeated: Marks,
    ) -> Screened:
        """Claim what is not repeated here; see `Elsewhere`."""
        wanted, self._outstanding = ~repeated, True
        lanes: Mapping[str, Integers] = {
            name: lane_values(jobs, name)[wanted] for name in self._lanes
        }
        verdict = self._claim(
            batches=tuple(names),
            batch_of=batch_of[wanted],
            epochs=epochs[wanted],
            hashes=hashes[wanted],
            lanes=lanes,
        )
        at = np.flatnonzero(wanted)
        if len(verdict.codes) != len(at):
            raise RemoteFault("the coordinator spoke of another number of jobs")
        found = repeated.copy()
        found[at[(verdict.codes == Code.REPEATED) | (verdict.codes == Code.ASIDE)]] = True
        full = {}
        for lane, name in enumerate(sorted(self._lanes)):
            marks = np.zeros(len(repeated), dtype=np.bool_)
            marks[at[verdict.codes == Code.FULL + lane]] = True
            full[name] = marks
        aside: dict[int, MeridianError] = {
            batch: HeldElsewhere(names[batch], server) for batch, server in verdict.held.items()
        }
        for batch in verdict.waiting:
            aside[batch] = Overloaded(WAIT_S, "another server promises jobs of this batch now")
        return Screened(found, full, aside)

    def confirm(self) -> None:
        """Tell how far our receipts are durable, if the coordinator has not heard it; what was never written is void then.

        Raises:
            EpochClosed: If the coordinator is further than we.
        """
        if self._outstanding:
            written, durable = self._journal.sequence, self._journal.durable_sequence
            self._claim()
            self._outstanding = durable < written

    def _claim(self, **asked: object) -> Verdict:
        self._turn += 1
        journal = self._journal
        durable = journal.durable_sequence
        claim = Claim(self._turn, journal.sequence, durable, journal.open_epoch, **asked)  # type: ignore[arg-type]
        verdict = Verdict.read(dagcbor.decode(self._post(claim.encode())))
        if verdict.open_epoch < journal.open_epoch:
            raise StorageFailure(
                f"the coordinator has epoch {verdict.open_epoch} open, and epochs below {journal.open_epoch} were closed"
                " by it: it was restored from an older copy"
            )
        if verdict.open_epoch > journal.open_epoch:
            raise EpochClosed(verdict.open_epoch)
        return verdict

    def _post(self, body: bytes) -> bytes:
        url = self._coordinator()
        if self._connection is None or url != self._url:
            self._url = url
            self._connection = ServiceConnection(url, patience_s=PATIENCE_S, timeout_s=TIMEOUT_S)
        if self._stopping.is_set():
            raise RemoteFault("the service ends")
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/octet-stream",
        }
        try:
            return self._connection.request("POST", CLAIMS_PATH, body, headers)
        except Refused as error:
            raise RemoteFault(f"the coordinator refuses: {error}") from error
        except Overloaded:
            raise
        except MeridianError as error:
            raise RemoteFault(f"the coordinator: {error}") from error
