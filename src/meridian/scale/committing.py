"""An epoch's trees and root made shard by shard: map to node rows, reduce to the tree over them.

Law: the commitment is that of `commit_epoch` on all jobs, whatever the shards. A node's tree stands alone, and a shard
holds whole nodes; so a shard's part are its node rows, 116 bytes a node, and counts that add up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np

from meridian.errors import InvalidInput
from meridian.measure.columns import column_values
from meridian.measure.commitment import EpochCommitment, Problem, committed_root, node_tree
from meridian.measure.epoch import LATE_FLAG, Calendar
from meridian.measure.epoch_builder import EpochBuilder
from meridian.measure.manifest import NODE_ROW_BYTES, Manifest, Nodes
from meridian.measure.row import rebuild_rows
from meridian.measure.schema import NetworkSchema
from meridian.primitives import hashing
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.sumtree import HASH_BYTES
from meridian.scale.shards import ShardJobs
from meridian.scale.tasks import Items, Pool

PIECE_ROWS: Final = 62_500
"""Jobs whose rows are made at a time."""


@dataclass(frozen=True, slots=True)
class ShardCommitment:
    """What comes back of a shard."""

    ids: tuple[str, ...]
    rows: bytes
    """Its node rows, one behind the other."""
    late: int
    """Jobs that are marked late."""
    strange: int
    """Jobs that do not belong to the epoch."""
    unknown_flags: bool
    """Whether a job has a flag that nobody knows."""

    @property
    def nodes(self) -> Nodes:
        """The node rows with their ids."""
        return Nodes(self.ids, _matrix(self.rows))


def commit_shard(
    schema: NetworkSchema, calendar: Calendar | None, jobs: ShardJobs
) -> ShardCommitment:
    """Make the trees of a shard's nodes.

    Args:
        schema: The network's schema.
        calendar: If given, jobs that do not belong to the epoch are counted.
        jobs: The shard.

    Raises:
        InvalidInput: If the jobs are not those of its nodes, or not in order, or a sum overflows.
    """
    shard = jobs.shard
    hashing.bulk(
        shard.rows
    )  # no piece is large enough to load the kernels for, but all of them are
    builder = EpochBuilder(schema, jobs.epoch)
    late = strange = 0
    unknown = False
    for at in range(len(shard.pieces)):
        table = jobs.table(at)
        flags = column_values(table, "flags")
        is_late = (flags & LATE_FLAG) != 0
        late += int(is_late.sum())
        unknown |= bool((flags & ~np.uint16(LATE_FLAG)).any())
        if calendar is not None:
            own = calendar.epochs_of(column_values(table, "ended_us"))
            strange += int(np.where(is_late, own >= jobs.epoch, own != jobs.epoch).sum())
        for start in range(0, table.num_rows, PIECE_ROWS):
            part = table.slice(start, PIECE_ROWS)
            builder.add(part.column("node_id"), rebuild_rows(schema, part))
    made = builder.finish(dict(zip(shard.ids, shard.payees, strict=True))).nodes
    inside = [(name, count) for name, count in zip(shard.ids, shard.counts, strict=True) if count]
    if list(zip(made.ids, made.job_counts, strict=True)) != inside:
        raise InvalidInput(
            "nodes", f"the jobs from node {shard.first} on are not those of its nodes"
        )
    return ShardCommitment(made.ids, made.rows.tobytes(), late, strange, unknown)


def joined_commitment(
    schema: NetworkSchema, epoch: int, parts: Sequence[ShardCommitment]
) -> EpochCommitment:
    """Return the commitment of all shards, from those of each in order.

    Raises:
        InvalidInput: If the nodes do not ascend, or the sum of all nodes overflows.
    """
    nodes = Nodes(
        tuple(name for part in parts for name in part.ids),
        _matrix(b"".join(part.rows for part in parts)),
    )
    if any(a >= b for a, b in pairwise(nodes.keys)):
        raise InvalidInput("node_id", "nodes are not sorted by node key, each once")
    top = node_tree(nodes.rows, schema.lanes.kind).root
    root = committed_root(epoch, len(nodes.ids), top)
    return EpochCommitment(epoch, root, top[HASH_BYTES:], nodes)


def commit_sharded(
    schema: NetworkSchema,
    shards: Items[ShardJobs],
    pool: Pool,
    calendar: Calendar | None = None,
    done: Callable[[int], None] = lambda _: None,
) -> tuple[EpochCommitment, list[ShardCommitment]]:
    """Commit to an epoch; returns also the parts, whose counts `problems` compares.

    Args:
        schema: The network's schema.
        shards: All shards of the epoch, in order.
        pool: Where tasks run.
        calendar: As of `commit_shard`.
        done: Told how many shards are finished.

    Raises:
        InvalidInput: As `commit_shard` and `joined_commitment`.
        RemoteFault: If workers are lost again and again.
    """
    parts = pool.map(partial(commit_shard, schema, calendar), shards, done)
    return joined_commitment(schema, shards[0].epoch, parts), parts


def problems(
    manifest: Manifest, nodes: Nodes, made: EpochCommitment, parts: Sequence[ShardCommitment]
) -> list[Problem]:
    """Return what is wrong with a published epoch; nothing if its jobs give exactly what was committed.

    Args:
        manifest: What the aggregator says.
        nodes: The nodes that it published.
        made: The commitment to the published jobs.
        parts: Of every shard.
    """
    found = []
    if made.nodes.ids != nodes.ids:
        return [Problem("nodes", "they are not the nodes of the jobs, sorted by node key")]
    wrong = np.flatnonzero((made.nodes.rows != nodes.rows).any(axis=1))
    if len(wrong):
        name, others = nodes.ids[int(wrong[0])], len(wrong) - 1
        reason = f"the row of {name!r} and of {others} others is not that of its jobs"
        found.append(Problem("nodes", reason))
    late, strange = sum(part.late for part in parts), sum(part.strange for part in parts)
    said = (
        ("manifest", "n_nodes", manifest.n_nodes, made.n_nodes),
        ("root", "annotation", manifest.annotation, made.annotation),
        ("root", "root", manifest.root, made.root),
    )
    found += [
        Problem(link, f"{name} is not that of the nodes") for link, name, a, b in said if a != b
    ]
    if any(part.unknown_flags for part in parts):
        found.append(Problem("jobs", "flags hold unknown bits"))
    if late != manifest.late:
        found.append(Problem("manifest", f"{late} jobs are late, not {manifest.late}"))
    if strange:
        found.append(Problem("jobs", f"{strange} jobs do not belong to epoch {manifest.epoch}"))
    return found


def _matrix(rows: bytes) -> ByteMatrix:
    return np.frombuffer(rows, dtype=np.uint8).reshape(-1, NODE_ROW_BYTES)
