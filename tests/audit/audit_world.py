"""Two whole epochs made by the real functions, written as publications, with a chain view in memory.

Four evaluators decide through real replicas; the last of them always contributes a row with one other weight, so that
every audit here also sees a minority that differs.
"""

import copy
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pyarrow as pa

from audit.agreement import Mesh
from audit.memory_chain import MemoryChain
from meridian.audit.measured import epoch_digest
from meridian.audit.record import OutcomeRecord
from meridian.audit.source import Network, Schedule
from meridian.contracts.events import Claimed, Committed, NodeRegistered, Reported
from meridian.ephemera.context import Context
from meridian.evaluate.flagging import ActiveLayer
from meridian.evaluate.function import EpochInput
from meridian.evaluate.inputs import inputs_root_of
from meridian.evaluate.layered import evaluate_layered
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.registry import function_named
from meridian.evaluate.row import Row, RowHeader
from meridian.evaluate.trace import work_root
from meridian.evaluate.verdict_document import verdict_document
from meridian.evaluate.verdicts import evaluation_leaves
from meridian.measure.columns import segment_columns, write_segment
from meridian.measure.commitment import commit_epoch, load_epoch
from meridian.measure.epoch_log import EpochRecord, checkpoint_of
from meridian.measure.manifest import InputRef, Manifest, SegmentRef
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.measure.signed_note import verifier_of
from meridian.measure.tiles import bundles_of, encode_bundle
from meridian.node.audit_sources import PublishedSource
from meridian.primitives import dagcbor
from meridian.primitives.cid import cid_text, digest_of
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import ZERO_ADDRESS, Address, NodeKey, job_key, network_id, node_key
from meridian.primitives.keys import PrivateKey
from meridian.primitives.sumtree import LaneKind
from meridian.reward.claims import ClaimsState
from meridian.reward.ledger import Ledger
from meridian.reward.members import NO_PAY, PayTerms
from meridian.reward.outcome import compute_outcome
from meridian.reward.report import NO_REPORT
from meridian.reward.result import EpochFacts, seed_result

NAME = "testnet"
GENESIS_S = 1_700_000_000
EPOCH_SECONDS = 100
FIRST_EPOCH = 7
EPOCHS = (7, 8)
BUDGET = 1_000_000_007
LOG_SEED = bytes([9]) * 32
MEASURE = "measure/public"
EVALUATORS = tuple(f"evaluators/{i}/public" for i in range(1, 5))
ADDRESS_NODE = "0xAbCdEf0123456789aBcDeF0123456789abcdef01"
NODE_IDS = ("alpha", "beta", "gamma", "delta", "epsilon", ADDRESS_NODE)

SCHEMA = NetworkSchema(
    id=5,
    name=NAME,
    evaluation_fields=(Field.integer("status code"), Field.integer("num_bytes")),
    additional_fields=(Field.string("city", 16, required=False, nullable=True),),
    lanes=Lanes(LaneKind.PAIR_U64, ("num_bytes",)),
)
PARAMETERS = EvaluationParameters(
    function={"success": {"field": "status code", "allowed": [200]}},
    aggregate="wmedian",
    allocation="largest_remainder",
    schema=SCHEMA.digest,
    reliability={"forgetting_ppm": 950_000},
)
INPUTS = {"round": b"details of the round"}
EVALUATOR_KEYS = sorted(
    (PrivateKey(bytes([i]) * 32) for i in range(1, 5)), key=lambda key: key.address
)
AGGREGATOR = PrivateKey(bytes([77]) * 32)


def address(number: int) -> Address:
    return Address(bytes([number]) * 20)


NETWORK = Network(
    name=NAME,
    network_id=network_id(NAME),
    chain_id=31337,
    registry=address(0xA1),
    commitments=address(0xA2),
    evaluations=address(0xA3),
    rewards=address(0xA4),
    disputes=ZERO_ADDRESS,
    genesis_s=GENESIS_S,
    epoch_seconds=EPOCH_SECONDS,
    first_epoch=FIRST_EPOCH,
    aggregator=AGGREGATOR.address,
    log_vkey=verifier_of("log.testnet", LOG_SEED).text,
    schema_digest=SCHEMA.digest,
)
DOMAIN = Domain(chain_id=NETWORK.chain_id, contract=NETWORK.evaluations)


