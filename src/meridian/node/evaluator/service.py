"""The evaluator process: follows the chain, works epochs, agrees with the committee, attests and transmits.

One asyncio loop runs the protocol; what takes long (artefacts, evaluation, chain) runs in threads. After a crash the
process starts from its safety log and the chain and goes on: nothing else is remembered.
"""

import asyncio
import logging
import time
from typing import Any

from meridian.committee.rules import CommitteeRules
from meridian.committee.settlement import Settled, Settlement
from meridian.contracts.statements import Unavailable
from meridian.ephemera.effects import Attested, Decided, Misbehaviour
from meridian.errors import InvalidInput, NotFound, RemoteFault, Reverted
from meridian.node.chain_news import ChainNews
from meridian.node.chain_view import AcceptedReport, Commitment, EpochCommitments
from meridian.node.evaluator.accepted import AcceptedReports
from meridian.node.evaluator.artefacts import ArtefactClient, OwnUnpublished, Unpublished
from meridian.node.evaluator.chain_access import ChainAccess
from meridian.node.evaluator.config import EvaluatorConfig
from meridian.node.evaluator.engine import Engine
from meridian.node.evaluator.observed import Seen
from meridian.node.evaluator.open_epochs import may_evaluate
from meridian.node.evaluator.peers import AddressHints, peers_of
from meridian.node.evaluator.publish import Evidence, publish_evidence, publish_outcome
from meridian.node.evaluator.reporting import RETRY_S, Reporter
from meridian.node.evaluator.resume import PublishedEpoch, resumable
from meridian.node.evaluator.state import EpochState, check_not_slashed
from meridian.node.evaluator.term import Term, TermEnded
from meridian.node.evaluator.unavailable import publish_statement
from meridian.node.evaluator.work import Access, EpochWork, prepare
from meridian.node.job_store import JobStore
from meridian.node.keystore import load_or_create_key
from meridian.node.measure.publication import Publication
from meridian.node.network_file import NetworkFile
from meridian.node.private_layers import load_private_layers
from meridian.node.process import (
    event_line,
    ready_line,
)

log = logging.getLogger(__name__)


