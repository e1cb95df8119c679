"""The loop: look at what is new on chain and in the publications, accuse what is wrong, and see the verdict through.

Nothing is remembered but what was sent (see `court`): a watcher that is started again looks at everything that can
still be disputed once more, and comes to the same accusations.
"""

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from meridian.disputes.accusation import Accusation
from meridian.disputes.commitment_faults import PublishedEpoch, find_faults
from meridian.disputes.promises import (
    Promise,
    SortedEpoch,
    double_receipt,
    duplicates,
    omission,
)
from meridian.disputes.report_faults import find_report_faults, node_reward
from meridian.errors import InvalidInput, NotFound, Overloaded, RemoteFault
from meridian.measure.schema import NetworkSchema
from meridian.node.chain.rpc import ChainClient, Rpc
from meridian.node.chain_news import ChainNews, NewsReader
from meridian.node.chain_view import AcceptedReport, ChainView, Commitment
from meridian.node.evaluator.artefacts import ArtefactClient
from meridian.node.keystore import load_or_create_key
from meridian.node.network_file import NetworkFile
from meridian.node.observe.observation import Observation
from meridian.node.publications import place_of
from meridian.node.watch.court import Court
from meridian.node.watch.docket import Docket, Tell
from meridian.node.watch.escalation import Escalation
from meridian.node.watch.options import WatchOptions
from meridian.node.watch.promises import GatewayPromises
from meridian.node.watch.published import missing_row, place_of_node, published_epoch
from meridian.node.watch.reports import PublishedReports, judged
from meridian.node.watch.statements import PublishedEvidence
from meridian.primitives.ids import ZERO_ADDRESS, Address, address_text, node_key
from meridian.reward.report import NO_REPORT

DUPLICATE_EPOCHS: Final = 8
"""A job is looked for in so many earlier epochs of the same aggregator."""
KEPT_EPOCHS: Final = 16
"""So many of the newest epochs are kept in memory also when they are paid out."""


