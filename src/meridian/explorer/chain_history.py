"""What happened on chain, epoch by epoch: states, commitments, reports, disputes, payments and budgets. Pure.

Everything follows from events; the few things that contracts only answer when asked (stakes, held-back claims) are given.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from meridian.errors import InvalidInput
from meridian.measure.epoch import Calendar
from meridian.primitives.ids import Address

STATES: Final = ("open", "sealed", "committed", "challenge", "paid", "void", "abandoned")
"""What can be said of an epoch, as the pages name it."""
FINAL: Final = frozenset({"paid", "abandoned"})
"""Nothing but payments happens to such an epoch any more."""
LIVE_AHEAD: Final = 8
"""The running epoch is shown before anything of it is on chain, where it is at most so far behind what is."""

VERDICT_KINDS: Final = (
    "verdict",
    "wrong sum",
    "omitted job",
    "wrong order, or a job counted twice",
    "wrong reward",
    "two statements",
    "withheld data",
    "ruling of the referees",
)
"""What the kinds of the court's event Verdict are called; kinds beyond have their number."""


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of a contract."""

    name: str
    args: Mapping[str, Any]
    """As the contract names them; addresses and digests are bytes."""
    block: int
    tx_hash: bytes
    index: int
    """Its place in the block."""


@dataclass(frozen=True, slots=True)
class OpenEpoch:
    """What the measure service takes jobs for."""

    epoch: int
    jobs: int
    """So far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainFacts:
    """A network's chain at one moment."""

    now_s: int
    block: int
    events: Mapping[str, Sequence[Happened]]
    """By name, oldest first."""
    unlock_at_s: Mapping[int, int] = field(default_factory=dict)
    """Epochs whose claims are held back -> until when."""
    stakes: Mapping[Address, int] = field(default_factory=dict)
    """Atto, of evaluators."""
    open_epoch: OpenEpoch | None = None
    """What the measure service says, if it does: in a replay the calendar says nothing of what is open."""

    def of(self, name: str) -> Sequence[Happened]:
        """Return the events of a name."""
        return self.events.get(name, ())


@dataclass(slots=True)
class EpochChain:
    """One epoch's events."""

    epoch: int
    opened: Happened | None = None
    committed: list[tuple[Happened, bool]] = field(default_factory=list)
    """With whether it stands."""
    own: list[Happened] = field(default_factory=list)
    reports: list[tuple[Happened, bool]] = field(default_factory=list)
    is_abandoned: bool = False
    disputes: list[Happened] = field(default_factory=list)
    claims: list[Happened] = field(default_factory=list)
    budget: int = 0
    allocated: int = 0

    @property
    def report(self) -> Happened | None:
        """The report that stands."""
        return next((event for event, stands in self.reports if stands), None)

    @property
    def has_commitment(self) -> bool:
        """Whether a commitment stands."""
        return any(stands for _, stands in self.committed)

    @property
    def paid_under_it(self) -> int:
        """Atto of the claims that were proved against its report."""
        return sum(event.args["amount"] for event in self.claims)


def in_order(events: Iterable[Happened]) -> list[Happened]:
    """Return events in the order in which they happened."""
    return sorted(events, key=lambda event: (event.block, event.index))


def epoch_chains(facts: ChainFacts, calendar: Calendar) -> dict[int, EpochChain]:
    """Return what happened to each epoch that is open, or was committed; ascending."""
    found: dict[int, EpochChain] = {}

    def of(epoch: int) -> EpochChain:
        return found.setdefault(epoch, EpochChain(epoch))

    for event in facts.of("EpochOpened"):
        of(event.args["epoch"]).opened = event
    _add_commitments(facts, of)
    _add_reports(facts, of)
    for event in facts.of("Claimed"):
        of(event.args["epoch"]).claims.append(event)
    for event in facts.of("Abandoned"):
        of(event.args["epoch"]).is_abandoned = True
    names = ("Verdict", "Opened", "Escalated")
    for event in in_order(event for name in names for event in facts.of(name)):
        of(event.args["epoch"]).disputes.append(event)
    running = running_epoch(facts, calendar)
    newest = max(found, default=calendar.first_epoch)
    if newest <= running <= newest + LIVE_AHEAD:
        for epoch in range(newest, running + 1):
            of(epoch)
    budgets = Budgets.of(facts)
    for epoch, chain in found.items():
        chain.budget = budgets.at(epoch)
    return {epoch: found[epoch] for epoch in sorted(found) if epoch <= max(running, newest)}


def running_epoch(facts: ChainFacts, calendar: Calendar) -> int:
    """Return the epoch of the chain's time, the first one before the genesis."""
    since = max(0, facts.now_s - calendar.genesis_s)
    return calendar.first_epoch + since // calendar.epoch_seconds


def _add_commitments(facts: ChainFacts, of: Any) -> None:
    names = ("Committed", "Voided", "SelfCommitted")
    for event in in_order(event for name in names for event in facts.of(name)):
        chain: EpochChain = of(event.args["epoch"])
        if event.name == "Committed":
            chain.committed.append((event, True))
        elif event.name == "SelfCommitted":
            chain.own.append(event)
        else:
            gone = event.args["aggregator"], event.args["root"]
            chain.committed = [
                (one, stands and (one.args["aggregator"], one.args["root"]) != gone)
                for one, stands in chain.committed
            ]