class EvaluatorService:
    """One evaluator."""

    _term: Term
    _reporter: Reporter

    def __init__(self, config: EvaluatorConfig, rules: CommitteeRules | None = None) -> None:
        self._config = config
        self._network = NetworkFile.load(config.network_dir)
        self._key = load_or_create_key(config.key_file)
        self._domain = self._network.domain(self._network.contracts.evaluations)
        config.data_dir.mkdir(parents=True, exist_ok=True)
        self._publication = Publication(config.data_dir / "public")
        places = self._network.places(config.network_dir)
        self._artefacts = ArtefactClient(self._network.measure_url, places)
        self._chain = ChainAccess(self._network, self._key, config.data_dir / "transactions.sqlite")
        self._reading, self._sending = asyncio.Lock(), asyncio.Lock()
        self._rules = rules or CommitteeRules()
        self._news = ChainNews()
        self._hints = AddressHints(config.network_dir, self._network)
        self._wake = asyncio.Event()
        self._work_turn = asyncio.Semaphore(1)
        self._news_at_s = time.monotonic()
        self._refused: dict[int, str] = {}
        self._misbehaviour = 0
        self._begin()

    @property
    def has_begun(self) -> bool:
        """Whether there is anything to be seen: the chain has answered, and a term has begun."""
        return hasattr(self, "_term")

    def _begin(self) -> None:
        """Forget what was worked, agreed and settled in the term before."""
        self._epochs: dict[int, EpochState] = {}
        self._refused.clear()
        self._settlement = Settlement(self._domain)
        self._accepted = AcceptedReports(
            self._epochs,
            self._settlement,
            self._chain,
            self._on_chain,
            self._network.directories(self._config.network_dir),
            self._publish,
        )

    def _make_term(self, number: int) -> Term:
        return Term(
            self._config,
            self._network,
            self._key,
            number,
            self._rules,
            self._epochs,
            on_decided=self._on_decided,
            on_attested=self._on_attested,
            on_misbehaviour=self._on_misbehaviour,
            on_opened=self._wake.set,
        )

    def _make_reporter(self) -> Reporter:
        return Reporter(
            address=self._key.address,
            driver=self._term.driver,
            settlement=self._settlement,
            chain=self._chain,
            on_chain=self._on_chain,
            send=self._send,
            stage_ms=self._config.stage_ms,
            wake=self._go_on,
        )

    # -- what the protocol tells us ---------------------------------------------------------------

    def _on_decided(self, effect: Decided) -> None:
        state = self._epochs[effect.epoch]
        if state.decided is not None or state.published:
            return
        state.decided = effect
        assert state.work is not None, "an epoch is opened after its work is done"
        members = state.work.terms.members
        rows = [
            (members[row.member], body)
            for row, body in zip(effect.block.rows, effect.bodies, strict=True)
        ]
        traces = {members[row.member]: row.opening.trace_root for row in effect.block.rows}
        work = state.work.observation.traces(traces)
        self._settlement.decided(effect.epoch, effect.block.hash, rows, work)
        event_line("decided", epoch=effect.epoch, view=effect.certificate.view, rows=len(rows))
        self._go_on()

    def _on_attested(self, effect: Attested) -> None:
        self._epochs[effect.epoch].attested[effect.digest] = effect
        self._wake.set()

    def _on_misbehaviour(self, effect: Misbehaviour) -> None:
        self._misbehaviour += 1
        log.warning(
            "member %d misbehaved in epoch %d: %s",
            effect.member,
            effect.epoch,
            effect.kind,
            extra={"epoch": effect.epoch},
        )
        event_line(
            "misbehaviour",
            epoch=effect.epoch,
            member=effect.member,
            kind=effect.kind,
            evidence=effect.evidence.hex(),
        )
        asyncio.get_running_loop().run_in_executor(
            None,
            publish_evidence,
            self._publication.root,
            effect.epoch,
            self._term.number,
            effect.evidence,
        )

    # -- the loop ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until cancelled, term after term.

        Raises:
            StorageFailure: If the safety log fails: nothing may be signed any more.
            SlashedMember: If our stake was taken.
        """
        await self._first_news()
        first = True
        while True:
            self._begin()
            try:
                await self._run_term(self._news.term, announce=first)
            except* TermEnded as ended:
                log.warning("%s", ended.exceptions[0])
            event_line("term", term=self._news.term)
            first = False

    async def _run_term(self, number: int, *, announce: bool) -> None:
        """Serve one term; always ends with an error, `TermEnded` when the chain goes on to another."""
        self._term = self._make_term(number)
        try:
            self._reporter = self._make_reporter()
            await self._term.remember(self._news.commitments)
            resumed = await self._on_chain(self._resume)
            self._follow_peers()
            await self._term.start([(e.header.epoch, e.members) for e in resumed])
            async with asyncio.TaskGroup() as group:
                group.create_task(self._term.driver.join(), name="driver")
                group.create_task(self._term.links.join(), name="links")
                if announce:
                    ready_line(
                        address="0x" + self._key.address.hex(), port=self._config.listen_port
                    )
                group.create_task(self._follow(group), name="follow")
                group.create_task(self._term.open_epochs.run(), name="open epochs")
                group.create_task(self._settle(group), name="settle")
                group.create_task(self._term.open_epochs.watch(self._key.address), name="watch")
        finally:
            await self._term.stop()

    async def _first_news(self) -> None:
        """Wait for the chain: an evaluator may be started before it."""
        while True:
            try:
                await self._read_news()
            except RemoteFault as fault:
                log.warning("chain: %s", fault)
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _read_news(self) -> None:
        self._news = await self._on_chain(self._chain.news)
        self._news_at_s = time.monotonic()

    def seen(self) -> Seen:
        """Return what the operator may know; in the loop, once a term has begun."""
        open_refusals = {e: why for e, why in self._refused.items() if self._epochs[e].work is None}
        newest = max(open_refusals, default=None)
        return Seen(
            address=self._key.address,
            term=self._term.number,
            news=self._news,
            news_age_s=time.monotonic() - self._news_at_s,
            epochs=self._epochs,
            links=self._term.links.statistics()["links"],
            driver=self._term.driver.statistics(),
            misbehaviour=self._misbehaviour,
            problem=None if newest is None else f"epoch {newest}: {open_refusals[newest]}",
        )

    async def close(self) -> None:
        """Release the chain and the journal."""
        await asyncio.to_thread(self._chain.close)

    async def _on_chain(self, call: Any, *arguments: Any) -> Any:
        """Run one of the chain's reads in a thread, one at a time; one that has begun ends before we do."""
        return await self._alone(self._reading, call, *arguments)

    async def _send(self, call: Any, *arguments: Any) -> Any:
        """The same for what sends: it waits for blocks, and the news must not wait for it."""
        return await self._alone(self._sending, call, *arguments)

    async def _alone(self, turn: asyncio.Lock, call: Any, *arguments: Any) -> Any:
        async with turn:
            running = asyncio.create_task(asyncio.to_thread(call, *arguments))
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                await asyncio.wait([running])
                raise

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        """Ask the chain for news and start the work of every newly committed epoch.

        Raises:
            TermEnded: If something was voided or renewed on chain.
            SlashedMember: If our stake was taken.
        """
        while True:
            try:
                await self._read_news()
            except RemoteFault as fault:
                log.warning("chain: %s", fault)
            check_not_slashed(self._news.evaluators.get(self._key.address))
            if self._news.term != self._term.number:
                raise TermEnded(f"term {self._news.term} begins on chain")
            commitments = self._news.commitments
            for epoch in sorted(commitments.keys() - self._epochs.keys() - self._news.abandoned):
                self._epochs[epoch] = EpochState(commitments[epoch])
                group.create_task(self._work(epoch), name=f"epoch-{epoch}")
            for epoch in self._news.abandoned & self._epochs.keys():
                self._epochs[epoch].barred = "abandoned"
            self._follow_peers()
            self._go_on()
            await asyncio.sleep(self._config.poll_ms / 1000)

    def _follow_peers(self) -> None:
        """Have links to whom the chain names now, and to who has left as long as an open epoch needs them."""
        needed = {m for state in self._epochs.values() if state.is_open for m in state.members}
        peers = peers_of(self._news.evaluators, self._hints.entries(), needed, self._key.address)
        if self._term.meet(peers):
            log.info("peers: %d", len(peers))

    async def _work(self, epoch: int) -> None:
        """Work one epoch up to our own row; `_keep_open` contributes it."""
        state = self._epochs[epoch]
        loop = asyncio.get_running_loop()
        while not may_evaluate(self._epochs, epoch):  # noqa: ASYNC110 - others make room, by publishing
            await asyncio.sleep(RETRY_S)
        started = loop.time()
        work = await self._prepare(state)
        if work is None:
            log.info("epoch %d: we are not a member", epoch, extra={"epoch": epoch})
            state.is_outside = True
            self._go_on()
            return
        state.members = work.terms.members
        state.work = work
        event_line(
            "evaluated", epoch=epoch, jobs=len(work.observation.evaluation.verdicts),
            nodes=len(work.node_ids), seconds=round(loop.time() - started, 2),
            contributions=list(work.contributions),
        )  # fmt: skip
        self._settlement.prepare(work.terms)
        self._go_on()

    async def _prepare(self, state: EpochState) -> EpochWork | None:
        """Fetch, check and evaluate, again and again until it works; what is wrong is said once. None: not ours."""
        said, loop = "", asyncio.get_running_loop()
        while True:
            try:
                async with self._work_turn:  # one at a time; a failing one lets the others pass
                    known = self._news.epochs[state.commitment.epoch]  # more may stand since
                    state.commitment = known.evaluated or state.commitment
                    gives_up = state.gives_up_own(loop.time(), self._config.self_commit_wait_s)
                    return await asyncio.to_thread(
                        self._prepare_once, state.commitment, known, gives_up=gives_up
                    )
            except (InvalidInput, NotFound, RemoteFault, Reverted) as problem:
                if str(problem) != said:
                    said, epoch = str(problem), state.commitment.epoch
                    self._refused[epoch] = said
                    log.warning(
                        "epoch %d: no row from us: %s", epoch, problem, extra={"epoch": epoch}
                    )
                    event_line("refused", epoch=epoch, reason=said)
                if isinstance(problem, OwnUnpublished):
                    state.miss_own(loop.time())
                if isinstance(problem, Unpublished):
                    await self._miss(state)
            await asyncio.sleep(RETRY_S)

    async def _miss(self, state: EpochState) -> None:
        """Say, when we have looked long enough, that what was committed is not published; close it with a quorum."""
        now_s = asyncio.get_running_loop().time()
        if state.missed_since_s is None:
            state.missed_since_s = now_s
        if now_s < state.missed_since_s + self._config.unavailable_after_s:
            return
        commitment = state.commitment
        statement = Unavailable(self._network.network_id, commitment.epoch, commitment.digest)
        root = self._publication.root
        await asyncio.to_thread(publish_statement, root, statement, self._key, self._domain)
        directories = self._network.directories(self._config.network_dir)
        what = await self._send(self._chain.close_unavailable, statement, directories)
        if what is not None:
            event_line("unavailable", epoch=commitment.epoch, result=what)

    def _prepare_once(
        self, commitment: Commitment, known: EpochCommitments, *, gives_up: bool
    ) -> EpochWork | None:
        """In a thread, beside the chain's own calls: it may take long.

        Raises:
            NotFound: If the time to commit is not over: what we evaluated now could be incomplete.
        """
        ready_s = self._chain.view.ready_at_s(commitment.epoch)
        if time.time() < ready_s:
            raise NotFound(f"epoch {commitment.epoch}: nodes may commit themselves until {ready_s}")
        members = self._chain.view.committee(commitment.epoch)
        if members and self._key.address not in members:
            return None
        config = self._config
        access = Access(
            view=self._chain.view,
            network=self._network.network_id,
            calendar=self._network.calendar,
            fetch=self._artefacts.fetch,
            private=load_private_layers(config.private_layers_dir),
            keeper=lambda columns: JobStore(columns, config.memory_mib, config.data_dir / "jobs"),
            mirror=self._publication.put,
            gives_up=gives_up,
            engine=Engine(config.engine),
        )
        return prepare(commitment, access, known.contributions)

    def _resume(self) -> list[PublishedEpoch]:
        """Take up what we had published before, so that only the rest is worked again."""
        published, ledger = resumable(self._publication, self._news.reports)
        if published:
            numbers = [epoch.header.epoch for epoch in published]
            self._settlement.resume(numbers, published[-1].report_hash, ledger)
            self._accepted.settled = len(published)
        for epoch in published:
            number = epoch.header.epoch
            self._epochs[number] = EpochState(
                self._news.commitments[number], members=epoch.members, published=True
            )
        return published

    def _go_on(self) -> None:
        """Let both loops look again at what can be done."""
        self._term.open_epochs.look_again()
        self._wake.set()

    # -- from decisions to accepted reports -------------------------------------------------------

    async def _settle(self, group: asyncio.TaskGroup) -> None:
        """Reproduce what the chain accepted, sign what is decided, transmit what is attested."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._settle_once(group)
            except RemoteFault as fault:
                log.warning("settling waits: %s", fault)
                await asyncio.sleep(RETRY_S)
                self._wake.set()

    async def _settle_once(self, group: asyncio.TaskGroup) -> None:
        if self._news.term != self._term.number:
            return  # what was settled may have been voided; `_follow` ends this term
        if await self._accepted.reproduce(self._news.reports):
            await self._reporter.round(self._epochs, self._term.open_epochs.observe_through, group)

    async def _publish(self, report: AcceptedReport, state: EpochState, settled: Settled) -> bool:
        """Publish what proves an accepted report; return False until its signatures are known."""
        signatures = await self._accepted.signatures(report, state)
        if signatures is None:
            return False
        evidence = Evidence.of(state, report, settled, signatures)
        await asyncio.to_thread(publish_outcome, self._publication, evidence)
        state.published = True
        state.forget_work()
        state.attested.clear()
        event_line("published", epoch=report.epoch, transmitter="0x" + report.transmitter.hex())
        self._term.open_epochs.look_again()
        return True