class Watcher:
    """One watcher; `round` looks once, `run` again and again.

    Args:
        options: What to watch and what it may cost.
        tell: Hears what happens.
        client: The chain; None: the endpoint that the network file names.
        now_s: The clock, seconds since the Unix epoch.

    Raises:
        NotFound: If there is no network, or one without disputes.
    """

    def __init__(
        self,
        options: WatchOptions,
        tell: Tell,
        *,
        client: ChainClient | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._options, self._now_s = options, now_s
        self._told: Counter[str] = Counter()
        self._rounds, self._problem = 0, "the first look is not over yet"
        self._round_at_s = now_s()

        def tell_and_count(event: str, fields: dict[str, Any]) -> None:
            self._told[event] += 1
            tell(event, fields)

        self._tell = tell_and_count
        self._only = None if options.node_id is None else node_key(options.node_id)
        self._network = network = NetworkFile.load(options.data_dir)
        if network.contracts.disputes == ZERO_ADDRESS:
            raise NotFound(
                f"{network.network!r} has no contract that judges: nothing can be disputed"
            )
        options.state_dir.mkdir(parents=True, exist_ok=True)
        self._rpc = Rpc(network.rpc_url) if client is None else None
        chain = client or self._rpc
        assert chain is not None
        self._view = ChainView(chain, network.contracts, network.deploy_block)
        self._reader = NewsReader(self._view, network.deploy_block)
        self.court = Court(network, chain, load_or_create_key(options.key_file), options)
        self._docket = Docket(self.court, self._view, tell_and_count)
        places = network.places(options.data_dir)
        places += [place_of(text, Path()) for text in options.publications]
        self._artefacts = ArtefactClient(network.measure_url, places)
        self._where = network.schema_digest, self._artefacts.fetch
        domain = network.domain(network.contracts.evaluations)
        self._reports = PublishedReports(places, self._artefacts.fetch, domain)
        self._evidence = PublishedEvidence(places, network.network_id, domain, self._view)
        self._escalation: Escalation | None = None
        if options.escalate:
            self._escalation = Escalation(
                network,
                chain,
                places,
                self._artefacts.fetch,
                options.state_dir,
                patience_s=options.patience_s,
                case_url=options.case_url,
            )
        self._gateway: GatewayPromises | None = None
        self._pending: deque[Promise] = deque()
        self._published: dict[tuple[int, Address], PublishedEpoch] = {}
        self._sorted: dict[tuple[int, Address], SortedEpoch] = {}
        self._checked: set[tuple[int, bytes]] = set()
        self._missing_since_s: dict[tuple[int, bytes], float] = {}
        self._judged: set[bytes] = set()
        self._over: set[int] = set()
        self._stopping = False

    @property
    def address(self) -> Address:
        """The watcher's account."""
        return self.court.address

    def close(self) -> None:
        """Close journal and connection."""
        self.court.close()
        if self._rpc is not None:
            self._rpc.close()

    def stop(self) -> None:
        """Have `run` end after the round at work, or before the next; may be called from a signal's handler."""
        self._stopping = True

    def run(self) -> None:
        """Look until stopped or interrupted; a chain that is away is waited for."""
        while not self._stopping:
            try:
                self.round()
                self._rounds, self._problem = self._rounds + 1, ""
                self._round_at_s = self._now_s()
            except (RemoteFault, Overloaded) as fault:
                self._problem = str(fault)
                self._docket.say_once("waiting", reason=str(fault))
            if not self._stopping:
                time.sleep(self._options.poll_s)

    def look(self) -> Observation:
        """Return what the operator may know; from any thread."""
        age_s = self._now_s() - self._round_at_s
        told = CounterMetricFamily(
            "meridian_watcher_events", "What the watcher told, by event", labels=["event"]
        )
        counts = dict(self._told)
        for event, count in sorted(counts.items()):
            told.add_metric([event], count)
        return Observation(
            ready=not self._problem,
            problem=self._problem or None,
            detail={
                "address": address_text(self.address),
                "looks": self._rounds,
                "look_age_s": round(age_s, 1),
                "events": counts,
            },
            metrics=[
                told,
                CounterMetricFamily(
                    "meridian_watcher_looks", "Looks that went well", value=self._rounds
                ),
                GaugeMetricFamily(
                    "meridian_watcher_look_age_seconds",
                    "Since the last look that went well",
                    value=age_s,
                ),
            ],
        )

    def round(self) -> None:
        """Look once at everything that is new.

        Raises:
            RemoteFault: If the chain cannot be reached.
        """
        news = self._reader.news()
        self._docket.bring_waiting()
        self._forget_old(news)
        for number in sorted(news.epochs.keys() - self._over):
            for commitment in news.epochs[number].standing:
                self._look_at_commitment(number, commitment)
        self._look_at_promises()
        self._look_at_receipts()
        slashed = {address for address, one in news.evaluators.items() if one.is_slashed}
        for accusation in self._evidence.new() if self._only is None else ():
            if not slashed.issuperset(accusation.guilty):  # a stake is taken once
                self._docket.accuse([accusation])
        for report in news.reports:
            self._look_at_report(report, news)
        if self._escalation is not None:
            for case in self._escalation.new(news, self._now_s()):
                self._docket.accuse([case])
        if self._only is None:
            self._docket.renew(news)
        self._docket.resolve(self._now_s())
        self._docket.follow_cases(self._now_s())

    def _forget_old(self, news: ChainNews) -> None:
        """Let go of epochs that are paid out, except the newest, in which what is counted again may have stood."""
        newest = max(news.epochs, default=0)
        for number in news.epochs.keys() - self._over:
            if number + KEPT_EPOCHS < newest and (
                number in news.abandoned or self._view.is_unlocked(number)
            ):
                self._over.add(number)
                for place in [place for place in self._published if place[0] == number]:
                    self._forget(*place)

    # -- commitments ------------------------------------------------------------------------------

    def _look_at_commitment(self, number: int, commitment: Commitment) -> None:
        key = number, commitment.root
        if key in self._checked:
            return
        try:
            epoch = published_epoch(commitment, *self._where, self._only)
        except (InvalidInput, RemoteFault) as problem:
            self._miss(key, commitment, str(problem))
            return
        self._checked.add(key)
        faults, fields = self._commitment_faults(epoch)
        fields |= {"epoch": number, "aggregator": commitment.aggregator}
        self._tell("commitment", fields | {"faults": [fault.reason for fault in faults]})
        if faults:
            self._docket.accuse(faults)
            return
        place = number, commitment.aggregator
        self._published[place] = epoch
        with contextlib.suppress(InvalidInput):  # an empty epoch has nothing to look up
            self._sorted[place] = SortedEpoch(epoch)
            self._look_for_duplicates(place)

    def _commitment_faults(self, epoch: PublishedEpoch) -> tuple[list[Accusation], dict[str, Any]]:
        """Return what is wrong, and how many jobs of whom were looked at."""
        if self._only is None:
            jobs = int.from_bytes(epoch.commitment.annotation[:8], "big")
            return find_faults(epoch), {"jobs": jobs}
        place = place_of_node(epoch.node_rows, self._only)
        own = () if place is None else (place,)
        jobs = sum(len(epoch.job_rows[at]) for at in own)
        return find_faults(epoch, own), {"jobs": jobs, "node": self._options.node_id}

    def _miss(self, key: tuple[int, bytes], commitment: Commitment, problem: str) -> None:
        """Wait for artefacts that are not published; challenge their aggregator when patience ends."""
        now_s = time.monotonic()
        since_s = self._missing_since_s.setdefault(key, now_s)
        self._docket.say_once("unpublished", epoch=commitment.epoch, reason=problem)
        if now_s < since_s + self._options.patience_s:
            return
        self._checked.add(key)
        if not self._view.is_unlocked(commitment.epoch):
            wanted = missing_row(commitment, *self._where, self._only)
            if wanted is not None:
                self._docket.accuse([wanted])

    def _look_for_duplicates(self, place: tuple[int, Address]) -> None:
        if self._only is not None:  # what is counted twice harms the others
            return
        number, aggregator = place
        for before in range(number - DUPLICATE_EPOCHS, number):
            first = self._sorted.get((before, aggregator))
            if first is not None:
                found = list(duplicates(first, self._sorted[place], self._network.calendar))
                if found:
                    self._docket.accuse(found[:1])
                    return

    # -- promises ---------------------------------------------------------------------------------

    def _look_at_promises(self) -> None:
        directory = self._options.gateway_dir
        if directory is None:
            return
        if self._gateway is None:
            try:
                schema = NetworkSchema.decode(self._artefacts.fetch(self._network.schema_digest))
            except (RemoteFault, InvalidInput):
                return
            self._gateway = GatewayPromises(
                directory, schema, self._network.calendar, self._options.node_id
            )
        self._pending.extend(self._gateway.new())
        for _ in range(len(self._pending)):
            promise = (
                self._pending.popleft()
            )  # an accusation that cannot be sent now waits on the docket
            of_aggregator = promise.receipt.receipt.aggregator
            epochs = {n: one for (n, who), one in self._sorted.items() if who == of_aggregator}
            due = promise.epochs(self._network.calendar)
            if not self._over.isdisjoint(due):
                continue  # nothing can be undone any more
            if any(number not in epochs for number in due):
                self._pending.append(promise)
                continue
            accusation = omission(promise, epochs, self._network.calendar)
            if accusation is not None and self._docket.accuse([accusation]):
                self._forget(accusation.epoch, of_aggregator)

    def _forget(self, number: int, aggregator: Address) -> None:
        """A commitment was voided: what it held is not promised any more."""
        self._published.pop((number, aggregator), None)
        self._sorted.pop((number, aggregator), None)

    def _look_at_receipts(self) -> None:
        if self._gateway is None:
            return
        for receipts in self._gateway.receipts.values():
            if len(receipts) > 1:
                accusation = double_receipt(receipts[0], receipts[1])
                if accusation is not None and not self.court.has_slashed(accusation.guilty[0]):
                    self._docket.accuse([accusation])
                del receipts[1:]

    # -- reports ----------------------------------------------------------------------------------

    def _look_at_report(self, report: AcceptedReport, news: ChainNews) -> None:
        if report.report_hash in self._judged:
            return
        if self._view.is_unlocked(report.epoch):
            self._judged.add(report.report_hash)  # paid out: nothing can be undone
            return
        known = news.epochs[report.epoch]
        standing = known.standing
        # Of several commitments, or with nodes' own, a reward follows from no single row: the contracts judge none.
        if len(known.contributions) != 1 or len(standing) != 1:
            self._judged.add(report.report_hash)
            return
        epoch = self._published.get((report.epoch, standing[0].aggregator))
        if epoch is None:
            return
        previous = {one.report_hash: one for one in news.reports}.get(report.previous)
        if previous is None and report.previous != NO_REPORT:
            return
        try:
            case = judged(report, previous, epoch, self._reports, self._view)
            faults = list(find_report_faults(case, self._only))
        except (NotFound, InvalidInput) as problem:
            self._docket.say_once("unpublished", epoch=report.epoch, reason=str(problem))
            return
        self._judged.add(report.report_hash)
        self._tell(
            "report",
            {
                "epoch": report.epoch,
                "report": report.report_hash,
                "faults": [fault.reason for fault in faults],
            },
        )
        if self._only is not None:
            reward = asdict(node_reward(case, self._only))
            self._tell("reward", {"epoch": report.epoch, "node": self._options.node_id} | reward)
        if faults:
            self._docket.accuse(faults)
