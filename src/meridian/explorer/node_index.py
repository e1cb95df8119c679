"""Who is who: the table of all nodes, and which nodes belong to an address. Pure.

The table is cut by node key, so that a page reads one small file; the files of addresses lead to node keys. A node whose
id is an address (0x, f410, any letter case) is found by it like one that is operated by it or pays to it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from meridian.errors import InvalidInput
from meridian.explorer.columns import Numbers, read_columns, write_columns
from meridian.explorer.node_history import shard_of, shards_for
from meridian.primitives.fil_address import parse_account
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.ids import ZERO_ADDRESS, Address, NodeKey, node_key

SHARD_ENTRIES: Final = 64
"""Nodes, or addresses, in one file, about."""


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A node that had jobs in some epoch."""

    id: str
    operator: Address
    """The zero address: it never registered."""
    payee: Address
    """Of its last epoch."""
    first_epoch: int
    last_epoch: int
    claimed: int = 0
    """Atto paid to it so far."""


NodeTable = dict[NodeKey, KnownNode]


def seen(table: NodeTable, epoch: int, ids: Iterable[str], payees: Iterable[Address]) -> None:
    """Put the nodes of an epoch into the table."""
    for name, payee in zip(ids, payees, strict=True):
        key = NodeKey(node_key(name))
        known = table.get(key)
        if known is None:
            table[key] = KnownNode(name, ZERO_ADDRESS, payee, epoch, epoch)
        elif epoch >= known.last_epoch:
            table[key] = replace(known, payee=payee, last_epoch=epoch)
        elif epoch < known.first_epoch:
            table[key] = replace(known, first_epoch=epoch)


def node_files(table: Mapping[NodeKey, KnownNode]) -> dict[int, bytes]:
    """Return the table, cut into files by node key; their number is `shards_for`."""
    shards = shards_for(len(table), SHARD_ENTRIES)
    keys = sorted(table)
    if not keys:
        return {}
    matrix = _matrix(keys, 32)
    places = shard_of(matrix, shards)
    cuts = np.searchsorted(places, np.arange(shards + 1)).tolist()
    files = {}
    for shard in range(shards):
        own = keys[cuts[shard] : cuts[shard + 1]]
        if own:
            files[shard] = _node_file(own, [table[key] for key in own])
    return files


def _node_file(keys: list[NodeKey], nodes: list[KnownNode]) -> bytes:
    return write_columns(
        {
            "key": _matrix(keys, 32),
            "id": tuple(node.id for node in nodes),
            "operator": _matrix([node.operator for node in nodes], 20),
            "payee": _matrix([node.payee for node in nodes], 20),
            "first_epoch": Numbers.of([node.first_epoch for node in nodes]),
            "last_epoch": Numbers.of([node.last_epoch for node in nodes]),
            "claimed": Numbers.of([node.claimed for node in nodes]),
        }
    )


def read_nodes(data: bytes) -> NodeTable:
    """Read one file of the table."""
    table = read_columns(data)
    numbers = [table.numbers(name).values() for name in ("first_epoch", "last_epoch", "claimed")]
    rows = zip(
        table.fixed("key"),
        table.texts("id"),
        table.fixed("operator"),
        table.fixed("payee"),
        *numbers,
        strict=True,
    )
    return {
        NodeKey(key.tobytes()): KnownNode(
            name, Address(operator.tobytes()), Address(payee.tobytes()), first, last, claimed
        )
        for key, name, operator, payee, first, last, claimed in rows
    }


def addresses_of(node: KnownNode) -> set[Address]:
    """Return the addresses by which a node is found."""
    found = {node.operator, node.payee} - {ZERO_ADDRESS}
    try:
        lowered = node.id.lower()
        found.add(parse_account(lowered))
    except InvalidInput:
        pass  # an id like any other
    return found


def address_files(table: Mapping[NodeKey, KnownNode]) -> tuple[int, dict[int, bytes]]:
    """Return the number of shards, and files of addresses, ascending, with the nodes of each."""
    pairs = sorted((address, key) for key, node in table.items() for address in addresses_of(node))
    if not pairs:
        return 1, {}
    shards = shards_for(len(pairs), SHARD_ENTRIES)
    matrix = _matrix([address for address, _ in pairs], 20)
    cuts = np.searchsorted(shard_of(matrix, shards), np.arange(shards + 1)).tolist()
    files = {}
    for shard in range(shards):
        own = pairs[cuts[shard] : cuts[shard + 1]]
        if own:
            files[shard] = write_columns(
                {
                    "address": _matrix([address for address, _ in own], 20),
                    "key": _matrix([key for _, key in own], 32),
                }
            )
    return shards, files


def _matrix(parts: Iterable[bytes], width: int) -> ByteMatrix:
    return np.frombuffer(b"".join(parts), dtype=np.uint8).reshape(-1, width)
