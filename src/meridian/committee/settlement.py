"""From decided blocks to the reports that a member signs, in the order in which the chain accepts them.

Claims are cumulative, so a report depends on the one accepted before it. The law: a member signs, for each pair of
epoch and previous report, only the one report that it computed itself; when another epoch's report is accepted in
between, the epoch is computed again on top of it. What the chain accepted is reproduced, never believed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from meridian.errors import InvalidInput
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.row import RowHeader
from meridian.evaluate.trace import Traces
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, NodeKey
from meridian.reward.ledger import Ledger
from meridian.reward.members import NO_PAY, PayTerms
from meridian.reward.outcome import MemberRow, Outcome, compute_outcome
from meridian.reward.report import NO_REPORT, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochTerms:
    """What is known of an epoch before anything is decided."""

    header: RowHeader
    members: tuple[Address, ...]
    parameters: EvaluationParameters
    budget_atto: int
    payees: Mapping[NodeKey, Address]
    rule: int = 0
    """How the contracts recompute a node's weight from the commitment alone; 0: not at all (`Terms.rule`)."""
    pay: PayTerms = NO_PAY
    """The members' own shares of the budget."""
    aggregators: Mapping[Address, int] = field(default_factory=dict)
    """Account of each whose commitment counts -> how many of the epoch's jobs it contributed first."""
    annotation: bytes = bytes(24)
    """What is counted in the epoch: jobs, and sums."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """The report of an epoch on top of a given previous one."""

    epoch: int
    previous: bytes
    outcome: Outcome
    report: Report
    digest: bytes


@dataclass(frozen=True, slots=True)
class Settled:
    """An accepted report that we reproduced ourselves."""

    proposal: Proposal
    before: Ledger
    """What the report before it left."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An accepted report that does not follow from the block that we decided."""

    epoch: int
    accepted: bytes
    ours: bytes


def contradiction(terms: EpochTerms, outcome: Outcome, own: MemberRow) -> str | None:
    """Return how a decided outcome contradicts what the commitment alone says, or None.

    Where the contracts recompute weights, there is one right row and anybody can prove another reward wrong. So a member
    whose own row gives other amounts signs no report: a committee with too many liars gets no help, and its honest
    members keep their stake.

    Args:
        terms: Of the epoch.
        outcome: What follows from the decided block.
        own: Our own row.
    """
    if terms.rule == 0:
        return None  # weights are a matter of judgement: what is decided is right
    right = compute_outcome(
        [own],
        members=[own[0]],
        parameters=terms.parameters,
        budget=outcome.budget,
        previous=Ledger.empty(),
        expected=terms.header,
        payees=terms.payees,
        pay=terms.pay,
    )
    differing = [
        (key, amount, due)
        for key, amount, due in zip(outcome.node_keys, outcome.amounts, right.amounts, strict=True)
        if amount not in (0, due)  # nothing: the node is deferred, which is nobody's lie
    ]
    if not differing:
        return None
    key, amount, due = differing[0]
    return (
        f"{len(differing)} rewards are not what the commitment gives:"
        f" node {key.hex()[:16]} gets {amount} atto, its jobs earn {due}"
    )


class Settlement:
    """All epochs that a member knows, from decision to accepted report."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._terms: dict[int, EpochTerms] = {}
        self._blocks: dict[int, tuple[bytes, Sequence[MemberRow], Traces | None]] = {}
        self._head = NO_REPORT
        self._ledger = Ledger.empty()
        self._accepted: set[int] = set()
        self._proposals: dict[int, Proposal] = {}
        """On top of the head."""

    @property
    def head(self) -> bytes:
        """Digest of the last accepted report that we reproduced."""
        return self._head

    def resume(self, epochs: Iterable[int], head: bytes, ledger: Ledger) -> None:
        """Go on from reports that were reproduced in an earlier life.

        Args:
            epochs: Those whose reports were accepted.
            head: Digest of the last of them.
            ledger: The ledger after it; the caller has compared its reward root with the chain.
        """
        self._accepted = set(epochs)
        self._ledger = ledger
        self._head = head

    def prepare(self, terms: EpochTerms) -> None:
        """Take note of an epoch's terms; those of a settled epoch are not kept."""
        if terms.header.epoch in self._accepted:
            return
        self._terms.setdefault(terms.header.epoch, terms)

    def decided(
        self,
        epoch: int,
        block_hash: bytes,
        rows: Sequence[MemberRow],
        traces: Traces | None = None,
    ) -> None:
        """Take note of the decided block: its hash, its rows with their bodies, in block order, and their traces."""
        if epoch in self._accepted:
            return
        self._blocks.setdefault(epoch, (block_hash, rows, traces))

    def accept(self, epoch: int, digest: bytes, previous: bytes) -> Settled | Mismatch | None:
        """Take note of the next report that the chain accepted.

        Returns:
            What we make of it, or None as long as we cannot reproduce it (the block or an earlier report is missing).

        Raises:
            InvalidInput: If it does not follow the head: reports are given in the order of their chain.
        """
        if previous != self._head:
            raise InvalidInput("previous", "the report does not follow the head")
        if epoch in self._accepted:
            raise InvalidInput("epoch", f"{epoch} has an accepted report already")
        if epoch not in self._blocks or epoch not in self._terms:
            return None
        proposal = self._propose(epoch)
        if proposal.digest != digest:
            return Mismatch(epoch, digest, proposal.digest)
        before, self._ledger = self._ledger, proposal.outcome.ledger
        self._head = digest
        self._accepted.add(epoch)
        # Bodies and claims are large, and a settled epoch needs neither: what is left of it is its number.
        del self._blocks[epoch], self._terms[epoch]
        self._proposals = {}
        return Settled(proposal, before)

    def pass_over(self, epoch: int, digest: bytes, previous: bytes, ledger: Ledger) -> None:
        """Take note of an accepted report of an epoch in which we had no seat.

        Args:
            epoch: The epoch.
            digest: Of the report.
            previous: Digest of the one before it.
            ledger: The ledger after it; the caller has compared its reward root with the chain.

        Raises:
            InvalidInput: If it does not follow the head, or the epoch has an accepted report already.
        """
        if previous != self._head:
            raise InvalidInput("previous", "the report does not follow the head")
        if epoch in self._accepted:
            raise InvalidInput("epoch", f"{epoch} has an accepted report already")
        self._ledger, self._head, self._proposals = ledger, digest, {}
        self._accepted.add(epoch)

    def open_proposals(self) -> list[Proposal]:
        """Return, for each decided epoch without an accepted report, the report on top of the head."""
        epochs = sorted(self._blocks.keys() & self._terms.keys())
        return [self._propose(epoch) for epoch in epochs]

    def _propose(self, epoch: int) -> Proposal:
        if epoch not in self._proposals:
            terms = self._terms[epoch]
            block_hash, rows, traces = self._blocks[epoch]
            outcome = compute_outcome(
                rows,
                members=terms.members,
                parameters=terms.parameters,
                budget=terms.budget_atto,
                previous=self._ledger,
                expected=terms.header,
                payees=terms.payees,
                pay=terms.pay,
                aggregators=terms.aggregators,
                annotation=terms.annotation,
                traces=traces,
            )
            report = outcome.report(terms.header, block_hash, self._head)
            self._proposals[epoch] = Proposal(
                epoch, self._head, outcome, report, report.digest(self._domain)
            )
        return self._proposals[epoch]
