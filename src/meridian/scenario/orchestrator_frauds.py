"""The ten frauds against the orchestrator, each played with its real parts.

What nodes and the collector put among the jobs goes through a whole run, to what is paid. What needs a lying process is a
story: it ends with the honest result paid, or it fails. Theft of a claim is tried on the contract of a run.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from meridian.contracts.calldata import Claim
from meridian.errors import Reverted
from meridian.evaluate.shipped_layers import layer_named, layer_of_toml
from meridian.journey.layout import Layout
from meridian.journey.models.model import Ending, FraudOutcome
from meridian.journey.options import Options
from meridian.journey.outcome import Publications
from meridian.journey.run import Journey, RunResult
from meridian.networks.definition import JobSource, NetworkDefinition
from meridian.networks.lines import TimeTexts, json_text, record_template
from meridian.node.chain.rpc import Rpc
from meridian.node.chain.sender import Sender
from meridian.node.chain_view import ChainView
from meridian.node.keystore import load_or_create_key
from meridian.node.network_file import NetworkFile
from meridian.primitives.amounts import ATTO
from meridian.primitives.ids import Address, address_text, node_key
from meridian.reward.claims import ClaimsState
from meridian.scenario import jobs as work
from meridian.scenario.catalogue import SCENARIOS
from meridian.scenario.money import coins
from meridian.scenario.stage import BUDGET_ATTO
from meridian.scenario.story import Story, WrongEnd

GENESIS_S: Final = 1_682_899_200
CHEAT: Final = "emil"
VICTIM: Final = "anna"
INVENTED: Final = 30
"""Jobs that are made up: as many as there are."""

SAME_ID: Final = """
# Flags every job whose id several nodes report: it cannot know whose it is.
name = "same-id"
version = 1
reasons = ["reported_twice"]
verdict = "ids.reports > 1"
[columns]
job = { field = "job_id", type = "text" }
[[groups]]
name = "ids"
of = "jobs"
by = ["job"]
values = { reports = "count(*)" }
"""


def play_fraud(name: str, root: Path) -> FraudOutcome:
    """Play a fraud of `frauds.FRAUDS`; see `Model.fraud`."""
    return _PLAYS[name](name, root)


# -- what is put among the jobs -------------------------------------------------------------------


class _Quiet:
    """Nobody watches."""

    def progress(self, step: str, done: int, total: int) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""


def _record(node: str, job: str, started_us: int, ended_us: int) -> bytes:
    times = TimeTexts()
    names = json_text(job), json_text(node)
    template = record_template(work.SCHEMA)
    return (template % (*names, times(started_us), times(ended_us), 1_000)).encode() + b"\n"


def _source(added: bytes, definition: NetworkDefinition) -> JobSource:
    """Return the village's jobs of one epoch, with records added in the same batch."""
    true = work.Work(GENESIS_S).source(1)
    body = added + b"".join(true.batches())
    return replace(
        true,
        definition=definition,
        jobs=true.jobs + added.count(b"\n"),
        batches=lambda: iter([body]),
    )


def _run(
    root: Path,
    added: bytes,
    definition: NetworkDefinition = work.DEFINITION,
    show: Callable[[RunResult], None] = lambda _: None,
    **options: Any,
) -> RunResult:
    """Run the whole network on the village's jobs and the added records."""
    asked = Options(
        data_dir=root, evaluators=1, challenge_seconds=0, budget_atto=BUDGET_ATTO, **options
    )
    return Journey(_source(added, definition), asked, _Quiet()).run(show)


def _paid(done: RunResult) -> dict[str, int]:
    """Return what each node was paid, atto."""
    [epoch] = done.document["epochs"]
    paid = {row["node_id"]: int(row["amount_atto"]) for row in epoch["payees"]}
    if int(epoch["paid_atto"]) != sum(paid.values()) or done.broken:
        raise WrongEnd(f"not everything was paid, or the epoch does not verify: {done.broken}")
    return paid


