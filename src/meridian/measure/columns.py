"""Jobs as typed Arrow columns, and the columns as published Parquet segments.

Law: a segment's columns are fixed by the schema: ``node_id, job_id, flags, started_us, ended_us, batch_seed`` and one
typed column for each field in schema order (integer and decimal as int64, a decimal as value * 10^scale). A segment
that has other columns, other types, nulls where none may be, or values out of range is refused with the column's name.
"""

import io
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from meridian.errors import InvalidInput
from meridian.measure.schema import Field, FieldKind, NetworkSchema
from meridian.measure.times import format_time

SEGMENT_ROWS_MAX: Final = 500_000
SEGMENT_BYTES_MAX: Final = 2 << 30
SEGMENT_TEXT_BYTES_MAX: Final = 512 << 20
"""A segment with so many bytes of text ends before `SEGMENT_ROWS_MAX`."""
ID_BYTES_MAX: Final = 128
"""The longest accepted job id or node id, in UTF-8."""

DIGEST_TYPE: Final = pa.binary(32)

_FIELD_TYPES: Final = {
    FieldKind.INTEGER: pa.int64(),
    FieldKind.DECIMAL: pa.int64(),
    FieldKind.BOOLEAN: pa.bool_(),
    FieldKind.STRING: pa.string(),
}


def field_columns(schema: NetworkSchema) -> list[pa.Field]:
    """Return one typed column for each field of the schema."""
    return [
        pa.field(item.name, _FIELD_TYPES[item.kind], nullable=item.may_be_null)
        for item in schema.fields
    ]


def job_columns(schema: NetworkSchema) -> pa.Schema:
    """Return the columns of a job as it comes out of a record, before it is admitted."""
    return pa.schema(
        [
            pa.field("node_id", pa.string(), nullable=False),
            pa.field("job_id", pa.string(), nullable=False),
            pa.field("started_us", pa.int64(), nullable=False),
            pa.field("ended_us", pa.int64(), nullable=False),
            *field_columns(schema),
        ]
    )


def segment_columns(schema: NetworkSchema) -> pa.Schema:
    """Return the columns of a published segment."""
    return pa.schema(
        [
            pa.field("node_id", pa.string(), nullable=False),
            pa.field("job_id", pa.string(), nullable=False),
            pa.field("flags", pa.uint16(), nullable=False),
            pa.field("started_us", pa.int64(), nullable=False),
            pa.field("ended_us", pa.int64(), nullable=False),
            pa.field("batch_seed", DIGEST_TYPE, nullable=False),
            *field_columns(schema),
        ]
    )


def write_segment(table: pa.Table) -> bytes:
    """Return a table's Parquet bytes; equal jobs give equal bytes with one version of pyarrow, however they are chunked.

    Args:
        table: The columns of a segment; ``node_id`` may be a dictionary in order of first appearance, each entry used.

    Raises:
        InvalidInput: If it has too many rows.
    """
    if table.num_rows > SEGMENT_ROWS_MAX:
        raise InvalidInput("segment", f"{table.num_rows} rows pass {SEGMENT_ROWS_MAX}")
    # Where pages end depends on the chunks, and the first page of a dictionary on its order.
    table = table.combine_chunks()
    integers = [field.name for field in table.schema if field.type == pa.int64()]
    repeating = [
        field.name
        for field in table.schema
        if field.name != "job_id" and field.type not in (pa.int64(), pa.bool_())
    ]
    if "node_id" in table.column_names and table.num_rows:
        at = table.column_names.index("node_id")
        nodes = pc.dictionary_encode(one_chunk(table.column(at)))
        field = pa.field("node_id", nodes.type, nullable=table.schema.field(at).nullable)
        table = table.set_column(at, field, nodes)
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        row_group_size=SEGMENT_ROWS_MAX,
        compression="zstd",
        compression_level=1,
        use_dictionary=repeating,
        column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
        write_statistics=False,
        store_schema=False,
    )
    return sink.getvalue()


def read_segment(data: bytes, schema: NetworkSchema) -> pa.Table:
    """Read a segment and check its columns, types and values.

    Raises:
        InvalidInput: With the column, if it is not a segment of this schema.
    """
    expected = segment_columns(schema)
    try:
        source = pq.ParquetFile(io.BytesIO(data))
        if source.metadata.num_rows > SEGMENT_ROWS_MAX:
            raise InvalidInput("segment", f"more than {SEGMENT_ROWS_MAX} rows")
        if source.schema_arrow.names != expected.names:
            raise InvalidInput("segment", f"its columns are {source.schema_arrow.names}")
        table = source.read(use_threads=False)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInput("segment", f"it is not a Parquet segment: {error}") from error
    columns = [_checked_column(table.column(column.name), column) for column in expected]
    checked = pa.table(columns, schema=expected)
    check_values(checked, schema)
    return checked


