"""The evaluator process: follows the chain, works epochs, agrees with the committee, attests and transmits.

One asyncio loop runs the protocol; what takes long (artefacts, evaluation, chain) runs in threads. After a crash the
process starts from its safety log and the chain and goes on: nothing else is remembered.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from meridian.committee.rules import CommitteeRules
from meridian.committee.settlement import Mismatch, Settled, Settlement
from meridian.ephemera.context import Context
from meridian.ephemera.effects import Attested, Decided, Misbehaviour
from meridian.ephemera.limits import Limits, Timing
from meridian.ephemera.replica import Replica
from meridian.errors import (
    InvalidInput,
    MeridianError,
    NotFound,
    RemoteFault,
    Reverted,
    StorageFailure,
)
from meridian.node.chain_view import AcceptedReport, Commitment
from meridian.node.evaluator.artefacts import ArtefactClient
from meridian.node.evaluator.chain_access import ChainAccess, ChainNews
from meridian.node.evaluator.config import EvaluatorConfig
from meridian.node.evaluator.open_epochs import OPEN_MAX, OpenEpochs, may_evaluate
from meridian.node.evaluator.peers import AddressHints, peers_of
from meridian.node.evaluator.publish import Evidence, publish_outcome
from meridian.node.evaluator.reporting import RETRY_S, Reporter
from meridian.node.evaluator.resume import (
    PublishedEpoch,
    claims_after,
    claims_of_others,
    published_epochs,
)
from meridian.node.evaluator.safety import open_safety_log
from meridian.node.evaluator.state import Disagreement, EpochState
from meridian.node.evaluator.work import EpochWork, prepare
from meridian.node.keystore import load_or_create_key, load_or_create_secret
from meridian.node.link_identity import link_identity
from meridian.node.links import Links, Peer
from meridian.node.measure.publication import Publication
from meridian.node.network_file import NetworkFile
from meridian.node.process import (
    bound_recursion,
    event_line,
    ready_line,
    serve_until_stopped,
    start_logging,
)
from meridian.node.replica_driver import ReplicaDriver
from meridian.primitives.ids import Address

log = logging.getLogger(__name__)


class EvaluatorService:
    """One evaluator."""

    def __init__(self, config: EvaluatorConfig, rules: CommitteeRules | None = None) -> None:
        self._config = config
        self._network = NetworkFile.load(config.network_dir)
        self._key = load_or_create_key(config.key_file)
        self._domain = self._network.domain(self._network.contracts.evaluations)
        config.data_dir.mkdir(parents=True, exist_ok=True)
        self._publication = Publication(config.data_dir / "public")
        self._artefacts = ArtefactClient(self._network.measure_url)
        self._chain = ChainAccess(self._network, self._key, config.data_dir / "transactions.sqlite")
        self._chain_lock = asyncio.Lock()
        self._rules = rules or CommitteeRules()
        self._settlement = Settlement(self._domain)
        self._epochs: dict[int, EpochState] = {}
        self._news = ChainNews()
        self._settled_reports = 0
        self._hints = AddressHints(config.network_dir, self._network)
        self._peers: list[Peer] = []
        self._wake = asyncio.Event()
        self._work_turn = asyncio.Semaphore(1)
        self._safety = open_safety_log(config.data_dir, self._network.network_id, self._key.address)
        self._driver = self._make_driver()
        self._links = self._make_links()
        self._open_epochs = OpenEpochs(
            self._epochs,
            self._driver,
            self._rules,
            self._safety,
            data_dir=config.data_dir,
            retained=config.retained_epochs,
            context=self._context,
            on_opened=self._wake.set,
        )
        self._reporter = Reporter(
            address=self._key.address,
            driver=self._driver,
            settlement=self._settlement,
            chain=self._chain,
            on_chain=self._on_chain,
            stage_ms=config.stage_ms,
            wake=self._go_on,
        )

    def _make_driver(self) -> ReplicaDriver:
        return ReplicaDriver(
            Replica(
                self._key,
                Timing(),
                Limits(epochs_max=OPEN_MAX, closed_epochs_max=self._config.retained_epochs),
                self._rules,
                archive=self._safety,
            ),
            self._safety,
            on_decided=self._on_decided,
            on_attested=self._on_attested,
            on_misbehaviour=self._on_misbehaviour,
        )

    def _make_links(self) -> Links:
        return Links(
            link_identity(load_or_create_secret(self._config.link_key_file)),
            [],  # the chain names them: `_follow_peers`
            self._driver.deliver,
            address=self._key.address,
            network=self._network.network_id,
            listen=(self._config.listen_host, self._config.listen_port),
        )

    def _context(self, epoch: int, members: tuple[Address, ...]) -> Context:
        return Context(self._domain, self._network.network_id, epoch, members)

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
        self._settlement.decided(effect.epoch, effect.block.hash, rows)
        event_line("decided", epoch=effect.epoch, view=effect.certificate.view, rows=len(rows))
        self._go_on()

    def _on_attested(self, effect: Attested) -> None:
        self._epochs[effect.epoch].attested[effect.digest] = effect
        self._wake.set()

    def _on_misbehaviour(self, effect: Misbehaviour) -> None:
        log.warning(
            "member %d misbehaved in epoch %d: %s", effect.member, effect.epoch, effect.kind
        )
        event_line(
            "misbehaviour",
            epoch=effect.epoch,
            member=effect.member,
            kind=effect.kind,
            evidence=effect.evidence.hex(),
        )

    # -- the loop ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            StorageFailure: If the safety log fails: nothing may be signed any more.
        """
        await self._first_news()
        await self._open_epochs.remember(self._news.commitments)
        resumed = await self._on_chain(self._resume)
        self._follow_peers()
        await self._links.start()
        await self._driver.start(self._links)
        await self._open_epochs.answer_for([(e.header.epoch, e.members) for e in resumed])
        async with asyncio.TaskGroup() as group:
            group.create_task(self._driver.join(), name="driver")
            group.create_task(self._links.join(), name="links")
            ready_line(address="0x" + self._key.address.hex(), port=self._config.listen_port)
            group.create_task(self._follow(group), name="follow")
            group.create_task(self._open_epochs.run(), name="open epochs")
            group.create_task(self._settle(group), name="settle")
            group.create_task(self._open_epochs.watch(self._key.address), name="watch")

    async def _first_news(self) -> None:
        """Wait for the chain: an evaluator may be started before it."""
        while True:
            try:
                self._news = await self._on_chain(self._chain.news)
            except RemoteFault as fault:
                log.warning("chain: %s", fault)
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def close(self) -> None:
        """Stop driver and links; release the safety log, the chain and the journal."""
        try:
            await self._driver.stop()
        finally:
            await self._links.stop()
            self._safety.close()
            await asyncio.to_thread(self._chain.close)

    async def _on_chain(self, call: Any, *arguments: Any) -> Any:
        async with self._chain_lock:
            return await asyncio.to_thread(call, *arguments)

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        """Ask the chain for news and start the work of every newly committed epoch."""
        while True:
            try:
                self._news = await self._on_chain(self._chain.news)
            except RemoteFault as fault:
                log.warning("chain: %s", fault)
            for epoch in sorted(self._news.commitments.keys() - self._epochs.keys()):
                self._epochs[epoch] = EpochState(self._news.commitments[epoch])
                group.create_task(self._work(epoch), name=f"epoch-{epoch}")
            self._follow_peers()
            self._wake.set()
            await asyncio.sleep(self._config.poll_ms / 1000)

    def _follow_peers(self) -> None:
        """Have links to whom the chain names now, and to who has left as long as an open epoch needs them."""
        needed = {m for state in self._epochs.values() if state.is_open for m in state.members}
        peers = peers_of(self._news.evaluators, self._hints.entries(), needed, self._key.address)
        if peers != self._peers:
            self._peers = peers
            self._links.update_peers(peers)
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
            log.info("epoch %d: we are not a member", epoch)
            state.is_outside = True
            self._go_on()
            return
        state.members = work.terms.members
        state.work = work
        event_line(
            "evaluated", epoch=epoch, jobs=len(work.observation.evaluation.verdicts),
            nodes=len(work.node_ids), seconds=round(loop.time() - started, 2),
        )  # fmt: skip
        self._settlement.prepare(work.terms)
        self._go_on()

    async def _prepare(self, state: EpochState) -> EpochWork | None:
        """Fetch, check and evaluate, again and again until it works; what is wrong is said once. None: not ours."""
        said = ""
        while True:
            try:
                async with self._work_turn:  # one at a time; a failing one lets the others pass
                    return await asyncio.to_thread(self._prepare_once, state.commitment)
            except (InvalidInput, NotFound, RemoteFault, Reverted) as problem:
                if str(problem) != said:
                    said = str(problem)
                    log.warning("epoch %d: no row from us: %s", state.commitment.epoch, problem)
                    event_line("refused", epoch=state.commitment.epoch, reason=said)
            await asyncio.sleep(RETRY_S)

    def _prepare_once(self, commitment: Commitment) -> EpochWork | None:
        """In a thread, beside the chain's own calls: it may take long."""
        members = self._chain.view.committee(commitment.epoch)
        if members and self._key.address not in members:
            return None
        return prepare(
            commitment,
            self._chain.view,
            self._network.network_id,
            self._network.calendar,
            self._artefacts.fetch,
        )

    def _resume(self) -> list[PublishedEpoch]:
        """Take up what we had published before, so that only the rest is worked again."""
        published = published_epochs(self._publication, self._news.reports)
        if not published:
            return []
        last = self._news.reports[len(published) - 1]
        try:
            claims = claims_after(self._publication, published[-1], last.reward_root)
        except (InvalidInput, NotFound, StorageFailure) as problem:
            log.warning("our publication is damaged, everything is worked again: %s", problem)
            return []
        numbers = [epoch.header.epoch for epoch in published]
        self._settlement.resume(numbers, last.report_hash, claims)
        self._settled_reports = len(published)
        for epoch in published:
            number = epoch.header.epoch
            self._epochs[number] = EpochState(
                self._news.commitments[number], members=epoch.members, published=True
            )
        return published

    def _go_on(self) -> None:
        """Let both loops look again at what can be done."""
        self._open_epochs.look_again()
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
        reports = list(self._news.reports)
        while self._settled_reports < len(reports):
            if not await self._reproduce(reports[self._settled_reports]):
                return
            self._settled_reports += 1
        await self._reporter.round(self._epochs, self._open_epochs.observe_through, group)

    async def _reproduce(self, report: AcceptedReport) -> bool:
        """Compare an accepted report with our own; return False until we can."""
        state = self._epochs.get(report.epoch)
        if state is None:
            return False  # its commitment has not been read yet
        if state.is_outside:
            return await self._pass_over(report)
        if state.settled is not None:  # reproduced before, but not published: the chain was away
            return await self._publish(report, state, state.settled)
        result = self._settlement.accept(report.epoch, report.report_hash, report.previous)
        if result is None:
            return False
        if isinstance(result, Mismatch):
            log.critical(
                "epoch %d: the chain accepted report %s, our block gives %s",
                result.epoch, result.accepted.hex(), result.ours.hex(),
            )  # fmt: skip
            event_line("mismatch", epoch=result.epoch, accepted=result.accepted.hex())
            raise Disagreement(
                f"epoch {result.epoch}: the accepted report does not follow from our block"
            )
        state.settled = result
        return await self._publish(report, state, result)

    async def _pass_over(self, report: AcceptedReport) -> bool:
        """Go on behind a report of an epoch in which we had no seat; return False until somebody published its claims."""
        directories = self._network.directories(self._config.network_dir)
        claims = await asyncio.to_thread(claims_of_others, directories, report)
        if claims is None:
            return False
        self._settlement.pass_over(report.epoch, report.report_hash, report.previous, claims)
        return True

    async def _signatures(
        self, report: AcceptedReport, state: EpochState
    ) -> list[tuple[Address, bytes]] | None:
        """Return the signatures under an accepted report, or None until we know them.

        They stand in its transaction; where somebody passed it on through a contract of their own, the protocol's do.
        """
        try:
            found: list[tuple[Address, bytes]] = await self._on_chain(
                self._chain.accepted_signatures, report
            )
        except InvalidInput:
            attested = state.attested.get(report.report_hash)
            return list(attested.signatures) if attested is not None else None
        return found

    async def _publish(self, report: AcceptedReport, state: EpochState, settled: Settled) -> bool:
        """Publish what proves an accepted report; return False until its signatures are known."""
        assert state.work is not None
        assert state.decided is not None
        signatures = await self._signatures(report, state)
        if signatures is None:
            return False
        evidence = Evidence(
            commitment=state.commitment,
            terms=state.work.terms,
            settled=settled,
            decided=state.decided,
            observation=state.work.observation,
            accepted=report,
            signatures=signatures,
            node_ids=state.work.node_ids,
        )
        await asyncio.to_thread(publish_outcome, self._publication, evidence)
        state.published = True
        state.work, state.decided, state.settled = (
            None,
            None,
            None,
        )  # large, and not needed any more
        state.attested.clear()
        event_line("published", epoch=report.epoch, transmitter="0x" + report.transmitter.hex())
        self._open_epochs.look_again()
        return True


async def _serve(config: EvaluatorConfig) -> None:
    service = EvaluatorService(config)
    try:
        await service.run()
    finally:
        with contextlib.suppress(MeridianError):
            await service.close()


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path, exists=True), required=True)
def command(path: Path) -> None:
    """Run an evaluator from its configuration file."""
    bound_recursion()
    config = EvaluatorConfig.load(path)
    start_logging(f"evaluator-{config.listen_port}")
    raise SystemExit(serve_until_stopped(lambda: _serve(config)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the process and return its exit code."""
    try:
        command.main(args=arguments, standalone_mode=False)
    except SystemExit as ended:
        return int(ended.code or 0)
    except MeridianError as error:
        click.echo(f"evaluator: {error}", err=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
