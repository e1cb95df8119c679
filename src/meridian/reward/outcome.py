"""The outcome of an epoch: from the rows of the decided block to weights, amounts and claims.

One pure computation, shared by every committee member and every auditor: whoever holds the block, its bodies and the
previous claims gets the same reward root. A row that cannot be read, or that speaks of another evaluation, abstains.

A node is *deferred* when too few evaluators spoke about it. Its share is held back: neither paid nor spread over the
others, so that silence about a competitor earns nobody anything. The size of the share comes from the lower median of
those who did speak; it stays in the pool until a later epoch settles it (`economy`), or for good.

What an epoch leaves to the next one is its ledger: claims and memory. Reliability weights come from the memory before
the epoch, and what its rows were worth goes into the memory after it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from meridian.errors import InvalidInput
from meridian.evaluate.aggregate import Aggregated, aggregate_named, lower_median, wmedian
from meridian.evaluate.parameters import EvaluationParameters
from meridian.evaluate.reliability import (
    Standing,
    agreement_ppm,
    outliers,
    reliability_rule,
    trust_ppm,
)
from meridian.evaluate.row import Row, RowHeader, check_row_header
from meridian.evaluate.trace import Traces
from meridian.primitives.ids import Address, NodeKey, address_text, node_key
from meridian.reward.allocation import ALLOCATIONS
from meridian.reward.claims import ClaimsState
from meridian.reward.economy import Economy
from meridian.reward.ledger import Ledger
from meridian.reward.members import NO_PAY, PayTerms, member_pay, pay_key, split_budget
from meridian.reward.memory import Memory
from meridian.reward.report import Report

MemberRow = tuple[Address, bytes]
"""A member of the committee and the body of its row."""


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """A member's row beside the result."""

    member: Address
    weight: int
    """Its reliability in this epoch, as it was learnt before."""
    agreed_ppm: int | None
    """The share of nodes for which it agrees with the result; None: it speaks about none that has one."""
    trust_ppm: int
    """What is left of its shares when they are clipped at the result's: its part of an evaluator's pay."""
    outliers: int
    """Nodes about which it is out of line; for alerts."""


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
    ledger: Ledger
    """After this epoch."""
    budget: int
    """Atto of the whole epoch, the members' pay included."""
    refused: tuple[tuple[Address, str], ...]
    """Members whose row abstains entirely, and why."""
    member_pay: tuple[tuple[Address, int], ...] = ()
    """Atto for evaluators and aggregators, ascending by account."""
    settled: tuple[int, ...] = ()
    """Atto in `amounts` that earlier epochs owed, for each node; empty where nothing is owed to anybody."""
    withheld: tuple[int, ...] = ()
    """Atto of this epoch's share of each node that stand as collateral instead; empty without that rule."""
    judged: tuple[JudgedRow, ...] = ()
    """How the members' rows compare with the result, in the order of the rows; empty where reliability is not learnt."""
    unproved: tuple[Address, ...] = ()
    """Members whose trace root does not follow from the decided verdicts: a copied row, or other verdicts. Not paid."""

    @property
    def claims(self) -> ClaimsState:
        """The claims after this epoch."""
        return self.ledger.claims

    @property
    def allocated(self) -> int:
        """Atto given to nodes in this epoch."""
        return sum(self.amounts)

    @property
    def dust(self) -> int:
        """Atto of the budget that nobody gets and nobody is owed; it stays in the pool."""
        given = self.allocated - sum(self.settled) + sum(self.withheld) + sum(self.held_back)
        return self.budget - given - self.paid_to_members

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
    members: Sequence[Address],
    parameters: EvaluationParameters,
    budget: int,
    previous: Ledger,
    expected: RowHeader,
    payees: Mapping[NodeKey, Address],
    pay: PayTerms = NO_PAY,
    aggregators: Mapping[Address, int] = MappingProxyType({}),
    annotation: bytes = bytes(24),
    traces: Traces | None = None,
) -> Outcome:
    """Compute an epoch's outcome.

    Args:
        rows: The decided block's rows with their bodies, in the block's order.
        members: The epoch's committee, whether or not they contributed.
        parameters: The artefact of the schedule; its digest must be the header's.
        budget: Atto of the epoch.
        previous: The ledger after the previous report.
        expected: The header that every row must have.
        payees: Node key -> payee of the committed nodes, from the ``nodes`` artefact. Of nodes only these are paid.
        pay: The evaluators' and aggregators' own shares of the budget.
        aggregators: Account of each whose commitment counts -> how many of the epoch's jobs it contributed first.
        annotation: What is counted in the epoch: jobs u64, then 16 bytes of sums.
        traces: The trace roots in the block and our own work; without them nobody's work is checked.

    Raises:
        InvalidInput: If there is no usable row, a member has two, a row is no member's, or the parameters are not the
            header's or wrong.
    """
    if parameters.digest != expected.parameters:
        raise InvalidInput("parameters", "are not those of the schedule")
    readable, refused = _readable(rows, expected, members)
    node_keys = tuple(sorted(payees))
    matrix = {member: _aligned(row, node_keys) for member, row in readable.items()}
    weights, judged = _weights(matrix, members, parameters, previous.memory)
    rows_said = list(matrix.values())
    provisional = [_spoken(rows_said, at) if w is None else w for at, w in enumerate(weights)]
    parts, economy = split_budget(budget, pay), Economy.of(parameters.economy)
    spendable, memory = economy.spend(parts.nodes, expected.epoch, annotation, previous.memory)
    shares = ALLOCATIONS[parameters.allocation](provisional, spendable)
    due = {key: 0 if weights[at] is None else shares[at] for at, key in enumerate(node_keys)}
    held = {key: shares[at] for at, key in enumerate(node_keys) if weights[at] is None}
    flagged = _flagged(parameters, payees)
    withheld, memory = economy.withhold(expected.epoch, due, held, flagged, memory)
    left = parts.nodes - sum(due.values()) + sum(withheld.values())
    settled, memory = economy.settle(left, payees.keys() - flagged, previous.memory, memory)
    amounts = {
        key: share - withheld.get(key, 0) + settled.get(key, 0) for key, share in due.items()
    }
    verdict_root = _most_attested(readable.values())
    unproved = () if traces is None else traces.unproved(readable, verdict_root)
    trust = {row.member: row.trust_ppm for row in judged} | dict.fromkeys(unproved, 0)
    pays = member_pay(parts, readable, aggregators, trust)
    paid = {key: (payees[key], amount) for key, amount in amounts.items() if amount}
    paid |= {pay_key(account): (account, amount) for account, amount in pays}
    return Outcome(
        node_keys=node_keys,
        weights=tuple(weights),
        amounts=tuple(amounts.values()),
        held_back=tuple(held.get(key, 0) for key in node_keys),
        verdict_root=verdict_root,
        ledger=previous.advance(paid, _remember(memory, judged, refused, parameters)),
        budget=budget,
        refused=tuple(refused),
        member_pay=pays,
        settled=_column(settled, node_keys),
        withheld=_column(withheld, node_keys),
        judged=judged,
        unproved=unproved,
    )


