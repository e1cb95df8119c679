"""How an outsider recomputes an epoch of the summary model from the chain: summaries, challenges, shares, payments.

The law: everything but the jobs is on the chain. What only the nodes' own data can show is `sealed`, and it is recomputed
for the nodes whose data is given.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from meridian.audit.evidence import Broken, Finding, Link, Step, require, run_steps
from meridian.contracts.artefact import load
from meridian.disputes.ways import Gap
from meridian.errors import InvalidInput
from meridian.measure.epoch import Calendar
from meridian.models.plain_sums import NodeShare, is_plain_sum, shares, sums_result
from meridian.models.summary import Summary, Terms
from meridian.models.summary_sampling import challenge_id, points, seed_of
from meridian.models.summary_tree import check_answer
from meridian.primitives.amounts import format_fil
from meridian.primitives.ids import Address, NodeKey, address_text

CheckAnswer = Callable[[Summary, Sequence[Any], Sequence[int], Calendar, int, int], None]
"""The check of an answer for a kind of commitment; `summary_tree.check_answer` for Merkle trees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One challenge of a node, and what became of it."""

    node: NodeKey
    challenger: Address
    block_hash: bytes
    """Of the block from which its points were drawn."""
    seed: bytes | None = None
    """As the contract drew it; None: nobody drew."""
    answer: Sequence[Any] | None = None
    """What the node has shown; None: nothing, or not in a transaction of its own."""
    answered: bool = False
    voided: bool = False
    """The node did not answer, and this challenge took its stake."""


@dataclass(frozen=True, slots=True)
class Payment:
    """One share that was paid."""

    node: NodeKey
    payee: Address
    amount: int


@dataclass(frozen=True, slots=True)
class Member:
    """A registered node."""

    operator: Address
    payee: Address
    stake: int
    """As it was put down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryEpoch:
    """All that the chain shows of an epoch, and what the run published about it."""

    contract: str
    """Name of the artefact that should be there."""
    epoch: int
    function_digest: bytes
    expected: Terms
    """As the run's file says."""
    code: bytes
    """What is there; empty where nothing is."""
    terms: Terms | None = None
    """What it was deployed with; None where it is not the contract."""
    members: Mapping[NodeKey, Member] = field(default_factory=dict)
    summaries: Sequence[tuple[NodeKey, Summary]] = ()
    """In the order in which they came."""
    closed: bool = False
    """Whether the epoch takes no more summaries."""
    weight: int = 0
    """The sum of the standing weights, as the contract has it."""
    funds_atto: int = 0
    challenges: Sequence[Challenge] = ()
    payments: Sequence[Payment] = ()
    gas: Mapping[str, int] = field(default_factory=dict)
    """Step -> gas of the epoch's transactions."""
    names: Mapping[NodeKey, str] = field(default_factory=dict)
    """Key -> node id, as the run's file says; others are shown by their keys."""
    published: Any = None
    """The result that the run left; None where there is none."""
    recomputed: Mapping[NodeKey, Summary | str] = field(default_factory=dict)
    """For the nodes whose data is given: what follows from it, or why nothing does."""
    check_answer: CheckAnswer = check_answer

    def name(self, node: NodeKey) -> str:
        """Return a node's id, or its key where nobody says the id."""
        return self.names.get(node, f"0x{node.hex()}")

    def voided(self) -> set[NodeKey]:
        """Return the nodes whose summaries are void."""
        return {one.node for one in self.challenges if one.voided}

    def standing(self) -> dict[NodeKey, Summary]:
        """Return the summaries that count."""
        void = self.voided()
        return {node: summary for node, summary in self.summaries if node not in void}

    def amounts(self) -> dict[NodeKey, int]:
        """Return what each standing summary is owed, atto."""
        standing = self.standing()
        weights = [summary.weight for summary in standing.values()]
        return dict(zip(standing, shares(weights, self.funds_atto), strict=True))

    def result(self) -> dict[str, Any]:
        """Return the epoch's entry of the result document: of the summaries that stand."""
        amounts = self.amounts()
        standing = {node: one for node, one in self.standing().items() if one.jobs}
        return sums_result(
            self.epoch,
            sum(one.jobs for one in standing.values()),
            [
                NodeShare(node_id=self.name(node), weight=one.weight, amount_atto=amounts[node])
                for node, one in standing.items()
            ],
            budget_atto=self.funds_atto,
            paid_atto=sum(one.amount for one in self.payments),
            gas=self.gas,
        )


