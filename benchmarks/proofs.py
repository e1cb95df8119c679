"""Proofs of one job among many: from the sealed store and from segments, cold and warm, in process and over HTTP.

Every epoch has one node with most of the jobs; its store is written by the service's own writer, from rows of made-up
jobs. Cold: the epoch is closed and the kernel is told to forget its files before every question (what the disk or the
host keep is theirs). The alternative is what the service does without a store: read the node's segments and build its
tree. Verification: decode and check every step, processor time.
"""

import argparse
import gc
import http.client
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meridian import verifier
from meridian.measure.columns import SEGMENT_ROWS_MAX, segment_columns, write_segment
from meridian.measure.commitment import (
    EpochCommitment,
    build_node_rows,
    committed_root,
    job_roots,
    node_tree,
)
from meridian.measure.manifest import Manifest, Nodes, SegmentRef
from meridian.measure.proof_form import MEDIA_TYPE, encode_binary, encode_json
from meridian.measure.row import rebuild_rows
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.measure.stored_tree import JOB_ROWS, level_above
from meridian.node.measure.proof_routes import ProofRoutes
from meridian.node.measure.proving import Proving
from meridian.node.measure.publication import Publication
from meridian.node.measure.sealed_epoch import SealedStore
from meridian.node.measure.sealed_store import SealedWriter, epoch_directory
from meridian.primitives import hashing
from meridian.primitives.cid import cid_text
from meridian.primitives.hashing import ByteMatrix, sha256_rows
from meridian.primitives.ids import Address, network_id, node_key
from meridian.primitives.sumtree import LaneKind
from meridian.verifier import Name

Result = dict[str, Any]
SCHEMA: Final = NetworkSchema(
    id=1,
    name="proofs",
    evaluation_fields=(Field.integer("bytes"), Field.integer("ms")),
    additional_fields=(),
    lanes=Lanes(LaneKind.PAIR_U64, ("bytes", "ms")),
)
NETWORK: Final = "proofs"
STARTED_US: Final = 1_682_899_200_000_000
ID_DIGITS: Final = 10
BIG: Final = "node-0000"
_WARM_UP: Final = 30


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--jobs", type=int, default=5_700_000, help="of an epoch")
    parser.add_argument("--nodes", type=int, default=3_000)
    parser.add_argument("--big", type=int, default=5_000_000, help="jobs of the one big node")
    parser.add_argument("--questions", type=int, default=400, help="of each way")
    parser.add_argument("--slow", type=int, default=2, help="questions to the segments")
    parser.add_argument("--data", type=Path, help="keep the epochs here; use them if there")


