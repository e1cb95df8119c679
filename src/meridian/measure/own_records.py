"""A node's own records of an epoch: what it would commit to by itself, and how they differ from what was committed.

The first step is the node's: its records of the epoch, each job once, as a segment (`own_segment`), whose tree gives the
root and the sums that `own_jobs` states. The second step, `second_step`, compares sums; where they differ, `compare_jobs`
says which jobs do: not counted, counted but unknown here, or counted with other values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from meridian.errors import InvalidInput
from meridian.measure.columns import column_values, one_chunk, segment_columns
from meridian.measure.epoch import Calendar
from meridian.measure.order import same_as_previous, sort_order
from meridian.measure.row import job_keys
from meridian.measure.schema import NetworkSchema
from meridian.primitives.hashing import DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class OwnRecords:
    """A node's records of one epoch, each job once, in the order of a segment."""

    table: pa.Table
    """The columns of `columns.job_columns`."""
    others: int
    """Records of other nodes or epochs, which are left out."""
    repeated: int
    """Records of a job that stands before; the first one counts."""


def own_records(
    tables: Sequence[pa.Table], calendar: Calendar, epoch: int, node_id: str
) -> OwnRecords:
    """Return a node's records of an epoch from many.

    Args:
        tables: Decoded records, the columns of `columns.job_columns` (others are dropped), in the order of time.
        calendar: The network's epochs.
        epoch: A record belongs to it if its job ended in it.
        node_id: The node.
    """
    parts, others = [], 0
    for table in tables:
        mine = np.asarray(pc.equal(table.column("node_id"), node_id).to_numpy())
        mine &= calendar.epochs_of(column_values(table, "ended_us")) == epoch
        others += table.num_rows - int(mine.sum())
        parts.append(table.filter(pa.array(mine)))
    if not parts:
        raise InvalidInput("records", "there are none")
    whole = pa.concat_tables(parts)
    if "index" in whole.column_names:
        whole = whole.drop_columns(["index"])
    keys = job_keys(whole.column("job_id"))
    order = sort_order(whole.column("node_id"), keys)
    whole, keys = whole.take(order), keys[order]
    again = same_as_previous(whole.column("node_id"), keys)
    return OwnRecords(whole.filter(pa.array(~again)), others, int(again.sum()))


def own_segment(
    records: OwnRecords, schema: NetworkSchema, seeds: Mapping[str, bytes], other_seed: bytes
) -> pa.Table:
    """Return the segment of a node's own records, `columns.segment_columns`.

    Args:
        records: The node's records.
        schema: The network's.
        seeds: Job id -> the seed of the batch in which it was promised, so that its row is the promised one.
        other_seed: The seed of all other jobs.
    """
    table = records.table
    ids = one_chunk(table.column("job_id"))
    known = pc.index_in(ids, pa.array(list(seeds), pa.string()))
    places = np.asarray(pc.fill_null(known, len(seeds)).to_numpy(zero_copy_only=False))
    values = pa.array([*seeds.values(), other_seed], pa.binary(DIGEST_BYTES))
    table = table.append_column("flags", pa.array(np.zeros(table.num_rows, dtype=np.uint16)))
    table = table.append_column("batch_seed", values.take(pa.array(places)))
    columns = segment_columns(schema)
    return table.select(columns.names).cast(columns)


@dataclass(frozen=True, slots=True)
class JobDifferences:
    """How a node's own jobs differ from the committed ones; positions count in the two tables."""

    not_counted: npt.NDArray[np.int64]
    """Own jobs that are not committed."""
    unknown: npt.NDArray[np.int64]
    """Committed jobs that are not among the own."""
    altered: npt.NDArray[np.int64]
    """Own jobs that are committed with other values."""
    altered_as: npt.NDArray[np.int64]
    """Where each of those stands among the committed."""
    columns: dict[str, npt.NDArray[np.int64]]
    """Column -> own jobs that are committed with another value in it."""

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not (len(self.not_counted) or len(self.unknown) or len(self.altered))


def compare_jobs(own: pa.Table, committed: pa.Table, schema: NetworkSchema) -> JobDifferences:
    """Compare a node's own jobs with the committed ones, by job id and every value of a record.

    Args:
        own: Has the columns of `columns.job_columns`; each job id once.
        committed: The same.
        schema: The network's.
    """
    own_ids, ids = (one_chunk(table.column("job_id")) for table in (own, committed))
    found = pc.index_in(own_ids, ids)
    present = np.asarray(pc.is_valid(found).to_numpy(zero_copy_only=False))
    back = pc.index_in(ids, own_ids)
    both = np.flatnonzero(present)
    there = np.asarray(pc.drop_null(found).to_numpy(zero_copy_only=False)).astype(np.int64)
    mine, theirs = own.take(pa.array(both)), committed.take(pa.array(there))
    columns, altered = {}, np.zeros(len(both), dtype=np.bool_)
    for name in ("started_us", "ended_us", *(item.name for item in schema.fields)):
        differs = _differs(one_chunk(mine.column(name)), one_chunk(theirs.column(name)))
        if differs.any():
            columns[name] = both[differs]
            altered |= differs
    return JobDifferences(
        not_counted=np.flatnonzero(~present),
        unknown=np.flatnonzero(np.asarray(pc.is_null(back).to_numpy(zero_copy_only=False))),
        altered=both[altered],
        altered_as=there[altered],
        columns=columns,
    )


def _differs(one: pa.Array, other: pa.Array) -> npt.NDArray[np.bool_]:
    """Tell where two columns differ; two nulls are equal, a null and a value are not."""
    unequal = pc.fill_null(pc.not_equal(one, other), False)
    found = pc.or_(unequal, pc.xor(pc.is_null(one), pc.is_null(other)))
    result: npt.NDArray[np.bool_] = np.asarray(found.to_numpy(zero_copy_only=False))
    return result
