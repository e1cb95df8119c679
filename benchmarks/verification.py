"""How long `meridian verify` takes for one epoch, beside the time that it took to commit and to evaluate it.

Four evaluators decide through real replicas, and everything that they and the aggregator publish lies in directories; the
chain is the tests' view in memory. All links must hold.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.evaluation import generate
from meridian.audit.epoch import verify_epoch_evidence
from meridian.audit.evidence import Link, State
from meridian.audit.measured import epoch_digest
from meridian.audit.source import Network, Schedule
from meridian.committee.observation import Observation, observe
from meridian.committee.settlement import EpochTerms, Settled, Settlement
from meridian.contracts.events import Committed, NodeRegistered, Reported
from meridian.ephemera.context import Context
from meridian.evaluate.function import EpochInput
from meridian.evaluate.inputs import inputs_root_of
from meridian.evaluate.row import RowHeader
from meridian.measure.columns import (
    DIGEST_TYPE,
    SEGMENT_ROWS_MAX,
    read_segment,
    segment_columns,
    write_segment,
)
from meridian.measure.epoch import Calendar
from meridian.measure.epoch_builder import EpochBuilder
from meridian.measure.manifest import Manifest, Nodes, SegmentRef
from meridian.measure.order import node_indices, sort_order
from meridian.measure.row import job_keys, rebuild_rows
from meridian.measure.signed_note import verifier_of
from meridian.measure.union_epoch import FromAggregator, FromNode, gather_epoch
from meridian.networks.definition import BATCH_RECORDS
from meridian.networks.generator import EPOCH_SECONDS, FIRST_EPOCH, GENESIS_S, Draws
from meridian.networks.saturn import DEFINITION, SCHEMA
from meridian.node.audit_sources import PublishedSource
from meridian.node.chain_view import AcceptedReport, Commitment
from meridian.node.evaluator.publish import Evidence, publish_outcome
from meridian.node.job_store import MEMORY_MIB, JobStore
from meridian.node.measure.publication import Publication
from meridian.node.measure.published_log import PublishedLog, SignedState
from meridian.node.measure.seal import record_of
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import ZERO_ADDRESS, Address, NodeKey, network_id, node_key
from meridian.primitives.keys import PrivateKey

Result = dict[str, Any]

NAME = "saturn"
TARGET_RATIO = 2.0
BUDGET = 10**24
LOG_SEED = bytes([9]) * 32
AGGREGATOR = PrivateKey(bytes([77]) * 32).address
SECONDS = tuple(Address(bytes([number]) * 20) for number in range(101, 108))
KEYS = sorted((PrivateKey(bytes([i]) * 32) for i in range(1, 5)), key=lambda key: key.address)
NETWORK = Network(
    name=NAME,
    network_id=network_id(NAME),
    chain_id=31337,
    registry=Address(bytes([0xA1]) * 20),
    commitments=Address(bytes([0xA2]) * 20),
    evaluations=Address(bytes([0xA3]) * 20),
    rewards=Address(bytes([0xA4]) * 20),
    disputes=ZERO_ADDRESS,
    genesis_s=GENESIS_S,
    epoch_seconds=EPOCH_SECONDS,
    first_epoch=FIRST_EPOCH,
    aggregator=AGGREGATOR,
    log_vkey=verifier_of("log.saturn", LOG_SEED).text,
    schema_digest=SCHEMA.digest,
)
MEASURE = "measure"
EVALUATORS = tuple(f"evaluators/{number}" for number in range(1, 5))
DOMAIN = Domain(chain_id=NETWORK.chain_id, contract=NETWORK.evaluations)
CALENDAR = Calendar(GENESIS_S, EPOCH_SECONDS, FIRST_EPOCH)


class Clock:
    """Processor seconds of this process, its threads and its children, and its greatest memory, by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peak_mib: dict[str, int] = {}

    def time(self, phase: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call, and book what it took."""
        pa.default_memory_pool().release_unused()
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = os.times()
        value = call(*arguments)
        after = os.times()
        status = Path("/proc/self/status").read_text()
        self.peak_mib[phase] = int(status.split("VmHWM:")[1].split()[0]) // 1024
        self.seconds[phase] = sum(after[:4]) - sum(before[:4])
        return value


def payee(node_id: str) -> Address:
    """Return where a made-up node is paid."""
    return Address(node_key(node_id)[:20])


def jobs_of(folder: Path) -> pa.Table:
    """Return the generated jobs, each of a batch of mixed nodes with a seed of its own, in the order of an epoch."""
    parts, draws = [], Draws(2)
    for number, file in enumerate(sorted(folder.glob("*.parquet"))):
        part = read_segment(file.read_bytes(), SCHEMA)
        batch = draws.below(f"{number}/batch", part.num_rows, -(-part.num_rows // BATCH_RECORDS))
        seeds = [digest_of(f"{number}/{at}".encode()) for at in range(int(batch.max()) + 1)]
        column = pa.array(seeds, DIGEST_TYPE).take(pa.array(batch))
        at = part.schema.get_field_index("batch_seed")
        parts.append(part.set_column(at, part.schema.field(at), column))
    table = pa.concat_tables(parts)
    return table.take(sort_order(table.column("node_id"), job_keys(table.column("job_id"))))


def commit(publication: Publication, table: pa.Table) -> Manifest:
    """Do what an aggregator does with sorted records: hash each job, build the trees, write and publish."""
    builder, segments = EpochBuilder(SCHEMA, FIRST_EPOCH), []
    for start in range(0, table.num_rows, SEGMENT_ROWS_MAX):
        part = table.slice(start, SEGMENT_ROWS_MAX)
        builder.add(part.column("node_id"), rebuild_rows(SCHEMA, part))
        data = write_segment(part)
        segments.append(SegmentRef(publication.put(data), part.num_rows, len(data)))
    names, _ = node_indices(table.column("node_id"))
    made = builder.finish({name: payee(name) for name in names})
    manifest = Manifest(
        network=NAME,
        network_id=NETWORK.network_id,
        epoch=FIRST_EPOCH,
        aggregator=AGGREGATOR,
        schema=publication.put(SCHEMA.encode()),
        segments=tuple(segments),
        nodes=publication.put(made.nodes.encode()),
        inputs=(),
        root=made.root,
        n_nodes=made.n_nodes,
        annotation=made.annotation,
        late=0,
        duplicates=0,
    )
    publication.put(manifest.encode())
    return manifest


@dataclass(frozen=True)
class Epoch:
    """A committed epoch, and the directories and the chain that know of it."""

    root: Path
    committed: Committed
    chain: Any
    """The tests' `MemoryChain`."""
    header: RowHeader


def publish(root: Path, publication: Publication, manifest: Manifest) -> Epoch:
    """Put the commitment into the log and on the chain."""
    from audit.memory_chain import MemoryChain  # noqa: PLC0415 - of the tests, not installed

    index = {"epoch": FIRST_EPOCH, "manifest": cid_text(manifest.digest)}
    publication.write_index(FIRST_EPOCH, index)
    state = SignedState(root / "log.signed")
    log = PublishedLog(publication.root / "log", state, "log.saturn", LOG_SEED)
    log.append(0, record_of(manifest).encode())
    publication.put(DEFINITION.parameters.encode())
    for layer in DEFINITION.layer_bundles.values():
        publication.put(layer)
    event = Committed(
        FIRST_EPOCH,
        AGGREGATOR,
        manifest.root,
        manifest.n_nodes,
        manifest.annotation,
        manifest.digest,
        b"",
    )
    event = replace(event, digest=epoch_digest(bytes(32), event))
    parameters = DEFINITION.parameters.digest
    function = DEFINITION.evaluation_function.digest
    chain = MemoryChain(
        network=NETWORK,
        members=tuple(key.address for key in KEYS),
        version=Schedule(1, function, parameters),
        budgets={FIRST_EPOCH: BUDGET},
    )
    nodes = Nodes.decode(publication.get(manifest.nodes))
    chain.registered = [
        NodeRegistered(node_key(name), payee(name), payee(name), 10**17) for name in nodes.ids
    ]
    chain.committed = [event]
    header = RowHeader(
        NETWORK.network_id,
        FIRST_EPOCH,
        event.digest,
        function,
        parameters,
        inputs_root_of({}),
    )
    return Epoch(root, event, chain, header)


@dataclass(frozen=True)
class Published:
    """What an evaluator fetches: `meridian.measure.union_epoch.Artefacts`."""

    publication: Publication

    def segment(self, source: FromAggregator, at: int) -> bytes:
        return self.publication.get(source.manifest.segments[at].digest)

    def nodes(self, source: FromAggregator) -> Nodes:
        return Nodes.decode(self.publication.get(source.manifest.nodes))

    def own_segment(self, source: FromNode) -> bytes | None:
        raise AssertionError(source)

    def payee(self, node: NodeKey) -> Address | None:
        raise AssertionError(node)


def gathered(
    publication: Publication, manifest: Manifest, memory_mib: int, aggregators: int = 1
) -> EpochInput:
    """Fetch, check and keep the jobs as an evaluator does, before it looks at them; several commit to the very same."""
    union = gather_epoch(
        SCHEMA,
        CALENDAR,
        FIRST_EPOCH,
        [
            FromAggregator(account, replace(manifest, aggregator=account))
            for account in (AGGREGATOR, *SECONDS)[:aggregators]
        ],
        Published(publication),
        partial(JobStore, segment_columns(SCHEMA), memory_mib),
    )
    nodes, jobs = union.nodes, union.kept.jobs(union.jobs_by_node)
    return EpochInput(FIRST_EPOCH, nodes.ids, nodes.keys, nodes.payees, jobs, {})


def evaluate(epoch: Epoch, given: EpochInput) -> Observation:
    """Evaluate with all layers of the network, and make row and verdicts."""
    function, layers = DEFINITION.evaluation_function, DEFINITION.active_layers
    return observe(epoch.header, given, function, DEFINITION.parameters, layers)


def decide(epoch: Epoch, given: EpochInput, observation: Observation) -> None:
    """Let four replicas decide on the row and sign the report, and publish what each of them publishes."""
    from audit.agreement import Mesh  # noqa: PLC0415 - of the tests, not installed

    chain, committed = epoch.chain, epoch.committed
    terms = EpochTerms(
        header=epoch.header,
        members=chain.members,
        parameters=DEFINITION.parameters,
        budget_atto=BUDGET,
        payees={NodeKey(k): to for k, to in zip(given.node_keys, given.payees, strict=True)},
        aggregators={AGGREGATOR: 1},
        annotation=committed.annotation,
    )
    context = Context(DOMAIN, NETWORK.network_id, FIRST_EPOCH, chain.members)
    mesh = Mesh(context, epoch.header, KEYS)
    mesh.decide({key.address: observation.body for key in KEYS}, observation.work)
    decided = mesh.decided[KEYS[0].address]
    rows = [(chain.members[row.member], row) for row in decided.block.rows]
    settlement = Settlement(DOMAIN)
    settlement.prepare(terms)
    settlement.decided(
        FIRST_EPOCH,
        decided.block.hash,
        [(member, body) for (member, _), body in zip(rows, decided.bodies, strict=True)],
        observation.traces({member: row.opening.trace_root for member, row in rows}),
    )
    [proposal] = settlement.open_proposals()
    mesh.attest(proposal.previous, proposal.digest)
    signatures = mesh.attested[KEYS[0].address].signatures
    report = proposal.report
    facts = (report.reward_root, report.total, GENESIS_S + 2 * EPOCH_SECONDS, proposal.previous)
    chain.reported = [Reported(FIRST_EPOCH, proposal.digest, signatures[0][0], *facts)]
    accepted = AcceptedReport(
        FIRST_EPOCH, proposal.digest, signatures[0][0], *facts, tx_hash=bytes(32), block=1
    )
    settled = settlement.accept(FIRST_EPOCH, proposal.digest, proposal.previous)
    assert isinstance(settled, Settled)
    event = {name: getattr(committed, name) for name in Committed.__slots__}
    for number, key in enumerate(KEYS):
        evidence = Evidence(
            commitment=Commitment(**event, tx_hash=bytes(32), block=1),
            terms=terms,
            settled=settled,
            decided=mesh.decided[key.address],
            observation=observation,
            accepted=accepted,
            signatures=list(signatures),
            node_ids={
                NodeKey(k): name for k, name in zip(given.node_keys, given.node_ids, strict=True)
            },
        )
        publish_outcome(Publication(epoch.root / EVALUATORS[number]), evidence)


def verify(epoch: Epoch, memory_mib: int) -> list[Link]:
    """Audit the epoch; every link must hold."""
    publications = (MEASURE, *EVALUATORS)
    source = PublishedSource(epoch.root, publications, NETWORK, epoch.chain, memory_mib)
    links = verify_epoch_evidence(source, FIRST_EPOCH)
    broken = [link for link in links if link.state is not State.HOLDS]
    assert not broken, broken
    return links


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--jobs", type=int, default=570_000)
    parser.add_argument("--nodes", type=int, default=3_000)
    parser.add_argument(
        "--memory-mib", type=int, default=MEMORY_MIB, help="bound of evaluator and verify"
    )


def measure(jobs: int, nodes: int, memory_mib: int = MEMORY_MIB) -> Result:
    """Commit, evaluate and verify one epoch, each once."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    clock = Clock()
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        generate(root / "generated", jobs, nodes)
        publication = Publication(root / MEASURE)
        table = jobs_of(root / "generated")
        manifest = clock.time("commit", commit, publication, table)
        del table
        epoch = publish(root, publication, manifest)
        given = clock.time("gather", gathered, publication, manifest, memory_mib)
        observation = clock.time("evaluate", evaluate, epoch, given)
        for several in (2, 4):
            name = f"union of {several}"
            clock.time(name, gathered, publication, manifest, memory_mib, several)
        decide(epoch, given, observation)
        del given, observation
        links = clock.time("verify", verify, epoch, memory_mib)
    seconds = clock.seconds
    return {
        "jobs": manifest.jobs,
        "nodes": manifest.n_nodes,
        "links": len(links),
        "seconds": {name: round(taken, 2) for name, taken in seconds.items()},
        "ratio": round(
            seconds["verify"] / (seconds["commit"] + seconds["gather"] + seconds["evaluate"]), 2
        ),
        "peak_mib": clock.peak_mib,
        "memory_mib": memory_mib,
        "load": round(os.getloadavg()[0], 1),
    }


def report(result: Result) -> None:
    """Print a result for people."""
    r = result
    print(f"{r['jobs']:,} jobs of {r['nodes']:,} nodes, {r['links']} links hold, load {r['load']}")
    for name, taken in r["seconds"].items():
        each_us, peak_mib = taken / r["jobs"] * 1e6, r["peak_mib"][name]
        print(f"  {name:<10} {taken:8.2f} s {each_us:6.2f} us a job, peak {peak_mib:,} MiB")
    print(f"  verify / (commit + gather + evaluate)  {r['ratio']:.2f}, target {TARGET_RATIO}")
    worst = max(peak for name, peak in r["peak_mib"].items() if name != "commit")
    print(f"  evaluator and verify: peak {worst:,} MiB, bound {r['memory_mib']:,} MiB")
