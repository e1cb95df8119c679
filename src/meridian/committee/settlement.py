"""From decided blocks to the reports that a member signs, in the order in which the chain accepts them.

Claims are cumulative, so a report depends on the one accepted before it. The law: a member signs, for each pair of
epoch and previous report, only the one report that it computed itself; when another epoch's report is accepted in
between, the epoch is computed again on top of it. What the chain accepted is reproduced, never believed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meridian.errors import InvalidInput
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.row import RowHeader
from meridian.primitives.eip712 import Domain
from meridian.primitives.ids import Address, NodeKey
from meridian.reward.claims import ClaimsState
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
    claims_before: ClaimsState


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An accepted report that does not follow from the block that we decided."""

    epoch: int
    accepted: bytes
    ours: bytes


class Settlement:
    """All epochs that a member knows, from decision to accepted report."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._terms: dict[int, EpochTerms] = {}
        self._blocks: dict[int, tuple[bytes, Sequence[MemberRow]]] = {}
        self._claims: dict[bytes, ClaimsState] = {NO_REPORT: ClaimsState.empty()}
        self._head = NO_REPORT
        self._accepted: dict[int, bytes] = {}
        self._proposals: dict[tuple[int, bytes], Proposal] = {}

    @property
    def head(self) -> bytes:
        """Digest of the last accepted report that we reproduced."""
        return self._head

    def prepare(self, terms: EpochTerms) -> None:
        """Take note of an epoch's terms."""
        self._terms.setdefault(terms.header.epoch, terms)

    def decided(self, epoch: int, block_hash: bytes, rows: Sequence[MemberRow]) -> None:
        """Take note of the decided block: its hash and its rows with their bodies, in block order."""
        self._blocks.setdefault(epoch, (block_hash, rows))

    def is_decided(self, epoch: int) -> bool:
        """Tell whether the epoch's block is known."""
        return epoch in self._blocks

    def accept(self, epoch: int, digest: bytes, previous: bytes) -> Settled | Mismatch | None:
        """Take note of the next report that the chain accepted.

        Returns:
            What we make of it, or None as long as we cannot reproduce it (the block or an earlier report is missing).

        Raises:
            InvalidInput: If it does not follow the head: reports are given in the order of their chain.
        """
        if previous != self._head:
            raise InvalidInput("previous", "the report does not follow the head")
        if epoch not in self._blocks or epoch not in self._terms:
            return None
        proposal = self._propose(epoch)
        if proposal.digest != digest:
            return Mismatch(epoch, digest, proposal.digest)
        before = self._claims[previous]
        self._claims[digest] = proposal.outcome.claims
        self._head = digest
        self._accepted[epoch] = digest
        self._proposals = {}
        if len(self._claims) > 2:
            self._claims = {previous: before, digest: proposal.outcome.claims}
        return Settled(proposal, before)

    def open_proposals(self) -> list[Proposal]:
        """Return, for each decided epoch without an accepted report, the report on top of the head."""
        epochs = sorted(self._blocks.keys() & self._terms.keys() - self._accepted.keys())
        return [self._propose(epoch) for epoch in epochs]

    def _propose(self, epoch: int) -> Proposal:
        key = (epoch, self._head)
        if key not in self._proposals:
            terms = self._terms[epoch]
            block_hash, rows = self._blocks[epoch]
            outcome = compute_outcome(
                rows,
                committee_size=len(terms.members),
                parameters=terms.parameters,
                budget=terms.budget_atto,
                previous=self._claims[self._head],
                expected=terms.header,
                payees=terms.payees,
            )
            report = outcome.report(terms.header, block_hash, self._head)
            self._proposals[key] = Proposal(
                epoch, self._head, outcome, report, report.digest(self._domain)
            )
        return self._proposals[key]
