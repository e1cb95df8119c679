"""The seed's two example networks, records for them, and whole epochs made from records."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from meridian.measure.columns import segment_columns, write_segment
from meridian.measure.commitment import EpochCommitment, commit_epoch
from meridian.measure.manifest import Manifest, SegmentRef
from meridian.measure.order import sort_order
from meridian.measure.record import Decoded, decode_ndjson
from meridian.measure.row import job_keys
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import Address, network_id, node_key
from meridian.primitives.sumtree import LaneKind

SATURN = NetworkSchema(
    id=1,
    name="saturn",
    evaluation_fields=(
        Field.integer("num_bytes_sent"),
        Field.decimal("request_duration_sec", 9),
        Field.integer("ttfb_ms", nullable=True),
    ),
    additional_fields=(
        Field.integer("status code", minimum=100, maximum=599),
        Field.boolean("cache_hit"),
        Field.string("client", 16, required=False, nullable=True),
    ),
    lanes=Lanes(LaneKind.PAIR_U64, ("num_bytes_sent", "request_duration_sec")),
)

SPARK = NetworkSchema(
    id=2,
    name="spark",
    evaluation_fields=(Field.integer("status code"), Field.string("signature_chain", 256)),
    additional_fields=(
        Field.integer("num_bytes"),
        Field.integer("ttfb_ms", minimum=-(2**63), nullable=True),
    ),
    lanes=Lanes(LaneKind.U128, ("num_bytes",)),
)

# As the seed prints them; only its trailing commas and "..." are gone.
SEED_SATURN = b"""{"job_id": "abcdef", "peer_id": "<Libp2p Peer ID>",
 "started_at": "2023-05-01 00:52:57.62+00", "ended_at": "2023-05-01 00:52:58.62+00",
 "evaluation_fields": [
  {"name": "num_bytes_sent", "type": "int", "value": 240},
  {"name": "request_duration_sec", "type": "in", "value": 10},
  {"name": "ttfb_ms", "type": "integer", "value": 35}],
 "additional_fields": [
  {"name": "status code", "type": "integer", "value": 200},
  {"name": "cache_hit", "type": "boolean", "value": true}]}"""

SEED_SPARK = b"""{"job_id": "abcdef", "peer_id": "<Libp2p Peer ID>",
 "started_at": "2023-05-01 00:52:57.62+00", "ended_at": "2023-05-01 00:52:58.62+00",
 "evaluation_fields": [
  {"name": "status code", "type": "integer", "value": 200},
  {"name": "signature_chain", "type": "string", "value": "<signature chain>"}],
 "additional_fields": [
  {"name": "num_bytes", "type": "integer", "value": 200},
  {"name": "ttfb_ms", "type": "integer", "value": 45}]}"""


def saturn_record(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A Saturn record in the schema's order; `changes` replaces top-level keys."""
    return {
        "job_id": f"job-{number}",
        "peer_id": f"node-{number % 5}",
        "started_at": "2023-05-01 00:52:57.62+00",
        "ended_at": "2023-05-01T00:52:58.62Z",
        "evaluation_fields": [
            {"name": "num_bytes_sent", "type": "int", "value": number},
            {"name": "request_duration_sec", "type": "decimal", "value": 0.25},
            {"name": "ttfb_ms", "type": "integer", "value": None if number % 4 == 0 else number},
        ],
        "additional_fields": [
            {"name": "status code", "type": "integer", "value": 200},
            {"name": "cache_hit", "type": "boolean", "value": number % 2 == 0},
            {
                "name": "client",
                "type": "string",
                "value": None if number % 3 == 0 else f"c{number}",
            },
        ],
    } | changes


def lines(*records: Mapping[str, Any] | bytes | str) -> bytes:
    texts = []
    for one in records:
        if isinstance(one, bytes):
            texts.append(one.replace(b"\n", b" "))
        else:
            texts.append((one if isinstance(one, str) else json.dumps(one)).encode())
    return b"\n".join(texts) + b"\n"


def payee(node_id: str) -> Address:
    return Address(node_key(node_id)[:20])


def segment_table(decoded: Decoded, schema: NetworkSchema, seed: bytes = bytes(32)) -> pa.Table:
    """Decoded jobs as a segment's table, in order."""
    table, count = decoded.table, decoded.table.num_rows
    table = table.append_column("flags", pa.array(np.zeros(count, dtype=np.uint16)))
    table = table.append_column("batch_seed", pa.array([seed] * count, pa.binary(32)))
    columns = segment_columns(schema)
    table = table.select(columns.names).cast(columns)
    return table.take(sort_order(table.column("node_id"), job_keys(table.column("job_id"))))


@dataclass
class Published:
    """A published epoch and its artefacts."""

    schema: NetworkSchema
    commitment: EpochCommitment
    manifest: Manifest
    store: dict[bytes, bytes]

    def fetch(self, digest: bytes) -> bytes:
        return self.store[digest]


def publish(
    schema: NetworkSchema, records: Sequence[Mapping[str, Any]], epoch: int = 3, rows_max: int = 40
) -> Published:
    """Commit and publish records as an aggregator does, in small segments."""
    columns = segment_columns(schema)
    table = (
        segment_table(decode_ndjson(lines(*records), schema), schema)
        if records
        else columns.empty_table()
    )
    names = set(table.column("node_id").to_pylist())
    commitment = commit_epoch(schema, epoch, table, {name: payee(name) for name in names})
    store: dict[bytes, bytes] = {}

    def put(data: bytes) -> bytes:
        store[digest_of(data)] = data
        return digest_of(data)

    segments = []
    for start in range(0, table.num_rows, rows_max):
        part = table.slice(start, rows_max)
        data = write_segment(part)
        segments.append(SegmentRef(put(data), part.num_rows, len(data)))
    manifest = Manifest(
        network=schema.name,
        network_id=network_id(schema.name),
        epoch=epoch,
        aggregator=Address(b"\xaa" * 20),
        schema=put(schema.encode()),
        segments=tuple(segments),
        nodes=put(commitment.nodes.encode()),
        inputs=(),
        root=commitment.root,
        n_nodes=commitment.n_nodes,
        annotation=commitment.annotation,
        late=0,
        duplicates=0,
    )
    put(manifest.encode())
    return Published(schema, commitment, manifest, store)