class World:
    """The epochs in a directory, and who has which jobs: the jobs of node i are numbers `starts[i]` to `starts[i + 1]`."""

    def __init__(self, data: Path, epochs: int, jobs: int, nodes: int, big: int) -> None:
        self.data, self.epochs, self.jobs = data, epochs, jobs
        self.publication, self.sealed = Publication(data / "public"), data / "sealed"
        rest = np.full(nodes - 1, (jobs - big) // (nodes - 1), dtype=np.int64)
        rest[: (jobs - big) % (nodes - 1)] += 1
        names = [f"node-{at:04d}" for at in range(nodes)]
        counts = dict(zip(names, [big, *rest.tolist()], strict=True))
        self.ids = sorted(names, key=node_key)
        self.counts = np.array([counts[name] for name in self.ids], dtype=np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.counts)])

    def proving(self) -> Proving:
        return Proving(NETWORK, SCHEMA, 0, self.publication, SealedStore(self.sealed))

    def job(self, number: int) -> tuple[str, str]:
        """Node and id of a job."""
        at = int(np.searchsorted(self.starts, number, "right")) - 1
        return self.ids[at], f"{number:0{ID_DIGITS}d}"

    def build(self, epoch: int) -> None:
        """Write one epoch's store; of epoch 0 also the segments."""
        numbers = np.arange(self.jobs, dtype=np.int64)
        digits = (numbers[:, None] // 10 ** np.arange(ID_DIGITS - 1, -1, -1)) % 10
        texts = (digits + ord("0")).astype(np.uint8)
        keys = sha256_rows(texts)
        words = np.ascontiguousarray(keys[:, :8]).view(">u8").ravel().astype(np.uint64)
        node_of = np.repeat(np.arange(len(self.ids)), self.counts)
        order = np.lexsort((words, node_of))
        if epoch == 0:
            table = self._table(texts[order], node_of[order])
            rows, segments = rebuild_rows(SCHEMA, table), self._segments(table)
        else:
            rows, segments = _rows(keys[order], epoch), ()
        self._seal(epoch, rows, segments)

    def _table(self, texts: ByteMatrix, node_of: npt.NDArray[np.int64]) -> pa.Table:
        count = len(texts)
        offsets = np.arange(0, ID_DIGITS * (count + 1), ID_DIGITS, dtype=np.int32)
        job_ids = pa.StringArray.from_buffers(
            count, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(texts))
        )
        numbers = np.arange(count, dtype=np.int64)
        seeds = pa.array([bytes(32)], pa.binary(32))
        columns = {
            "node_id": pa.DictionaryArray.from_arrays(node_of.astype(np.int32), self.ids).cast(
                pa.string()
            ),
            "job_id": job_ids,
            "flags": pa.array(np.zeros(count, dtype=np.uint16)),
            "started_us": pa.array(STARTED_US + numbers),
            "ended_us": pa.array(STARTED_US + 1000 + numbers),
            "bytes": pa.array(numbers % 100_000),
            "ms": pa.array(numbers % 100),
            "batch_seed": pa.DictionaryArray.from_arrays(
                np.zeros(count, dtype=np.int32), seeds
            ).cast(pa.binary(32)),
        }
        schema = segment_columns(SCHEMA)
        return pa.table({name: columns[name] for name in schema.names}).cast(schema)

    def _segments(self, table: pa.Table) -> tuple[SegmentRef, ...]:
        found = []
        for start in range(0, table.num_rows, SEGMENT_ROWS_MAX):
            part = table.slice(start, SEGMENT_ROWS_MAX)
            data = write_segment(part)
            found.append(SegmentRef(self.publication.put(data), part.num_rows, len(data)))
        return tuple(found)

    def _seal(self, epoch: int, rows: ByteMatrix, segments: tuple[SegmentRef, ...]) -> None:
        payees = [Address(bytes(20))] * len(self.ids)
        roots = job_roots(SCHEMA, rows, self.counts)
        node_rows = build_node_rows(SCHEMA, epoch, self.ids, payees, roots)
        top = node_tree(node_rows, SCHEMA.lanes.kind).root
        root = committed_root(epoch, len(self.ids), top)
        nodes = Nodes(tuple(self.ids), node_rows)
        with SealedWriter(self.sealed, epoch, SCHEMA.lanes.kind) as writer:
            writer.rows(rows)
            for first, end in zip(self.starts[:-1], self.starts[1:], strict=True):
                leaves = JOB_ROWS.leaves(rows[first:end])
                writer.subtrees(level_above(leaves, JOB_ROWS.tag, SCHEMA.lanes.kind))
            writer.finish(EpochCommitment(epoch, root, top[32:], nodes))
        manifest = Manifest(
            network=NETWORK,
            network_id=network_id(NETWORK),
            epoch=epoch,
            aggregator=Address(bytes(20)),
            schema=self.publication.put(SCHEMA.encode()),
            segments=segments,
            nodes=self.publication.put(nodes.encode()),
            inputs=(),
            root=root,
            n_nodes=len(self.ids),
            annotation=top[32:],
            late=0,
            duplicates=0,
        )
        digest = self.publication.put(manifest.encode())
        index = {"epoch": epoch, "state": "committed", "manifest": cid_text(digest)}
        self.publication.write_index(epoch, index | {"root": root.hex(), "jobs": self.jobs})

    def forget(self, epoch: int) -> None:
        """Tell the kernel to drop what it holds of an epoch's files."""
        for path in epoch_directory(self.sealed, epoch).iterdir():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def _rows(keys: ByteMatrix, epoch: int) -> ByteMatrix:
    """Job rows with made-up times, sums and private commitments."""
    rows = np.zeros((len(keys), 100), dtype=np.uint8)
    rows[:, 1] = SCHEMA.id
    rows[:, 4:36] = keys
    rows[:, 36:52] = np.frombuffer(STARTED_US.to_bytes(8, "big") * 2, dtype=np.uint8)
    rows[:, 58:60], rows[:, 67] = keys[:, :2], keys[:, 2]
    rows[:, 68:] = np.roll(keys, epoch + 1, axis=1)
    return rows


