"""The evaluator process: follows the chain, works epochs, agrees with the committee, attests and transmits.

One asyncio loop runs the protocol; what takes long (artefacts, evaluation, chain) runs in threads. After a crash the
process starts from its safety log and the chain and goes on: nothing else is remembered.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

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
from meridian.evaluate.row import RowHeader
from meridian.node.chain_view import AcceptedReport
from meridian.node.evaluator.artefacts import ArtefactClient
from meridian.node.evaluator.chain_access import ChainAccess, ChainNews
from meridian.node.evaluator.config import EvaluatorConfig
from meridian.node.evaluator.publish import Evidence, publish_outcome
from meridian.node.evaluator.reporting import RETRY_S, Reporter
from meridian.node.evaluator.resume import PublishedEpoch, claims_after, published_epochs
from meridian.node.evaluator.safety import observe_through, open_safety_log
from meridian.node.evaluator.state import Disagreement, EpochState, waiting_for
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

WAITING_AFTER_S: Final = 3.0
KEPT_EPOCHS: Final = 128
"""Published epochs that stay open for slower members."""
OPEN_EPOCHS_MAX: Final = 256


class EvaluatorService:
    """One evaluator."""

    def __init__(self, config: EvaluatorConfig) -> None:
        self._config = config
        self._network = NetworkFile.load(config.network_dir)
        self._key = load_or_create_key(config.key_file)
        self._domain = self._network.domain(self._network.contracts.evaluations)
        config.data_dir.mkdir(parents=True, exist_ok=True)
        self._publication = Publication(config.data_dir / "public")
        self._artefacts = ArtefactClient(self._network.measure_url)
        self._chain = ChainAccess(self._network, self._key, config.data_dir / "transactions.sqlite")
        self._chain_lock = asyncio.Lock()
        self._rules = CommitteeRules()
        self._settlement = Settlement(self._domain)
        self._epochs: dict[int, EpochState] = {}
        self._news = ChainNews()
        self._settled_reports = 0
        self._observe_through = -1
        self._wake = asyncio.Event()
        self._work_turn = asyncio.Semaphore(1)
        self._safety = open_safety_log(config.data_dir, self._network.network_id, self._key.address)
        self._driver = self._make_driver()
        self._links = self._make_links()
        self._reporter = Reporter(
            address=self._key.address,
            driver=self._driver,
            settlement=self._settlement,
            chain=self._chain,
            on_chain=self._on_chain,
            stage_ms=config.stage_ms,
            wake=self._wake.set,
        )

    def _make_driver(self) -> ReplicaDriver:
        return ReplicaDriver(
            Replica(self._key, Timing(), Limits(epochs_max=OPEN_EPOCHS_MAX), self._rules),
            self._safety,
            on_decided=self._on_decided,
            on_attested=self._on_attested,
            on_misbehaviour=self._on_misbehaviour,
        )

    def _make_links(self) -> Links:
        return Links(
            link_identity(load_or_create_secret(self._config.link_key_file)),
            [Peer(e.address, e.link_key, e.host, e.port) for e in self._network.evaluators],
            self._driver.deliver,
            address=self._key.address,
            network=self._network.network_id,
            listen=(self._config.listen_host, self._config.listen_port),
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
        self._settlement.decided(effect.epoch, effect.block.hash, rows)
        event_line("decided", epoch=effect.epoch, view=effect.certificate.view, rows=len(rows))
        self._wake.set()

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
        committed = tuple(self._news.commitments)
        self._observe_through = await asyncio.to_thread(
            observe_through, self._config.data_dir, self._safety, committed
        )
        resumed = await self._on_chain(self._resume)
        await self._links.start()
        await self._driver.start(self._links)
        for epoch in resumed[-KEPT_EPOCHS:]:
            observer = epoch.header.epoch <= self._observe_through
            await self._open(epoch.header, epoch.members, observer=observer)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._driver.join(), name="driver")
            group.create_task(self._links.join(), name="links")
            ready_line(address="0x" + self._key.address.hex(), port=self._config.listen_port)
            group.create_task(self._follow(group), name="follow")
            group.create_task(self._settle(group), name="settle")
            group.create_task(self._watch(), name="watch")

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
            self._wake.set()
            await asyncio.sleep(self._config.poll_ms / 1000)

    async def _work(self, epoch: int) -> None:
        """Work one epoch up to our own row."""
        state = self._epochs[epoch]
        loop = asyncio.get_running_loop()
        started = loop.time()
        work = await self._prepare(state)
        if self._key.address not in work.terms.members:
            log.info("epoch %d: we are not a member", epoch)
            return
        state.work = work
        event_line(
            "evaluated", epoch=epoch, jobs=len(work.observation.evaluation.verdicts),
            nodes=len(work.node_ids), seconds=round(loop.time() - started, 2),
        )  # fmt: skip
        self._settlement.prepare(work.terms)
        observer = epoch <= self._observe_through
        while not await self._make_room(epoch):  # noqa: ASYNC110 - others make the room, by publishing
            await asyncio.sleep(RETRY_S)
        state.opened_at_s = loop.time()
        await self._open(work.terms.header, work.terms.members, observer=observer)
        if not observer:
            await self._driver.submit_row(epoch, work.observation.body)

    async def _prepare(self, state: EpochState) -> EpochWork:
        """Fetch, check and evaluate, again and again until it works; what is wrong is said once."""
        said = ""
        while True:
            try:
                async with self._work_turn:  # one at a time; a failing one lets the others pass
                    return await self._prepare_once(state)
            except (InvalidInput, NotFound, RemoteFault, Reverted) as problem:
                if str(problem) != said:
                    said = str(problem)
                    log.warning("epoch %d: no row from us: %s", state.commitment.epoch, problem)
                    event_line("refused", epoch=state.commitment.epoch, reason=said)
            await asyncio.sleep(RETRY_S)

    async def _prepare_once(self, state: EpochState) -> EpochWork:
        return await asyncio.to_thread(  # beside the chain's own calls: it may take long
            prepare,
            state.commitment,
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
        for number in numbers:
            self._epochs[number] = EpochState(self._news.commitments[number], published=True)
        return published

    async def _open(
        self, header: RowHeader, members: tuple[Address, ...], *, observer: bool
    ) -> None:
        self._rules.expect(header)
        context = Context(self._domain, self._network.network_id, header.epoch, members)
        self._epochs[header.epoch].is_open = True
        await self._driver.open_epoch(context, observer=observer)

    async def _make_room(self, newest: int) -> bool:
        """Close published epochs that no slower member is likely to need; tell whether one more may be opened."""
        for epoch, state in sorted(self._epochs.items()):
            if state.is_open and state.published and epoch <= newest - KEPT_EPOCHS:
                state.is_open = False
                await self._driver.close_epoch(epoch)
                self._rules.forget(epoch)
        return sum(state.is_open for state in self._epochs.values()) < OPEN_EPOCHS_MAX

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
        await self._reporter.round(self._epochs, self._observe_through, group)

    async def _reproduce(self, report: AcceptedReport) -> bool:
        """Compare an accepted report with our own; return False until we can."""
        state = self._epochs.get(report.epoch)
        if state is None:
            return False  # its commitment has not been read yet
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
        return True

    async def _watch(self) -> None:
        """Say what undecided epochs wait for."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WAITING_AFTER_S)
            for epoch, state in sorted(self._epochs.items()):
                late = state.opened_at_s and loop.time() - state.opened_at_s > WAITING_AFTER_S
                if late and state.decided is None and not state.published:
                    status = self._driver.status(epoch)
                    event_line(
                        "waiting", epoch=epoch, **waiting_for(state, status, self._key.address)
                    )


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
