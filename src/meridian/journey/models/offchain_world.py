"""A small network of the model `offchain-store` in which frauds are played: ten nodes with 30 jobs each, four evaluators.

Its clock is moved by hand, and its nodes put whatever they like.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from meridian.audit.evidence import Link, first_broken
from meridian.errors import Reverted
from meridian.evaluate.functions.count import FUNCTION
from meridian.journey.models import offchain_network
from meridian.journey.models.data_dir import ModelFile
from meridian.journey.models.offchain_evaluation import evaluate_on_chain, sign_result
from meridian.journey.models.offchain_network import StoreNetwork
from meridian.journey.models.offchain_stores import RunStore
from meridian.measure.columns import segment_columns, write_segment
from meridian.measure.epoch import Calendar
from meridian.measure.row import job_keys
from meridian.models.offchain import Rules, StoreOutcome
from meridian.models.offchain_audit import CONTRACT, StoreCase, verify
from meridian.models.offchain_statements import Located, location, registration
from meridian.networks import comparison
from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.sender import Sender
from meridian.primitives.amounts import ATTO
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import address_text, node_key
from meridian.primitives.keys import PrivateKey

NODES: Final = 10
JOBS: Final = 30
EPOCH: Final = comparison.FIRST_EPOCH
FUNDS_ATTO: Final = 1_000 * ATTO
CHAIN_ID: Final = 31337
WINDOW_S: Final = 600
CHEAT: Final = "node-0"
VICTIM: Final = "node-1"
_PARTIES: Final = ("sponsor", "relayer", "referee", "mallory")


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands in a node's records."""

    name: str
    started_s: int
    ended_s: int


def honest_jobs(number: int) -> list[Job]:
    """Return the jobs that node `number` really did."""
    start = comparison.GENESIS_S + 100 * number
    return [Job(f"job-{number}-{i}", start + i, start + i + 1) for i in range(JOBS)]


def segment(node: str, jobs: Sequence[Job]) -> bytes:
    """Return an object as a node that does what it likes writes it: sorted, and otherwise as given."""
    columns = segment_columns(comparison.SCHEMA)
    count = len(jobs)
    fixed: dict[str, Any] = {
        "node_id": [node] * count,
        "job_id": [job.name for job in jobs],
        "flags": [0] * count,
        "started_us": [job.started_s * 1_000_000 for job in jobs],
        "ended_us": [job.ended_s * 1_000_000 for job in jobs],
        "batch_seed": [bytes(32)] * count,
        "success": [1] * count,
        "bytes_sent": [1_024] * count,
        "client": [1] * count,
    }
    table = pa.table({name: fixed[name] for name in columns.names}, schema=columns)
    keys = [key.tobytes() for key in job_keys(table.column("job_id"))]
    order = sorted(range(count), key=keys.__getitem__)
    return write_segment(table.take(pa.array(np.array(order, dtype=np.int64))))


