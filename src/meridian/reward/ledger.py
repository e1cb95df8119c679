"""The ledger: everything that one report leaves to the next, under one reward root."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from meridian.errors import InvalidInput
from meridian.primitives.ids import Address, NodeKey
from meridian.reward.claims import ClaimsState
from meridian.reward.memory import Memory


@dataclass(frozen=True)
class Ledger:
    """Claims and memory after some report.

    Raises:
        InvalidInput: If the memory is not the one that the claims bind.
    """

    claims: ClaimsState
    memory: Memory

    def __post_init__(self) -> None:
        bound = self.claims.memory
        if bound != (None if self.memory.is_empty else self.memory.digest):
            raise InvalidInput("memory", "it is not the one that the claims bind")

    @classmethod
    def empty(cls) -> Self:
        """Return the ledger before the first report."""
        return cls(ClaimsState.empty(), Memory())

    def advance(self, amounts: Mapping[NodeKey, tuple[Address, int]], memory: Memory) -> "Ledger":
        """Return the ledger after an epoch: `ClaimsState.advance`, with the new memory bound.

        Raises:
            InvalidInput: If an amount is negative, or a sum does not fit.
        """
        bound = None if memory.is_empty else memory.digest
        return Ledger(self.claims.advance(amounts, bound), memory)
