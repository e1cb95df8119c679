"""The one small network that all pages speak of: four jobs of two nodes in epoch 2, four evaluators."""

import pyarrow as pa

from meridian.contracts.deployment import Parameters, plan
from meridian.evaluate.function import EpochInput
from meridian.evaluate.functions import count
from meridian.evaluate.inputs import inputs_root_of
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.row import Row, RowHeader
from meridian.measure.columns import column_values, segment_columns
from meridian.measure.commitment import commit_epoch
from meridian.measure.epoch import Calendar, PlacementRules, place
from meridian.measure.epoch_digest import NO_DIGEST, fold_commitment
from meridian.measure.manifest import InputRef, Manifest, SegmentRef
from meridian.measure.order import node_indices, sort_order
from meridian.measure.record import decode_ndjson
from meridian.measure.row import job_keys
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.primitives import dagcbor
from meridian.primitives.cid import digest_of
from meridian.primitives.eip712 import Domain
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, network_id
from meridian.primitives.keys import PrivateKey
from meridian.primitives.sumtree import LaneKind

NETWORK = "example"
NETWORK_ID = network_id(NETWORK)
CHAIN_ID = 31337
GENESIS_S = 1_682_895_600  # 2023-04-30 23:00:00 UTC
CALENDAR = Calendar(GENESIS_S, 3_600, 1)
EPOCH = 2
CHALLENGE_S = 3_600
BUDGET_ATTO = 10 * 10**18
SEED = sha256(b"batch seed")
NOW_US = (GENESIS_S + 2 * 3_600) * 1_000_000 + 5_000_000

DEPLOYER = PrivateKey((10).to_bytes(32, "big"))
AGGREGATOR = PrivateKey((11).to_bytes(32, "big"))
OPERATOR = PrivateKey((12).to_bytes(32, "big"))
MEMBER_KEYS = sorted(
    (PrivateKey(i.to_bytes(32, "big")) for i in range(1, 5)), key=lambda k: k.address
)
MEMBERS = tuple(key.address for key in MEMBER_KEYS)
LOG_SEED = sha256(b"log seed")
LINK_SEED = sha256(b"link seed")
PAYEES = {"node-a": Address(b"\xaa" * 20), "node-b": Address(b"\xbb" * 20)}

SCHEMA = NetworkSchema(
    id=1,
    name=NETWORK,
    evaluation_fields=(
        Field.integer("num_bytes_sent"),
        Field.decimal("request_duration_sec", 3),
        Field.integer("ttfb_ms", nullable=True),
    ),
    additional_fields=(
        Field.integer("status code"),
        Field.boolean("cache_hit"),
        Field.string("cid", 8, required=False, nullable=True),
    ),
    lanes=Lanes(LaneKind.PAIR_U64, ("num_bytes_sent",)),
)

RECORDS = (
    (
        b'{"job_id":"abcdef","peer_id":"node-a","started_at":"2023-05-01 00:52:57.62+00","ended_at":"2023-05-01 00:52:58.62+00",'
        b'"evaluation_fields":[{"name":"num_bytes_sent","type":"int","value":240},{"name":"request_duration_sec","type":"in",'
        b'"value":10},{"name":"ttfb_ms","type":"integer","value":35}],"additional_fields":[{"name":"status code","type":"integer",'
        b'"value":200},{"name":"cache_hit","type":"boolean","value":true}]}'
    ),
    (
        b'{"job_id":"job-2","peer_id":"node-a","started_at":"2023-05-01T00:10:00Z","ended_at":"2023-05-01T00:10:02.5Z",'
        b'"evaluation_fields":[{"name":"num_bytes_sent","type":"integer","value":1000},{"name":"request_duration_sec","type":"decimal",'
        b'"value":2.5},{"name":"ttfb_ms","type":"integer","value":null}],"additional_fields":[{"name":"status code","type":"integer",'
        b'"value":200},{"name":"cache_hit","type":"boolean","value":false},{"name":"cid","type":"string","value":"bafy"}]}'
    ),
    (
        b'{"job_id":"job-3","peer_id":"node-a","started_at":"2023-05-01T01:59:00+02:00","ended_at":"2023-05-01T01:59:30+02:00",'
        b'"evaluation_fields":[{"name":"num_bytes_sent","type":"integer","value":0},{"name":"request_duration_sec","type":"decimal",'
        b'"value":30},{"name":"ttfb_ms","type":"integer","value":null}],"additional_fields":[{"name":"status code","type":"integer",'
        b'"value":502},{"name":"cache_hit","type":"boolean","value":false}]}'
    ),
    (
        b'{"job_id":"abcdef","peer_id":"node-b","started_at":"2023-05-01T00:59:59Z","ended_at":"2023-05-01T00:59:59.999999Z",'
        b'"evaluation_fields":[{"name":"num_bytes_sent","type":"integer","value":4096},{"name":"request_duration_sec","type":"decimal",'
        b'"value":0.999},{"name":"ttfb_ms","type":"integer","value":7}],"additional_fields":[{"name":"status code","type":"integer",'
        b'"value":200},{"name":"cache_hit","type":"boolean","value":true},{"name":"cid","type":"string","value":"bafk"}]}'
    ),
)


