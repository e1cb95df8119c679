"""The model `subnet`: jobs on a child chain of the network's own, checkpoints of it on the parent chain, money there."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from meridian.audit.evidence import Link, first_broken
from meridian.errors import InvalidInput, RemoteFault
from meridian.journey.chain_setup import operator_key
from meridian.journey.host import taken_directory
from meridian.journey.layout import Layout
from meridian.journey.models import subnet_network
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
    StepCost,
)
from meridian.journey.models.naive_network import published_result
from meridian.journey.models.node_jobs import NodeJobs, node_jobs
from meridian.journey.models.subnet_chains import CHILD, ChildView, ParentView, child_of
from meridian.journey.models.subnet_evidence import read_epochs
from meridian.journey.models.subnet_frauds import play
from meridian.journey.models.subnet_network import SubnetNetwork
from meridian.journey.models.subnet_validator import Validator
from meridian.journey.models.sums_network import JOBS_PER_CALL, batches
from meridian.journey.watching import Watcher
from meridian.models.subnet_audit import verify
from meridian.networks.definition import JobSource
from meridian.node.audit_sources import reachable_chain
from meridian.node.chain.rpc import ChainClient
from meridian.node.durable_file import write_durably
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.link_identity import link_identity
from meridian.primitives.ids import address_text, parse_address

CHILD_CHAIN_ID: Final = 31338
CHILD_BLOCK_MS: Final = 10
CHILD_DIRECTORY: Final = "child"
CHILD_CHAIN: Final = "child"
PHASES: Final = {
    "Registry.register_evaluator": Phase.SET_UP,
    "Registry.open_epochs": Phase.SET_UP,
    "SubnetGateway.fund": Phase.SET_UP,
    "SubnetGateway.deposit": Phase.SET_UP,
    "SubnetGateway.claim": Phase.PAYMENT,
    "SubnetGateway.withdraw": Phase.PAYMENT,
    "Subnet.mint": Phase.SET_UP,
}
FACTS: Final = Facts(
    summary="every job to a chain of the network's own; its validators sign checkpoints for the parent, which pays",
    public="id hash, node, times and value of every job, on the child chain; weights, payments",
    hidden="other fields of jobs: nobody but the node has them",
    trust={
        "validators": "q of n sign nothing wrong, take everybody's jobs, and show the child chain",
        "nodes": "for everything else: whether a job happened, and whether it counts",
    },
)


class Subnet:
    """See `meridian.journey.models.model.Model`."""

    name = "subnet"
    facts = FACTS
    takes = frozenset({"evaluators"})

    def run(self, source: JobSource, options: ModelOptions, watcher: Watcher) -> ModelRun:
        """Run a source's jobs; see `Model.run`."""
        clock = PartyClock()
        with clock.spent_by("nodes"):
            jobs = node_jobs(source)
        root = options.data_dir
        (root / CHILD_DIRECTORY).mkdir(parents=True, exist_ok=True)
        with taken_directory(root):
            more = {"validators": options.evaluators, "nodes": _names(root, source)}
            file = begin(root, ModelFile.of("subnet", source, chain_id=CHAIN_ID, more=more))
            if file.more["validators"] != options.evaluators:
                raise InvalidInput(
                    "--evaluators", f"there are {file.more['validators']} validators"
                )
            parent = LocalChain(root, ("sponsor",))
            child = LocalChain(
                root / CHILD_DIRECTORY,
                ("operator", "keeper"),
                chain_id=CHILD_CHAIN_ID,
                block_ms=CHILD_BLOCK_MS,
            )
            with parent, child:
                done = _Run(source, jobs, options, watcher, clock).run(parent, child, file)
        clock.add("chain", parent.cpu_s)
        clock.add("child chain", child.cpu_s)
        return dataclasses.replace(done, costs=dataclasses.replace(done.costs, cpu_s=clock.cpu_s))

    def verify(self, data_dir: Path, epoch: int) -> list[Link]:
        """Recompute an epoch from both chains; see `Model.verify`."""
        file = ModelFile.load(data_dir)
        file.check_epoch(epoch)
        with (
            reachable_chain(data_dir, file.rpc_url, file.chain_id) as client,
            _shown_child(data_dir, file) as child,
        ):
            [case] = read_epochs(ParentView(client, file), child, file, [epoch])
        return verify(dataclasses.replace(case, published=published_result(data_dir, epoch)))

    def fraud(self, name: str, root: Path) -> FraudOutcome:
        """Play a fraud; see `Model.fraud`."""
        check_fraud(name)
        return play(name, root)


def _names(root: Path, source: JobSource) -> dict[str, str]:
    layout = Layout(root.resolve())
    return {address_text(operator_key(layout, node).address): node for node in sorted(source.nodes)}


@contextlib.contextmanager
def _shown_child(data_dir: Path, file: ModelFile) -> Iterator[ChildView | None]:
    """Open the child chain; None where nobody shows it, which the audit says."""
    child = child_of(file)
    with contextlib.ExitStack() as stack:
        try:
            client: ChainClient = stack.enter_context(
                reachable_chain(data_dir / CHILD_DIRECTORY, child["rpc_url"], child["chain_id"])
            )
        except RemoteFault:
            yield None
            return
        yield ChildView(client, child["chain_id"], parse_address(child["contract"]))


