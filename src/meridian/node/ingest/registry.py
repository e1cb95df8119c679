"""Which nodes may have jobs, and who is paid for them: what the Registry on chain says."""

import logging
import threading
import time
from collections.abc import Iterable
from typing import Final, Protocol

from meridian.errors import RemoteFault
from meridian.node.chain.rpc import ChainClient
from meridian.node.chain_view import ChainView
from meridian.primitives.ids import Address, NodeKey, node_key

COOL_DOWN_S: Final = 1.0
"""The chain is asked at most this often because of unknown nodes, however many there are."""

_log = logging.getLogger(__name__)


class NodeRegistry(Protocol):
    """Gives the payees of registered nodes."""

    def payees(self, node_ids: Iterable[str]) -> dict[str, Address]:
        """Return the payee of each of these nodes that is registered; the others are missing."""

    def refresh(self) -> None:
        """Learn what is registered now.

        Raises:
            RemoteFault: If that cannot be known.
        """


class ChainRegistry:
    """The registrations on chain; any threads."""

    def __init__(self, client: ChainClient, view: ChainView, from_block: int) -> None:
        self._client, self._view = client, view
        self._next_block = from_block
        self._payees: dict[NodeKey, Address] = {}
        self._lock = threading.Lock()
        self._asked_at_s = -COOL_DOWN_S

    def payees(self, node_ids: Iterable[str]) -> dict[str, Address]:
        """Return the payees of those that are registered; for unknown ones the chain is asked, at most once a second."""
        keys = {name: node_key(name) for name in node_ids}
        if any(key not in self._payees for key in keys.values()):
            self._look_again()
        known = self._payees
        return {name: known[key] for name, key in keys.items() if key in known}

    def _look_again(self) -> None:
        with self._lock:
            if time.monotonic() < self._asked_at_s + COOL_DOWN_S:
                return
            self._asked_at_s = time.monotonic()
        try:
            self.refresh()
        except RemoteFault as fault:
            _log.warning("registrations cannot be read: %s", fault)

    def refresh(self) -> None:
        """Read the registrations of the blocks since the last time.

        Raises:
            RemoteFault: If the chain cannot be reached.
        """
        with self._lock:
            head = int(self._client.call("eth_blockNumber"), 16)
            fresh = {
                key: node.payee for key, node in self._view.nodes(self._next_block).items()
            }
            if fresh.items() - self._payees.items():
                self._payees = self._payees | fresh
            self._next_block = max(self._next_block, head)  # the head's own events are read again