def sealed_jobs() -> pa.Table:
    """The jobs as they stand in the epoch's segment."""
    decoded = decode_ndjson(b"\n".join(RECORDS), SCHEMA)
    assert not decoded.rejections
    table = decoded.table
    placed = place(column_values(table, "ended_us"), PlacementRules(CALENDAR), EPOCH, NOW_US)
    assert placed.epochs.tolist() == [EPOCH] * 4
    columns = {name: table.column(name) for name in table.column_names}
    columns["flags"] = pa.chunked_array([pa.array(placed.flags)])
    columns["batch_seed"] = pa.chunked_array([pa.array([SEED] * 4, pa.binary(32))])
    schema = segment_columns(SCHEMA)
    segment = pa.table([columns[name] for name in schema.names], schema=schema)
    order = sort_order(segment.column("node_id"), job_keys(segment.column("job_id")))
    return segment.take(pa.array(order))


JOBS = sealed_jobs()
COMMITMENT = commit_epoch(SCHEMA, EPOCH, JOBS, PAYEES)
NODES = COMMITMENT.nodes

DEPLOYMENT = Parameters(
    network=NETWORK_ID,
    genesis_s=GENESIS_S,
    epoch_seconds=3_600,
    first_epoch=1,
    node_stake_min_atto=0,
    evaluator_stake_min_atto=0,
    exit_delay_s=86_400,
    aggregators=(AGGREGATOR.address,),
    challenge_seconds=CHALLENGE_S,
    function_digest=bytes(32),
    parameters_digest=bytes(32),
)
CONTRACTS, _ = plan(DEPLOYMENT, DEPLOYER.address, 0)
EVALUATIONS = Domain(CHAIN_ID, CONTRACTS.evaluations)
COMMITMENTS = Domain(CHAIN_ID, CONTRACTS.commitments)
REGISTRY = Domain(CHAIN_ID, CONTRACTS.registry)
REWARDS = Domain(CHAIN_ID, CONTRACTS.rewards)

# Stand-ins, so that the pages do not change with every release of a library or a line of code.
SEGMENT_STANDS_FOR = b"the bytes of the segment"
BUNDLE = dagcbor.encode(
    {
        "name": "example",
        "version": 1,
        "engine": "duckdb 1.2.3",
        "sources": {"functions/example.py": b"# the source of the module\n"},
    }
)

INPUTS = {"health-checks": dagcbor.encode({"node-a": [59, 60], "node-b": [60, 60]})}
INPUTS_ROOT = inputs_root_of(INPUTS)
MANIFEST = Manifest(
    network=NETWORK,
    network_id=NETWORK_ID,
    epoch=EPOCH,
    aggregator=AGGREGATOR.address,
    schema=SCHEMA.digest,
    segments=(SegmentRef(digest_of(SEGMENT_STANDS_FOR), JOBS.num_rows, len(SEGMENT_STANDS_FOR)),),
    nodes=digest_of(NODES.encode()),
    inputs=tuple(InputRef(name, digest_of(data)) for name, data in INPUTS.items()),
    root=COMMITMENT.root,
    n_nodes=COMMITMENT.n_nodes,
    annotation=COMMITMENT.annotation,
    late=1,
    duplicates=0,
)
CONTENT = (COMMITMENT.root, COMMITMENT.n_nodes, COMMITMENT.annotation, MANIFEST.digest)
COMMITTED_DIGEST = fold_commitment(NO_DIGEST, AGGREGATOR.address, *CONTENT)

PARAMETERS = EvaluationParameters(
    {"success": {"field": "status code", "allowed": [200]}}, schema=SCHEMA.digest
)
HEADER = RowHeader(
    NETWORK_ID, EPOCH, COMMITTED_DIGEST, digest_of(BUNDLE), PARAMETERS.digest, INPUTS_ROOT
)
_, _places = node_indices(JOBS.column("node_id"))
EPOCH_INPUT = EpochInput(
    epoch=EPOCH,
    node_ids=NODES.ids,
    node_keys=NODES.keys,
    payees=NODES.payees,
    jobs=JOBS.append_column("node", pa.array(_places)),
    inputs=INPUTS,
)
EVALUATION = count.FUNCTION.evaluate(EPOCH_INPUT, PARAMETERS.function)
ROW = Row.of(HEADER, EPOCH_INPUT, EVALUATION)
LIAR_ROW = Row(HEADER, ROW.verdict_root, ROW.node_keys, (9, None))
BODIES = (ROW.encode(), ROW.encode(), ROW.encode(), LIAR_ROW.encode())
"""By member: the last one lies about one node and abstains about the other."""
