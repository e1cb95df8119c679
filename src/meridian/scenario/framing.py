"""The story of an honest aggregator that is accused of everything: with resent jobs, late jobs and true papers.

Every accusation is a real call of the contracts with true data, as clever as the accuser can make it; each must be
refused, and nobody's stake may move.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from meridian.contracts.artefact import load
from meridian.disputes.accusation import Accusation
from meridian.disputes.commitment_faults import (
    PublishedEpoch,
    bad_sum,
    challenge_job,
    disorder,
)
from meridian.disputes.promises import Promise, SortedEpoch, omission
from meridian.disputes.report_faults import find_report_faults
from meridian.disputes.ways import NO_SPOT, node_row_tree
from meridian.errors import Reverted
from meridian.measure.commitment import node_leaf
from meridian.node.chain.contract import Contract
from meridian.node.chain_view import AcceptedReport
from meridian.node.evaluator.artefacts import ArtefactClient
from meridian.node.watch.promises import GatewayPromises
from meridian.node.watch.published import published_epoch
from meridian.node.watch.reports import PublishedReports, judged
from meridian.primitives.ids import node_key
from meridian.primitives.sumtree import HASH_BYTES
from meridian.scenario import jobs as work
from meridian.scenario.cast import Cast
from meridian.scenario.committee_stories import must_verify
from meridian.scenario.money import look
from meridian.scenario.stage import BOND_ATTO, Stage, set_up
from meridian.scenario.story import Story

FIRST: Final = work.FIRST_EPOCH
SECOND: Final = FIRST + 1
LATE_JOBS: Final = 2


def framing(root: Path, story: Story) -> None:
    """An honest aggregator, with resent and late jobs, is accused of everything; every accusation fails."""
    with set_up(root, Cast(epochs=2, challenge_seconds=40, response_seconds=30), story) as stage:
        epochs = _honest_work(story, stage)
        reports = [stage.await_report(number) for number in (FIRST, SECOND)]
        story.tell("both epochs are committed and reported, as they should be")
        before = look(stage), stage.view.term()
        accuser = _Accuser(story, stage)
        for accusation in _accusations(stage, epochs, reports):
            accuser.accuse(accusation)
        _challenge(story, stage, epochs[0])
        after = look(stage), stage.view.term()
        story.must(after[1] == before[1] == 0, "nothing was voided")
        story.must(after[0].burned == before[0].burned, "nothing was burned")
        for key in (stage.aggregator, stage.standby):
            stake = stage.view.commitments.read("aggregator", key.address)[1]
            story.must(stake > 0, "an aggregator's stake is untouched")
        claims = stage.pay(reports[1])
        for name, count in work.JOBS.items():
            story.must(
                claims.claims[node_key(name)].cumulative > 0,
                f"{name} is paid for {count} jobs an epoch",
            )
        must_verify(story, stage, SECOND)


def _honest_work(story: Story, stage: Stage) -> list[PublishedEpoch]:
    """Let the aggregator work two epochs, the second with late and resent jobs; return what it published."""
    first, second = stage.work.jobs_of(FIRST), stage.work.jobs_of(SECOND)
    stage.submit(FIRST, work.batch_of(first[LATE_JOBS:]))
    stage.seal(FIRST)
    late = work.batch_of(first[:LATE_JOBS])
    answer = stage.submit(SECOND, late)
    story.must(
        answer.accepted == LATE_JOBS, f"{LATE_JOBS} jobs come late, and count in epoch {SECOND}"
    )
    again = stage.submit(SECOND, work.batch_of([*first[LATE_JOBS:], *second[:1]]))
    story.must(
        again.accepted == 1, f"{again.duplicates} jobs are sent again, and not counted again"
    )
    stage.submit(SECOND, work.batch_of(second[1:]))
    stage.seal(SECOND)
    fetch = _fetch(stage)
    standing = stage.view.standing()
    return [
        published_epoch(standing[number], stage.network.schema_digest, fetch)
        for number in (FIRST, SECOND)
    ]


def _fetch(stage: Stage) -> Callable[[bytes], bytes]:
    places = stage.network.places(stage.layout.root)
    return ArtefactClient(stage.network.measure_url, places).fetch


def _accusations(
    stage: Stage, epochs: Sequence[PublishedEpoch], reports: Sequence[AcceptedReport]
) -> list[Accusation]:
    """Return everything that somebody with all true papers could try."""
    first, second = epochs
    found = _about_promises(stage, SortedEpoch(first), SortedEpoch(second))
    nodes = node_row_tree(first.node_rows, first.lanes)
    row = nodes.rows[0]
    claimed = node_leaf(row)[HASH_BYTES:]
    found.append(
        bad_sum(first.commitment, row, claimed, nodes.spot(0), NO_SPOT, "a true row is a lie")
    )
    more = (int.from_bytes(claimed, "big") + (1 << 128)).to_bytes(24, "big")
    found.append(
        bad_sum(first.commitment, row, more, nodes.spot(0), NO_SPOT, "a row with one job more")
    )
    found.append(disorder(first.commitment, nodes, 0, NO_SPOT))
    fetch = _fetch(stage)
    domain = stage.network.domain(stage.network.contracts.evaluations)
    published = PublishedReports(stage.network.places(stage.layout.root), fetch, domain)
    stage.claims_of(reports[0])
    case = judged(reports[0], None, first, published, stage.view)
    assert not list(find_report_faults(case)), "the report is right"
    key = next(iter(case.claims.amounts))
    rest = (*case.places(key), first.commitment.words, nodes.place(key).words)
    found.append(case.accuse("wrong_reward", rest, "a right reward is wrong"))
    found.append(case.accuse("decreased", case.places(key), "a claim has shrunk"))
    return found


def _about_promises(stage: Stage, first: SortedEpoch, second: SortedEpoch) -> list[Accusation]:
    """Accuse of omissions: of a late job, shown absent only from its own epoch, and of a job that stands."""
    gateway = GatewayPromises(
        stage.layout.receipts.parent, work.SCHEMA, stage.network.calendar, None
    )
    promises = list(gateway.new())
    epochs = {FIRST: first, SECOND: second}
    calendar = stage.network.calendar
    kept = [omission(promise, epochs, calendar) for promise in promises]
    assert not any(kept), "every promise is kept"
    late = next(promise for promise in promises if len(promise.epochs(calendar)) > 1)
    standing = next(promise for promise in promises if len(promise.epochs(calendar)) == 1)
    return [
        _omission(late, [first], "a late job stands not in its own epoch"),
        _omission(late, [first, second], "a late job stands nowhere"),
        _omission(standing, [first], "a job that stands is left out"),
        *_duplicates(first, second),
    ]


def _omission(promise: Promise, epochs: Sequence[SortedEpoch], reason: str) -> Accusation:
    absences: list[Any] = []
    for epoch in epochs:
        node, jobs = epoch.jobs(promise.node_key)
        assert jobs is not None, "every node works in every epoch"
        absences.append(
            (epoch.commitment.words, node.words, jobs.place(promise.proof.row[4:36]).words)
        )
    return Accusation(
        "CommitmentProofs",
        "omission",
        (promise.words, absences),
        epochs[-1].commitment.epoch,
        (promise.receipt.receipt.aggregator,),
        reason,
    )


def _duplicates(first: SortedEpoch, second: SortedEpoch) -> list[Accusation]:
    """Accuse of two different jobs, and of one job with itself, as if they were one counted twice."""
    key = first.node_keys()[0]
    node_a, jobs_a = first.jobs(key)
    node_b, jobs_b = second.jobs(key)
    assert jobs_a is not None
    assert jobs_b is not None
    sides = [
        (first.commitment.words, first.node_spot(node_a.index).words, jobs_a.spot(0).words),
        (second.commitment.words, second.node_spot(node_b.index).words, jobs_b.spot(0).words),
    ]
    guilty = (first.commitment.aggregator,)
    made = Accusation("CommitmentProofs", "duplicate", (*sides[0], *sides[1]), SECOND, guilty, "")
    return [
        replace(made, reason="two jobs are one"),
        replace(
            made, arguments=(*sides[0], *sides[0]), reason="a job is counted twice in one place"
        ),
    ]


class _Accuser:
    """Sends accusations, and requires that each is refused."""

    def __init__(self, story: Story, stage: Stage) -> None:
        self._story, self._sender = story, stage.sender("watcher", stage.watcher_key)
        at = stage.network.contracts
        self._contracts = {
            "CommitmentProofs": Contract(stage.rpc, at.commitment_proofs, load("CommitmentProofs")),
            "ReportProofs": Contract(stage.rpc, at.report_proofs, load("ReportProofs")),
        }
        self._count = 0

    def accuse(self, accusation: Accusation) -> None:
        """Bring an accusation that must fail."""
        contract = self._contracts[accusation.contract]
        data = contract.encode(accusation.function, *accusation.arguments)
        self._count += 1
        try:
            self._sender.transact(contract.address, data, purpose=f"frame/{self._count}")
        except Reverted as refusal:
            why = refusal.reason
        else:
            why = ""
        self._story.must(
            bool(why), f"{accusation.function}: {accusation.reason!r} is refused ({why})"
        )


def _challenge(story: Story, stage: Stage, epoch: PublishedEpoch) -> None:
    """Challenge the aggregator to show a row; its service does by itself, and the bond is its own."""
    disputes = Contract(stage.rpc, stage.network.contracts.disputes, load("Disputes"))
    accuser = stage.sender("watcher", stage.watcher_key)
    had = stage.balance(stage.aggregator.address)
    nodes = node_row_tree(epoch.node_rows, epoch.lanes)
    made = challenge_job(epoch.commitment, nodes, 0, 0)
    data = disputes.encode("challenge", *made.arguments)
    accuser.transact(disputes.address, data, BOND_ATTO, purpose="frame/challenge")
    answered = stage.await_event("measure", "answered", epoch=epoch.commitment.epoch)
    story.tell(f"the measure service shows the row by itself ({answered['gas']} gas)")
    gained = stage.balance(stage.aggregator.address) - had
    story.must(
        0 <= BOND_ATTO - gained < BOND_ATTO // 1_000,
        "the accuser's bond is the aggregator's, who paid the gas",
    )
