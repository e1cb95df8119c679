"""A sender's own records once more: decoded as the service decodes them, and turned into the rows under a receipt."""

from dataclasses import replace

import numpy as np

from meridian.errors import InvalidInput
from meridian.measure.arrow_batch import encode_arrow
from meridian.measure.batch_decode import decode_batch
from meridian.measure.columns import column_values
from meridian.measure.epoch import Calendar
from meridian.measure.promised import accepted_jobs, check_count, promised_jobs, write_promised
from meridian.measure.record import Decoded
from meridian.measure.schema import NetworkSchema
from meridian.node.measure.bodies import CONTENT_TYPES
from meridian.node.measure.client import ARROW
from meridian.node.receipt_store import KeptBatch
from meridian.node.record_files import RecordBatch


def decoded_body(body: bytes, content_type: str, schema: NetworkSchema) -> Decoded:
    """Return what a batch holds.

    Raises:
        InvalidInput: If it cannot be read at all.
    """
    if content_type not in CONTENT_TYPES:
        raise InvalidInput("content_type", f"{content_type!r} is not read here")
    return decode_batch(body, CONTENT_TYPES[content_type], schema)


def rebuilt_jobs(
    body: bytes, batch: KeptBatch, schema: NetworkSchema, calendar: Calendar
) -> tuple[int, bytes]:
    """Return the first epoch of a batch's accepted jobs, and what its receipt promises of them (`write_promised`).

    Args:
        body: The batch's bytes.
        batch: Its answer; it has a receipt.
        schema: The network's.
        calendar: The network's.

    Raises:
        BrokenReceipt: If the receipt is not one over exactly these jobs.
        InvalidInput: If the body cannot be read.
    """
    assert batch.receipt is not None, "nothing is promised"
    decoded = decoded_body(body, batch.content_type, schema)
    refused = np.array([one.index for one in batch.rejected], dtype=np.int64)
    accepted = accepted_jobs(decoded.table, refused)
    check_count(accepted, batch.accepted)
    promised = promised_jobs(accepted, batch.seed, schema, calendar, batch.receipt)
    first = calendar.epochs_of(column_values(accepted, "ended_us")).min()
    return int(first), write_promised(promised)


def as_arrow(batch: RecordBatch, schema: NetworkSchema) -> RecordBatch:
    """Return a batch of JSON records as an Arrow IPC stream of those that can be read; the others are refused here.

    Raises:
        InvalidInput: If the body cannot be read at all.
    """
    decoded = decoded_body(batch.body, batch.content_type, schema)
    at = column_values(decoded.table, "index")
    if decoded.lines is None:
        places = at + batch.first
    else:
        places = np.asarray(decoded.lines, dtype=np.int64)[at] + batch.first - 1
    refused = tuple(
        one.at_line(batch.first + (one.index if one.line is None else one.line - 1))
        for one in decoded.rejections
    )
    return replace(
        batch,
        content_type=ARROW,
        body=encode_arrow(decoded.table, schema),
        lines=places.tolist(),
        refused=refused,
    )
