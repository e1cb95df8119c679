"""Bodies of batches to typed columns, in every accepted form, beside plain JSON readers that check nothing."""

import argparse
import gzip
import io
import json
import random
import time
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from meridian.measure import record
from meridian.measure.arrow_batch import encode_arrow
from meridian.measure.batch_decode import Body, BodyKind, decode_batch, decode_many
from meridian.measure.columns import records
from meridian.measure.times import format_time
from meridian.networks.lines import record_template
from meridian.networks.saturn import SCHEMA
from meridian.node.measure.bodies import read_body

REPEATS: Final = 3
SLOW_PART: Final = 20
"""Ways that take long are given this part of the jobs."""
SINGLES: Final = 200
"""Bodies of one record that are decoded together, as the service does."""
NDJSON: Final = "application/x-ndjson"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--jobs", type=int, default=100_000)


def lines(jobs: int) -> list[bytes]:
    """Seed-shaped records of Saturn: 32 hex digits of job id, 52 bytes of node id, every field, times of six digits."""
    chance = random.Random(1)
    template = record_template(SCHEMA)
    start_us = 1_682_902_377_000_000

    def line() -> bytes:
        began = start_us + chance.randrange(3_600_000_000)
        return (
            template
            % (
                f'"{chance.getrandbits(128):032x}"',
                f'"12D3KooW{chance.randrange(3_000):044x}"',
                f'"{format_time(began)}"',
                f'"{format_time(began + chance.randrange(10_000_000))}"',
                chance.randrange(10_000_000),
                f"{chance.random() * 3:.9f}",
                chance.choice(("null", str(chance.randrange(1_000)))),
                200,
                chance.choice(("true", "false")),
                f'"{chance.getrandbits(64):016x}"',
                '"198.51.100.1"',
                f'"bafybeif{chance.getrandbits(200):051x}"',
            )
        ).encode()

    return [line() for _ in range(jobs)]


def _seconds(run: Callable[[], Any]) -> float:
    """Return the least processor time of a few runs."""
    best = float("inf")
    for _ in range(REPEATS):
        began = time.process_time()
        run()
        best = min(best, time.process_time() - began)
    return best


def _without_compiled(body: bytes) -> None:
    kept, record._fast = record._fast, None  # noqa: SLF001 - the reader that serves where nothing is compiled
    try:
        decode_batch(body, BodyKind.NDJSON, SCHEMA)
    finally:
        record._fast = kept  # noqa: SLF001


def measure(jobs: int) -> dict[str, Any]:
    """Decode the same jobs in every form, in one process.

    Args:
        jobs: In one batch.
    """
    began = time.process_time()
    if not record.prepare():
        raise SystemExit("the compiled reader does not serve here")
    prepared = time.process_time() - began
    texts = lines(jobs)
    ndjson, array = b"\n".join(texts), b"[" + b",".join(texts) + b"]"
    table = decode_batch(ndjson, BodyKind.NDJSON, SCHEMA).table
    arrow = encode_arrow(table, SCHEMA)
    sink = io.BytesIO()
    pq.write_table(table.drop_columns("index"), sink, compression="zstd")
    parquet, zstd = sink.getvalue(), pa.compress(ndjson, codec="zstd", asbytes=True)
    gzipped = gzip.compress(ndjson, 6)
    few = jobs // SLOW_PART
    part = b"\n".join(texts[:few])
    groups = [
        [Body(BodyKind.JSON, text) for text in texts[at : at + SINGLES]]
        for at in range(0, few, SINGLES)
    ]
    one_odd = b"\n".join([*texts[: jobs // 2], b"{", *texts[jobs // 2 + 1 :]])
    flat = b"\n".join(
        json.dumps({k: str(v) if "us" in k else v for k, v in row.items()}).encode()
        for row in table.slice(0, few).drop_columns("index").to_pylist()
    )
    seed_shaped = list(records(table.slice(0, few), SCHEMA))
    if len(seed_shaped) != few:
        raise SystemExit("the records are not all good")
    ways: dict[str, tuple[int, int, Callable[[], Any]]] = {
        "NDJSON": (jobs, len(ndjson), lambda: decode_batch(ndjson, BodyKind.NDJSON, SCHEMA)),
        "NDJSON, one line broken": (
            jobs,
            len(one_odd),
            lambda: decode_batch(one_odd, BodyKind.NDJSON, SCHEMA),
        ),
        "JSON array": (jobs, len(array), lambda: decode_batch(array, BodyKind.JSON, SCHEMA)),
        "200 bodies of one record": (
            few,
            len(part),
            lambda: [decode_many(group, SCHEMA) for group in groups],
        ),
        "NDJSON in zstd": (
            jobs,
            len(zstd),
            lambda: decode_batch(read_body(zstd, NDJSON, "zstd").data, BodyKind.NDJSON, SCHEMA),
        ),
        "NDJSON in gzip": (
            jobs,
            len(gzipped),
            lambda: decode_batch(read_body(gzipped, NDJSON, "gzip").data, BodyKind.NDJSON, SCHEMA),
        ),
        "Arrow": (jobs, len(arrow), lambda: decode_batch(arrow, BodyKind.ARROW, SCHEMA)),
        "Arrow, validate alone": (
            jobs,
            len(arrow),
            lambda: pa.ipc.open_stream(arrow).read_all().validate(full=True),
        ),
        "Parquet": (jobs, len(parquet), lambda: decode_batch(parquet, BodyKind.PARQUET, SCHEMA)),
        "NDJSON without the compiled reader": (few, len(part), lambda: _without_compiled(part)),
        "json.loads, checks nothing": (
            few,
            len(part),
            lambda: [json.loads(text) for text in texts[:few]],
        ),
        "pyarrow.json, flat records, checks nothing": (
            few,
            len(flat),
            lambda: pa.json.read_json(
                io.BytesIO(flat), read_options=pa.json.ReadOptions(use_threads=False)
            ),
        ),
    }
    measured: dict[str, dict[str, float]] = {}
    for name, (count, size, run) in ways.items():
        seconds = _seconds(run)
        measured[name] = {"bytes": size / count, "jobs_per_s": count / seconds}
    base = measured["json.loads, checks nothing"]["jobs_per_s"]
    for row in measured.values():
        row["ratio"] = row["jobs_per_s"] / base
    return {"jobs": jobs, "prepare_s": prepared, "ways": measured, "nested": _nested(texts[0])}


def _nested(text: bytes) -> str:
    """Return what pyarrow.json says of a record as it is."""
    try:
        pa.json.read_json(io.BytesIO(text))
    except pa.ArrowInvalid as error:
        return str(error)
    return "read"


def report(result: dict[str, Any]) -> None:
    """Print the table."""
    print(f"{result['jobs']:,} jobs; prepare took {result['prepare_s']:.2f} s of the processor")
    print(f"{'way':<44} {'bytes a job':>11} {'jobs per CPU s':>15} {'ratio':>6}")
    for name, row in result["ways"].items():
        print(f"{name:<44} {row['bytes']:>11.0f} {row['jobs_per_s']:>15,.0f} {row['ratio']:>6.1f}")
    print(f"pyarrow.json of a record as it is: {result['nested']}")
