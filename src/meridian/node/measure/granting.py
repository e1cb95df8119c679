"""The coordinator's side of claims: it decides in its intake thread, between two groups of its own."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from meridian.errors import MeridianError, Overloaded
from meridian.measure.claims import Claim, Verdict
from meridian.measure.order import Integers
from meridian.measure.screening import Screened
from meridian.measure.seen_jobs import Hashes, Marks
from meridian.node.measure.elsewhere import HeldElsewhere
from meridian.node.measure.journal import Journal

OURSELVES: Final = 0
WAIT_S: Final = 1.0


class Granting:
    """Grants, for one journal.

    Args:
        journal: The coordinator's.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def grant(self, claim: Claim) -> Verdict:
        """Decide about a claim and write it; to be answered when that is durable.

        Raises:
            InvalidInput: If a later claim of the server has come.
            Overloaded: If so many jobs cannot be remembered, or the log is full.
        """
        journal = self._journal
        journal.claims.check(claim)
        if claim.open_epoch != journal.open_epoch:
            return Verdict(journal.open_epoch)
        verdict = journal.claims.decide(claim, journal.holder)
        if journal.claims.changes(claim, verdict):
            journal.append_claim(claim, verdict)
        return verdict

    def screen(
        self,
        names: Sequence[bytes],
        batch_of: Integers,
        epochs: Integers,  # noqa: ARG002
        hashes: Hashes,
        jobs: pa.Table,  # noqa: ARG002
        repeated: Marks,
    ) -> Screened:
        """Set aside what another server has promised as a batch, or promises in this moment; see `Elsewhere`."""
        journal = self._journal
        aside: dict[int, MeridianError] = {}
        waiting: set[int] = set()
        for at, name in enumerate(names):
            found = journal.holder(name)
            if found is not None and found[1]:
                aside[at] = HeldElsewhere(name, found[0])
            elif found is not None:
                waiting.add(at)
        if repeated.any():
            at_rows = np.flatnonzero(repeated)
            doubtful = at_rows[journal.claims.unconfirmed(hashes[at_rows], OURSELVES)]
            waiting |= set(batch_of[doubtful].tolist())
        for batch in waiting:
            aside[batch] = Overloaded(WAIT_S, "another server promises jobs of this batch now")
        if aside:
            repeated = repeated | np.isin(batch_of, np.array(list(aside), dtype=np.int64))
        return Screened(repeated, {}, aside)
