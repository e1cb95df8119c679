"""SHA-256 in bulk: every kernel and hashlib, the trees of one epoch, what a job costs, and the set of accepted jobs.

All of it in one process and in processor time; each alternative does the same work on the same bytes, and must give the same roots.
"""

import argparse
import hashlib
import resource
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa

from meridian.measure.commitment import job_roots, node_tree
from meridian.measure.forest import forest_roots
from meridian.measure.manifest import NODE_ROW_BYTES
from meridian.measure.order import sort_order
from meridian.measure.row import (
    ROW_BYTES,
    BatchSeeds,
    job_keys,
    job_leaves,
    job_rows,
    private_commitments,
)
from meridian.measure.seen_jobs import SeenJobs
from meridian.networks.saturn import SCHEMA
from meridian.primitives import hashing
from meridian.primitives.hashing import JOB_NODE, ByteMatrix
from meridian.primitives.sumtree import LaneKind, parent_level

KERNEL_ROWS: Final = 200_000
BATCH: Final = 10_000
RUNS: Final = 3
LANES: Final = LaneKind.PAIR_U64


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=5_700_000, help="of the epoch")
    parser.add_argument("--nodes", type=int, default=3_000)
    parser.add_argument("--hashlib-jobs", type=int, default=400_000, help="hashlib builds so many")
    parser.add_argument("--seen", type=int, default=20_000_000, help="jobs that are remembered")


def measure(jobs: int, nodes: int, hashlib_jobs: int, seen: int) -> dict[str, Any]:
    hashing.force(None)
    started = time.process_time()
    chosen = hashing.prepare()
    return {
        "prepare_s": time.process_time() - started,
        "kernel": chosen,
        "kernels": [_kernel(name) for name in (hashing.HASHLIB, *hashing.KERNELS)],
        "epoch": _epoch(jobs, nodes, hashlib_jobs),
        "job": _job(),
        "seen": _seen(seen),
    }


def _best(work: Callable[[], Any], runs: int = RUNS) -> float:
    """Return the least processor seconds of some runs: the load of others only adds."""
    least = float("inf")
    for _ in range(runs):
        started = time.process_time()
        work()
        least = min(least, time.process_time() - started)
    return least


def _rows(count: int) -> ByteMatrix:
    rows = np.random.default_rng(1).integers(0, 256, (count, ROW_BYTES), dtype=np.uint8)
    rows[:, 52:68] = 0  # lanes whose sums never overflow
    rows[:, 59] = 1
    return rows


def _kernel(name: str) -> dict[str, Any]:
    hashing.force(name)
    used = hashing.prepare()
    rows = _rows(KERNEL_ROWS)
    leaves = job_leaves(rows)
    plain = np.ascontiguousarray(rows[:, :55])  # one block
    return {
        "name": used,
        "leaves_per_s": KERNEL_ROWS / _best(lambda: job_leaves(rows)),
        "parents_per_s": KERNEL_ROWS / 2 / _best(lambda: parent_level(leaves, JOB_NODE, LANES)),
        "one_block_per_s": KERNEL_ROWS / _best(lambda: hashing.sha256_rows(plain)),
    }


def _sizes(jobs: int, nodes: int) -> np.ndarray:
    """Jobs of each node: a few nodes do most of the work."""
    weights = np.random.default_rng(2).pareto(1.2, nodes) + 0.05
    sizes = np.maximum(1, (weights / weights.sum() * (jobs - nodes)).astype(np.int64))
    sizes[0] += jobs - sizes.sum()
    return np.random.default_rng(3).permutation(sizes)


def _build(rows: ByteMatrix, sizes: np.ndarray) -> tuple[bytes, float]:
    """Return the root of the node tree over the job trees of an epoch, and the seconds of all hashing and trees."""
    started = time.process_time()
    node_rows = np.zeros((len(sizes), NODE_ROW_BYTES), dtype=np.uint8)
    node_rows[:, 60:] = job_roots(SCHEMA, rows, sizes)
    root = node_tree(node_rows, LANES).root
    return root, time.process_time() - started


def _epoch(jobs: int, nodes: int, hashlib_jobs: int) -> dict[str, Any]:
    hashing.force(None)
    hashing.prepare()
    sizes, rows = _sizes(jobs, nodes), _rows(jobs)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, seconds = _build(rows, sizes)
    after_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    few = sizes[: max(1, int(np.searchsorted(np.cumsum(sizes), hashlib_jobs, side="right")))]
    part = rows[: int(few.sum())]
    fast = _build(part, few)
    hashing.force(hashing.HASHLIB)
    slow = _build(part, few)
    assert fast[0] == slow[0], "the kernels and hashlib give different roots"
    hashing.force(None)
    hashing.prepare()
    per_s, hashlib_per_s = jobs / seconds, len(part) / slow[1]
    return {
        "jobs": jobs,
        "nodes": nodes,
        "largest_node": int(sizes.max()),
        "seconds": seconds,
        "jobs_per_s": per_s,
        "hashlib_jobs": len(part),
        "hashlib_jobs_per_s": hashlib_per_s,
        "ratio": per_s / hashlib_per_s,
        "rows_mib": rows.nbytes >> 20,
        "peak_mib": after_kib >> 10,
        "peak_before_mib": before_kib >> 10,
    }