def _add_reports(facts: ChainFacts, of: Any) -> None:
    """Add reports with what each allocates: its total less that of the report before it."""
    names = ("Reported", "ReportVoided")
    totals: dict[bytes, int] = {}
    for event in in_order(event for name in names for event in facts.of(name)):
        chain: EpochChain = of(event.args["epoch"])
        if event.name == "Reported":
            chain.reports.append((event, True))
            totals[event.args["report_hash"]] = event.args["total"]
            chain.allocated = event.args["total"] - totals.get(event.args["previous"], 0)
        else:
            gone = event.args["report_hash"]
            chain.reports = [
                (one, stands and one.args["report_hash"] != gone) for one, stands in chain.reports
            ]
            if chain.report is None:
                chain.allocated = 0


def state_of(chain: EpochChain, facts: ChainFacts, calendar: Calendar) -> str:
    """Return an epoch's state, one of `STATES`."""
    if chain.is_abandoned:
        return "abandoned"
    report = chain.report
    if report is not None:
        return "challenge" if facts.now_s < unlock_at_s(chain, facts) else "paid"
    if chain.reports or (chain.committed and not chain.has_commitment):
        return "void"
    if chain.has_commitment:
        return "committed"
    open_epoch = facts.open_epoch
    takes_jobs = open_epoch is not None and chain.epoch >= open_epoch.epoch
    return "open" if takes_jobs or facts.now_s < end_s(chain.epoch, calendar) else "sealed"


def unlock_at_s(chain: EpochChain, facts: ChainFacts) -> int:
    """Return from when on the epoch's claims are paid; 0 without a report."""
    report = chain.report
    if report is None:
        return 0
    return max(int(report.args["unlock_at"]), facts.unlock_at_s.get(chain.epoch, 0))


def end_s(epoch: int, calendar: Calendar) -> int:
    """Return the second in which an epoch ends."""
    return calendar.genesis_s + (epoch - calendar.first_epoch + 1) * calendar.epoch_seconds


@dataclass(frozen=True, slots=True)
class Quiet:
    """How long nothing can change that follows from the chain."""

    block: int
    until_s: int | None
    """When an epoch ends or a window closes next; None: never."""
    open_epoch: OpenEpoch | None

    @classmethod
    def after(
        cls, facts: ChainFacts, chains: Mapping[int, EpochChain], calendar: Calendar
    ) -> "Quiet":
        """Return for how long these facts stand."""
        times = [end_s(running_epoch(facts, calendar), calendar)]
        for chain in chains.values():
            times += [unlock_at_s(chain, facts), end_s(chain.epoch, calendar)]
        coming = min((one for one in times if one > facts.now_s), default=None)
        return cls(facts.block, coming, facts.open_epoch)

    def lasts(self, facts: ChainFacts) -> bool:
        """Tell whether newer facts say the same."""
        if (facts.block, facts.open_epoch) != (self.block, self.open_epoch):
            return False
        return self.until_s is None or facts.now_s < self.until_s


def dispute_kind(event: Happened) -> str:
    """Return what a dispute is about, for people."""
    if event.name == "Opened":
        return "challenge of a job" if event.args["of_job"] else "challenge of a node"
    if event.name == "Escalated":
        return "case before the referees"
    kind = event.args["kind"]
    return VERDICT_KINDS[kind] if kind < len(VERDICT_KINDS) else f"verdict {kind}"


@dataclass(frozen=True, slots=True)
class Budgets:
    """What was funded, as runs of epochs with the same budget."""

    starts: tuple[int, ...]
    """Ascending; the last run has budget 0."""
    rates: tuple[int, ...]

    @classmethod
    def of(cls, facts: ChainFacts) -> "Budgets":
        """Return the budgets that funds and the rolled budgets of abandoned epochs give."""
        changes: dict[int, int] = {}

        def add(first: int, behind: int, atto: int) -> None:
            changes[first] = changes.get(first, 0) + atto
            changes[behind] = changes.get(behind, 0) - atto

        for event in facts.of("Funded"):
            add(event.args["first"], event.args["first"] + event.args["n"], event.args["each"])
        for event in facts.of("Abandoned"):
            atto, epoch, to = (event.args[name] for name in ("atto", "epoch", "to_epoch"))
            add(to, to + 1, atto)
            add(epoch, epoch + 1, -atto)
        starts, rates, rate = [], [], 0
        for epoch in sorted(changes):
            rate += changes[epoch]
            if rate < 0:
                raise InvalidInput("events", f"epoch {epoch} has less than nothing")
            starts.append(epoch)
            rates.append(rate)
        return cls(tuple(starts), tuple(rates))

    def at(self, epoch: int) -> int:
        """Return an epoch's budget, atto."""
        place = bisect_right(self.starts, epoch)
        return self.rates[place - 1] if place else 0

    def runs(self, first: int) -> list[tuple[int, int, int]]:
        """Return (first, behind, budget of each) of the funded epochs from `first` on."""
        pairs = zip(self.starts, self.starts[1:], self.rates, strict=False)
        return [
            (max(start, first), behind, rate)
            for start, behind, rate in pairs
            if rate and behind > first
        ]
