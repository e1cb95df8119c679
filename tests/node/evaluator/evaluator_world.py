"""A small network on the real contracts, in process: deployed, staked, funded and open by the run's own steps.

Jobs are committed as the measure service does it; what the chain and the publication say can be replaced in parts.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from meridian.contracts.deployment import Addresses
from meridian.errors import RemoteFault
from meridian.journey import chain_setup
from meridian.journey.layout import Layout
from meridian.journey.options import Options
from meridian.measure.columns import segment_columns, write_segment
from meridian.measure.commitment import commit_epoch, node_tree_hash
from meridian.measure.manifest import InputRef, Manifest, Nodes, SegmentRef
from meridian.measure.schema import Field, Lanes, NetworkSchema
from meridian.networks.definition import JobSource, NetworkDefinition
from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import ChainView, Commitment, OwnCommitment
from meridian.node.evaluator.work import Access, EpochWork, prepare
from meridian.node.network_file import EvaluatorEntry, NetworkFile
from meridian.primitives.cid import digest_of
from meridian.primitives.ids import Address, job_key, network_id, node_key
from meridian.primitives.sumtree import LaneKind

NAME = "smallnet"
CHAIN_ID = 31337
GENESIS_S = 1_700_000_000
EPOCH_SECONDS = 100
EPOCHS = range(5, 9)
BUDGET = 1_000_000_007
CHALLENGE_S = 10
NODE_IDS = ("alpha", "beta", "gamma", "delta")
INPUTS = {"round": b"details of the round"}

SCHEMA = NetworkSchema(
    id=5,
    name=NAME,
    evaluation_fields=(Field.integer("status"), Field.integer("size")),
    additional_fields=(Field.string("city", 16, required=False, nullable=True),),
    lanes=Lanes(LaneKind.PAIR_U64, ("size",)),
)
DEFINITION = NetworkDefinition(
    name=NAME,
    schema=SCHEMA,
    function="count",
    function_parameters={"success": {"field": "status", "allowed": [200]}},
)
SOURCE = JobSource(
    definition=DEFINITION,
    genesis_s=GENESIS_S,
    epoch_seconds=EPOCH_SECONDS,
    first_epoch=EPOCHS[0],
    n_epochs=len(EPOCHS),
    nodes=dict.fromkeys(NODE_IDS),
    jobs=0,
    batches=lambda: iter(()),
)


@dataclass
class Clock:
    now_s: float = float(GENESIS_S)

    def __call__(self) -> float:
        return self.now_s


class Endpoint:
    """The chain in process with what `Rpc` adds; remembers what was asked, and can be away."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self.chain = chain
        self.asked: list[tuple[str, Sequence[Any]]] = []
        self.away = False

    def call(self, method: str, *params: Any) -> Any:
        self._note([(method, params)])
        return self.chain.call(method, *params)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        self._note(calls)
        return self.chain.batch(calls)

    def _note(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> None:
        if self.away:
            raise RemoteFault("the chain is away")
        self.asked += calls

    def close(self) -> None:
        pass


@dataclass
class Net:
    """The network: its chain, its accounts, and everything that was published."""

    root: Path
    endpoint: Endpoint
    clock: Clock
    network: NetworkFile
    accounts: chain_setup.Accounts
    source: JobSource
    objects: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        return Layout(self.root)

    @property
    def view(self) -> ChainView:
        return ChainView(self.endpoint, self.network.contracts)

    def sender(self, name: str) -> Sender:
        key = getattr(self.accounts, name)
        path = self.layout.sender(name)
        path.parent.mkdir(exist_ok=True)
        return Sender(self.endpoint, key, path)

    def payee(self, name: str) -> Address:
        return chain_setup.payee_of(self.layout, self.source, name)

    # -- publication ----------------------------------------------------------------------------

    def put(self, data: bytes) -> bytes:
        self.objects[digest_of(data)] = data
        return digest_of(data)

    def fetch(self, digest: bytes) -> bytes:
        if digest not in self.objects:
            raise RemoteFault(f"{digest.hex()} is not there")
        return self.objects[digest]

    def publish(
        self,
        at: int,
        jobs: pa.Table | None = None,
        *,
        payees: Mapping[str, Address] | None = None,
        **other: Any,
    ) -> Manifest:
        """Publish an epoch and return its manifest, some fields of which may be others."""
        table = jobs_of(at) if jobs is None else jobs
        wanted = payees or {name: self.payee(name) for name in NODE_IDS}
        made = commit_epoch(SCHEMA, at, table, wanted)
        parts = [table.slice(0, 9), table.slice(9)] if table.num_rows else []
        written = [(part.num_rows, write_segment(part)) for part in parts]
        for data in (SCHEMA.encode(), DEFINITION.parameters.encode(), *INPUTS.values()):
            self.put(data)
        manifest = Manifest(
            network=NAME,
            network_id=network_id(NAME),
            epoch=at,
            aggregator=self.accounts.aggregator.address,
            schema=SCHEMA.digest,
            segments=tuple(SegmentRef(self.put(data), n, len(data)) for n, data in written),
            nodes=self.put(made.nodes.encode()),
            inputs=tuple(InputRef(name, digest_of(data)) for name, data in sorted(INPUTS.items())),
            root=made.root,
            n_nodes=made.n_nodes,
            annotation=made.annotation,
            late=0,
            duplicates=0,
        )
        manifest = replace(manifest, **other)
        self.put(manifest.encode())
        return manifest

    def commit(self, manifest: Manifest) -> Commitment:
        """Put the commitment on the chain."""
        nodes = Nodes.decode(self.fetch(manifest.nodes))
        sender = self.sender("aggregator")
        data = self.view.commitments.encode(
            "commit",
            manifest.epoch,
            node_tree_hash(nodes, SCHEMA.lanes.kind),
            manifest.n_nodes,
            manifest.annotation,
            manifest.digest,
        )
        sender.transact(self.view.commitments.address, data, purpose=f"commit/{manifest.epoch}")
        sender.close()
        return self.view.committed()[-1]

    def said_of(self, manifest: Manifest) -> Commitment:
        """Return what the chain would say of a manifest, without the transaction."""
        return Commitment(
            epoch=manifest.epoch,
            aggregator=self.accounts.aggregator.address,
            root=manifest.root,
            n_nodes=manifest.n_nodes,
            annotation=manifest.annotation,
            manifest=manifest.digest,
            digest=digest_of(manifest.digest),
            tx_hash=bytes(32),
            block=int(self.endpoint.call("eth_blockNumber"), 16),
        )

    def prepare(
        self,
        commitment: Commitment,
        contributions: Sequence[Commitment | OwnCommitment] = (),
        **other: Any,
    ) -> EpochWork:
        return prepare(commitment, self.access(self.fetch, **other), contributions)

    def access(self, fetch: Callable[[bytes], bytes], **other: Any) -> Access:
        """What an epoch is worked from."""
        network = self.network
        return Access(self.view, network.network_id, network.calendar, fetch, **other)

    def copied_to(self, root: Path) -> "Net":
        """Return the same network with a chain and directories of its own."""
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        clock = Clock(self.clock.now_s)
        chain = EmbeddedChain(root / "chain.sqlite", CHAIN_ID, clock=clock)
        return replace(
            self, root=root, endpoint=Endpoint(chain), clock=clock, objects=dict(self.objects)
        )


def jobs_of(epoch: int, jobs_each: int = 4) -> pa.Table:
    """Jobs of every node, one in five unsuccessful, sorted as a segment."""
    start_us = (GENESIS_S + (epoch - EPOCHS[0]) * EPOCH_SECONDS) * 1_000_000
    rows = [
        {
            "node_id": name,
            "job_id": f"job-{epoch}-{number}",
            "flags": 0,
            "started_us": start_us + 1000 * number,
            "ended_us": start_us + 1000 * number + 500,
            "batch_seed": digest_of(f"{epoch}/{name}".encode()),
            "status": 502 if (place + number) % 5 == 4 else 200,
            "size": 1000 * place + number,
            "city": None if number % 2 else "Brno",
        }
        for place, name in enumerate(NODE_IDS)
        for number in range(jobs_each + place)
    ]
    rows.sort(key=lambda row: (node_key(str(row["node_id"])), job_key(str(row["job_id"]))))
    return pa.Table.from_pylist(rows, schema=segment_columns(SCHEMA))


REFUSES = bytes((0x60, 3, 0x60, 10, 0x5F, 0x39, 0x60, 3, 0x5F, 0xF3)) + bytes.fromhex("5f5ffd")
"""Creation code of a contract that refuses every call, so that it takes no money."""


def make_net(root: Path, *, refusing: Sequence[str] = ()) -> Net:
    """Deploy, register, fund and open (all epochs but the last); the time is behind the last epoch's end.

    The payee of `refusing` nodes is a contract that takes no money.
    """
    layout, clock = Layout(root), Clock()
    accounts = chain_setup.Accounts.load(layout, 4)
    alloc = dict.fromkeys(accounts.addresses, 10**24)
    chain = EmbeddedChain(root / "chain.sqlite", CHAIN_ID, alloc, clock=clock)
    endpoint = Endpoint(chain)
    layout.sender("any").parent.mkdir()
    sponsor = Sender(endpoint, accounts.sponsor, layout.sender("sponsor"))
    options = Options(data_dir=root, challenge_seconds=CHALLENGE_S)
    digests = DEFINITION.evaluation_function.digest, DEFINITION.parameters.digest
    addresses = chain_setup.deploy(sponsor, SOURCE, options, accounts.aggregator.address, digests)
    network = network_file(addresses, accounts)
    net = Net(root, endpoint, clock, network, accounts, SOURCE)
    relayer = net.sender("relayer")
    if refusing:
        refuser = relayer.transact(None, REFUSES, purpose="refuser").contract_address
        nodes = {name: refuser if name in refusing else None for name in NODE_IDS}
        net.source = replace(SOURCE, nodes=nodes)
    set_up_members(net, relayer)
    chain_setup.fund(sponsor, net.view, EPOCHS[0], len(EPOCHS), BUDGET)
    clock.now_s = GENESIS_S + EPOCH_SECONDS * len(EPOCHS) + 1
    chain_setup.open_epochs(relayer, net.view, EPOCHS[-2])
    sponsor.close()
    relayer.close()
    return net


def set_up_members(net: Net, relayer: Sender) -> None:
    domain = net.network.domain(net.network.contracts.registry)
    chain_setup.register_evaluators(
        relayer,
        net.view,
        domain,
        net.network.network_id,
        net.network.evaluators,
        net.accounts.evaluators,
    )
    chain_setup.register_nodes(
        relayer, net.view, domain, net.layout, net.source, lambda _done, _all: None
    )


def network_file(addresses: Addresses, accounts: chain_setup.Accounts) -> NetworkFile:
    return NetworkFile(
        network=NAME,
        chain_id=CHAIN_ID,
        rpc_url="http://127.0.0.1:1",
        contracts=addresses,
        deploy_block=0,
        genesis_s=GENESIS_S,
        epoch_seconds=EPOCH_SECONDS,
        first_epoch=EPOCHS[0],
        measure_url="http://127.0.0.1:1",
        publications=("measure/public", "evaluators/1/public"),
        function="count",
        aggregator=accounts.aggregator.address,
        log_vkey="",
        schema_digest=SCHEMA.digest,
        parameters_digest=DEFINITION.parameters.digest,
        evaluators=tuple(
            EvaluatorEntry(address=key.address, link_key=bytes([i]) * 32, host="host", port=i)
            for i, key in enumerate(accounts.evaluators, 1)
        ),
    )