class _Run:
    """One run, step by step; each step does what is missing."""

    def __init__(
        self,
        source: JobSource,
        jobs: NodeJobs,
        options: ModelOptions,
        watcher: Watcher,
        clock: PartyClock,
    ) -> None:
        self._source, self._jobs, self._options = source, jobs, options
        self._watcher, self._clock = watcher, clock
        self._root = options.data_dir.resolve()
        self._layout = Layout(self._root)
        self._keys = {node: operator_key(self._layout, node) for node in jobs.nodes}

    def run(self, parent: LocalChain, child: LocalChain, file: ModelFile) -> ModelRun:
        with self._clock.spent_by("operator"):
            network, file = self._set_up(parent, child, file)
        nonces = dict.fromkeys(self._keys, 0)
        for epoch in self._source.epochs:
            self._epoch(network, epoch, nonces)
        epochs = list(self._source.epochs)
        with self._clock.spent_by("verifier"):
            entries, broken = self._results(network, file, epochs)
        return ModelRun(
            result={"epochs": entries},
            costs=Costs(
                steps=_steps(network, file),
                stored_bytes=network.child.published_bytes(),
                private_bytes=0,
                cpu_s={},
            ),
            broken=broken,
        )

    def _set_up(
        self, parent: LocalChain, child: LocalChain, file: ModelFile
    ) -> tuple[SubnetNetwork, ModelFile]:
        sponsor, operator = parent.sender("sponsor"), child.sender("operator")
        numbers = range(1, self._options.evaluators + 1)
        keys = [load_or_create_key(self._layout.key(f"validator-{i}")) for i in numbers]
        links = [
            link_identity(load_or_create_secret(self._layout.key(f"validator-{i}-link"))).link_key
            for i in numbers
        ]
        contracts = subnet_network.deploy_parent(sponsor, file)
        file = dataclasses.replace(file, rpc_url=parent.url, contracts=contracts)
        view = ParentView(parent.rpc, file)
        subnet_network.register(sponsor, view, file, keys, links)
        members = view.committee(file.first_epoch)
        address = subnet_network.deploy_child(operator, file, members, len(self._keys))
        where = {
            "chain_id": CHILD_CHAIN_ID,
            "rpc_url": child.url,
            "contract": address_text(address),
        }
        file = dataclasses.replace(file, more={**file.more, "child": where})
        file.save(self._root)
        child_view = ChildView(child.rpc, CHILD_CHAIN_ID, address)
        validators = [
            Validator(key, self._root / "validators" / str(i), view, child_view, file.first_epoch)
            for i, key in zip(numbers, keys, strict=True)
        ]
        network = SubnetNetwork(
            file,
            view,
            child_view,
            sponsor=sponsor,
            operator=operator,
            keeper=child.key("keeper"),
            validators=validators,
            root=self._root,
        )
        for epoch in self._source.epochs:
            network.fund(epoch, self._options.budget_of(self._source, epoch))
        network.deposit([key.address for key in self._keys.values()])
        network.mint()
        return network, file

    def _epoch(self, network: SubnetNetwork, epoch: int, nonces: dict[str, int]) -> None:
        jobs = self._jobs.of(epoch)
        count = sum(map(len, jobs.values()))
        with self._clock.spent_by("nodes"):
            if network.child.sums.open_epoch() <= epoch:
                network.submit(
                    epoch,
                    jobs,
                    self._keys,
                    nonces,
                    lambda done: self._watcher.progress(f"jobs of epoch {epoch}", done, count),
                )
            for node, own in jobs.items():
                nonces[node] += batches(len(own), JOBS_PER_CALL)
        with self._clock.spent_by("operator"):
            network.close_and_evaluate(
                epoch, lambda done: self._watcher.progress(f"sums of epoch {epoch}", done, count)
            )
        with self._clock.spent_by("validators"):
            network.settle(epoch)
        with self._clock.spent_by("operator"):
            network.pay(self._options.claims_max)

    def _results(
        self, network: SubnetNetwork, file: ModelFile, epochs: Sequence[int]
    ) -> tuple[list[dict[str, object]], dict[int, str]]:
        """Write and return the epochs' results, and what of each epoch does not verify."""
        cases = read_epochs(network.parent, network.child, file, epochs)
        entries, broken = [], {}
        for case in cases:
            entry = case.result()
            entries.append(entry)
            path = self._layout.result(case.epoch)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, json.dumps(entry, indent=1).encode() + b"\n")
            shown = published_result(self._root, case.epoch)
            link = first_broken(verify(dataclasses.replace(case, published=shown)))
            if link is not None:
                broken[case.epoch] = link.name
        return entries, broken


def _steps(network: SubnetNetwork, file: ModelFile) -> list[StepCost]:
    child = {CHILD: network.child.contract.address}
    return [
        *chain_steps(network.parent.client, file.contracts, PHASES),
        *chain_steps(network.child.client, child, PHASES, chain=CHILD_CHAIN),
    ]


MODEL: Final = Subnet()