def _check_contracts(case: SummaryEpoch) -> Finding:
    if not case.code:
        raise Broken(f"there is no contract {case.contract} at its address")
    if not case.code.startswith(load(case.contract).runtime):
        raise Broken(f"{case.contract} is not the code that this installation ships")
    if case.terms != case.expected:
        raise Broken(f"{case.contract} has {case.terms}, the run's file says {case.expected}")
    return Finding(f"{case.contract} carries the shipped code and the terms of the run's file")


def _check_commitment(case: SummaryEpoch) -> Finding:
    if not case.closed:
        raise Broken(f"epoch {case.epoch} still takes summaries on chain")
    problems = []
    nodes = [node for node, _ in case.summaries]
    problems += [
        f"{case.name(node)} is not registered" for node in nodes if node not in case.members
    ]
    problems += [
        f"{case.name(node)} has more than one" for node in {*nodes} if nodes.count(node) > 1
    ]
    problems += [
        f"{case.name(node)} weighs {one.weight} with {one.jobs} jobs"
        for node, one in case.summaries
        if one.weight > one.jobs * case.expected.value_max
    ]
    require(problems, "summaries that the contract's rules do not allow")
    weight = sum(one.weight for one in case.standing().values())
    if weight != case.weight:
        raise Broken(f"the standing summaries weigh {weight}, the contract says {case.weight}")
    jobs = sum(one.jobs for _, one in case.summaries)
    return Finding(f"{len(nodes)} nodes committed to {jobs} jobs; those that stand weigh {weight}")


def _check_challenges(case: SummaryEpoch) -> Finding:
    summaries = dict(case.summaries)
    problems, notes = [], []
    for one in case.challenges:
        name = case.name(one.node)
        try:
            note = _check_challenge(case, one, summaries[one.node])
        except InvalidInput as error:
            problems.append(f"{name}: {error}")
        else:
            notes += [f"{name} {note}"] * bool(note)
    require(problems, "challenges that did not go by the rules")
    answered = sum(one.answered for one in case.challenges)
    asked = len({one.node for one in case.challenges})
    return Finding(
        f"{asked} of {len(summaries)} nodes were asked for {case.expected.samples} points each;"
        f" {answered} challenges answered, {len(case.voided())} summaries void",
        tuple(notes),
    )


def _check_challenge(case: SummaryEpoch, one: Challenge, summary: Summary) -> str:
    """Check one challenge; returns what there is to say of it."""
    named = challenge_id(case.epoch, one.node, one.challenger)
    if one.seed is not None and one.seed != seed_of(one.block_hash, named):
        raise InvalidInput("seed", "the points were not drawn from the challenge's block")
    if one.voided:
        return f"did not answer and lost {format_fil(case.members[one.node].stake)}"
    if not one.answered:
        return "was challenged and has not answered yet"
    if one.answer is None or one.seed is None:
        return "answered inside another contract's call; that is not checked again"
    terms = case.expected
    calendar = Calendar(terms.genesis_s, terms.epoch_seconds, terms.first_epoch)
    asked = points(one.seed, summary.weight, terms.samples)
    case.check_answer(summary, one.answer, asked, calendar, case.epoch, terms.value_max)
    return ""


def _check_jobs(case: SummaryEpoch) -> Finding:
    jobs = sum(one.jobs for _, one in case.summaries)
    if not case.recomputed:
        return Finding(f"{jobs} jobs: their nodes keep them, the chain has the roots", sealed=True)
    summaries = dict(case.summaries)
    problems = []
    for node, found in case.recomputed.items():
        if isinstance(found, str):
            problems.append(f"{case.name(node)}: {found}")
        elif node in summaries and (found.root, found.jobs) != (
            summaries[node].root,
            summaries[node].jobs,
        ):
            problems.append(f"{case.name(node)}: its jobs do not give its root")
    require(problems, "jobs that are not those that were committed to")
    seen = sum(summaries[node].jobs for node in case.recomputed if node in summaries)
    return Finding(
        f"{seen} of {jobs} jobs give the roots of {len(case.recomputed)} nodes", sealed=seen < jobs
    )


