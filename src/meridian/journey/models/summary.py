"""The model `summary`: nodes keep their jobs, commit to them, and are asked for some when nobody knows which before.

Nothing of a job leaves its node but rows that a challenge asks for, whose private fields are salted hashes.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, Final

from meridian.audit.evidence import Link, first_broken
from meridian.contracts.artefact import load
from meridian.errors import InvalidInput
from meridian.journey.host import taken_directory
from meridian.journey.layout import Layout
from meridian.journey.models.data_dir import ModelFile, begin
from meridian.journey.models.frauds import check_fraud
from meridian.journey.models.local_chain import CHAIN_ID, LocalChain
from meridian.journey.models.metering import PartyClock, bytes_in, chain_steps
from meridian.journey.models.model import (
    Costs,
    Facts,
    FraudOutcome,
    ModelOptions,
    ModelRun,
    Phase,
)
from meridian.journey.models.naive_network import published_result
from meridian.journey.models.summary_commitments import Commitment, commitment_named
from meridian.journey.models.summary_frauds import play
from meridian.journey.models.summary_history import read_epoch
from meridian.journey.models.summary_network import SummaryNetwork
from meridian.journey.models.summary_rounds import Rounds
from meridian.journey.models.summary_store import NodeRules, NodeStore, Split, split
from meridian.journey.models.summary_terms import run_terms
from meridian.journey.watching import Watcher
from meridian.models.summary import Summary
from meridian.models.summary_epoch import SummaryEpoch, verify
from meridian.networks.definition import JobSource
from meridian.node.audit_sources import reachable_chain
from meridian.node.chain.rpc import ChainClient
from meridian.node.chain.sender import Sender
from meridian.node.durable_file import write_durably
from meridian.primitives.ids import NodeKey

NODES_DIR: Final = "nodes"
RULES_DIR: Final = "network"
FACTS: Final = Facts(
    summary="nodes keep their jobs and commit to roots and weights; some are asked for rows, who has none is slashed",
    public="root, number of jobs and weight of each node; the rows that challenges ask for; payments",
    hidden="all jobs but the rows asked for, and of those the private fields",
    trust={
        "nodes": "that their jobs happened: a challenge only shows that a node keeps rows for its weight",
        "challengers": "that one of them asks, and asks often enough for the stake",
        "block makers": "that they do not throw a block away because of what it asks for",
    },
)


class SummaryModel:
    """See `meridian.journey.models.model.Model`."""

    name = "summary"
    facts = FACTS
    takes = frozenset({"relay", "commitment"})

    def run(self, source: JobSource, options: ModelOptions, watcher: Watcher) -> ModelRun:
        """Run a source's jobs; see `Model.run`."""
        kind = commitment_named(options.commitment)
        clock = PartyClock()
        with clock.spent_by("nodes"):
            parts = split(source)
        options.data_dir.mkdir(parents=True, exist_ok=True)
        with taken_directory(options.data_dir):
            file = begin(options.data_dir, _file(source, options))
            for name in ("relay", "commitment"):
                if file.more[name] != getattr(options, name):
                    raise InvalidInput(f"--{name}", f"the run there has {file.more[name]}")
            run = _Run(source, parts, options, watcher, clock, kind)
            chain = LocalChain(
                options.data_dir, ("sponsor", "relayer", "challenger"), run.operators()
            )
            with chain:
                done = run.run(chain, file)
        if parts.refused or parts.repeated:
            watcher.note(
                f"not kept: {parts.refused} records that are not acceptable, {parts.repeated} that repeat a job"
            )
        clock.add("chain", chain.cpu_s)
        return dataclasses.replace(done, costs=dataclasses.replace(done.costs, cpu_s=clock.cpu_s))

    def verify(self, data_dir: Path, epoch: int) -> list[Link]:
        """Recompute an epoch from the chain; see `Model.verify`."""
        return self.verify_with(data_dir, epoch, None)

    def verify_with(self, data_dir: Path, epoch: int, nodes_dir: Path | None) -> list[Link]:
        """Recompute an epoch from the chain, and from what nodes have handed out of their own.

        Args:
            data_dir: The run's directory.
            epoch: The epoch.
            nodes_dir: Holds directories of nodes as they keep them, of some or all; None: of none.

        Raises:
            NotFound: If there is no such epoch.
        """
        file = ModelFile.load(data_dir)
        file.check_epoch(epoch)
        kind = commitment_named(file.more["commitment"])
        if kind.contract not in file.contracts:
            raise InvalidInput("--data-dir", "the run has not deployed its contract yet")
        with reachable_chain(data_dir, file.rpc_url, file.chain_id) as client:
            case = read_case(client, file, kind, epoch, data_dir)
        if nodes_dir is not None:
            case = dataclasses.replace(
                case, recomputed=recomputed(file, kind, data_dir / RULES_DIR, nodes_dir, epoch)
            )
        return verify(case)

    def fraud(self, name: str, root: Path) -> FraudOutcome:
        """Play a fraud; see `Model.fraud`."""
        check_fraud(name)
        return play(name, root)


def recomputed(
    file: ModelFile, kind: Commitment, rules_dir: Path, nodes_dir: Path, epoch: int
) -> dict[NodeKey, Summary | str]:
    """Return what follows from the directories of those nodes that are there, or why nothing follows."""
    rules = NodeRules.load(rules_dir, file.function_digest)
    if (rules.schema.digest, rules.parameters.digest) != (
        file.schema_digest,
        file.parameters_digest,
    ):
        raise InvalidInput(RULES_DIR, "not the schema and the parameters of the run's file")
    found: dict[NodeKey, Summary | str] = {}
    for node_id in file.more["nodes"]:
        store = NodeStore(nodes_dir, node_id, rules)
        if not store.directory.is_dir():
            continue
        try:
            found[store.key] = kind.commit(store.rows(epoch)).summary
        except InvalidInput as error:
            found[store.key] = str(error)
    return found


