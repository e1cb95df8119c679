"""What endpoints say about a raw transaction: there are no codes that all of them use, only their words."""

from collections.abc import Sequence
from typing import Final

from meridian.node.chain.rpc import RpcError

_KNOWN: Final = (
    "already known",
    "already imported",
    "known transaction",
    "already exists",
    "already in mpool",
)
_FULL: Final = ("txpool is full", "mempool is full", "pool is full")


def says_known(error: RpcError) -> bool:
    """Tell whether the endpoint has the transaction already, which is what its sender wants."""
    return _says(error, _KNOWN)


def says_full(error: RpcError) -> bool:
    """Tell whether the endpoint's pool has no room at the moment."""
    return _says(error, _FULL)


def _says(error: RpcError, phrases: Sequence[str]) -> bool:
    text = error.message.lower()
    return any(phrase in text for phrase in phrases)