def serve(data: Path) -> None:
    """Serve only the proofs, as a process of its own."""
    from aiohttp import web  # noqa: PLC0415 - only here

    app = web.Application()
    proving = Proving(
        NETWORK, SCHEMA, 0, Publication(data / "public"), SealedStore(data / "sealed")
    )
    ProofRoutes(proving).add_to(app)
    gc.freeze()  # as the service does
    web.run_app(app, host="127.0.0.1", port=0, print=lambda text: print(text, flush=True))


def measure(
    *, epochs: int, jobs: int, nodes: int, big: int, questions: int, slow: int, data: Path | None
) -> Result:
    """Build what is missing, ask, and verify."""
    kept = Path(tempfile.mkdtemp(prefix="proofs-")) if data is None else data
    kept.mkdir(parents=True, exist_ok=True)
    try:
        return _measure(World(kept, epochs, jobs, nodes, big), big, questions, slow)
    finally:
        if data is None:
            shutil.rmtree(kept)


def _measure(world: World, big: int, questions: int, slow: int) -> Result:
    kernel, started = hashing.prepare(), time.process_time()
    missing = [e for e in range(world.epochs) if world.publication.read_index(e) is None]
    for epoch in missing:
        world.build(epoch)
        print(f"epoch {epoch} is there", file=sys.stderr)
    result: Result = {
        "jobs": world.epochs * world.jobs,
        "epochs": world.epochs,
        "big node": big,
        "hashing": kernel,
        "built": len(missing),
        "build cpu s": time.process_time() - started,
        "store bytes a job": _size(world.sealed) / (world.epochs * world.jobs),
        "load": os.getloadavg()[0],
    }
    pick = random.Random(7)
    at = world.ids.index(BIG)
    first = int(world.starts[at])
    ways = {
        "any job": lambda: world.job(pick.randrange(world.jobs)),
        "job of the big node": lambda: world.job(first + pick.randrange(big)),
        "absent job of the big node": lambda: (BIG, f"never-{pick.random()}"),
        "absent node": lambda: (f"nobody-{pick.random()}", "x"),
    }
    asked = {
        name: [(pick.randrange(world.epochs), *way()) for _ in range(questions)]
        for name, way in ways.items()
    }
    result["warm"] = {name: _ask(world, each) for name, each in asked.items()}
    result["cold"] = {name: _ask(world, each, cold=True) for name, each in asked.items()}
    result["http"] = _http(world, asked)
    result["sizes"], result["verify"] = _verified(world, asked)
    result["segments"] = _from_segments(world, slow, first, big)
    return result


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _spread(seconds: list[float]) -> Result:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {"median ms": 1e3 * statistics.median(ordered), "p99 ms": 1e3 * p99}


def _timed(ask: Callable[[], object]) -> float:
    started = time.perf_counter()
    ask()
    return time.perf_counter() - started


def _ask(world: World, asked: list[tuple[int, str, str]], *, cold: bool = False) -> Result:
    proving, seconds, cpu = world.proving(), [], 0.0
    for number, (epoch, node, job) in enumerate(asked):
        if cold:
            world.forget(epoch)
            proving = world.proving()
        before = time.process_time()
        took = _timed(lambda: proving.prove(epoch, Name.of(node), Name.of(job)))  # noqa: B023 - at once
        if cold or number >= _WARM_UP:
            seconds.append(took)
            cpu += time.process_time() - before
    return _spread(seconds) | {"cpu ms": 1e3 * cpu / len(seconds)}


