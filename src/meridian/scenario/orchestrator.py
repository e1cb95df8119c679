"""The orchestrator as a model: jobs to an aggregator, evaluators who agree, reports, claims. It is `journey.run`.

It stands with the stories because they are how its frauds are played.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from meridian.audit.epoch import verify_epoch_evidence
from meridian.audit.evidence import Link
from meridian.journey.layout import Layout
from meridian.journey.models.frauds import check_fraud
from meridian.journey.models.metering import bytes_in, chain_steps
from meridian.journey.models.model import (
    Costs,
    Facts,
    FraudOutcome,
    ModelOptions,
    ModelRun,
    Phase,
    StepCost,
)
from meridian.journey.options import Options
from meridian.journey.run import Journey, RunResult
from meridian.journey.watching import Watcher
from meridian.networks.definition import JobSource
from meridian.node.audit_sources import open_source
from meridian.node.chain.rpc import Rpc
from meridian.node.network_file import NetworkFile
from meridian.primitives.ids import ZERO_ADDRESS
from meridian.scenario.orchestrator_frauds import play_fraud

PHASES: Final = {
    "Registry.register_evaluator": Phase.SET_UP,
    "Registry.register_nodes": Phase.SET_UP,
    "Rewards.fund": Phase.SET_UP,
    "Rewards.claim": Phase.PAYMENT,
    "Rewards.claim_many": Phase.PAYMENT,
}
FACTS: Final = Facts(
    summary="jobs to an aggregator, independent evaluators agree on the weights, nodes claim by proof",
    public="jobs (private fields as salted hashes), verdict of each job, weights, rewards",
    hidden="private fields of jobs; the rules of sealed fraud layers",
    trust={
        "aggregator": "nothing that its receipts do not prove: jobs without a receipt it can refuse",
        "evaluators": "q of n honest, or one honest watcher within the window",
        "nodes": "their reports are believed where no fraud layer judges them",
    },
)
_PARTIES: Final = {"chain": "chain", "measure": "aggregator"}
_STEP_PARTIES: Final = {"jobs in": "nodes", "verify": "verifier"}


class Orchestrator:
    """The default model."""

    name = "orchestrator"
    facts = FACTS
    takes = frozenset({"evaluators", "challenge_seconds"})

    def run(self, source: JobSource, options: ModelOptions, watcher: Watcher) -> ModelRun:
        """Run the journey; see `Model.run`."""
        steps: list[StepCost] = []

        def look(_result: RunResult) -> None:
            steps.extend(_steps(NetworkFile.load(options.data_dir)))

        asked = Options(
            data_dir=options.data_dir,
            evaluators=options.evaluators,
            budget_atto=options.budget_atto,
            challenge_seconds=options.challenge_seconds,
            claims_max=options.claims_max,
        )
        done = Journey(source, asked, watcher).run(look)
        return ModelRun(
            result=done.document,
            costs=Costs(
                steps=steps,
                stored_bytes=_published_bytes(options),
                private_bytes=bytes_in([Layout(options.data_dir).receipts]),
                cpu_s=_by_party(done),
            ),
            broken=done.broken,
        )

    def verify(self, data_dir: Path, epoch: int) -> list[Link]:
        """Recompute an epoch; see `Model.verify`."""
        with open_source(data_dir) as source:
            return verify_epoch_evidence(source, epoch)

    def fraud(self, name: str, root: Path) -> FraudOutcome:
        """Play a fraud; see `Model.fraud`."""
        check_fraud(name)
        return play_fraud(name, root)


def _steps(network: NetworkFile) -> list[StepCost]:
    contracts = {
        "".join(word.capitalize() for word in name.split("_")): address
        for name, address in asdict(network.contracts).items()
        if address != ZERO_ADDRESS
    }
    client = Rpc(network.rpc_url)
    try:
        return chain_steps(client, contracts, PHASES, first_block=network.deploy_block)
    finally:
        client.close()


def _published_bytes(options: ModelOptions) -> int:
    """Return the size of what is published, each object once: evaluators publish the same ones."""
    layout = Layout(options.data_dir)
    files = {
        path.relative_to(layout.root / directory): path
        for directory in layout.publications(options.evaluators)
        for path in (layout.root / directory).rglob("*")
        if path.is_file()
    }
    return bytes_in(files.values())


def _by_party(done: RunResult) -> dict[str, float]:
    """Return the processor time by who would spend it if each were on a machine of its own."""
    sums: dict[str, float] = {}
    parts: list[tuple[str, Mapping[str, float], Mapping[str, str]]] = [
        ("evaluators", done.process_cpu_s, _PARTIES),
        ("relayer", done.step_cpu_s, _STEP_PARTIES),
    ]
    for rest, spent, parties in parts:
        for name, cpu_s in spent.items():
            party = parties.get(name, rest)
            sums[party] = sums.get(party, 0.0) + cpu_s
    return sums


MODEL: Final = Orchestrator()
