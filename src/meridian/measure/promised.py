"""What a receipt promises, seen by who sent the batch: the rows of its accepted jobs, rebuilt from its own records.

Law: nothing is believed. A receipt is worth something only if the expected aggregator signed it for the expected
network and contracts, if its root is that of the sender's own rows, and if its deadline lies at most `EPOCHS_MAX - 1`
epochs behind each job's own: a proof of omission reads no more epochs than that (decision 23).

The aggregator does not say which jobs counted as late. There are at most `EPOCHS_MAX` ways, so they are tried.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import InvalidInput, MeridianError
from meridian.measure.columns import column_values
from meridian.measure.epoch import LATE_FLAG, Calendar
from meridian.measure.order import sort_order
from meridian.measure.receipt import Batch, SignedReceipt
from meridian.measure.row import ROW_BYTES, BatchSeeds, job_keys, job_rows, private_commitments
from meridian.measure.schema import NetworkSchema
from meridian.primitives.eip712 import Domain
from meridian.primitives.hashing import ByteMatrix
from meridian.primitives.ids import Address, address_text

EPOCHS_MAX: Final = 3
"""Epochs that a proof of omission can read, from the job's own to the receipt's deadline (`CommitmentProofs`)."""

PROMISED_COLUMNS: Final = pa.schema(
    [
        pa.field("node_id", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("job_id", pa.string(), nullable=False),
        pa.field("index", pa.int32(), nullable=False),
        pa.field("row", pa.binary(ROW_BYTES), nullable=False),
    ]
)
"""A batch's accepted jobs in the order of (node key, job key): ``index`` is the position in the batch, from 0."""


class BrokenReceipt(MeridianError):
    """A receipt promises nothing that could be shown: `field` says what of it does not hold."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"the receipt does not hold: {field}: {reason}")
        self.field, self.reason = field, reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Who must have signed a receipt, about what; what is None is not known, and may be anything."""

    aggregator: Address
    network: bytes | None = None
    """The network's id."""
    domain: Domain | None = None
    """That of the contract `Commitments`."""


def check_statement(signed: SignedReceipt, expected: Expected) -> None:
    """Check what a receipt says of itself; its root is the business of `promised_jobs`.

    Raises:
        BrokenReceipt: With the field that is not as expected.
    """
    receipt, domain = signed.receipt, signed.domain
    if expected.network not in (None, receipt.network):
        raise BrokenReceipt("network", f"{receipt.network.hex()} is not the id of the network")
    if expected.domain is not None:
        if domain.chain_id != expected.domain.chain_id:
            raise BrokenReceipt("chain_id", f"{domain.chain_id} is not {expected.domain.chain_id}")
        if domain.contract != expected.domain.contract:
            wanted = address_text(expected.domain.contract)
            raise BrokenReceipt("contract", f"{address_text(domain.contract)} is not {wanted}")
    if receipt.aggregator != expected.aggregator:
        wanted = address_text(expected.aggregator)
        raise BrokenReceipt("aggregator", f"{address_text(receipt.aggregator)} is not {wanted}")
    if not signed.holds:
        raise BrokenReceipt("signature", "the aggregator did not sign this receipt")


def accepted_jobs(table: pa.Table, rejected: npt.NDArray[np.int64]) -> pa.Table:
    """Return the jobs of a decoded batch that were accepted.

    Args:
        table: As decoded: ``index`` and the columns of `columns.job_columns`.
        rejected: Positions of the records that were not.
    """
    return table.filter(pa.array(~np.isin(column_values(table, "index"), rejected)))


def promised_jobs(
    accepted: pa.Table,
    seed: bytes,
    schema: NetworkSchema,
    calendar: Calendar,
    signed: SignedReceipt,
) -> pa.Table:
    """Return the jobs that a receipt promises, `PROMISED_COLUMNS`, under exactly its root.

    Args:
        accepted: ``index`` and the columns of `columns.job_columns`, in any order.
        seed: The batch's.
        schema: The network's.
        calendar: The network's.
        signed: The receipt.

    Raises:
        BrokenReceipt: If its deadline allows no proof of omission, or its root is not that of these jobs.
    """
    if accepted.num_rows == 0:
        raise BrokenReceipt("batch_root", "it is a receipt over no job of the batch")
    deadline = signed.receipt.deadline_epoch
    own = calendar.epochs_of(column_values(accepted, "ended_us"))
    first, last = int(own.min()), int(own.max())
    if deadline < last:
        raise BrokenReceipt("deadline_epoch", f"{deadline} is before {last}, the epoch of a job")
    if deadline > first + EPOCHS_MAX - 1:
        raise BrokenReceipt(
            "deadline_epoch",
            f"{deadline} is more than {EPOCHS_MAX - 1} epochs after {first}, the epoch of a job:"
            " an omission could not be proven",
        )
    keys = job_keys(accepted.column("job_id"))
    order = sort_order(accepted.column("node_id"), keys)
    jobs, keys, own = accepted.take(order), keys[order], own[order]
    private = private_commitments(schema, jobs, BatchSeeds.one(seed, jobs.num_rows))
    flags = np.zeros(jobs.num_rows, dtype=np.uint16)
    rows = job_rows(schema, jobs.append_column("flags", [flags]), keys, private)
    for open_epoch in range(first, deadline + 1):
        rows[:, 3] = np.where(own < open_epoch, LATE_FLAG, 0)
        tree = Batch(schema, rows, jobs.column("node_id"))
        if tree.root == signed.receipt.batch_root:
            return _promised(jobs, rows)
    raise BrokenReceipt("batch_root", "it is not the root of the batch's accepted records")


def _promised(jobs: pa.Table, rows: ByteMatrix) -> pa.Table:
    row_bytes = pa.py_buffer(np.ascontiguousarray(rows))
    columns = [
        jobs.column("node_id").combine_chunks().dictionary_encode(),
        jobs.column("job_id"),
        jobs.column("index").cast(pa.int32()),
        pa.Array.from_buffers(pa.binary(ROW_BYTES), len(rows), [None, row_bytes]),
    ]
    return pa.table(columns, schema=PROMISED_COLUMNS)


def rows_of(promised: pa.Table) -> ByteMatrix:
    """Return the rows of promised jobs, shape (n, 100)."""
    column = promised.column("row").combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], pa.binary(ROW_BYTES))
    data = np.frombuffer(column.buffers()[1] or b"", dtype=np.uint8)
    start = column.offset * ROW_BYTES
    return data[start : start + len(column) * ROW_BYTES].reshape(-1, ROW_BYTES)


def check_count(accepted: pa.Table, count: int) -> None:
    """Require that as many records were accepted as the answer says.

    Raises:
        BrokenReceipt: If not.
    """
    if accepted.num_rows != count:
        raise BrokenReceipt(
            "accepted", f"the answer says {count}, its list of refusals leaves {accepted.num_rows}"
        )


def read_promised(data: bytes) -> pa.Table:
    """Read promised jobs from an Arrow IPC stream.

    Raises:
        InvalidInput: If it is not one of `PROMISED_COLUMNS`.
    """
    try:
        table = pa.ipc.open_stream(data).read_all()
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput("jobs", f"they are no Arrow stream: {error}") from error
    if table.schema != PROMISED_COLUMNS:
        raise InvalidInput("jobs", f"their columns are {table.schema.names}")
    return table


def write_promised(promised: pa.Table) -> bytes:
    """Return promised jobs as an Arrow IPC stream with compressed buffers."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, PROMISED_COLUMNS, options=options) as writer:
        writer.write_table(promised)
    return bytes(sink.getvalue())
