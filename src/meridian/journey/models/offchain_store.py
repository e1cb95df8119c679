"""The model `offchain-store`: nodes put their jobs into a store, a contract is told where, evaluators sign what follows."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from meridian.audit.evidence import Link, first_broken
from meridian.errors import InvalidInput, Reverted
from meridian.journey.chain_setup import operator_key, payee_of
from meridian.journey.host import taken_directory
from meridian.journey.layout import Layout
from meridian.journey.models import offchain_network
from meridian.journey.models.data_dir import ModelFile, begin
from meridian.journey.models.frauds import check_fraud
from meridian.journey.models.local_chain import CHAIN_ID, LocalChain
from meridian.journey.models.metering import PartyClock, chain_steps
from meridian.journey.models.model import (
    Costs,
    Facts,
    FraudOutcome,
    ModelOptions,
    ModelRun,
    Phase,
)
from meridian.journey.models.offchain_evaluation import (
    artefacts_of,
    by_node,
    evaluate_on_chain,
    rules_of,
    sign_result,
)
from meridian.journey.models.offchain_frauds import play
from meridian.journey.models.offchain_network import NODES_PER_CALL, StoreNetwork
from meridian.journey.models.offchain_stores import KINDS, RunStore
from meridian.journey.watching import Watcher
from meridian.measure import record
from meridian.measure.own_records import own_records
from meridian.models.offchain import (
    Rules,
    StoreOutcome,
    whole_records,
)
from meridian.models.offchain_audit import CONTRACT, verify
from meridian.models.offchain_object import node_object
from meridian.models.offchain_statements import Located, location, registration
from meridian.networks.definition import JobSource
from meridian.node.audit_sources import reachable_chain
from meridian.node.durable_file import write_durably
from meridian.node.keystore import load_or_create_key
from meridian.primitives.ids import Address, address_text, node_key
from meridian.primitives.keys import PrivateKey

PHASES: Final = {
    f"{CONTRACT}.register_many": Phase.SET_UP,
    f"{CONTRACT}.fund": Phase.SET_UP,
    f"{CONTRACT}.claim_many": Phase.PAYMENT,
}
FACTS: Final = Facts(
    summary="jobs in a content-addressed store, their places on chain, a quorum signs the result",
    public="all jobs whole, in the store; on chain each node's digest and number of jobs; weights, payments",
    hidden="nothing that a node reports: who evaluates must read it, and so may everybody",
    trust={
        "nodes": "for what no function can see: whether a job happened",
        "evaluators": "a quorum, to compute what follows, and to say truly whose data was not to be had",
        "referee": "to veto a wrong result in the window; it can pay nobody",
        "store": "to hand the jobs out until everybody has checked; nothing it says is believed",
    },
)
_MANY: Final = 20_000
"""With more jobs the compiled reader is worth its start."""
_PARTS: Final = ("sponsor", "relayer", "referee")


class OffchainStore:
    """See `meridian.journey.models.model.Model`."""

    name = "offchain-store"
    facts = FACTS
    takes = frozenset({"store", "evaluators", "challenge_seconds"})

    def run(self, source: JobSource, options: ModelOptions, watcher: Watcher) -> ModelRun:
        """Run a source's jobs; see `Model.run`."""
        if any(source.inputs.values()):
            raise InvalidInput("--network", "this model has no auxiliary inputs")
        if options.store not in KINDS:
            raise InvalidInput("--store", f"{options.store!r} is none of {', '.join(KINDS)}")
        rules = rules_of(source)
        if source.jobs > _MANY:
            record.prepare()
        clock = PartyClock()
        options.data_dir.mkdir(parents=True, exist_ok=True)
        with taken_directory(options.data_dir):
            run = _Run(source, options, watcher, clock, rules)
            chain = LocalChain(options.data_dir, _PARTS)
            store = RunStore(options.data_dir.resolve(), options.store, run.owners(chain))
            with chain, store:
                done = run.run(chain, store)
        clock.add("chain", chain.cpu_s)
        if store.cpu_s:
            clock.add("store", store.cpu_s)
        return dataclasses.replace(done, costs=dataclasses.replace(done.costs, cpu_s=clock.cpu_s))

    def verify(self, data_dir: Path, epoch: int) -> list[Link]:
        """Recompute an epoch from chain and store; see `Model.verify`."""
        file = ModelFile.load(data_dir)
        file.check_epoch(epoch)
        if CONTRACT not in file.contracts:
            raise InvalidInput("--data-dir", "the run has not deployed its contract yet")
        with (
            reachable_chain(data_dir, file.rpc_url, file.chain_id) as client,
            RunStore(data_dir.resolve(), file.more["store"]) as store,
        ):
            return verify(offchain_network.read_case(client, file, epoch, store.fetch, data_dir))

    def fraud(self, name: str, root: Path) -> FraudOutcome:
        """Play a fraud; see `Model.fraud`."""
        check_fraud(name)
        return play(name, root)


