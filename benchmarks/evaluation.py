"""How many jobs a processor second evaluates, and in how much memory: `saturn` from sealed segments, in many ways."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from meridian.evaluate.function import EpochInput
from meridian.evaluate.functions import saturn
from meridian.evaluate.jobs import Jobs, Segments
from meridian.evaluate.layered import evaluate_layered
from meridian.evaluate.verdicts import evaluation_root
from meridian.measure.columns import SEGMENT_ROWS_MAX, segment_columns, write_segment
from meridian.networks.generator import CLIENTS, CONTENTS, Draws
from meridian.networks.saturn import DEFINITION, SCHEMA
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.ids import Address, node_key

Result = dict[str, Any]

QUANTILES = {"ttfb_quantile_ppm": 950_000, "duration_quantile_ppm": 950_000}
STORED = ("num_bytes_sent", "request_duration_sec", "ttfb_ms", "status code")


def generate(folder: Path, jobs: int, nodes: int) -> None:
    """Write made-up Saturn jobs as sealed segments, sorted by node, a segment at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    draws = Draws(1)
    ids = sorted((digest_of(f"node/{at}".encode()).hex()[:32] for at in range(nodes)), key=node_key)
    popularity = 1 + draws.below("popularity", nodes, 20) ** 2
    counts = popularity * jobs // int(popularity.sum())
    counts[0] += jobs - int(counts.sum())
    of_node = np.repeat(np.arange(nodes), counts)
    names = pa.array([*ids, *(f"client-{at}" for at in range(CLIENTS))])
    contents = pa.array([cid_text(digest_of(f"content/{at}".encode())) for at in range(CONTENTS)])
    for number, start in enumerate(range(0, jobs, SEGMENT_ROWS_MAX)):
        node = of_node[start : start + SEGMENT_ROWS_MAX]
        table = _segment(draws, number, node, names, contents, start)
        (folder / f"{number:04}.parquet").write_bytes(write_segment(table))
    (folder / "nodes.json").write_text(json.dumps({"ids": ids, "counts": counts.tolist()}))