def _weights(
    matrix: Mapping[Address, list[int | None]],
    members: Sequence[Address],
    parameters: EvaluationParameters,
    memory: Memory,
) -> tuple[Aggregated, tuple[JudgedRow, ...]]:
    """Return the weight of each node, and how the rows compare with it where reliability is learnt."""
    rule, rows = reliability_rule(parameters.reliability), list(matrix.values())
    if rule is None:
        return aggregate_named(parameters.aggregate)(rows, len(members)), ()
    absent = [member for member in members if member not in matrix]
    known = [memory.standings.get(member, Standing()).weight for member in (*matrix, *absent)]
    if parameters.aggregate == "wmedian":
        weights = wmedian(rows, len(members), known)
    else:
        weights = aggregate_named(parameters.aggregate)(rows, len(members))
    judged = tuple(
        JudgedRow(
            member,
            weight,
            agreement_ppm(row, weights, rule),
            trust_ppm(row, weights),
            len(out_of_line),
        )
        for (member, row), weight, out_of_line in zip(
            matrix.items(), known, outliers(rows, rule.outlier_floor), strict=False
        )
    )
    return weights, judged


def _remember(
    memory: Memory,
    judged: Sequence[JudgedRow],
    refused: Sequence[tuple[Address, str]],
    parameters: EvaluationParameters,
) -> Memory:
    """Return the memory with what the rows were worth; a row that cannot be used agrees with nothing."""
    rule = reliability_rule(parameters.reliability)
    if rule is None:
        return memory
    shares = [(row.member, row.agreed_ppm) for row in judged]
    shares += [(member, 0) for member, _ in refused]
    standings = dict(memory.standings)
    for member, agreed in shares:
        standing = standings.get(member, Standing()).after(agreed, rule)
        if standing != Standing():
            standings[member] = standing
    return replace(memory, standings=standings)


def _flagged(
    parameters: EvaluationParameters, payees: Mapping[NodeKey, Address]
) -> frozenset[NodeKey]:
    """Return the nodes that the function's parameter ``flagged`` excludes, by node id or payee."""
    names = parameters.function.get("flagged", ())
    excluded = {node_key(name) for name in names}
    return frozenset(
        key for key, payee in payees.items() if key in excluded or address_text(payee) in names
    )


def _column(amounts: Mapping[NodeKey, int], keys: Sequence[NodeKey]) -> tuple[int, ...]:
    return tuple(amounts.get(key, 0) for key in keys) if amounts else ()


def _readable(
    rows: Sequence[MemberRow], expected: RowHeader, members: Sequence[Address]
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
    if not accepted:
        raise InvalidInput("rows", "not one of them can be used")
    if not accepted.keys() <= set(members):
        raise InvalidInput("rows", "one is of nobody in the committee")
    return accepted, refused


def _aligned(row: Row, node_keys: Sequence[bytes]) -> list[int | None]:
    """Return a row's weights for the committed nodes; what it says of others is nobody's business."""
    weights = dict(zip(row.node_keys, row.weights, strict=True))
    return [weights.get(key) for key in node_keys]


def _spoken(matrix: Sequence[Sequence[int | None]], node: int) -> int:
    """Return the lower median of what was said about a deferred node, 0 where nobody spoke."""
    return lower_median([value for row in matrix if (value := row[node]) is not None]) or 0


def _most_attested(rows: Iterable[Row]) -> bytes:
    """Return the verdict root that most rows carry; of equally many, the one with the lowest bytes."""
    counts = Counter(row.verdict_root for row in rows)
    return min(counts, key=lambda root: (-counts[root], root))
