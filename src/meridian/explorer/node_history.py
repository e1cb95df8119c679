"""The history of nodes over epochs: chunks of 128 epochs, each cut into shards of few nodes. Pure.

A new epoch touches the files of one chunk. How many shards a chunk has is its own matter, so that a network may grow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from meridian.explorer.columns import Numbers, joined, read_columns, write_columns
from meridian.primitives.hashing import ByteMatrix

CHUNK: Final = 128
"""Epochs in one chunk."""
SHARD_NODES: Final = 16
"""Nodes of a shard, about, when a chunk is made; at four times as many it is cut anew."""
SHARDS_MAX: Final = 1 << 14
NAMES: Final = ("epoch", "jobs", "counted", "weight", "amount", "cumulative")


def shard_of(keys: ByteMatrix, shards: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the shard of each key: its first 16 bits, of which the upper ones count."""
    head = keys[:, 0].astype(np.int64) << 8 | keys[:, 1]
    return head * shards >> 16


def shards_for(nodes: int, nodes_each: int = SHARD_NODES) -> int:
    """Return a number of shards for so many nodes, a power of two."""
    wanted = max(1, -(-nodes // nodes_each))
    return min(SHARDS_MAX, 1 << (wanted - 1).bit_length())


@dataclass(frozen=True, slots=True)
class HistoryRows:
    """Rows of any nodes and epochs."""

    keys: ByteMatrix
    columns: Mapping[str, Numbers]
    """Each of `NAMES`."""

    def __len__(self) -> int:
        return len(self.keys)

    def where(self, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> "HistoryRows":
        """Return some of the rows."""
        return HistoryRows(
            self.keys[mask], {name: one.take(mask) for name, one in self.columns.items()}
        )


def merged_rows(parts: list[HistoryRows]) -> HistoryRows:
    """Return all rows together."""
    return HistoryRows(
        np.concatenate([part.keys for part in parts]),
        {name: joined([part.columns[name] for part in parts]) for name in NAMES},
    )


def shard_file(rows: HistoryRows) -> bytes:
    """Return a shard: its nodes' keys, ascending, where each one's rows end, and the rows by node and epoch."""
    key_words = np.ascontiguousarray(rows.keys).view(">u8").reshape(len(rows), 4)
    order = np.lexsort((rows.columns["epoch"].low, *(key_words[:, at] for at in (3, 2, 1, 0))))
    keys = rows.keys[order]
    is_last = np.ones(len(keys), dtype=np.bool_)
    if len(keys) > 1:
        is_last[:-1] = (keys[1:] != keys[:-1]).any(axis=1)
    ends = np.flatnonzero(is_last) + 1
    columns = {name: rows.columns[name].take(order) for name in NAMES}
    return write_columns({"key": keys[is_last], "end": Numbers.array(ends), **columns})


def read_shard(data: bytes) -> HistoryRows:
    """Read a shard."""
    table = read_columns(data)
    ends = table.numbers("end").low.astype(np.int64)
    keys = np.repeat(table.fixed("key"), np.diff(ends, prepend=0), axis=0)
    return HistoryRows(keys, {name: table.numbers(name) for name in NAMES})


def updated_chunk(
    before: Mapping[int, bytes], shards: int, new: HistoryRows
) -> tuple[int, dict[int, bytes]]:
    """Put rows into a chunk; they replace all rows of the same epochs.

    Args:
        before: The chunk's files by shard.
        shards: Their number; 0: the chunk is new.
        new: The rows, of this chunk's epochs.

    Returns:
        The number of shards, and all files.
    """
    epochs = np.unique(new.columns["epoch"].low)
    kept = []
    for data in before.values():
        rows = read_shard(data)
        kept.append(rows.where(~np.isin(rows.columns["epoch"].low, epochs)))
    rows = merged_rows([*kept, new])
    nodes = len(np.unique(np.ascontiguousarray(rows.keys).view("V32"))) if len(rows) else 0
    if shards == 0 or nodes > 4 * SHARD_NODES * shards:
        shards = shards_for(nodes)
    places = shard_of(rows.keys, shards)
    order = np.argsort(places, kind="stable")
    cuts = np.searchsorted(places[order], np.arange(shards + 1))
    files = {}
    for shard in range(shards):
        chosen = order[cuts[shard] : cuts[shard + 1]]
        if len(chosen):
            part = HistoryRows(
                rows.keys[chosen], {name: one.take(chosen) for name, one in rows.columns.items()}
            )
            files[shard] = shard_file(part)
    return shards, files