def _segment(
    draws: Draws, number: int, node: Any, names: pa.Array, contents: pa.Array, start: int
) -> pa.Table:
    rows = len(node)

    def below(stream: str, end: int) -> Any:
        return draws.below(f"{number}/{stream}", rows, end)

    error = below("error", 100) < 3
    sent = np.where(error, 294, (1 << (10 + below("size", 11))) + below("rest", 1_000))
    latency_ms = (
        20 + node % 400 + below("jitter", 100) + (below("slow", 16) == 0) * below("s", 12_000)
    )
    duration_ns = latency_ms * 1_000_000 + sent * (8 + node % 200) + below("noise", 999_983)
    measured = below("timed", 100) < np.where(error, 20, 95)
    too_fast = (node % 50 == 7) & (below("lie", 4) == 0) & ~error
    duration_ns = np.where(too_fast, 1_000, duration_ns)
    ended_us = 1_682_899_200_000_000 + below("end", 3_600_000_000)
    nodes = len(names) - CLIENTS
    own = (node % 33 == 5) & (below("self", 5) < 2)
    client = np.where(own, node, nodes + below("client", CLIENTS))
    columns = {
        "node_id": names.take(pa.array(node)),
        "job_id": pa.array([f"request-{at}" for at in range(start, start + rows)]),
        "flags": pa.array(np.zeros(rows, dtype=np.uint16)),
        "started_us": pa.array(ended_us - duration_ns // 1_000),
        "ended_us": pa.array(ended_us),
        "batch_seed": pa.array([bytes(32)] * rows, pa.binary(32)),
        "num_bytes_sent": pa.array(sent),
        "request_duration_sec": pa.array(duration_ns),
        "ttfb_ms": pa.array(latency_ms, mask=~measured),
        "status code": pa.array(np.where(error, 502, 200)),
        "cache_hit": pa.array(below("cache", 100) < 60),
        "client_id": names.take(pa.array(client)),
        "client_address": pa.array(["198.51.100.1"] * rows),
        "cid": contents.take(pa.array(below("content", CONTENTS))),
    }
    return pa.table(columns, schema=segment_columns(SCHEMA))


def _epoch(folder: Path, jobs: Jobs | None = None) -> EpochInput:
    about = json.loads((folder / "nodes.json").read_text())
    files = sorted(folder.glob("*.parquet"))

    def read(at: int, names: list[str]) -> pa.Table:
        return pq.ParquetFile(files[at]).read(columns=names, use_threads=False).select(names)

    rows = [pq.ParquetFile(file).metadata.num_rows for file in files]
    ids = tuple(about["ids"])
    return EpochInput(
        epoch=1,
        node_ids=ids,
        node_keys=tuple(node_key(name) for name in ids),
        payees=tuple(Address(bytes(20)) for _ in ids),
        jobs=jobs
        or Segments.of(
            segment_columns(SCHEMA), rows, dict(zip(ids, about["counts"], strict=True)), read
        ),
        inputs={},
    )


# -- the ways ---------------------------------------------------------------------------------


def _saturn(folder: Path, threads: int) -> str:
    return _digest(saturn.evaluate(_epoch(folder), {}, threads=threads).weights)


def _quantiles(folder: Path, threads: int) -> str:
    return _digest(saturn.evaluate(_epoch(folder), QUANTILES, threads=threads).weights)


def _layers(folder: Path, threads: int) -> str:
    """The nine layers of the network, the function, and the verdict root."""
    epoch = _epoch(folder)
    made = evaluate_layered(saturn.FUNCTION, epoch, {}, DEFINITION.active_layers, threads=threads)
    return evaluation_root(epoch, made).hex()[:16] + _digest(made.weights)


def _one_table(folder: Path, threads: int) -> str:
    """The same function over one Table of all columns, as evaluators had it before."""
    epoch = _epoch(folder)
    whole = pa.Table.from_batches(list(epoch.jobs.to_batches()))
    return _digest(saturn.evaluate(_epoch(folder, whole), {}, threads=threads).weights)


def _pyarrow(folder: Path, threads: int) -> str:
    """The same rules in pyarrow's compute functions and numpy, segment by segment: no check for overflow."""
    del threads
    epoch, nodes = _epoch(folder), len(_epoch(folder).node_ids)
    totals = np.zeros((3, nodes), dtype=np.int64)
    for batch in epoch.jobs.select(["node", *STORED]).to_batches():
        node, sent, took = (batch.column(at).to_numpy() for at in range(3))
        timed = batch.column(3).is_valid().to_numpy(zero_copy_only=False)
        ttfb_ms = batch.column(3).fill_null(0).to_numpy()
        error = batch.column(4).to_numpy() >= 400
        ok = ~error & timed & (ttfb_ms < 5_000) & (took < 10_000_000_000)
        one = np.ones(len(node), dtype=np.int64)
        wanted = ((~error, sent), (ok, one), (timed | error, one))
        for total, (chosen, values) in zip(totals, wanted, strict=True):
            table = pa.table({"node": node[chosen], "value": values[chosen]})
            grouped = table.group_by("node").aggregate([("value", "sum")])
            total[grouped.column("node").to_numpy()] += grouped.column("value_sum").to_numpy()
    made = [saturn.weight_of(*map(int, sums), 1, 1) for sums in totals.T]
    return _digest(tuple(made))


def _digest(weights: tuple[int | None, ...]) -> str:
    return digest_of(repr(weights).encode()).hex()[:16]


WAYS: dict[str, Callable[[Path, int], str]] = {
    "saturn": _saturn,
    "exact quantiles": _quantiles,
    "all layers": _layers,
    "one table": _one_table,
    "pyarrow": _pyarrow,
}
TARGETS = {"saturn": 5.0, "exact quantiles": 2.5, "all layers": 0.8}
"""Millions of jobs a processor second."""


def run_way(name: str, folder: Path, threads: int) -> Result:
    """Go one way in this process, and measure it."""
    before, started = os.times(), time.perf_counter()
    digest = WAYS[name](folder, threads)
    after = os.times()
    status = Path("/proc/self/status").read_text()
    peak_kb = int(status.split("VmHWM:")[1].split()[0])
    cpu_s = after.user + after.system - before.user - before.system
    return {
        "way": name,
        "digest": digest,
        "cpu_s": round(cpu_s, 2),
        "wall_s": round(time.perf_counter() - started, 2),
        "rss_mib": peak_kb // 1024,
        "load": round(os.getloadavg()[0], 1),
    }


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--jobs", type=int, default=3_000_000)
    parser.add_argument("--nodes", type=int, default=3_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=WAYS)
    parser.add_argument(
        "--data", type=Path, help="keep the segments here; use them if they are there"
    )


def measure(
    jobs: int, nodes: int, threads: int, ways: list[str], data: Path | None
) -> list[Result]:
    """Go every way in a process of its own, over the same segments."""
    with tempfile.TemporaryDirectory() as made:
        folder = data or Path(made)
        if not (folder / "nodes.json").exists():
            generate(folder, jobs, nodes)
        count = sum(json.loads((folder / "nodes.json").read_text())["counts"])
        results: list[Result] = []
        for name in ways:
            command = [sys.executable, "-m", "benchmarks.evaluation", name, folder, str(threads)]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            result = json.loads(out) | {"jobs": count, "threads": threads}
            result["mjobs_per_cpu_s"] = round(count / result["cpu_s"] / 1e6, 2)
            results.append(result)
    same = {one["digest"] for one in results if one["way"] in {"saturn", "one table", "pyarrow"}}
    assert len(same) < 2, "the ways do not agree"
    return results


def report(results: list[Result]) -> None:
    """Print a table; ratios are to the first way."""
    print(
        "way                    jobs  threads  M jobs/cpu s  ratio  wall s  peak MiB  load  target"
    )
    for one in results:
        ratio = one["mjobs_per_cpu_s"] / results[0]["mjobs_per_cpu_s"]
        print(
            f"{one['way']:<16} {one['jobs']:>10,} {one['threads']:>8} {one['mjobs_per_cpu_s']:>13.2f}"
            f" {ratio:>6.2f} {one['wall_s']:>7.1f} {one['rss_mib']:>9} {one['load']:>5.1f}"
            f" {TARGETS.get(one['way'], '')!s:>7}"
        )


if __name__ == "__main__":
    print(json.dumps(run_way(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