def _file(source: JobSource, options: ModelOptions) -> ModelFile:
    more = {
        "nodes": sorted(source.nodes),
        "relay": options.relay,
        "commitment": options.commitment,
    }
    return ModelFile.of("summary", source, chain_id=CHAIN_ID, more=more)


def read_case(
    client: ChainClient, file: ModelFile, kind: Commitment, epoch: int, data_dir: Path
) -> SummaryEpoch:
    """Return what the chain shows of an epoch, and the result that the run has left."""
    address = file.contracts[kind.contract]
    network = SummaryNetwork(client, file.chain_id, address, kind.contract, run_terms(file))
    case = read_epoch(network, file, kind, epoch)
    return dataclasses.replace(case, published=published_result(data_dir, epoch))


class _Run:
    """One run, step by step; each step does what is missing."""

    def __init__(
        self,
        source: JobSource,
        parts: Split,
        options: ModelOptions,
        watcher: Watcher,
        clock: PartyClock,
        kind: Commitment,
    ) -> None:
        self._source, self._parts, self._options = source, parts, options
        self._watcher, self._clock, self._kind = watcher, clock, kind
        self._layout = Layout(options.data_dir.resolve())
        rules = NodeRules.of(source.definition)
        rules.save(self._layout.root / RULES_DIR)
        root = self._layout.root / NODES_DIR
        self._nodes = {node_id: NodeStore(root, node_id, rules) for node_id in sorted(source.nodes)}

    def operators(self) -> list[Any]:
        """Return the accounts of the nodes."""
        return [node.operator.address for node in self._nodes.values()]

    def run(self, chain: LocalChain, file: ModelFile) -> ModelRun:
        """Do what is missing; returns the run without its processor time."""
        with self._clock.spent_by("nodes"):
            for epoch, node_id, jobs in self._parts.parts:
                self._nodes[node_id].keep(epoch, jobs)
        network, file = self._set_up(chain, file)
        rounds = Rounds(
            network=network,
            kind=self._kind,
            nodes=self._nodes,
            relayer=chain.sender("relayer"),
            challenger=chain.sender("challenger"),
            own=None if self._options.relay else self._own_senders(chain),
            clock=self._clock,
            watcher=self._watcher,
            wait=_wait_until,
        )
        try:
            for epoch in self._source.epochs:
                rounds.commit(epoch)
                rounds.challenge(epoch)
                rounds.answer(epoch)
            for epoch in self._source.epochs:
                rounds.settle(epoch, self._options.claims_max)
        finally:
            rounds.close()
        return self._result(chain, file)

    def _set_up(self, chain: LocalChain, file: ModelFile) -> tuple[SummaryNetwork, ModelFile]:
        sponsor, terms, name = chain.sender("sponsor"), run_terms(file), self._kind.contract
        with self._clock.spent_by("sponsor"):
            address = sponsor.deploy(load(name), *terms.arguments, purpose=f"deploy/{name}")
            file = dataclasses.replace(file, rpc_url=chain.url, contracts={name: address})
            file.save(self._options.data_dir)
            network = SummaryNetwork(chain.rpc, file.chain_id, address, name, terms)
            for epoch in self._source.epochs:
                network.fund(sponsor, epoch, self._options.budget_of(self._source, epoch))
        members = {
            node_id: (node.operator, self._source.nodes[node_id] or node.operator.address)
            for node_id, node in self._nodes.items()
        }
        with self._clock.spent_by("relayer"):
            network.register(
                chain.sender("relayer"),
                members,
                lambda done, total: self._watcher.progress("register nodes", done, total),
            )
        return network, file

    def _own_senders(self, chain: LocalChain) -> dict[str, Sender]:
        """Return each node's own way to the chain."""
        return {
            node_id: Sender(chain.rpc, node.operator, node.directory / "sender.sqlite")
            for node_id, node in self._nodes.items()
        }

    def _result(self, chain: LocalChain, file: ModelFile) -> ModelRun:
        with self._clock.spent_by("verifier"):
            entries, broken = [], {}
            for epoch in self._source.epochs:
                case = read_case(chain.rpc, file, self._kind, epoch, self._layout.root)
                entry = case.result()
                entries.append(entry)
                path = self._layout.result(epoch)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_durably(path, json.dumps(entry, indent=1).encode() + b"\n")
                link = first_broken(verify(dataclasses.replace(case, published=entry)))
                if link is not None:
                    broken[epoch] = link.name
        private = [
            node.path(epoch) for node in self._nodes.values() for epoch in self._source.epochs
        ]
        return ModelRun(
            result={"epochs": entries},
            costs=Costs(
                steps=chain_steps(chain.rpc, file.contracts, _phases(self._kind.contract)),
                stored_bytes=0,
                private_bytes=bytes_in(path for path in private if path.exists()),
                cpu_s={},
            ),
            broken=broken,
        )


def _phases(contract: str) -> dict[str, Phase]:
    set_up = dict.fromkeys((f"{contract}.register_nodes", f"{contract}.fund"), Phase.SET_UP)
    return set_up | {f"{contract}.claim_many": Phase.PAYMENT}


def _wait_until(second: int) -> None:
    """Wait until a new block has at least this time; blocks take the time of the wall clock."""
    while (left := second - time.time()) > 0:
        time.sleep(min(left, 1.0))


MODEL: Final = SummaryModel()