def payee(node_id: str) -> Address:
    return Address(node_key(node_id)[:20])


def jobs_of(epoch: int) -> pa.Table:
    """No jobs in the epoch after the two, else 48 jobs, one in seven unsuccessful, sorted as a segment; one of epoch 8 came late."""
    rows = []
    start_us = (GENESIS_S + (epoch - FIRST_EPOCH) * EPOCH_SECONDS) * 1_000_000
    for place, node_id in enumerate(NODE_IDS if epoch in EPOCHS else ()):
        for number in range(3 + 2 * place):
            late = epoch == 8 and node_id == "beta" and number == 0
            ended_us = start_us + number * 1000 + (-5_000_000 if late else 0)
            rows.append(
                {
                    "node_id": node_id,
                    "job_id": f"job-{epoch}-{number}",
                    "flags": int(late),
                    "started_us": ended_us - 500,
                    "ended_us": ended_us,
                    "batch_seed": digest_of(f"{epoch}/{place}".encode()),
                    "status code": 502 if (place + number) % 7 == 6 else 200,
                    "num_bytes": 1000 * place + number,
                    "city": None if number % 3 else "Brno",
                }
            )
    rows.sort(key=lambda row: (node_key(row["node_id"]), job_key(row["job_id"])))
    return pa.Table.from_pylist(rows, schema=segment_columns(SCHEMA))


@dataclass
class World:
    """Publications on disk and the chain beside them."""

    root: Path
    chain: MemoryChain

    @property
    def network(self) -> Network:
        return self.chain.network

    @property
    def domain(self) -> Domain:
        return Domain(chain_id=self.network.chain_id, contract=self.network.evaluations)

    @property
    def source(self) -> PublishedSource:
        return PublishedSource(self.root, (MEASURE, *EVALUATORS), self.network, self.chain)

    def copied_to(self, root: Path) -> "World":
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        return World(root, copy.deepcopy(self.chain))

    def put(self, publication: str, data: bytes) -> bytes:
        folder = self.root / publication / "objects"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / cid_text(digest_of(data))).write_bytes(data)
        return digest_of(data)

    def path(self, publication: str, digest: bytes) -> Path:
        return self.root / publication / "objects" / cid_text(digest)

    def read(self, publication: str, digest: bytes) -> bytes:
        return self.path(publication, digest).read_bytes()

    def find(self, digest: bytes) -> bytes:
        """Return an object from any publication."""
        return self.source.object(digest)[0].data

    def write_json(self, publication: str, name: str, value: object) -> None:
        path = self.root / publication / "epochs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(value))

    def point_manifest(self, epoch: int, digest: bytes, publication: str = MEASURE) -> None:
        self.write_json(
            publication, f"{epoch:06d}.json", {"epoch": epoch, "manifest": cid_text(digest)}
        )

    def manifest(self, epoch: int) -> Manifest:
        digest = self.chain.commitments(epoch)[0].manifest
        return Manifest.decode(self.read(MEASURE, digest))

    def record(self, publication: str, epoch: int) -> OutcomeRecord:
        index = self.root / publication / "epochs" / f"{epoch:06d}.outcome.json"
        name = msgspec.json.decode(index.read_bytes())["outcome"]
        return OutcomeRecord.decode((self.root / publication / "objects" / name).read_bytes())

    def publish_record(self, publication: str, record: OutcomeRecord) -> None:
        """Publish a record and point the index at it, as its evaluator would."""
        digest = self.put(publication, record.encode())
        self.write_json(
            publication,
            f"{record.epoch:06d}.outcome.json",
            {
                "epoch": record.epoch,
                "outcome": cid_text(digest),
                "report_hash": record.report_hash.hex(),
            },
        )

    def write_log(self) -> None:
        entries = self.log_entries()
        self.sign_log(entries, LOG_SEED)

    def log_entries(self) -> list[bytes]:
        return [
            EpochRecord(
                NETWORK.network_id,
                event.epoch,
                event.aggregator,
                event.root,
                event.n_nodes,
                event.annotation,
                event.manifest,
            ).encode()
            for event in self.chain.committed
        ]

    def sign_log(self, entries: list[bytes], seed: bytes) -> None:
        """Replace the published log by one with these entries."""
        folder = self.root / MEASURE / "log"
        shutil.rmtree(folder, ignore_errors=True)
        for tile in bundles_of(len(entries)):
            path = folder / tile.path
            path.parent.mkdir(parents=True)
            path.write_bytes(encode_bundle(entries))
        (folder / "checkpoint").write_bytes(checkpoint_of("log.testnet", entries).sign(seed))


