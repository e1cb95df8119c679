"""One large epoch committed and evaluated: in one process, beside workers, beside workers of which one is killed.

Jobs of Saturn are made up, sealed into segments and kept by their digests; that does not count. The single process does
what an evaluator does in one piece: it reads and checks every segment, makes all trees, runs the network's nine layers
and its function, and makes the verdict root. The workers do the same shard by shard; their processor time is that of
all processes together: workers, scheduler and who asks, from their start to their end. Roots, weights and the verdict
root are compared as bytes.
"""

import argparse
import functools
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.evaluation import QUANTILES, _segment
from benchmarks.worker_pool import POOLS, Started, children, tree_cpu_s
from meridian.evaluate.bundle import Bundle
from meridian.evaluate.function import EpochInput
from meridian.evaluate.functions import saturn
from meridian.evaluate.jobs import Segments
from meridian.evaluate.layered import evaluate_layered
from meridian.evaluate.own_functions import SQL_ENGINE, function_of
from meridian.evaluate.verdicts import evaluation_root
from meridian.measure.columns import (
    SEGMENT_ROWS_MAX,
    read_segment,
    segment_columns,
    write_segment,
)
from meridian.measure.epoch_builder import EpochBuilder
from meridian.measure.order import sort_order
from meridian.measure.row import job_keys, rebuild_rows
from meridian.networks.generator import CLIENTS, CONTENTS, Draws
from meridian.networks.saturn import DEFINITION, SCHEMA
from meridian.primitives import hashing
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.ids import Address, node_key
from meridian.scale.committing import commit_sharded
from meridian.scale.evaluating import Rule, evaluate_sharded
from meridian.scale.readers import SegmentFolder
from meridian.scale.shards import ShardJobs, cut
from meridian.scale.spark_pool import open_session
from meridian.scale.spark_sql import SegmentFiles, evaluate_on_spark

Result = dict[str, Any]
EPOCH: Final = 1
TARGET: Final = 1.6
"""Processor time of two workers, of that of the single process."""
PIECE_ROWS: Final = 62_500


# -- the epoch ----------------------------------------------------------------------------------------


