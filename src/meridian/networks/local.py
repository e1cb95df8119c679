"""A source's jobs as the inputs of evaluations, without ingest, commitment or chain: for trying a function out."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.evaluate.function import EpochInput
from meridian.measure.epoch import Calendar
from meridian.measure.record import decode_ndjson
from meridian.networks.definition import JobSource
from meridian.primitives.ids import Address, job_key, node_key

NOBODY = Address(bytes(20))
"""The payee of a node that names none."""


def epoch_inputs(source: JobSource) -> tuple[list[EpochInput], list[str]]:
    """Return the source's epochs that have jobs, and the reasons of the records that were refused.

    Raises:
        InvalidInput: If no record is acceptable.
    """
    calendar = Calendar(source.genesis_s, source.epoch_seconds, source.first_epoch)
    tables, refused = [], []
    for batch in source.batches():
        decoded = decode_ndjson(batch, source.definition.schema)
        refused += [str(rejection) for rejection in decoded.rejections]
        tables.append(decoded.table)
    jobs = pa.concat_tables(tables)
    if jobs.num_rows == 0:
        raise InvalidInput("jobs", f"not one of {len(refused)} records is acceptable")
    epochs = calendar.epochs_of(jobs.column("ended_us").to_numpy())
    inputs = [
        _input(source, epoch, jobs.filter(pa.array(epochs == epoch)))
        for epoch in sorted(set(epochs.tolist()))
    ]
    return inputs, refused


def _input(source: JobSource, epoch: int, jobs: pa.Table) -> EpochInput:
    """Sort an epoch's jobs as a segment is sorted, and number their nodes."""
    names = jobs.column("node_id").to_pylist()
    ids = sorted(set(names), key=node_key)
    position = {name: index for index, name in enumerate(ids)}
    nodes = np.array([position[name] for name in names], dtype=np.int64)
    keys = [job_key(job) for job in jobs.column("job_id").to_pylist()]
    order = sorted(range(len(names)), key=lambda row: (nodes[row], keys[row]))
    return EpochInput(
        epoch=epoch,
        node_ids=tuple(ids),
        node_keys=tuple(node_key(name) for name in ids),
        payees=tuple(source.nodes.get(name) or NOBODY for name in ids),
        jobs=jobs.append_column("node", pa.array(nodes)).take(pa.array(order, pa.int64())),
        inputs=source.inputs.get(epoch, {}),
    )


def scrambled(epoch: EpochInput, seed: int) -> tuple[EpochInput, list[int]]:
    """Return an epoch with its jobs in another order, and the place that each row had before."""
    order = np.random.default_rng(seed).permutation(epoch.jobs.num_rows)
    table = pa.Table.from_batches(epoch.jobs.to_batches(), schema=epoch.jobs.schema)
    jobs = table.take(pa.array(order, pa.int64()))
    return replace(epoch, jobs=jobs), order.tolist()