@dataclass(frozen=True)
class Rules:
    """How epochs are evaluated."""

    parameters: EvaluationParameters = PARAMETERS
    layers: tuple[ActiveLayer, ...] = ()
    artefacts: tuple[bytes, ...] = ()
    """Published beside the parameters."""
    copiers: int = 0
    """Of the evaluators so many, the first ones, have no work behind their rows."""
    pay: PayTerms = NO_PAY


RULES = Rules()


def make_world(
    root: Path,
    liars: int = 1,
    network: Network = NETWORK,
    epochs: tuple[int, ...] = EPOCHS,
    rules: Rules = RULES,
) -> World:
    """Make both epochs; the last `liars` evaluators contribute one false row, all the same."""
    function = function_named("count")
    chain = MemoryChain(
        network=network,
        members=tuple(key.address for key in EVALUATOR_KEYS),
        version=Schedule(1, function.digest, rules.parameters.digest),
        budgets=dict.fromkeys(epochs, BUDGET),
        pay_terms=rules.pay,
    )
    chain.registered = [
        NodeRegistered(node_key(name), payee(name), payee(name), 10**17) for name in NODE_IDS
    ]
    world = World(root, chain)
    ledger = Ledger.empty()
    for epoch in epochs:
        commit(world, epoch)
        for data in (rules.parameters.encode(), *rules.artefacts):
            world.put(MEASURE, data)
        ledger = decide(world, epoch, ledger, liars, rules)
    world.write_log()
    pay(world)
    return world


def commit(world: World, epoch: int) -> None:
    """Publish an epoch's jobs and put the commitment on the chain."""
    table = jobs_of(epoch)
    commitment = commit_epoch(SCHEMA, epoch, table, {name: payee(name) for name in NODE_IDS})
    parts = [table.slice(0, 20), table.slice(20)] if table.num_rows else []
    for data in (SCHEMA.encode(), *INPUTS.values()):
        world.put(MEASURE, data)
    manifest = Manifest(
        network=NAME,
        network_id=NETWORK.network_id,
        epoch=epoch,
        aggregator=AGGREGATOR.address,
        schema=SCHEMA.digest,
        segments=tuple(
            SegmentRef(world.put(MEASURE, data), part.num_rows, len(data))
            for part in parts
            for data in (write_segment(part),)
        ),
        nodes=world.put(MEASURE, commitment.nodes.encode()),
        inputs=tuple(InputRef(name, digest_of(data)) for name, data in sorted(INPUTS.items())),
        root=commitment.root,
        n_nodes=commitment.n_nodes,
        annotation=commitment.annotation,
        late=sum(table.column("flags").to_pylist()),
        duplicates=0,
    )
    world.point_manifest(epoch, world.put(MEASURE, manifest.encode()))
    put_on_chain(world, manifest)


def put_on_chain(world: World, manifest: Manifest) -> None:
    """Commit to a manifest, in place of an earlier commitment of the epoch."""
    event = Committed(
        manifest.epoch,
        manifest.aggregator,
        manifest.root,
        manifest.n_nodes,
        manifest.annotation,
        manifest.digest,
        b"",
    )
    event = replace(event, digest=epoch_digest(bytes(32), event))
    others = [one for one in world.chain.committed if one.epoch != manifest.epoch]
    world.chain.committed = sorted([*others, event], key=lambda one: one.epoch)