def _http(world: World, asked: dict[str, list[tuple[int, str, str]]]) -> Result:
    code = f"import pathlib, benchmarks.proofs as p; p.serve(pathlib.Path({str(world.data)!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = next(
            int(line.rsplit(":", 1)[1].split()[0].rstrip("/"))
            for line in process.stdout
            if "http://" in line
        )
        found: Result = {}
        with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:

            def ask(epoch: int, node: str, job: str) -> None:
                path = f"/v1/epochs/{epoch}/proofs/job/{node}/{job}"
                connection.request("GET", path, headers={"Accept": MEDIA_TYPE})
                answer = connection.getresponse()
                assert answer.read()[:4] == verifier.MAGIC
                assert answer.status == 200

            for name, each in asked.items():
                seconds = [_timed(lambda one=one: ask(*one)) for one in each]  # type: ignore[misc]
                found[name] = _spread(seconds[_WARM_UP:])
        return found
    finally:
        process.terminate()
        process.wait()


def _verified(world: World, asked: dict[str, list[tuple[int, str, str]]]) -> tuple[Result, Result]:
    sizes: Result = {}
    times: Result = {}
    proving = world.proving()
    for name, each in asked.items():
        epoch, node, job = each[0]
        file = proving.prove(epoch, Name.of(node), Name.of(job))
        root = verifier.root_of(file)
        sizes[name] = {}
        for form, data in (("binary", encode_binary(file)), ("json", encode_json(file))):
            times[f"{name}, {form}"] = statistics.median(_verify_ms(data, root) for _ in range(9))
            sizes[name][form] = len(data)
    return sizes, times


def _verify_ms(data: bytes, root: bytes) -> float:
    started = time.process_time()
    for _ in range(100):
        assert verifier.holds(verifier.check(verifier.decode(data), root))
    return 1e3 * (time.process_time() - started) / 100


def _from_segments(world: World, slow: int, first: int, big: int) -> Result | None:
    """The same questions to a service whose store of epoch 0 is gone."""
    if not slow:
        return None
    proving = Proving(NETWORK, SCHEMA, 0, world.publication, SealedStore(world.data / "no-store"))
    pick, seconds, cpu = random.Random(9), [], time.process_time()
    for _ in range(slow):
        node, job = world.job(first + pick.randrange(big))
        seconds.append(_timed(lambda: proving.prove(0, Name.of(node), Name.of(job))))  # noqa: B023 - at once
    return _spread(seconds) | {"cpu ms": 1e3 * (time.process_time() - cpu) / slow}


def report(result: Result) -> None:
    print(
        f"{result['jobs']:,} jobs in {result['epochs']} epochs, {result['big node']:,} of each epoch of one node; "
        f"hashing: {result['hashing']}; load {result['load']:.1f}"
    )
    print(
        f"store: {result['store bytes a job']:.1f} bytes a job; {result['built']} epochs built "
        f"in {result['build cpu s']:.0f} s of processor time"
    )
    print(
        f"{'milliseconds':<28}{'warm':>8}{'p99':>8}{'cpu':>8}{'cold':>8}{'p99':>8}{'HTTP':>8}{'p99':>8}"
    )
    for name, warm in result["warm"].items():
        cold, http_ = result["cold"][name], result["http"][name]
        cells = [warm[k] for k in ("median ms", "p99 ms", "cpu ms")]
        cells += [each[k] for each in (cold, http_) for k in ("median ms", "p99 ms")]
        print(f"{name:<28}" + "".join(f"{cell:8.2f}" for cell in cells))
    for name, sizes in result["sizes"].items():
        binary, text = (result["verify"][f"{name}, {form}"] for form in ("binary", "json"))
        print(
            f"{name:<28}binary {sizes['binary']:,} bytes, verified in {binary:.3f} ms; "
            f"JSON {sizes['json']:,} bytes, {text:.3f} ms"
        )
    if result["segments"]:
        ratio = result["segments"]["median ms"] / result["warm"]["job of the big node"]["median ms"]
        print(
            f"from segments (big node): {result['segments']['median ms']:,.0f} ms, "
            f"{result['segments']['cpu ms']:,.0f} ms of processor time: {ratio:,.0f} times as long as from the store"
        )
