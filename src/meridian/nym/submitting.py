"""Bringing a result to the contract, until it has one."""

import asyncio
import logging
from typing import Final

from meridian.errors import RemoteFault
from meridian.node.process import event_line
from meridian.nym.contract_client import (
    ACCEPTED,
    SETTLED_BEFORE,
    TOO_EARLY,
    UNAVAILABLE,
    ContractClient,
)
from meridian.nym.rewards import Submission

RETRY_S: Final = 0.25

log = logging.getLogger(__name__)


async def submit_until_settled(client: ContractClient, submission: Submission) -> bool:
    """Send a submission until the contract has a result; return whether it is ours.

    The contract may be away, and its clock may be a little behind ours: both pass. What it refuses for good is said once
    and not sent again: somebody else may do better.
    """
    epoch = submission.report.epoch
    while True:
        try:
            status, reason = await client.submit(submission)
        except RemoteFault as fault:
            log.warning("epoch %d: not submitted: %s", epoch, fault)
            status, reason = UNAVAILABLE, ""
        if status == ACCEPTED:
            return True
        if status == SETTLED_BEFORE:
            return False
        if status not in {TOO_EARLY, UNAVAILABLE}:
            log.error("epoch %d: the contract refuses: %d %s", epoch, status, reason)
            event_line("refused", epoch=epoch, status=status, reason=reason)
            return False
        await asyncio.sleep(RETRY_S)
