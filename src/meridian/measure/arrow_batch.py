"""Batches as Arrow IPC streams and Parquet files, read and written.

Law: a body is never trusted. What it asks for is found out before the libraries read it (`ipc_limits`,
`parquet_limits`); columns have one of a few flat types, known before any value is read; what they hold is counted before
anything is copied; every value is validated before it is looked at. Then the records are judged as those of JSON are
(`arrow_columns`): one bad record never costs its neighbours anything.
"""

from collections.abc import Iterable
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc, types

from meridian.errors import InvalidInput
from meridian.measure.arrow_columns import judge, places
from meridian.measure.columns import job_columns
from meridian.measure.ipc_limits import require_small_stream
from meridian.measure.parquet_limits import CONTAINER_MAX, FOOTER_BYTES_MAX, require_small_file
from meridian.measure.record import BODY_BYTES_MAX, RECORDS_MAX, Decoded
from meridian.measure.schema import NetworkSchema

_BATCH_ROWS: Final = 131_072
"""More than a file may hold, so that a row group comes in one piece."""


def decode_arrow(data: bytes, schema: NetworkSchema) -> Decoded:
    """Decode an Arrow IPC stream.

    Raises:
        InvalidInput: If it is not one, asks for too much, has other columns, or holds no records or too many.
    """
    _require_size(data)
    require_small_stream(data, RECORDS_MAX)
    options = ipc.IpcReadOptions(use_threads=False, ensure_alignment=ipc.Alignment.DataTypeSpecific)
    try:
        with ipc.open_stream(pa.BufferReader(data), options=options) as stream:
            chosen = places(stream.schema, schema)
            table = _checked(stream.schema, stream)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise InvalidInput("arrow", f"it is not an Arrow IPC stream: {error}") from None
    return judge(table, chosen, schema)


def decode_parquet(data: bytes, schema: NetworkSchema) -> Decoded:
    """Decode a Parquet file.

    Raises:
        InvalidInput: As `decode_arrow`.
    """
    _require_size(data)
    require_small_file(data, RECORDS_MAX, BODY_BYTES_MAX)
    try:
        with _open(data, []) as file:
            texts = [item.name for item in file.schema_arrow if _is_text(item.type)]
        with _open(data, texts) as file:
            chosen = places(file.schema_arrow, schema)
            rows = file.metadata.num_rows
            batches = file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False)
            table = _checked(file.schema_arrow, batches)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise InvalidInput("parquet", f"it is not a Parquet file: {error}") from None
    if table.num_rows != rows:
        raise InvalidInput("parquet", f"{table.num_rows} rows where it says {rows}")
    return judge(table, chosen, schema)


def encode_arrow(table: pa.Table, schema: NetworkSchema) -> bytes:
    """Return jobs as the body of a batch; equal jobs give equal bytes with one version of pyarrow.

    Args:
        table: The columns of `job_columns`, and perhaps others (as `Decoded.table` of an NDJSON body has).
        schema: The network's schema.
    """
    columns = job_columns(schema)
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, columns) as writer:
        writer.write_table(table.select(columns.names).combine_chunks().cast(columns))
    return bytes(sink.getvalue())


def _require_size(data: bytes) -> None:
    if len(data) > BODY_BYTES_MAX:
        raise InvalidInput("too_long", f"{len(data)} bytes pass {BODY_BYTES_MAX}")


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _open(data: bytes, dictionaries: list[str]) -> pq.ParquetFile:
    """Open a file whose `dictionaries` stay what they are: a long text may stand in every row."""
    return pq.ParquetFile(
        pa.BufferReader(data),
        read_dictionary=dictionaries,
        pre_buffer=False,
        thrift_string_size_limit=FOOTER_BYTES_MAX,
        thrift_container_size_limit=CONTAINER_MAX,
        arrow_extensions_enabled=False,
    )


def _checked(columns: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Collect batches, and validate every value; what they hold together is bounded before any of it is looked at."""
    held, kept = 0, []
    for batch in batches:
        batch.validate()
        held += batch.nbytes
        if held > BODY_BYTES_MAX:
            raise InvalidInput("too_long", f"columns of {held} bytes pass {BODY_BYTES_MAX}")
        batch.validate(full=True)
        kept.append(batch)
    return pa.Table.from_batches(kept, schema=columns)