def decide(
    world: World, epoch: int, before: Ledger, liars: int = 1, rules: Rules = RULES
) -> Ledger:
    """Evaluate, agree, report and publish, as four evaluators do; returns the ledger afterwards."""
    chain, manifest = world.chain, world.manifest(epoch)
    committed = chain.commitments(epoch)[0]
    nodes, jobs = load_epoch(manifest, SCHEMA, lambda digest: world.read(MEASURE, digest))
    header = RowHeader(
        NETWORK.network_id,
        epoch,
        committed.digest,
        chain.version.function,
        chain.version.parameters,
        inputs_root_of(INPUTS),
    )
    given = EpochInput(epoch, nodes.ids, nodes.keys, nodes.payees, jobs, INPUTS)
    evaluation = evaluate_layered(
        function_named("count"), given, rules.parameters.function, rules.layers
    )
    row = Row.of(header, given, evaluation)
    false = replace(
        row, weights=(99, *row.weights[1:])[: len(row.weights)], verdict_root=bytes(32)
    ).encode()
    honest = len(EVALUATOR_KEYS) - liars
    bodies = {
        key.address: row.encode() if number < honest else false
        for number, key in enumerate(EVALUATOR_KEYS)
    }
    mesh = Mesh(
        Context(world.domain, NETWORK.network_id, epoch, chain.members), header, EVALUATOR_KEYS
    )
    work = work_root(evaluation_leaves(given, evaluation))
    copiers = [key.address for key in EVALUATOR_KEYS[: rules.copiers]]
    mesh.decide(bodies, work, copiers)
    decided = next(iter(mesh.decided.values()))
    outcome = compute_outcome(
        [
            (chain.members[signed.member], body)
            for signed, body in zip(decided.block.rows, decided.bodies, strict=True)
        ],
        members=chain.members,
        parameters=rules.parameters,
        budget=BUDGET,
        previous=before,
        expected=header,
        payees={NodeKey(key): to for key, to in zip(nodes.keys, nodes.payees, strict=True)},
        pay=rules.pay,
    )
    previous = chain.reported[-1].report_hash if chain.reported else NO_REPORT
    report = outcome.report(header, decided.block.hash, previous)
    digest = report.digest(world.domain)
    mesh.attest(previous, digest)
    signatures = next(iter(mesh.attested.values())).signatures
    transmitter = signatures[0][0]
    chain.reported.append(
        Reported(
            epoch, digest, transmitter, report.reward_root, report.total, 1_700_000_500, previous
        )
    )
    facts = EpochFacts(
        epoch=epoch,
        jobs=jobs.num_rows,
        commitment_root=committed.root,
        report_hash=digest,
        signers=[signer for signer, _ in signatures],
        transmitter=transmitter,
        paid_atto=0,
        gas={},
        node_ids={NodeKey(key): name for key, name in zip(nodes.keys, nodes.ids, strict=True)},
    )
    result = seed_result(
        report,
        outcome,
        measurement=cid_text(committed.manifest),
        facts=facts,
        summary=evaluation.summary,
    )
    verdicts = verdict_document(given, evaluation)
    for key, publication in zip(EVALUATOR_KEYS, EVALUATORS, strict=True):
        own = mesh.decided[key.address]
        for ledger in (before, outcome.ledger):
            if not ledger.memory.is_empty:
                world.put(publication, ledger.memory.encode())
        record = OutcomeRecord(
            network_id=NETWORK.network_id,
            epoch=epoch,
            members=chain.members,
            manifest=committed.manifest,
            block=world.put(publication, own.block.encode()),
            certificate=world.put(publication, own.certificate.encode()),
            rows=tuple(world.put(publication, body) for body in own.bodies),
            verdicts=world.put(publication, dagcbor.encode(verdicts)),
            previous_claims=world.put(publication, before.claims.encode())
            if before.claims.claims
            else None,
            claims=world.put(publication, outcome.claims.encode()),
            report=report,
            report_hash=digest,
            signatures=signatures,
            transmitter=transmitter,
            result=world.put(publication, msgspec.json.encode(result)),
        )
        world.publish_record(publication, record)
    return outcome.ledger


def pay(world: World) -> None:
    """Let alpha claim after epoch 7, and alpha and beta after epoch 8, where they have earned anything."""
    claimed: dict[str, int] = {}
    for epoch, names in ((7, ("alpha",)), (8, ("alpha", "beta"))):
        record = world.record(EVALUATORS[0], epoch)
        state = ClaimsState.decode(world.read(EVALUATORS[0], record.claims))
        for name in names:
            claim = state.claims.get(node_key(name))
            if claim is None:
                continue
            amount = claim.cumulative - claimed.get(name, 0)
            claimed[name] = claim.cumulative
            world.chain.paid.append(
                Claimed(node_key(name), claim.payee, epoch, amount, claim.cumulative)
            )
