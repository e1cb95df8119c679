"""From decided epochs to transmitted reports: sign our own, and bring attested ones on chain when it is our turn.

The law: one epoch at a time, the lowest that is decided and not reported. A report stands on the one accepted before it,
so signing several at once would make all but one be signed again, and the attempts of an epoch are bounded. An epoch
whose report the contract refuses for good is passed over, so that it cannot hold up the others.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from meridian.committee.settlement import Proposal, Settlement, contradiction
from meridian.committee.transmission import turn
from meridian.errors import InvalidInput, Overloaded, RemoteFault
from meridian.node.evaluator.chain_access import ACCEPTED, ChainAccess
from meridian.node.evaluator.state import EpochState
from meridian.node.process import event_line
from meridian.node.replica_driver import ReplicaDriver
from meridian.primitives.ids import Address, address_text

OVERTAKEN: Final = frozenset({"evaluations: previous", "evaluations: reported"})
"""Refusals that only say that another report was faster."""

RETRY_S: Final = 1.0

OnChain = Callable[..., Awaitable[Any]]

log = logging.getLogger(__name__)


class Reporter:
    """Signs and transmits for one evaluator.

    Args:
        address: Ours.
        driver: Signs reports, durably.
        settlement: Knows what is decided and what the chain accepted.
        chain: Transmits.
        on_chain: Runs one of the chain's reads in a thread, one at a time.
        send: The same for what sends.
        stage_ms: How long a member waits for the one before it to transmit.
        wake: Called when the next round should come soon.
    """

    def __init__(
        self,
        *,
        address: Address,
        driver: ReplicaDriver,
        settlement: Settlement,
        chain: ChainAccess,
        on_chain: OnChain,
        send: OnChain,
        stage_ms: int,
        wake: Callable[[], None],
    ) -> None:
        self._address = address
        self._driver = driver
        self._settlement = settlement
        self._chain = chain
        self._on_chain, self._send = on_chain, send
        self._stage_s = stage_ms / 1000
        self._wake = wake

    async def round(
        self, epochs: Mapping[int, EpochState], observe_through: int, group: asyncio.TaskGroup
    ) -> None:
        """Do what can be done now for the lowest epoch without a report."""
        for proposal in self._settlement.open_proposals():
            state = epochs[proposal.epoch]
            if state.barred is not None:
                continue
            if not state.is_open:
                return  # it is opened first: `open_epochs`
            if proposal.digest not in state.signed:
                state.signed.add(proposal.digest)
                self._look_at(proposal, state)
                if proposal.epoch > observe_through and state.wrong is None:
                    await self._sign(proposal)
            if state.wrong is not None:
                return
            attested = state.attested.get(proposal.digest)
            if attested is not None and proposal.digest not in state.transmissions:
                task = self._transmit(state, proposal, attested.signatures)
                state.transmissions[proposal.digest] = group.create_task(task)
            return

    def _look_at(self, proposal: Proposal, state: EpochState) -> None:
        """Find out whether the contracts would punish who signs this report."""
        assert state.work is not None, "only worked epochs are proposed"
        own = self._address, state.work.observation.body
        state.wrong = contradiction(state.work.terms, proposal.outcome, own)
        if proposal.outcome.unproved:
            names = [address_text(member) for member in proposal.outcome.unproved]
            log.warning(
                "epoch %d: rows without the work behind them: %s",
                proposal.epoch,
                names,
                extra={"epoch": proposal.epoch},
            )
            event_line("unproved", epoch=proposal.epoch, members=names)
        if state.wrong is not None:
            log.error(
                "epoch %d: report not signed: %s",
                proposal.epoch,
                state.wrong,
                extra={"epoch": proposal.epoch},
            )
            event_line("unsigned", epoch=proposal.epoch, reason=state.wrong)

    async def _sign(self, proposal: Proposal) -> None:
        try:
            await self._driver.submit_report(proposal.epoch, proposal.previous, proposal.digest)
        except InvalidInput as refusal:  # too many attempts: the others go on without our signature
            log.warning(
                "epoch %d: report not signed: %s",
                proposal.epoch,
                refusal,
                extra={"epoch": proposal.epoch},
            )
            event_line("unsigned", epoch=proposal.epoch, reason=str(refusal))

    async def _transmit(
        self, state: EpochState, proposal: Proposal, signatures: Sequence[tuple[Address, bytes]]
    ) -> None:
        """Bring a report on chain when it is our turn and nobody has done it before.

        The turn counts from the epoch's first attestation, so that a head that moves meanwhile does not begin it anew.
        """
        assert state.work is not None, "only worked epochs are proposed"
        members = state.work.terms.members
        now_s = asyncio.get_running_loop().time()
        if state.attested_at_s is None:
            state.attested_at_s = now_s
        place = turn(members, proposal.report.block_hash, self._address)
        await asyncio.sleep(max(0.0, state.attested_at_s + place * self._stage_s - now_s))
        try:
            if await self._on_chain(self._chain.is_reported, proposal.epoch):
                return
            what = await self._send(self._chain.transmit, proposal, signatures, len(members))
        except (RemoteFault, Overloaded) as fault:
            log.warning(
                "epoch %d: not transmitted: %s",
                proposal.epoch,
                fault,
                extra={"epoch": proposal.epoch},
            )
            await asyncio.sleep(RETRY_S)
            state.transmissions.pop(proposal.digest, None)  # the next round tries again
            self._wake()
            return
        event_line("transmitted", epoch=proposal.epoch, result=what)
        if what != ACCEPTED and what not in OVERTAKEN:
            state.barred = what
            log.error(
                "epoch %d: the contract refuses its report: %s",
                proposal.epoch,
                what,
                extra={"epoch": proposal.epoch},
            )
            self._wake()
