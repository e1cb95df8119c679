"""A village with disputes on a chain in this process: who commits, reports, lies; and watchers over it.

Everything is made once (`WatchWorld.found`) and copied for each test, chain and publications.
"""

import itertools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from meridian.audit.record import OutcomeRecord
from meridian.contracts.artefact import load
from meridian.contracts.calldata import EvaluatorRegistration, ascending_words, signature_words
from meridian.contracts.deployment import DisputeTerms, Parameters, Terms, plan
from meridian.contracts.statements import RegisterEvaluator, Transmission
from meridian.measure.columns import column_values
from meridian.measure.epoch import LATE_FLAG, Calendar
from meridian.measure.manifest import Manifest, Nodes
from meridian.measure.order import sort_order
from meridian.measure.record import decode_ndjson
from meridian.measure.row import job_keys, private_commitments
from meridian.node.chain.contract import Contract
from meridian.node.chain.embedded import EmbeddedChain
from meridian.node.chain.rpc import ChainClient
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import AcceptedReport, ChainView, Commitment
from meridian.node.measure.frames import digest_column, log_columns, seed_column
from meridian.node.measure.publication import Publication
from meridian.node.network_file import NetworkFile
from meridian.node.watch.options import WatchOptions
from meridian.node.watch.watcher import Watcher
from meridian.primitives.cid import cid_text
from meridian.primitives.hashing import sha256
from meridian.primitives.ids import Address, NodeKey, network_id, node_key
from meridian.primitives.keys import PrivateKey
from meridian.primitives.quorum import quorum
from meridian.primitives.sumtree import HASH_BYTES
from meridian.reward.claims import Claim, ClaimsState
from meridian.reward.report import Report
from meridian.scenario.jobs import (
    DEFINITION,
    EPOCH_SECONDS,
    FIRST_EPOCH,
    JOBS,
    NAME,
    NODES,
    SCHEMA,
    Job,
    Work,
    batch_of,
)
from meridian.scenario.lying_aggregator import Liar

COIN = 10**18
WORK = Work(1_760_000_000)
CALENDAR = Calendar(WORK.genesis_s, EPOCH_SECONDS, FIRST_EPOCH)
NETWORK = network_id(NAME)
CHAIN_ID = 31337
BOND = COIN
STAKE = 500 * COIN
BUDGET = 900 * COIN
RESPONSE_S = 30
VOTING_S = 60
SEED = b"\x05" * 32
VICTIM = NODES[2]
NEVER = (1 << 64) - 1


def key(name: str) -> PrivateKey:
    return PrivateKey(sha256(name.encode()))


AGGREGATOR, SPONSOR, WATCHER, REFEREE = map(key, ("aggregator", "sponsor", "watcher", "referee"))
MEMBERS = sorted((key(f"member {i}") for i in range(7)), key=lambda one: one.address)
SEATS = 4


def payee_of(name: str) -> Address:
    return Address(node_key(name)[:20])


