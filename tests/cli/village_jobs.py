"""A few jobs of a village's nodes, as the columns of a published segment."""

import pyarrow as pa

from meridian.measure.columns import segment_columns
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import job_key, node_key
from meridian.scenario.jobs import SCHEMA

GENESIS_S = 1_760_000_000


def jobs_of(node_ids: tuple[str, ...], start_s: int = GENESIS_S + 10) -> pa.Table:
    """Three jobs of each node soon after an instant, in the order of a segment."""
    rows = [
        {
            "node_id": name,
            "job_id": f"{name}-{number}",
            "flags": 0,
            "started_us": (start_s + number) * 1_000_000,
            "ended_us": (start_s + number + 1) * 1_000_000,
            "batch_seed": sha256(name.encode()),
            "bytes_sent": 1000 + number,
        }
        for name in node_ids
        for number in range(3)
    ]
    rows.sort(key=lambda row: (node_key(str(row["node_id"])), job_key(str(row["job_id"]))))
    return pa.Table.from_pylist(rows, schema=segment_columns(SCHEMA))