def _gain(paid: Mapping[str, int]) -> int:
    """Return what the cheat got beyond what its true jobs earn."""
    return paid[CHEAT] - BUDGET_ATTO * work.JOBS[CHEAT] // sum(work.JOBS.values())


def _own(number: int) -> bytes:
    """Return a record of the cheat that looks like any other."""
    end = GENESIS_S * 1_000_000 + 500_000 + number
    return _record(CHEAT, f"made-up-{number}", end - 1_000, end)


def _double_report(name: str, root: Path) -> FraudOutcome:
    true = next(iter(work.Work(GENESIS_S).source(1).batches()))
    line = next(one for one in true.splitlines(keepends=True) if CHEAT.encode() in one)
    done = _run(root, line)
    gain = _gain(_paid(done))
    if done.ingested.duplicates != 1 or gain:
        raise WrongEnd(f"{done.ingested.duplicates} duplicates, {coins(gain)} won")
    return FraudOutcome(
        fraud=name,
        ending=Ending.PREVENTED,
        by="aggregator",
        how="the second report is answered as a duplicate, and the node is paid as without it",
    )


def _impossible_times(name: str, root: Path) -> FraudOutcome:
    end = GENESIS_S * 1_000_000 + 500_000
    done = _run(root, _record(CHEAT, "backwards", end + 1, end))
    refused, gain = done.ingested.rejected, _gain(_paid(done))
    if sum(refused.values()) != 1 or gain:
        raise WrongEnd(f"refused: {refused}, {coins(gain)} won")
    return FraudOutcome(
        fraud=name,
        ending=Ending.PREVENTED,
        by="aggregator",
        how=f"the record is refused: {next(iter(refused))}",
    )


def _invented_jobs(name: str, root: Path) -> FraudOutcome:
    return _added(name, root, "30 more jobs are counted as any other")


def _friend_jobs(name: str, root: Path) -> FraudOutcome:
    return _added(
        name, root, "the aggregator's own gateway adds 30 jobs, which are counted as any other"
    )


def _added(name: str, root: Path, how: str) -> FraudOutcome:
    """Play made-up jobs twice: without a fraud layer, and with one."""
    jobs = b"".join(_own(number) for number in range(INVENTED))
    gain = _gain(_paid(_run(root / "plain", jobs)))
    layer = layer_named("high-requests")
    limits = {"requests_least": 2 * max(work.JOBS.values()), "times": 3}
    judged = work.DEFINITION.with_layer(layer.encode(), limits)
    again = _run(root / "layer", jobs, judged)
    flagged, won = _flagged(again), _gain(_paid(again))
    return FraudOutcome(
        fraud=name,
        ending=Ending.UNNOTICED if gain > 0 else Ending.PREVENTED,
        by="nobody",
        how=f"{how}; every link of the evidence holds",
        gain_atto=gain,
        otherwise=f"with the fraud layer {layer.name}: {flagged} jobs flagged, the cheat {_told(won)}",
    )


def _told(won_atto: int) -> str:
    """Return what the cheat has more or less in the end, for reading."""
    return f"{'gains' if won_atto > 0 else 'loses'} {abs(won_atto) / ATTO:.2f} coins"


def _flagged(done: RunResult) -> int:
    return sum(item.summary.get("abuse", 0) for item in done.epochs)


def _stolen_job(name: str, root: Path) -> FraudOutcome:
    end = GENESIS_S * 1_000_000 + 500_000
    line = _record(CHEAT, f"{VICTIM}-1-0", end - 1_000, end)
    paid = _paid(_run(root / "plain", line))
    layer = layer_of_toml(SAME_ID)
    again = _run(root / "layer", line, work.DEFINITION.with_layer(layer.encode(), {}))
    won = _gain(_paid(again))
    return FraudOutcome(
        fraud=name,
        ending=Ending.UNNOTICED if _gain(paid) > 0 else Ending.PREVENTED,
        by="nobody",
        how=f"one id of two nodes is two jobs; {VICTIM} keeps its own, and all links hold",
        gain_atto=_gain(paid),
        otherwise=f"with a layer for ids that several nodes report: {_flagged(again)} jobs flagged, also"
        f" {VICTIM}'s, the cheat {_told(won)}",
    )


