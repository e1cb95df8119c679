"""When a transaction counts as done on a chain, and how long one waits for that.

A block that an endpoint shows may be replaced by another one. How many blocks on top make that unlikely enough, and how
long they take to come, depends on the chain; so the chain's id gives the default, and a network may say otherwise.
"""

from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from meridian.primitives.fil_address import CHAIN_IDS

LOCAL_CHAIN_ID: Final = 31337
"""The embedded chain's and anvil's: one process makes its blocks, none is ever replaced."""

CONFIRMATIONS: Final = 3
"""The default elsewhere."""

WAIT_S: Final = 120.0
FILECOIN_WAIT_S: Final = 600.0
"""A Filecoin block comes every 30 s, and not in every round."""

Confirmations = Annotated[int, msgspec.Meta(ge=0, le=10_000)]
"""As it stands in files."""
WaitSeconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
"""As it stands in files."""


@dataclass(frozen=True, slots=True)
class Finality:
    """What `Sender` waits for."""

    confirmations: int
    """Blocks on top of a transaction's block before it counts as done."""
    wait_s: float
    """Longest wait for that."""


def finality(
    chain_id: int, confirmations: int | None = None, wait_s: float | None = None
) -> Finality:
    """Return what was said about a chain, and its defaults for what was not (None)."""
    if confirmations is None:
        confirmations = 0 if chain_id == LOCAL_CHAIN_ID else CONFIRMATIONS
    if wait_s is None:
        wait_s = FILECOIN_WAIT_S if chain_id in CHAIN_IDS else WAIT_S
    return Finality(confirmations, wait_s)
