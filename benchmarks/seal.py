"""Sealing one epoch of Saturn from a log that real ingest wrote, and committing it: processor time, by stage, and memory.

The log is written first, by a process of its own that does what ingest does, and does not count. Then one process
seals and commits: what `Settling` does, with the ledger in a file. Processor time is all threads', loading the kernels
not among it. Stages are exclusive of each other; `rest` is what no other stage claims.
"""

import argparse
import functools
import json
import multiprocessing
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from benchmarks.traffic import Columns, Traffic
from meridian.measure.admission import LaneSums
from meridian.measure.arrow_batch import encode_arrow
from meridian.measure.batch_decode import Body, BodyKind
from meridian.measure.commitment import node_tree_hash
from meridian.measure.epoch import Calendar, PlacementRules
from meridian.measure.epoch_builder import EpochBuilder
from meridian.measure.job_tuples import Layout
from meridian.measure.manifest import Nodes
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.measure.seen_jobs import SeenJobs
from meridian.measure.tuple_moves import Mover
from meridian.networks.generator import EPOCH_SECONDS, GENESIS_S
from meridian.networks.saturn import SCHEMA
from meridian.node.measure import seal
from meridian.node.measure.external_sort import ExternalSort
from meridian.node.measure.grouping import Aggregator, Grouping, Submitted
from meridian.node.measure.job_log import FrameRef, JobLog
from meridian.node.measure.journal import Journal, open_journal
from meridian.node.measure.ledger import FileLedger
from meridian.node.measure.log_reader import LogFrames, LogReader
from meridian.node.measure.node_numbers import NodeNumbers
from meridian.node.measure.nodes import FileNodes, NodeDirectory
from meridian.node.measure.publication import Publication
from meridian.node.measure.published_log import PublishedLog, SignedState
from meridian.node.measure.sealed_store import SealedWriter
from meridian.node.measure.sorted_columns import SegmentColumns
from meridian.node.measure.tuple_blocks import Blocks
from meridian.primitives import hashing
from meridian.primitives.checksum import crc32
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, address_text, network_id, node_key
from meridian.primitives.keys import PrivateKey
from meridian.primitives.sumtree import LaneKind

Result = dict[str, Any]

EPOCH: Final = 1
BATCH: Final = 10_000
LOG_BYTES_MAX: Final = 1 << 40
RULES: Final = PlacementRules(Calendar(GENESIS_S, EPOCH_SECONDS, EPOCH))
KEY: Final = PrivateKey(bytes(31) + b"\x05")
LEAN: Final = NetworkSchema(
    id=99,
    name="lean",
    evaluation_fields=(Field.integer("size"),),
    additional_fields=(),
    lanes=Lanes(LaneKind.U128, ("size",)),
)
TARGET: Final = 800_000
"""Jobs per processor second, seal and commit."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--jobs", type=int, default=5_700_000)
    parser.add_argument("--nodes", type=int, default=3_000)
    parser.add_argument("--memory-mib", type=int, default=2048, help="what the seal may take")
    parser.add_argument(
        "--hashlib-jobs", type=int, default=600_000, help="jobs that hashlib seals too"
    )
    parser.add_argument(
        "--lean",
        action="store_true",
        help="records of one number, for epochs whose log of Saturn's would not fit the disk",
    )
    parser.add_argument("--folder", type=Path, help="keep the logs here; use them if there")


def measure(
    jobs: int,
    nodes: int,
    memory_mib: int,
    hashlib_jobs: int,
    folder: Path | None,
    *,
    lean: bool = False,
) -> Result:
    """Seal all jobs, and a slice of them with each kind of hashing.

    Args:
        jobs: In the epoch.
        nodes: Registered ones.
        memory_mib: What the seal may take.
        hashlib_jobs: Jobs of the epoch on which hashlib is compared; 0 for no comparison.
        folder: Where logs are kept; None: a temporary folder.
        lean: Whether records hold one number alone.
    """
    with tempfile.TemporaryDirectory(prefix="seal-") as temporary:
        root = folder or Path(temporary)
        result: Result = {"jobs": jobs, "nodes": nodes, "memory_mib": memory_mib, "lean": lean}
        schema = LEAN if lean else SCHEMA
        log = _log(root, schema, jobs, nodes)
        result["whole"] = _sealed(log, schema, memory_mib, None)
        result["replay"] = _alone(_replay, log, schema, jobs)
        if hashlib_jobs:
            log = _log(root, schema, hashlib_jobs, nodes)
            result["slice"] = _sealed(log, schema, memory_mib, None)
            result["hashlib"] = _sealed(log, schema, memory_mib, hashing.HASHLIB)
            same = result["slice"]["root"] == result["hashlib"]["root"]
            assert same, "the root depends on who hashes"
        return result


def _replay(log: Path, schema: NetworkSchema, jobs: int) -> Result:
    """Open the log as a service does at its start: every frame is checked, every job remembered."""
    hashing.prepare()
    crc32(bytes(1 << 16))
    seen = SeenJobs(bytes(32), jobs)
    started, cpu_s = time.monotonic(), time.process_time()
    journal = open_journal(
        log / "log", schema, EPOCH, seen=seen, bytes_max=LOG_BYTES_MAX, remembered_epochs=1
    )
    cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - started
    found = journal.counts(EPOCH)[0]
    journal.close()
    assert found == jobs, f"{found} of {jobs} jobs are in the log"
    return {"jobs": found, "cpu_s": cpu_s, "wall_s": wall_s, "jobs_per_cpu_s": found / cpu_s}


def _log(root: Path, schema: NetworkSchema, jobs: int, nodes: int) -> Path:
    """Return the folder of a log, written if it is not there."""
    log = root / f"log-{schema.name}-{jobs}-{nodes}"
    if not (log / "refs.json").exists():
        _alone(_write_log, log, schema, jobs, nodes)
    return log


def _sealed(log: Path, schema: NetworkSchema, memory_mib: int, kernel: str | None) -> Result:
    with tempfile.TemporaryDirectory(dir=log.parent) as work:
        found: Result = _alone(_seal, log, schema, Path(work), memory_mib, kernel)
        return found


def _alone(run: Callable[..., Any], *arguments: Any) -> Any:
    """Run in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(run, *arguments).result()


