"""What a system needs on chain before its first epoch: contracts, the Nym-Apis with stake, the mixnodes, and funds."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meridian.contracts.calldata import NodeRegistration
from meridian.contracts.deployment import Addresses, Parameters, plan
from meridian.journey import chain_setup
from meridian.journey.host import HOST
from meridian.node.chain.rpc import Rpc
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import ChainView
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.network_file import EvaluatorEntry, NetworkFile
from meridian.nym.network import CHAIN_ID, NymLayout, NymNetwork
from meridian.nym.onchain import uptime
from meridian.nym.onchain.calendar import AGGREGATOR
from meridian.primitives.amounts import ATTO
from meridian.primitives.ids import Address, network_id
from meridian.primitives.keys import PrivateKey

CHALLENGE_S: Final = 0
"""Nobody challenges a simulation."""
FUNDED_AHEAD_MAX: Final = 1_000
"""Epochs ahead of the running one that get funds."""
SENDERS: Final = "senders"
"""Where the journals of transactions are."""
BUDGET_ATTO: Final = 100 * ATTO
"""Of every epoch."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts beside the Nym-Apis' own."""

    sponsor: PrivateKey
    aggregator: PrivateKey
    relayer: PrivateKey

    @classmethod
    def load(cls, layout: NymLayout) -> "Accounts":
        """Return those of a data directory; missing keys are made."""
        names = ("sponsor", "aggregator", "relayer")
        return cls(*(load_or_create_key(layout.key(name)) for name in names))

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Whom the chain gives a balance, besides the Nym-Apis."""
        return (self.sponsor.address, self.aggregator.address, self.relayer.address)


def parameters(
    accounts: Accounts, name: str, genesis_s: int, epoch_seconds: int, aggregate: str
) -> Parameters:
    """Return what the contracts are deployed with."""
    return Parameters(
        network=network_id(name),
        genesis_s=genesis_s,
        epoch_seconds=epoch_seconds,
        first_epoch=0,
        node_stake_min_atto=chain_setup.NODE_STAKE_ATTO,
        evaluator_stake_min_atto=chain_setup.EVALUATOR_STAKE_ATTO,
        exit_delay_s=chain_setup.EXIT_DELAY_S,
        aggregators=(accounts.aggregator.address,),
        challenge_seconds=CHALLENGE_S,
        function_digest=uptime.FUNCTION_DIGEST,
        parameters_digest=uptime.parameters(aggregate).digest,
        owner=accounts.sponsor.address,
    )


def evaluations_address(accounts: Accounts) -> Address:
    """Return where Evaluations will be: it follows from the sponsor's account alone."""
    any_values = parameters(accounts, "", 0, 1, "mean")
    return plan(any_values, accounts.sponsor.address, 0)[0].evaluations


def is_begun(root: Path) -> bool:
    """Tell whether anything was ever sent for a data directory: its genesis is fixed then."""
    return (root / SENDERS / "sponsor.sqlite").exists()


class ChainSetup:
    """The setting up of one data directory; every step does only what is missing."""

    def __init__(self, root: Path, system: NymNetwork, url: str) -> None:
        self._layout = NymLayout(root)
        self._system = system
        self._url = url
        self.accounts = Accounts.load(self._layout)
        self._rpc = Rpc(url)

    @contextlib.contextmanager
    def _sender(self, name: str, key: PrivateKey) -> Iterator[Sender]:
        path = self._layout.root / SENDERS / f"{name}.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(Sender(self._rpc, key, path)) as sender:
            yield sender

    def close(self) -> None:
        """Close the connection."""
        self._rpc.close()

    def run(self, progress: Callable[[int, int], None]) -> ChainView:
        """Deploy and register, write the network file, and return a view of the contracts."""
        system = self._system
        assert system.chain_genesis_s is not None, "a system on a chain has a genesis"
        planned = parameters(
            self.accounts,
            system.network,
            system.chain_genesis_s,
            system.epoch_seconds,
            system.aggregate,
        )
        with self._sender("sponsor", self.accounts.sponsor) as sponsor:
            addresses = chain_setup.deploy_planned(sponsor, planned)
        file = self._describe(addresses)
        view = ChainView(self._rpc, addresses)
        domain = file.domain(addresses.registry)
        keys = [load_or_create_key(self._layout.key(f"api-{n}")) for n in system.numbers]
        with self._sender("relayer", self.accounts.relayer) as relayer:
            chain_setup.register_evaluators(
                relayer, view, domain, file.network_id, file.evaluators, keys
            )

            def registration(node_id: str) -> NodeRegistration:
                key = self._operator(node_id)
                return chain_setup.consent(domain, file.network_id, key, node_id, key.address)

            names = [uptime.node_id(mixnode) for mixnode in range(system.mixnodes)]
            chain_setup.register_consenting(relayer, view, names, registration, progress)
        file.save(self._layout.root)
        return view

    def _operator(self, node_id: str) -> PrivateKey:
        """Return the generated key of a mixnode's operator, who is also its payee."""
        seed = load_or_create_secret(self._layout.key("operators"))
        return PrivateKey(hashlib.sha256(seed + node_id.encode()).digest())

    def _describe(self, addresses: Addresses) -> NetworkFile:
        system = self._system
        peers = system.peers
        entries = [
            EvaluatorEntry(address=p.address, link_key=p.link_key, host=HOST, port=p.port)
            for p in peers
        ]
        publications = [f"apis/{number}/public" for number in system.numbers]
        return NetworkFile(
            network=system.network,
            chain_id=CHAIN_ID,
            rpc_url=self._url,
            contracts=addresses,
            deploy_block=0,
            genesis_s=system.chain_genesis_s or 0,
            epoch_seconds=system.epoch_seconds,
            first_epoch=0,
            measure_url=self._url,  # nobody fetches jobs: readings lie in the publications
            publications=((AGGREGATOR / "public").as_posix(), *publications),
            function=uptime.NAME,
            aggregator=self.accounts.aggregator.address,
            log_vkey="",
            schema_digest=bytes(32),
            parameters_digest=uptime.parameters(system.aggregate).digest,
            evaluators=tuple(entries),
        )

    def fund(self, view: ChainView, current: int, last: int) -> None:
        """Give every epoch from the running one to `last` that has no funds its budget; past ones get none any more."""
        funded = int(view.rewards.read("total_funded")) > 0
        through = int(view.rewards.read("funded_through")) if funded else -1
        first, last = max(current, through + 1), min(last, current + FUNDED_AHEAD_MAX)
        if first > last:
            return
        with self._sender("sponsor", self.accounts.sponsor) as sponsor:
            chain_setup.fund(sponsor, view, first, last - first + 1, BUDGET_ATTO)
