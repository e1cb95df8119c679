"""Coins for a run's accounts on a chain that is not the run's own, from one account that has some.

Every account gets what its part of the run takes and some for gas, once: a second run on the same data directory finds
the transfers in the bank's journal there.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from meridian.errors import Reverted
from meridian.journey.chain_setup import EVALUATOR_STAKE_ATTO, NODE_STAKE_ATTO, Accounts
from meridian.node.chain.sender import Sender
from meridian.node.chain.signing import Call
from meridian.primitives.amounts import ATTO
from meridian.primitives.ids import Address

GAS_ATTO: Final = 10 * ATTO
"""For gas, for each account; what is left stays there."""


def needs(accounts: Accounts, budgets_atto: Sequence[int], nodes: int) -> dict[Address, int]:
    """Return what each account of a run takes, in atto.

    Args:
        accounts: The run's.
        budgets_atto: The budget of each epoch, which the sponsor pays.
        nodes: How many nodes the relayer registers with their stake.
    """
    stakes = nodes * NODE_STAKE_ATTO + len(accounts.evaluators) * EVALUATOR_STAKE_ATTO
    return {
        **dict.fromkeys(accounts.addresses, GAS_ATTO),
        accounts.sponsor.address: sum(budgets_atto) + GAS_ATTO,
        accounts.relayer.address: stakes + GAS_ATTO,
    }


def supply(bank: Sender, wanted: Mapping[Address, int]) -> None:
    """Pay every account what it needs, once, and wait.

    Raises:
        Reverted: If a transfer failed.
        RemoteFault: If the endpoint refuses, for want of coins say.
    """
    calls = [
        (f"supply/{address.hex()}", Call(address, b"", atto)) for address, atto in wanted.items()
    ]
    hashes = []
    for answer in bank.submit_many(calls):
        if isinstance(answer, Reverted):
            raise answer
        hashes.append(answer)
    for receipt in bank.wait_all(hashes):
        if not receipt.status:
            raise Reverted(receipt.reason)
