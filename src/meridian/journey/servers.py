"""The processes of a run: chain, measure service, evaluators; who must be alive, and where each listens."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from meridian.contracts.deployment import Addresses
from meridian.errors import NotFound
from meridian.journey.chain_setup import Accounts
from meridian.journey.host import HOST, free_port, kept_port
from meridian.journey.layout import Layout
from meridian.journey.processes import Child, Event, module_command
from meridian.networks.definition import JobSource
from meridian.node.durable_file import write_durably
from meridian.node.evaluator.config import EvaluatorConfig
from meridian.node.evaluator.safety import set_up
from meridian.node.keystore import load_or_create_secret
from meridian.node.link_identity import link_identity
from meridian.node.measure.client import MeasureClient
from meridian.node.measure.config import ChainAccess, MeasureConfig
from meridian.node.network_file import EvaluatorEntry, NetworkFile
from meridian.primitives.ids import Address, address_text

CHAIN_ID: Final = 31337

OnEvent = Callable[[str, Event], None]


class Fleet:
    """All processes of a run; stopped together, in the reverse order of their start."""

    def __init__(self, layout: Layout, on_event: OnEvent) -> None:
        self._layout = layout
        self._on_event = on_event
        self._children: dict[str, Child] = {}
        self._expected_dead: set[str] = set()
        self._replaced: list[Child] = []
        self.killed: list[int] = []
        """Evaluators that the run itself killed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        children = list(reversed(self._children.values()))
        ends = [child for child in children if child.name not in {"chain", "measure"}]
        services = [child for child in children if child.name in {"measure", "chain"}]
        for child in ends:  # all together; the services that they use stop after them, one by one
            child.terminate()
        for child in [*ends, *services]:
            with contextlib.suppress(
                KeyboardInterrupt
            ):  # a second Ctrl-C must not leave processes behind
                child.stop()

    def _start(self, name: str, command: Sequence[str]) -> Child:
        if name in self._children:
            self._replaced.append(self._children.pop(name))
        self._expected_dead.discard(name)
        child = Child(name, command, self._layout.log(name), self._on_event)
        self._children[name] = child
        return child

    def cpu_s(self) -> dict[str, float]:
        """Return the processor seconds of each process that has ended, by its name."""
        sums: dict[str, float] = {}
        for child in (*self._replaced, *self._children.values()):
            sums[child.name] = sums.get(child.name, 0.0) + child.cpu_s
        return sums

    def check(self) -> None:
        """Raise `RemoteFault` if a process that should run has ended."""
        for name, child in self._children.items():
            if name not in self._expected_dead:
                child.check()

    def wait_ready(self) -> None:
        """Wait until every process that should run serves."""
        for name, child in self._children.items():
            if name not in self._expected_dead:
                child.wait_ready()

    # -- chain ------------------------------------------------------------------------------------

    def start_chain(self, accounts: Sequence[Address]) -> str:
        """Start the embedded chain and return its URL; new chains give every account a balance."""
        database = self._layout.chain
        database.parent.mkdir(parents=True, exist_ok=True)
        port = kept_port(self._layout.chain_port)
        command = module_command(
            "meridian.node.chain.embedded",
            "--db",
            str(database),
            "--port",
            str(port),
            "--chain-id",
            str(CHAIN_ID),
            "--alloc",
            ",".join(address_text(account) for account in accounts),
        )
        ready = self._start("chain", command).wait_ready()
        return str(ready["url"])

    # -- network file -----------------------------------------------------------------------------

    def describe(
        self,
        source: JobSource,
        chain: tuple[str, int],
        deployed: tuple[Addresses, int],
        accounts: Accounts,
        evaluators: int,
    ) -> NetworkFile:
        """Write the network file for this start and return it; ports are kept where they are free.

        Args:
            source: The network's jobs.
            chain: The endpoint's URL and the chain's id.
            deployed: The contracts, and a block before their first event.
            accounts: The run's.
            evaluators: How many.
        """
        try:
            known = NetworkFile.load(self._layout.root)
        except NotFound:
            known = None
        ports = [free_port(_port_of(known.measure_url) if known else 0)]
        for i in range(evaluators):
            ports.append(free_port(known.evaluators[i].port if known else 0, ports))
        entries = [
            EvaluatorEntry(
                address=accounts.evaluators[i].address,
                link_key=link_identity(self._link_seed(i + 1)).link_key,
                host=HOST,
                port=ports[i + 1],
            )
            for i in range(evaluators)
        ]
        definition = source.definition
        network = NetworkFile(
            network=definition.name,
            chain_id=chain[1],
            rpc_url=chain[0],
            contracts=deployed[0],
            deploy_block=deployed[1] if known is None else known.deploy_block,
            genesis_s=source.genesis_s,
            epoch_seconds=source.epoch_seconds,
            first_epoch=source.first_epoch,
            measure_url=f"http://{HOST}:{ports[0]}",
            publications=self._layout.publications(evaluators),
            function=definition.function,
            aggregator=accounts.aggregator.address,
            log_vkey="",
            schema_digest=definition.schema.digest,
            parameters_digest=definition.parameters.digest,
            evaluators=tuple(entries),
            confirmations=known.confirmations if known else None,
            transaction_wait_s=known.transaction_wait_s if known else None,
        )
        network.save(self._layout.root)
        return network

    def _link_seed(self, number: int) -> bytes:
        return load_or_create_secret(self._layout.key(f"link-{number}"))

    # -- evaluators -------------------------------------------------------------------------------

    def prepare_evaluator(
        self,
        network: NetworkFile,
        number: int,
        accounts: Accounts,
        private_layers: Path | None = None,
    ) -> None:
        """Write an evaluator's configuration, and set it up if it is new; `private_layers` as in `Options`."""
        directory = self._layout.evaluator(number)
        config = EvaluatorConfig(
            network_dir=self._layout.root,
            data_dir=directory,
            key_file=self._layout.key(f"evaluator-{number}"),
            link_key_file=self._layout.key(f"link-{number}"),
            listen_host=HOST,
            listen_port=network.evaluators[number - 1].port,
            private_layers_dir=private_layers,
        )
        set_up(directory, network.network_id, accounts.evaluators[number - 1].address)
        config.save(self._config(number))

    def _config(self, number: int) -> Path:
        return self._layout.evaluator(number) / "config.toml"

    def start_evaluator(self, number: int) -> None:
        """Start an evaluator, again after it was killed."""
        if number in self.killed:
            self.killed.remove(number)
        command = module_command(
            "meridian.node.evaluator.process", "--config", str(self._config(number))
        )
        self._start(f"evaluator-{number}", command)

    def start_saboteur(self, number: int) -> None:
        """Start, in the place of an evaluator, a process with its keys that sends garbage."""
        command = module_command("meridian.journey.saboteur", "--config", str(self._config(number)))
        self._start(f"saboteur-{number}", command)

    def kill_evaluator(self, number: int) -> None:
        """End an evaluator with SIGKILL; it counts as dead until it is started again."""
        name = f"evaluator-{number}"
        self._expected_dead.add(name)
        self._children[name].kill()
        self.killed.append(number)

    def running_evaluators(self) -> list[int]:
        """Return the numbers of the evaluators that run."""
        prefix = "evaluator-"
        return sorted(
            int(name.removeprefix(prefix))
            for name, child in self._children.items()
            if name.startswith(prefix) and child.alive
        )

    # -- measure ----------------------------------------------------------------------------------

    def start_measure(self, network: NetworkFile, source: JobSource) -> NetworkFile:
        """Start the measure service; return the network file completed with its log's verifier key."""
        directory, definition = self._layout.measure, source.definition
        directory.mkdir(parents=True, exist_ok=True)
        artefacts = {
            "schema": definition.schema.encode(),
            "parameters": definition.parameters.encode(),
            "function": definition.evaluation_function.bundle,
            **{f"layer-{name}": data for name, data in definition.layer_bundles.items()},
        }
        for name, data in artefacts.items():
            write_durably(directory / f"{name}.cbor", data)
        contracts = network.contracts
        config = MeasureConfig(
            network=network.network,
            schema_file=directory / "schema.cbor",
            artefact_files=tuple(
                directory / f"{name}.cbor" for name in artefacts if name != "schema"
            ),
            data_dir=directory,
            key_file=self._layout.key("aggregator"),
            log_key_file=self._layout.key("epoch-log"),
            secret_file=self._layout.key("measure-secret"),
            gateway_token_file=self._layout.key("gateway-token"),
            admin_token_file=self._layout.key("admin-token"),
            chain_id=network.chain_id,
            commitments=address_text(contracts.commitments),
            chain=ChainAccess(
                rpc_url=network.rpc_url,
                registry=address_text(contracts.registry),
                evaluations=address_text(contracts.evaluations),
                rewards=address_text(contracts.rewards),
                deploy_block=network.deploy_block,
                confirmations=network.confirmations,
                transaction_wait_s=network.transaction_wait_s,
            ),
            genesis_s=network.genesis_s,
            epoch_seconds=network.epoch_seconds,
            first_epoch=network.first_epoch,
            listen_host=HOST,
            listen_port=_port_of(network.measure_url),
            replay=True,
        )
        path = directory / "config.toml"
        config.save(path)
        command = module_command("meridian.node.measure.service", "--config", str(path))
        ready = self._start("measure", command).wait_ready()
        complete = dataclasses.replace(network, log_vkey=str(ready["log_vkey"]))
        complete.save(self._layout.root)
        return complete

    # -- explorer ---------------------------------------------------------------------------------

    def start_web(self, port: int) -> str:
        """Start the explorer's server, on a port if it is free; returns its address."""
        command = module_command(
            "meridian.node.web.service",
            "--data-dir",
            str(self._layout.root),
            "--port",
            str(free_port(port)),
        )
        return str(self._start("web", command).wait_ready()["url"])

    def measure_client(self, network: NetworkFile) -> MeasureClient:
        """Return a client of the measure service, as its gateway and administrator."""
        gateway = load_or_create_secret(self._layout.key("gateway-token")).hex()
        admin = load_or_create_secret(self._layout.key("admin-token")).hex()
        return MeasureClient(network.measure_url, gateway, admin)


def _port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])