# -- the log ------------------------------------------------------------------------------------------


def _write_log(folder: Path, schema: NetworkSchema, jobs: int, nodes: int) -> None:
    """Admit batches as ingest does, and note where the epoch's groups are."""
    hashing.prepare()
    folder.mkdir(parents=True, exist_ok=True)
    traffic = Traffic(nodes)
    accounts = [address_text(Address(node_key(one)[:20])) for one in traffic.ids]
    registered = [
        {"node_id": one, "operator": account, "payee": account}
        for one, account in zip(traffic.ids, accounts, strict=True)
    ]
    (folder / "nodes.json").write_text(json.dumps(registered))
    journal = Journal(
        JobLog(folder / "log", LOG_BYTES_MAX),
        schema,
        EPOCH,
        seen=SeenJobs(bytes(32), jobs),
        sums=LaneSums(schema),
        remembered_epochs=1,
    )
    aggregator = Aggregator(
        network_id=network_id("saturn"),
        schema=schema,
        rules=RULES,
        key=KEY,
        domain=Domain(31337, Address(bytes(20))),
        seed_secret=bytes(32),
        replay=True,
        signed_within_us=0,
    )
    grouping = Grouping(aggregator, journal, _directory(folder))
    now_us = RULES.calendar.end_us(EPOCH)
    batches = -(-jobs // BATCH)
    for at in range(batches):
        rows = min(BATCH, jobs - at * BATCH)
        columns = traffic.columns(0, at, batches, rows)
        stream = traffic.arrow(columns) if schema.name == SCHEMA.name else _lean(traffic, columns)
        group = grouping.group([Submitted(Body(BodyKind.ARROW, stream))], now_us, now_us)
        assert group.frame is not None, group.answers
        journal.append_group(group.frame, group.hashes)
        journal.sync()
    assert journal.counts(EPOCH) == (jobs, 0), "all are accepted"
    refs = [ref.pack() for ref in journal.frames_of(EPOCH)]
    journal.close()
    (folder / "refs.json").write_text(json.dumps(refs))


def _lean(traffic: Traffic, batch: Columns) -> bytes:
    """Return a batch of records of one number as an Arrow IPC stream."""
    columns = {
        "node_id": [traffic.ids[node] for node in batch.node.tolist()],
        "job_id": [raw.tobytes().decode() for raw in batch.job[:, :16]],
        "started_us": batch.ended_us - batch.duration_ns // 1_000,
        "ended_us": batch.ended_us,
        "size": batch.sent,
    }
    return encode_arrow(pa.table(columns), LEAN)


def _directory(folder: Path) -> NodeDirectory:
    directory = NodeDirectory(FileNodes(folder / "nodes.json"))
    directory.refresh()
    return directory


# -- the seal -----------------------------------------------------------------------------------------


class _Stages:
    """Processor time of functions, each without those inside it."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = defaultdict(float)
        self._inside: list[str] = ["rest"]
        self._since = time.process_time()

    def time(self, owner: Any, name: str, stage: str) -> None:
        """Claim a function for a stage."""
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def timed(*arguments: Any, **options: Any) -> Any:
            self.turn()
            self._inside.append(stage)
            try:
                return inner(*arguments, **options)
            finally:
                self.turn()
                self._inside.pop()

        setattr(owner, name, timed)

    def turn(self) -> None:
        """Count the time since the last turn."""
        now = time.process_time()
        self.cpu_s[self._inside[-1]] += now - self._since
        self._since = now


def _seal(
    log: Path, schema: NetworkSchema, work: Path, memory_mib: int, kernel: str | None
) -> Result:
    hashing.force(kernel)
    used = hashing.prepare()
    Mover(Layout(schema)).expect(1)
    crc32(bytes(1 << 16))
    directory = _directory(log)
    refs = [FrameRef.unpack(packed) for packed in json.loads((log / "refs.json").read_text())]
    stages = _Stages()
    stages.time(LogFrames, "__getitem__", "read log, check its CRC")
    stages.time(NodeNumbers, "of", "numbers of nodes")
    for name in ("sizes", "place", "pack"):
        stages.time(Mover, name, "to tuples in buckets")
    stages.time(ExternalSort, "_stretch", "order")
    stages.time(Blocks, "_slot", "spill")
    stages.time(Blocks, "bring", "spill")
    stages.time(SegmentColumns, "add", "to columns")
    stages.time(seal, "job_rows", "pack rows")
    stages.time(EpochBuilder, "add", "hash trees")
    for name in ("rows", "subtrees", "finish"):
        stages.time(SealedWriter, name, "sealed store")
    stages.time(seal.SegmentWriter, "write", "segments")
    started, cpu_s = time.monotonic(), time.process_time()
    root, jobs = _settle(log, schema, work, refs, directory, memory_mib << 20)
    cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - started
    stages.turn()
    status = Path("/proc/self/status").read_text()
    return {
        "kernel": used,
        "jobs": jobs,
        "root": root,
        "cpu_s": cpu_s,
        "wall_s": wall_s,
        "jobs_per_cpu_s": jobs / cpu_s,
        "peak_mib": int(status.split("VmHWM:")[1].split()[0]) >> 10,
        "stages_cpu_s": dict(stages.cpu_s),
    }


def _settle(
    log: Path,
    schema: NetworkSchema,
    work: Path,
    refs: list[FrameRef],
    directory: NodeDirectory,
    memory_bytes: int,
) -> tuple[str, int]:
    """Publish the epoch and commit it, as the service does."""
    publication = Publication(work / "public")
    ledger = FileLedger(work / "ledger.ndjson")
    epoch_log = PublishedLog(
        work / "public/log", SignedState(work / "signed"), "bench/saturn", bytes(32)
    )
    with LogReader(log / "log") as reader:
        manifest = seal.publish_epoch(
            publication,
            schema,
            network="saturn",
            epoch=EPOCH,
            aggregator=KEY.address,
            frames=LogFrames(reader, refs),
            duplicates=0,
            payees=lambda names: seal.payees_of(names, directory),
            inputs={},
            work=work / "sealing",
            memory_bytes=memory_bytes,
            sealed=work / "sealed",
        )
    record = seal.record_of(manifest)
    nodes = Nodes.decode(publication.get(manifest.nodes))
    ledger.commit(record, node_tree_hash(nodes, schema.lanes.kind))
    epoch_log.append(0, record.encode())
    return manifest.root.hex(), manifest.jobs


def report(result: Result) -> None:
    """Print the figures."""
    bound = result["memory_mib"]
    for name in ("whole", "slice", "hashlib"):
        if name not in result:
            continue
        run = result[name]
        print(
            f"{name:8} {run['jobs']:>10,} jobs, {run['kernel']}: {run['cpu_s']:.2f} CPU s, {run['wall_s']:.2f} s,"
            f" {run['jobs_per_cpu_s']:,.0f} jobs per CPU s, peak {run['peak_mib']} MiB of {bound}"
        )
    whole = result["whole"]
    print(f"target   {TARGET:,}: {'held' if whole['jobs_per_cpu_s'] >= TARGET else 'missed'}")
    if "hashlib" in result:
        ratio = result["hashlib"]["cpu_s"] / result["slice"]["cpu_s"]
        print(f"hashlib takes {ratio:.2f} times the processor time of {result['slice']['kernel']}")
    replay = result["replay"]
    print(
        f"replay of the log at a start: {replay['cpu_s']:.2f} CPU s, {replay['wall_s']:.2f} s,"
        f" {replay['jobs_per_cpu_s']:,.0f} jobs per CPU s"
    )
    print("stages of the whole, CPU s:")
    for stage, cpu_s in sorted(whole["stages_cpu_s"].items(), key=lambda item: -item[1]):
        print(f"  {stage:24} {cpu_s:6.2f}")
