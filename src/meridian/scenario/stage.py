"""The stage of a story: a small network with disputes, its processes, and the accounts behind them.

The jobs' gateway keeps receipts and batches, as a real one should; a second aggregator measures the same jobs without
committing, so that it can replace what a verdict voids. Everything is a process of its own, as in `meridian run`.
"""

import contextlib
import dataclasses
import functools
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from meridian.contracts.artefact import load
from meridian.contracts.deployment import DisputeTerms, Parameters, Terms
from meridian.errors import RemoteFault
from meridian.journey import chain_setup, claiming
from meridian.journey.chain_setup import Accounts
from meridian.journey.host import HOST, free_port
from meridian.journey.layout import Layout
from meridian.journey.outcome import Publications
from meridian.journey.processes import Event
from meridian.journey.receipts import ReceiptBook
from meridian.journey.servers import CHAIN_ID
from meridian.measure.commitment import node_tree_hash
from meridian.measure.manifest import Manifest, Nodes
from meridian.node.chain.contract import Contract
from meridian.node.chain.rpc import Rpc
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import AcceptedReport, ChainView, Commitment
from meridian.node.keystore import load_or_create_key
from meridian.node.measure.client import Answer, MeasureClient
from meridian.node.measure.config import MeasureConfig
from meridian.primitives.amounts import ATTO
from meridian.primitives.cid import parse_cid
from meridian.primitives.ids import Address, address_text, network_id
from meridian.primitives.keys import PrivateKey
from meridian.reward.claims import ClaimsState
from meridian.scenario import jobs as work
from meridian.scenario.cast import Cast, Ensemble
from meridian.scenario.story import Story

BUDGET_ATTO: Final = 900 * ATTO
AGGREGATOR_STAKE_ATTO: Final = 500 * ATTO
BOND_ATTO: Final = ATTO
BURN_PPM: Final = 200_000
BURN_ADDRESS: Final = Address(bytes(18) + b"\xde\xad")
WAIT_S: Final = 60.0
SETUP_S: Final = 20
"""From the beginning to the first epoch."""
_POLL_S: Final = 0.1
_FIRST: Final = "aggregator"
_STANDBY: Final = "aggregator-2"
_REPLACEMENTS: Final = "replacements"
"""Publication of what the second aggregator has committed to on chain."""


