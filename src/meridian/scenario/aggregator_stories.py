"""Stories in which an aggregator lies: its commitment is voided, its stake moves, and another commits the truth."""

from pathlib import Path
from typing import Any, Final

from meridian.node.chain_view import AcceptedReport
from meridian.primitives.ids import address_text, node_key
from meridian.scenario import jobs as work
from meridian.scenario.cast import Cast
from meridian.scenario.committee_stories import must_verify, pay_honestly, shares
from meridian.scenario.money import check_stake, coins, look
from meridian.scenario.stage import AGGREGATOR_STAKE_ATTO, Stage, set_up
from meridian.scenario.story import Story

EPOCH: Final = work.FIRST_EPOCH
VICTIM: Final = work.NODES[2]


def drops_jobs(root: Path, story: Story) -> None:
    """The aggregator leaves one node's jobs out; its own receipts prove it, and half of the stake is the node's."""
    cast = Cast(aggregator_lie="drops-jobs", victim=VICTIM)
    with set_up(root, cast, story) as stage:
        story.tell(
            f"the aggregator gives a receipt for all jobs, and leaves {VICTIM}'s out of its commitment"
        )
        _work(stage, EPOCH)
        wrong = stage.await_report(EPOCH)
        story.tell("the evaluators cannot know; their report pays the others")
        _end(story, stage, "omission", wrong, payee_of=VICTIM)


def inflates_sum(root: Path, story: Story) -> None:
    """The aggregator claims a thousand jobs too many for one node; two hashes prove it."""
    cast = Cast(aggregator_lie="inflates-sum", victim=VICTIM)
    with set_up(root, cast, story) as stage:
        story.tell(f"the aggregator commits to 1000 more jobs of {VICTIM} than there are")
        _work(stage, EPOCH)
        stage.await_event("evaluator-1", "refused", epoch=EPOCH)
        story.tell("no evaluator gives a row for it: the jobs do not give what was committed")
        _end(story, stage, "bad_sum")


def withholds_data(root: Path, story: Story) -> None:
    """The aggregator publishes nothing of what it committed to; it is challenged, and does not answer."""
    cast = Cast(aggregator_lie="withholds-data", patience_s=2.0)
    with set_up(root, cast, story) as stage:
        story.tell("the aggregator commits, and publishes no jobs")
        _work(stage, EPOCH)
        stage.await_event("evaluator-1", "refused", epoch=EPOCH)
        story.tell("no evaluator can work the epoch")
        _end(story, stage, "challenge")


def duplicates_job(root: Path, story: Story) -> None:
    """The aggregator counts a job of the last epoch again; two paths to two roots prove it."""
    second = EPOCH + 1
    cast = Cast(aggregator_lie="duplicates-job", lying_epoch=second, epochs=2, victim=VICTIM)
    with set_up(root, cast, story) as stage:
        _work(stage, EPOCH)
        stage.await_report(EPOCH)
        story.tell(
            f"epoch {EPOCH} is honest; in epoch {second} a job of it is counted again for {VICTIM}"
        )
        _work(stage, second)
        wrong = stage.await_report(second)
        story.tell("the evaluators see one epoch at a time; their report pays the job twice")
        before = _convict(story, stage, second, "duplicate", wrong)
        right = _replaced(story, stage, second, wrong)
        check_stake(story, stage, before, AGGREGATOR_STAKE_ATTO)
        claims = stage.pay(right)
        whole = 2 * shares()[VICTIM]
        got = claims.claims[node_key(VICTIM)].cumulative
        story.must(got == whole, f"{VICTIM} gets {coins(got)} for both epochs, not more")
        must_verify(story, stage, second)


