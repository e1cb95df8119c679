"""What the chain accepted, compared with what we decided: reproduced, never believed, in the order of its chain."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from meridian.committee.settlement import Mismatch, Settled, Settlement
from meridian.errors import InvalidInput
from meridian.node.chain_view import AcceptedReport
from meridian.node.evaluator.chain_access import ChainAccess
from meridian.node.evaluator.resume import ledger_of_others
from meridian.node.evaluator.state import Disagreement, EpochState
from meridian.node.process import event_line
from meridian.primitives.ids import Address

log = logging.getLogger(__name__)


class AcceptedReports:
    """Follows the chain of accepted reports for one evaluator in one term.

    Args:
        epochs: Where each epoch stands.
        settlement: Computes what we would have reported.
        chain: For the signatures under an accepted report.
        on_chain: Runs one of the chain's calls in a thread, one at a time.
        directories: Publications, for the claims of epochs in which we had no seat.
        publish: Publishes a reproduced report; False: not yet.
    """

    def __init__(
        self,
        epochs: Mapping[int, EpochState],
        settlement: Settlement,
        chain: ChainAccess,
        on_chain: Callable[..., Awaitable[Any]],
        directories: Sequence[Path],
        publish: Callable[[AcceptedReport, EpochState, Settled], Awaitable[bool]],
    ) -> None:
        self._epochs, self._settlement = epochs, settlement
        self._chain, self._on_chain = chain, on_chain
        self._directories, self._publish = directories, publish
        self.settled = 0
        """How many reports are behind us."""

    async def reproduce(self, reports: Sequence[AcceptedReport]) -> bool:
        """Go through the reports that are new; return False while one of them cannot be reproduced yet.

        Raises:
            Disagreement: If one does not follow from the block that we helped to decide.
        """
        while self.settled < len(reports):
            if not await self._reproduce(reports[self.settled]):
                return False
            self.settled += 1
        return True

    async def _reproduce(self, report: AcceptedReport) -> bool:
        """Compare an accepted report with our own; return False until we can."""
        state = self._epochs.get(report.epoch)
        if state is None:
            return False  # its commitment has not been read yet
        if state.is_outside:
            return await self._pass_over(report)
        if state.settled is not None:  # reproduced before, but not published: the chain was away
            return await self._publish(report, state, state.settled)
        result = self._settlement.accept(report.epoch, report.report_hash, report.previous)
        if result is None:
            return False
        if isinstance(result, Mismatch):
            log.critical(
                "epoch %d: the chain accepted report %s, our block gives %s",
                result.epoch, result.accepted.hex(), result.ours.hex(),
            )  # fmt: skip
            event_line("mismatch", epoch=result.epoch, accepted=result.accepted.hex())
            raise Disagreement(
                f"epoch {result.epoch}: the accepted report does not follow from our block"
            )
        state.settled = result
        return await self._publish(report, state, result)

    async def _pass_over(self, report: AcceptedReport) -> bool:
        """Go on behind a report of an epoch in which we had no seat; return False until somebody published its claims."""
        ledger = await asyncio.to_thread(ledger_of_others, self._directories, report)
        if ledger is None:
            return False
        self._settlement.pass_over(report.epoch, report.report_hash, report.previous, ledger)
        return True

    async def signatures(
        self, report: AcceptedReport, state: EpochState
    ) -> list[tuple[Address, bytes]] | None:
        """Return the signatures under an accepted report, or None until we know them.

        They stand in its transaction; where somebody passed it on through a contract of their own, the protocol's do.
        """
        try:
            found: list[tuple[Address, bytes]] = await self._on_chain(
                self._chain.accepted_signatures, report
            )
        except InvalidInput:
            attested = state.attested.get(report.report_hash)
            return list(attested.signatures) if attested is not None else None
        return found
