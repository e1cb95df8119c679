"""Epochs for the tests: records or whole sources turned into the input of an evaluation, without the ingest."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from meridian.evaluate.function import EpochInput
from meridian.measure.epoch import Calendar
from meridian.measure.record import decode_ndjson
from meridian.measure.schema import NetworkSchema
from meridian.networks.definition import JobSource
from meridian.primitives.ids import Address, job_key, node_key

NO_INPUTS: Mapping[str, bytes] = {}


def payee(node_id: str) -> Address:
    return Address(node_key(node_id)[:20])


def input_of_table(
    table: pa.Table, epoch: int = 1, inputs: Mapping[str, bytes] = NO_INPUTS
) -> EpochInput:
    """Sort jobs as a segment is sorted, and number their nodes."""
    names = table.column("node_id").to_pylist()
    node_ids = sorted(set(names), key=node_key)
    position = {name: index for index, name in enumerate(node_ids)}
    nodes = np.array([position[name] for name in names], dtype=np.int64)
    keys = [job_key(job_id) for job_id in table.column("job_id").to_pylist()]
    order = sorted(range(len(names)), key=lambda row: (nodes[row], keys[row]))
    ordered = table.append_column("node", pa.array(nodes)).take(pa.array(order, pa.int64()))
    return EpochInput(
        epoch=epoch,
        node_ids=tuple(node_ids),
        node_keys=tuple(node_key(name) for name in node_ids),
        payees=tuple(payee(name) for name in node_ids),
        jobs=ordered,
        inputs=inputs,
    )


def input_of_jobs(
    jobs: Sequence[Mapping[str, Any]], types: Mapping[str, pa.DataType], **more: Any
) -> EpochInput:
    """Build an epoch from plain dicts: ``node_id``, ``job_id`` and fields."""
    schema = pa.schema({"node_id": pa.string(), "job_id": pa.string(), **types})
    return input_of_table(pa.Table.from_pylist([dict(job) for job in jobs], schema=schema), **more)


def tables_by_epoch(source: JobSource) -> dict[int, pa.Table]:
    """Decode all records of a source and place them; a rejected record is a failure of the test."""
    schema: NetworkSchema = source.definition.schema
    calendar = Calendar(source.genesis_s, source.epoch_seconds, source.first_epoch)
    parts = []
    for batch in source.batches():
        decoded = decode_ndjson(batch, schema)
        assert not decoded.rejections, decoded.rejections[:3]
        parts.append(decoded.table)
    table = pa.concat_tables(parts)
    assert table.num_rows == source.jobs
    epochs = calendar.epochs_of(table.column("ended_us").to_numpy())
    assert set(epochs.tolist()) <= set(source.epochs)
    return {epoch: table.filter(pa.array(epochs == epoch)) for epoch in source.epochs}


def first_records(source: JobSource, count: int) -> list[dict[str, Any]]:
    """Return the first records of a source as JSON objects."""
    lines = next(source.batches()).splitlines()[:count]
    return [json.loads(line) for line in lines]
