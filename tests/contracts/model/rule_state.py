"""What all rule modules share: refusals, events, money, and accounts that do something when they are paid.

The model says for every call whether it succeeds, which reason it gives, and the new state. It is written from the
plan and the documentation of the contracts, in plain dictionaries and numbers: no packed words, no running sums.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, TypeVar

from meridian.errors import InvalidInput
from meridian.primitives.ids import Address
from meridian.primitives.keys import recover

U64_END = 1 << 64
U96_END = 1 << 96
NOBODY = Address(bytes(20))
NO_DIGEST = bytes(32)

S = TypeVar("S")


class Refusal(Exception):
    """The model's word that a call reverts, with this reason; empty where the machine itself stops."""


def must(condition: object, reason: str) -> None:
    """Refuse the call with `reason` unless the condition holds."""
    if not condition:
        raise Refusal(reason)


@dataclass(frozen=True, slots=True)
class Transaction:
    """Who calls, and what it sends along."""

    sender: Address
    value: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """An event."""

    name: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an accepted call returns and tells."""

    value: Any
    events: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class Refuses:
    """An account that takes no money; if `greedy` it burns all gas that it was given."""

    greedy: bool = False


@dataclass(frozen=True, slots=True)
class Reenters:
    """An account that makes one call when it is paid, and takes the money whatever comes of it."""

    contract: str
    function: str
    args: tuple[Any, ...]


Behaviour = Refuses | Reenters


@dataclass
class MoneyState:
    """Balances of everybody, contracts included, and the accounts that are not plain ones."""

    balances: dict[Address, int] = field(default_factory=dict)
    behaviours: dict[Address, Behaviour] = field(default_factory=dict)


def copied(state: S) -> S:
    """A state that no later change of this one reaches; the values inside are immutable."""
    return type(state)(**{f.name: copy.copy(getattr(state, f.name)) for f in fields(state)})


@lru_cache(maxsize=4096)
def signer_of(digest: bytes, r: int, vs: int) -> Address:
    """Who signed a digest; nobody (the zero address) if these two words are no signature."""
    try:
        return recover(digest, r.to_bytes(32, "big") + vs.to_bytes(32, "big"))
    except InvalidInput:
        return NOBODY
