"""Who is registered: node key to operator and payee, from the chain's Registry or from a file.

An unknown node may have registered a moment ago, so the directory asks its source again when one shows up, but not more
often than its pause allows: unknown ids cost a sender nothing and must not cost us a call each.
"""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from meridian.errors import InvalidInput, MeridianError
from meridian.node.chain_view import ChainView
from meridian.node.durable_file import read_whole
from meridian.primitives.ids import Address, NodeKey, node_key, parse_address

PAUSE_S: Final = 0.5
"""Least time between two questions to the source."""

PAUSE_AFTER_FAULT_S: Final = 10.0

_OVERLAP_BLOCKS: Final = 32


@dataclass(frozen=True, slots=True)
class RegisteredNode:
    """A node's registration."""

    operator: Address
    payee: Address


class NodeSource(Protocol):
    """Where registrations come from."""

    def fetch(self) -> Mapping[NodeKey, RegisteredNode]:
        """Return all registrations known now; raises `MeridianError` if they cannot be read."""


class FileNodes:
    """Registrations from a JSON file: ``[{"node_id", "operator", "payee"}]``; for networks that run without a chain."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def fetch(self) -> Mapping[NodeKey, RegisteredNode]:
        """Return what the file says now."""
        try:
            entries = json.loads(read_whole(self._path))
            return {
                node_key(entry["node_id"]): RegisteredNode(
                    parse_address(entry["operator"]), parse_address(entry["payee"])
                )
                for entry in entries
            }
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput(str(self._path), f"not a list of nodes: {error}") from error


class ChainNodes:
    """Registrations from the Registry's events; a node that registered again has its latest payee."""

    def __init__(self, view: ChainView, from_block: int = 0) -> None:
        self._view = view
        self._next_block = from_block
        self._first_block = from_block
        self._known: dict[NodeKey, RegisteredNode] = {}

    def fetch(self) -> Mapping[NodeKey, RegisteredNode]:
        """Read what has been registered since the last time."""
        head = int(self._view.registry.rpc.call("eth_blockNumber"), 16)
        for key, node in self._view.nodes(self._next_block).items():
            self._known[key] = RegisteredNode(node.operator, node.payee)
        self._next_block = max(self._first_block, head - _OVERLAP_BLOCKS)
        return self._known


class NodeDirectory:
    """The registrations as the service knows them; threads may share it."""

    def __init__(self, source: NodeSource) -> None:
        self._source = source
        self._nodes: dict[NodeKey, RegisteredNode] = {}
        self._keys: dict[str, NodeKey] = {}
        self._ask_again_at_s = 0.0
        self._lock = threading.Lock()

    def __contains__(self, node_id: object) -> bool:
        return isinstance(node_id, str) and self.find(node_id) is not None

    def __len__(self) -> int:
        return len(self._nodes)

    def find(self, node_id: str) -> RegisteredNode | None:
        """Return a node's registration, None if it is not known."""
        key = self._keys.get(node_id)
        if key is not None:
            return self._nodes.get(key)
        key = node_key(node_id)
        node = self._nodes.get(key)
        if (
            node is not None
        ):  # only registered ids are kept, so their number is bounded by the registry
            self._keys[node_id] = key
        return node

    def refresh(self) -> None:
        """Ask the source now.

        Raises:
            MeridianError: If it cannot be read; what was known stays known.
        """
        with self._lock:
            try:
                self._nodes = dict(self._source.fetch())
            except MeridianError:
                self._ask_again_at_s = time.monotonic() + PAUSE_AFTER_FAULT_S
                raise
            self._ask_again_at_s = time.monotonic() + PAUSE_S

    def refresh_if_due(self) -> None:
        """Ask the source if it was not asked just now; a fault leaves what is known."""
        if time.monotonic() >= self._ask_again_at_s:
            try:
                self.refresh()
            except MeridianError:
                return