# -- what a lying process does --------------------------------------------------------------------


def _story(scenario: str, saying: str, name: str, root: Path) -> FraudOutcome:
    """Play a story; the outcome is told by its sentence that begins with `saying`."""
    story = Story(scenario, lambda _: None)
    SCENARIOS[scenario](root, story)
    told = next((one for one in story.sentences if one.startswith(saying)), None)
    if told is None:
        raise WrongEnd(f"{scenario}: nobody says {saying!r}")
    return FraudOutcome(
        fraud=name,
        ending=Ending.CAUGHT,
        by="watcher",
        how=f"{told.removeprefix('the watcher: ')}; the stake is taken, the honest result is paid ({len(story.held)} facts held)",
    )


# -- theft on the contract ------------------------------------------------------------------------


def _stolen_claim(name: str, root: Path) -> FraudOutcome:
    said: list[str] = []
    _run(root, b"", show=lambda _: said.append(_steal(root)), claims_max=0)
    return FraudOutcome(
        fraud=name,
        ending=Ending.PREVENTED,
        by="contract",
        how=f"a claim for another payee reverts: {said[0]}; a claim sent by the thief pays {VICTIM}'s payee",
    )


def _steal(root: Path) -> str:
    """Claim for oneself, then as it is due; return why the first reverts."""
    network, layout = NetworkFile.load(root), Layout(root)
    client = Rpc(network.rpc_url)
    thief = Sender(client, load_or_create_key(layout.key("sponsor")), layout.sender("thief"))
    try:
        view = ChainView(client, network.contracts)
        [report] = view.reported()
        publications = Publications(network.directories(root))
        record = publications.outcome(report.epoch, report.report_hash)
        if record is None:
            raise WrongEnd("the outcome is not published")
        claims = ClaimsState.decode(publications.object(record.claims))
        due = claims.claims[node_key(VICTIM)].cumulative
        payee = claims.proof(node_key(VICTIM)).payee
        try:
            _claim(thief, view, report.epoch, claims, thief.address)
        except Reverted as refusal:
            reason = refusal.reason
        else:
            raise WrongEnd("the contract paid somebody else than the payee")
        had = _balance(client, payee)
        _claim(thief, view, report.epoch, claims, payee)
        if _balance(client, payee) - had != due:
            raise WrongEnd("the payee did not get what is due")
        return reason
    finally:
        thief.close()
        client.close()


def _claim(
    sender: Sender, view: ChainView, epoch: int, claims: ClaimsState, payee: Address
) -> None:
    proof = claims.proof(node_key(VICTIM))
    claim = Claim(
        epoch=epoch,
        node_key=node_key(VICTIM),
        payee=payee,
        cumulative_atto=proof.cumulative,
        index=proof.index,
        size=proof.size,
        path=proof.path,
    )
    call = view.rewards.encode("claim", *claim.arguments)
    sender.transact(view.rewards.address, call, purpose=f"claim for {address_text(payee)}")


def _balance(client: Rpc, account: Address) -> int:
    return int(client.call("eth_getBalance", address_text(account), "latest"), 16)


_PLAYS: Final[Mapping[str, Callable[[str, Path], FraudOutcome]]] = {
    "double-report": _double_report,
    "invented-jobs": _invented_jobs,
    "impossible-times": _impossible_times,
    "stolen-job": _stolen_job,
    "censored-node": partial(_story, "drops-jobs", "the watcher: "),
    "friend-jobs": _friend_jobs,
    "wrong-weights": partial(_story, "lying-committee", "the watcher proves it"),
    "withheld-data": partial(_story, "withholds-data", "nobody has answered"),
    "inflated-summary": partial(_story, "inflates-sum", "the watcher: "),
    "stolen-claim": _stolen_claim,
}