def _check_function(case: SummaryEpoch) -> Finding:
    if not is_plain_sum(case.function_digest):
        raise Broken("the network's function is no plain sum of one integer a job")
    return Finding("the function is `count`, a plain sum")


def _check_evaluation(case: SummaryEpoch) -> Finding:
    if not case.recomputed:
        return Finding("weights are what the nodes say; who cheats risks its stake", sealed=True)
    summaries = dict(case.summaries)
    problems = [
        f"{case.name(node)}: says {summaries[node].weight}, its jobs weigh {found.weight}"
        for node, found in case.recomputed.items()
        if isinstance(found, Summary)
        and node in summaries
        and found.weight != summaries[node].weight
    ]
    require(problems, "weights that the jobs do not give")
    rest = len(summaries.keys() - case.recomputed.keys())
    return Finding(f"the weights of {len(case.recomputed)} nodes follow", sealed=rest > 0)


def _check_rewards(case: SummaryEpoch) -> Finding:
    owed = sum(case.amounts().values())
    if owed > case.funds_atto:
        raise Broken(f"{owed} atto are owed, {case.funds_atto} were funded")
    standing = sum(1 for one in case.standing().values() if one.weight)
    return Finding(
        f"{standing} nodes are owed {format_fil(owed)} of {format_fil(case.funds_atto)}:"
        " their shares by weight, rounded down"
    )


def _check_claims(case: SummaryEpoch) -> Finding:
    owed, seen, problems = case.amounts(), set[NodeKey](), []
    for one in case.payments:
        name = case.name(one.node)
        if one.node in seen:
            problems.append(f"{name} was paid twice")
        seen.add(one.node)
        if one.amount != owed.get(one.node):
            problems.append(f"{name} was paid {one.amount}, it is owed {owed.get(one.node, 0)}")
        member = case.members.get(one.node)
        if member is None or one.payee != member.payee:
            problems.append(f"{name}: {address_text(one.payee)} is not its payee")
    require(problems, "the payments are not the shares")
    if case.published is not None and case.published != case.result():
        fields = [name for name, value in case.result().items() if not _says(case, name, value)]
        raise Broken("the published result does not follow", fields or ["form"])
    paid = sum(one.amount for one in case.payments)
    waiting = sum(1 for node, amount in owed.items() if amount and node not in seen)
    notes = (f"{waiting} nodes have not claimed",) if waiting else ()
    return Finding(f"{len(seen)} shares were claimed, {format_fil(paid)} in all", notes)


def _says(case: SummaryEpoch, name: str, value: Any) -> bool:
    return isinstance(case.published, dict) and case.published.get(name) == value


STEPS: Final[tuple[Step[SummaryEpoch], ...]] = (
    Step("contracts", (), _check_contracts),
    Step("commitment", ("contracts",), _check_commitment),
    Step("challenges", ("commitment",), _check_challenges),
    Step("jobs", ("commitment",), _check_jobs),
    Step("function", (), _check_function),
    Step("evaluation", ("jobs", "function"), _check_evaluation),
    Step("rewards", ("commitment",), _check_rewards),
    Step("claims", ("rewards",), _check_claims),
)


def verify(case: SummaryEpoch) -> list[Link]:
    """Recompute an epoch; see `meridian.audit.evidence`."""
    return run_steps(case, STEPS)


def gap_of(words: Sequence[Any]) -> Gap:
    """Return a row and its way from what the contract was called with.

    Raises:
        InvalidInput: If it is not of that form.
    """
    try:
        left, right, index, path, lower = words
        ways = [
            tuple(bytes(node) + annotation.to_bytes(32, "big")[:24] for node, annotation in way)
            for way in (path, lower)
        ]
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidInput("answer", f"not a row with its way: {error}") from error
    return Gap(bytes(left), bytes(right), index, *ways)
