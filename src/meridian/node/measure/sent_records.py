"""A sender's own records once more: decoded as the service decodes them, and turned into the rows under a receipt."""

from dataclasses import replace

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian.errors import InvalidInput
from meridian.measure.arrow_batch import encode_arrow
from meridian.measure.batch_decode import decode_batch
from meridian.measure.columns import column_values
from meridian.measure.epoch import Calendar
from meridian.measure.promised import (
    EPOCHS_MAX,
    accepted_jobs,
    check_count,
    promised_jobs,
    write_promised,
)
from meridian.measure.record import Decoded
from meridian.measure.schema import NetworkSchema
from meridian.node.measure.bodies import CONTENT_TYPES
from meridian.node.measure.client import ARROW, JSON
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


def within_epochs(
    batch: RecordBatch, schema: NetworkSchema, calendar: Calendar
) -> list[RecordBatch]:
    """Return a batch in parts over at most `EPOCHS_MAX` epochs each, nearly always itself.

    The deadline of a receipt follows the batch's last job: for jobs of much earlier epochs it would promise nothing that
    could be proven.
    """
    try:
        decoded = decoded_body(batch.body, batch.content_type, schema)
    except InvalidInput:  # the service says what is wrong with it
        return [batch]
    own = calendar.epochs_of(column_values(decoded.table, "ended_us"))
    if not len(own) or own.max() - own.min() < EPOCHS_MAX:
        return [batch]
    part_of = np.zeros(decoded.count, dtype=np.int64)
    part_of[column_values(decoded.table, "index")] = (own - own.min()) // EPOCHS_MAX
    if batch.lines is not None:
        lines = np.asarray(batch.lines, dtype=np.int64)
    elif decoded.lines is not None:
        lines = np.asarray(decoded.lines, dtype=np.int64) + batch.first - 1
    else:
        lines = np.arange(decoded.count) + batch.first
    parts: list[RecordBatch] = []
    for part in np.unique(part_of).tolist():
        chosen = np.flatnonzero(part_of == part)
        parts.append(
            replace(
                batch,
                first=int(lines[chosen[0]]),
                body=_only(batch, decoded, chosen),
                lines=lines[chosen].tolist(),
                refused=() if parts else batch.refused,
            )
        )
    return parts


def _only(batch: RecordBatch, decoded: Decoded, chosen: npt.NDArray[np.int64]) -> bytes:
    """Return the body of some of a batch's records."""
    if batch.content_type == JSON:
        items = msgspec.json.decode(batch.body, type=list[msgspec.Raw])
        return b"[" + b",".join(bytes(items[at]) for at in chosen.tolist()) + b"]"
    if decoded.lines is not None:
        texts = batch.body.split(b"\n")
        return b"".join(texts[decoded.lines[at] - 1] + b"\n" for at in chosen.tolist())
    table = pa.ipc.open_stream(batch.body).read_all().take(pa.array(chosen)).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