@dataclass
class Clock:
    now_s: float = WORK.genesis_s - 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Heard:
    """What a watcher said."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, event: str, fields: dict[str, Any]) -> None:
        self.events.append((event, fields))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.events if name == event]

    def results(self, event: str = "accusation") -> list[str]:
        return [fields["result"] for fields in self.of(event)]


class WatchWorld:
    """The chain, everybody's keys, and one publication of the aggregator and of an evaluator."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.root, self.data, self.clock = root, root / "data", clock
        accounts = [one.address for one in (AGGREGATOR, SPONSOR, WATCHER, REFEREE)]
        alloc = dict.fromkeys(accounts, 10_000 * COIN)
        self.chain = EmbeddedChain(root / "chain.sqlite", CHAIN_ID, alloc, clock=clock)
        self._count = itertools.count()
        self._senders: dict[Address, Sender] = {}
        self.measured = Publication(self.data / "measure/public")
        self.evaluated = Publication(self.data / "evaluator/public")

    @classmethod
    def found(cls, root: Path, **terms: Any) -> None:
        """Make the network's directory: contracts, stakes, members, and funds for some epochs."""
        root.mkdir(parents=True, exist_ok=True)
        world = cls(root, Clock())
        addresses, steps = plan(_parameters(**terms), SPONSOR.address, 0)
        sender = world.sender(SPONSOR)
        for step in steps:
            sender.deploy(load(step.name), *step.arguments, purpose=step.name)
        NetworkFile(
            network=NAME,
            chain_id=CHAIN_ID,
            rpc_url="http://127.0.0.1:9",
            contracts=addresses,
            deploy_block=0,
            genesis_s=WORK.genesis_s,
            epoch_seconds=EPOCH_SECONDS,
            first_epoch=FIRST_EPOCH,
            measure_url="http://127.0.0.1:9",
            publications=("measure/public", "evaluator/public"),
            function="count",
            aggregator=AGGREGATOR.address,
            log_vkey="",
            schema_digest=world.measured.put(SCHEMA.encode()),
            parameters_digest=bytes(32),
            evaluators=(),
        ).save(world.data)
        world.measured.put(DEFINITION.parameters.encode())
        view = world.view
        world.send(AGGREGATOR, view.commitments, "join", value=STAKE)
        world.send(SPONSOR, view.rewards, "fund", FIRST_EPOCH, 3, BUDGET, value=3 * BUDGET)
        for member in sorted(MEMBERS, key=lambda one: one.address):
            world.register(member)
        world.close()

    @classmethod
    def copy(cls, template: Path, root: Path) -> Self:
        shutil.copytree(template, root)
        return cls(root, Clock())

    def close(self) -> None:
        for sender in self._senders.values():
            sender.close()
        self.chain.close()

    # -- the chain --------------------------------------------------------------------------------

    @property
    def network(self) -> NetworkFile:
        return NetworkFile.load(self.data)

    @property
    def view(self) -> ChainView:
        return ChainView(self.chain, self.network.contracts)

    def contract(self, name: str) -> Contract:
        places = {
            "Disputes": self.network.contracts.disputes,
            "Referees": self.network.contracts.referees,
            "CommitmentProofs": self.network.contracts.commitment_proofs,
        }
        return Contract(self.chain, places[name], load(name))

    def sender(self, account: PrivateKey) -> Sender:
        if account.address not in self._senders:
            path = self.root / f"{account.address.hex()}.sqlite"
            self._senders[account.address] = Sender(self.chain, account, path)
        return self._senders[account.address]

    def send(
        self, account: PrivateKey, contract: Contract, name: str, *args: Any, value: int = 0
    ) -> None:
        data = contract.encode(name, *args)
        purpose = f"{name} {next(self._count)} {self.clock.now_s}"
        self.sender(account).transact(contract.address, data, value, purpose=purpose)

    def pay(self, account: Address, amount: int) -> None:
        self.sender(SPONSOR).transact(account, b"", amount, purpose=f"pay {next(self._count)}")

    def sent_by(self, account: PrivateKey) -> int:
        text = "0x" + account.address.hex()
        return int(self.chain.call("eth_getTransactionCount", text, "latest"), 16)

    def wait(self, seconds: float) -> None:
        """Let time pass, of the chain and of the watchers."""
        self.clock.now_s = max(self.clock.now_s, self.chain.timestamp_s) + seconds + 3

    def register(self, member: PrivateKey) -> None:
        domain = self.network.domain(self.network.contracts.registry)
        link_key = sha256(member.address)
        says = RegisterEvaluator(NETWORK, member.address, link_key, "127.0.0.1:1", 0, NEVER)
        made = EvaluatorRegistration(says, member.sign(says.digest(domain)))
        self.send(
            SPONSOR, self.view.registry, "register_evaluator", *made.arguments, value=100 * COIN
        )

    def open(self, epoch: int) -> None:
        self.clock.now_s = max(self.clock.now_s, WORK.end_us(epoch) / 10**6 + 0.5)
        self.send(SPONSOR, self.view.registry, "open_epochs", epoch)

    # -- the aggregator ---------------------------------------------------------------------------

    def publish(self, epoch: int, jobs: Sequence[Job] | None = None, lie: str = "") -> Manifest:
        """Publish an epoch as the measure service does, or as the liar of the scenarios."""
        table = decode_ndjson(batch_of(WORK.jobs_of(epoch) if jobs is None else jobs), SCHEMA).table
        keys = job_keys(table.column("job_id"))
        order = sort_order(table.column("node_id"), keys)
        table, keys = table.take(order), keys[order]
        own = CALENDAR.epochs_of(column_values(table, "ended_us"))
        late = np.where(own < epoch, LATE_FLAG, 0).astype(np.uint16)
        table = table.append_column("flags", [late]).append_column(
            "epoch", [np.full(table.num_rows, epoch)]
        )
        private = private_commitments(SCHEMA, table, [SEED] * table.num_rows)
        table = table.append_column("job_key", digest_column(keys))
        table = table.append_column("private", digest_column(private))
        seeds = seed_column([SEED], np.array([table.num_rows]))
        table = table.append_column("batch_seed", seeds)
        columns = log_columns(SCHEMA)
        return Liar(lie, epoch if lie else -1, VICTIM).publish_epoch(
            self.measured,
            SCHEMA,
            network=NAME,
            epoch=epoch,
            aggregator=AGGREGATOR.address,
            frames=[table.select(columns.names).cast(columns)],
            duplicates=0,
            payees=lambda names: {name: payee_of(name) for name in names},
            inputs={},
            work=self.measured.root / "sealing",
            memory_bytes=1 << 30,
        )

    def commit(
        self, epoch: int, jobs: Sequence[Job] | None = None, lie: str = "", opened: bool = True
    ) -> Commitment:
        manifest = self.publish(epoch, jobs, lie)
        if opened:
            self.open(epoch)
        nodes = Nodes.decode(self.measured.get(manifest.nodes))
        tree = _tree_hash(nodes)
        facts = (epoch, tree, manifest.n_nodes, manifest.annotation, manifest.digest)
        self.send(AGGREGATOR, self.view.commitments, "commit", *facts)
        commitment = self.view.standing()[epoch]
        assert commitment.root == manifest.root
        return commitment

    # -- the evaluators ---------------------------------------------------------------------------

    def report(
        self,
        epoch: int,
        amounts: Mapping[str, int],
        *,
        publish: bool = True,
        before: Mapping[str, int] | None = None,
    ) -> AcceptedReport:
        """Have the members report cumulative amounts, right or wrong, and publish the claims."""
        view, domain = self.view, self.network.domain(self.network.contracts.evaluations)
        claims = claims_of(amounts)
        function, parameters = view.schedule(epoch)
        report = Report(
            network=NETWORK,
            epoch=epoch,
            commitment=view.standing()[epoch].digest,
            function_digest=function,
            parameters_digest=parameters,
            inputs_root=sha256(b"inputs"),
            block_hash=sha256(b"block"),
            verdict_root=sha256(b"verdicts"),
            reward_root=claims.reward_root,
            total=claims.total,
            previous=view.last_report(),
        )
        members = set(view.committee(epoch))
        seated = [one for one in MEMBERS if one.address in members]
        signers = seated[: quorum(len(seated))]
        digest = report.digest(domain)
        signatures = {one.address: one.sign(digest) for one in signers}
        says = Transmission(NETWORK, epoch, digest)
        transmission = signature_words(signers[0].sign(says.digest(domain)))
        words = ascending_words(signatures)
        self.send(SPONSOR, view.evaluations, "submit", report.values, transmission, words)
        [accepted] = [one for one in view.reported() if one.epoch == epoch]
        if publish:
            self.publish_outcome(self.evaluated, accepted, report, claims, before)
        return accepted

    def publish_outcome(
        self,
        publication: Publication,
        accepted: AcceptedReport,
        report: Report,
        claims: ClaimsState,
        before: Mapping[str, int] | None = None,
    ) -> None:
        epoch = accepted.epoch
        put = publication.put
        record = OutcomeRecord(
            network_id=NETWORK,
            epoch=epoch,
            members=self.view.committee(epoch),
            manifest=self.view.standing()[epoch].manifest,
            block=put(b"block"),
            certificate=put(b"certificate"),
            rows=(),
            verdicts=put(b"verdicts"),
            previous_claims=None if before is None else put(claims_of(before).encode()),
            claims=put(claims.encode()),
            report=report,
            report_hash=accepted.report_hash,
            signatures=(),
            transmitter=accepted.transmitter,
            result=put(b"result"),
        )
        write_outcome_index(publication, epoch, accepted.report_hash, put(record.encode()))

    # -- watchers ---------------------------------------------------------------------------------

    def watcher(
        self, heard: Heard, name: str = "watcher", client: ChainClient | None = None, **options: Any
    ) -> Watcher:
        """Make a watcher; one with the same name goes on in the directory of the one before."""
        state = self.root / name
        state.mkdir(exist_ok=True)
        key_file = options.pop("key_file", state / "watcher.key")
        if not key_file.exists():
            key_file.write_text(WATCHER.secret.hex() + "\n")
            key_file.chmod(0o600)
        given = {"patience_s": 0.0, "bond_max_atto": 3 * BOND} | options
        made = WatchOptions(data_dir=self.data, state_dir=state, key_file=key_file, **given)
        return Watcher(made, heard, client=client or self.chain, now_s=self.clock)


