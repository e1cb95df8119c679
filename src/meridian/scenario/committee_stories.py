"""Stories in which evaluators lie."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from meridian.audit.epoch import verify_epoch_evidence
from meridian.audit.evidence import State
from meridian.contracts.artefact import load
from meridian.contracts.calldata import signature_words
from meridian.contracts.statements import Ruling
from meridian.journey.chain_setup import EVALUATOR_STAKE_ATTO
from meridian.node.audit_sources import open_source
from meridian.node.chain.contract import Contract
from meridian.node.chain_view import AcceptedReport
from meridian.primitives.ids import Address, address_text, node_key
from meridian.scenario import jobs as work
from meridian.scenario.cast import Cast
from meridian.scenario.money import check_rewards, check_stake, coins, look
from meridian.scenario.stage import BUDGET_ATTO, Stage, set_up
from meridian.scenario.story import Story

EPOCH: Final = work.FIRST_EPOCH


def lying_committee(root: Path, story: Story) -> None:
    """Three of four members report a wrong reward; standby members decide again, and the honest result is paid."""
    cast = Cast(evaluators=7, committee_size=4, lying_evaluators=dict.fromkeys((1, 2, 3), "shift"))
    with set_up(root, cast, story) as stage:
        story.tell("seven evaluators have a stake; four of them are members, three stand by")
        story.tell("members 1, 2 and 3 have agreed to give the first node what all have earned")
        stage.submit(EPOCH, work.batch_of(stage.work.jobs_of(EPOCH)))
        stage.seal(EPOCH)
        members = stage.view.committee(EPOCH)
        liars = [stage.evaluator(number) for number in (1, 2, 3)]
        story.must(
            set(liars) < set(members) and len(members) == 4, "the liars are a quorum of four"
        )
        wrong = stage.await_report(EPOCH)
        story.tell(f"the chain accepted their report 0x{wrong.report_hash.hex()[:16]}")
        _must_rob(story, stage, wrong)
        before = look(stage)
        for number in (1, 2, 3):
            stage.fleet.may_end(f"evaluator-{number}")
        stage.start_watcher()
        verdict = stage.await_event("watcher", "accusation", result="proven")
        story.tell(
            f"the watcher proves it with {verdict['kind']}: {verdict['reason']} ({verdict['gas']} gas)"
        )
        right = stage.await_report(EPOCH, not_hash=wrong.report_hash)
        story.tell(f"others decided again: report 0x{right.report_hash.hex()[:16]} stands")
        again = stage.view.committee(EPOCH)
        story.must(not set(again) & set(liars), "no liar is a member any more")
        story.must(stage.view.term() >= 1, f"it was decided in term {stage.view.term()}")
        check_stake(story, stage, before, len(liars) * EVALUATOR_STAKE_ATTO)
        for number in (1, 2, 3):
            stage.await_event(f"evaluator-{number}", "slashed")
        story.tell("the liars' own processes have noticed, and stopped")
        pay_honestly(story, stage, right)


def made_up_weights(root: Path, story: Story) -> None:
    """The same three lie where no contract can compute a weight; the watcher escalates, and the referees rule."""
    numbers = (1, 2, 3)
    cast = Cast(
        evaluators=7,
        committee_size=4,
        lying_evaluators=dict.fromkeys(numbers, "shift"),
        rule=0,
        escalates=True,
        patience_s=5.0,
    )
    with set_up(root, cast, story) as stage:
        story.tell("weights are a matter of judgement here: the contracts know no rule for them")
        stage.submit(EPOCH, work.batch_of(stage.work.jobs_of(EPOCH)))
        stage.seal(EPOCH)
        liars = [stage.evaluator(number) for number in numbers]
        wrong = stage.await_report(EPOCH)
        story.tell(f"the chain accepted the liars' report 0x{wrong.report_hash.hex()[:16]}")
        _must_rob(story, stage, wrong)
        before = look(stage)
        for number in numbers:
            stage.fleet.may_end(f"evaluator-{number}")
        stage.start_watcher()
        said = stage.await_event("watcher", "report", epoch=EPOCH)
        story.must(not said["faults"], "arithmetic finds nothing wrong with it")
        case = stage.await_event("watcher", "accusation", kind="escalate")
        story.must(case["result"] == "escalated", f"the watcher escalates ({case['gas']} gas)")
        story.tell(case["reason"].split("; the case")[0])
        named = {address_text(one) for one in liars}
        story.must(set(case["guilty"]) == named, "the case names the three whose rows are made up")
        _rule(stage, 1, liars)
        story.tell("the referee has evaluated the jobs too, and rules")
        ruled = stage.await_event("watcher", "ruled", case=1)
        story.must(ruled["result"] == "upheld", "the case is upheld")
        right = stage.await_report(EPOCH, not_hash=wrong.report_hash)
        story.tell(f"others decided again: report 0x{right.report_hash.hex()[:16]} stands")
        again = stage.view.committee(EPOCH)
        story.must(not set(again) & set(liars), "no liar is a member any more")
        check_stake(story, stage, before, len(liars) * EVALUATOR_STAKE_ATTO)
        pay_honestly(story, stage, right)


def equivocates(root: Path, story: Story) -> None:
    """A member signs two rows; the others keep both signatures, and the watcher takes its stake. Work goes on.

    One evaluator starts when that is over: with three honest members the epoch may be decided before both rows are
    there, and rows that come after the decision are heard by nobody.
    """
    liar, late = 2, 4
    cast = Cast(evaluators=4, lying_evaluators={liar: "double"}, late_evaluators=frozenset({late}))
    with set_up(root, cast, story) as stage:
        story.tell(f"evaluator {liar} signs two rows, and sends both to everybody")
        story.tell(f"evaluator {late} is not there yet, so the others have to wait")
        stage.submit(EPOCH, work.batch_of(stage.work.jobs_of(EPOCH)))
        before = look(stage)
        stage.fleet.may_end(f"evaluator-{liar}")
        stage.start_watcher()
        stage.seal(EPOCH)
        said = stage.await_event({"evaluator-1", "evaluator-3"}, "misbehaviour", epoch=EPOCH)
        story.tell(f"another has both signatures and publishes them: {said['kind']}")
        verdict = stage.await_event("watcher", "accusation", result="proven")
        guilty = address_text(stage.evaluator(liar))
        story.must(verdict["guilty"] == [guilty], f"evaluator {liar} alone is guilty")
        story.tell(f"the watcher proves it with {verdict['kind']} ({verdict['gas']} gas)")
        check_stake(story, stage, before, EVALUATOR_STAKE_ATTO)
        stage.await_event(f"evaluator-{liar}", "slashed")
        stage.fleet.start_evaluator(late)
        report = stage.await_report(EPOCH)
        story.tell(
            "equivocation voids nothing: three of four are a quorum, and the report is right"
        )
        story.must(stage.view.term() == 0, "nothing had to be decided again")
        pay_honestly(story, stage, report)


def _rule(stage: Stage, case_id: int, guilty: Sequence[Address]) -> None:
    """Let the referee rule that members are guilty and their report is void."""
    referees = Contract(stage.rpc, stage.network.contracts.referees, load("Referees"))
    epoch, _, accusation = referees.read("cases", case_id)
    network = stage.network.network_id
    says = Ruling(network, case_id, epoch, accusation, tuple(guilty), (), voids=True)
    signature = stage.referee.sign(says.digest(stage.network.domain(referees.address)))
    votes = [signature_words(signature)]
    call = referees.encode("decide", case_id, list(guilty), [], True, votes)
    stage.relay(referees.address, call, f"rule/{case_id}")


def _must_rob(story: Story, stage: Stage, report: AcceptedReport) -> None:
    claims = stage.claims_of(report)
    robbed = claims.claims[node_key("bert")].cumulative
    due = shares()["bert"]
    story.must(robbed < due, f"it gives bert {coins(robbed)} where his jobs earn {coins(due)}")


def shares(budget_atto: int = BUDGET_ATTO) -> dict[str, int]:
    """Return what each node's jobs earn of a budget; the numbers of jobs divide it without rest."""
    whole = sum(work.JOBS.values())
    return {name: budget_atto * count // whole for name, count in work.JOBS.items()}


def pay_honestly(story: Story, stage: Stage, report: AcceptedReport) -> None:
    """Pay a report, and require that it is what the jobs earn, that no money is lost, and that the epoch verifies."""
    claims = stage.pay(report)
    for name, due in shares().items():
        got = claims.claims[node_key(name)].cumulative
        story.must(got == due, f"{name} gets {coins(got)} for {work.JOBS[name]} jobs")
    check_rewards(story, stage, claims)
    must_verify(story, stage, report.epoch)


def must_verify(story: Story, stage: Stage, epoch: int) -> None:
    """Require that an outsider who checks the epoch from public artefacts finds nothing wrong."""

    def broken() -> list[str]:
        with open_source(stage.layout.root) as source:
            links = verify_epoch_evidence(source, epoch)
        return [f"{one.name}: {one.detail}" for one in links if one.state is State.BROKEN]

    found = broken()
    story.must(
        not found, f"`meridian verify --epoch {epoch}` finds nothing wrong {found or ''}".strip()
    )
