"""When a transaction counts as stuck, and what its replacement offers.

The law: same nonce, same call, same gas limit, higher fees; so whichever of them is mined, the purpose happens once.
What is raised is bounded twice, by the number of replacements and by a multiple of the first offer: an endpoint that
lies about fees cannot make a sender pay without end.
"""

import time
from dataclasses import dataclass, replace
from typing import Final

from meridian.node.chain.fees import raised
from meridian.node.chain.journal import Attempt, SenderJournal
from meridian.node.chain.rpc import ChainClient
from meridian.node.chain.signing import Fees, Signed, read_signed

REPLACE_AFTER_S: Final = 60.0
"""Whoever waits this long sees the transaction that holds up the others replaced by one with higher fees."""

REPLACE_AFTER_BLOCKS: Final = 3
"""But not before this many blocks have come: without blocks nothing is stuck, the chain is."""

REPLACEMENTS_MAX: Final = 8
"""Replacements of one transaction; 1.125^8 is 2.6 times the first offer where the base fee asks for no more."""

FEE_RAISE_MAX: Final = 10
"""No replacement offers more than this many times the first offer."""


@dataclass(slots=True)
class Patience:
    """How long nothing of what is awaited has come."""

    until_s: float
    """Monotonic seconds."""
    from_block: int | None = None
    """The head when the time was over."""

    def is_over(self, rpc: ChainClient) -> bool:
        """Tell whether enough time and blocks have passed without any of the awaited transactions."""
        if time.monotonic() < self.until_s:
            return False
        head = int(rpc.call("eth_blockNumber"), 16)
        if self.from_block is None:
            self.from_block = head
        return head - self.from_block >= REPLACE_AFTER_BLOCKS


@dataclass(frozen=True, slots=True)
class ChainState:
    """What a better offer depends on."""

    chain_id: int
    next_nonce: int
    """The nonce of the account's next transaction in a block."""
    base_fee_wei: int
    """Of the next block."""
    asked: Fees
    """What a new transaction should offer."""


def better_offer(journal: SenderJournal, attempt: Attempt, state: ChainState) -> Signed | None:
    """Return the replacement of an unsettled transaction, or None where none is due or allowed.

    Due are the one whose turn it is, and those behind it that offer less than the base fee.
    """
    old = read_signed(attempt.raw)
    if old.nonce < state.next_nonce:
        return None  # its nonce is used: it only waits for confirmations
    if old.nonce > state.next_nonce and old.fees.max_fee_wei >= state.base_fee_wei:
        return None
    hashes = journal.siblings([attempt.tx_hash]).get(attempt.tx_hash, [])
    earlier = [one for one in map(journal.by_hash, hashes) if one is not None]
    first_wei = min(read_signed(one.raw).fees.max_fee_wei for one in [attempt, *earlier])
    cap_wei = first_wei * FEE_RAISE_MAX
    least = raised(old.fees, old.fees, state.chain_id)
    if len(earlier) >= REPLACEMENTS_MAX or least.max_fee_wei > cap_wei:
        return None
    wanted = raised(old.fees, state.asked, state.chain_id)
    fees = Fees(min(wanted.max_fee_wei, cap_wei), min(wanted.tip_wei, cap_wei))
    return replace(old, fees=fees)
