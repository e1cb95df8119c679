"""The main job, step by step.

Each step is idempotent: it looks at the chain and the services and does what is missing. So the same command on the
same data directory resumes after Ctrl-C or a crash, and when all is done, does nothing.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from meridian.audit.epoch import verify_epoch_evidence
from meridian.audit.evidence import State
from meridian.errors import InvalidInput, NotFound, RemoteFault
from meridian.journey import bank, chain_setup, claiming, servers
from meridian.journey.chain_setup import Accounts
from meridian.journey.event_notes import EventNotes
from meridian.journey.host import taken_directory
from meridian.journey.layout import Layout
from meridian.journey.living import Living
from meridian.journey.models.data_dir import refuse_other_model
from meridian.journey.models.registry import DEFAULT
from meridian.journey.options import DEFAULT_BUDGET_ATTO, Options
from meridian.journey.outcome import Publications, PublishedEpoch, read_epoch, run_result
from meridian.journey.receipts import ReceiptBook
from meridian.journey.stream import Ingested, stream
from meridian.journey.watching import Watcher
from meridian.networks.definition import JobSource
from meridian.node.audit_sources import open_source
from meridian.node.chain.finality import Finality, finality
from meridian.node.chain.rpc import Rpc
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import AcceptedReport, ChainView
from meridian.node.durable_file import write_durably
from meridian.node.network_file import NetworkFile

_POLL_S: Final = 0.25


@dataclass(slots=True)
class RunResult:
    """What a run did."""

    document: dict[str, Any]
    """``{"epochs": [...]}``"""
    ingested: Ingested
    epochs: list[PublishedEpoch]
    seconds: dict[str, float] = field(default_factory=dict)
    """Step -> duration."""
    step_cpu_s: dict[str, float] = field(default_factory=dict)
    """Step -> processor seconds of this process."""
    process_cpu_s: dict[str, float] = field(default_factory=dict)
    """Process -> its processor seconds; known when all have ended."""
    claims: int = 0
    broken: dict[int, str] = field(default_factory=dict)
    """Epoch -> the first link of its chain of evidence that breaks; empty when all verify."""


class Journey:
    """One run over a data directory."""

    _network: NetworkFile

    def __init__(self, source: JobSource, options: Options, watcher: Watcher) -> None:
        self._source = source
        self._options = options
        self._watcher = watcher
        self._layout = Layout(options.data_dir.resolve())
        self._seconds: dict[str, float] = {}
        self._cpu_s: dict[str, float] = {}
        self._killed_epoch: int | None = None

    def run(self, show: Callable[[RunResult], None]) -> RunResult:
        """Do everything, and stop all processes at the end, also after an error or Ctrl-C.

        Args:
            show: Called with the result while the processes still run.
        """
        keep = self._options.keep
        with contextlib.ExitStack() as stack:
            stack.enter_context(taken_directory(self._layout.root))
            self._refuse_other_network()
            self._accounts = Accounts.load(self._layout, self._options.evaluators)
            self._fleet = stack.enter_context(
                servers.Fleet(self._layout, EventNotes(self._watcher.note))
            )
            with self._step("start the chain"):
                url = self._options.chain_url or self._fleet.start_chain(self._accounts.addresses)
            self._rpc = Rpc(url)
            stack.callback(self._rpc.close)
            self._chain_id = int(self._rpc.call("eth_chainId"), 16)
            self._finality = self._known_finality()
            if self._options.bank is not None:
                with self._step("coins for the accounts"):
                    self._supply(self._sender(stack, "bank", self._options.bank))
            self._sponsor = self._sender(stack, "sponsor", self._accounts.sponsor)
            self._relayer = self._sender(stack, "relayer", self._accounts.relayer)
            self._set_up(url)
            with self._step("start the services"):
                self._network = self._fleet.start_measure(self._network, self._source)
                self._start_evaluators()
                explorer = self._fleet.start_web(self._options.web_port) if keep else None
            if explorer is not None:
                self._watcher.note(f"the explorer: {explorer}")
            with self._step("jobs in", counted=True):
                ingested = self._stream()
            with self._step("decide", counted=True):
                self._await_reports()
            self._revive_killed()
            with self._step("window and claims", counted=True):
                claims = self._claim_all()
            with self._step("publish"):
                epochs = self._await_publications()
            result = RunResult(
                run_result(self._rpc, self._network, epochs, self._source.definition.scores),
                ingested,
                epochs,
                self._seconds,
                self._cpu_s,
                claims=claims,
            )
            self._write_results(epochs)
            with self._step("verify", counted=True):
                result.broken = self._verify(epochs)
            show(result)
            if explorer is not None:
                self._hold(explorer)
        result.process_cpu_s = self._fleet.cpu_s()
        return result

    # -- set up -----------------------------------------------------------------------------------

    def _sender(self, stack: contextlib.ExitStack, name: str, key: Any) -> Sender:
        path = self._layout.sender(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        done = self._finality
        sender = Sender(self._rpc, key, path, confirmations=done.confirmations, wait_s=done.wait_s)
        stack.callback(sender.close)
        return sender

    def _known_finality(self) -> Finality:
        """Return what the network's file says, if there is one yet, else what is usual on the chain."""
        try:
            return NetworkFile.load(self._layout.root).finality
        except NotFound:
            return finality(self._chain_id)

    def _supply(self, bank_sender: Sender) -> None:
        budgets = [self._budget(epoch) for epoch in self._source.epochs]
        wanted = bank.needs(self._accounts, budgets, len(self._source.nodes))
        bank.supply(bank_sender, wanted)

    def _set_up(self, url: str) -> None:
        source, options = self._source, self._options
        definition = source.definition
        digests = definition.evaluation_function.digest, definition.parameters.digest
        with self._step("deploy contracts"):
            before = int(self._rpc.call("eth_blockNumber"), 16)
            addresses = chain_setup.deploy(
                self._sponsor, source, options, self._accounts.aggregator.address, digests
            )
            self._network = self._fleet.describe(
                source,
                (url, self._chain_id),
                (addresses, before),
                self._accounts,
                options.evaluators,
            )
            self._view = ChainView(self._rpc, addresses, self._network.deploy_block)
        self._refuse_other_rules(digests)
        domain = self._network.domain(addresses.registry)
        with self._step("register", counted=True):
            chain_setup.register_evaluators(
                self._relayer,
                self._view,
                domain,
                self._network.network_id,
                self._network.evaluators,
                self._accounts.evaluators,
            )
            chain_setup.register_nodes(
                self._relayer,
                self._view,
                domain,
                self._layout,
                source,
                functools.partial(self._watcher.progress, "register nodes"),
            )
        with self._step("fund"):
            self._fund()
            chain_setup.open_epochs(self._relayer, self._view, source.epochs[-1])

    def _fund(self) -> None:
        """Fund all epochs: one transaction for each run of equal budgets, usually one in all."""
        budgets = [self._budget(epoch) for epoch in self._source.epochs]
        first = 0
        while first < len(budgets):
            end = first
            while end < len(budgets) and budgets[end] == budgets[first]:
                end += 1
            epoch = self._source.epochs[first]
            chain_setup.fund(self._sponsor, self._view, epoch, end - first, budgets[first])
            first = end

    def _budget(self, epoch: int) -> int:
        if self._options.budget_atto is not None:
            return self._options.budget_atto
        real = self._source.budget_atto(epoch)
        return DEFAULT_BUDGET_ATTO if real is None else real

    def _refuse_other_network(self) -> None:
        """Refuse a data directory that holds another network or model, before anything is sent."""
        refuse_other_model(self._layout.root, DEFAULT)
        if not (self._layout.root / "network.json").exists():
            return
        known = NetworkFile.load(self._layout.root)
        source = self._source
        ours = (source.definition.name, source.genesis_s, source.epoch_seconds, source.first_epoch)
        theirs = (known.network, known.genesis_s, known.epoch_seconds, known.first_epoch)
        if ours != theirs:
            raise InvalidInput(
                "--data-dir",
                f"{self._layout.root} holds the network {theirs}, these jobs make {ours};"
                " give another directory",
            )
        if len(known.evaluators) != self._options.evaluators:
            raise InvalidInput(
                "--evaluators", f"this network has {len(known.evaluators)}; give the same number"
            )

    def _refuse_other_rules(self, digests: tuple[bytes, bytes]) -> None:
        if self._view.schedule(self._source.first_epoch) != digests:
            raise InvalidInput(
                "--data-dir",
                "the contracts there schedule another function or other parameters than this version has",
            )

    # -- work -------------------------------------------------------------------------------------

    def _start_evaluators(self) -> None:
        dead = {number for number, mode in self._options.sabotage if mode == "dead"}
        garbage = {number for number, mode in self._options.sabotage if mode == "garbage"}
        for number in range(1, self._options.evaluators + 1):
            self._fleet.prepare_evaluator(
                self._network, number, self._accounts, self._options.private_layers
            )
            if number in dead:
                self._watcher.note(f"evaluator {number} stays dead")
            elif number in garbage:
                self._watcher.note(f"evaluator {number} sends garbage")
                self._fleet.start_saboteur(number)
            else:
                self._fleet.start_evaluator(number)
        self._fleet.wait_ready()

    def _stream(self) -> Ingested:
        return self._send(self._source, functools.partial(self._watcher.progress, "jobs in"))

    def _send(self, source: JobSource, progress: Callable[[int, int], None]) -> Ingested:
        client = self._fleet.measure_client(self._network)

        def sealed(epoch: int) -> None:
            self._watcher.note(f"epoch {epoch} sealed")
            if self._options.kill_evaluator and self._killed_epoch is None:
                self._kill_one(epoch)

        contracts = self._network.contracts
        book = ReceiptBook(
            self._layout.receipts,
            self._network.aggregator,
            self._network.domain(contracts.commitments),
        )
        with contextlib.closing(client):
            return stream(source, client, book.keep, sealed, progress)

    def _kill_one(self, epoch: int) -> None:
        """Kill an evaluator with SIGKILL while the epoch is under way."""
        alive = self._fleet.running_evaluators()
        victim = alive[-1]
        self._fleet.kill_evaluator(victim)
        self._killed_epoch = epoch
        self._watcher.note(f"evaluator {victim} killed with SIGKILL in epoch {epoch}")

    def _revive_killed(self) -> None:
        for number in tuple(self._fleet.killed):
            self._watcher.note(f"evaluator {number} restarted: it catches up from its peers")
            self._fleet.start_evaluator(number)
        self._fleet.wait_ready()

    def _await_reports(self) -> None:
        """Wait until every epoch has an accepted report."""
        epochs = set(self._source.epochs)
        deadline = time.monotonic() + self._options.decide_timeout_s
        seen = -1
        while True:
            done = {report.epoch for report in self._view.reported()} & epochs
            if len(done) != seen:
                seen = len(done)
                self._watcher.progress("epochs decided and reported", seen, len(epochs))
                deadline = time.monotonic() + self._options.decide_timeout_s
            if done == epochs:
                return
            self._fleet.check()
            if time.monotonic() > deadline:
                missing = sorted(epochs - done)
                raise RemoteFault(
                    f"no report of epochs {missing} within {self._options.decide_timeout_s:g} s;"
                    " the same command resumes when enough evaluators are back"
                )
            time.sleep(_POLL_S)

    def _claim_all(self) -> int:
        """Draw what is due under every report, oldest first."""
        return sum(self._claim(report) for report in self._view.reported())

    def _claim(self, report: AcceptedReport) -> int:
        """Wait for the window of a report and draw what is due; returns the number of claims."""
        publications = Publications(self._network.directories(self._layout.root))
        self._await(
            functools.partial(self._view.is_unlocked, report.epoch),
            self._options.challenge_seconds + self._finality.wait_s,
            f"the challenge window of epoch {report.epoch} does not end",
        )
        item = self._await_publication(publications, report.epoch)
        paid = claiming.pay_claims(
            self._relayer,
            self._view,
            report.epoch,
            item.outcome.claims,
            self._options.claims_max,
            functools.partial(self._watcher.progress, f"claims of epoch {report.epoch}"),
        )
        return paid.claims

    def _await_publication(self, publications: Publications, epoch: int) -> PublishedEpoch:
        commitment = next(c for c in self._view.committed() if c.epoch == epoch)
        report = next(r for r in self._view.reported() if r.epoch == epoch)
        found: list[PublishedEpoch] = []

        def published() -> bool:
            item = read_epoch(publications, self._view, commitment, report)
            if item is not None:
                found.append(item)
            return bool(found)

        self._await(
            published, self._finality.wait_s, f"nobody publishes the outcome of epoch {epoch}"
        )
        return found[0]

    def _await_publications(self) -> list[PublishedEpoch]:
        """Wait until every running evaluator has published every epoch; return the epochs."""
        epochs = [report.epoch for report in self._view.reported()]
        for number in self._fleet.running_evaluators():
            public = self._layout.evaluator(number) / "public" / "epochs"
            for epoch in epochs:
                path = public / f"{epoch:06d}.outcome.json"
                self._await(
                    path.exists,
                    self._finality.wait_s,
                    f"evaluator {number} does not catch up with epoch {epoch}",
                )
        publications = Publications(self._network.directories(self._layout.root))
        return [self._await_publication(publications, epoch) for epoch in epochs]

    def _await(self, condition: Callable[[], bool], timeout_s: float, complaint: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._fleet.check()
            if time.monotonic() > deadline:
                raise RemoteFault(complaint)
            time.sleep(_POLL_S)

    def _write_results(self, epochs: list[PublishedEpoch]) -> None:
        for item in epochs:
            path = self._layout.result(item.report.epoch)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, item.seed_result + b"\n")

    def _verify(self, epochs: list[PublishedEpoch]) -> dict[int, str]:
        """Check every epoch from public artefacts and the chain alone, as an outsider would."""
        broken = {}
        with open_source(self._layout.root) as source:
            for done, item in enumerate(epochs, 1):
                links = verify_epoch_evidence(source, item.report.epoch)
                first = next((link for link in links if link.state is State.BROKEN), None)
                if first is not None:
                    broken[item.report.epoch] = first.name
                    self._watcher.note(
                        f"epoch {item.report.epoch}: broken: {first.name}: {first.detail}"
                    )
                self._watcher.progress("verify", done, len(epochs))
        return broken

    def _hold(self, explorer: str) -> None:
        """Go on until Ctrl-C: with further epochs, where the source has them."""
        chain = self._network.rpc_url
        self._watcher.note(f"everything keeps running; Ctrl-C stops it (chain {chain})")
        self._watcher.note(f"the explorer: {explorer}")
        with contextlib.suppress(KeyboardInterrupt):
            if self._options.following is not None:
                self._live(self._options.following)
            while True:
                self._fleet.check()
                time.sleep(1.0)

    def _live(self, following: Callable[[int], JobSource]) -> None:
        with contextlib.closing(self._fleet.measure_client(self._network)) as client:
            first = int(client.epochs()["open_epoch"])
        Living(
            options=self._options,
            calendar=self._network.calendar,
            view=self._view,
            sponsor=self._sponsor,
            relayer=self._relayer,
            send=self._send,
            settle=self._settle,
            check=self._fleet.check,
        ).run(following, first)

    def _settle(self, epoch: int) -> None:
        def report() -> AcceptedReport | None:
            return next((one for one in self._view.reported() if one.epoch == epoch), None)

        wait_s = self._options.decide_timeout_s
        self._await(lambda: report() is not None, wait_s, f"no report of epoch {epoch}")
        found = report()
        assert found is not None
        self._claim(found)
        self._watcher.note(f"epoch {epoch} paid")

    # -- reporting --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _step(self, name: str, *, counted: bool = False) -> Iterator[None]:
        """Time a step; show it, unless it is `counted` and shows its own progress."""
        started, cpu = time.monotonic(), time.process_time()
        if not counted:
            self._watcher.progress(name, 0, 1)
        yield
        self._seconds[name] = time.monotonic() - started
        self._cpu_s[name] = time.process_time() - cpu
        if not counted:
            self._watcher.progress(name, 1, 1)