def double_receipts(root: Path, story: Story) -> None:
    """The aggregator gives two submitters receipts of one number; whoever sees both has its stake taken."""
    cast = Cast(aggregator_lie="double-receipts")
    with set_up(root, cast, story) as stage:
        jobs = stage.work.jobs_of(EPOCH)
        half = len(jobs) // 2
        other = stage.layout.root / "gateway-2"
        answers = (
            stage.submit(EPOCH, work.batch_of(jobs[:half])),
            stage.submit(EPOCH, work.batch_of(jobs[half:]), other),
        )
        signed = [answer.receipt for answer in answers if answer.receipt is not None]
        numbers = {one.receipt.sequence for one in signed}
        roots = {one.receipt.batch_root for one in signed}
        story.must(all(one.holds for one in signed), "the aggregator signed both receipts")
        story.must((len(numbers), len(roots)) == (1, 2), "two batches have one receipt's number")
        before = look(stage)
        stage.start_watcher()
        story.tell(
            "each submitter alone sees nothing; now the second gives its receipts to the first"
        )
        with stage.layout.receipts.open("ab") as book:
            book.write((other / stage.layout.receipts.name).read_bytes())
        verdict = stage.await_event("watcher", "accusation", kind="double_receipt")
        story.must(verdict["result"] == "proven", f"the accusation is {verdict['result']}")
        story.tell(f"the watcher: {verdict['reason']} ({verdict['gas']} gas)")
        guilty = [address_text(stage.aggregator.address)]
        story.must(verdict["guilty"] == guilty, "the aggregator alone is guilty")
        check_stake(story, stage, before, AGGREGATOR_STAKE_ATTO)
        stage.end_epoch(EPOCH)
        refusal = stage.problem_of_first(EPOCH)
        story.must(
            refusal.endswith("commitments: aggregator"),
            f"it publishes the epoch, and can commit no more ({refusal})",
        )
        commitment = stage.commit_standby(EPOCH)
        story.must(
            commitment.aggregator == stage.standby.address,
            f"{address_text(commitment.aggregator)} commits what it has measured itself",
        )
        report = stage.await_report(EPOCH)
        story.must(stage.view.term() == 0, "nothing had to be decided again")
        pay_honestly(story, stage, report)


def _work(stage: Stage, epoch: int) -> None:
    stage.submit(epoch, work.batch_of(stage.work.jobs_of(epoch)))
    stage.seal(epoch)


def _convict(
    story: Story, stage: Stage, epoch: int, kind: str, wrong: AcceptedReport | None
) -> Any:
    """Start the watcher and wait until the commitment of an epoch is void; return the balances before."""
    before = look(stage)
    stage.start_watcher()
    accusation = stage.await_event("watcher", "accusation", kind=kind, epoch=epoch)
    story.must(
        accusation["result"] in {"proven", "challenged"},
        f"the accusation is {accusation['result']}",
    )
    story.tell(f"the watcher: {accusation['reason']} ({accusation['gas']} gas)")
    if kind == "challenge":
        stage.await_event("watcher", "resolved", epoch=epoch, result="proven")
        story.tell("nobody has answered in time, so the aggregator is guilty")
    story.must(epoch not in stage.view.standing(), "the commitment is void")
    if wrong is not None:
        gone = wrong.report_hash not in {one.report_hash for one in stage.view.reported()}
        story.must(gone, "and so is the report that stood on it")
    return before


def _replaced(
    story: Story, stage: Stage, epoch: int, wrong: AcceptedReport | None
) -> AcceptedReport:
    """Let the second aggregator commit the truth, and wait for the report on it."""
    commitment = stage.replace_voided(epoch)
    story.tell(f"{address_text(commitment.aggregator)} commits what it has measured itself")
    report = stage.await_report(epoch, not_hash=wrong.report_hash if wrong else b"")
    story.must(stage.view.term() >= 1, f"the evaluators decide in term {stage.view.term()}")
    return report


def _end(
    story: Story,
    stage: Stage,
    kind: str,
    wrong: AcceptedReport | None = None,
    payee_of: str | None = None,
) -> None:
    """Tell how it ends: conviction, replacement, stake, payment."""
    payee = None if payee_of is None else stage.payee(payee_of)
    had = 0 if payee is None else stage.balance(payee)
    before = _convict(story, stage, EPOCH, kind, wrong)
    harmed = 0 if payee is None else stage.balance(payee) - had
    if payee_of is not None:
        story.must(harmed > 0, f"{payee_of} gets {coins(harmed)} of the aggregator's stake")
    right = _replaced(story, stage, EPOCH, wrong)
    check_stake(story, stage, before, AGGREGATOR_STAKE_ATTO, harmed)
    pay_honestly(story, stage, right)