class Stage:
    """One story's network.

    Args:
        root: The data directory.
        cast: Who plays.
        story: Hears what the processes say of importance.
        stack: Ends everything.
    """

    def __init__(self, root: Path, cast: Cast, story: Story, stack: contextlib.ExitStack) -> None:
        self.cast, self.story = cast, story
        self.layout = Layout(root.resolve())
        # Aggregators join before the first epoch, and an epoch is committed after its end.
        self.work = work.Work(int(time.time()) + SETUP_S)
        self.source = self.work.source(cast.epochs)
        self.events: list[tuple[str, Event]] = []
        self._accounts = _accounts(self.layout, cast.evaluators)
        self.standby = load_or_create_key(self.layout.key(_STANDBY))
        self.watcher_key = load_or_create_key(self.layout.key("watcher"))
        self.fleet = stack.enter_context(
            Ensemble(self.layout, lambda name, event: self.events.append((name, event)))
        )
        extra = [self.standby.address, self.watcher_key.address]
        url = self.fleet.start_chain([*self._accounts.addresses, *extra])
        self.rpc = Rpc(url)
        stack.callback(self.rpc.close)
        self._senders: dict[str, Sender] = {}
        stack.callback(self._close_senders)
        self._deploy(url)
        self._serve()

    @property
    def aggregator(self) -> PrivateKey:
        """The first aggregator, who commits."""
        return self._accounts.aggregator

    @property
    def referee(self) -> PrivateKey:
        """The one referee, who is also the relayer."""
        return self._accounts.relayer

    def evaluator(self, number: int) -> Address:
        """Return an evaluator's address; members are chosen in the order of numbers."""
        return self._accounts.evaluators[number - 1].address

    def sender(self, name: str, key: PrivateKey) -> Sender:
        """Return the way of one account to the chain."""
        if name not in self._senders:
            path = self.layout.sender(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._senders[name] = Sender(self.rpc, key, path)
        return self._senders[name]

    def _close_senders(self) -> None:
        for sender in self._senders.values():
            sender.close()

    # -- the network ------------------------------------------------------------------------------

    def _deploy(self, url: str) -> None:
        cast, definition = self.cast, self.source.definition
        sponsor = self.sender("sponsor", self._accounts.sponsor)
        relayer = self.sender("relayer", self._accounts.relayer)
        addresses = chain_setup.deploy_planned(
            sponsor,
            Parameters(
                network=network_id(definition.name),
                genesis_s=self.source.genesis_s,
                epoch_seconds=self.source.epoch_seconds,
                first_epoch=self.source.first_epoch,
                node_stake_min_atto=chain_setup.NODE_STAKE_ATTO,
                evaluator_stake_min_atto=chain_setup.EVALUATOR_STAKE_ATTO,
                exit_delay_s=chain_setup.EXIT_DELAY_S,
                aggregators=(self.aggregator.address, self.standby.address),
                aggregator_stake_min_atto=AGGREGATOR_STAKE_ATTO,
                challenge_seconds=cast.challenge_seconds,
                function_digest=definition.evaluation_function.digest,
                parameters_digest=definition.parameters.digest,
                terms=Terms(rule=cast.rule, committee_size=cast.committee_size),
                disputes=DisputeTerms(
                    bond_atto=BOND_ATTO,
                    response_seconds=cast.response_seconds,
                    burn_ppm=BURN_PPM,
                    burn_address=BURN_ADDRESS,
                    referees=(self._accounts.relayer.address,),
                    referee_stake_min_atto=0,
                    voting_seconds=60,
                ),
            ),
        )
        self.view = ChainView(self.rpc, addresses)
        for name, key in ((_FIRST, self.aggregator), (_STANDBY, self.standby)):
            self.sender(name, key).transact(
                addresses.commitments,
                self.view.commitments.encode("join"),
                AGGREGATOR_STAKE_ATTO,
                purpose="join",
            )
        chain_setup.fund(sponsor, self.view, self.source.first_epoch, cast.epochs, BUDGET_ATTO)
        network = self.fleet.describe(
            self.source, (url, CHAIN_ID), (addresses, 0), self._accounts, cast.evaluators
        )
        publications = (*network.publications, _REPLACEMENTS)
        self.network = dataclasses.replace(network, publications=publications)
        domain = network.domain(addresses.registry)
        identity = network.network_id
        keys = self._accounts.evaluators
        chain_setup.register_evaluators(
            relayer, self.view, domain, identity, network.evaluators, keys
        )
        chain_setup.register_nodes(
            relayer, self.view, domain, self.layout, self.source, lambda _done, _all: None
        )

    def _serve(self) -> None:
        cast = self.cast
        self.network = self.fleet.start_measure(self.network, self.source)
        if cast.aggregator_lie is not None:
            self._lie_in_measure(cast.aggregator_lie)
        self._start_standby()
        for number in range(1, cast.evaluators + 1):
            self.fleet.prepare_evaluator(self.network, number, self._accounts)
            lie = cast.lying_evaluators.get(number)
            if lie is not None:
                self.fleet.start_lying_evaluator(number, lie)
            elif number not in cast.late_evaluators:
                self.fleet.start_evaluator(number)
        self.fleet.wait_ready()

    def _lie_in_measure(self, lie: str) -> None:
        """Replace the measure service, which has nothing yet, by one that lies."""
        self.fleet.stop_process("measure")
        config = str(self.layout.measure / "config.toml")
        self.fleet.run_process(
            "measure", "meridian.scenario.lying_aggregator", "--config", config, "--lie", lie,
            "--epoch", str(self.cast.lying_epoch), "--victim", self.cast.victim,
        )  # fmt: skip
        self.fleet.wait_ready()

    def _start_standby(self) -> None:
        """Start the second aggregator: it measures the same, and commits only to a file of its own."""
        directory = self.layout.root / _STANDBY
        directory.mkdir(exist_ok=True)
        nodes = [
            {
                "node_id": name,
                "operator": address_text(chain_setup.operator_key(self.layout, name).address),
                "payee": address_text(self.payee(name)),
            }
            for name in self.source.nodes
        ]
        (directory / "nodes.json").write_bytes(msgspec.json.encode(nodes))
        first = MeasureConfig.load(self.layout.measure / "config.toml")
        config = msgspec.structs.replace(
            first,
            data_dir=directory,
            key_file=self.layout.key(_STANDBY),
            log_key_file=self.layout.key("epoch-log-2"),
            chain=None,
            nodes_file=directory / "nodes.json",
            listen_port=free_port(0),
        )
        config.save(directory / "config.toml")
        self.fleet.run_process(
            _STANDBY, "meridian.node.measure.service", "--config", str(directory / "config.toml")
        )
        self._standby_url = f"http://{HOST}:{config.listen_port}"

    def start_watcher(self) -> None:
        """Start the watcher of this network, with the gateway's receipts."""
        more = ["--escalate"] if self.cast.escalates else []
        self.fleet.run_process(
            "watcher", "meridian.cli.main", "watch", "--data-dir", str(self.layout.root),
            "--key", str(self.layout.key("watcher")), "--gateway", str(self._gateway),
            "--bond-max-atto", str(3 * BOND_ATTO), "--patience-s", str(self.cast.patience_s),
            "--poll-s", "0.3", "--json", *more,
        )  # fmt: skip
        self.fleet.wait_ready()

    def payee(self, name: str) -> Address:
        """Return who is paid for a node."""
        return chain_setup.payee_of(self.layout, self.source, name)

    # -- jobs -------------------------------------------------------------------------------------

    @property
    def _gateway(self) -> Path:
        return self.layout.receipts.parent

    def submit(self, epoch: int, body: bytes, gateway: Path | None = None) -> Answer:
        """Send a batch to both aggregators as a gateway does, and keep batch and receipt in its directory."""
        directory = gateway or self._gateway
        client = self.fleet.measure_client(self.network)
        with contextlib.closing(client), contextlib.closing(self._standby_client()) as standby:
            now_us = self.work.end_us(epoch) - 1
            client.set_clock(now_us)
            standby.set_clock(now_us)
            answer = client.submit(body)
            standby.submit(body, answer.seed)
        book = ReceiptBook(
            directory / self.layout.receipts.name,
            self.network.aggregator,
            self.network.domain(self.network.contracts.commitments),
        )
        path = directory / "batches" / f"{answer.batch.hex()}.ndjson"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        book.keep(answer)
        return answer

    def seal(self, epoch: int) -> Commitment:
        """End an epoch at both aggregators, and wait until the first has committed it."""
        self.end_epoch(epoch)

        def committed() -> Commitment | None:
            found = [one for one in self.view.committed() if one.epoch == epoch]
            return found[0] if found else None

        commitment: Commitment = self.await_(committed, f"epoch {epoch} is not committed")
        return commitment

    def end_epoch(self, epoch: int) -> None:
        """End an epoch at both aggregators."""
        time.sleep(max(0.0, self.work.end_us(epoch) / 1_000_000 - time.time()))
        relayer = self.sender("relayer", self._accounts.relayer)
        chain_setup.open_epochs(relayer, self.view, epoch)
        client = self.fleet.measure_client(self.network)
        with contextlib.closing(client), contextlib.closing(self._standby_client()) as standby:
            for one in (client, standby):
                one.set_clock(self.work.end_us(epoch))
                one.seal(epoch)
            standby.wait_committed(epoch)

    def _standby_client(self) -> MeasureClient:
        there = dataclasses.replace(self.network, measure_url=self._standby_url)
        return self.fleet.measure_client(there)

    def replace_voided(self, epoch: int) -> Commitment:
        """Let the second aggregator commit the epoch in the place of what was voided."""
        call = self._commitment_call(epoch, "replace", self.aggregator.address)
        self._commit(call, f"replace/{epoch}")
        return self.view.standing()[epoch]

    def commit_standby(self, epoch: int) -> Commitment:
        """Let the second aggregator commit the epoch in its own turn."""
        call = self._commitment_call(epoch, "commit")
        self._commit(call, f"commit/{epoch}")
        return self.view.standing()[epoch]

    def problem_of_first(self, epoch: int) -> str:
        """Wait until the first aggregator has published an epoch that it cannot commit; return why not."""
        with contextlib.closing(self.fleet.measure_client(self.network)) as client:

            def look() -> str:
                index = client.epoch(epoch)
                return str(index.get("problem") or "") if index["state"] == "sealed" else ""

            problem: str = self.await_(look, f"the first aggregator has no problem with {epoch}")
            return problem

    def _commit(self, call: bytes, purpose: str) -> None:
        standby = self.sender(_STANDBY, self.standby)
        standby.transact(self.view.commitments.address, call, purpose=purpose)

    def _commitment_call(self, epoch: int, function: str, *voided: Address) -> bytes:
        """Publish what the second aggregator has measured, and return the call that commits to it."""
        root = self.layout.root / _STANDBY / "public"
        index = msgspec.json.decode((root / "epochs" / f"{epoch:06d}.json").read_bytes())
        publications = Publications([root])
        manifest = Manifest.decode(publications.object(parse_cid(index["manifest"])[1]))
        nodes = Nodes.decode(publications.object(manifest.nodes))
        tree_hash = node_tree_hash(nodes, work.SCHEMA.lanes.kind)
        target = self.layout.root / _REPLACEMENTS
        shutil.copytree(root / "objects", target / "objects", dirs_exist_ok=True)
        (target / "epochs").mkdir(exist_ok=True)
        shutil.copy(root / "epochs" / f"{epoch:06d}.json", target / "epochs")
        return self.view.commitments.encode(
            function, epoch, *voided, tree_hash, manifest.n_nodes, manifest.annotation,
            manifest.digest,
        )  # fmt: skip

    # -- waiting ----------------------------------------------------------------------------------

    def await_(self, look: Callable[[], Any], complaint: str, timeout_s: float = WAIT_S) -> Any:
        """Wait until `look` finds something, and return it.

        Raises:
            RemoteFault: If it does not in time, or a process ends that should not.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            found = look()
            if found:
                return found
            self.fleet.check()
            if time.monotonic() > deadline:
                raise RemoteFault(f"{complaint} within {timeout_s:g} s")
            time.sleep(_POLL_S)

    def await_report(self, epoch: int, not_hash: bytes = b"") -> AcceptedReport:
        """Wait until a report of an epoch stands on chain, another than `not_hash`."""

        def look() -> AcceptedReport | None:
            found = [one for one in self.view.reported() if one.epoch == epoch]
            return found[0] if found and found[0].report_hash != not_hash else None

        report: AcceptedReport = self.await_(look, f"epoch {epoch} is not reported")
        return report

    def await_event(self, process: str | Collection[str], event: str, **fields: Any) -> Event:
        """Wait until a process says something; of several, any of them."""
        names = {process} if isinstance(process, str) else process

        def look() -> Event | None:
            for name, said in list(self.events):
                matches = all(said.get(key) == value for key, value in fields.items())
                if name in names and said.get("event") == event and matches:
                    return said
            return None

        found: Event = self.await_(look, f"{process} does not say {event} {fields}")
        return found

    # -- money ------------------------------------------------------------------------------------

    def balance(self, account: Address) -> int:
        """Return an account's balance, atto."""
        return int(self.rpc.call("eth_getBalance", address_text(account), "latest"), 16)

    def relay(self, to: Address, data: bytes, purpose: str) -> None:
        """Let somebody without a part in the story send a transaction."""
        relayer = self.sender("relayer", self._accounts.relayer)
        relayer.transact(to, data, purpose=purpose)

    def sweep(self) -> None:
        """Have the burned part of taken stakes sent to the burn address."""
        disputes = Contract(self.rpc, self.network.contracts.disputes, load("Disputes"))
        self.relay(disputes.address, disputes.encode("sweep"), "sweep")

    def claims_of(self, report: AcceptedReport) -> ClaimsState:
        """Return the published claims after a report, once somebody publishes them."""
        publications = Publications(self.network.directories(self.layout.root))

        def look() -> ClaimsState | None:
            record = publications.outcome(report.epoch, report.report_hash)
            return (
                None if record is None else ClaimsState.decode(publications.object(record.claims))
            )

        claims: ClaimsState = self.await_(look, f"nobody publishes epoch {report.epoch}")
        return claims

    def pay(self, report: AcceptedReport) -> ClaimsState:
        """Wait for the window of a report, draw all that it promises, and return its claims."""
        claims = self.claims_of(report)
        window_s = self.cast.challenge_seconds + WAIT_S
        unlocked = functools.partial(self.view.is_unlocked, report.epoch)
        self._tick(unlocked, window_s)
        relayer = self.sender("relayer", self._accounts.relayer)
        claiming.pay_claims(
            relayer, self.view, report.epoch, claims, None, lambda _done, _all: None
        )
        return claims

    def _tick(self, unlocked: Callable[[], bool], timeout_s: float) -> None:
        self.await_(unlocked, "the challenge window does not end", timeout_s)


def _accounts(layout: Layout, evaluators: int) -> Accounts:
    """Return accounts whose evaluators' addresses ascend: with equal stakes the lower ones are members first."""
    paths = [layout.key(f"evaluator-{number}") for number in range(1, evaluators + 1)]
    for path in paths:
        load_or_create_key(path)
    ordered = sorted(paths, key=lambda path: load_or_create_key(path).address)
    drawn = [path.read_bytes() for path in ordered]
    for path, content in zip(paths, drawn, strict=True):
        path.write_bytes(content)
    return Accounts.load(layout, evaluators)


@contextlib.contextmanager
def set_up(root: Path, cast: Cast, story: Story) -> Iterator[Stage]:
    """Set a stage up for as long as the context lasts."""
    with contextlib.ExitStack() as stack:
        yield Stage(root, cast, story, stack)
