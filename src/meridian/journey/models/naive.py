"""The model `naive`: each node sends each of its jobs to a contract, which adds up and pays."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Final

from meridian.audit.evidence import Link, first_broken
from meridian.errors import InvalidInput
from meridian.journey.chain_setup import operator_key
from meridian.journey.host import taken_directory
from meridian.journey.layout import Layout
from meridian.journey.models import naive_network
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
from meridian.journey.models.naive_frauds import play
from meridian.journey.models.naive_network import CONTRACT, NaiveNetwork
from meridian.journey.models.node_jobs import NodeJobs, node_jobs
from meridian.journey.models.sums_network import JOBS_PER_CALL, batches
from meridian.journey.watching import Watcher
from meridian.models.naive import verify
from meridian.networks.definition import JobSource
from meridian.node.audit_sources import reachable_chain
from meridian.node.durable_file import write_durably
from meridian.primitives.ids import address_text

PHASES: Final = {
    "Naive.fund": Phase.SET_UP,
    "Naive.push": Phase.SET_UP,
    "Naive.pay": Phase.PAYMENT,
}
FACTS: Final = Facts(
    summary="every job to a contract, which adds up and pays",
    public="id hash, node, times and value of every job; weights, payments",
    hidden="other fields of jobs: nobody but the node has them",
    trust={"nodes": "for everything: whether a job happened, and whether it counts"},
)


class Naive:
    """See `meridian.journey.models.model.Model`."""

    name = "naive"
    facts = FACTS
    takes = frozenset({"batch"})

    def run(self, source: JobSource, options: ModelOptions, watcher: Watcher) -> ModelRun:
        """Run a source's jobs; see `Model.run`."""
        clock = PartyClock()
        with clock.spent_by("nodes"):
            jobs = node_jobs(source)
        options.data_dir.mkdir(parents=True, exist_ok=True)
        with taken_directory(options.data_dir):
            file = begin(options.data_dir, _file(source, options))
            if file.more["batch"] != options.batch:
                raise InvalidInput("--batch", "the run there sends its jobs the other way")
            chain = LocalChain(options.data_dir, ("sponsor", "keeper"))
            with chain:
                done = _Run(source, jobs, options, watcher, clock).run(chain, file)
        if jobs.refused or jobs.repeated:
            watcher.note(
                f"not sent: {jobs.refused} records that are not acceptable, {jobs.repeated} that repeat a job"
            )
        clock.add("chain", chain.cpu_s)
        return dataclasses.replace(done, costs=dataclasses.replace(done.costs, cpu_s=clock.cpu_s))

    def verify(self, data_dir: Path, epoch: int) -> list[Link]:
        """Recompute an epoch from the chain; see `Model.verify`."""
        file = ModelFile.load(data_dir)
        file.check_epoch(epoch)
        if CONTRACT not in file.contracts:
            raise InvalidInput("--data-dir", "the run has not deployed its contract yet")
        with reachable_chain(data_dir, file.rpc_url, file.chain_id) as client:
            [case] = naive_network.read_epochs(client, file, [epoch])
        return verify(naive_network.with_published(case, data_dir))

    def fraud(self, name: str, root: Path) -> FraudOutcome:
        """Play a fraud; see `Model.fraud`."""
        check_fraud(name)
        return play(name, root)


def _file(source: JobSource, options: ModelOptions) -> ModelFile:
    layout = Layout(options.data_dir.resolve())
    nodes = {
        address_text(operator_key(layout, node).address): node for node in sorted(source.nodes)
    }
    return ModelFile.of(
        "naive", source, chain_id=CHAIN_ID, more={"batch": options.batch, "nodes": nodes}
    )


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
        self._layout = Layout(options.data_dir.resolve())
        self._keys = {node: operator_key(self._layout, node) for node in jobs.nodes}

    def run(self, chain: LocalChain, file: ModelFile) -> ModelRun:
        sponsor = chain.sender("sponsor")
        with self._clock.spent_by("sponsor"):
            address = naive_network.deploy(sponsor, file)
            file = dataclasses.replace(file, rpc_url=chain.url, contracts={CONTRACT: address})
            file.save(self._options.data_dir)
            network = NaiveNetwork(chain.rpc, file, sponsor, chain.key("keeper"))
            network.give_coins([key.address for key in self._keys.values()])
            for epoch in self._source.epochs:
                network.fund(epoch, self._options.budget_of(self._source, epoch))
        nonces = dict.fromkeys(self._keys, 0)
        for epoch in self._source.epochs:
            self._epoch(network, epoch, nonces)
        with self._clock.spent_by("verifier"):
            epochs = list(self._source.epochs)
            cases = naive_network.read_epochs(chain.rpc, file, epochs)
            entries = [case.result() for case in cases]
            self._write(entries)
            links = {
                case.sums.epoch: first_broken(
                    verify(naive_network.with_published(case, self._options.data_dir))
                )
                for case in cases
            }
        return ModelRun(
            result={"epochs": entries},
            costs=Costs(steps=_steps(chain, file), stored_bytes=0, private_bytes=0, cpu_s={}),
            broken={epoch: link.name for epoch, link in links.items() if link is not None},
        )

    def _epoch(self, network: NaiveNetwork, epoch: int, nonces: dict[str, int]) -> None:
        jobs = self._jobs.of(epoch)
        batch = JOBS_PER_CALL if self._options.batch else 0
        count = sum(map(len, jobs.values()))
        with self._clock.spent_by("nodes"):
            if network.chain.open_epoch() <= epoch:
                network.submit(
                    epoch,
                    jobs,
                    self._keys,
                    nonces,
                    batch,
                    lambda done: self._watcher.progress(f"jobs of epoch {epoch}", done, count),
                )
            for node, own in jobs.items():
                nonces[node] += batches(len(own), batch)
        with self._clock.spent_by("keeper"):
            network.close_epoch(epoch)
            network.evaluate(
                epoch,
                lambda done: self._watcher.progress(f"sums of epoch {epoch}", done, count),
            )
            network.pay(epoch, self._options.claims_max)

    def _write(self, entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            path = self._layout.result(entry["epoch"])
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, json.dumps(entry, indent=1).encode() + b"\n")


def _steps(chain: LocalChain, file: ModelFile) -> list[StepCost]:
    return chain_steps(chain.rpc, file.contracts, PHASES)


MODEL: Final = Naive()