def _batch() -> pa.Table:
    """Return a batch of `saturn` with every field filled: 255 packed bytes."""
    rng = np.random.default_rng(4)
    texts = [hashlib.sha256(at.to_bytes(4, "big")).hexdigest() for at in range(BATCH)]
    return pa.table(
        {
            "node_id": [f"node-{at % 300}" for at in range(BATCH)],
            "job_id": [f"{t[:8]}-{t[8:12]}-{t[12:16]}-{t[16:20]}-{t[20:32]}" for t in texts],
            "flags": pa.array(np.zeros(BATCH), pa.uint16()),
            "started_us": rng.integers(0, 2**50, BATCH),
            "ended_us": rng.integers(0, 2**50, BATCH),
            "num_bytes_sent": rng.integers(0, 2**40, BATCH),
            "request_duration_sec": rng.integers(0, 2**40, BATCH),
            "ttfb_ms": pa.array([None if at % 50 == 0 else at for at in range(BATCH)], pa.int64()),
            "status code": np.full(BATCH, 200),
            "cache_hit": rng.random(BATCH) < 0.5,
            "client_id": [text[:32] for text in texts],
            "client_address": [f"10.{at % 250}.{at % 99}.7" for at in range(BATCH)],
            "cid": [f"bafybei{text[:52]}" for text in texts],
        }
    )


def _job() -> dict[str, dict[str, float]]:
    """Return nanoseconds of a job in a batch of 10,000, step by step, with the kernels and with hashlib."""
    table, sizes = _batch(), _sizes(BATCH, 300)
    seeds = BatchSeeds.one(b"s" * 32, BATCH)
    out = {}
    for name in (None, hashing.HASHLIB):
        hashing.force(name)
        used = hashing.prepare()
        keys = job_keys(table.column("job_id"))
        private = private_commitments(SCHEMA, table, seeds)
        rows = job_rows(SCHEMA, table, keys, private)
        leaves = job_leaves(rows)
        steps: dict[str, Callable[[], Any]] = {
            "key": lambda: job_keys(table.column("job_id")),
            "salt, packing, private": lambda: private_commitments(SCHEMA, table, seeds),
            "row": lambda keys=keys, private=private: job_rows(SCHEMA, table, keys, private),
            "leaf": lambda rows=rows: job_leaves(rows),
            "tree": lambda leaves=leaves: forest_roots(leaves, sizes, JOB_NODE, LANES),
        }
        nanoseconds = {step: 1e9 * _best(work, 10) / BATCH for step, work in steps.items()}
        nanoseconds["together"] = sum(nanoseconds.values())
        nanoseconds["(sort order)"] = (
            1e9 * _best(lambda keys=keys: sort_order(table.column("node_id"), keys), 10) / BATCH
        )
        out[used] = nanoseconds
    hashing.force(None)
    hashing.prepare()
    return out


def _seen(jobs: int) -> dict[str, Any]:
    """Remember jobs in batches of 10,000, each checked first; the last million is measured."""
    seen, rng = SeenJobs(bytes(32), 1 << 40), np.random.default_rng(5)
    epochs = np.full(BATCH, 5)
    spent = longest = 0.0
    batches = max(1, jobs // BATCH)
    for number in range(batches):
        hashes = rng.integers(0, 2**64 - 1, (BATCH, 2), dtype=np.uint64, endpoint=True)
        started = time.process_time()
        assert not seen.repeated(hashes).any()
        seen.add(epochs, hashes)
        took = time.process_time() - started
        longest = max(longest, took)
        spent += took if number >= batches - 100 else 0
    return {
        "jobs": len(seen),
        "jobs_per_s": min(batches, 100) * BATCH / spent,
        "longest_batch_ms": 1e3 * longest,
        "bytes_per_job": seen.table_bytes / len(seen),
    }


def report(found: dict[str, Any]) -> None:
    print(f"prepare: {found['prepare_s']:.2f} s, kernel {found['kernel']}\n")
    print("kernel     leaves M/s  ratio  parents M/s  ratio  one block M/s  ratio")
    base = found["kernels"][0]
    for one in found["kernels"]:
        cells = [
            f"{one[key] / 1e6:>11.2f} {one[key] / base[key]:>6.1f}"
            for key in ("leaves_per_s", "parents_per_s", "one_block_per_s")
        ]
        print(f"{one['name']:<9}", *cells)
    epoch, seen = found["epoch"], found["seen"]
    print(
        f"\nepoch: {epoch['jobs']:,} jobs of {epoch['nodes']:,} nodes (largest {epoch['largest_node']:,}):"
        f" {epoch['seconds']:.2f} s: {epoch['jobs_per_s'] / 1e6:.2f} M jobs/s;"
        f" hashlib ({epoch['hashlib_jobs']:,} jobs) {epoch['hashlib_jobs_per_s'] / 1e6:.3f} M/s: {epoch['ratio']:.1f} times;"
        f" peak {epoch['peak_mib']} MiB, {epoch['rows_mib']} of them rows"
    )
    print("\nns a job, batch of 10,000:")
    for name, steps in found["job"].items():
        print(f"  {name:<9}", ", ".join(f"{step} {value:.0f}" for step, value in steps.items()))
    print(
        f"\nseen: {seen['jobs']:,} jobs remembered: {seen['jobs_per_s'] / 1e6:.2f} M/s checked and added,"
        f" longest batch {seen['longest_batch_ms']:.1f} ms, {seen['bytes_per_job']:.1f} bytes a job"
    )
