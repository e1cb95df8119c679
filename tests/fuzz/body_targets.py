"""Fuzz targets for the bodies of batches: NDJSON, JSON, Arrow streams, Parquet files, and compressed ones.

The promises: a body is refused by `InvalidInput` and nothing else, the process survives it, every record has one verdict,
what is accepted holds nothing that a segment may not hold; the compiled reader says what the other one says.
"""

import functools
import gzip
import io
import json
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from measure.measure_schemas import SATURN, lines, saturn_record
from meridian.errors import InvalidInput
from meridian.measure import record
from meridian.measure.arrow_batch import decode_arrow, decode_parquet
from meridian.measure.columns import check_values
from meridian.measure.record import Decoded, decode_json, decode_ndjson
from meridian.node.measure import bodies

from .promise import promise

DECOMPRESSED_BYTES_MAX = 1 << 20


def fuzz_ndjson(data: bytes) -> None:
    """NDJSON, by both readers."""
    _read_twice(decode_ndjson, data)


def fuzz_json(data: bytes) -> None:
    """A JSON array of records, by both readers."""
    _read_twice(decode_json, data)


def fuzz_arrow(data: bytes) -> None:
    """An Arrow IPC stream."""
    _read(decode_arrow, data)


def fuzz_parquet(data: bytes) -> None:
    """A Parquet file."""
    _read(decode_parquet, data)


def fuzz_compressed(data: bytes) -> None:
    """A selector byte (even gzip, odd zstd) and a compressed body; what gzip gives is what the standard library gives."""
    if not data:
        return
    coding = "zstd" if data[0] & 1 else "gzip"
    with mock.patch.object(bodies, "BODY_BYTES_MAX", DECOMPRESSED_BYTES_MAX):
        try:
            body = bodies.read_body(data[1:], "application/json", coding)
        except InvalidInput:
            return
    promise(len(body.data) <= DECOMPRESSED_BYTES_MAX, "a body passes the limit")
    if coding == "gzip":
        promise(gzip.decompress(data[1:]) == body.data, "gzip means something else")


def _read(decode: Callable[..., Decoded], data: bytes) -> Decoded | None:
    try:
        decoded = decode(data, SATURN)
    except InvalidInput:
        return None
    decoded.table.validate(full=True)
    check_values(decoded.table, SATURN)
    seen = [*decoded.table.column("index").to_pylist(), *(one.index for one in decoded.rejections)]
    promise(sorted(seen) == list(range(decoded.count)), "a record has not one verdict")
    return decoded


def _read_twice(decode: Callable[..., Decoded], data: bytes) -> None:
    promise(record.prepare(), "the compiled reader does not serve")
    fast = _read(decode, data)
    with mock.patch.object(record, "_fast", None):
        slow = _read(decode, data)
    promise((fast is None) == (slow is None), "one reader refuses a body")
    if fast is not None and slow is not None:
        promise(fast.table == slow.table, "the readers read other values")
        promise(fast.rejections == slow.rejections, "the readers give other verdicts")
        promise(list(fast.lines or ()) == list(slow.lines or ()), "the readers count other lines")


@functools.cache
def _jobs() -> pa.Table:
    records = (saturn_record(at) for at in range(9))
    return decode_ndjson(lines(*records), SATURN).table.drop_columns("index")


def texts() -> list[bytes]:
    """Records in the usual form and in others."""
    backwards, short = saturn_record(3), saturn_record(4)
    backwards["evaluation_fields"].reverse()
    short["additional_fields"].pop()
    found: list[Any] = [saturn_record(0), saturn_record(1, job_id="é€😀"), backwards, short]
    found += [saturn_record(2, started_at="2023-05-01T02:22:57.620001+01:30"), {"job_id": 1}, []]
    spaced = [json.dumps(one, ensure_ascii=False).encode() for one in found]
    return list(
        dict.fromkeys(
            spaced
            + [json.dumps(one, separators=(",", ":"), ensure_ascii=False).encode() for one in found]
        )
    )


def ndjson_bodies() -> list[bytes]:
    """Lines, blank ones among them."""
    one = texts()
    return [*one, b"\n".join(one), b"\r\n \n".join(one), b"\n" + one[0] + b"\n\t\n"]


def json_bodies() -> list[bytes]:
    """Arrays, and single records."""
    one = texts()
    array = b"[" + b",".join(one) + b"]"
    return [
        one[0],
        array,
        b"[" + b",".join(one[:4]) + b"]",
        b" [\n" + b" ,\n".join(one[7:11]) + b"\n]\n",
    ]


def tables() -> list[pa.Table]:
    """Jobs as columns of every accepted type."""
    table = _jobs()
    names = {"node_id": "peer_id", "started_us": "started_at", "ended_us": "ended_at"}
    coded, stamped = (
        table,
        table.rename_columns([names.get(one, one) for one in table.column_names]),
    )
    for name in ("node_id", "client"):
        at = coded.column_names.index(name)
        coded = coded.set_column(at, name, coded.column(name).dictionary_encode())
    for name in ("started_at", "ended_at"):
        at = stamped.column_names.index(name)
        stamped = stamped.set_column(at, name, stamped.column(name).cast(pa.timestamp("us", "UTC")))
    exact = pa.array(range(9), pa.int64()).cast(pa.decimal128(38, 12))
    large = table.column("client").cast(pa.large_string())
    other = stamped.set_column(5, "request_duration_sec", exact).set_column(9, "client", large)
    small = table.set_column(4, "num_bytes_sent", pa.array(np.arange(9), pa.uint16()))
    return [table, coded, stamped, other, small.drop_columns("client"), table[:1]]


def arrow_bodies() -> list[bytes]:
    """Streams of one batch and of several."""
    found = []
    for table in tables():
        for rows in (9, 4):
            sink = pa.BufferOutputStream()
            with ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=rows)
            found.append(bytes(sink.getvalue()))
    return list(dict.fromkeys(found))


def parquet_bodies() -> list[bytes]:
    """Files with and without dictionaries and compression, of one row group and of several."""
    found = []
    ways: list[dict[str, Any]] = [
        {"compression": "none"},
        {"compression": "zstd", "row_group_size": 4, "data_page_version": "2.0"},
        {"compression": "none", "use_dictionary": False, "store_schema": False},
        {"compression": "snappy", "data_page_size": 20, "write_statistics": False},
    ]
    for table in tables():
        for options in ways:
            sink = io.BytesIO()
            pq.write_table(table, sink, **options)
            found.append(sink.getvalue())
    return found


def compressed_bodies() -> list[bytes]:
    """Bodies of both compressions, of one member and of several."""
    text = b"\n".join(texts())
    found = []
    for selector, pack in (
        (b"\0", gzip.compress),
        (b"\1", lambda data: pa.compress(data, codec="zstd", asbytes=True)),
    ):
        found += [
            selector + pack(text),
            selector + pack(text) + pack(text[:99]),
            selector + pack(b""),
        ]
        found.append(selector + pack(bytes(DECOMPRESSED_BYTES_MAX + 1)))
    return found
