"""Epochs in memory, cut into shards of any size."""

from collections import Counter

from meridian.evaluate.function import EpochInput
from meridian.evaluate.jobs import NODE
from meridian.scale.shards import InMemory, ShardJobs, cut


def shards_of(epoch: EpochInput, rows_max: int, part_rows: int = 7) -> list[ShardJobs]:
    """Cut an epoch whose jobs are a table, stored in parts of a few rows."""
    table = epoch.jobs.drop_columns([NODE])
    parts = tuple(table.slice(at, part_rows) for at in range(0, table.num_rows, part_rows))
    counts = Counter(epoch.jobs.column(NODE).to_pylist())
    nodes = [
        (name, payee, counts[at])
        for at, (name, payee) in enumerate(zip(epoch.node_ids, epoch.payees, strict=True))
    ]
    reader = InMemory(parts)
    return [
        ShardJobs(epoch.epoch, shard, table.schema, reader, epoch.inputs)
        for shard in cut(nodes, [part.num_rows for part in parts], rows_max)
    ]