@dataclass
class World:
    """The network of a play; its clock is moved by hand."""

    root: Path
    client: EmbeddedChain
    store: RunStore
    file: ModelFile
    network: StoreNetwork
    senders: Mapping[str, Sender]
    keys: Mapping[str, PrivateKey]
    evaluators: Sequence[PrivateKey]
    rules: Rules
    clock: list[float]
    told: dict[str, Located] = field(default_factory=dict)

    def put(self, node: str, data: bytes, count: int = JOBS) -> Located:
        """Let a node put an object and make its location."""
        digest = self.store.put(self.keys[node], data)
        self.told[node] = Located(node_key(node), digest, count)
        return self.told[node]

    def put_honest(self) -> None:
        """Let every node put its jobs."""
        for number, node in enumerate(self.keys):
            self.put(node, segment(node, honest_jobs(number)))

    def locate(self, *, without: str = "") -> None:
        """Let the relayer tell all locations, or all but one node's."""
        self.network.locate(EPOCH, [self.signed(node) for node in self.told if node != without])

    def signed(self, node: str) -> tuple[Any, ...]:
        """Return a node's signed location."""
        return location(
            self.network.domain, self.network.network, self.keys[node], EPOCH, self.told[node]
        )

    def send(self, party: str, function: str, *arguments: Any) -> str:
        """Send a call to the contract; return why it was refused, empty where it was not."""
        contract = self.network.contract
        data = contract.encode(function, *arguments)
        try:
            self.senders[party].transact(
                contract.address, data, purpose=f"{party}/{function}/{sha256(data).hex()}"
            )
        except Reverted as refusal:
            return refusal.reason
        return ""

    def found(self) -> StoreOutcome:
        """Return what an honest evaluator finds now that locations are closed."""
        self.wait(self.network.contract.read("cutoffs", EPOCH))
        return evaluate_on_chain(self.network, self.store, self.rules, EPOCH)

    def report(self, outcome: StoreOutcome, signers: int | None = None) -> None:
        """Let some evaluators (None: all) sign an outcome, publish it and report it.

        Raises:
            Reverted: If the contract refuses it.
        """
        located = offchain_network.located_in(self.network.contract, EPOCH)
        result = outcome.result(located, self.rules)
        keys = self.evaluators[:signers]
        digest = result.digest(self.network.domain, self.network.network)
        self.store.put(self.evaluators[0], outcome.artefact.encode())
        self.network.report(result, {key.address: key.sign(digest) for key in keys})

    def settle(self) -> StoreOutcome:
        """Evaluate honestly, report, wait for the window, and pay."""
        outcome = self.found()
        located = offchain_network.located_in(self.network.contract, EPOCH)
        results = [outcome.result(located, self.rules)] * len(self.evaluators)
        sign_result(self.network, self.evaluators, results)
        self.report(outcome)
        self.pay(outcome)
        return outcome

    def pay(self, outcome: StoreOutcome) -> None:
        """Wait for the end of the window, and have everybody paid."""
        self.wait(self.network.contract.read("unlock_at", EPOCH))
        self.network.claim(outcome, None)

    def wait(self, second: int) -> None:
        """Move the clock."""
        self.clock[0] = max(self.clock[0], float(second))

    def gain_atto(self) -> int:
        """Return what the cheat's account was paid beyond its share by honest jobs."""
        paid = offchain_network.claims_of(self.network.contract, EPOCH)
        account = self.keys[CHEAT].address
        return sum(one.amount for one in paid if one.payee == account) - FUNDS_ATTO // NODES

    def case(self) -> StoreCase:
        """Return what an outsider sees."""
        return offchain_network.read_case(self.client, self.file, EPOCH, self.store.fetch)

    def broken(self) -> Link | None:
        """Return the first broken link of an outsider's check."""
        return first_broken(verify(self.case()))


@contextlib.contextmanager
def world(root: Path, store_kind: str = "local") -> Iterator[World]:
    """Deploy a network with ten registered nodes and four evaluators, funded for one epoch."""
    parties = {name: PrivateKey(sha256(b"offchain", name.encode())) for name in _PARTIES}
    keys = {f"node-{i}": PrivateKey(sha256(b"offchain node", bytes([i]))) for i in range(NODES)}
    evaluators = [PrivateKey(sha256(b"offchain evaluator", bytes([i]))) for i in range(4)]
    clock = [float(comparison.GENESIS_S + comparison.EPOCH_SECONDS + 60)]
    definition = comparison.DEFINITION
    file = ModelFile(
        model="offchain-store",
        network=definition.name,
        genesis_s=comparison.GENESIS_S,
        epoch_seconds=comparison.EPOCH_SECONDS,
        first_epoch=EPOCH,
        n_epochs=1,
        function_digest=FUNCTION.digest,
        parameters_digest=definition.parameters.digest,
        schema_digest=definition.schema.digest,
        chain_id=CHAIN_ID,
        more={
            "store": store_kind,
            "sponsor": address_text(parties["sponsor"].address),
            "nodes": {node_key(node).hex(): node for node in keys},
        },
    )
    owners = [key.address for key in (*parties.values(), *evaluators, *keys.values())]
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(
            contextlib.closing(
                EmbeddedChain(
                    None,
                    CHAIN_ID,
                    {key.address: 10**24 for key in parties.values()},
                    clock=lambda: clock[0],
                )
            )
        )
        store = stack.enter_context(RunStore(root, store_kind, owners))
        senders = {
            name: stack.enter_context(
                contextlib.closing(Sender(client, key, root / f"{name}.sqlite"))
            )
            for name, key in parties.items()
        }
        address = offchain_network.deploy(
            senders["sponsor"],
            file,
            [key.address for key in evaluators],
            parties["referee"].address,
            (60, WINDOW_S),
        )
        file = replace(file, contracts={CONTRACT: address})
        network = StoreNetwork(client, file, senders["relayer"])
        for data in (definition.parameters.encode(), definition.schema.encode()):
            store.put(parties["sponsor"], data)
        network.fund(senders["sponsor"], EPOCH, FUNDS_ATTO)
        network.register(
            [
                registration(network.domain, network.network, key, node_key(node), key.address)
                for node, key in keys.items()
            ]
        )
        rules = Rules(
            definition.schema,
            Calendar(file.genesis_s, file.epoch_seconds, EPOCH),
            FUNCTION,
            definition.parameters,
        )
        yield World(root, client, store, file, network, senders, keys, evaluators, rules, clock)