def generate(folder: Path, jobs: int, nodes: int) -> None:
    """Write made-up jobs as sealed segments, in order, with whole nodes made together."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = sorted((digest_of(f"node/{at}".encode()).hex()[:32] for at in range(nodes)), key=node_key)
    popularity = 1 + Draws(1).below("popularity", nodes, 20) ** 2
    counts = popularity * jobs // int(popularity.sum())
    counts[0] += jobs - int(counts.sum())
    ends = np.cumsum(counts)
    chunks, first = [], 0
    while first < nodes:
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + SEGMENT_ROWS_MAX, side="right")))
        chunks.append((first, last, before))
        first = last
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        made = list(pool.map(functools.partial(_write_chunk, folder, ids, counts.tolist()), chunks))
    segments = [segment for part in made for segment in part]
    about = {"ids": ids, "counts": counts.tolist(), "segments": segments}
    (folder / "about.json").write_text(json.dumps(about))


def _write_chunk(
    folder: Path, ids: list[str], counts: list[int], chunk: tuple[int, int, int]
) -> list[tuple[str, int]]:
    first, last, start = chunk
    node = np.repeat(np.arange(first, last), counts[first:last])
    names = pa.array([*ids, *(f"client-{at}" for at in range(CLIENTS))])
    contents = pa.array([cid_text(digest_of(f"content/{at}".encode())) for at in range(CONTENTS)])
    table = _segment(Draws(1), first, node, names, contents, start)
    table = table.take(sort_order(table.column("node_id"), job_keys(table.column("job_id"))))
    written = []
    for at in range(0, table.num_rows, SEGMENT_ROWS_MAX):
        part = table.slice(at, SEGMENT_ROWS_MAX)
        data = write_segment(part)
        (folder / cid_text(digest_of(data))).write_bytes(data)
        written.append((digest_of(data).hex(), part.num_rows))
    return written


class Epoch:
    """The epoch in a folder."""

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / "about.json").read_text())
        self.folder, self.ids, self.counts = folder, tuple(about["ids"]), about["counts"]
        self.digests = tuple(bytes.fromhex(digest) for digest, _ in about["segments"])
        self.rows = [rows for _, rows in about["segments"]]
        self.payees = [Address(node_key(name)[:20]) for name in self.ids]

    def shards(self, rows_max: int) -> list[ShardJobs]:
        """Cut it."""
        reader = SegmentFolder(self.folder, self.digests, SCHEMA)
        nodes = list(zip(self.ids, self.payees, self.counts, strict=True))
        columns = segment_columns(SCHEMA)
        return [
            ShardJobs(EPOCH, shard, columns, reader) for shard in cut(nodes, self.rows, rows_max)
        ]


# -- the ways -----------------------------------------------------------------------------------------


def single(folder: Path, parameters: dict[str, int]) -> Result:
    """Do all in this process."""
    epoch = Epoch(folder)
    started, before = time.perf_counter(), time.process_time()
    builder = EpochBuilder(SCHEMA, EPOCH)
    for digest, rows in zip(epoch.digests, epoch.rows, strict=True):
        data = (folder / cid_text(digest)).read_bytes()
        assert digest_of(data) == digest
        table = read_segment(data, SCHEMA)
        assert table.num_rows == rows
        for at in range(0, rows, PIECE_ROWS):
            part = table.slice(at, PIECE_ROWS)
            builder.add(part.column("node_id"), rebuild_rows(SCHEMA, part))
    made = builder.finish(dict(zip(epoch.ids, epoch.payees, strict=True)))
    committed_s = time.process_time() - before

    whole = _whole(epoch)
    found = evaluate_layered(saturn.FUNCTION, whole, parameters, DEFINITION.active_layers)
    root = evaluation_root(whole, found)
    return {
        "cpu_s": time.process_time() - before,
        "commit_cpu_s": committed_s,
        "wall_s": time.perf_counter() - started,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "bytes": _digests(made.root, root, found.weights, found.summary),
    }


def _whole(epoch: Epoch) -> EpochInput:
    def read(at: int, names: list[str]) -> pa.Table:
        file = pq.ParquetFile(epoch.folder / cid_text(epoch.digests[at]))
        return file.read(columns=names, use_threads=False).select(names)

    jobs = Segments.of(
        segment_columns(SCHEMA), epoch.rows, dict(zip(epoch.ids, epoch.counts, strict=True)), read
    )
    keys = tuple(node_key(name) for name in epoch.ids)
    return EpochInput(EPOCH, epoch.ids, keys, tuple(epoch.payees), jobs, {})


def _digests(root: bytes, verdict_root: bytes, weights: Any, summary: dict[str, int]) -> Result:
    return {
        "root": root.hex(),
        "verdict_root": verdict_root.hex(),
        "weights": digest_of(repr(weights).encode()).hex(),
        "summary": digest_of(repr(sorted(summary.items())).encode()).hex(),
    }


def sharded(
    folder: Path, parameters: dict[str, int], shard_rows: int, started: Started, *, kill: bool
) -> Result:
    """Do all on workers; `kill`: one of them dies when half of the shards are committed."""
    shards = Epoch(folder).shards(shard_rows)
    begun, before = time.perf_counter(), time.process_time()
    victims = list(started.pids)[:1] if kill else []

    def half(finished: int) -> None:
        if victims and 2 * finished >= len(shards):
            started.kill(victims.pop())

    made, _ = commit_sharded(SCHEMA, shards, started.pool, done=half)
    committed_s = time.perf_counter() - begun
    rule = Rule(saturn.FUNCTION.bundle, parameters, DEFINITION.active_layers)
    found = evaluate_sharded(rule, saturn.FUNCTION, shards, started.pool)
    return {
        "own_cpu_s": time.process_time() - before,
        "commit_wall_s": committed_s,
        "wall_s": time.perf_counter() - begun,
        "shards": len(shards),
        "workers_left": started.pool.workers,
        "bytes": _digests(
            made.root, found.verdict_root, found.evaluation.weights, found.evaluation.summary
        ),
    }


SQL: Final = {
    "name": "fast-bytes",
    "version": 1,
    "kind": "sql",
    "engine": SQL_ENGINE,
    "columns": {"size": "num_bytes_sent", "took": "request_duration_sec", "status": "status code"},
    "inputs": [],
    "reasons": ["ok", "error", "slow"],
    "parameters": {"limit": {"kind": "integer", "default": 1_000_000_000, "minimum": 1}},
    "verdict": "CASE WHEN status >= 400 THEN 1 WHEN took > $limit THEN 2 ELSE 0 END",
    "weight": "coalesce(sum(size) FILTER (WHERE code = 0), 0) // 1000",
    "totals": {"bytes": "coalesce(sum(size), 0)"},
}


def own_sql(folder: Path, on_spark: bool) -> Result:
    """Evaluate by a network's own SQL: here, or by Spark's SQL engine with two threads; without starting Spark."""
    epoch, bundle = Epoch(folder), Bundle.of(SQL)
    paths = tuple(folder / cid_text(digest) for digest in epoch.digests)
    if on_spark:
        session = open_session("local[2]")
        files = SegmentFiles(paths, tuple(epoch.rows), epoch.ids)
        before = sum(map(tree_cpu_s, children(os.getpid()))) + time.process_time()
        made = evaluate_on_spark(session, bundle, {}, files)
        cpu_s = sum(map(tree_cpu_s, children(os.getpid()))) + time.process_time() - before
        session.stop()
    else:
        before = time.process_time()
        made = function_of(bundle, None).evaluate(_whole(epoch), {})
        cpu_s = time.process_time() - before
    return {"cpu_s": cpu_s, "bytes": digest_of(repr(made).encode()).hex()}


def _in_process(run: Callable[..., Any], *arguments: Any) -> Any:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=hashing.prepare) as pool:
        return pool.submit(run, *arguments).result()


# -- the command --------------------------------------------------------------------------------------


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--jobs", type=int, default=30_000_000)
    parser.add_argument("--nodes", type=int, default=3_000)
    parser.add_argument("--engine", choices=sorted(POOLS), default="dask")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard-rows", type=int, default=2_000_000)
    parser.add_argument("--quantiles", action="store_true", help="limits from quantiles of all")
    parser.add_argument(
        "--sql", action="store_true", help="own SQL too, here and by Spark's engine"
    )
    parser.add_argument("--no-kill", action="store_true", help="without the run with a loss")
    parser.add_argument("--data", type=Path, help="keep the epoch here; use it if it is there")


def measure(
    jobs: int,
    nodes: int,
    engine: str,
    workers: int,
    shard_rows: int,
    quantiles: bool,
    sql: bool,
    no_kill: bool,
    data: Path | None,
) -> Result:
    """Go every way."""
    parameters = QUANTILES if quantiles else {}
    with tempfile.TemporaryDirectory(prefix="scale-out-") as made:
        folder = data or Path(made) / "epoch"
        if not (folder / "about.json").exists():
            generate(folder, jobs, nodes)
        alone = _in_process(single, folder, parameters)
        result: Result = {"jobs": sum(Epoch(folder).rows), "nodes": len(Epoch(folder).ids)}
        result |= {"engine": engine, "workers": workers, "single": alone}
        for way in ("workers", "killed")[: 1 if no_kill else 2]:
            with POOLS[engine](Path(made) / way, workers) as started:
                found = sharded(folder, parameters, shard_rows, started, kill=way == "killed")
            found["cpu_s"] = found["own_cpu_s"] + started.cpu_s
            found["ratio"] = found["cpu_s"] / alone["cpu_s"]
            found["equal"] = found["bytes"] == alone["bytes"]
            assert found["equal"], (found["bytes"], alone["bytes"])
            result[f"{engine} {way}"] = found
        if sql:
            here = _in_process(own_sql, folder, False)
            there = _in_process(own_sql, folder, True)
            there["equal"] = here["bytes"] == there["bytes"]
            assert there["equal"], "Spark's SQL gives other bytes"
            there["ratio"] = there["cpu_s"] / here["cpu_s"]
            result |= {"own SQL": here, "own SQL on Spark": there}
        result["load"] = os.getloadavg()[0]
    return result


def report(result: Result) -> None:
    """Print a table."""
    print(f"{result['jobs']:,} jobs of {result['nodes']:,} nodes; load {result['load']:.1f}")
    print("way                     cpu s  of single   wall s  bytes")
    for name, one in result.items():
        if isinstance(one, dict):
            ratio = one.get("ratio", 1.0)
            same = "equal" if one.get("equal", True) else "OTHER"
            print(
                f"{name:<20} {one['cpu_s']:>8.1f} {ratio:>10.2f} {one.get('wall_s', 0):>8.1f}  {same}"
            )
    print(f"target: {TARGET} times the single process, with two workers")
