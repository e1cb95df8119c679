"""What an epoch leaves to the next one besides claims: who was reliable, what is owed, what stands as collateral.

The memory is chained from report to report exactly like the claims, and bound by the same reward root: its digest is the
key of one leaf of the claim tree, with a payee that nobody is and the amount 0. So a quorum signs it, everybody can
recompute it, and no contract needs to know of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Self

from meridian.errors import InvalidInput
from meridian.evaluate.reliability import Standing
from meridian.primitives import dagcbor
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import Address, NodeKey

VERSION: Final = 1
_ATTO_BYTES: Final = 16
_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Account:
    """What is remembered of a node's money, atto."""

    earned: int = 0
    """All its shares so far, whether paid, owed or standing as collateral."""
    epochs: int = 0
    """In how many epochs it had a share."""
    last_epoch: int = 0
    """The last of them."""
    collateral: int = 0
    """Withheld until a penalty, or until it is given back."""
    owed: int = 0
    """To be paid from what an epoch's budget leaves over."""
    is_penalised: bool = False
    """A flag costs its penalty once."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory after some report; immutable, the next report's is a new one."""

    standings: Mapping[Address, Standing] = field(default_factory=lambda: _NOTHING)
    """Of evaluators."""
    accounts: Mapping[NodeKey, Account] = field(default_factory=lambda: _NOTHING)
    measured: int = 0
    """All that was measured so far, in the unit of the growth rule."""
    released: int = 0
    """Atto of the growth pool that were released so far."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to remember, so that nothing needs to be bound."""
        return self == Memory()

    def encode(self) -> bytes:
        """Return the artefact (DAG-CBOR); amounts are big-endian u128."""
        return dagcbor.encode(
            {
                "v": VERSION,
                "standings": [
                    [address, standing.agreed, standing.differed]
                    for address, standing in sorted(self.standings.items())
                ],
                "accounts": [
                    [
                        key,
                        _atto(account.earned),
                        account.epochs,
                        account.last_epoch,
                        _atto(account.collateral),
                        _atto(account.owed),
                        account.is_penalised,
                    ]
                    for key, account in sorted(self.accounts.items())
                ],
                "measured": _atto(self.measured),
                "released": _atto(self.released),
            }
        )

    @property
    def digest(self) -> bytes:
        """The content address of the artefact."""
        return digest_of(self.encode())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the artefact.

        Raises:
            InvalidInput: If it is not exactly what `encode` writes.
        """
        value = dagcbor.decode(data)
        try:
            memory = cls._read(value)
            same = memory.encode() == data
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InvalidInput("memory", f"it lacks or misuses {error}") from error
        if not same:
            raise InvalidInput("memory", f"it is not a memory of version {VERSION}")
        return memory

    @classmethod
    def _read(cls, value: dict[str, Any]) -> Self:
        return cls(
            standings={
                Address(_bytes(address, 20)): Standing(_count(agreed), _count(differed))
                for address, agreed, differed in value["standings"]
            },
            accounts={
                NodeKey(_bytes(key, 32)): Account(
                    earned=_from_atto(earned),
                    epochs=_count(epochs),
                    last_epoch=_count(last_epoch),
                    collateral=_from_atto(collateral),
                    owed=_from_atto(owed),
                    is_penalised=penalised is True,
                )
                for key, earned, epochs, last_epoch, collateral, owed, penalised in value[
                    "accounts"
                ]
            },
            measured=_from_atto(value["measured"]),
            released=_from_atto(value["released"]),
        )


def _atto(amount: int) -> bytes:
    return amount.to_bytes(_ATTO_BYTES, "big")


def _from_atto(data: Any) -> int:
    return int.from_bytes(_bytes(data, _ATTO_BYTES), "big")


def _bytes(data: Any, width: int) -> bytes:
    if not isinstance(data, bytes) or len(data) != width:
        raise TypeError(f"{width} bytes")
    return data


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("a count")
    return value