class _Run:
    """One run, step by step; each step does what is missing."""

    def __init__(
        self,
        source: JobSource,
        options: ModelOptions,
        watcher: Watcher,
        clock: PartyClock,
        rules: Rules,
    ) -> None:
        self._source, self._options, self._watcher = source, options, watcher
        self._clock, self._rules = clock, rules
        self._layout = Layout(options.data_dir.resolve())
        self._nodes = {node: operator_key(self._layout, node) for node in sorted(source.nodes)}
        self._evaluators = [
            load_or_create_key(self._layout.key(f"evaluator-{i}"))
            for i in range(1, options.evaluators + 1)
        ]
        self._stored_bytes = 0

    def owners(self, chain: LocalChain) -> list[Address]:
        """Return everybody who puts something into the store."""
        keys = [chain.key("sponsor"), *self._evaluators, *self._nodes.values()]
        return [key.address for key in keys]

    def run(self, chain: LocalChain, store: RunStore) -> ModelRun:
        file = begin(self._options.data_dir, self._file(chain))
        self._refuse_other_options(file)
        sponsor = chain.sender("sponsor")
        with self._clock.spent_by("sponsor"):
            file = self._deploy(chain, file)
            network = StoreNetwork(chain.rpc, file, chain.sender("relayer"))
            for data in artefacts_of(self._source):
                self._put(store, chain.key("sponsor"), data)
            for epoch in self._source.epochs:
                network.fund(sponsor, epoch, self._options.budget_of(self._source, epoch))
        with self._clock.spent_by("nodes"):
            self._register(network)
            self._locate(network, store)
        epochs = [one for one in self._source.epochs if network.contract.read("cutoffs", one)]
        outcomes = [self._evaluate(network, store, epoch) for epoch in epochs]
        for at, outcome in enumerate(outcomes):
            network.await_second(network.contract.read("unlock_at", outcome.epoch))
            with self._clock.spent_by("relayer"):
                network.claim(outcome, self._options.claims_max)
            self._watcher.progress("window and claims", at + 1, len(outcomes))
        with self._clock.spent_by("verifier"):
            entries, broken = self._verify(chain, file, store)
        return ModelRun(
            result={"epochs": entries},
            costs=Costs(
                steps=chain_steps(chain.rpc, file.contracts, PHASES),
                stored_bytes=self._stored_bytes,
                private_bytes=0,
                cpu_s={},
            ),
            broken=broken,
        )

    # -- set up -----------------------------------------------------------------------------------

    def _file(self, chain: LocalChain) -> ModelFile:
        more = {
            "store": self._options.store,
            "sponsor": address_text(chain.key("sponsor").address),
            "evaluators": self._options.evaluators,
            "nodes": {node_key(node).hex(): node for node in self._nodes},
        }
        return ModelFile.of("offchain-store", self._source, chain_id=CHAIN_ID, more=more)

    def _refuse_other_options(self, file: ModelFile) -> None:
        for name, option in (("store", "--store"), ("evaluators", "--evaluators")):
            ours, theirs = getattr(self._options, name), file.more[name]
            if ours != theirs:
                raise InvalidInput(option, f"the run there has {theirs}; give the same")

    def _deploy(self, chain: LocalChain, file: ModelFile) -> ModelFile:
        batches = -(-len(self._nodes) // NODES_PER_CALL)
        # Blocks that are made at once lie a second apart, and a busy machine takes its time.
        locate_seconds = 1 + 4 * max(0, batches - 1)
        address = offchain_network.deploy(
            chain.sender("sponsor"),
            file,
            [key.address for key in self._evaluators],
            chain.key("referee").address,
            (locate_seconds, self._options.challenge_seconds),
        )
        file = dataclasses.replace(file, rpc_url=chain.url, contracts={CONTRACT: address})
        file.save(self._options.data_dir)
        return file

    def _register(self, network: StoreNetwork) -> None:
        known = offchain_network.payees_of(network.contract)
        network.register(
            [
                registration(
                    network.domain,
                    network.network,
                    key,
                    node_key(node),
                    payee_of(self._layout, self._source, node),
                )
                for node, key in self._nodes.items()
                if node_key(node) not in known
            ]
        )

    # -- jobs -------------------------------------------------------------------------------------

    def _locate(self, network: StoreNetwork, store: RunStore) -> None:
        """Let every node put its jobs of every epoch and tell where."""
        tables, refused = [], 0
        for batch in self._source.batches():
            decoded = record.decode_ndjson(batch, self._rules.schema)
            refused += len(decoded.rejections)
            tables.append(decoded.table)
        if refused:
            self._watcher.note(f"not put: {refused} records that are not acceptable")
        by_epoch = whole_records(tables, self._rules.calendar)
        for at, epoch in enumerate(self._source.epochs):
            if epoch in by_epoch:
                self._locate_epoch(network, store, epoch, by_epoch[epoch])
            self._watcher.progress("jobs stored and told", at + 1, self._source.n_epochs)

    def _locate_epoch(
        self, network: StoreNetwork, store: RunStore, epoch: int, jobs: pa.Table
    ) -> None:
        calendar, schema = self._rules.calendar, self._rules.schema
        known = {one.node_key for one in offchain_network.located_in(network.contract, epoch)}
        entries = []
        for node, part in by_node(jobs).items():
            records = own_records([part], calendar, epoch, node)
            key = self._nodes[node]
            digest = self._put(store, key, node_object(records, schema, epoch, node))
            told = Located(node_key(node), digest, records.table.num_rows)
            if told.node_key not in known:
                entries.append(location(network.domain, network.network, key, epoch, told))
        try:
            network.locate(epoch, entries)
        except Reverted as refusal:
            if refusal.reason != "locations: late":
                raise
            self._watcher.note(f"epoch {epoch}: too late for {len(entries)} nodes' locations")

    def _put(self, store: RunStore, key: PrivateKey, data: bytes) -> bytes:
        self._stored_bytes += len(data)
        return store.put(key, data)

    # -- results ----------------------------------------------------------------------------------

    def _evaluate(self, network: StoreNetwork, store: RunStore, epoch: int) -> StoreOutcome:
        """Let every evaluator compute the epoch for itself, and report what a quorum signed."""
        contract = network.contract
        network.await_second(contract.read("cutoffs", epoch))
        with self._clock.spent_by("evaluators"):
            found = []
            for number, _ in enumerate(self._evaluators, 1):
                found.append(evaluate_on_chain(network, store, self._rules, epoch))
                self._watcher.progress(
                    f"evaluators of epoch {epoch}", number, len(self._evaluators)
                )
            located = offchain_network.located_in(contract, epoch)
            results = [one.result(located, self._rules) for one in found]
            result, signatures = sign_result(network, self._evaluators, results)
            outcome = found[results.index(result)]
            first = next(key for key in self._evaluators if key.address in signatures)
            self._put(store, first, outcome.artefact.encode())
        with self._clock.spent_by("relayer"):
            if contract.read("results", epoch) == bytes(32):
                network.report(result, signatures)
        return outcome

    def _verify(
        self, chain: LocalChain, file: ModelFile, store: RunStore
    ) -> tuple[list[Mapping[str, Any]], dict[int, str]]:
        """Write the results, and check every epoch as an outsider would."""
        entries: list[Mapping[str, Any]] = []
        broken = {}
        for at, epoch in enumerate(self._source.epochs):
            case = offchain_network.read_case(chain.rpc, file, epoch, store.fetch)
            link = first_broken(verify(case))
            if link is not None:
                broken[epoch] = link.name
            if case.found is not None:
                entry = case.entry()
                path = self._layout.result(epoch)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_durably(path, json.dumps(entry, indent=1).encode() + b"\n")
                entries.append(entry)
            self._watcher.progress("verify", at + 1, self._source.n_epochs)
        return entries, broken


MODEL: Final = OffchainStore()
