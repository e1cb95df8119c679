"""Who is registered: node key to operator and payee, from the chain's Registry or from a file.

An unknown node may have registered a moment ago, so the directory asks its source again when one shows up, but not more
often than its pause allows: unknown ids cost a sender nothing and must not cost us a call each.
"""

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from meridian.errors import InvalidInput, MeridianError
from meridian.measure.order import Integers
from meridian.measure.receipt import NodeOrder
from meridian.node.chain_view import ChainView
from meridian.node.durable_file import read_whole
from meridian.node.measure.node_numbers import NodeNumbers
from meridian.primitives.hashing import DIGEST_BYTES, ByteMatrix
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
    """The registrations as the service knows them; threads may share it, one of them asks for `places`."""

    def __init__(self, source: NodeSource) -> None:
        self._source = source
        self._nodes: dict[NodeKey, RegisteredNode] = {}
        self._numbers = NodeNumbers()  # of those that have a place; a number is the place
        self._keys = np.zeros((0, DIGEST_BYTES), dtype=np.uint8)
        self._gone: npt.NDArray[np.bool_] | None = None
        self._some_went = False
        self._order = NodeOrder.of(self._keys)
        self._ask_again_at_s = 0.0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._nodes)

    def find(self, node_id: str) -> RegisteredNode | None:
        """Return a node's registration, None if it is not known."""
        return self._nodes.get(node_key(node_id))

    def places(self, node_ids: pa.StringArray) -> Integers:
        """Return the place of each job's node, -1 where it is not registered; asks the source again for such if due."""
        places = self._known(node_ids)
        unknown = places < 0
        if unknown.any():
            names = pc.unique(node_ids.filter(pa.array(unknown))).to_pylist()
            if not self._learn(names):
                self.refresh_if_due()
                self._learn(names)
            places = self._known(node_ids)
        return places

    def _known(self, node_ids: pa.StringArray) -> Integers:
        places = self._numbers.known(node_ids)
        if self._some_went:
            self._some_went = False
            here = [key.tobytes() in self._nodes for key in self._keys]
            self._gone = None if all(here) else ~np.array(here, dtype=np.bool_)
        if self._gone is not None:
            places[(places >= 0) & self._gone[places]] = -1
        return places

    def _learn(self, node_ids: Sequence[str]) -> bool:
        """Give registered nodes their places, so their number is bounded by the registry; tell whether all are."""
        all_known = True
        more: list[bytes] = []
        for node_id in node_ids:
            key = node_key(node_id)
            if key not in self._nodes:
                all_known = False
            elif self._numbers.number(node_id) >= len(self._keys) + len(more):
                more.append(key)
        if more:
            rows = np.frombuffer(b"".join(more), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
            self._keys = np.concatenate([self._keys, rows])
            self._order = NodeOrder.of(self._keys)
            self._some_went = self._gone is not None
        return all_known

    @property
    def keys(self) -> ByteMatrix:
        """The node keys by place, shape (n, 32)."""
        return self._keys

    @property
    def order(self) -> NodeOrder:
        """The order of the node keys."""
        return self._order

    def refresh(self) -> None:
        """Ask the source now.

        Raises:
            MeridianError: If it cannot be read; what was known stays known.
        """
        with self._lock:
            try:
                nodes = dict(self._source.fetch())
            except MeridianError:
                self._ask_again_at_s = time.monotonic() + PAUSE_AFTER_FAULT_S
                raise
            went = bool(self._nodes.keys() - nodes.keys()) or self._gone is not None
            self._nodes = nodes
            self._some_went = self._some_went or went  # a place is never given to another node
            self._ask_again_at_s = time.monotonic() + PAUSE_S

    def refresh_if_due(self) -> None:
        """Ask the source if it was not asked just now; a fault leaves what is known."""
        if time.monotonic() >= self._ask_again_at_s:
            try:
                self.refresh()
            except MeridianError:
                return
