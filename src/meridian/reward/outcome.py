"""The outcome of an epoch: from the rows of the decided block to weights, amounts and claims.

One pure computation, shared by every committee member and every auditor: whoever holds the block, its bodies and the
previous claims gets the same reward root. A row that cannot be read, or that speaks of another evaluation, abstains.

A node is *deferred* when too few evaluators spoke about it. Its share is held back: neither paid nor spread over the
others, so that silence about a competitor earns nobody anything. The size of the share comes from the lower median of
those who did speak; it stays in the pool until a later epoch settles it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meridian.errors import InvalidInput
from meridian.evaluate.aggregate import aggregate_named, lower_median
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.row import Row, RowHeader, check_row_header
from meridian.primitives.ids import Address, NodeKey
from meridian.reward.allocation import ALLOCATIONS
from meridian.reward.claims import ClaimsState
from meridian.reward.members import NO_PAY, PayTerms, member_pay, pay_key, split_budget
from meridian.reward.report import Report

MemberRow = tuple[Address, bytes]
"""A member of the committee and the body of its row."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an epoch's committee decided, in numbers."""

    node_keys: tuple[NodeKey, ...]
    """The committed nodes, ascending."""
    weights: tuple[int | None, ...]
    """The aggregated weight of each; None = deferred."""
    amounts: tuple[int, ...]
    """Atto of this epoch for each; 0 for a deferred node."""
    held_back: tuple[int, ...]
    """Atto kept in the pool for each deferred node; 0 for all others."""
    verdict_root: bytes
    claims: ClaimsState
    """After this epoch."""
    budget: int
    """Atto of the whole epoch, the members' pay included."""
    refused: tuple[tuple[Address, str], ...]
    """Members whose row abstains entirely, and why."""
    member_pay: tuple[tuple[Address, int], ...] = ()
    """Atto for evaluators and aggregators, ascending by account."""

    @property
    def allocated(self) -> int:
        """Atto given to nodes in this epoch."""
        return sum(self.amounts)

    @property
    def dust(self) -> int:
        """Atto of the budget that nobody gets and nobody is owed; it stays in the pool."""
        return self.budget - self.allocated - sum(self.held_back) - self.paid_to_members

    @property
    def paid_to_members(self) -> int:
        """Atto given to evaluators and aggregators in this epoch."""
        return sum(amount for _, amount in self.member_pay)

    @property
    def reward_root(self) -> bytes:
        """The root of the claims after this epoch."""
        return self.claims.reward_root

    @property
    def total(self) -> int:
        """Cumulative atto of all claims."""
        return self.claims.total

    def report(self, header: RowHeader, block_hash: bytes, previous: bytes) -> Report:
        """Return the report that follows: what every correct member signs."""
        return Report(
            network=header.network,
            epoch=header.epoch,
            commitment=header.commitment,
            function_digest=header.function,
            parameters_digest=header.parameters,
            inputs_root=header.inputs_root,
            block_hash=block_hash,
            verdict_root=self.verdict_root,
            reward_root=self.reward_root,
            total=self.total,
            previous=previous,
        )


def compute_outcome(
    rows: Sequence[MemberRow],
    *,
    committee_size: int,
    parameters: EvaluationParameters,
    budget: int,
    previous: ClaimsState,
    expected: RowHeader,
    payees: Mapping[NodeKey, Address],
    pay: PayTerms = NO_PAY,
    aggregators: Sequence[Address] = (),
) -> Outcome:
    """Compute an epoch's outcome.

    Args:
        rows: The decided block's rows with their bodies, in the block's order.
        committee_size: Members of the epoch's committee, whether or not they contributed.
        parameters: The artefact of the schedule; its digest must be the header's.
        budget: Atto of the epoch.
        previous: The claims after the previous report.
        expected: The header that every row must have.
        payees: Node key -> payee of the committed nodes, from the ``nodes`` artefact. Of nodes only these are paid.
        pay: The evaluators' and aggregators' own shares of the budget.
        aggregators: Those whose commitment of the epoch stands.

    Raises:
        InvalidInput: If there is no usable row, a member has two, or the parameters are not the header's.
    """
    if parameters.digest != expected.parameters:
        raise InvalidInput("parameters", "are not those of the schedule")
    readable, refused = _readable(rows, expected)
    if not readable:
        raise InvalidInput("rows", "not one of them can be used")
    accepted = list(readable.values())
    parts = split_budget(budget, pay)
    node_keys = tuple(sorted(payees))
    matrix = [_aligned(row, node_keys) for row in accepted]
    weights = aggregate_named(parameters.aggregate)(matrix, committee_size)
    provisional = [
        weight if weight is not None else _spoken(matrix, node)
        for node, weight in enumerate(weights)
    ]
    shares = ALLOCATIONS[parameters.allocation](provisional, parts.nodes)
    amounts = tuple(
        0 if weight is None else share for weight, share in zip(weights, shares, strict=True)
    )
    paid = {
        key: (payees[key], amount) for key, amount in zip(node_keys, amounts, strict=True) if amount
    }
    members = member_pay(parts, readable, aggregators)
    paid |= {pay_key(account): (account, amount) for account, amount in members}
    return Outcome(
        node_keys=node_keys,
        weights=tuple(weights),
        amounts=amounts,
        held_back=tuple(share - amount for share, amount in zip(shares, amounts, strict=True)),
        verdict_root=_most_attested([row.verdict_root for row in accepted]),
        claims=previous.advance(paid),
        budget=budget,
        refused=tuple(refused),
        member_pay=members,
    )


def _readable(
    rows: Sequence[MemberRow], expected: RowHeader
) -> tuple[dict[Address, Row], list[tuple[Address, str]]]:
    """Split the rows into those of this evaluation, by member, and the members to be told why not."""
    if len({member for member, _ in rows}) != len(rows):
        raise InvalidInput("rows", "a member has more than one")
    accepted: dict[Address, Row] = {}
    refused = []
    for member, body in rows:
        reason = check_row_header(body, expected)
        if reason is None:
            accepted[member] = Row.decode(body)
        else:
            refused.append((member, reason))
    return accepted, refused


def _aligned(row: Row, node_keys: Sequence[bytes]) -> list[int | None]:
    """Return a row's weights for the committed nodes; what it says of others is nobody's business."""
    weights = dict(zip(row.node_keys, row.weights, strict=True))
    return [weights.get(key) for key in node_keys]


def _spoken(matrix: Sequence[Sequence[int | None]], node: int) -> int:
    """Return the lower median of what was said about a deferred node, 0 where nobody spoke."""
    return lower_median([value for row in matrix if (value := row[node]) is not None]) or 0


def _most_attested(roots: Sequence[bytes]) -> bytes:
    """Return the root that most rows carry; of equally many, the one with the lowest bytes."""
    counts = Counter(roots)
    return min(counts, key=lambda root: (-counts[root], root))