def _checked_column(values: pa.ChunkedArray, column: pa.Field) -> pa.ChunkedArray:
    if values.type != column.type:
        raise InvalidInput(column.name, f"its type is {values.type}, not {column.type}")
    if values.null_count and not column.nullable:
        raise InvalidInput(column.name, "it holds nulls")
    return values


def check_values(table: pa.Table, schema: NetworkSchema) -> None:
    """Refuse columns with values that no accepted record can hold.

    Raises:
        InvalidInput: With the column's name.
    """
    for name in ("node_id", "job_id"):
        lengths = pc.min_max(pc.binary_length(table.column(name)))
        if table.num_rows and not (
            lengths["min"].as_py() >= 1 and lengths["max"].as_py() <= ID_BYTES_MAX
        ):
            raise InvalidInput(name, f"ids have 1..{ID_BYTES_MAX} bytes")
    started, ended = column_values(table, "started_us"), column_values(table, "ended_us")
    if ((started < 0) | (ended < started)).any():
        raise InvalidInput("ended_us", "a job ends before it starts, or starts before 1970")
    for item in schema.fields:
        _check_range(table.column(item.name), item)


def _check_range(values: pa.ChunkedArray, item: Field) -> None:
    if item.kind is FieldKind.BOOLEAN or values.null_count == len(values):
        return
    if item.kind is FieldKind.STRING:
        longest = pc.max(pc.binary_length(values)).as_py()
        if longest > item.max_bytes:
            raise InvalidInput(item.name, f"{longest} bytes pass {item.max_bytes}")
        return
    extremes = pc.min_max(values)
    if extremes["min"].as_py() < item.minimum or extremes["max"].as_py() > item.maximum:
        raise InvalidInput(item.name, f"values outside {item.minimum}..{item.maximum}")


def column_values(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """Return a column of numbers without nulls as one numpy array."""
    column = table.column(name)
    if not column.num_chunks:
        return np.zeros(0, dtype=column.type.to_pandas_dtype())
    return array_values(one_chunk(column))


def array_values(array: pa.Array) -> npt.NDArray[Any]:
    """Return numbers without nulls where they lie: `to_numpy` would load pandas if it is there."""
    assert not array.null_count, "a null is no number"
    kind = np.dtype(array.type.to_pandas_dtype())
    if not len(array):
        return np.zeros(0, dtype=kind)
    start = array.offset * kind.itemsize
    return np.frombuffer(array.buffers()[1], dtype=kind, count=len(array), offset=start)


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one contiguous array."""
    if column.num_chunks == 1:
        return column.chunk(0)
    combined = column.combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)


def records(table: pa.Table, schema: NetworkSchema) -> Iterator[dict[str, Any]]:
    """Return jobs in the seed's data model, ready for `msgspec.json.encode`: the inverse of `record`.

    Decimals are `msgspec.Raw` numbers, so that no digit passes through a float. Nulls of optional fields are left out.
    """
    for row in table.to_pylist():
        yield {
            "job_id": row["job_id"],
            "peer_id": row["node_id"],
            "started_at": format_time(row["started_us"]),
            "ended_at": format_time(row["ended_us"]),
            "evaluation_fields": _entries(row, schema.evaluation_fields),
            "additional_fields": _entries(row, schema.additional_fields),
        }


def _entries(row: dict[str, Any], fields: tuple[Field, ...]) -> list[dict[str, Any]]:
    return [
        {"name": item.name, "type": item.kind.value, "value": _json_value(row[item.name], item)}
        for item in fields
        if row[item.name] is not None or item.required
    ]


def _json_value(value: Any, item: Field) -> Any:
    if item.kind is not FieldKind.DECIMAL or value is None:
        return value
    digits = str(abs(value)).rjust(item.scale + 1, "0")
    whole, fraction = digits[: len(digits) - item.scale], digits[len(digits) - item.scale :]
    sign = "-" if value < 0 else ""
    return msgspec.Raw(f"{sign}{whole}{'.' if fraction else ''}{fraction}".encode())