def write_outcome_index(
    publication: Publication, epoch: int, report_hash: bytes, outcome: bytes
) -> None:
    index = {"epoch": epoch, "outcome": cid_text(outcome), "report_hash": report_hash.hex()}
    path = publication.root / "epochs" / f"{epoch:06d}.outcome.json"
    path.write_bytes(msgspec.json.encode(index))


def claims_of(amounts: Mapping[str, int]) -> ClaimsState:
    keys = sorted((NodeKey(node_key(name)), name) for name in amounts)
    return ClaimsState({one: Claim(payee_of(name), amounts[name]) for one, name in keys})


def shares(epochs: int = 1) -> dict[str, int]:
    """What everybody has earned after some epochs."""
    return {name: epochs * BUDGET * count // sum(JOBS.values()) for name, count in JOBS.items()}


def _tree_hash(nodes: Nodes) -> bytes:
    from meridian.measure.commitment import node_tree

    return node_tree(nodes.rows, SCHEMA.lanes.kind).root[:HASH_BYTES]


def _parameters(rule: int = 1, bond: int = BOND) -> Parameters:
    return Parameters(
        network=NETWORK,
        genesis_s=WORK.genesis_s,
        epoch_seconds=EPOCH_SECONDS,
        first_epoch=FIRST_EPOCH,
        node_stake_min_atto=1,
        evaluator_stake_min_atto=100 * COIN,
        exit_delay_s=86_400,
        aggregators=(AGGREGATOR.address,),
        aggregator_stake_min_atto=STAKE,
        challenge_seconds=600,
        function_digest=DEFINITION.evaluation_function.digest,
        parameters_digest=DEFINITION.parameters.digest,
        terms=Terms(rule=rule, committee_size=SEATS),
        disputes=DisputeTerms(
            bond_atto=bond,
            response_seconds=RESPONSE_S,
            burn_ppm=200_000,
            burn_address=Address(bytes(18) + b"\xde\xad"),
            referees=(REFEREE.address,),
            referee_stake_min_atto=0,
            voting_seconds=VOTING_S,
        ),
    )
